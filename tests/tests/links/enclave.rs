//! Enclaves on links: a simulated machine, a lane, the real verifier, and what
//! each is and expects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use bastide_attestation::link::{HardwareRules, LinkContext, PeerRules, Required};
use bastide_attestation::snp::SnpReport;
use bastide_attestation::{
    Attester, Binder, BootId, ChipId, Credential, CredentialClaims, KeyThumbprint, ManifestDigest,
    PipelineId, PlatformEvidence, PolicyDigest, ReportId, SpkiDigest, UnixTime,
};
use bastide_attested_tls::{
    AttestedLink, EnclaveFacts, LaneLimits, LaneM, LinkCredential, LinkEndpoint, LinkError, LinkIdentity,
    LinkPeers, LinkPolicy, LinkTerms, LinkTimes, SessionKey,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_verifier::{Policy, Verifier, shipped};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::net::TcpListener;

pub(crate) const PIPELINE: PipelineId = PipelineId::new([0x50; 16]);
pub(crate) const MODEL: ManifestDigest = ManifestDigest::new([0x60; 32]);

pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime::from_secs(since.as_secs())
}

pub(crate) fn context(stage: u16) -> LinkContext {
    LinkContext {
        pipeline: PIPELINE,
        stage,
        model: MODEL,
    }
}

/// A simulated guest with a lane and a key for links.
pub(crate) struct Machine {
    pub(crate) identity: LinkIdentity,
    pub(crate) lane: LaneM,
    pub(crate) chip: ChipId,
    pub(crate) report_id: ReportId,
}

impl Machine {
    /// A good guest on this chip.
    pub(crate) async fn on_chip(chip: u8) -> Self {
        Self::boot(SimulatorOptions {
            chip,
            ..SimulatorOptions::new(Generation::Genoa, now())
        })
        .await
    }

    pub(crate) async fn boot(options: SimulatorOptions) -> Self {
        Self::with_attester(Arc::new(Simulator::new(options).unwrap())).await
    }

    pub(crate) async fn with_attester(attester: Arc<dyn Attester>) -> Self {
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
        let lane = LaneM::start(attester, facts, LaneLimits::default()).unwrap();
        let attested = lane.attest(Binder::new([9; 32])).await.unwrap();
        let PlatformEvidence::Snp(report) = attested.evidence().platform else {
            panic!("the simulator makes SNP reports");
        };
        let report = SnpReport::parse(report.as_slice()).unwrap();
        Self {
            identity: LinkIdentity::generate().unwrap(),
            lane,
            chip: report.chip_id(),
            report_id: report.report_id(),
        }
    }

    /// At this stage, expecting a peer at that one.
    pub(crate) fn endpoint(&self, stage: u16, peer_stage: u16, rules: PeerRules) -> LinkEndpoint {
        self.with_terms(terms(stage, peer_stage, rules))
    }

    pub(crate) fn with_terms(&self, terms: LinkTerms) -> LinkEndpoint {
        LinkEndpoint::new(self.identity.clone(), self.lane.clone(), terms)
    }

    /// A credential of the pipeline's owner for this guest at these stages.
    pub(crate) fn credential(&self, stages: [u16; 2]) -> Vec<u8> {
        credential(&CredentialClaims {
            not_before: UnixTime::from_secs(now().as_secs() - 60),
            expires: UnixTime::from_secs(now().as_secs() + 3600),
            spki: self.identity.spki(),
            report_id: self.report_id,
            pipeline: PIPELINE,
            stages,
            model: MODEL,
        })
    }
}

/// The shipped policy for simulated machines, without GPUs.
fn policy() -> Policy {
    Policy::parse(policy_text().as_bytes()).unwrap()
}

pub(crate) fn policy_text() -> String {
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
    text
}

/// Nobody's key.
pub(crate) const OTHER_SPKI: SpkiDigest = SpkiDigest::new([0x77; 32]);

fn owner() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[0x0f; 32]).unwrap()
}

pub(crate) fn credential(claims: &CredentialClaims) -> Vec<u8> {
    let key = owner();
    let public = key.public_key().as_ref().try_into().unwrap();
    let credential = Credential::issue(claims, &public, |bytes| key.sign(bytes).as_ref().try_into().ok());
    credential.unwrap().as_bytes().to_vec()
}

pub(crate) fn terms(stage: u16, peer_stage: u16, rules: PeerRules) -> LinkTerms {
    LinkTerms {
        own: context(stage),
        peers: LinkPeers::new([(peer_stage, judged_by(policy(), rules))]),
        credential: LinkCredential::default(),
        capabilities: vec!["bf16".to_owned()],
        times: LinkTimes::default(),
    }
}

/// What a peer must meet: this policy, and these rules.
pub(crate) fn judged_by(policy: Policy, rules: PeerRules) -> LinkPolicy {
    LinkPolicy {
        appraiser: Arc::new(Verifier::new(policy)),
        rules,
    }
}

/// Admits these chips.
pub(crate) fn chips(chips: &[ChipId]) -> PeerRules {
    let hardware = HardwareRules {
        chips: BTreeSet::from_iter(chips.iter().copied()),
        csp_ids: BTreeSet::new(),
    };
    PeerRules::new(Vec::new(), hardware, Required::Either).unwrap()
}

/// Admits whoever the owner gave a credential.
pub(crate) fn members() -> PeerRules {
    let owner = owner().public_key().as_ref().try_into().unwrap();
    PeerRules::new(vec![owner], HardwareRules::default(), Required::Either).unwrap()
}

type Opened = Result<AttestedLink, LinkError>;

/// Both ends over a socket of their own.
pub(crate) async fn link(client: &LinkEndpoint, server: &LinkEndpoint) -> (Opened, Opened) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        server.accept_over(stream).await
    };
    let stages: Vec<u16> = client.peers().stages().collect();
    let [stage] = stages[..] else {
        panic!("a client of these tests knows one stage: {stages:?}");
    };
    tokio::join!(client.connect(stage, address), accept)
}

/// The code that an end which should not have opened ended with.
pub(crate) fn code(opened: Opened) -> &'static str {
    opened.expect_err("the link must not open").code()
}
