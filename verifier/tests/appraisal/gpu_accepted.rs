//! Good evidence of processor and GPUs in one session is accepted, and what the
//! verdict then says of both.

use bastide_attestation::{Decision, GpuSeedKind, Platform, Status, Verdict, binding, sha256};
use bastide_attester::simulator::nvidia::{Encoding, GpuFaults, GpuOptions};
use bastide_verifier::{CheckId, Policy, RecordedNras, Scope};

use crate::support::gpu_policies::{self, EIGHT};
use crate::support::gpus::Gpus;
use crate::support::pki::Kind;
use crate::support::{Case, NOW, nras, policies};

fn verdict(gpus: &Gpus, policy: &Policy) -> Verdict {
    Case::with_gpus(Kind::Genoa, gpus.part())
        .make()
        .live_verdict(policy)
}

fn accepted(verdict: &Verdict) {
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
}

fn got<'v>(verdict: &'v Verdict, id: &str) -> (Status, &'v str) {
    let check = verdict.checks.iter().find(|check| check.id == id).unwrap();
    (check.status, &check.got)
}

/// Every check of processor and GPUs once, each as `apart` says or passed.
fn require_whole(verdict: &Verdict, apart: &dyn Fn(&str) -> Option<Status>) {
    let scope = Scope {
        platform: Some(Platform::Snp),
        gpus: true,
    };
    let mut ids: Vec<_> = verdict.checks.iter().map(|check| check.id).collect();
    let mut all: Vec<_> = CheckId::of(scope).map(CheckId::name).collect();
    ids.sort_unstable();
    all.sort_unstable();
    assert_eq!(ids, all);
    for check in &verdict.checks {
        let expected = match check.id {
            // No list came, and the tests' policy leaves these to the host.
            "snp.crl" | "snp.policy.bits" | "snp.platform.bits" | "snp.chip_id" | "snp.host_data"
            | "gpu.device" | "gpu.nras" => Status::Skip,
            "snp.memory_bus" | "gpu.settings" | "gpu.same_machine" => Status::NotProvable,
            id => apart(id).unwrap_or(Status::Pass),
        };
        assert_eq!(check.status, expected, "{check:?}");
    }
}

#[test]
fn a_processor_and_a_gpu_in_one_session_are_accepted_with_every_check_listed() {
    let gpus = Gpus::one();
    let verdict = verdict(&gpus, &gpu_policies::with(&[]));
    accepted(&verdict);
    require_whole(&verdict, &|_| None);
    let digest = hex::encode(sha256(&[&gpus.part().evidence]));
    assert_eq!(
        got(&verdict, "gpu.evidence").1,
        format!("1 device(s), sha256:{digest}")
    );
    assert_eq!(got(&verdict, "gpu.measurements").1, "33 of 33");
    assert_eq!(
        got(&verdict, "gpu.nvlink"),
        (Status::Pass, "one GPU: nothing goes between GPUs")
    );
    // Both simulations are named: of the processor, of devices, of manifests.
    assert!(verdict.simulated);
    assert_eq!(verdict.roots.len(), 4, "{:?}", verdict.roots);
    let [gpu] = &verdict.gpus[..] else {
        panic!("{:?}", verdict.gpus)
    };
    let nonce = binding::gpu_nonce(
        &bastide_attestation::BootId::new(crate::support::BOOT_ID),
        0,
        &gpus.seed,
    );
    for (fact, value) in [
        ("kind", "gpu"),
        ("family", "HOPPER"),
        ("mode", "SPT"),
        ("driver", "580.159.03"),
        ("vbios", "96.00.9F.00.01"),
        ("measurements_matched", "33"),
        ("nonce", &nonce.to_string()),
    ] {
        assert_eq!(gpu[fact], value, "{fact}");
    }
}

#[test]
fn eight_gpus_and_four_switches_are_accepted_and_nvlink_is_said_to_be_in_the_clear() {
    for encoding in [Encoding::Legacy, Encoding::Nvdaod] {
        let gpus = Gpus::simulated(GpuOptions {
            encoding,
            ..GpuOptions::protected_pcie(NOW)
        });
        let verdict = verdict(&gpus, &gpu_policies::with(&EIGHT));
        accepted(&verdict);
        require_whole(&verdict, &|id| {
            (id == "gpu.nvlink").then_some(Status::NotProvable)
        });
        assert!(got(&verdict, "gpu.nvlink").1.contains("in the clear"));
        assert_eq!(got(&verdict, "gpu.topology").1, "8 GPU(s), 4 NVSwitch(es)");
        // 33 of each GPU, 31 of each switch.
        assert_eq!(got(&verdict, "gpu.measurements").1, "388 of 388");
        let kinds: Vec<_> = verdict.gpus.iter().map(|gpu| gpu["kind"].as_str()).collect();
        assert_eq!(kinds[..8], ["gpu"; 8]);
        assert_eq!(kinds[8..], ["nvswitch"; 4]);
    }
}

#[test]
fn a_gpu_whose_video_decoder_is_off_is_accepted_and_that_is_said() {
    let gpus = Gpus::simulated(GpuOptions {
        faults: GpuFaults {
            nvdec_disabled: true,
            ..GpuFaults::default()
        },
        ..GpuOptions::new(NOW)
    });
    let verdict = verdict(&gpus, &gpu_policies::with(&[]));
    accepted(&verdict);
    let said = got(&verdict, "gpu.measurements").1;
    assert!(
        said.starts_with("32 of 33; ") && said.contains("NVDEC0"),
        "{said}"
    );
}

#[test]
fn pinned_devices_and_pinned_expired_manifests_are_accepted_each_for_its_time() {
    let gpus = Gpus::simulated(GpuOptions {
        faults: GpuFaults {
            expired_rim_signer: true,
            ..GpuFaults::default()
        },
        ..GpuOptions::new(NOW)
    });
    let pin = |key: &str, value: &str| {
        format!("{{ {key} = \"{value}\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"t\" }}")
    };
    let rims: Vec<_> = gpus
        .endorsements
        .rims
        .iter()
        .map(|rim| pin("sha256", &hex::encode(sha256(&[rim]))))
        .collect();
    let pinned = format!("\"pinned\"\nrims = [{}]", rims.join(", "));
    let grace = "\"grace\"\nrim_grace_days = 2".to_owned();
    for (expiry, said) in [(pinned, "its file pinned"), (grace, "within the days of grace")] {
        let found = verdict(&gpus, &gpu_policies::with(&[("\"strict\"", &expiry)]));
        accepted(&found);
        let validity = got(&found, "gpu.rim.validity").1;
        assert!(validity.contains(said), "{validity}");
        let device = format!("count = 1\ndevices = [{}]", pin("ueid", &found.gpus[0]["ueid"]));
        let listed = verdict(
            &gpus,
            &gpu_policies::with(&[
                ("\"strict\"", &expiry),
                ("\"gpu.device\", ", ""),
                ("count = 1", &device),
            ]),
        );
        accepted(&listed);
        assert_eq!(got(&listed, "gpu.device").0, Status::Pass);
    }
}

#[test]
fn a_challenge_made_of_this_trees_root_is_accepted_whatever_seed_was_sent() {
    // The nonce must follow from the statement's own root.
    let mut case = Case::new(Kind::Genoa);
    let nonce = binding::gpu_nonce(
        &case.statement.boot_id,
        case.statement.gpu_epoch,
        case.statement.root.as_bytes(),
    );
    let gpus = bastide_attester::simulator::nvidia::SimulatedGpus::new(GpuOptions::new(NOW)).unwrap();
    let part = bastide_attestation::GpuPart {
        evidence: gpus.evidence(&nonce).unwrap().encode(),
        seed: [9; 32],
        endorsements: gpus.endorsements(NOW).unwrap(),
    };
    case.statement.gpu_digest = Some(sha256(&[&part.evidence]));
    case.statement.gpu_seed = GpuSeedKind::Strict;
    case.gpu = Some(part);
    accepted(&case.make().live_verdict(&gpu_policies::with(&[])));
}

#[test]
fn revocation_that_is_soft_or_off_is_said_to_be_left_out() {
    let mut gpus = Gpus::one();
    gpus.endorsements.ocsp.clear();
    for (change, said) in [
        (("\"hard\"", "\"soft\""), "no answer"),
        (
            ("\"hard\"\nrevocation_max_age_hours = 24", "\"off\""),
            "revocation = \"off\"",
        ),
    ] {
        let found = verdict(&gpus, &gpu_policies::with(&[change]));
        accepted(&found);
        for id in ["gpu.revocation.device", "gpu.revocation.rim"] {
            let (status, got) = got(&found, id);
            assert_eq!(status, Status::Skip, "{id}");
            assert!(got.contains(said), "{id}: {got}");
        }
    }
}

#[test]
fn a_recorded_machine_is_judged_with_the_gpus_recorded_beside_it() {
    let made = Case::new(Kind::Genoa).make();
    let gpus = Gpus::one();
    let verdict = gpus.recorded_verdict(&made, None, &gpu_policies::with(&[]));
    accepted(&verdict);
    assert_eq!(got(&verdict, "gpu.nonce").0, Status::Skip);
    assert_eq!(got(&verdict, "gpu.evidence").0, Status::Skip);
    // A policy without GPUs refuses what comes with some.
    let refused = gpus.recorded_verdict(&made, None, &policies::with(&[]));
    assert_eq!(refused.code, Some("gpu.evidence.not_expected"));
    // NVIDIA's remote service says the same.
    let token = nras::bundle(&verdict.gpus[0], NOW, |_, _| {});
    let said = RecordedNras {
        token: &token,
        jwks: &nras::keys(),
    };
    let second = gpus.recorded_verdict(&made, Some(said), &gpu_policies::with(&[]));
    accepted(&second);
    assert_eq!(got(&second, "gpu.nras").0, Status::Pass);
}
