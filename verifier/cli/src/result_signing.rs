//! `--sign-result`: the verdict that is printed, as a signed result for whoever
//! relies on it later. What is signed names the verdict by the digest of its
//! JSON, byte for byte as `--output json` prints it.

use std::path::PathBuf;

use bastide_attestation::{Ear, EarClaims, EarContext, UnixTime, Verdict, sha256};
use clap::Args;

use crate::clock;
use crate::console::Console;
use crate::escape;
use crate::fault::{Fault, with_causes};
use crate::file::{self, Existing};
use crate::key_file::SigningKey;

/// The program that appraised, as results name it.
const BUILD: &str = concat!("bastide-cli ", env!("CARGO_PKG_VERSION"));

/// Options of the commands whose verdict can be signed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Signed result")]
pub(crate) struct ResultArgs {
    /// Sign the verdict with this key (Ed25519, as `bastide key new` makes it): an EAR in COSE
    #[arg(long, value_name = "KEY")]
    sign_result: Option<PathBuf>,
    /// Where the signed result goes; never overwritten
    #[arg(
        long,
        value_name = "FILE",
        requires = "sign_result",
        default_value = "result.cose"
    )]
    result_out: PathBuf,
    /// Nonce of whoever asked for the result, 8 to 64 bytes in hex
    #[arg(long, value_name = "HEX", requires = "sign_result", value_parser = nonce)]
    result_nonce: Option<Nonce>,
}

/// A nonce of 8 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nonce(pub(crate) Vec<u8>);

/// Parses a nonce.
///
/// # Errors
/// A sentence for clap.
pub(crate) fn nonce(text: &str) -> Result<Nonce, String> {
    match hex::decode(text) {
        Ok(bytes) if (8..=64).contains(&bytes.len()) => Ok(Nonce(bytes)),
        _ => Err("expected 8 to 64 bytes in hexadecimal digits".to_owned()),
    }
}

/// A key that was read before there was a verdict, so that a wrong file name
/// is found before anything else happens.
pub(crate) struct Signer<'a> {
    key: SigningKey,
    arguments: &'a ResultArgs,
}

impl ResultArgs {
    /// The signer, if a result is wanted.
    ///
    /// # Errors
    /// [`Fault`] if the key can't be read, or the result's file exists.
    pub(crate) fn signer(&self) -> Result<Option<Signer<'_>>, Fault> {
        let Some(path) = &self.sign_result else {
            return Ok(None);
        };
        let key = SigningKey::read(path)?;
        if self.result_out.exists() {
            return Err(Fault::usage(
                "output.exists",
                format!("`{}` exists already", self.result_out.display()),
            )
            .with_remedy("name another file with --result-out, or remove this one yourself"));
        }
        Ok(Some(Signer { key, arguments: self }))
    }
}

impl Signer<'_> {
    /// Signs a verdict, accepting or not, and writes the result.
    ///
    /// # Errors
    /// [`Fault`] if it can't be signed or written.
    pub(crate) fn sign(
        &self,
        verdict: &Verdict,
        evidence: Option<&[u8]>,
        appraised_at: UnixTime,
        console: &Console,
    ) -> Result<(), Fault> {
        let failed = |error: &dyn std::error::Error| Fault::internal(with_causes(error));
        let verdict_json = serde_json::to_vec(verdict).map_err(|error| failed(&error))?;
        let context = EarContext {
            verdict_json: &verdict_json,
            issued_at: clock::now().as_secs(),
            appraised_at: appraised_at.as_secs(),
            build: BUILD,
            nonce: self
                .arguments
                .result_nonce
                .as_ref()
                .map(|nonce| nonce.0.as_slice()),
            evidence: evidence.map(|bytes| sha256(&[bytes])),
        };
        let claims = EarClaims::new(verdict, &context).map_err(|error| failed(&error))?;
        let public = self.key.public();
        let result = Ear::sign(&claims, public.as_bytes(), |bytes| self.key.sign(bytes))
            .map_err(|error| failed(&error))?;
        let path = &self.arguments.result_out;
        file::write(path, result.as_bytes(), Existing::Keep)?;
        console.note(&escape::line(&format!(
            "wrote {}, signed by {public}: {}",
            path.display(),
            claims.status().as_str()
        )));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::nonce;
    use bastide_attestation::{Check, Decision, Status, TrustVector, UnixTime};
    use bastide_verifier::CheckId;

    /// Checks that no claim of AR4SI is about; they still decide.
    const APART: [&str; 8] = [
        "snp.memory_bus",
        "session.binding",
        "gpu.evidence",
        "gpu.nonce",
        "gpu.nvlink",
        "gpu.settings",
        "gpu.same_machine",
        "gpu.nras",
    ];

    #[test]
    fn every_check_of_the_verifier_is_part_of_a_claim_or_known_not_to_be() {
        let verdict = |skipped: Option<CheckId>| {
            let mut verdict =
                crate::gate::without_evidence(Decision::Accepted, "x", String::new(), UnixTime::from_secs(0));
            verdict.checks = CheckId::ALL
                .iter()
                .map(|id| Check {
                    id: id.name(),
                    status: if Some(*id) == skipped {
                        Status::Skip
                    } else {
                        Status::Pass
                    },
                    expected: "".into(),
                    got: "".into(),
                    basis: id.basis(),
                })
                .collect();
            TrustVector::of(&verdict)
        };
        let whole = verdict(None);
        for id in CheckId::ALL {
            let apart = APART.iter().any(|prefix| id.name().starts_with(prefix));
            assert!(
                apart || verdict(Some(*id)) != whole,
                "{} is part of no claim",
                id.name()
            );
        }
    }

    #[test]
    fn nonces_have_the_lengths_that_eat_allows() {
        assert!(nonce(&"00".repeat(8)).is_ok() && nonce(&"00".repeat(64)).is_ok());
        for text in [String::new(), "00".repeat(7), "00".repeat(65), "zz".repeat(8)] {
            assert!(nonce(&text).is_err(), "{text}");
        }
    }
}
