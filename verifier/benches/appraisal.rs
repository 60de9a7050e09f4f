//! How long an appraisal takes, on aws-lc-rs and on ring, against the bare
//! signature verifications that it cannot do without. Evidence is the tests' own
//! Genoa evidence, RSA-4096 and P-384 like AMD's. Beside `sev`: `tests/peers`.

#[path = "../tests/support/mod.rs"]
#[expect(
    dead_code,
    reason = "the tests' evidence has more parts than a benchmark needs"
)]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bastide_attestation::{Appraiser, Evidence, Untrusted};
use bastide_verifier::{Verifier, crypto};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use support::keys::{RsaKey, VekKey};
use support::pki::{CertificateSpec, Kind};
use support::{Case, Made, NOW, expectation, policies};

const PROVIDERS: [(&str, &dyn crypto::Crypto); 2] = [("aws-lc-rs", &crypto::AwsLc), ("ring", &crypto::Ring)];

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

/// How much a verifier remembers when it is asked.
#[derive(Clone, Copy)]
enum Remembers {
    Nothing,
    /// The pinned root and intermediate; the leaf is new.
    Chain,
    /// The leaf, too.
    Leaf,
}

impl Remembers {
    const ALL: [Self; 3] = [Self::Nothing, Self::Chain, Self::Leaf];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "full",
            Self::Chain => "chain remembered",
            Self::Leaf => "leaf remembered",
        }
    }

    /// RSA-PSS verifications that are left.
    const fn rsa(self) -> usize {
        match self {
            Self::Nothing => 3,
            Self::Chain => 1,
            Self::Leaf => 0,
        }
    }
}

/// Evidence, and other evidence under the very same chain.
struct Subject {
    evidence: Untrusted<Evidence>,
    other: Untrusted<Evidence>,
}

impl Subject {
    fn new(made: &Made) -> Self {
        let mut leaf = CertificateSpec::leaf(Kind::Genoa);
        leaf.serial = vec![1];
        let other = Made {
            vek: leaf.sign(),
            ..made.clone()
        };
        Self {
            evidence: made.evidence(),
            other: other.evidence(),
        }
    }

    fn accepts(verifier: &Verifier, evidence: &Untrusted<Evidence>) -> bool {
        verifier
            .appraise(black_box(evidence), &expectation(), NOW)
            .is_ok()
    }

    /// A verifier that remembers so much and no more.
    fn verifier(&self, remembers: Remembers, crypto: &'static dyn crypto::Crypto) -> Verifier {
        let verifier = Verifier::with_crypto(policies::with(&[]), crypto);
        assert!(match remembers {
            Remembers::Nothing => true,
            Remembers::Chain => Self::accepts(&verifier, &self.other),
            Remembers::Leaf => Self::accepts(&verifier, &self.evidence),
        });
        verifier
    }
}

fn benchmark(criterion: &mut Criterion) {
    let made = Case::new(Kind::Genoa).make();
    let (subject, primitives) = (Subject::new(&made), Primitives::new(&made));
    for remembers in Remembers::ALL {
        let mut group = criterion.benchmark_group(remembers.name());
        for (name, crypto) in PROVIDERS {
            group.bench_function(name, |bencher| {
                bencher.iter_batched_ref(
                    || subject.verifier(remembers, crypto),
                    |verifier| assert!(Subject::accepts(verifier, &subject.evidence)),
                    BatchSize::SmallInput,
                );
            });
            group.bench_function(format!("{name}, bare verifications"), |bencher| {
                bencher.iter(|| assert!(primitives.verify(crypto, remembers.rsa())));
            });
        }
        group.finish();
    }

    println!("medians, in turns:");
    for remembers in Remembers::ALL {
        for (name, crypto) in PROVIDERS {
            let (ours, bare) = interleaved(
                &|| subject.verifier(remembers, crypto),
                &|verifier| Subject::accepts(verifier, &subject.evidence),
                &|| primitives.verify(crypto, remembers.rsa()),
            );
            let ratio = ours.as_secs_f64() / bare.as_secs_f64();
            let work = remembers.name();
            println!("  {work}, {name}: {ours:?} against {bare:?} of bare verification, {ratio:.3} times");
        }
    }
}

/// Median times of an appraisal and of bare verifications, done in turns, so
/// that a change of the machine's speed falls on both.
fn interleaved(
    prepare: &dyn Fn() -> Verifier,
    ours: &dyn Fn(&Verifier) -> bool,
    bare: &dyn Fn() -> bool,
) -> (Duration, Duration) {
    let timed = |work: &dyn Fn() -> bool| {
        let start = Instant::now();
        assert!(work(), "everything is accepted");
        start.elapsed()
    };
    let turn = || {
        let verifier = prepare();
        (timed(&|| ours(&verifier)), timed(bare))
    };
    let (mut lefts, mut rights): (Vec<_>, Vec<_>) = (0..501).map(|_| turn()).unzip();
    lefts.sort_unstable();
    rights.sort_unstable();
    (lefts[250], rights[250])
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
