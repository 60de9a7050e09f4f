//! What a verdict amounts to in the words of AR4SI (draft-ietf-rats-ar4si):
//! six trustworthiness claims and a tier. Only a claim all of whose checks
//! passed is affirmed; whatever was left out, not reached or not provable
//! leaves its claim at "no claim"; nothing simulated is ever affirmed.
//!
//! | claim | checks it rests on | affirmed as | failed as |
//! |---|---|---|---|
//! | instance-identity | chain, CRL, VCEK or VLEK, signature, chip | 2 | 99 a signature, 96 revoked, else 97 |
//! | configuration | guest policy, platform info, VMPL, ID block, host data, debug build | 2 | 96 |
//! | executables | launch measurement, on Azure the vTPM's quote and its PCRs, signature | 3, as of the boot | 33 |
//! | file-system | model manifest, statement vouched for by REPORT_DATA or the vTPM's quote | 2 | 32 |
//! | hardware | form, product, version, TCB, chain, signature | 2 | 32 a TCB below the floor, else 97 |
//! | runtime-opaque | signature, debug, migration, memory aliases | 2 | 96 |
//!
//! Storage and sourced data are never claimed.

use crate::result::{Check, Decision, Status, Verdict};

/// AR4SI's four tiers. Declared from the least to the most trouble; `None`
/// claims nothing, neither good nor bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustTier {
    /// No claim is made.
    None,
    /// Affirmed.
    Affirming,
    /// Something is left open, or known to be weak.
    Warning,
    /// Do not rely on it.
    Contraindicated,
}

impl TrustTier {
    /// The value in the claim.
    #[must_use]
    pub const fn value(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Affirming => 2,
            Self::Warning => 32,
            Self::Contraindicated => 96,
        }
    }

    /// The draft's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Affirming => "affirming",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        }
    }

    pub(super) fn of_value(value: u64) -> Option<Self> {
        [Self::None, Self::Affirming, Self::Warning, Self::Contraindicated]
            .into_iter()
            .find(|tier| u64::from(tier.value()) == value)
    }
}

/// One trustworthiness claim: a value of AR4SI §2.3, from 0 to 127. The
/// negative half is for others' private use, and never made or read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustworthinessClaim(u8);

impl TrustworthinessClaim {
    /// No claim.
    pub const NONE: Self = Self(0);

    /// The value in the claim.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    pub(super) fn of_value(value: u64) -> Option<Self> {
        u8::try_from(value).ok().filter(|value| *value < 128).map(Self)
    }

    /// The tier that the value is of.
    #[must_use]
    pub const fn tier(self) -> TrustTier {
        match self.0 {
            0 | 1 => TrustTier::None,
            2..=31 => TrustTier::Affirming,
            32..=95 => TrustTier::Warning,
            _ => TrustTier::Contraindicated,
        }
    }
}

/// The trustworthiness vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustVector {
    /// Which processor it is, and that AMD vouches for its key.
    pub instance_identity: TrustworthinessClaim,
    /// How guest and platform are set up.
    pub configuration: TrustworthinessClaim,
    /// What was launched.
    pub executables: TrustworthinessClaim,
    /// Which model the launched software loaded.
    pub file_system: TrustworthinessClaim,
    /// Processor and firmware.
    pub hardware: TrustworthinessClaim,
    /// Whether the host can look into the guest's memory.
    pub runtime_opaque: TrustworthinessClaim,
}

/// Checks that a claim rests on, by what their ids begin with.
type Basis = &'static [&'static str];

const INSTANCE: Basis = &[
    "snp.chain.",
    "snp.crl",
    "snp.vek.",
    "snp.key",
    "snp.chip",
    "snp.report.signature",
];
const CONFIGURATION: Basis = &[
    "snp.policy.",
    "snp.platform.",
    "snp.vmpl",
    "snp.id_block",
    "snp.author_key",
    "snp.host_data",
    "session.debug",
    "snp.report.signature",
];
const EXECUTABLES: Basis = &["snp.launch_measurement", "azure.", "snp.report.signature"];
const FILES: Basis = &[
    "model.",
    "session.statement",
    "session.report_data",
    "azure.",
    "snp.report.signature",
];
const HARDWARE: Basis = &[
    "snp.report.",
    "snp.product",
    "snp.report_version",
    "snp.tcb",
    "snp.chain.",
    "snp.vek.",
];
const OPAQUE: Basis = &[
    "snp.report.signature",
    "snp.policy.debug",
    "snp.policy.migrate",
    "snp.platform.alias_check",
];
/// Checks whose failing means that a signature is not what it claims to be.
const SIGNATURES: Basis = &[
    "snp.report.signature",
    "snp.vek.signature",
    "snp.chain.intermediate",
    "azure.quote.signature",
];

fn rests_on(check: &Check, basis: Basis) -> bool {
    basis.iter().any(|prefix| check.id.starts_with(prefix))
}

/// `affirmed` if there are such checks and all passed; `failed` of the first
/// that failed; no claim otherwise.
fn claim(
    verdict: &Verdict,
    basis: Basis,
    affirmed: u8,
    failed: impl Fn(&Check) -> u8,
) -> TrustworthinessClaim {
    let mut relevant = verdict
        .checks
        .iter()
        .filter(|check| rests_on(check, basis))
        .peekable();
    if relevant.peek().is_none() {
        return TrustworthinessClaim::NONE;
    }
    let mut all_passed = true;
    for check in relevant {
        match check.status {
            Status::Pass => {}
            Status::Fail => return TrustworthinessClaim(failed(check)),
            Status::Skip | Status::Unknown | Status::NotProvable => all_passed = false,
        }
    }
    TrustworthinessClaim(if all_passed { affirmed } else { 0 })
}

impl TrustVector {
    /// The claims with AR4SI's keys and names, in the order of the keys.
    #[must_use]
    pub const fn claims(&self) -> [(i64, &'static str, TrustworthinessClaim); 6] {
        [
            (0, "instance-identity", self.instance_identity),
            (1, "configuration", self.configuration),
            (2, "executables", self.executables),
            (3, "file-system", self.file_system),
            (4, "hardware", self.hardware),
            (5, "runtime-opaque", self.runtime_opaque),
        ]
    }

    /// What a verdict amounts to.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        // Anyone can make simulated evidence: there is no hardware, and memory is visible.
        if verdict.simulated {
            let none = TrustworthinessClaim::NONE;
            return Self {
                instance_identity: TrustworthinessClaim(97),
                configuration: none,
                executables: none,
                file_system: none,
                hardware: TrustworthinessClaim(97),
                runtime_opaque: TrustworthinessClaim(96),
            };
        }
        let revoked = verdict.code == Some("snp.crl.revoked");
        Self {
            instance_identity: claim(verdict, INSTANCE, 2, |check| {
                if rests_on(check, SIGNATURES) {
                    99
                } else if check.id == "snp.crl" && revoked {
                    96
                } else {
                    97
                }
            }),
            configuration: claim(verdict, CONFIGURATION, 2, |_| 96),
            executables: claim(verdict, EXECUTABLES, 3, |check| {
                if matches!(check.id, "snp.launch_measurement" | "azure.pcrs") {
                    33
                } else {
                    99
                }
            }),
            file_system: claim(verdict, FILES, 2, |check| {
                if check.id.starts_with("model.") { 32 } else { 99 }
            }),
            hardware: claim(verdict, HARDWARE, 2, |check| {
                if check.id.starts_with("snp.tcb") {
                    32
                } else if rests_on(check, SIGNATURES) {
                    99
                } else {
                    97
                }
            }),
            runtime_opaque: claim(verdict, OPAQUE, 2, |check| {
                if check.id == "snp.report.signature" {
                    99
                } else {
                    96
                }
            }),
        }
    }

    /// The worst tier of all claims; [`TrustTier::None`] only if none is made.
    #[must_use]
    pub fn worst(&self) -> TrustTier {
        self.claims()
            .into_iter()
            .map(|(_, _, claim)| claim.tier())
            .max_by_key(|tier| tier.value())
            .unwrap_or(TrustTier::None)
    }

    /// The tier of a decision that these claims came from. Affirming only if
    /// accepted and nothing but the file system is left open; a warning if
    /// accepted with something left open. A refusal is contraindicated; if it
    /// couldn't be decided, no claim is made unless one is contraindicated.
    #[must_use]
    pub fn status(&self, decision: Decision) -> TrustTier {
        let worst = self.worst();
        match (decision, worst) {
            (_, TrustTier::Contraindicated) | (Decision::Rejected, _) => TrustTier::Contraindicated,
            (Decision::Accepted, TrustTier::Warning) => TrustTier::Warning,
            (Decision::Accepted, _) => {
                let open = self
                    .claims()
                    .into_iter()
                    .any(|(key, _, claim)| key != 3 && claim.tier() != TrustTier::Affirming);
                if open {
                    TrustTier::Warning
                } else {
                    TrustTier::Affirming
                }
            }
            // A warning claims something, and a tier must not be better than its claims.
            (_, TrustTier::Warning) => TrustTier::Warning,
            (Decision::Unsupported | Decision::Malformed | Decision::Undecided, _) => TrustTier::None,
        }
    }
}
