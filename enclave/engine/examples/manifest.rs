//! Prints the model manifest of a directory, or writes it there.
//!
//! `cargo run -p bastide-engine --example manifest -- DIR [--write]`
//!
//! Owns nothing: it loads the model first, so that no manifest is written for
//! files the engine would refuse. A manifest that is already there is replaced.

use std::path::PathBuf;
use std::process::ExitCode;

use bastide_engine::{LoadOptions, Model, describe};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: manifest DIR [--write]");
        return ExitCode::from(2);
    };
    let write = arguments.next().is_some_and(|argument| argument == "--write");
    match run(&dir, write) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &std::path::Path, write: bool) -> Result<(), Box<dyn std::error::Error>> {
    let text = serde_json::to_string_pretty(&describe(dir)?)? + "\n";
    if !write {
        print!("{text}");
        return Ok(());
    }
    let path = dir.join("manifest.json");
    let previous = std::fs::read(&path).ok();
    std::fs::write(&path, &text)?;
    if let Err(error) = Model::load(dir, &LoadOptions::default()) {
        match previous {
            Some(previous) => std::fs::write(&path, previous)?,
            None => std::fs::remove_file(&path)?,
        }
        return Err(error.into());
    }
    println!("{}", path.display());
    Ok(())
}
