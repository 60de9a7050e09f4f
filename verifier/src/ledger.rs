//! The list of checks that becomes a verdict: what was expected, what came,
//! how it ended. Checks never made end as `unknown`; nothing is left out.

use core::fmt::{self, Write as _};
use std::borrow::Cow;

use bastide_attestation::{Basis, Check, Platform, Status};

use crate::rejection::Rejection;

macro_rules! checks {
    ($($name:ident = $id:literal, $basis:ident, $expected:literal;)*) => {
        /// Every check of an appraisal, in the order they are made. Which of
        /// them are made depends on what a verdict is about: see [`CheckId::of`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckId {
            $(
                #[doc = concat!("`", $id, "`: ", $expected, ".")]
                $name,
            )*
        }

        impl CheckId {
            /// Every check in the order they are made.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Stable dotted name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }

            /// What the check rests on.
            #[must_use]
            pub const fn basis(self) -> Basis {
                match self { $(Self::$name => Basis::$basis),* }
            }

            /// One bit of its own.
            const fn bit(self) -> u128 {
                // Counts the checks before it; there are fewer than 128.
                const LAST: usize = [$(CheckId::$name),*].len();
                const { assert!(LAST <= 128) };
                let mut bit = 1;
                $(
                    if matches!(self, Self::$name) {
                        return bit;
                    }
                    bit <<= 1;
                )*
                bit
            }

            /// What passes, in general words.
            #[must_use]
            pub const fn expected(self) -> &'static str {
                match self { $(Self::$name => $expected),* }
            }
        }
    };
}

checks! {
    HclForm = "azure.hcl_report", Derived, "an HCL report around an SNP report, every size exact";
    ReportForm = "snp.report.form", Derived, "a report of known version, reserved bytes zero";
    KeyInfo = "snp.report.key_info", Derived, "signed by a VCEK or VLEK, not masked";
    ReportProduct = "snp.report.product", Derived, "a known processor, TCB versions in its layout";
    Root = "snp.chain.root", Derived, "a root that the policy relies on";
    Intermediate = "snp.chain.intermediate", Derived, "the pinned intermediate, signed by the root";
    Crl = "snp.crl", Derived, "the intermediate not revoked";
    VekForm = "snp.vek.certificate", Derived, "a strict DER certificate of a P-384 key";
    VekName = "snp.vek.name", Derived, "AMD's names for this kind of key";
    VekValidity = "snp.vek.validity", Derived, "valid at the time of the appraisal";
    VekExtensions = "snp.vek.extensions", Derived, "every AMD extension once, none foreign";
    VekProduct = "snp.vek.product", Derived, "issued for the report's product";
    VekSignature = "snp.vek.signature", Derived, "signed by the pinned intermediate";
    VekTcb = "snp.vek.tcb", HardwareProven, "issued for exactly REPORTED_TCB";
    VekHwid = "snp.vek.hwid", HardwareProven, "issued for exactly CHIP_ID";
    ReportSignature = "snp.report.signature", HardwareProven, "ECDSA P-384 over the raw report by the VCEK or VLEK";
    RuntimeData = "azure.runtime_data", HardwareProven, "REPORT_DATA is SHA-256 of the paravisor's runtime data, then zeros";
    AttestationKey = "azure.attestation_key", Derived, "strict JSON that names one RSA attestation key";
    QuoteForm = "azure.quote.form", Derived, "a quote made by a TPM, over SHA-256 PCRs";
    QuoteSignature = "azure.quote.signature", Derived, "RSASSA-PKCS1-v1_5 with SHA-256 by the attestation key";
    PcrDigest = "azure.quote.pcr_digest", Derived, "the digest of the PCR values that came";
    Platform = "platform.allowed", Derived, "the platform that the policy is for";
    ReportVersion = "snp.report_version", HardwareProven, "a version that the policy allows";
    Product = "snp.product", HardwareProven, "a product that the policy allows";
    Key = "snp.key", HardwareProven, "a kind of key that the policy allows";
    TcbReported = "snp.tcb.reported", HardwareProven, "at or above the floor in every component";
    TcbCommitted = "snp.tcb.committed", HardwareProven, "at or above the floor in every component";
    TcbLaunch = "snp.tcb.launch", HardwareProven, "at or above the floor in every component";
    TcbCurrent = "snp.tcb.current", HardwareProven, "at or above the floor in every component";
    PolicyReserved = "snp.policy.reserved", HardwareProven, "bit 17 set, no undefined bit";
    PolicyMigration = "snp.policy.migrate_ma", HardwareProven, "migration agent as the policy says";
    PolicyDebug = "snp.policy.debug", HardwareProven, "debug as the policy says";
    PolicyCxl = "snp.policy.cxl", HardwareProven, "CXL memory as the policy says";
    PolicyBits = "snp.policy.bits", HardwareProven, "every other bit as the policy says";
    PlatformBits = "snp.platform.known", HardwareProven, "no undefined bit";
    AliasCheck = "snp.platform.alias_check", HardwareProven, "memory checked for aliases, as the policy says";
    PlatformRules = "snp.platform.bits", HardwareProven, "every other bit as the policy says";
    Vmpl = "snp.vmpl", HardwareProven, "a privilege level that the policy allows";
    IdBlock = "snp.id_block", HardwareProven, "no ID block, or one by a key that the policy lists";
    AuthorKey = "snp.author_key", HardwareProven, "no author key, or one that the policy lists";
    Launch = "snp.launch_measurement", HardwareProven, "a measurement that the policy lists";
    ChipId = "snp.chip_id", HardwareProven, "a chip that the policy lists";
    HostData = "snp.host_data", HardwareProven, "host data that the policy lists";
    MemoryBus = "snp.memory_bus", Asserted, "nobody taps or replays the memory's wires";
    Pcrs = "azure.pcrs", Asserted, "PCR values that the policy lists, as the paravisor's vTPM measured them";
    Statement = "session.statement", Derived, "strict CBOR of the defined shape";
    ReportData = "session.report_data", HardwareProven, "REPORT_DATA is the statement's";
    QuoteNonce = "azure.quote.nonce", Derived, "the quote's nonce is the statement's";
    Binding = "session.binding", Derived, "this session's leaf under the statement's root";
    StatementDebug = "session.debug", Asserted, "not a debug build";
    Model = "model.manifest", Asserted, "a manifest that the policy lists";
    Gpu = "gpu.evidence", HardwareProven, "the evidence of GPUs that the statement names, if the policy asks for GPUs";
    GpuForm = "gpu.report.form", Derived, "SPDM measurements of a GPU or NVSwitch, every size exact";
    GpuNonce = "gpu.nonce", HardwareProven, "the nonce made of this boot, GPU epoch and seed";
    GpuChain = "gpu.chain", Derived, "five certificates to a root that the policy relies on";
    GpuSignature = "gpu.report.signature", HardwareProven, "ECDSA P-384 over the raw report by the leaf's key";
    GpuOpaque = "gpu.report.opaque", HardwareProven, "opaque data of a known version, no field twice";
    GpuFwid = "gpu.fwid", HardwareProven, "the firmware that the leaf was issued to, not debuggable";
    GpuTopology = "gpu.topology", HardwareProven, "as many GPUs as the policy says, each once, with all switches of their mode";
    GpuFamily = "gpu.family", HardwareProven, "a family that the policy allows";
    GpuMode = "gpu.mode", HardwareProven, "a mode that the policy allows, the same on each GPU";
    GpuDevice = "gpu.device", HardwareProven, "devices that the policy lists";
    GpuDriver = "gpu.driver", HardwareProven, "a driver at or above its branch's minimum, not denied";
    GpuVbios = "gpu.vbios", HardwareProven, "a VBIOS at or above its minimum, not denied";
    RimSignature = "gpu.rim.signature", Derived, "manifests signed under a root that the policy relies on";
    RimValidity = "gpu.rim.validity", Derived, "signers valid now, or as the policy says";
    RimSelection = "gpu.rim.selection", Derived, "a manifest for each driver, VBIOS and switch";
    GpuMeasurements = "gpu.measurements", HardwareProven, "every golden measurement of the manifests";
    GpuRevocation = "gpu.revocation.device", Derived, "no certificate of a device revoked";
    RimRevocation = "gpu.revocation.rim", Derived, "no certificate of a manifest revoked";
    GpuNvlink = "gpu.nvlink", Asserted, "nothing readable on wires between GPUs";
    GpuSettings = "gpu.settings", Asserted, "developer tools off, and GPUs opened only after they were appraised";
    SameMachine = "gpu.same_machine", Asserted, "GPUs in the machine that the processor's report is of";
    Nras = "gpu.nras", Asserted, "NVIDIA's remote service says the same";
}

/// What a verdict is about, which says what checks it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The platform of the report; `None` for evidence of GPUs alone.
    pub platform: Option<Platform>,
    /// Whether GPUs are appraised: there is evidence of some, or the policy asks for some.
    pub gpus: bool,
}

impl From<Platform> for Scope {
    /// One platform, without GPUs.
    fn from(platform: Platform) -> Self {
        Self {
            platform: Some(platform),
            gpus: false,
        }
    }
}

impl CheckId {
    /// Whether the check is one of `scope`'s: other verdicts don't list it.
    /// Each platform has exactly one check that ties the statement to the hardware.
    #[must_use]
    pub const fn applies_to(self, scope: Scope) -> bool {
        match self {
            Self::HclForm
            | Self::RuntimeData
            | Self::AttestationKey
            | Self::QuoteForm
            | Self::QuoteSignature
            | Self::PcrDigest
            | Self::Pcrs
            | Self::QuoteNonce => matches!(scope.platform, Some(Platform::Azure)),
            Self::ReportData => matches!(scope.platform, Some(Platform::Snp)),
            Self::GpuForm
            | Self::GpuNonce
            | Self::GpuChain
            | Self::GpuSignature
            | Self::GpuOpaque
            | Self::GpuFwid
            | Self::GpuTopology
            | Self::GpuFamily
            | Self::GpuMode
            | Self::GpuDevice
            | Self::GpuDriver
            | Self::GpuVbios
            | Self::RimSignature
            | Self::RimValidity
            | Self::RimSelection
            | Self::GpuMeasurements
            | Self::GpuRevocation
            | Self::RimRevocation
            | Self::GpuNvlink
            | Self::GpuSettings
            | Self::SameMachine
            | Self::Nras => scope.gpus,
            _ => scope.platform.is_some(),
        }
    }

    /// Every check of a scope, in the order they are made.
    pub fn of(scope: impl Into<Scope>) -> impl Iterator<Item = Self> {
        let scope = scope.into();
        Self::ALL.iter().copied().filter(move |id| id.applies_to(scope))
    }
}

/// A sentence of a verdict. What most of them need is had at once: growing in
/// steps costs more than the words do.
pub(crate) fn sentence(words: fmt::Arguments<'_>) -> String {
    const USUAL: usize = 96;
    let mut text = String::with_capacity(USUAL);
    // Writing to a string cannot fail.
    let _ = text.write_fmt(words);
    text
}

/// A check failed; which, is in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) struct Refused;

/// The checks made so far.
#[derive(Debug)]
pub(crate) struct Ledger {
    scope: Scope,
    checks: Vec<Check>,
    /// [`CheckId::bit`] of each that was made.
    made: u128,
    first: Option<(Rejection, String)>,
}

impl Ledger {
    pub(crate) fn new(scope: impl Into<Scope>) -> Self {
        Self {
            scope: scope.into(),
            checks: Vec::with_capacity(CheckId::ALL.len()),
            made: 0,
            first: None,
        }
    }

    /// Whose checks these are.
    pub(crate) const fn scope(&self) -> Scope {
        self.scope
    }

    fn record(&mut self, id: CheckId, status: Status, expected: Cow<'static, str>, got: Cow<'static, str>) {
        self.made |= id.bit();
        self.checks.push(Check {
            id: id.name(),
            status,
            expected,
            got,
            basis: id.basis(),
        });
    }

    const fn was_made(&self, id: CheckId) -> bool {
        self.made & id.bit() != 0
    }

    /// The check held.
    pub(crate) fn pass(&mut self, id: CheckId, got: impl Into<Cow<'static, str>>) {
        self.record(id, Status::Pass, id.expected().into(), got.into());
    }

    /// The check held, against something that this policy or session says.
    pub(crate) fn pass_against(
        &mut self,
        id: CheckId,
        expected: impl Into<Cow<'static, str>>,
        got: impl Into<Cow<'static, str>>,
    ) {
        self.record(id, Status::Pass, expected.into(), got.into());
    }

    /// The check is left out; `why` says by whom.
    pub(crate) fn skip(&mut self, id: CheckId, why: impl Into<Cow<'static, str>>) {
        self.record(id, Status::Skip, id.expected().into(), why.into());
    }

    /// No evidence of this platform could show it.
    pub(crate) fn not_provable(&mut self, id: CheckId, why: impl Into<Cow<'static, str>>) {
        self.record(id, Status::NotProvable, id.expected().into(), why.into());
    }

    /// The check failed.
    pub(crate) fn fail(
        &mut self,
        id: CheckId,
        rejection: Rejection,
        expected: impl Into<Cow<'static, str>>,
        got: impl Into<Cow<'static, str>>,
    ) -> Refused {
        let (expected, got) = (expected.into(), got.into());
        if self.first.is_none() {
            let reason = format!("{}: expected {expected}, got {got}", rejection.explanation());
            self.first = Some((rejection, reason));
        }
        self.record(id, Status::Fail, expected, got);
        Refused
    }

    /// The check passed or failed.
    pub(crate) fn check(
        &mut self,
        id: CheckId,
        holds: bool,
        rejection: Rejection,
        expected: impl Into<Cow<'static, str>>,
        got: impl Into<Cow<'static, str>>,
    ) {
        if holds {
            self.pass_against(id, expected, got);
        } else {
            let _: Refused = self.fail(id, rejection, expected, got);
        }
    }

    /// Whether every check of the scope was made and none failed.
    pub(crate) fn is_clean(&self) -> bool {
        self.first.is_none() && CheckId::of(self.scope).all(|id| self.was_made(id))
    }

    /// The first failure and its sentence, and every check of the scope:
    /// failures first, then the others in the order made; those never made are
    /// `unknown`.
    pub(crate) fn finish(mut self) -> (Option<(Rejection, String)>, Vec<Check>) {
        for id in CheckId::of(self.scope) {
            if !self.was_made(id) {
                self.record(id, Status::Unknown, id.expected().into(), "not reached".into());
            }
        }
        if self.first.is_some() {
            self.checks.sort_by_key(|check| check.status != Status::Fail);
        }
        (self.first, self.checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_bit_of_its_own() {
        let mut seen = 0_u128;
        for id in CheckId::ALL {
            assert_eq!(id.bit().count_ones(), 1);
            assert_eq!(seen & id.bit(), 0, "{}", id.name());
            seen |= id.bit();
        }
    }

    #[test]
    fn each_platform_has_one_check_of_what_binds_the_statement() {
        for (platform, others) in [
            (Platform::Snp, "azure."),
            (Platform::Azure, "session.report_data"),
        ] {
            let of: Vec<_> = CheckId::of(platform).map(CheckId::name).collect();
            let binds = |id: &&&str| ["session.report_data", "azure.quote.nonce"].contains(id);
            assert_eq!(of.iter().filter(binds).count(), 1, "{platform:?}");
            assert!(!of.iter().any(|id| id.starts_with(others)), "{platform:?}");
        }
        let some = |id: &CheckId| {
            [Some(Platform::Snp), Some(Platform::Azure), None]
                .iter()
                .any(|platform| {
                    let platform = *platform;
                    id.applies_to(Scope { platform, gpus: true })
                })
        };
        assert!(CheckId::ALL.iter().all(some));
    }

    #[test]
    fn checks_of_gpus_are_those_of_their_branch_and_a_machine_without_has_one() {
        let gpus_alone = Scope {
            platform: None,
            gpus: true,
        };
        for id in CheckId::ALL {
            let of_gpus = id.name().starts_with("gpu.") && *id != CheckId::Gpu;
            assert_eq!(id.applies_to(gpus_alone), of_gpus, "{}", id.name());
            assert!(!of_gpus || !id.applies_to(Platform::Snp.into()), "{}", id.name());
        }
        assert!(CheckId::Gpu.applies_to(Platform::Snp.into()));
    }

    #[test]
    fn failures_come_first_and_nothing_is_left_out() {
        let mut ledger = Ledger::new(Platform::Snp);
        ledger.pass(CheckId::ReportForm, "x");
        let _: Refused = ledger.fail(CheckId::KeyInfo, Rejection::ChipKeyMasked, "a", "b");
        let (first, checks) = ledger.finish();
        assert_eq!(
            first.map(|(rejection, _)| rejection),
            Some(Rejection::ChipKeyMasked)
        );
        assert_eq!(checks.len(), CheckId::of(Platform::Snp).count());
        assert_eq!(checks[0].id, "snp.report.key_info");
        assert_eq!(checks[1].id, "snp.report.form");
        assert!(checks[2..].iter().all(|check| check.status == Status::Unknown));
    }
}
