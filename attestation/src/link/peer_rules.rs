//! Who is admitted to a pipeline, once evidence was accepted: guests on
//! hardware of ours, and guests that the pipeline's owner gave a credential.
//! Without either, a genuine image on an attacker's own chip would be let in
//! ("diversion", T6).

use std::collections::BTreeSet;

use crate::codec::MapBuilder;
use crate::credential::{Credential, CredentialError, CredentialFault};
use crate::digest::{ChipId, KeyThumbprint, ReportId, SpkiDigest};
use crate::hash::sha256;
use crate::link::LinkContext;
use crate::result::AttestationResult;
use crate::time::UnixTime;

/// Chips and providers that are ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HardwareRules {
    /// CHIP_IDs. Zero, as on AWS, is "no chip", never in the set.
    pub chips: BTreeSet<ChipId>,
    /// CSP_IDs, as in VLEKs: every machine of that provider.
    pub csp_ids: BTreeSet<String>,
}

/// What a peer must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// Hardware of ours, or a credential.
    Either,
    /// Both.
    Both,
}

/// Why rules would admit nobody, or anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerRulesError {
    /// A set of chips with the all-zero CHIP_ID in it.
    #[error(
        "an all-zero CHIP_ID is no chip; leave it out, and name REPORT_IDs in credentials where the host masks it"
    )]
    ZeroChip,
    /// An empty CSP_ID.
    #[error("a CSP_ID is not empty")]
    EmptyCspId,
    /// No way to be admitted.
    #[error(
        "the rules admit nobody: name chips or CSP_IDs, or issuers of credentials, or both where both are required"
    )]
    Nobody,
}

/// Which peers an end admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRules {
    issuers: Vec<[u8; 32]>,
    hardware: HardwareRules,
    required: Required,
}

/// By what a peer was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Whether its hardware is ours.
    pub hardware: bool,
    /// Who issued its credential, if it has a good one.
    pub issuer: Option<KeyThumbprint>,
    /// REPORT_ID of the guest.
    pub report_id: ReportId,
}

/// Why an attested peer is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// The verdict names no REPORT_ID, so that the peer is nobody in particular.
    #[error("the appraisal names no REPORT_ID of the peer")]
    Nobody,
    /// The statement that the hardware signed is about another model.
    #[error("the peer's statement is about model {got}, its HELLO about {expected}")]
    Model {
        /// In HELLO.
        expected: String,
        /// In the statement.
        got: String,
    },
    /// Neither hardware nor credential.
    #[error("the peer's hardware is in no set of this pipeline, and {credential}")]
    Neither {
        /// What is with the credential.
        credential: NoCredential,
    },
    /// No hardware of ours, where both are required.
    #[error(
        "the peer's hardware is in no set of this pipeline, which its credential alone does not make up for"
    )]
    Hardware,
    /// No credential, where both are required.
    #[error("{credential}, which its hardware alone does not make up for")]
    Credential {
        /// What is with the credential.
        credential: NoCredential,
    },
}

/// Why a peer counts as without credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCredential {
    /// It showed none.
    #[error("it showed no membership credential")]
    NotShown,
    /// It showed something that is none of ours.
    #[error("its membership credential is not good: {0}")]
    NotGood(#[from] CredentialError),
    /// It showed one of ours that is not for it.
    #[error("its membership credential is not for it: {0}")]
    NotForIt(#[from] CredentialFault),
}

impl NotAdmitted {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Model { .. } => "link.model",
            _ => "link.peer_not_admitted",
        }
    }
}

impl PeerRules {
    /// Rules with these issuers of credentials (Ed25519 public keys) and this
    /// hardware.
    ///
    /// # Errors
    /// [`PeerRulesError`] if the rules contain a zero, or admit nobody.
    pub fn new(
        issuers: Vec<[u8; 32]>,
        hardware: HardwareRules,
        required: Required,
    ) -> Result<Self, PeerRulesError> {
        if hardware.chips.iter().any(ChipId::is_zero) {
            return Err(PeerRulesError::ZeroChip);
        }
        if hardware.csp_ids.contains("") {
            return Err(PeerRulesError::EmptyCspId);
        }
        let no_hardware = hardware.chips.is_empty() && hardware.csp_ids.is_empty();
        let nobody = match required {
            Required::Either => no_hardware && issuers.is_empty(),
            Required::Both => no_hardware || issuers.is_empty(),
        };
        if nobody {
            return Err(PeerRulesError::Nobody);
        }
        Ok(Self {
            issuers,
            hardware,
            required,
        })
    }

    /// Issuers of credentials, Ed25519 public keys.
    #[must_use]
    pub fn issuers(&self) -> &[[u8; 32]] {
        &self.issuers
    }

    /// Hardware that is ours.
    #[must_use]
    pub const fn hardware(&self) -> &HardwareRules {
        &self.hardware
    }

    /// What a peer must have.
    #[must_use]
    pub const fn required(&self) -> Required {
        self.required
    }

    /// SHA-256 over a label and the rules, for the configuration that an epoch
    /// statement names.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut issuers: Vec<[u8; 32]> = self.issuers.clone();
        issuers.sort_unstable();
        issuers.dedup();
        let chips: Vec<u8> = self
            .hardware
            .chips
            .iter()
            .flat_map(|chip| *chip.as_bytes())
            .collect();
        let csp_ids: Vec<&str> = self.hardware.csp_ids.iter().map(String::as_str).collect();
        let map = MapBuilder::new()
            .hashes(1, &issuers)
            .bytes(2, &chips)
            .texts(3, &csp_ids)
            .uint(
                4,
                match self.required {
                    Required::Either => 0,
                    Required::Both => 1,
                },
            );
        sha256(&[b"bastide-peer-rules-v1\0", &map.encode()])
    }

    /// Admits a peer whose evidence was accepted, or doesn't. `context` and
    /// `credential` are what it said in HELLO, `spki` is the key that it proved
    /// to hold in the TLS handshake.
    ///
    /// # Errors
    /// [`NotAdmitted`]; the link must close.
    pub fn admit(
        &self,
        result: &AttestationResult,
        context: &LinkContext,
        spki: &SpkiDigest,
        credential: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<Admission, NotAdmitted> {
        if result.statement.model != context.model {
            return Err(NotAdmitted::Model {
                expected: context.model.to_string(),
                got: result.statement.model.to_string(),
            });
        }
        let fact = |name| result.verdict.snp.as_ref().and_then(|facts| facts.get(name));
        let report_id: ReportId = fact("report_id")
            .and_then(|text| text.parse().ok())
            .filter(|id: &ReportId| !id.is_zero())
            .ok_or(NotAdmitted::Nobody)?;
        let chip = fact("chip_id")
            .and_then(|text| text.parse().ok())
            .filter(|chip: &ChipId| !chip.is_zero());
        let hardware = chip.is_some_and(|chip| self.hardware.chips.contains(&chip))
            || fact("provider").is_some_and(|csp_id| self.hardware.csp_ids.contains(csp_id));
        let issuer = self.issuer_of(credential, context, spki, &report_id, now);
        let admission = |issuer| Admission {
            hardware,
            issuer,
            report_id,
        };
        match (self.required, hardware, issuer) {
            (_, true, Ok(issuer)) | (Required::Either, false, Ok(issuer)) => Ok(admission(Some(issuer))),
            (Required::Either, true, Err(_)) => Ok(admission(None)),
            (Required::Either, false, Err(credential)) => Err(NotAdmitted::Neither { credential }),
            (Required::Both, false, Ok(_)) => Err(NotAdmitted::Hardware),
            (Required::Both, true, Err(credential)) => Err(NotAdmitted::Credential { credential }),
            (Required::Both, false, Err(credential)) => Err(NotAdmitted::Neither { credential }),
        }
    }

    fn issuer_of(
        &self,
        credential: Option<&[u8]>,
        context: &LinkContext,
        spki: &SpkiDigest,
        report_id: &ReportId,
        now: UnixTime,
    ) -> Result<KeyThumbprint, NoCredential> {
        let credential = credential.ok_or(NoCredential::NotShown)?;
        let credential = Credential::verify(credential, &self.issuers)?;
        credential.claims().admits(context, spki, report_id, now)?;
        Ok(*credential.issuer())
    }
}

#[cfg(test)]
mod tests;
