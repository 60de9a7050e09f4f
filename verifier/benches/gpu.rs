//! How long the appraisal of one GPU takes, on aws-lc-rs and on ring, against
//! the bare verifications of P-384 that it makes, and where the rest goes. The
//! evidence is the recorded H100's where the vectors are, else the simulator's;
//! the policy asks nothing about revocation.

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "a benchmark needs a part of the tests' evidence")]
mod support;

use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bastide_attestation::nvidia::{DeviceFacts, SpdmReport};
use bastide_attestation::{Decision, GpuNonce, UnixTime};
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
use bastide_verifier::crypto::{self, Crypto};
use bastide_verifier::{Policy, RecordedGpu, RecordedGpus, Verifier};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use support::gpu_policies::{ONE_HOPPER, real};
use support::gpu_vectors::GpuSet;

const PROVIDERS: [(&str, &dyn Crypto); 2] = [("aws-lc-rs", &crypto::AwsLc), ("ring", &crypto::Ring)];

/// 2025-08-21T12:00:00Z: the recorded signers and the recorded answer are valid.
const NOW: UnixTime = UnixTime::from_secs(1_755_777_600);

/// Times that each thing is done, in turns with the others.
const TURNS: usize = 301;

/// The roots of the simulation, for any policy.
const SIMULATED_ROOT: &str = r#"nvidia = true
[[roots.gpu_extra]]
name = "bench"
device_spki = "87713a0727514fa0b4d1601cefde284a088959b08756239ac276850086296fb3"
rim_spki = "279b4a6470a787066d058071089875b16618b0e7daa0a1d025c55614b115700b"
simulated = true
"#;

/// A policy for one GPU, recorded or simulated.
fn policy(revocation: &str) -> Policy {
    real(
        ONE_HOPPER,
        &[
            ("nvidia = true\n", SIMULATED_ROOT),
            ("allow_simulated = false", "allow_simulated = true"),
            (
                "revocation = \"hard\"\nrevocation_max_age_hours = 2160\n",
                revocation,
            ),
        ],
    )
}

/// How much a verifier remembers when it is asked, and so how many
/// verifications are left.
#[derive(Clone, Copy, PartialEq)]
enum Remembers {
    /// Chain 5, report 1, two manifests 5 each.
    Nothing = 16,
    /// Chain 5, report 1: no authority of this chain was seen.
    Manifests = 6,
    /// The device's own two certificates, report 1.
    Everything = 3,
}

impl Remembers {
    const ALL: [Self; 3] = [Self::Nothing, Self::Manifests, Self::Everything];

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "cold",
            Self::Manifests => "manifests remembered",
            Self::Everything => "manifests and authorities remembered",
        }
    }
}

/// One GPU with its manifests, and what makes a verifier remember.
struct Subject {
    name: &'static str,
    set: GpuSet,
    /// Another GPU under other authorities with the same manifests; the
    /// simulation has one set of authorities only.
    other: Option<GpuSet>,
    policy: Policy,
}

impl Subject {
    fn new() -> Self {
        let simulated = simulated();
        let policy = policy("revocation = \"off\"\n");
        let Some(mut set) = GpuSet::folder("h100-550.90.07") else {
            return Self {
                name: "simulated Hopper GPU",
                set: simulated,
                other: None,
                policy,
            };
        };
        set.endorsements.ocsp.clear();
        let mut other = simulated;
        other.endorsements = set.endorsements.clone();
        Self {
            name: "H100, driver 550.90.07",
            set,
            other: Some(other),
            policy,
        }
    }

    /// What can be measured with this evidence.
    fn cases(&self) -> impl Iterator<Item = Remembers> {
        let all = self.other.is_some();
        Remembers::ALL
            .into_iter()
            .filter(move |case| all || *case != Remembers::Manifests)
    }

    fn verifier(&self, remembers: Remembers, crypto: &'static dyn Crypto) -> Verifier {
        let verifier = Verifier::with_crypto(self.policy.clone(), crypto);
        match (remembers, &self.other) {
            (Remembers::Nothing, _) | (Remembers::Manifests, None) => {}
            // Refused, for its manifests are another's; they are authentic all the same.
            (Remembers::Manifests, Some(other)) => assert!(!accepts(&verifier, other)),
            (Remembers::Everything, _) => assert!(accepts(&verifier, &self.set)),
        }
        verifier
    }

    /// The verifications that an appraisal makes, to be made again bare.
    fn verifications(&self, remembers: Remembers) -> Vec<Verification> {
        let witness: &'static Witness = Box::leak(Box::new(Witness::default()));
        let verifier = self.verifier(remembers, witness);
        witness.take();
        assert!(accepts(&verifier, &self.set));
        let made = witness.take();
        assert_eq!(made.len(), remembers as usize, "{}", remembers.name());
        made
    }
}

fn simulated() -> GpuSet {
    let gpus = SimulatedGpus::new(GpuOptions::new(NOW)).expect("the options are sound");
    let evidence = gpus.evidence(&GpuNonce::new([7; 32])).expect("GPUs sign");
    let mut endorsements = gpus.endorsements(NOW).expect("responders sign");
    endorsements.ocsp.clear();
    let devices = evidence.devices().iter();
    GpuSet {
        devices: devices
            .map(|device| (device.report.clone(), device.chain.clone()))
            .collect(),
        endorsements,
    }
}

fn accepts(verifier: &Verifier, set: &GpuSet) -> bool {
    let devices: Vec<_> = set
        .devices
        .iter()
        .map(|(report, chain)| RecordedGpu { report, chain })
        .collect();
    let gpus = RecordedGpus {
        devices: &devices,
        endorsements: &set.endorsements,
        nonce: None,
        nras: None,
    };
    let verdict = verifier.appraise_recorded_gpus(black_box(&gpus), NOW);
    verdict.decision == Decision::Accepted
}

/// One verification of P-384, and when it was made.
#[derive(Debug)]
struct Verification {
    point: Vec<u8>,
    message: Vec<u8>,
    signature: [u8; 96],
    began: Instant,
    ended: Instant,
}

fn bare(verifications: &[Verification], crypto: &dyn Crypto) -> bool {
    verifications
        .iter()
        .all(|one| crypto.p384_sha384_verify(black_box(&one.point), &one.message, &one.signature))
}

/// The library that is linked, watched.
#[derive(Debug, Default)]
struct Witness(Mutex<Vec<Verification>>);

impl Witness {
    fn take(&self) -> Vec<Verification> {
        core::mem::take(&mut self.0.lock().expect("nobody panics"))
    }
}

impl Crypto for Witness {
    fn rsa_pss_sha384_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        unreachable!("GPUs have no RSA")
    }

    fn rsa_pkcs1_sha256_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        unreachable!("GPUs have no RSA")
    }

    fn p384_sha384_verify(&self, point: &[u8], message: &[u8], signature: &[u8; 96]) -> bool {
        let began = Instant::now();
        let verifies = crypto::provider().p384_sha384_verify(point, message, signature);
        let ended = Instant::now();
        self.0.lock().expect("nobody panics").push(Verification {
            point: point.to_vec(),
            message: message.to_vec(),
            signature: *signature,
            began,
            ended,
        });
        verifies
    }
}

fn benchmark(criterion: &mut Criterion) {
    let subject = Subject::new();
    for remembers in subject.cases() {
        let verifications = subject.verifications(remembers);
        let mut group = criterion.benchmark_group(format!("GPU, {}", remembers.name()));
        for (name, crypto) in PROVIDERS {
            group.bench_function(name, |bencher| {
                bencher.iter_batched_ref(
                    || subject.verifier(remembers, crypto),
                    |verifier| assert!(accepts(verifier, &subject.set)),
                    BatchSize::SmallInput,
                );
            });
            group.bench_function(format!("{name}, bare verifications"), |bencher| {
                bencher.iter(|| assert!(bare(&verifications, crypto)));
            });
        }
        group.finish();
    }

    println!("{}: medians, in turns:", subject.name);
    for remembers in subject.cases() {
        let verifications = subject.verifications(remembers);
        for (name, crypto) in PROVIDERS {
            let turn = || {
                let verifier = subject.verifier(remembers, crypto);
                [
                    timed(|| assert!(accepts(&verifier, &subject.set))),
                    timed(|| assert!(bare(&verifications, crypto))),
                ]
            };
            let [ours, alone] = medians(turn);
            let ratio = ours.as_secs_f64() / alone.as_secs_f64();
            let (work, count) = (remembers.name(), remembers as usize);
            println!(
                "  {work}, {name}: {ours:?} against {alone:?} of {count} verifications, {ratio:.3} times"
            );
        }
    }
    steps(&subject);
    revocation();
}

/// Where a cold appraisal's time goes, by when its verifications are made.
fn steps(subject: &Subject) {
    let witness: &'static Witness = Box::leak(Box::new(Witness::default()));
    let turn = || {
        let (report, _) = &subject.set.devices[0];
        let began = Instant::now();
        let parsed = SpdmReport::parse(black_box(report)).expect("the report is sound");
        let spdm = began.elapsed();
        let began = Instant::now();
        let facts = black_box(DeviceFacts::parse(&parsed)).is_ok();
        let opaque = began.elapsed();
        assert!(facts);

        let verifier = subject.verifier(Remembers::Nothing, witness);
        let began = Instant::now();
        assert!(accepts(&verifier, &subject.set));
        let ended = Instant::now();
        let made = witness.take();
        let spent =
            |range: core::ops::Range<usize>| made[range].iter().map(|one| one.ended - one.began).sum();
        let around = |range: core::ops::Range<usize>| -> Duration {
            range
                .map(|index| {
                    let before = index.checked_sub(1).map_or(began, |before| made[before].ended);
                    made[index].began - before
                })
                .sum()
        };
        [
            spdm,
            opaque,
            around(0..6),
            spent(0..5),
            spent(5..6),
            around(6..11),
            around(11..16),
            spent(6..16),
            ended - made[15].ended,
            ended - began,
        ]
    };
    let names = [
        "report: SPDM, alone",
        "report: opaque data, alone",
        "report and chain: form, names, digests",
        "chain: 5 signatures",
        "report: 1 signature",
        "opaque data, policy; first manifest: XML, C14N, digest, certificates",
        "second manifest: XML, C14N, digest, certificates",
        "manifests: 10 signatures",
        "golden measurements, verdict",
        "all of it",
    ];
    println!("where a cold appraisal's time goes, medians:");
    for (name, time) in names.into_iter().zip(medians(turn)) {
        println!("  {name}: {time:?}");
    }
}

/// What one OCSP answer costs: an appraisal with one, less an appraisal
/// without, both with manifests and authorities remembered.
fn revocation() {
    let (mut with, crypto) = (simulated_or_recorded(), crypto::provider());
    with.endorsements.ocsp.truncate(1);
    let mut without = with.clone();
    without.endorsements.ocsp.clear();
    let verifier = Verifier::with_crypto(
        policy("revocation = \"soft\"\nrevocation_max_age_hours = 24\n"),
        crypto,
    );
    assert!(accepts(&verifier, &with) && accepts(&verifier, &without));
    let turn = || [&with, &without].map(|set| timed(|| assert!(accepts(&verifier, set))));
    let [with, without] = medians(turn);
    println!(
        "  one OCSP answer, 2 signatures: {:?}",
        with.saturating_sub(without)
    );
}

/// The GPU with the answers about it.
fn simulated_or_recorded() -> GpuSet {
    GpuSet::folder("h100-550.90.07").unwrap_or_else(|| {
        let gpus = SimulatedGpus::new(GpuOptions::new(NOW)).expect("the options are sound");
        let endorsements = gpus.endorsements(NOW).expect("responders sign");
        let evidence = gpus.evidence(&GpuNonce::new([7; 32])).expect("GPUs sign");
        let devices = evidence.devices().iter();
        GpuSet {
            devices: devices
                .map(|device| (device.report.clone(), device.chain.clone()))
                .collect(),
            endorsements,
        }
    })
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Median of each of several times that are taken in turns, so that a change of
/// the machine's speed falls on all.
fn medians<const N: usize>(turn: impl Fn() -> [Duration; N]) -> [Duration; N] {
    let turns: Vec<_> = (0..TURNS).map(|_| turn()).collect();
    core::array::from_fn(|index| {
        let mut times: Vec<_> = turns.iter().map(|turn| turn[index]).collect();
        times.sort_unstable();
        times[TURNS / 2]
    })
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
