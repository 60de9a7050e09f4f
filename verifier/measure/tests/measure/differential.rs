//! Against `sev` 8, an implementation by others: equal digests over the matrix
//! of what QEMU can be told.

use std::path::{Path, PathBuf};

use bastide_attestation::sha256;
use bastide_measure::{Firmware, GuestFeatures, KernelHashes, VcpuType};
use sev::measurement::snp::{SnpMeasurementArgs, calc_snp_ovmf_hash, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures as TheirFeatures, VMMType};

use crate::ovmf::Image;

const VCPUS: [u32; 5] = [1, 2, 3, 64, 255];
const FEATURES: [u64; 3] = [0x1, 0x21, 0x8000_0000_0000_0201];

struct Files {
    ovmf: PathBuf,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
}

fn theirs(files: &Files, append: Option<&str>, vcpus: u32, vcpu_type: VcpuType, features: u64) -> String {
    let arguments = SnpMeasurementArgs {
        vcpus,
        vcpu_type: CpuType::try_from(vcpu_type.name()).expect("they know this type"),
        ovmf_file: files.ovmf.clone(),
        guest_features: TheirFeatures(features),
        kernel_file: files.kernel.clone(),
        initrd_file: files.initrd.clone(),
        append,
        ovmf_hash_str: None,
        vmm_type: Some(VMMType::QEMU),
    };
    snp_calc_launch_digest(arguments)
        .expect("they can measure it")
        .get_hex_ld()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("the temporary folder is writable");
    path
}

#[test]
fn digests_equal_those_of_sev_8_for_vcpus_types_features_and_kernels() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (kernel, initrd) = (vec![0x4b; 70_000], vec![0x49; 5_000]);
    let mut images = [Image::amd_sev(), Image::ovmf_x64(), Image::ovmf_x64()];
    images[2].pages = 1;
    images[2].sections = vec![(0x3000, 0x1000, 3), (0x1000, 0x1000, 2), (0x7000, 0x5000, 1)];
    let mut compared = 0;
    for (number, image) in images.iter().enumerate() {
        let bytes = image.build();
        let firmware = Firmware::parse(&bytes).expect("it is well-formed");
        let ovmf = write(folder.path(), &format!("{number}.fd"), &bytes);
        assert_eq!(
            firmware.digest().to_string(),
            calc_snp_ovmf_hash(ovmf.clone())
                .expect("they can measure it")
                .get_hex_ld()
        );
        let mut launches = vec![(None, None)];
        if number == 0 {
            launches = vec![
                (None, None),
                (Some(false), None),
                (Some(true), None),
                (Some(true), Some("console=ttyS0 root=/dev/vda ro")),
            ];
        }
        for (with, append) in launches {
            let files = Files {
                ovmf: ovmf.clone(),
                kernel: with.map(|_| write(folder.path(), "kernel", &kernel)),
                initrd: (with == Some(true)).then(|| write(folder.path(), "initrd", &initrd)),
            };
            let hashes = with.map(|with_initrd| {
                let initrd = with_initrd.then(|| sha256(&[&initrd]));
                KernelHashes::new(sha256(&[&kernel]), initrd, append.unwrap_or("").as_bytes())
                    .expect("no NUL")
            });
            let launch = firmware.launch(hashes.as_ref()).expect("it takes kernels");
            for vcpu_type in VcpuType::ALL {
                for features in FEATURES {
                    for vcpus in VCPUS {
                        let ours = launch.digest(
                            vcpus,
                            vcpu_type.signature(),
                            GuestFeatures::new(features).expect("with SNP"),
                        );
                        assert_eq!(
                            ours.map(|digest| digest.to_string()),
                            Some(theirs(&files, append, vcpus, *vcpu_type, features)),
                            "image {number}, {with:?} {append:?}, {vcpus} {} {features:#x}",
                            vcpu_type.name()
                        );
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 6 * VcpuType::ALL.len() * FEATURES.len() * VCPUS.len());
}

/// QEMU hashes the command line as it is given; `sev` 8 trims it first, which is
/// the one difference known. sev-snp-measure does as QEMU does.
#[test]
fn the_one_difference_to_sev_8_is_spaces_at_the_ends_of_a_command_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = Image::amd_sev().build();
    let files = Files {
        ovmf: write(folder.path(), "ovmf.fd", &bytes),
        kernel: Some(write(folder.path(), "kernel", b"kernel")),
        initrd: None,
    };
    let firmware = Firmware::parse(&bytes).expect("it is well-formed");
    let milan: VcpuType = "EPYC-Milan".parse().expect("a known type");
    let ours = |append: &str| {
        let hashes = KernelHashes::new(sha256(&[b"kernel"]), None, append.as_bytes()).expect("no NUL");
        let launch = firmware.launch(Some(&hashes)).expect("it takes kernels");
        let digest = launch.digest(1, milan.signature(), GuestFeatures::new(1).expect("with SNP"));
        digest.expect("one vCPU").to_string()
    };
    let theirs = |append| theirs(&files, Some(append), 1, milan, 1);
    assert_eq!(ours("quiet"), theirs("quiet"));
    assert_eq!(theirs(" quiet "), theirs("quiet"));
    assert_ne!(ours(" quiet "), ours("quiet"));
}
