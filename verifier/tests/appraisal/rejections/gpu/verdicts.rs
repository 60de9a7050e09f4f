//! GPU evidence that takes more than one change to be wrong: sessions, whole
//! machines, other times, second opinions.

use bastide_attestation::nvidia::GpuEndorsements;
use bastide_attestation::{BootId, GpuSeedKind, UnixTime, Verdict, sha256};
use bastide_attester::simulator::nvidia::{GpuFaults, GpuOptions};
use bastide_verifier::{Policy, RecordedNras, Rejection};
use serde_json::Value;

use super::{DAY, other_machine, verdict};
use crate::support::gpu_policies::{self, EIGHT};
use crate::support::gpus::Gpus;
use crate::support::pki::Kind;
use crate::support::{Case, NOW, nras, policies};

/// What a statement says of GPUs, and what was sent.
pub(super) fn sessions(good: &Gpus, policy: &Policy) -> Vec<(Rejection, &'static str, Verdict)> {
    use Rejection as R;
    let case = || Case::with_gpus(Kind::Genoa, good.part());
    let live = |change: &dyn Fn(&mut Case), policy: &Policy| {
        case().with(|case| change(case)).make().live_verdict(policy)
    };
    let without = policies::with(&[]);
    let malformed = |bytes: &'static [u8]| {
        move |case: &mut Case| {
            case.statement.gpu_digest = Some(sha256(&[bytes]));
            if let Some(part) = &mut case.gpu {
                part.evidence = bytes.to_vec();
            }
        }
    };
    vec![
        (
            R::GpuNotExpected,
            "GPUs under a policy for machines without",
            live(&|_| {}, &without),
        ),
        (
            R::GpuNotExpected,
            "GPUs named and not sent under a policy for machines without",
            live(&|case| case.gpu = None, &without),
        ),
        (
            R::GpuNotExpected,
            "GPUs sent and not named under a policy for machines without",
            live(&|case| case.statement.gpu_digest = None, &without),
        ),
        (
            R::GpuMissing,
            "a machine without GPUs",
            Case::new(Kind::Genoa).make().live_verdict(policy),
        ),
        (
            R::GpuMissing,
            "GPUs named and not sent",
            live(&|case| case.gpu = None, policy),
        ),
        (
            R::GpuMissing,
            "GPUs sent and not named",
            live(&|case| case.statement.gpu_digest = None, policy),
        ),
        (
            R::GpuDigest,
            "another machine's GPUs sent",
            live(&|case| case.gpu = Some(other_machine().part()), policy),
        ),
        (
            R::GpuDigest,
            "one byte of the bundle altered",
            live(
                &|case| {
                    if let Some(part) = &mut case.gpu {
                        part.evidence[100] ^= 1;
                    }
                },
                policy,
            ),
        ),
        (
            R::GpuEvidenceMalformed,
            "a bundle that is no CBOR",
            live(&malformed(b"\xff"), policy),
        ),
        (
            R::GpuEvidenceMalformed,
            "a bundle of no device",
            live(&malformed(b"\x80"), policy),
        ),
        (
            R::GpuNonceMismatch,
            "GPUs of another GPU epoch",
            live(&|case| case.statement.gpu_epoch += 1, policy),
        ),
        (
            R::GpuNonceMismatch,
            "GPUs of another boot",
            live(&|case| case.statement.boot_id = BootId::new([2; 16]), policy),
        ),
        (
            R::GpuNonceMismatch,
            "a seed that is not this tree's where it must be",
            live(&|case| case.statement.gpu_seed = GpuSeedKind::Strict, policy),
        ),
    ]
}

/// Machines of eight GPUs and four NVSwitches.
pub(super) fn machines() -> Vec<(Rejection, &'static str, Verdict)> {
    use Rejection as R;
    let policy = gpu_policies::with(&EIGHT);
    let good = Gpus::eight();
    let changed = |change: &dyn Fn(&mut Gpus)| {
        let mut gpus = good.clone();
        change(&mut gpus);
        verdict(&gpus, &policy)
    };
    let other = Gpus::simulated(GpuOptions {
        driver: "580.159.04".to_owned(),
        ..GpuOptions::protected_pcie(NOW)
    });
    let elsewhere = Gpus::simulated(GpuOptions {
        machine: 1,
        ..GpuOptions::protected_pcie(NOW)
    });
    let duplicate = Gpus::simulated(GpuOptions {
        faults: GpuFaults {
            duplicate_device: true,
            ..GpuFaults::default()
        },
        ..GpuOptions::protected_pcie(NOW)
    });
    vec![
        (
            R::GpuKind,
            "a GPU's report under a switch's chain",
            changed(&|gpus| gpus.devices[0].chain = gpus.devices[8].chain.clone()),
        ),
        (
            R::GpuKind,
            "a switch's report under a GPU's chain",
            changed(&|gpus| gpus.devices[11].chain = gpus.devices[0].chain.clone()),
        ),
        (
            R::GpuDuplicate,
            "one GPU in two places",
            verdict(&duplicate, &policy),
        ),
        (
            R::GpuTopology,
            "three switches",
            changed(&|gpus| {
                gpus.devices.pop();
            }),
        ),
        (
            R::GpuTopology,
            "no switch",
            changed(&|gpus| gpus.devices.truncate(8)),
        ),
        (
            R::GpuTopology,
            "another machine's switch",
            changed(&|gpus| gpus.devices[11] = elsewhere.devices[11].clone()),
        ),
        (
            R::GpuCount,
            "seven GPUs",
            changed(&|gpus| {
                gpus.devices.remove(0);
            }),
        ),
        (
            R::GpuCount,
            "switches alone",
            changed(&|gpus| {
                gpus.devices.drain(..8);
            }),
        ),
        (
            R::GpuModeMixed,
            "one GPU with another driver",
            changed(&|gpus| {
                gpus.devices[7] = other.devices[7].clone();
                gpus.endorsements.rims.push(other.endorsements.rims[0].clone());
            }),
        ),
        (
            R::RimMissing,
            "no switch's manifest",
            changed(&|gpus| {
                gpus.endorsements.rims.pop();
            }),
        ),
    ]
}

/// What takes another time or another source.
pub(super) fn others(good: &Gpus, policy: &Policy) -> Vec<(Rejection, &'static str, Verdict)> {
    use Rejection as R;
    let at = |seconds: u64| {
        let answers = Gpus::answered(GpuOptions::new(NOW), UnixTime::from_secs(seconds));
        let mut gpus = good.clone();
        gpus.endorsements.ocsp = answers.endorsements.ocsp;
        verdict(&gpus, policy)
    };
    // Of the same version, for NVSwitches.
    let switches = Gpus::simulated(GpuOptions {
        switch_bios: "96.00.9F.00.01".to_owned(),
        ..GpuOptions::protected_pcie(NOW)
    });
    let mut other = good.clone();
    other.endorsements.rims[1] = switches.endorsements.rims[2].clone();
    let unstapled = Gpus {
        endorsements: GpuEndorsements::default(),
        ..good.clone()
    };
    let device = unpinned(good);
    vec![
        (
            R::GpuRevocationStale,
            "answers of two days ago",
            at(NOW.as_secs() - 2 * DAY),
        ),
        (
            R::GpuRevocationStale,
            "answers of tomorrow",
            at(NOW.as_secs() + DAY),
        ),
        (
            R::RimOther,
            "a switch's manifest of the VBIOS's version",
            verdict(&other, policy),
        ),
        (R::RimMissing, "nothing stapled", verdict(&unstapled, policy)),
        (R::PinNotCurrent, "a GPU's pin that ended", device),
    ]
}

/// A policy that pinned the very GPU until yesterday.
fn unpinned(good: &Gpus) -> Verdict {
    let accepted = verdict(good, &gpu_policies::with(&[]));
    let pin = format!(
        "count = 1\ndevices = [{{ ueid = \"{}\", not_before = 2026-01-01, not_after = 2026-02-28, reason = \"t\" }}]",
        accepted.gpus[0]["ueid"]
    );
    verdict(
        good,
        &gpu_policies::with(&[("\"gpu.device\", ", ""), ("count = 1", &pin)]),
    )
}

/// What NVIDIA's remote service said of a GPU that is good.
pub(super) fn second_opinions(good: &Gpus, policy: &Policy) -> Vec<(Rejection, &'static str, Verdict)> {
    use Rejection as R;
    let processor = Case::new(Kind::Genoa).make();
    let keys = nras::keys();
    let said = |token: &[u8], jwks: &[u8]| {
        good.recorded_verdict(&processor, Some(RecordedNras { token, jwks }), policy)
    };
    let facts = &good.recorded_verdict(&processor, None, policy).gpus[0];
    let bundle =
        |at: UnixTime, change: fn(&mut Value, &mut Value)| said(&nras::bundle(facts, at, change), &keys);
    let other = other_machine().recorded_verdict(&processor, None, policy);
    let mut elsewhere = other.gpus[0].clone();
    elsewhere.insert("nonce", facts["nonce"].clone());
    vec![
        (R::NrasInvalid, "no token", said(b"{}", &keys)),
        (
            R::NrasInvalid,
            "no key",
            said(&nras::bundle(facts, NOW, |_, _| {}), b"{\"keys\":[]}"),
        ),
        (
            R::NrasInvalid,
            "an answer to another challenge",
            bundle(NOW, |overall, _| overall["eat_nonce"] = "ab".repeat(32).into()),
        ),
        (
            R::NrasInvalid,
            "a token of somebody else's",
            bundle(NOW, |overall, _| overall["iss"] = "https://example.com".into()),
        ),
        (
            R::NrasInvalid,
            "a token of yesterday",
            bundle(UnixTime::from_secs(NOW.as_secs() - DAY), |_, _| {}),
        ),
        (
            R::NrasDisagrees,
            "the service refused",
            bundle(NOW, |overall, _| {
                overall["x-nvidia-overall-att-result"] = false.into();
            }),
        ),
        (
            R::NrasDisagrees,
            "the service found other measurements",
            bundle(NOW, |_, device| device["measres"] = "fail".into()),
        ),
        (
            R::NrasDisagrees,
            "another driver",
            bundle(NOW, |_, device| {
                device["x-nvidia-gpu-driver-version"] = "580.159.04".into();
            }),
        ),
        (
            R::NrasDisagrees,
            "another machine's GPU",
            said(&nras::bundle(&elsewhere, NOW, |_, _| {}), &keys),
        ),
    ]
}
