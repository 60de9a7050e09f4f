//! Attestation results: the verdict, a list of named checks, and what an
//! accepted verdict lets a relying party rely on.

mod shared;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::StatementDigest;
use crate::evidence::Platform;
use crate::statement::EpochStatement;

pub use shared::SharedVerdict;

/// Schema of a verdict's JSON. Members are only ever added.
pub const VERDICT_SCHEMA: &str = "bastide.verdict/v1";

/// What the verifier decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Every enforced check passed.
    Accepted,
    /// A check failed.
    Rejected,
    /// The evidence is of a kind or version that isn't supported.
    Unsupported,
    /// The evidence isn't what its format says.
    Malformed,
    /// Something that the policy asks for was not to be had.
    Undecided,
}

impl Decision {
    /// The process exit code for this decision.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Rejected => 10,
            Self::Unsupported => 20,
            Self::Malformed => 30,
            Self::Undecided => 40,
        }
    }
}

/// How one check ended. Only [`Status::Pass`] counts as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It held.
    Pass,
    /// It didn't.
    Fail,
    /// The policy leaves it out, by name.
    Skip,
    /// It could not be decided.
    Unknown,
    /// No evidence of this platform can prove it.
    NotProvable,
}

/// What a check rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Signed by the hardware.
    HardwareProven,
    /// Computed from what the hardware signed.
    Derived,
    /// Said by measured software, or by whoever sent the evidence.
    Asserted,
}

/// One named check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable dotted name, for example `snp.vcek.hwid`. The first component is its branch in the tree.
    pub id: &'static str,
    /// How it ended.
    pub status: Status,
    /// What would have passed. Most sentences are the same in every verdict,
    /// and cost nothing to repeat.
    pub expected: Cow<'static, str>,
    /// What came.
    pub got: Cow<'static, str>,
    /// What it rests on.
    pub basis: Basis,
}

impl Check {
    /// A check that held or didn't, computed from what the hardware signed.
    #[must_use]
    pub fn derived(
        id: &'static str,
        holds: bool,
        expected: impl Into<Cow<'static, str>>,
        got: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            id,
            status: if holds { Status::Pass } else { Status::Fail },
            expected: expected.into(),
            got: got.into(),
            basis: Basis::Derived,
        }
    }
}

/// What the verifier decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Verdict {
    /// [`VERDICT_SCHEMA`].
    pub schema: &'static str,
    /// The decision.
    #[serde(rename = "verdict")]
    pub decision: Decision,
    /// Rejection or error code, unless accepted.
    pub code: Option<&'static str>,
    /// One sentence for people, unless accepted.
    pub reason: Option<String>,
    /// What the evidence is of; `None` if there is no evidence.
    pub platform: Option<Platform>,
    /// Every check: failures first, then the others in the order made.
    pub checks: Vec<Check>,
    /// Trust anchors relied on: name and SHA-256 of SPKI.
    pub roots: Vec<String>,
    /// Whether a simulation root was relied on: then nothing is confidential.
    pub simulated: bool,
    /// Published vulnerabilities that the policy's TCB floor does not rule out.
    pub uncovered: Vec<String>,
    /// Facts of the SNP report, by ABI name, as text.
    pub snp: Option<BTreeMap<&'static str, String>>,
    /// Facts of an Azure VM's paravisor and vTPM, as text; `None` on other platforms.
    pub azure: Option<BTreeMap<&'static str, String>>,
    /// Facts of each GPU; empty if none is in the evidence.
    pub gpus: Vec<BTreeMap<&'static str, String>>,
    /// Facts of the epoch statement, as text.
    pub session: Option<BTreeMap<&'static str, String>>,
    /// Name of the policy.
    pub policy: String,
    /// SHA-256 of the policy's exact bytes, hex.
    pub policy_digest: String,
    /// Checks that the policy leaves out by name.
    pub ignored: Vec<String>,
    /// The time of the appraisal, RFC 3339.
    pub at: String,
}

/// An accepted verdict and what it establishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationResult {
    /// The verdict; its decision is [`Decision::Accepted`].
    pub verdict: SharedVerdict,
    /// The statement that the hardware signed.
    pub statement: EpochStatement,
    /// SHA-256 of that statement's bytes.
    pub statement_digest: StatementDigest,
}
