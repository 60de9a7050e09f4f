//! `bastide policy sign`: adds signatures over the exact bytes of a policy to
//! the file beside it. Several people sign one after the other; how many are
//! enough is for whoever verifies to say.

use std::path::PathBuf;

use bastide_verifier::policy_signing_input;
use clap::Args;
use serde_json::json;

use crate::console::Console;
use crate::escape;
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::file;
use crate::key_file::SigningKey;
use crate::policy_source::{self, signatures_of};

const SCHEMA: &str = "bastide.policy-signed/v1";

/// Sign a policy
#[derive(Debug, Args)]
#[command(after_help = "\
Signatures that are there stay if they are over the policy as it is now; others are removed, and
said to be. Comments are signed, too: whoever changes one has it signed again.

Examples:
  bastide policy sign ours.toml --key alice.key
  bastide policy sign ours.toml --key alice.key --key bob.key -o ours.toml.sig")]
pub(super) struct Arguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Secret key, as `bastide key new` makes it; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// The signature file; the policy's name and `.sig` if not given
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the policy has a fault, or a file can't be read or written.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let named = arguments.policy.display().to_string();
    let bytes = policy_source::read(&named)?;
    // What nobody can use is not signed.
    let policy = policy_source::parse(&bytes, &named)?;
    let keys = arguments
        .key
        .iter()
        .map(|path| SigningKey::read(path))
        .collect::<Result<Vec<_>, _>>()?;

    let path = arguments
        .file
        .clone()
        .unwrap_or_else(|| signatures_of(&arguments.policy));
    let mut signatures = if path.exists() {
        policy_source::read_signatures(&path)?
    } else {
        bastide_verifier::PolicySignatures::new()
    };
    let stale: Vec<_> = signatures
        .signers()
        .filter(|signer| !signatures.is_valid(signer, &bytes))
        .copied()
        .collect();
    for signer in &stale {
        signatures.remove(signer);
    }
    let message = policy_signing_input(&bytes);
    for key in &keys {
        let signature = key
            .sign(&message)
            .ok_or_else(|| Fault::internal("the key gave no signature"))?;
        signatures
            .add(key.public(), signature)
            .map_err(|error| Fault::usage("policy.signatures_full", with_causes(&error)))?;
    }
    file::replace(&path, signatures.encode().as_bytes())?;

    let all: Vec<_> = signatures.signers().map(ToString::to_string).collect();
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "policy": policy.name(),
            "policy_digest": policy.digest().to_string(),
            "signatures": path.display().to_string(),
            "signers": all,
            "removed": stale.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
        return Ok(exit::ACCEPTED);
    }
    let mut text = format!(
        "policy {}@sha256:{}\n",
        escape::line(policy.name()),
        policy.digest()
    );
    for signer in &all {
        text.push_str(&format!("  signed by {signer}\n"));
    }
    console.data(&text)?;
    for signer in stale {
        if !all.contains(&signer.to_string()) {
            console.warn(&format!(
                "removed the signature of {signer}: it was over another version of the policy"
            ));
        }
    }
    console.note(&escape::line(&format!("wrote {}", path.display())));
    Ok(exit::ACCEPTED)
}
