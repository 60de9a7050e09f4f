//! Real GPUs and NVSwitches: the complete set of one H100 is accepted when its
//! manifests' signers were valid, and later only by whoever pins the files;
//! what lacks a manifest, a partner or a mode is refused, and says so.

use bastide_attestation::{Decision, Status, UnixTime, Verdict, sha256};
use bastide_verifier::{CheckId, Scope};

use crate::support::gpu_policies::{ONE_HOPPER, real};
use crate::support::gpu_vectors::GpuSet;

/// 2025-06-01T00:00:00Z.
const JUNE_2025: UnixTime = UnixTime::from_secs(1_748_736_000);
/// 2026-11-26T00:00:00Z.
const NOVEMBER_2026: UnixTime = UnixTime::from_secs(1_795_651_200);

const COMPLETE: &str = "h100-550.90.07";

fn status(verdict: &Verdict, id: &str) -> (Status, String) {
    let check = verdict.checks.iter().find(|check| check.id == id);
    let check = check.unwrap_or_else(|| panic!("no {id} in {verdict:#?}"));
    (check.status, check.got.to_string())
}

fn refused(verdict: &Verdict, decision: Decision, code: &str) {
    assert_eq!(
        (verdict.decision, verdict.code),
        (decision, Some(code)),
        "{verdict:#?}"
    );
}

/// 2025-08-21T12:00:00Z, within the day of the answers about the device.
const ANSWERED_DEVICE: UnixTime = UnixTime::from_secs(1_755_777_600);
/// 2025-10-24T18:00:00Z, within the day of the answers about its manifests.
const ANSWERED_RIMS: UnixTime = UnixTime::from_secs(1_761_328_800);

#[test]
fn the_complete_set_of_an_h100_is_accepted_with_all_golden_measurements() {
    let Some(set) = GpuSet::folder(COMPLETE) else {
        return;
    };
    let soft = real(ONE_HOPPER, &[("\"hard\"", "\"soft\"")]);
    let verdict = set.verdict(&soft, JUNE_2025);
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    assert_eq!(
        status(&verdict, "gpu.measurements"),
        (Status::Pass, "33 of 33".to_owned())
    );
    assert_eq!(status(&verdict, "gpu.same_machine").0, Status::NotProvable);
    let scope = Scope {
        platform: None,
        gpus: true,
    };
    let ids: Vec<_> = verdict.checks.iter().map(|check| check.id).collect();
    for id in CheckId::of(scope) {
        assert!(ids.contains(&id.name()), "{} is missing", id.name());
    }
    let [gpu] = &verdict.gpus[..] else {
        panic!("{:?}", verdict.gpus)
    };
    for (fact, value) in [
        ("kind", "gpu"),
        ("family", "HOPPER"),
        ("hwmodel", "GH100 A01 GSP BROM"),
        ("driver", "550.90.07"),
        ("vbios", "96.00.9F.00.01"),
        ("driver_rim_id", "NV_GPU_DRIVER_GH100_550.90.07"),
        ("vbios_rim_id", "NV_GPU_VBIOS_1010_0200_882_96009F0001"),
        ("mode", "SPT"),
        ("measurements_matched", "33"),
    ] {
        assert_eq!(gpu[fact], value);
    }
    assert_eq!(verdict.roots.len(), 2);
}

#[test]
fn revocation_demanded_is_answered_by_the_stapled_ocsp_while_it_holds() {
    let Some(set) = GpuSet::folder(COMPLETE) else {
        return;
    };
    let policy = real(ONE_HOPPER, &[("hours = 2160", "hours = 24")]);
    let (device, rim) = ("gpu.revocation.device", "gpu.revocation.rim");
    // The recordings are of two days: at each, what was asked then is answered.
    for (now, answered, stale) in [(ANSWERED_DEVICE, device, rim), (ANSWERED_RIMS, rim, device)] {
        let verdict = set.verdict(&policy, now);
        assert_eq!(status(&verdict, answered).0, Status::Pass, "{verdict:#?}");
        assert_eq!(status(&verdict, stale).0, Status::Fail);
        refused(&verdict, Decision::Rejected, "gpu.revocation.stale");
    }
    let mut none = set.clone();
    none.endorsements.ocsp.clear();
    refused(
        &none.verdict(&policy, ANSWERED_DEVICE),
        Decision::Undecided,
        "gpu.revocation.missing",
    );
}

#[test]
fn expired_signers_are_refused_unless_the_files_are_pinned_or_within_grace() {
    let Some(set) = GpuSet::folder(COMPLETE) else {
        return;
    };
    let off = [(
        "revocation = \"hard\"\nrevocation_max_age_hours = 2160\n",
        "revocation = \"off\"\n",
    )];
    let strict = real(ONE_HOPPER, &off);
    refused(
        &set.verdict(&strict, NOVEMBER_2026),
        Decision::Rejected,
        "gpu.rim.expired",
    );

    let pins: String = set
        .endorsements
        .rims
        .iter()
        .map(|rim| {
            format!(
                "[[gpu.rims]]\nsha256 = \"{}\"\nnot_before = 2026-01-01\nnot_after = 2027-01-01\nreason = \"t\"\n",
                hex::encode(sha256(&[rim]))
            )
        })
        .collect();
    let pinned = real(
        &format!("{ONE_HOPPER}{pins}"),
        &[off[0], ("rim_expiry = \"strict\"", "rim_expiry = \"pinned\"")],
    );
    let verdict = set.verdict(&pinned, NOVEMBER_2026);
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    assert!(status(&verdict, "gpu.rim.validity").1.contains("its file pinned"));
    // The pins themselves end.
    let next_year = UnixTime::from_secs(NOVEMBER_2026.as_secs() + 60 * 86_400);
    refused(
        &set.verdict(&pinned, next_year),
        Decision::Rejected,
        "gpu.rim.expired",
    );

    let grace = |days: &str| {
        let text = format!("rim_expiry = \"grace\"\nrim_grace_days = {days}");
        real(ONE_HOPPER, &[off[0], ("rim_expiry = \"strict\"", &text)])
    };
    assert_eq!(
        set.verdict(&grace("300"), NOVEMBER_2026).decision,
        Decision::Accepted
    );
    refused(
        &set.verdict(&grace("100"), NOVEMBER_2026),
        Decision::Rejected,
        "gpu.rim.expired",
    );
}

#[test]
fn an_h100_without_its_manifests_is_undecided_and_names_them() {
    let Some(set) = GpuSet::folder("h100-580.159.03") else {
        return;
    };
    let off = [(
        "revocation = \"hard\"\nrevocation_max_age_hours = 2160\n",
        "revocation = \"off\"\n",
    )];
    let verdict = set.verdict(&real(ONE_HOPPER, &off), NOVEMBER_2026);
    refused(&verdict, Decision::Undecided, "gpu.rim.missing");
    assert!(
        status(&verdict, "gpu.rim.selection")
            .1
            .contains("NV_GPU_DRIVER_GH100_580.159.03"),
        "{verdict:#?}"
    );
}

#[test]
fn a_b200_whose_driver_states_no_mode_is_refused() {
    let Some(set) = GpuSet::folder("b200-575.32") else {
        return;
    };
    let blackwell = [("[\"hopper\"]", "[\"blackwell\"]")];
    let verdict = set.verdict(&real(ONE_HOPPER, &blackwell), NOVEMBER_2026);
    refused(&verdict, Decision::Rejected, "gpu.mode.not_allowed");
    assert_eq!(status(&verdict, "gpu.family").0, Status::Pass);
    // Under a policy for Hopper it is of the wrong family, too.
    let verdict = set.verdict(&real(ONE_HOPPER, &[]), NOVEMBER_2026);
    refused(&verdict, Decision::Rejected, "gpu.family.not_allowed");
}

#[test]
fn a_switchs_report_under_another_switchs_chain_is_refused() {
    let Some(set) = GpuSet::folder("switch-ls10") else {
        return;
    };
    let verdict = set.verdict(&real(ONE_HOPPER, &[]), NOVEMBER_2026);
    refused(&verdict, Decision::Rejected, "gpu.report.signature");
}

/// Eight GPUs, four switches.
const EIGHT: [(&str, &str); 2] = [("count = 1", "count = 8"), ("[\"spt\"]", "[\"ppcie\"]")];

#[test]
fn eight_gpus_and_four_switches_are_one_machine_with_nvlink_in_the_clear() {
    let Some(set) = GpuSet::machine() else { return };
    let set = set.with_rim("rim/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml");
    let policy = real(ONE_HOPPER, &EIGHT);
    let verdict = set.verdict(&policy, NOVEMBER_2026);
    for id in [
        "gpu.report.signature",
        "gpu.fwid",
        "gpu.topology",
        "gpu.family",
        "gpu.mode",
        "gpu.driver",
        "gpu.vbios",
    ] {
        assert_eq!(status(&verdict, id).0, Status::Pass, "{id}: {verdict:#?}");
    }
    let nvlink = status(&verdict, "gpu.nvlink");
    assert_eq!(nvlink.0, Status::NotProvable);
    assert!(nvlink.1.contains("in the clear"));
    assert_eq!(verdict.gpus.len(), 12);
    // Nobody published the manifests of this machine's driver.
    refused(&verdict, Decision::Undecided, "gpu.rim.missing");

    for (gone, code) in [(0, "gpu.topology.count"), (11, "gpu.topology.invalid")] {
        let mut fewer = set.clone();
        fewer.devices.remove(gone);
        refused(&fewer.verdict(&policy, NOVEMBER_2026), Decision::Rejected, code);
    }
    let mut twice = set.clone();
    twice.devices[1] = twice.devices[0].clone();
    refused(
        &twice.verdict(&policy, NOVEMBER_2026),
        Decision::Rejected,
        "gpu.topology.duplicate",
    );
    // A policy for one GPU says first that there are eight.
    refused(
        &set.verdict(&real(ONE_HOPPER, &[]), NOVEMBER_2026),
        Decision::Rejected,
        "gpu.topology.count",
    );
}

#[test]
fn one_bit_in_a_report_or_a_manifest_refuses_the_whole_set() {
    let Some(set) = GpuSet::folder(COMPLETE) else {
        return;
    };
    let soft = real(ONE_HOPPER, &[("\"hard\"", "\"soft\"")]);
    let length = set.devices[0].0.len();
    for at in (0..length).step_by(97) {
        let mut altered = set.clone();
        altered.devices[0].0[at] ^= 1;
        assert_ne!(
            altered.verdict(&soft, JUNE_2025).decision,
            Decision::Accepted,
            "byte {at}"
        );
    }
    for rim in 0..2 {
        for at in (0..set.endorsements.rims[rim].len()).step_by(997) {
            let mut altered = set.clone();
            altered.endorsements.rims[rim][at] ^= 1;
            assert_ne!(
                altered.verdict(&soft, JUNE_2025).decision,
                Decision::Accepted,
                "manifest {rim}, byte {at}"
            );
        }
    }
}
