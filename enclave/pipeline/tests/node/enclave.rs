//! Enclaves of a pipeline: a simulated machine, a lane, the real verifier, and
//! an endpoint that knows every stage of the ring.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use bastide_attestation::link::{HardwareRules, LinkContext, PeerRules, Required};
use bastide_attestation::snp::SnpReport;
use bastide_attestation::{
    Binder, BootId, ChipId, KeyThumbprint, LaunchMeasurement, ManifestDigest, Nonce, PipelineId,
    PlatformEvidence, PolicyDigest, UnixTime, sha256,
};
use bastide_attested_tls::{
    EnclaveFacts, LaneLimits, LaneM, LinkCredential, LinkEndpoint, LinkIdentity, LinkPeers, LinkPolicy,
    LinkTerms, LinkTimes, SessionKey,
};
use bastide_attester::simulator::{Generation, SIMULATED_MEASUREMENT, Simulator, SimulatorOptions};
use bastide_pipeline::node::{AttestStage, Attesting};
use bastide_verifier::{Policy, Verifier, shipped};

const PIPELINE: PipelineId = PipelineId::new([0x50; 16]);
const MODEL: ManifestDigest = ManifestDigest::new([0x60; 32]);

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime::from_secs(since.as_secs())
}

/// A simulated guest with a lane and a key for links.
#[derive(Clone)]
pub(crate) struct Enclave {
    identity: LinkIdentity,
    lane: LaneM,
    pub(crate) chip: ChipId,
}

impl Enclave {
    /// A good guest on this chip.
    pub(crate) async fn on_chip(chip: u8) -> Self {
        Self::measured(chip, SIMULATED_MEASUREMENT).await
    }

    /// A guest of another image.
    pub(crate) async fn measured(chip: u8, measurement: LaunchMeasurement) -> Self {
        let options = SimulatorOptions {
            chip,
            measurement,
            ..SimulatorOptions::new(Generation::Genoa, now())
        };
        let facts = EnclaveFacts {
            boot_id: BootId::new([1; 16]),
            session_key: SessionKey::generate().unwrap(),
            receipt_key: KeyThumbprint::new([3; 32]),
            sealed_key: None,
            model: MODEL,
            configuration: PolicyDigest::new([5; 32]),
            debug: false,
            pipeline: false,
        };
        let simulator = Arc::new(Simulator::new(options).unwrap());
        let lane = LaneM::start(simulator, facts, LaneLimits::default()).unwrap();
        let attested = lane.attest(Binder::new([9; 32])).await.unwrap();
        let PlatformEvidence::Snp(report) = &attested.evidence().platform else {
            panic!("the simulator makes SNP reports");
        };
        Self {
            identity: LinkIdentity::generate().unwrap(),
            chip: SnpReport::parse(report.as_slice()).unwrap().chip_id(),
            lane,
        }
    }

    /// This enclave as a stage of a ring whose machines have these chips.
    pub(crate) fn endpoint(
        &self,
        stage: u16,
        stages: u16,
        chips: &[ChipId],
        times: LinkTimes,
    ) -> LinkEndpoint {
        let hardware = HardwareRules {
            chips: BTreeSet::from_iter(chips.iter().copied()),
            csp_ids: BTreeSet::new(),
        };
        let policy = LinkPolicy {
            appraiser: Arc::new(Verifier::new(policy())),
            rules: PeerRules::new(Vec::new(), hardware, Required::Either).unwrap(),
        };
        let peers = (0..stages).filter(|peer| *peer != stage || stage == 0);
        let terms = LinkTerms {
            own: LinkContext {
                pipeline: PIPELINE,
                stage,
                model: MODEL,
            },
            peers: LinkPeers::new(peers.map(|peer| (peer, policy.clone()))),
            credential: LinkCredential::default(),
            capabilities: Vec::new(),
            times,
        };
        LinkEndpoint::new(self.identity.clone(), self.lane.clone(), terms)
    }

    /// What a stage's evidence for a client is bound to, in these tests.
    pub(crate) fn binder(nonce: &Nonce, stage: u16) -> Binder {
        Binder::new(sha256(&[nonce.as_bytes(), &stage.to_be_bytes()]))
    }

    pub(crate) fn attester(&self, stage: u16) -> Arc<dyn AttestStage> {
        Arc::new(Attester {
            lane: self.lane.clone(),
            stage,
        })
    }
}

struct Attester {
    lane: LaneM,
    stage: u16,
}

impl AttestStage for Attester {
    fn attest(&self, nonce: Nonce) -> Attesting {
        let (lane, stage) = (self.lane.clone(), self.stage);
        Box::pin(async move {
            let attested = lane.attest(Enclave::binder(&nonce, stage)).await.ok()?;
            Some(attested.evidence().encode())
        })
    }
}

/// The shipped policy for simulated machines, without GPUs.
fn policy() -> Policy {
    let mut in_gpus = false;
    let mut text = String::new();
    for line in shipped::by_name("development").unwrap().lines() {
        if line.starts_with('[') {
            in_gpus = line.contains("gpu");
        }
        if !in_gpus {
            text.push_str(&line.replace(", \"gpu.device\"", ""));
            text.push('\n');
        }
    }
    Policy::parse(text.as_bytes()).unwrap()
}
