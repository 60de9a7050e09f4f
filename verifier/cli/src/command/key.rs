//! `bastide key`: makes and shows the keys that sign policies and results.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::console::Console;
use crate::escape;
use crate::exit;
use crate::fault::Fault;
use crate::file::{self, Existing};
use crate::key_file::{self, SigningKey};

const SCHEMA: &str = "bastide.key/v1";

/// Make or show a key that signs policies and results
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide key new -o alice.key")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(NewArguments),
    Show(ShowArguments),
}

/// Make an Ed25519 key pair
#[derive(Debug, Args)]
#[command(after_help = "\
The secret key goes into FILE, which only you can read, as PKCS#8 PEM without a password; the
public key into FILE.pub. Neither is ever overwritten.

Example:
  bastide key new -o alice.key")]
struct NewArguments {
    /// Where the secret key goes
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    file: PathBuf,
}

/// Show the public key of a key file, secret or public
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide key show alice.key
  bastide key show alice.key.pub --output json")]
struct ShowArguments {
    /// The key
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a file exists, or can't be read or written.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::New(arguments) => new(arguments, console),
        Action::Show(arguments) => show(&arguments.file, console),
    }
}

fn new(arguments: &NewArguments, console: &Console) -> Result<u8, Fault> {
    let (key, pem) = SigningKey::generate()?;
    file::write(&arguments.file, pem.as_bytes(), Existing::Keep)?;
    let mut beside = arguments.file.as_os_str().to_owned();
    beside.push(".pub");
    let public = key.public();
    file::write(
        Path::new(&beside),
        format!("{public}\n").as_bytes(),
        Existing::Keep,
    )?;
    print(&[public], console)?;
    console.note(&escape::line(&format!(
        "wrote {}; whoever has it can sign as you. Give {} to those who verify",
        arguments.file.display(),
        Path::new(&beside).display()
    )));
    Ok(exit::ACCEPTED)
}

fn show(path: &Path, console: &Console) -> Result<u8, Fault> {
    let keys = match SigningKey::read(path) {
        Ok(key) => vec![key.public()],
        Err(fault) if fault.exit == exit::MALFORMED => key_file::public_keys(&path.display().to_string())?,
        Err(fault) => return Err(fault),
    };
    print(&keys, console)?;
    Ok(exit::ACCEPTED)
}

fn print(keys: &[bastide_verifier::PolicySigner], console: &Console) -> Result<(), Fault> {
    for key in keys {
        let id = key_file::id(key);
        if console.json() {
            console.object(&json!({
                "schema": SCHEMA,
                "algorithm": "ed25519",
                "public_key": key.to_string(),
                "key_id": id.to_string(),
            }))?;
        } else {
            console.data(&format!("public key  {key}\nkey id      {id}\n"))?;
        }
    }
    Ok(())
}
