//! The simulator's GPUs against everything here: authentic under the
//! simulation roots alone, as their manifests want them, not revoked; and each
//! thing that the simulator does wrong on purpose is found.

use std::collections::BTreeSet;

use bastide_attestation::nvidia::{
    DeviceEvidence, Family, GpuEndorsements, GpuEvidence, Mode, Nvdec0, OpaqueVersion, Pdi, SpdmReport,
};
use bastide_attestation::{GpuNonce, UnixTime};
use bastide_attester::simulator::nvidia::roots::Authority;
use bastide_attester::simulator::nvidia::{Encoding, GpuFaults, GpuOptions, SimulatedGpus};

use super::vectors::{machine, single};
use super::{Bench, NOW};
use crate::anchors::Pin;
use crate::certificate::Certificate;
use crate::crypto::provider;
use crate::nvidia::golden::{GoldenFault, Matched, compare_gpu, compare_switch};
use crate::nvidia::ocsp::check_ocsp;
use crate::nvidia::revocation::{Freshness, Good, RevocationFault, Subject};
use crate::nvidia::rim::{
    AuthenticRim, Edition, Expiry, RimAnchor, RimFault, RimMemo, RimTrust, Standing, Version,
    authenticate_rim,
};
use crate::nvidia::{AuthenticDevice, DeviceAnchor, DeviceFault, authenticate_device};
use crate::pem::pem_certificates;

const NONCE: GpuNonce = GpuNonce::new([0xa5; 32]);
const DAY: u64 = 86_400;

fn pin(authority: Authority) -> Pin {
    Pin {
        spki: authority.spki_digest(),
        certificate: None,
    }
}

/// A verifier of the simulation root.
fn bench() -> Bench {
    Bench::of(vec![DeviceAnchor {
        name: "simulated GPUs".to_owned(),
        root: pin(Authority::DeviceRoot),
        simulated: true,
        added_by_policy: true,
    }])
}

/// What a machine sends.
struct Sent {
    evidence: GpuEvidence,
    endorsements: GpuEndorsements,
}

impl Sent {
    fn by(options: GpuOptions) -> Self {
        let gpus = SimulatedGpus::new(options).unwrap();
        Self {
            evidence: gpus.evidence(&NONCE).unwrap(),
            endorsements: gpus.endorsements(NOW).unwrap(),
        }
    }

    fn with(faults: GpuFaults) -> Self {
        Self::by(GpuOptions {
            faults,
            ..GpuOptions::new(NOW)
        })
    }

    fn devices<'t, 'a>(&'a self, bench: &'t Bench) -> Vec<AuthenticDevice<'t, 'a>> {
        let authenticate = |device: &'a DeviceEvidence| {
            authenticate_device(&device.report, &device.chain, Some(NONCE), &bench.trust())
        };
        let devices = self.evidence.devices().iter().map(authenticate);
        devices.collect::<Result<_, DeviceFault>>().unwrap()
    }

    fn rims(&self) -> Result<Vec<AuthenticRim>, RimFault> {
        let anchor = RimAnchor {
            name: "simulated manifests".to_owned(),
            root: pin(Authority::RimRoot),
            simulated: true,
        };
        let trust = RimTrust {
            anchors: &[anchor],
            expiry: &Expiry::Strict,
            crypto: provider(),
            memo: &RimMemo::default(),
            now: NOW,
        };
        let rims = self.endorsements.rims.iter();
        rims.map(|file| authenticate_rim(file, &trust)).collect()
    }

    /// The one good answer about a certificate, or why there is none.
    fn revocation(&self, certificate: &[u8], issuer: &[u8], now: UnixTime) -> Result<Good, RevocationFault> {
        let (certificate, issuer) = (
            Certificate::parse(certificate).unwrap(),
            Certificate::parse(issuer).unwrap(),
        );
        let subject = Subject::new(&certificate, &issuer).unwrap();
        let freshness = Freshness {
            now,
            max_age: DAY,
            skew: 0,
        };
        let answers = self.endorsements.ocsp.iter();
        let mut about = answers
            .map(|answer| check_ocsp(answer, &subject, provider(), &freshness))
            .filter(|answer| !matches!(answer, Err(RevocationFault::CertIdMismatch(_))));
        let answer = about.next().expect("an answer about the certificate");
        assert!(about.next().is_none(), "one answer");
        answer
    }

    /// Certificates 1 to 3 of every device's chain.
    fn device_revocations(&self, now: UnixTime) -> Vec<Vec<Result<Good, RevocationFault>>> {
        let devices = self.evidence.devices().iter();
        devices
            .map(|device| {
                let chain = pem_certificates(&device.chain).unwrap();
                (1..=3)
                    .map(|at| self.revocation(&chain[at], &chain[at + 1], now))
                    .collect()
            })
            .collect()
    }
}

/// Compares a GPU with the manifests that are its own by what it reports.
fn compare(device: &AuthenticDevice<'_, '_>, rims: &[AuthenticRim]) -> Result<Matched, GoldenFault> {
    let measured = |index: u8| device.report().measurement(index + 1).copied();
    let find = |edition, product, version| {
        let mut fitting = rims
            .iter()
            .filter(|rim| rim.require_for(product, edition, version).is_ok());
        let rim = fitting.next().expect("a manifest for the device");
        assert!(fitting.next().is_none(), "one manifest");
        rim
    };
    match (device.facts().gpu(), device.facts().switch()) {
        (Some(gpu), _) => {
            let nvdec0_disabled = gpu.nvdec0 == Nvdec0::Disabled;
            compare_gpu(
                &measured,
                nvdec0_disabled,
                find(Edition::Gpu, "GH100", Version::Driver(&gpu.driver_version)),
                find(Edition::Gpu, "GH100", Version::Vbios(&gpu.vbios_version)),
            )
        }
        (None, Some(switch)) => compare_switch(
            &measured,
            find(Edition::Switch, "LS10", Version::Vbios(&switch.bios_version)),
        ),
        (None, None) => unreachable!("a device of neither kind"),
    }
}

/// All 33 measurements of a GPU.
const ALL: Matched = Matched {
    driver: 21,
    vbios: 12,
    nvdec0_passed_over: false,
};

#[test]
fn one_gpu_is_in_order_in_either_encoding() {
    for (encoding, driver, version) in [
        (Encoding::Legacy, "550.90.07", OpaqueVersion::Legacy(0)),
        (Encoding::Legacy, "580.159.03", OpaqueVersion::Legacy(1)),
        (
            Encoding::Nvdaod,
            "620.12",
            OpaqueVersion::Nvdaod {
                major: 2,
                minor: 0,
                patch: 0,
            },
        ),
    ] {
        let sent = Sent::by(GpuOptions {
            encoding,
            driver: driver.to_owned(),
            ..GpuOptions::new(NOW)
        });
        let bench = bench();
        let devices = sent.devices(&bench);
        let [device] = devices.as_slice() else {
            panic!("one device");
        };
        assert!(device.anchor().simulated);
        assert_eq!(
            (device.family(), device.mode()),
            (Family::Hopper, Some(Mode::Spt))
        );
        assert_eq!(device.hardware_model(), "GH100 A01 GSP BROM");
        let gpu = device.facts().gpu().unwrap();
        assert_eq!(gpu.opaque_version, version);
        assert_eq!(gpu.driver_version, driver);
        assert_eq!(gpu.vbios_rim_id(), "NV_GPU_VBIOS_1010_0200_882_96009F0001");
        assert_eq!(gpu.fwid, Some(device.fwid()));
        assert!(gpu.other.is_empty() && gpu.switch_pdis.is_empty());

        let rims = sent.rims().unwrap();
        assert_eq!(rims.len(), 2);
        assert!(rims.iter().all(|rim| rim.anchor().simulated));
        assert_eq!(compare(device, &rims), Ok(ALL));
        let golden = |index: usize| {
            rims[index]
                .golden()
                .iter()
                .map(|one| one.index)
                .collect::<Vec<_>>()
        };
        assert_eq!(golden(0), [&[7][..], &(21..=40).collect::<Vec<_>>()].concat());
        assert_eq!(
            golden(1),
            (0..=12).filter(|index| *index != 7).collect::<Vec<_>>()
        );
    }
}

#[test]
fn eight_gpus_and_four_switches_are_in_order_and_name_each_other() {
    let sent = Sent::by(GpuOptions::protected_pcie(NOW));
    let bench = bench();
    let devices = sent.devices(&bench);
    let rims = sent.rims().unwrap();
    let (gpus, switches) = devices.split_at(8);
    assert_eq!((switches.len(), rims.len()), (4, 3));
    let of = |devices: &[AuthenticDevice<'_, '_>]| -> BTreeSet<Pdi> {
        devices.iter().map(|device| device.pdi().unwrap()).collect()
    };
    assert_eq!((of(gpus).len(), of(switches).len()), (8, 4));
    for device in gpus {
        assert_eq!(
            (device.family(), device.mode()),
            (Family::Hopper, Some(Mode::Ppcie))
        );
        assert_eq!(compare(device, &rims), Ok(ALL));
        let gpu = device.facts().gpu().unwrap();
        let named: BTreeSet<_> = gpu.switch_pdis.iter().flatten().copied().collect();
        assert_eq!(named, of(switches));
    }
    for device in switches {
        assert_eq!((device.family(), device.mode()), (Family::Ls10, None));
        let matched = Matched {
            driver: 0,
            vbios: 31,
            nvdec0_passed_over: false,
        };
        assert_eq!(compare(device, &rims), Ok(matched));
        let switch = device.facts().switch().unwrap();
        assert_eq!(Some(switch.pdi), device.pdi());
        let named: BTreeSet<_> = switch.gpu_pdis.iter().flatten().copied().collect();
        assert_eq!(named, of(gpus));
    }
    let serials: BTreeSet<_> = devices.iter().map(AuthenticDevice::serial).collect();
    assert_eq!(serials.len(), 12);
    for device in sent.device_revocations(NOW) {
        assert!(device.iter().all(Result::is_ok), "{device:?}");
    }
}

#[test]
fn every_certificate_that_can_be_revoked_has_a_good_answer_for_a_day() {
    let sent = Sent::by(GpuOptions::new(NOW));
    let rims = sent.rims().unwrap();
    let at = |seconds| UnixTime::from_secs(NOW.as_secs() + seconds);
    let last = at(DAY - 60);
    for now in [NOW, last] {
        assert!(sent.device_revocations(now).concat().iter().all(Result::is_ok));
        for rim in &rims {
            let chain = rim.certificates();
            for index in 0..3 {
                let answer = sent.revocation(&chain[index], &chain[index + 1], now);
                assert_eq!(answer.map(|good| good.until()), Ok(last));
            }
        }
    }
    let stale = RevocationFault::Stale { since: last };
    let answers = sent.device_revocations(at(DAY)).concat();
    assert_eq!(answers, vec![Err(stale); 3]);
    // Three of the GPU's chain, three of the manifests'.
    assert_eq!(sent.endorsements.ocsp.len(), 6);
}

#[test]
fn no_root_but_the_simulation_s_vouches_for_a_simulated_device() {
    let sent = Sent::by(GpuOptions::new(NOW));
    let device = &sent.evidence.devices()[0];
    let nvidia = Bench::nvidia();
    let fault = authenticate_device(&device.report, &device.chain, Some(NONCE), &nvidia.trust()).unwrap_err();
    let spki = Authority::DeviceRoot.spki_digest();
    assert_eq!(fault, DeviceFault::RootNotPinned { spki });
    let trust = RimTrust {
        anchors: &[RimAnchor::nvidia()],
        expiry: &Expiry::Strict,
        crypto: provider(),
        memo: &RimMemo::default(),
        now: NOW,
    };
    let fault = authenticate_rim(&sent.endorsements.rims[0], &trust).unwrap_err();
    assert!(matches!(fault, RimFault::Chain(_)), "{fault}");
}

#[test]
fn a_simulated_report_answers_its_own_nonce_alone() {
    let sent = Sent::by(GpuOptions::new(NOW));
    let device = &sent.evidence.devices()[0];
    let expected = GpuNonce::new([1; 32]);
    let bench = bench();
    let fault =
        authenticate_device(&device.report, &device.chain, Some(expected), &bench.trust()).unwrap_err();
    let got = NONCE;
    assert_eq!(fault, DeviceFault::NonceMismatch { expected, got });
}

#[test]
fn a_wrong_measurement_is_found_at_its_index() {
    for index in (0..=12).chain(21..=40) {
        let sent = Sent::with(GpuFaults {
            wrong_measurement: Some(index),
            ..GpuFaults::default()
        });
        let bench = bench();
        let fault = compare(&sent.devices(&bench)[0], &sent.rims().unwrap());
        let Err(GoldenFault::Mismatch(mismatches)) = fault else {
            panic!("measurement {index}: {fault:?}");
        };
        let indices: Vec<_> = mismatches.iter().map(|mismatch| mismatch.index).collect();
        assert_eq!(indices, [index]);
    }
}

#[test]
fn a_disabled_nvdec0_is_passed_over() {
    let sent = Sent::with(GpuFaults {
        nvdec_disabled: true,
        ..GpuFaults::default()
    });
    let bench = bench();
    let matched = Matched {
        driver: 20,
        vbios: 12,
        nvdec0_passed_over: true,
    };
    assert_eq!(
        compare(&sent.devices(&bench)[0], &sent.rims().unwrap()),
        Ok(matched)
    );
}

#[test]
fn an_expired_signer_of_manifests_is_refused_and_a_current_one_is_not() {
    let sent = Sent::with(GpuFaults {
        expired_rim_signer: true,
        ..GpuFaults::default()
    });
    let since = UnixTime::from_secs(NOW.as_secs() - DAY);
    let fault = RimFault::SignerExpired { index: 0, since };
    assert_eq!(sent.rims().unwrap_err(), fault);
    let until = UnixTime::from_secs(NOW.as_secs() + 700 * DAY);
    for rim in Sent::with(GpuFaults::default()).rims().unwrap() {
        assert_eq!(rim.standing(), Standing::Valid { until });
    }
}

#[test]
fn a_revoked_certificate_is_found_wherever_it_is() {
    for revoked in 1..=3 {
        let sent = Sent::by(GpuOptions {
            count: 2,
            faults: GpuFaults {
                revoked: Some(revoked),
                ..GpuFaults::default()
            },
            ..GpuOptions::new(NOW)
        });
        let fault = RevocationFault::Revoked {
            reason: Some(1),
            at: UnixTime::from_secs(NOW.as_secs() - 3_600),
        };
        for (device, answers) in sent.device_revocations(NOW).into_iter().enumerate() {
            for (index, answer) in (1..).zip(answers) {
                // The boot ROM is one GPU's, all above it are shared.
                let hit = index == revoked && (revoked > 1 || device == 0);
                match answer {
                    Err(got) => assert!(hit && got == fault, "{device} {index}: {got}"),
                    Ok(_) => assert!(!hit, "{device} {index}"),
                }
            }
        }
    }
}

#[test]
fn a_duplicate_device_has_the_first_one_s_serial_number() {
    for options in [
        GpuOptions {
            count: 2,
            ..GpuOptions::new(NOW)
        },
        GpuOptions::protected_pcie(NOW),
    ] {
        let count = options.count;
        let faults = GpuFaults {
            duplicate_device: true,
            ..GpuFaults::default()
        };
        let sent = Sent::by(GpuOptions { faults, ..options });
        let bench = bench();
        let devices = sent.devices(&bench);
        let gpus: Vec<_> = devices
            .iter()
            .filter(|device| device.facts().gpu().is_some())
            .collect();
        assert_eq!(gpus.len(), count);
        assert_eq!(gpus[0].serial(), gpus[count - 1].serial());
        let serials: BTreeSet<_> = gpus.iter().map(|gpu| gpu.serial()).collect();
        assert_eq!(serials.len(), count - 1);
    }
}

#[test]
fn the_digests_that_the_simulator_publishes_are_those_of_its_certificates() {
    for authority in Authority::ALL {
        let certificate = Certificate::parse(authority.certificate()).unwrap();
        let spki = bastide_attestation::binding::spki_digest(certificate.spki);
        assert_eq!(spki, authority.spki_digest(), "{authority:?}");
    }
}

/// Numbers and sizes of the fields of a report's legacy opaque data, in order.
fn fields(report: &[u8]) -> Vec<(u16, usize)> {
    let mut rest = SpdmReport::parse(report).unwrap().opaque_unverified();
    let mut fields = Vec::new();
    while let Some(([id0, id1, size0, size1], after)) = rest.split_first_chunk() {
        let size = usize::from(u16::from_le_bytes([*size0, *size1]));
        fields.push((u16::from_le_bytes([*id0, *id1]), size));
        rest = &after[size..];
    }
    fields
}

#[test]
fn a_report_has_the_fields_of_a_real_one_in_its_order_and_sizes() {
    let (Some(gpu), Some(switch), Some((gpus, _))) =
        (single("h100-580.159.03"), single("switch-ls10"), machine())
    else {
        return;
    };
    let sent = |options| Sent::by(options).evidence;
    let alone = sent(GpuOptions::new(NOW));
    assert_eq!(fields(&alone.devices()[0].report), fields(&gpu.report));
    assert_eq!(alone.devices()[0].report.len(), gpu.report.len());
    let together = sent(GpuOptions {
        driver: "570.124.06".to_owned(),
        ..GpuOptions::protected_pcie(NOW)
    });
    for (made, real) in together.devices().iter().zip(&gpus) {
        assert_eq!(fields(&made.report), fields(&real.report));
        assert_eq!(made.report.len(), real.report.len());
    }
    assert_eq!(fields(&together.devices()[8].report), fields(&switch.report));
}
