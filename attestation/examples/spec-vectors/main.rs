//! Writes the test vectors of the specification, or says which files differ:
//! `cargo run -p bastide-attestation --example spec-vectors -- FOLDER [--check]`.
//! A test holds the same, so that nobody has to remember to run this.

mod vectors;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, check) = match &arguments[..] {
        [folder] => (Path::new(folder), false),
        [folder, flag] | [flag, folder] if flag == "--check" => (Path::new(folder), true),
        _ => {
            eprintln!("expected a folder, and --check to compare instead of write");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for (name, file) in vectors::files() {
        let path = folder.join(name);
        let outcome = if check {
            vectors::compare(&path, &file)
        } else {
            vectors::write(&path, &file)
        };
        match outcome {
            Ok(()) => println!("{}: {} vectors", path.display(), vectors::count(&file)),
            Err(message) => {
                eprintln!("{message}");
                failed = true;
            }
        }
    }
    if failed {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
