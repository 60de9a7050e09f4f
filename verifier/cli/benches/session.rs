//! What one more session costs a client beyond its handshake: the answer read,
//! completed and judged, with its epoch appraised a moment ago, and in full. The
//! evidence is the simulator's, signed like AMD's; the policy is the shipped
//! `development`, without its GPUs. The tree is one of a thousand sessions that came at once.

use std::hint::black_box;
use std::sync::Arc;

use bastide_attestation::binding::LeafType;
use bastide_attestation::{
    Appraiser, AttestAnswer, Binder, BootId, Evidence, KeyThumbprint, ManifestDigest, Omission, PolicyDigest,
    SessionExpectation, UnixTime,
};
use bastide_attested_tls::{EnclaveFacts, EpochCache, LaneLimits, LaneM, SessionKey};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_verifier::{Policy, Verifier, shipped};
use criterion::{Criterion, criterion_group, criterion_main};

const SESSIONS: u32 = 1_000;
const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

fn verifier() -> Arc<dyn Appraiser> {
    // For machines without GPUs: what they would add is the appraisal's, not the session's.
    let mut policy: toml::Table = shipped::DEVELOPMENT.parse().expect("the shipped policy is TOML");
    policy.remove("gpu").expect("it asks for a GPU");
    if let Some(roots) = policy["roots"].as_table_mut() {
        roots.remove("gpu_extra");
    }
    if let Some(ignored) = policy["ignore"].as_array_mut() {
        ignored.retain(|check| check.as_str().is_some_and(|check| !check.starts_with("gpu.")));
    }
    let text = toml::to_string(&policy).expect("it is TOML still");
    let policy = Policy::parse(text.as_bytes()).expect("it is a policy still");
    Arc::new(Verifier::new(policy))
}

fn lane() -> LaneM {
    let simulator = Simulator::new(SimulatorOptions::new(Generation::Genoa, NOW)).expect("a simulator");
    let facts = EnclaveFacts {
        boot_id: BootId::new([1; 16]),
        session_key: SessionKey::generate().expect("there is randomness"),
        receipt_key: KeyThumbprint::new([3; 32]),
        sealed_key: None,
        model: ManifestDigest::new([4; 32]),
        configuration: PolicyDigest::new([5; 32]),
        debug: false,
        pipeline: false,
    };
    LaneM::start(Arc::new(simulator), facts, LaneLimits::default()).expect("a thread")
}

fn binder(number: u32) -> Binder {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Binder::new(bytes)
}

/// Two sessions of one epoch of about a thousand.
fn two_sessions() -> [(SessionExpectation, Evidence); 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let lane = lane();
        let waiting: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let lane = lane.clone();
                tokio::spawn(async move { lane.attest(binder(number)).await.expect("the simulator answers") })
            })
            .collect();
        let mut sessions = Vec::new();
        for (number, attested) in (0..SESSIONS).zip(waiting) {
            let expected = SessionExpectation {
                binder: binder(number),
                leaf: LeafType::ServerTls,
            };
            sessions.push((expected, attested.await.expect("no panic").evidence()));
        }
        let last = sessions.pop().expect("there are sessions");
        let other = sessions.pop().expect("there are sessions");
        assert_eq!(last.1.statement, other.1.statement, "they waited together");
        assert!(last.1.proof.path.len() >= 8, "{}", last.1.proof.path.len());
        [last, other]
    })
}

fn sessions(criterion: &mut Criterion) {
    let [(first, known), (session, evidence)] = two_sessions();
    let omitted = Omission {
        endorsements: true,
        gpu: true,
    };
    let (short, whole) = (evidence.encode_without(omitted), evidence.encode());
    println!(
        "answer: {} bytes, {} with what the client has left out",
        whole.len(),
        short.len()
    );
    let judge = |appraiser: &dyn Appraiser, answer: &[u8]| {
        let Ok(AttestAnswer::Evidence(partial)) = AttestAnswer::decode(black_box(answer)) else {
            panic!("the answer is evidence");
        };
        let evidence = partial.complete(Some(&known)).expect("nothing is missing");
        let result = appraiser.appraise(&evidence, &session, NOW);
        (result.expect("it is accepted"), evidence)
    };
    let cache = EpochCache::new(verifier());
    let of_first = bastide_attestation::Untrusted::new(known.clone());
    cache.appraise(&of_first, &first, NOW).expect("it is accepted");
    let full = verifier();
    full.appraise(&of_first, &first, NOW).expect("it is accepted");

    let mut group = criterion.benchmark_group("session_beyond_the_handshake");
    group.bench_function("cached_epoch", |bencher| {
        bencher.iter(|| judge(&cache, &short));
    });
    group.bench_function("cached_epoch_whole_answer", |bencher| {
        bencher.iter(|| judge(&cache, &whole));
    });
    group.bench_function("full_appraisal", |bencher| {
        bencher.iter(|| judge(full.as_ref(), &whole));
    });
    group.finish();
}

criterion_group!(benches, sessions);
criterion_main!(benches);
