//! What a verdict amounts to in the words of AR4SI (draft-ietf-rats-ar4si):
//! six trustworthiness claims and a tier. Only a claim all of whose checks
//! passed is affirmed; whatever was left out, not reached or not provable
//! leaves its claim at "no claim"; nothing simulated is ever affirmed.
//!
//! | claim | checks it rests on | affirmed as | failed as |
//! |---|---|---|---|
//! | instance-identity | chain, CRL, VCEK or VLEK, signature, chip; Azure's vTPM; GPUs' chains, signatures, revocation, devices | 2 | 99 a signature, 96 revoked, else 97 |
//! | configuration | guest policy, platform info, VMPL, ID block, host data, debug build; GPUs' number and mode | 2 | 96 |
//! | executables | launch measurement, signature; on Azure the vTPM's quote and its PCRs; GPUs' measurements and their manifests | 3, as of the boot | 33 a measurement or a PCR, else 99 |
//! | file-system | model manifest, statement vouched for by REPORT_DATA or the vTPM's quote | 2 | 32 the model, else 99 |
//! | hardware | form, product, version, TCB, chain, signature; GPUs' family, firmware identity, driver, VBIOS | 2; 32 with an advisory that the policy's floor leaves open | 32 a TCB, driver or VBIOS below the floor, 99 a signature, else 97 |
//! | runtime-opaque | signature, debug, migration, memory aliases | 2 | 96 |
//!
//! Storage and sourced data are never claimed. "Runtime-opaque" is about other
//! software on the machine, as AR4SI defines it: whoever taps the memory's
//! wires is in the verdict, as `snp.memory_bus`, and in no claim. Nor are wires
//! between GPUs, how GPUs are set up beyond their mode, whether they are in this
//! machine, and what a remote service says: no report shows any of it.

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

/// Checks, by what their ids begin with.
type Ids = &'static [&'static str];

/// What a claim rests on.
struct Rule {
    /// Every check of these that a verdict has must have passed.
    rests_on: Ids,
    /// Without these there is nothing to affirm.
    needs: Ids,
    /// Value if all of it passed.
    affirmed: u8,
}

const INSTANCE: Rule = Rule {
    rests_on: &[
        "snp.chain.",
        "snp.crl",
        "snp.vek.",
        "snp.key",
        "snp.chip_id",
        "snp.report.signature",
        "azure.hcl_report",
        "azure.runtime_data",
        "azure.attestation_key",
        "azure.quote.",
        "gpu.chain",
        "gpu.revocation.device",
        "gpu.device",
        "gpu.report.signature",
    ],
    needs: &["snp.chain.root", "snp.vek.signature", "snp.report.signature"],
    affirmed: 2,
};
const CONFIGURATION: Rule = Rule {
    rests_on: &[
        "platform.",
        "snp.policy.",
        "snp.platform.",
        "snp.vmpl",
        "snp.id_block",
        "snp.author_key",
        "snp.host_data",
        "session.debug",
        "snp.report.signature",
        "gpu.topology",
        "gpu.mode",
        "gpu.report.signature",
    ],
    needs: &["snp.policy.debug", "snp.report.signature"],
    affirmed: 2,
};
const EXECUTABLES: Rule = Rule {
    rests_on: &[
        "snp.launch_measurement",
        "snp.report.signature",
        "azure.",
        "gpu.rim.",
        "gpu.revocation.rim",
        "gpu.measurements",
        "gpu.report.signature",
    ],
    needs: &["snp.launch_measurement", "snp.report.signature"],
    affirmed: 3,
};
const FILES: Rule = Rule {
    rests_on: &[
        "model.",
        "session.statement",
        "session.report_data",
        "snp.report.signature",
        "azure.",
    ],
    needs: &["model.manifest", "session.statement", "snp.report.signature"],
    affirmed: 2,
};
const HARDWARE: Rule = Rule {
    rests_on: &[
        "snp.report.",
        "snp.product",
        "snp.report_version",
        "snp.tcb",
        "snp.chain.",
        "snp.vek.",
        "gpu.report.",
        "gpu.chain",
        "gpu.fwid",
        "gpu.family",
        "gpu.driver",
        "gpu.vbios",
    ],
    needs: &["snp.chain.root", "snp.tcb.reported", "snp.report.signature"],
    affirmed: 2,
};
const OPAQUE: Rule = Rule {
    rests_on: &[
        "snp.report.signature",
        "snp.policy.debug",
        "snp.policy.migrate_ma",
        "snp.platform.alias_check",
    ],
    needs: &[
        "snp.report.signature",
        "snp.policy.debug",
        "snp.policy.migrate_ma",
        "snp.platform.alias_check",
    ],
    affirmed: 2,
};
/// Checks whose failing means that a signature is not what it claims to be.
const SIGNATURES: Ids = &[
    "snp.report.signature",
    "snp.vek.signature",
    "snp.chain.intermediate",
    "azure.quote.signature",
    "gpu.report.signature",
    "gpu.rim.signature",
];
/// Checks whose failing means that firmware is older than the policy accepts.
const VERSIONS: Ids = &["snp.tcb", "gpu.driver", "gpu.vbios"];
/// Checks of revocation, and the codes that say that something was revoked.
const REVOCATION: Ids = &["snp.crl", "gpu.revocation."];
const REVOKED: Ids = &[
    "snp.crl.revoked",
    "gpu.revocation.revoked",
    "gpu.revocation.on_hold",
];

fn is_one_of(check: &Check, ids: Ids) -> bool {
    ids.iter().any(|prefix| check.id.starts_with(prefix))
}

impl Rule {
    /// Affirmed if all is there and all passed; `failed` of the first check
    /// that failed; no claim otherwise.
    fn claim(&self, verdict: &Verdict, failed: impl Fn(&Check) -> u8) -> TrustworthinessClaim {
        let mut all_passed = self
            .needs
            .iter()
            .all(|id| verdict.checks.iter().any(|check| check.id == *id));
        for check in &verdict.checks {
            if !is_one_of(check, self.rests_on) {
                continue;
            }
            match check.status {
                Status::Pass => {}
                Status::Fail => return TrustworthinessClaim(failed(check)),
                Status::Skip | Status::Unknown | Status::NotProvable => all_passed = false,
            }
        }
        TrustworthinessClaim(if all_passed { self.affirmed } else { 0 })
    }
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
        let revoked = verdict.code.is_some_and(|code| REVOKED.contains(&code));
        let hardware = if verdict.uncovered.is_empty() {
            HARDWARE
        } else {
            Rule {
                affirmed: 32,
                ..HARDWARE
            }
        };
        Self {
            instance_identity: INSTANCE.claim(verdict, |check| {
                if is_one_of(check, SIGNATURES) {
                    99
                } else if is_one_of(check, REVOCATION) && revoked {
                    96
                } else {
                    97
                }
            }),
            configuration: CONFIGURATION.claim(verdict, |_| 96),
            executables: EXECUTABLES.claim(verdict, |check| {
                if matches!(
                    check.id,
                    "snp.launch_measurement" | "azure.pcrs" | "gpu.measurements"
                ) {
                    33
                } else {
                    99
                }
            }),
            file_system: FILES.claim(
                verdict,
                |check| {
                    if check.id.starts_with("model.") { 32 } else { 99 }
                },
            ),
            hardware: hardware.claim(verdict, |check| {
                if is_one_of(check, VERSIONS) {
                    32
                } else if is_one_of(check, SIGNATURES) {
                    99
                } else {
                    97
                }
            }),
            runtime_opaque: OPAQUE.claim(
                verdict,
                |check| {
                    if is_one_of(check, SIGNATURES) { 99 } else { 96 }
                },
            ),
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
