//! How long an appraisal takes, against the signature verifications that it
//! cannot do without. Evidence is the tests' own Genoa evidence, RSA-4096 and
//! P-384 like AMD's.

#[path = "../tests/support/mod.rs"]
#[expect(
    dead_code,
    reason = "the tests' evidence has more parts than a benchmark needs"
)]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bastide_attestation::Appraiser;
use bastide_verifier::{Verifier, crypto};
use criterion::{Criterion, criterion_group, criterion_main};

use support::keys::{RsaKey, VekKey};
use support::pki::Kind;
use support::{Case, Made, NOW, expectation, policies};

/// The bare verifications that one appraisal needs: some of RSA-PSS, one of P-384.
struct Primitives {
    message: Vec<u8>,
    rsa: Vec<u8>,
    pss: Vec<u8>,
    point: Vec<u8>,
    signed: Vec<u8>,
    signature: [u8; 96],
}

impl Primitives {
    fn new(made: &Made) -> Self {
        // A leaf's to-be-signed part has about 800 bytes.
        let message = vec![0x30; 800];
        let signed = made.report[..0x2a0].to_vec();
        Self {
            rsa: RsaKey::Ask.public(),
            pss: RsaKey::Ask.sign_pss(&message),
            point: VekKey::Vek.point(),
            signature: VekKey::Vek.sign(&signed).try_into().expect("96 bytes"),
            message,
            signed,
        }
    }

    fn verify(&self, crypto: &dyn crypto::Crypto, rsa: usize) -> bool {
        (0..rsa).all(|_| crypto.rsa_pss_sha384_verify(black_box(&self.rsa), &self.message, &self.pss))
            && crypto.p384_sha384_verify(black_box(&self.point), &self.signed, &self.signature)
    }
}

fn benchmark(criterion: &mut Criterion) {
    let made = Case::new(Kind::Genoa).make();
    let evidence = made.evidence();
    let policy = policies::with(&[]);
    let verifier = Verifier::new(policy.clone());
    let primitives = Primitives::new(&made);
    let appraise = |verifier: &Verifier| {
        verifier
            .appraise(black_box(&evidence), &expectation(), NOW)
            .is_ok()
    };
    let first = || appraise(&Verifier::new(policy.clone()));
    let limit = |rsa| primitives.verify(crypto::provider(), rsa);
    assert!(
        first() && appraise(&verifier) && limit(3),
        "everything is accepted"
    );

    let mut group = criterion.benchmark_group("appraisal");
    group.bench_function("first: 3 RSA-PSS, 1 P-384", |bencher| bencher.iter(first));
    group.bench_function("first, limit: the bare verifications", |bencher| {
        bencher.iter(|| limit(3));
    });
    group.bench_function("again: 1 P-384", |bencher| bencher.iter(|| appraise(&verifier)));
    group.bench_function("again, limit: the bare verification", |bencher| {
        bencher.iter(|| limit(0));
    });
    let ring = || primitives.verify(&crypto::Ring, 3);
    group.bench_function("first, limit with ring", |bencher| bencher.iter(ring));
    group.finish();

    // Interleaved, so that a change of the machine's speed falls on both sides.
    for (name, ours, bare) in [
        (
            "first",
            &first as &dyn Fn() -> bool,
            &(|| limit(3)) as &dyn Fn() -> bool,
        ),
        ("again", &|| appraise(&verifier), &|| limit(0)),
    ] {
        let (ours, bare) = interleaved(ours, bare);
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        println!("{name}: {ours:?} against {bare:?} of bare verification, {ratio:.3} times");
    }
}

/// Median times of two things done in turns.
fn interleaved(left: &dyn Fn() -> bool, right: &dyn Fn() -> bool) -> (Duration, Duration) {
    let timed = |work: &dyn Fn() -> bool| {
        let start = Instant::now();
        assert!(work(), "everything is accepted");
        start.elapsed()
    };
    let (mut lefts, mut rights): (Vec<_>, Vec<_>) = (0..501).map(|_| (timed(left), timed(right))).unzip();
    lefts.sort();
    rights.sort();
    (lefts[250], rights[250])
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
