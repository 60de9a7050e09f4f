//! Endorsements for tests: a simulated guest's, in AMD's formats. Other tests
//! of this crate include this file by its path.

use bastide_attestation::snp::{SigningKey, SnpReport, TcbVersion, VcekId, VekId};
use bastide_attestation::{
    Attester as _, BootId, EpochStatement, GpuSeedKind, KeyThumbprint, ManifestDigest, PlatformEvidence,
    PolicyDigest, StatementDigest, TimeSource, TreeHash, UnixTime,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use der::pem::LineEnding;

/// 2026-06-01T00:00:00Z.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_780_272_000);

/// When a guest's endorsements were issued that is simulated at `now`: the day before.
pub(crate) const fn issued(now: UnixTime) -> UnixTime {
    UnixTime::from_secs(now.as_secs() - 86_400)
}

/// A simulated guest's report and what endorses it.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) id: VcekId,
    /// DER.
    pub(crate) vcek: Vec<u8>,
    /// PEM, ASK first.
    pub(crate) chain: Vec<u8>,
    /// DER.
    pub(crate) crl: Vec<u8>,
}

impl Guest {
    pub(crate) fn name(&self) -> crate::Name {
        crate::Name::Vcek(self.id)
    }

    pub(crate) fn chain_name(&self) -> crate::Name {
        crate::Name::Chain(self.id.generation(), SigningKey::Vcek)
    }

    pub(crate) fn crl_name(&self) -> crate::Name {
        crate::Name::Crl(self.id.generation(), SigningKey::Vcek)
    }
}

/// A guest on a chip, at a time, at a TCB version.
pub(crate) fn guest_at(generation: Generation, chip: u8, now: UnixTime, tcb: Option<TcbVersion>) -> Guest {
    let simulator = Simulator::new(SimulatorOptions {
        chip,
        tcb,
        latency: std::time::Duration::ZERO,
        ..SimulatorOptions::new(generation, now)
    })
    .unwrap();
    let attestation = simulator.attest(&statement()).unwrap();
    let PlatformEvidence::Snp(report) = attestation.platform else {
        panic!("not SNP evidence");
    };
    let VekId::Vcek(id) = VekId::of(&SnpReport::parse(report.as_slice()).unwrap()).unwrap() else {
        panic!("not a VCEK");
    };
    let chain = attestation.endorsements.chain.iter();
    Guest {
        id,
        vcek: attestation.endorsements.vek,
        chain: chain.map(|der| pem(der)).collect::<String>().into_bytes(),
        crl: attestation.endorsements.crl.unwrap(),
    }
}

/// A guest as they usually are.
pub(crate) fn guest(generation: Generation) -> Guest {
    guest_at(generation, 0, NOW, None)
}

fn pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap()
}

fn statement() -> bastide_attestation::StatementBytes {
    EpochStatement {
        boot_id: BootId::new([1; 16]),
        epoch: 0,
        previous: StatementDigest::new([2; 32]),
        depth: 4,
        root: TreeHash::new([3; 32]),
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
    }
    .encode()
}
