//! What appraisals are compared on: one piece of evidence, and each contender's
//! way of judging it. Owns the evidence and the contenders; measures nothing.

#[cfg(not(any(feature = "openssl", feature = "nossl")))]
compile_error!("sev wants a backend: give --features openssl or --features nossl");

use std::path::{Path, PathBuf};

use bastide_attestation::{
    Attester as _, BootId, Decision, EpochStatement, GpuSeedKind, KeyThumbprint, ManifestDigest,
    PlatformEvidence, PolicyDigest, StatementDigest, TimeSource, TreeHash, UnixTime,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_verifier::crypto::{AwsLc, Crypto, Ring};
use bastide_verifier::{Policy, RecordedSnp, Verifier, pem_certificates, shipped};
use sev::certs::snp::{Certificate, Chain, Verifiable as _, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

/// 2026-03-15T00:00:00Z, when all of the evidence is valid.
const NOW: UnixTime = UnixTime::from_secs(1_773_532_800);

/// Which of sev's backends this is built with.
pub const SEV: &str = if cfg!(feature = "openssl") {
    "sev 8, OpenSSL"
} else {
    "sev 8, RustCrypto"
};

/// aws-lc-rs and ring, with their names.
pub const OURS: [(&str, &'static dyn Crypto); 2] = [("aws-lc-rs", &AwsLc), ("ring", &Ring)];

/// A report and its endorsements.
#[derive(Debug)]
pub struct Evidence {
    /// Where it is from.
    pub origin: &'static str,
    report: Vec<u8>,
    vek: Vec<u8>,
    /// ASK, then ARK.
    chain: Vec<Vec<u8>>,
    policy: Policy,
}

impl Evidence {
    /// A real Genoa report of the folder that `BASTIDE_VECTORS` names, or that
    /// lies beside the workspace; else one of the simulator.
    ///
    /// # Panics
    /// If the evidence can't be read or made.
    #[must_use]
    pub fn load() -> Self {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
        let folder = std::env::var_os("BASTIDE_VECTORS")
            .map_or_else(beside, PathBuf::from)
            .join("snp");
        if folder.is_dir() {
            Self::real(&folder)
        } else {
            Self::simulated()
        }
    }

    /// Judged by the policy that is shipped for production: it refuses the
    /// software and nothing before, and every check is made all the same.
    fn real(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read(folder.join(name)).expect("the vector is there");
        Self {
            origin: "a real Genoa report (genoa-v3)",
            report: read("genoa-v3/report.bin"),
            vek: read("genoa-v3/vcek.der"),
            chain: pem_certificates(&read("endorsements/ask-ark-genoa.pem")).expect("the chain is PEM"),
            policy: Policy::parse(shipped::PRODUCTION.as_bytes()).expect("a shipped policy loads"),
        }
    }

    fn simulated() -> Self {
        let statement = EpochStatement {
            boot_id: BootId::new([1; 16]),
            epoch: 0,
            previous: StatementDigest::new([0; 32]),
            depth: 0,
            root: TreeHash::new([2; 32]),
            gpu_epoch: 0,
            gpu_digest: None,
            gpu_seed: GpuSeedKind::PreviousStatement,
            session_key: [4; 32],
            receipt_key: KeyThumbprint::new([5; 32]),
            sealed_key: None,
            model: ManifestDigest::new([6; 32]),
            configuration: PolicyDigest::new([7; 32]),
            time_ms: 0,
            time_source: TimeSource::Host,
            debug: false,
            pipeline: false,
        };
        let simulator = Simulator::new(SimulatorOptions::new(Generation::Genoa, NOW));
        let attestation = simulator
            .and_then(|simulator| simulator.attest(&statement.encode()))
            .expect("the simulator makes a report");
        let PlatformEvidence::Snp(report) = attestation.platform else {
            panic!("the simulator makes SNP reports");
        };
        Self {
            origin: "a simulated Genoa report",
            report: report.to_vec(),
            vek: attestation.endorsements.vek,
            chain: attestation.endorsements.chain,
            policy: Policy::parse(shipped::DEVELOPMENT.as_bytes()).expect("a shipped policy loads"),
        }
    }

    /// A verifier that remembers nothing.
    #[must_use]
    pub fn verifier(&self, crypto: &'static dyn Crypto) -> Verifier {
        Verifier::with_crypto(self.policy.clone(), crypto)
    }

    /// A verifier that remembers this chain, and no leaf.
    #[must_use]
    pub fn verifier_with_chain(&self, crypto: &'static dyn Crypto) -> Verifier {
        let verifier = self.verifier(crypto);
        let mut spoilt = self.vek.clone();
        if let Some(last) = spoilt.last_mut() {
            *last ^= 1;
        }
        let recorded = RecordedSnp {
            vek: &spoilt,
            ..self.recorded()
        };
        let verdict = verifier.appraise_recorded(&recorded, NOW);
        assert_eq!(verdict.code, Some("snp.vek.signature"), "the chain is good, the leaf is not");
        verifier
    }

    fn recorded(&self) -> RecordedSnp<'_> {
        RecordedSnp {
            report: &self.report,
            vek: &self.vek,
            chain: &self.chain,
            crl: None,
            report_data: None,
        }
    }

    /// A whole appraisal. Whether the report is authentic, and was judged to the end.
    #[must_use]
    pub fn appraise(&self, verifier: &Verifier) -> bool {
        let verdict = verifier.appraise_recorded(&self.recorded(), NOW);
        let judged = match verdict.decision {
            Decision::Accepted => true,
            _ => verdict.code == Some("snp.launch.not_allowed") || verdict.code == Some("snp.tcb.below_floor"),
        };
        judged && verdict.snp.is_some()
    }

    /// What sev does for a report and a chain as they came: reads all of them,
    /// verifies three certificates and the report. It has no policy.
    #[must_use]
    pub fn sev_full(&self) -> bool {
        let [ask, ark] = self.chain.as_slice() else {
            return false;
        };
        let read = |der: &[u8]| Certificate::from_der(der).expect("sev reads the certificate");
        let chain = Chain {
            ca: ca::Chain {
                ark: read(ark),
                ask: read(ask),
            },
            vek: read(&self.vek),
        };
        (&chain, &self.sev_report()).verify().is_ok()
    }

    /// The leaf as sev holds it.
    ///
    /// # Panics
    /// If sev can't read it.
    #[must_use]
    pub fn sev_leaf(&self) -> Certificate {
        Certificate::from_der(&self.vek).expect("sev reads the leaf")
    }

    /// What sev does for a report whose leaf was verified before.
    #[must_use]
    pub fn sev_again(&self, leaf: &Certificate) -> bool {
        (leaf, &self.sev_report()).verify().is_ok()
    }

    fn sev_report(&self) -> AttestationReport {
        AttestationReport::from_bytes(&self.report).expect("sev reads the report")
    }

    /// The bare verification of the report's signature.
    #[must_use]
    pub fn bare_p384(&self, crypto: &dyn Crypto) -> bool {
        let (point, signature) = self.p384();
        crypto.p384_sha384_verify(point, &self.report[..0x2a0], &signature)
    }

    /// The leaf's point, found by its SubjectPublicKeyInfo's head, and R and S.
    fn p384(&self) -> (&[u8], [u8; 96]) {
        const HEAD: [u8; 10] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00];
        let at = self.vek.windows(HEAD.len()).position(|window| window == HEAD);
        let at = at.expect("the leaf's key is on P-384") + HEAD.len();
        let mut signature = [0; 96];
        let numbers = self.report[0x2a0..0x2d0].iter().rev();
        let numbers = numbers.chain(self.report[0x2e8..0x318].iter().rev());
        signature.iter_mut().zip(numbers).for_each(|(to, from)| *to = *from);
        (&self.vek[at..at + 97], signature)
    }
}
