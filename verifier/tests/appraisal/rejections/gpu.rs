//! GPU evidence that is wrong in one way, and the code it is refused with.
//! Data alone; the tests are in the module above.

use bastide_attestation::{UnixTime, Verdict, binding};
use bastide_attester::simulator::nvidia::{Encoding, GpuFaults, GpuOptions};
use bastide_verifier::{Policy, Rejection};

use crate::support::der::integer;
use crate::support::gpu_pki::{
    BASIC_CONSTRAINTS, COMPOSITE_DEVICE_ID, DICE_TCB_INFO, FIELDS, KEY_USAGE, Made, composite_device_id,
    constraints, legacy, tcb_info,
};
use crate::support::gpu_policies;
use crate::support::gpu_signing;
use crate::support::gpus::Gpus;
use crate::support::pki::Kind;
use crate::support::{Case, NOW};

mod verdicts;

const DAY: u64 = 86_400;
/// Where the response begins in a report.
const RESPONSE: usize = 37;
/// Somewhere in the first measurement.
const MEASUREMENT: usize = 60;

/// Code, what is wrong, and what makes it so.
type Cases<T> = &'static [(Rejection, &'static str, T)];

/// Evidence of one simulated GPU, changed, under the tests' policy for it.
const EVIDENCE: Cases<fn(&mut Gpus)> = {
    use Rejection as R;
    &[
        (R::GpuReportMalformed, "a byte too few", |g| {
            g.devices[0].report.pop();
        }),
        (R::GpuReportMalformed, "a byte too many", |g| {
            g.devices[0].report.push(0);
        }),
        (R::GpuReportMalformed, "padded as NVML's buffer is", |g| {
            g.devices[0].report.resize(8192, 0);
        }),
        (R::GpuReportMalformed, "another request", |g| {
            g.devices[0].report[1] = 0xe1;
        }),
        (R::GpuReportVersion, "a request of SPDM 1.2", |g| {
            g.devices[0].report[0] = 0x12;
        }),
        (R::GpuReportVersion, "a response of SPDM 1.2", |g| {
            g.devices[0].report[RESPONSE] = 0x12;
        }),
        (R::GpuNonceMismatch, "another seed", |g| g.seed[0] ^= 1),
        (R::GpuNonceMismatch, "an answer to another challenge", |g| {
            g.devices[0].report[4] ^= 1;
        }),
        (R::GpuChainMalformed, "no PEM", |g| {
            g.devices[0].chain = b"chain".to_vec();
        }),
        (R::GpuChainMalformed, "four certificates", |g| {
            let chain = g.chain(0);
            g.set_chain(0, &chain[..4]);
        }),
        (R::GpuChainMalformed, "six certificates", |g| {
            let mut chain = g.chain(0);
            chain.push(chain[4].clone());
            g.set_chain(0, &chain);
        }),
        (R::GpuChainMalformed, "a certificate cut short", |g| {
            let mut chain = g.chain(0);
            chain[1].pop();
            g.set_chain(0, &chain);
        }),
        (R::GpuChainName, "two certificates exchanged", |g| {
            let mut chain = g.chain(0);
            chain.swap(1, 2);
            g.set_chain(0, &chain);
        }),
        (R::GpuChainSignature, "another GPU's leaf", |g| {
            let (mut chain, other) = (g.chain(0), other_machine().chain(0));
            chain[0] = other[0].clone();
            g.set_chain(0, &chain);
        }),
        (R::GpuChainSignature, "an altered signature", |g| {
            let mut chain = g.chain(0);
            *chain[1].last_mut().expect("it has bytes") ^= 1;
            g.set_chain(0, &chain);
        }),
        (R::GpuSignatureInvalid, "an altered measurement", |g| {
            g.devices[0].report[MEASUREMENT] ^= 1;
        }),
        (R::GpuSignatureInvalid, "another GPU's chain", |g| {
            g.devices[0].chain = other_machine().devices[0].chain.clone();
        }),
        (R::GpuSignatureInvalid, "R that is zero", |g| {
            let at = g.devices[0].report.len() - 96;
            g.devices[0].report[at..at + 48].fill(0);
        }),
        (R::GpuCount, "two GPUs", |g| {
            g.devices.push(other_machine().devices[0].clone());
        }),
        (R::RimMissing, "no manifest", |g| g.endorsements.rims.clear()),
        (R::RimMissing, "no driver's manifest", |g| {
            g.endorsements.rims.remove(0);
        }),
        (R::RimMissing, "no VBIOS's manifest", |g| {
            g.endorsements.rims.remove(1);
        }),
        (R::RimMissing, "another driver's manifest", |g| {
            g.endorsements.rims[0] = other_driver().endorsements.rims[0].clone();
        }),
        (R::RimMalformed, "a file that is no XML", |g| {
            g.endorsements.rims.push(b"{}".to_vec());
        }),
        (R::RimMalformed, "a manifest of another manufacturer", |g| {
            content(g, 0, |text| {
                text.replace("ManufacturerId=\"5703\"", "ManufacturerId=\"5704\"")
            });
        }),
        (R::RimNamespace, "a namespace of floors", |g| {
            content(g, 1, |text| {
                let known = "xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\"";
                text.replace(known, &format!("{known} xmlns:ns3=\"https://nvidia.com/svn\""))
            });
        }),
        (R::RimChain, "the signer's certificate twice", |g| {
            let text = String::from_utf8(g.endorsements.rims[0].clone()).expect("it is text");
            let parts: Vec<_> = text.split("<ds:X509Certificate>").collect();
            let (signer, end) = (parts[1], parts[2]);
            g.endorsements.rims[0] = text.replace(end, signer).into_bytes();
        }),
        (R::RimAltered, "a golden measurement altered", |g| {
            let text = String::from_utf8(g.endorsements.rims[1].clone()).expect("it is text");
            let (before, after) = text.split_once("Hash0=\"").expect("it has measurements");
            let digit = if after.starts_with('0') { "1" } else { "0" };
            g.endorsements.rims[1] = format!("{before}Hash0=\"{digit}{}", &after[1..]).into_bytes();
        }),
        (R::RimAltered, "a version altered", |g| {
            let text = String::from_utf8(g.endorsements.rims[0].clone()).expect("it is text");
            g.endorsements.rims[0] = text.replace("580.159.03", "580.159.04").into_bytes();
        }),
        (
            R::GpuMeasurementConflict,
            "a measurement in both manifests",
            |g| {
                // 7 is the driver's; the VBIOS's manifest has a place for it.
                content(g, 1, |text| activated(text, 7));
            },
        ),
        (R::GpuMeasurementMismatch, "another golden measurement", |g| {
            content(g, 0, |text| {
                let (before, after) = text
                    .split_once(" active=\"True\"")
                    .expect("a measurement is active");
                let (middle, rest) = after.split_once("Hash0=\"").expect("it has a value");
                format!(
                    "{before} active=\"True\"{middle}Hash0=\"{}{}",
                    "ab".repeat(48),
                    &rest[96..]
                )
            });
        }),
        (R::GpuRevocationMissing, "no answer", |g| {
            g.endorsements.ocsp.clear();
        }),
        (R::GpuRevocationMissing, "no answer about the GPU itself", |g| {
            let answers = std::mem::take(&mut g.endorsements.ocsp);
            let serial = boot_rom_serial(g);
            g.endorsements.ocsp = answers
                .into_iter()
                .filter(|answer| !answer.windows(serial.len()).any(|bytes| bytes == serial))
                .collect();
        }),
        (R::GpuRevocationMalformed, "an answer that is none", |g| {
            g.endorsements.ocsp = vec![vec![0x30, 0]];
        }),
        (R::GpuRevocationMalformed, "an answer cut short", |g| {
            for answer in &mut g.endorsements.ocsp {
                answer.pop();
            }
        }),
        (R::GpuRevocationSignature, "answers dated otherwise", |g| {
            for answer in &mut g.endorsements.ocsp {
                // A minute earlier, everywhere.
                let (from, to) = (b"20260228235900Z", b"20260228235800Z");
                while let Some(at) = answer.windows(from.len()).position(|bytes| bytes == from) {
                    answer[at..at + to.len()].copy_from_slice(to);
                }
            }
        }),
        (R::GpuOnHold, "a list that has the GPU on hold", |g| {
            let boot_rom = g.chain(0).swap_remove(1);
            g.endorsements.crls = vec![gpu_signing::revocation_list(&boot_rom, 6)];
        }),
        (R::GpuRevoked, "a list that names the GPU", |g| {
            let boot_rom = g.chain(0).swap_remove(1);
            g.endorsements.crls = vec![gpu_signing::revocation_list(&boot_rom, 1)];
        }),
    ]
};

/// A made-up GPU, changed before it is signed.
const MADE: Cases<fn(&mut Made)> = {
    use Rejection as R;
    &[
        (R::GpuChainName, "a leaf of another stepping", |m| {
            m.certificates[0].subject = "GH100 B01 GSP FMC LF".to_owned();
        }),
        (R::GpuChainName, "a leaf of no family", |m| {
            m.certificates[0].subject = "AD102 A01 GSP FMC LF".to_owned();
        }),
        (
            R::GpuChainInvalid,
            "a boot ROM that may sign no certificate",
            |m| {
                m.certificates[1].set(KEY_USAGE, vec![3, 2, 7, 0x80]);
            },
        ),
        (R::GpuChainInvalid, "a boot ROM that is no authority", |m| {
            m.certificates[1].set(BASIC_CONSTRAINTS, constraints(false, None));
        }),
        (R::GpuChainInvalid, "a leaf that is an authority", |m| {
            m.certificates[0].set(BASIC_CONSTRAINTS, constraints(true, None));
        }),
        (R::GpuChainInvalid, "a path that is too long", |m| {
            m.certificates[3].set(BASIC_CONSTRAINTS, constraints(true, Some(1)));
        }),
        (R::GpuChainInvalid, "a signature that says SHA-256", |m| {
            m.certificates[0].hash = 2;
        }),
        (R::GpuChainValidity, "a leaf that expired", |m| {
            m.certificates[0].validity[1] = "20260228235959";
        }),
        (R::GpuChainValidity, "a leaf of tomorrow", |m| {
            m.certificates[0].validity[0] = "20260302000000";
        }),
        (R::GpuChainSignature, "a leaf signed by itself", |m| {
            m.certificates[0].signer = 0;
        }),
        (R::GpuSignatureInvalid, "a report signed by the boot ROM", |m| {
            m.signer = 1;
        }),
        (R::GpuOpaqueMalformed, "a field twice", |m| {
            let again = legacy(&FIELDS[..1]);
            m.opaque.extend(again);
        }),
        (R::GpuOpaqueMalformed, "opaque data cut short", |m| {
            m.opaque.pop();
        }),
        (R::GpuOpaqueMalformed, "no driver", |m| {
            m.opaque = legacy(&FIELDS.into_iter().filter(|(id, _)| *id != 3).collect::<Vec<_>>());
        }),
        (R::GpuOpaqueVersion, "NVDAOD of version 3", |m| {
            m.opaque = b"NVDAOD\0\0\x03\0\0\0".to_vec();
        }),
        (R::GpuOpaqueVersion, "a field that nobody knows", |m| {
            m.opaque.extend(legacy(&[(255, &[0])]));
        }),
        (R::GpuFwidMissing, "no firmware in the leaf", |m| {
            m.certificates[0].remove(COMPOSITE_DEVICE_ID);
        }),
        (R::GpuFwidMissing, "no firmware in the report", |m| {
            m.opaque = legacy(&FIELDS.into_iter().filter(|(id, _)| *id != 20).collect::<Vec<_>>());
        }),
        (R::GpuFwidMismatch, "other firmware in the leaf", |m| {
            m.certificates[0].set(COMPOSITE_DEVICE_ID, composite_device_id(1, &[0xf1; 48]));
        }),
        (R::GpuChainMalformed, "a leaf whose DICE extension is none", |m| {
            m.certificates[0].set(COMPOSITE_DEVICE_ID, integer(1));
        }),
        (R::GpuDebug, "a Blackwell GPU that is being debugged", |m| {
            *m = Made::blackwell();
            m.certificates[0].set(DICE_TCB_INFO, tcb_info(&[0x90, 0, 0, 1]));
        }),
        (R::GpuDebug, "a Blackwell GPU that was recovering", |m| {
            *m = Made::blackwell();
            m.certificates[0].set(DICE_TCB_INFO, tcb_info(&[0xa0, 0, 0, 1]));
        }),
        (R::GpuModeNotAllowed, "a GPU that states no mode", |m| {
            // Field 21 is not among these.
            m.opaque = legacy(&FIELDS);
        }),
    ]
};

/// Other options of the simulation.
const SIMULATED: Cases<fn(&mut GpuOptions)> = {
    use Rejection as R;
    &[
        (R::GpuMeasurementMismatch, "the driver measured otherwise", |o| {
            o.faults.wrong_measurement = Some(21);
        }),
        (R::GpuMeasurementMismatch, "the VBIOS measured otherwise", |o| {
            o.faults.wrong_measurement = Some(3);
        }),
        (R::GpuMeasurementMismatch, "the same in the newer encoding", |o| {
            o.encoding = Encoding::Nvdaod;
            o.faults.wrong_measurement = Some(3);
        }),
        (R::RimExpired, "a signer that expired yesterday", |o| {
            o.faults.expired_rim_signer = true;
        }),
        (R::RimNotYetValid, "a signer of next month", |o| {
            o.now = UnixTime::from_secs(NOW.as_secs() + 31 * DAY);
        }),
        (R::GpuRevoked, "the GPU revoked", |o| {
            o.faults.revoked = Some(1);
        }),
        (R::GpuRevoked, "its provisioner revoked", |o| {
            o.faults.revoked = Some(2);
        }),
        (R::GpuRevoked, "its family revoked", |o| {
            o.faults.revoked = Some(3);
        }),
        (R::GpuDriverBelow, "a driver that is older", |o| {
            o.driver = "580.159.02".to_owned();
        }),
        (
            R::GpuDriverBelow,
            "a driver of a branch that is not listed",
            |o| {
                o.driver = "590.1".to_owned();
            },
        ),
        (R::GpuDriverBelow, "a driver that is no version", |o| {
            o.driver = "580".to_owned();
        }),
        (R::GpuVbiosBelow, "a VBIOS that is older", |o| {
            o.vbios = "96.00.9F.00.00".to_owned();
        }),
        (R::GpuVbiosBelow, "a VBIOS of another generation", |o| {
            o.vbios = "97.00.9F.00.01".to_owned();
        }),
    ]
};

/// One good GPU under another policy.
const POLICIES: Cases<&[(&str, &str)]> = {
    use Rejection as R;
    &[
        (R::GpuCount, "two GPUs asked for", &[("count = 1", "count = 2")]),
        (
            R::GpuFamilyNotAllowed,
            "Blackwell asked for",
            &[("[\"hopper\"]", "[\"blackwell\"]")],
        ),
        (
            R::GpuModeNotAllowed,
            "protected PCIe asked for",
            &[("[\"spt\"]", "[\"ppcie\"]")],
        ),
        (
            R::GpuDeviceNotAllowed,
            "no device listed",
            &[("\"gpu.device\", ", ""), ("count = 1", "count = 1\ndevices = []")],
        ),
        (
            R::GpuDeviceNotAllowed,
            "another device listed",
            &[
                ("\"gpu.device\", ", ""),
                (
                    "count = 1",
                    "count = 1\ndevices = [{ ueid = \"4711\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"t\" }]",
                ),
            ],
        ),
        (
            R::GpuDriverBelow,
            "a newer driver asked for",
            &[("\"580.159.03\"", "\"580.159.04\"")],
        ),
        (
            R::GpuDriverDenied,
            "the driver denied",
            &[("count = 1", "count = 1\ndeny_drivers = [\"580.159.3\"]")],
        ),
        (
            R::GpuVbiosBelow,
            "a newer VBIOS asked for",
            &[("96.00.9F.00.01", "96.00.9F.00.02")],
        ),
        (
            R::GpuVbiosDenied,
            "the VBIOS denied",
            &[("count = 1", "count = 1\ndeny_vbioses = [\"96.00.9f.00.01\"]")],
        ),
        (
            R::GpuRootUnknown,
            "another root of devices",
            &[(
                "87713a0727514fa0b4d1601cefde284a088959b08756239ac276850086296fb3",
                "8877777777777777777777777777777777777777777777777777777777777777",
            )],
        ),
        (
            R::RimRootUnknown,
            "another root of manifests",
            &[(
                "279b4a6470a787066d058071089875b16618b0e7daa0a1d025c55614b115700b",
                "8877777777777777777777777777777777777777777777777777777777777777",
            )],
        ),
        (
            R::RimExpired,
            "a signer that is to be pinned",
            &[("\"strict\"", "\"pinned\"\nrims = []")],
        ),
    ]
};

/// A machine with other devices.
fn other_machine() -> Gpus {
    Gpus::simulated(GpuOptions {
        machine: 1,
        ..GpuOptions::new(NOW)
    })
}

/// The same machine with another driver.
fn other_driver() -> Gpus {
    Gpus::simulated(GpuOptions {
        driver: "580.159.04".to_owned(),
        ..GpuOptions::new(NOW)
    })
}

/// Puts other content into a manifest, and has it signed.
fn content(gpus: &mut Gpus, manifest: usize, change: fn(&str) -> String) {
    let rim = &mut gpus.endorsements.rims[manifest];
    *rim = gpu_signing::manifest(rim, change);
}

/// The measurement at this index counts.
fn activated(text: &str, index: usize) -> String {
    let place = format!("index=\"{index}\"");
    let resources: Vec<_> = text
        .split_inclusive("</ns0:Resource>")
        .map(|resource| {
            if resource.contains(&place) {
                resource.replace("active=\"False\"", "active=\"True\"")
            } else {
                resource.to_owned()
            }
        })
        .collect();
    resources.concat()
}

/// The INTEGER of the first GPU's boot ROM's serial number.
fn boot_rom_serial(gpus: &Gpus) -> Vec<u8> {
    // In a certificate it follows the version.
    let boot_rom = gpus.chain(0).swap_remove(1);
    let version = [0xa0, 3, 2, 1, 2];
    let at = boot_rom
        .windows(version.len())
        .position(|bytes| bytes == version)
        .expect("it has a version")
        + version.len();
    boot_rom[at..at + 2 + usize::from(boot_rom[at + 1])].to_vec()
}

fn verdict(gpus: &Gpus, policy: &Policy) -> Verdict {
    Case::with_gpus(Kind::Genoa, gpus.part())
        .make()
        .live_verdict(policy)
}

/// Every case, judged.
pub(super) fn cases() -> Vec<(Rejection, &'static str, Verdict)> {
    let policy = gpu_policies::with(&[]);
    let good = Gpus::one();
    let mut cases = Vec::new();
    for (rejection, what, change) in EVIDENCE {
        let mut gpus = good.clone();
        change(&mut gpus);
        cases.push((*rejection, *what, verdict(&gpus, &policy)));
    }
    let blackwell = gpu_policies::with(&[("[\"hopper\"]", "[\"hopper\", \"blackwell\"]")]);
    for (rejection, what, change) in MADE {
        let mut made = Made::hopper();
        change(&mut made);
        cases.push((*rejection, *what, verdict(&Gpus::made(made), &blackwell)));
    }
    for (rejection, what, change) in SIMULATED {
        let mut options = GpuOptions::new(NOW);
        change(&mut options);
        let gpus = Gpus::answered(options, NOW);
        cases.push((*rejection, *what, verdict(&gpus, &policy)));
    }
    let expired = Gpus::simulated(GpuOptions {
        faults: GpuFaults {
            expired_rim_signer: true,
            ..GpuFaults::default()
        },
        ..GpuOptions::new(NOW)
    });
    for (rejection, what, changes) in POLICIES {
        let gpus = if *rejection == Rejection::RimExpired {
            &expired
        } else {
            &good
        };
        cases.push((*rejection, *what, verdict(gpus, &gpu_policies::with(changes))));
    }
    cases.extend(verdicts::sessions(&good, &policy));
    cases.extend(verdicts::machines());
    cases.extend(verdicts::others(&good, &policy));
    cases.extend(verdicts::second_opinions(&good, &policy));
    cases
}

#[test]
fn the_committed_digests_of_the_simulations_roots_are_those_of_the_policy() {
    use bastide_attester::simulator::nvidia::roots::Authority;
    for (rejection, root) in [
        (Rejection::GpuRootUnknown, Authority::DeviceRoot),
        (Rejection::RimRootUnknown, Authority::RimRoot),
    ] {
        let (.., changes) = POLICIES
            .iter()
            .find(|(code, ..)| *code == rejection)
            .expect("it is in the table");
        assert_eq!(root.spki_digest().to_string(), changes[0].0);
        assert_ne!(root.spki_digest(), binding::spki_digest(&Made::root_spki()));
    }
}
