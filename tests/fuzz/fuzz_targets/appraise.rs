//! A whole appraisal with fuzzed evidence and time: never a panic, never accepted.
#![no_main]

use std::sync::LazyLock;

use bastide_attestation::{Decision, UnixTime};
use bastide_verifier::{Policy, RecordedSnp, Verifier, shipped};
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::new(Policy::parse(shipped::DEVELOPMENT.as_bytes()).expect("the shipped policy loads"))
});

fuzz_target!(|input: (u32, Vec<u8>, Vec<u8>, Vec<Vec<u8>>)| {
    let (time, report, vek, chain) = input;
    let evidence = RecordedSnp { report: &report, vek: &vek, chain: &chain, crl: None, report_data: None };
    let verdict = VERIFIER.appraise_recorded(&evidence, UnixTime::from_secs(u64::from(time)));
    assert_ne!(verdict.decision, Decision::Accepted);
});
