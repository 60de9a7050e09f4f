//! What is kept of each event, and the digests by which it is found. Reports
//! are told apart by what their signature is over, never by the signature:
//! (r, n−s) verifies as well, and would make two entries of one report.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::pipeline::SignedPlan;
use bastide_attestation::snp::SnpReport;
use bastide_attestation::{
    Decision, Evidence, PlatformEvidence, Receipt, Salt, Verdict, binding, sha256, sha384,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A node was judged.
    Appraisal {
        /// When, seconds since the Unix epoch.
        at: u64,
        /// Its address.
        node: String,
        /// What was decided.
        verdict: Box<Verdict>,
        /// The envelope as it came, if one did.
        evidence: Option<Vec<u8>>,
    },
    /// A pipeline's plan was seen.
    Plan {
        /// When, seconds since the Unix epoch.
        at: u64,
        /// The plan.
        plan: Box<SignedPlan>,
    },
    /// An answer's receipt was verified.
    Receipt {
        /// When, seconds since the Unix epoch.
        at: u64,
        /// The address of the node that answered.
        node: String,
        /// The receipt.
        receipt: Box<Receipt>,
        /// Its salt, where salts are kept.
        salt: Option<Salt>,
        /// Verdict and envelope of the attestation that it was made under.
        attested: Option<(Box<Verdict>, Vec<u8>)>,
    },
}

/// One entry, as it is kept: JSON. A member that this version doesn't know is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A node was judged.
    Appraisal(Appraisal),
    /// An answer's receipt.
    Receipt(Kept),
}

/// An appraisal, by digests of what it was of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Appraisal {
    /// When, seconds since the Unix epoch.
    pub(crate) at: u64,
    /// The node's address.
    pub(crate) node: String,
    /// The decision's word.
    pub(crate) decision: String,
    /// The code of a refusal.
    pub(crate) code: Option<String>,
    /// Whether a simulation root was relied on.
    pub(crate) simulated: bool,
    /// Name of the policy.
    pub(crate) policy: String,
    /// SHA-256 of the policy, hex.
    pub(crate) policy_digest: String,
    /// SHA-256 of the statement's bytes, hex, if evidence came that could be read.
    pub(crate) statement: Option<String>,
    /// SHA-384 of what the report's signature is over, hex; likewise.
    pub(crate) report: Option<String>,
    /// Where the envelope is kept, hex; `None` if none came.
    pub(crate) evidence: Option<String>,
    /// Where the verdict is kept, hex.
    pub(crate) verdict: String,
}

/// A receipt that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// When, seconds since the Unix epoch.
    pub(crate) at: u64,
    /// The node's address.
    pub(crate) node: String,
    /// SHA-256 of the receipt, hex.
    pub(crate) digest: String,
    /// SHA-256 of its statement, hex.
    pub(crate) statement: String,
    /// Thumbprint of its key, hex.
    pub(crate) key: String,
    /// Its number in its boot.
    pub(crate) sequence: u64,
    /// The receipt, base64.
    pub(crate) receipt: String,
    /// Its salt, hex, where salts are kept.
    pub(crate) salt: Option<String>,
}

impl Entry {
    /// When it happened, seconds since the Unix epoch.
    pub(crate) const fn at(&self) -> u64 {
        match self {
            Self::Appraisal(entry) => entry.at,
            Self::Receipt(entry) => entry.at,
        }
    }

    /// The node's address.
    pub(crate) fn node(&self) -> &str {
        match self {
            Self::Appraisal(entry) => &entry.node,
            Self::Receipt(entry) => &entry.node,
        }
    }
}

/// How a stage of a pipeline is named in entries, by its head's address.
pub(crate) fn stage_of(head: &str, number: usize) -> String {
    format!("{head} stage {number}")
}

impl Kept {
    pub(crate) fn new(at: u64, node: String, receipt: &Receipt, salt: Option<&Salt>) -> Self {
        let claims = receipt.claims();
        Self {
            at,
            node,
            digest: hex::encode(receipt.digest()),
            statement: claims.statement.to_string(),
            key: receipt.key().to_string(),
            sequence: claims.sequence,
            receipt: STANDARD.encode(receipt.as_bytes()),
            salt: salt.map(Salt::to_string),
        }
    }

    /// The receipt's exact bytes; empty if the entry is damaged, which is no receipt.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.receipt).unwrap_or_default()
    }
}

/// By what evidence is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvidenceKey {
    /// SHA-256 of the statement.
    pub(crate) statement: Option<[u8; 32]>,
    /// SHA-384 of what the report's signature is over.
    pub(crate) report: Option<[u8; 48]>,
    /// Of both together; of the bytes if they can't be read.
    pub(crate) key: [u8; 32],
}

impl EvidenceKey {
    /// Of an envelope. Nothing of it is verified here.
    pub(crate) fn of(envelope: &[u8]) -> Self {
        let Ok(evidence) = Evidence::decode(envelope) else {
            return Self {
                statement: None,
                report: None,
                key: sha256(&[b"bastide-ledger-unread-v1\0", envelope]),
            };
        };
        let evidence = evidence.as_unverified();
        let statement = *binding::statement_digest(&evidence.statement).as_bytes();
        let report = match &evidence.platform {
            PlatformEvidence::Snp(report) => sha384(&[&signed_part(report.as_slice())]),
            // The report is of the VM's start; what is fresh is the quote.
            PlatformEvidence::AzureVtpm { hcl_report, quote } => sha384(&[hcl_report, &quote.message]),
            _ => sha384(&[envelope]),
        };
        Self {
            statement: Some(statement),
            report: Some(report),
            key: sha256(&[b"bastide-ledger-evidence-v1\0", &report, &statement]),
        }
    }
}

/// What the signature is over; all of it where there is no telling.
fn signed_part(report: &[u8]) -> Vec<u8> {
    SnpReport::parse(report).map_or_else(|_| report.to_vec(), |parsed| parsed.signed_bytes().to_vec())
}

/// A verdict as it is kept, and the digest of what it says apart from when: the
/// same node under the same policy says the same until something changes.
pub(crate) fn verdict(verdict: &Verdict) -> Option<(Vec<u8>, [u8; 32])> {
    let mut value = serde_json::to_value(verdict).ok()?;
    if let Value::Object(members) = &mut value {
        members.remove("at");
    }
    let bytes = serde_json::to_vec(&value).ok()?;
    let digest = sha256(&[b"bastide-ledger-verdict-v1\0", &bytes]);
    Some((bytes, digest))
}

/// The word for a decision, as in a verdict's JSON.
pub(crate) const fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Rejected => "rejected",
        Decision::Unsupported => "unsupported",
        Decision::Malformed => "malformed",
        Decision::Undecided => "undecided",
    }
}
