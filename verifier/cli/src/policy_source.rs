//! Which policy a command uses: a file, or one shipped with this program by
//! its name; and whose signatures it has to carry. There is no other source
//! and no fallback: what is verified is what is parsed, byte for byte.

use std::path::{Path, PathBuf};

use bastide_verifier::{
    MAX_POLICY_SIGNATURES_BYTES, Policy, PolicySignatureCheck, PolicySignatureError, PolicySignatures,
    PolicySigners, shipped,
};
use clap::Args;

use crate::fault::{Fault, with_causes};
use crate::nearest::is_near;
use crate::{file, key_file};

const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// Options of every command that judges.
#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyArgs {
    /// Policy file, or the name of a shipped policy (`policy init --help` lists them)
    #[arg(long, value_name = "FILE|NAME", default_value = "production")]
    pub(crate) policy: String,
    /// Accept the policy only if this key signed it: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE")]
    policy_signer: Vec<String>,
    /// How many of the signers must have signed; all of them if not given
    #[arg(long, value_name = "K", requires = "policy_signer")]
    policy_threshold: Option<usize>,
    /// Signatures of the policy, if not in the file of its name and `.sig`
    #[arg(long, value_name = "FILE", requires = "policy_signer")]
    policy_signatures: Option<PathBuf>,
    /// Accept simulated hardware where the policy lists its roots; nothing is confidential then
    #[arg(long)]
    pub(crate) allow_simulated: bool,
}

/// Reads and parses a policy, and requires its signatures if signers are named.
///
/// # Errors
/// [`Fault`] of usage if there is no such policy, of malformed input naming
/// the line if it is none, a rejection if too few of the signers signed it.
pub(crate) fn load(arguments: &PolicyArgs) -> Result<Policy, Fault> {
    let named = &arguments.policy;
    if arguments.policy_signer.is_empty() {
        return by_name(named);
    }
    let signers = signers(&arguments.policy_signer, arguments.policy_threshold)?;
    if shipped::by_name(named).is_some() {
        // A name is not a file, and whoever demands signatures demands them of all.
        return Err(Fault::rejected(
            "policy.not_signed",
            format!("`{named}` is a policy shipped with this program, which carries no signatures"),
        )
        .with_remedy(format!(
            "write it with `bastide policy init --profile {named} -o ours.toml`, have it signed, and name the file"
        )));
    }
    let bytes = read(named)?;
    let signatures = arguments
        .policy_signatures
        .clone()
        .unwrap_or_else(|| signatures_of(Path::new(named)));
    verify(&bytes, Path::new(named), &signatures, &signers)?;
    parse(&bytes, named)
}

/// Reads and parses a shipped policy by its name, or a file.
///
/// # Errors
/// As [`load`], of policies that nobody has to sign.
pub(crate) fn by_name(named: &str) -> Result<Policy, Fault> {
    match shipped::by_name(named) {
        Some(text) => parse(text.as_bytes(), named),
        None => parse(&read(named)?, named),
    }
}

/// Who has to sign.
///
/// # Errors
/// [`Fault`] of usage if a key can't be read, or the threshold can't be met.
pub(crate) fn signers(named: &[String], threshold: Option<usize>) -> Result<PolicySigners, Fault> {
    let mut keys = Vec::new();
    for name in named {
        keys.extend(key_file::public_keys(name)?);
    }
    PolicySigners::new(keys, threshold).map_err(|error| Fault::usage("policy.signers", with_causes(&error)))
}

/// Where a policy's signatures are kept.
pub(crate) fn signatures_of(policy: &Path) -> PathBuf {
    let mut path = policy.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// Reads a signature file.
///
/// # Errors
/// [`Fault`] of usage if it can't be read, of malformed input if it is none.
pub(crate) fn read_signatures(path: &Path) -> Result<PolicySignatures, Fault> {
    let bytes = file::read(path, MAX_POLICY_SIGNATURES_BYTES)?;
    PolicySignatures::parse(&bytes).map_err(|error| {
        Fault::malformed(
            "policy.signatures_malformed",
            format!("`{}`: {}", path.display(), with_causes(&error)),
        )
        .with_remedy("have it written again with `bastide policy sign`")
    })
}

/// Requires the signatures of a policy.
///
/// # Errors
/// [`Fault`] of rejection if too few signed exactly these bytes.
pub(crate) fn verify(
    bytes: &[u8],
    policy: &Path,
    signatures: &Path,
    signers: &PolicySigners,
) -> Result<PolicySignatureCheck, Fault> {
    let none = PolicySignatures::new();
    let there = if signatures.exists() {
        read_signatures(signatures)?
    } else {
        none
    };
    signers.verify(bytes, &there).map_err(|error| {
        let PolicySignatureError::NotEnough { threshold, check } = &error else {
            return Fault::internal(with_causes(&error));
        };
        let mut message = format!(
            "policy `{}`: expected valid signatures by {threshold} of {} keys, got {}",
            policy.display(),
            check.signers(),
            check.valid.len()
        );
        if !signatures.exists() {
            message.push_str(&format!("; there is no file `{}`", signatures.display()));
        }
        for (keys, what) in [
            (&check.invalid, "signed something else"),
            (&check.missing, "did not sign"),
        ] {
            for key in keys {
                message.push_str(&format!("\n  {key} {what}"));
            }
        }
        Fault::rejected("policy.not_signed", message).with_remedy(
            "use the policy and signatures that your security team gave you; whoever changed it signs it with `bastide policy sign`",
        )
    })
}

/// Parses a policy.
///
/// # Errors
/// [`Fault`] of malformed input naming the line.
pub(crate) fn parse(bytes: &[u8], named: &str) -> Result<Policy, Fault> {
    Policy::parse(bytes).map_err(|error| {
        Fault::malformed(
            "policy.malformed",
            format!("policy `{named}`: {} ({})", with_causes(&error), error.code()),
        )
        .with_remedy("`bastide policy init` prints a commented policy with every key")
    })
}

/// Reads a policy file.
///
/// # Errors
/// [`Fault`] of usage if there is none.
pub(crate) fn read(named: &str) -> Result<Vec<u8>, Fault> {
    file::read(Path::new(named), MAX_POLICY_BYTES).map_err(|fault| {
        if fault.code != "input.unreadable" || Path::new(named).exists() {
            return fault;
        }
        let near = shipped::NAMES.iter().find(|name| is_near(name, named));
        let fault = Fault::usage(
            "policy.not_found",
            format!(
                "there is neither a file nor a shipped policy `{named}`; shipped are {}",
                shipped::NAMES.join(", ")
            ),
        );
        match near {
            Some(near) => fault.with_remedy(format!("did you mean `{near}`?")),
            None => fault,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{PolicyArgs, load};

    fn named(policy: &str) -> PolicyArgs {
        PolicyArgs {
            policy: policy.to_owned(),
            policy_signer: Vec::new(),
            policy_threshold: None,
            policy_signatures: None,
            allow_simulated: false,
        }
    }

    #[test]
    fn near_names_are_suggested() {
        let fault = load(&named("develpment")).unwrap_err();
        assert_eq!((fault.exit, fault.code), (2, "policy.not_found"));
        assert!(fault.remedy.unwrap().contains("`development`"));
    }

    #[test]
    fn shipped_policies_parse_and_are_refused_where_signatures_are_demanded() {
        for name in bastide_verifier::shipped::NAMES {
            load(&named(name)).unwrap();
            let demanded = PolicyArgs {
                policy_signer: vec!["ab".repeat(32)],
                ..named(name)
            };
            let fault = load(&demanded).unwrap_err();
            assert_eq!((fault.exit, fault.code), (10, "policy.not_signed"));
        }
    }
}
