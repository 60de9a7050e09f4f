//! Every real device, with the facts that its report states.

use std::collections::BTreeSet;

use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::{
    DeviceEvidence, DeviceKind, Family, GpuEvidence, Mode, Nvdec0, OpaqueVersion,
};

use super::Bench;
use super::vectors::{Vector, machine, single};
use crate::nvidia::{AuthenticDevice, DeviceFault, authenticate_device};

fn authentic<'t, 'a>(bench: &'t Bench, vector: &'a Vector) -> AuthenticDevice<'t, 'a> {
    authenticate_device(&vector.report, &vector.chain, None, &bench.trust())
        .unwrap_or_else(|fault| panic!("{}: {fault}", vector.name))
}

/// Driver, VBIOS, driver's and VBIOS's manifest.
fn versions(device: &AuthenticDevice<'_, '_>) -> [String; 4] {
    let gpu = device.facts().gpu().unwrap();
    [
        gpu.driver_version.clone(),
        gpu.vbios_version.clone(),
        gpu.driver_rim_id(device.family()).unwrap(),
        gpu.vbios_rim_id(),
    ]
}

#[test]
fn an_h100_of_driver_550_is_authentic() {
    let Some(vector) = single("h100-550.90.07") else {
        return;
    };
    let bench = Bench::nvidia();
    let device = authentic(&bench, &vector);
    assert_eq!(device.family(), Family::Hopper);
    assert_eq!(device.mode(), Some(Mode::Spt));
    assert_eq!(device.hardware_model(), "GH100 A01 GSP BROM");
    // openssl x509 -serial, as a decimal number.
    assert_eq!(
        device.ueid().to_string(),
        "478176379286082186618948445787393647364802107249"
    );
    assert_eq!(
        versions(&device),
        [
            "550.90.07",
            "96.00.9F.00.01",
            "NV_GPU_DRIVER_GH100_550.90.07",
            "NV_GPU_VBIOS_1010_0200_882_96009F0001",
        ]
    );
    let gpu = device.facts().gpu().unwrap();
    assert_eq!(gpu.opaque_version, OpaqueVersion::Legacy(0));
    assert_eq!((gpu.nvdec0, gpu.board_id), (Nvdec0::Disabled, Some(0x3b1)));
    assert_eq!(gpu.fwid, Some(device.fwid()));
    assert!(device.fwid().to_string().starts_with("f5c384aebb579217a2c6"));
    assert_eq!(device.pdi().unwrap().to_string(), "431d480fe5e87274");
    assert!(!device.anchor().simulated && !device.anchor().added_by_policy);
}

#[test]
fn an_h100_of_driver_580_is_authentic_and_states_its_mode_twice() {
    let Some(vector) = single("h100-580.159.03") else {
        return;
    };
    let bench = Bench::nvidia();
    let device = authentic(&bench, &vector);
    assert_eq!(
        (device.family(), device.mode()),
        (Family::Hopper, Some(Mode::Spt))
    );
    assert_eq!(
        versions(&device),
        [
            "580.159.03",
            "96.00.74.00.20",
            "NV_GPU_DRIVER_GH100_580.159.03",
            "NV_GPU_VBIOS_1010_0205_862_9600740020",
        ]
    );
    let gpu = device.facts().gpu().unwrap();
    assert_eq!(gpu.opaque_version, OpaqueVersion::Legacy(1));
    assert_eq!(gpu.protected_pcie, Some(false));
}

#[test]
fn a_b200_is_authentic_and_states_no_mode() {
    let Some(vector) = single("b200-575.32") else {
        return;
    };
    let bench = Bench::nvidia();
    let device = authentic(&bench, &vector);
    assert_eq!((device.family(), device.mode()), (Family::Blackwell, None));
    assert_eq!(device.hardware_model(), "GB100 A01 GSP BROM");
    assert_eq!(
        versions(&device),
        [
            "575.32",
            "97.00.88.00.0F",
            "NV_GPU_CC_DRIVER_GB100_575.32",
            "NV_GPU_VBIOS_G525_0220_886_970088000F",
        ]
    );
    let gpu = device.facts().gpu().unwrap();
    assert_eq!(gpu.sys_enable_status, Some([7, 7]));
    assert_eq!(gpu.project_sku_modifier.as_deref(), Some("0"));
    assert_eq!(gpu.fwid, Some(device.fwid()));
}

#[test]
fn every_device_of_a_machine_is_authentic_and_names_the_others() {
    let Some((gpus, switches)) = machine() else {
        return;
    };
    let bench = Bench::nvidia();
    let gpus: Vec<_> = gpus.iter().map(|vector| authentic(&bench, vector)).collect();
    let switches: Vec<_> = switches.iter().map(|vector| authentic(&bench, vector)).collect();
    assert_eq!((gpus.len(), switches.len()), (8, 4));
    let serials: BTreeSet<_> = gpus
        .iter()
        .chain(&switches)
        .map(AuthenticDevice::serial)
        .collect();
    assert_eq!(serials.len(), 12);

    // Who a device is on NVLink is in its boot ROM's certificate.
    let of = |devices: &[AuthenticDevice<'_, '_>]| -> BTreeSet<_> {
        devices.iter().map(|device| device.pdi().unwrap()).collect()
    };
    for device in &gpus {
        assert_eq!(
            (device.family(), device.mode()),
            (Family::Hopper, Some(Mode::Ppcie))
        );
        let gpu = device.facts().gpu().unwrap();
        assert_eq!(gpu.driver_version, "570.124.06");
        assert_eq!(gpu.vbios_rim_id(), "NV_GPU_VBIOS_G520_0280_895_9600CF0002");
        assert_eq!(gpu.switch_pdis.len(), 18);
        let named: BTreeSet<_> = gpu.switch_pdis.iter().flatten().copied().collect();
        assert_eq!(named, of(&switches));
    }
    for device in &switches {
        assert_eq!((device.family(), device.mode()), (Family::Ls10, None));
        assert_eq!(device.hardware_model(), "LS_10 A01 FSP BROM");
        let switch = device.facts().switch().unwrap();
        assert_eq!(switch.bios_rim_id(), "NV_SWITCH_BIOS_5612_0002_890_96106D0001");
        assert_eq!(Some(switch.pdi), device.pdi());
        let named: BTreeSet<_> = switch.gpu_pdis.iter().flatten().copied().collect();
        assert_eq!(named, of(&gpus));
        assert!(switch.port_gpus.iter().all(|gpu| *gpu < 8 || *gpu == 0xff));
    }
}

#[test]
fn a_machine_s_evidence_survives_its_encoding() {
    let Some((gpus, switches)) = machine() else {
        return;
    };
    let devices = gpus.iter().chain(&switches).map(|vector| DeviceEvidence {
        report: vector.report.clone(),
        chain: vector.chain.clone(),
    });
    let sent = GpuEvidence::new(devices.collect()).unwrap();
    let received = GpuEvidence::decode(&sent.encode()).unwrap();
    assert_eq!(received, sent);
    let bench = Bench::nvidia();
    for device in received.devices() {
        authenticate_device(&device.report, &device.chain, None, &bench.trust()).unwrap();
    }
}

#[test]
fn a_report_is_authentic_with_its_own_chain_alone() {
    let (Some((gpus, switches)), Some(set)) = (machine(), single("switch-ls10")) else {
        return;
    };
    let bench = Bench::nvidia();
    for (one, other) in [(&gpus[0], &gpus[1]), (&switches[0], &switches[1])] {
        let mixed = authenticate_device(&one.report, &other.chain, None, &bench.trust());
        assert_eq!(mixed.unwrap_err(), DeviceFault::SignatureInvalid);
    }
    // The published set of one switch is such a mix: the report is of the
    // machine's second switch, the chain of its first.
    let mixed = authenticate_device(&set.report, &set.chain, None, &bench.trust());
    assert_eq!(mixed.unwrap_err(), DeviceFault::SignatureInvalid);
    for (report, chain) in [(&set, &switches[1]), (&switches[0], &set)] {
        authenticate_device(&report.report, &chain.chain, None, &bench.trust()).unwrap();
    }
    let crossed = authenticate_device(&gpus[0].report, &switches[0].chain, None, &bench.trust());
    let fault = DeviceFault::KindMismatch {
        report: DeviceKind::Gpu,
        chain: Family::Ls10,
    };
    assert_eq!(crossed.unwrap_err(), fault);
}

#[test]
fn a_report_for_another_nonce_is_refused() {
    let Some(vector) = single("h100-550.90.07") else {
        return;
    };
    let bench = Bench::nvidia();
    let ask = |nonce| authenticate_device(&vector.report, &vector.chain, Some(nonce), &bench.trust());
    let got: GpuNonce = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"
        .parse()
        .unwrap();
    ask(got).unwrap();
    let expected = GpuNonce::new([0; 32]);
    assert_eq!(
        ask(expected).unwrap_err(),
        DeviceFault::NonceMismatch { expected, got }
    );
}

#[test]
fn what_can_be_revoked_comes_with_its_issuer() {
    let Some(vector) = single("h100-550.90.07") else {
        return;
    };
    let bench = Bench::nvidia();
    let device = authentic(&bench, &vector);
    let ders = vector.ders();
    let serials = [
        "41431d480fe5e87274",
        "6afe7184f92232c8df7b242261776e56",
        "4c255ede3bd001bf3f4a3b605fca898a",
    ];
    for ((revocable, serial), index) in device.revocable().iter().zip(serials).zip(1..) {
        let issuer = crate::certificate::Certificate::parse(&ders[index + 1]).unwrap();
        assert_eq!((revocable.index, &revocable.der), (index, &ders[index]));
        assert_eq!(hex::encode(&revocable.serial), serial);
        assert_eq!(revocable.issuer_name, issuer.subject);
        assert_eq!(revocable.issuer_spki, issuer.spki);
        assert!(issuer.spki.ends_with(&revocable.issuer_point));
        assert_eq!(revocable.issuer_point.len(), 97);
    }
}

#[test]
fn authorities_are_verified_once_and_a_memory_changes_no_verdict() {
    let Some((gpus, _)) = machine() else {
        return;
    };
    #[derive(Debug, Default)]
    struct Counting(core::sync::atomic::AtomicUsize);
    impl crate::crypto::Crypto for Counting {
        fn rsa_pss_sha384_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
            false
        }
        fn rsa_pkcs1_sha256_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
            false
        }
        fn p384_sha384_verify(&self, point: &[u8], message: &[u8], signature: &[u8; 96]) -> bool {
            self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            crate::crypto::provider().p384_sha384_verify(point, message, signature)
        }
    }
    let bench = Bench::nvidia();
    let counting = Counting::default();
    let trust = crate::nvidia::DeviceTrust {
        crypto: &counting,
        ..bench.trust()
    };
    for vector in &gpus {
        authenticate_device(&vector.report, &vector.chain, None, &trust).unwrap();
    }
    // Root, family and provisioner once; boot ROM, leaf and report of each.
    assert_eq!(counting.0.into_inner(), 3 + 3 * gpus.len());
    let mut changed = gpus[0].clone();
    let mut ders = changed.ders();
    let last = ders[3].len() - 1;
    ders[3][last] ^= 1;
    changed.chain = super::vectors::to_pem(&ders);
    let fault = authenticate_device(&changed.report, &changed.chain, None, &bench.trust());
    assert_eq!(fault.unwrap_err(), DeviceFault::ChainSignature { index: 3 });
}
