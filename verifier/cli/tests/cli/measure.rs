//! `measure` as a provider meets it: digests as a table, as JSON, as pins and
//! as ID blocks; and what is wrong said by code and exit code.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ovmf::Image;
use crate::process::{Run, run};

/// By sev-snp-measure 0.0.13: EPYC-v4, one vCPU, features 0x1, no kernel.
const AMD_SEV_1: &str =
    "781f56ae64b9ae8bee8f76883e717c27b776649c59cefb94e1f8a5245fa474ab648090d2712ca6a602dcb288e0eea690";
/// Likewise with four vCPUs, kernel, initrd and command line.
const AMD_SEV_4_KERNEL: &str =
    "5a28392e48892c58943a528b9f55daf96e6b29893dc7bf8ef4a6777275c0dabb2894a561c324f29d9520705c325f7c37";

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        files.put("amd-sev.fd", &Image::amd_sev().build());
        files.put("ovmf-x64.fd", &Image::ovmf_x64().build());
        files.put("kernel", b"kernel");
        files.put("initrd", b"initrd");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("the temporary folder is writable");
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs it with `@name` as the file's path.
    fn measure(&self, line: &str) -> Run {
        let words = line.split_whitespace().map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).display().to_string(),
            None => word.to_owned(),
        });
        run(&std::iter::once("measure".to_owned())
            .chain(words)
            .collect::<Vec<_>>())
    }

    /// A new key in PEM.
    fn key(&self, name: &str) -> EcdsaKeyPair {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("random numbers");
        let der = pair.to_pkcs8v1().expect("a new key has its form");
        let body = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .map(|line| str::from_utf8(line).unwrap())
            .collect();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        );
        self.put(name, pem.as_bytes());
        pair
    }
}

#[test]
fn digests_are_those_that_sev_snp_measure_gives() {
    let files = Files::new();
    let human = files.measure("--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4");
    assert_eq!((human.code, human.stderr.as_str()), (0, ""), "{human:?}");
    assert!(human.stdout.contains(AMD_SEV_1), "{}", human.stdout);
    let json = files.measure(
        "--ovmf @amd-sev.fd --kernel @kernel --initrd @initrd --append quiet --vcpus 4 --vcpu-type EPYC-v4 --output json",
    );
    assert_eq!((json.code, json.stderr.as_str()), (0, ""), "{json:?}");
    let json = json.json();
    assert_eq!(json["schema"], "bastide.measure/v1");
    assert_eq!(json["ovmf"]["kernel_hashes"], true);
    let digest = &json["digests"][0];
    assert_eq!(digest["measurement"], AMD_SEV_4_KERNEL);
    assert_eq!(digest["shape"], "4vcpu-EPYC-v4-gf0x1");
    assert_eq!(digest["vcpu_signature"], "0x800f12");
}

#[test]
fn every_shape_that_is_asked_for_comes_once_and_signatures_stand_for_types() {
    let files = Files::new();
    let json = files
        .measure(
            "--ovmf @amd-sev.fd --vcpus 1,2,8-10 --vcpu-type EPYC-v4,EPYC-Genoa --vcpu-sig 0x800f12 \
             --vcpu-family 25 --vcpu-model 17 --vcpu-stepping 0 --guest-features 0x1,0x21 --output json",
        )
        .json();
    let digests = json["digests"].as_array().unwrap();
    assert_eq!(digests.len(), 5 * 4 * 2);
    let of = |shape: &str| {
        let mut found = digests.iter().filter(|digest| digest["shape"] == shape);
        let digest = found.next().unwrap_or_else(|| panic!("{shape} in {digests:?}"));
        assert!(found.next().is_none(), "{shape}");
        digest["measurement"].as_str().unwrap().to_owned()
    };
    assert_eq!(of("1vcpu-EPYC-v4-gf0x1"), AMD_SEV_1);
    assert_eq!(of("9vcpu-EPYC-v4-gf0x21"), of("9vcpu-sig0x800f12-gf0x21"));
    assert_eq!(of("10vcpu-EPYC-Genoa-gf0x1"), of("10vcpu-sig0xa10f10-gf0x1"));
    assert_ne!(of("10vcpu-EPYC-Genoa-gf0x1"), of("10vcpu-EPYC-v4-gf0x1"));
}

#[test]
fn pins_are_toml_with_a_window_and_a_reason_and_one_entry_a_digest() {
    let files = Files::new();
    files.key("id.pem");
    files.key("author.pem");
    let line = "--ovmf @amd-sev.fd --vcpus 1-2 --vcpu-type EPYC-v3,EPYC-v4,EPYC-Genoa --id-key @id.pem \
                --author-key @author.pem --id-out @. -o @pins.toml --not-before 2026-11-25 \
                --not-after 2027-11-25T12:00:00Z --reason reviewed --release v0.3.1";
    let run = files.measure(line);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("pins.toml"), "{run:?}");
    let pins: toml::Table = files.text("pins.toml").parse().unwrap();
    let launch = pins["snp"]["launch"].as_array().unwrap();
    assert_eq!(launch.len(), 4, "{launch:?}");
    let first = launch[0].as_table().unwrap();
    let keys: Vec<&str> = first.keys().map(String::as_str).collect();
    for key in [
        "measurement",
        "release",
        "shape",
        "not_before",
        "not_after",
        "reason",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert_eq!(keys.len(), 6);
    assert_eq!(first["measurement"].as_str(), Some(AMD_SEV_1));
    assert_eq!(
        first["shape"].as_str(),
        Some("1vcpu-EPYC-v3-gf0x1, 1vcpu-EPYC-v4-gf0x1")
    );
    assert_eq!(first["not_before"].to_string(), "2026-11-25");
    assert!(first["not_before"].is_datetime() && first["not_after"].is_datetime());
    assert_eq!(first["reason"].as_str(), Some("reviewed"));
    for table in ["id_keys", "author_keys"] {
        let entries = pins["snp"][table].as_array().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0]["digest"].as_str().unwrap().len(), 96);
    }
    // A second run would sign anew; nothing is overwritten.
    let again = files.measure(line);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("output.exists"), "{again:?}");
}

#[test]
fn id_blocks_are_signed_over_the_digest_by_the_keys_that_pins_name() {
    let files = Files::new();
    let (id, author) = (files.key("id.pem"), files.key("author.pem"));
    let json = files
        .measure(
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --id-key @id.pem --author-key @author.pem --id-out @. \
             --guest-svn 7 --guest-policy 0x30001 --family-id 0102030405060708090a0b0c0d0e0f10 --output json",
        )
        .json();
    let decode = |name: &str| {
        STANDARD
            .decode(files.text(name))
            .expect("base64 without a newline")
    };
    let (block, auth) = (decode("id-block.b64"), decode("id-auth.b64"));
    assert_eq!((block.len(), auth.len()), (96, 4096));
    assert_eq!(hex::encode(&block[..48]), AMD_SEV_1);
    assert_eq!((block[48], block[63], block[84]), (1, 16, 7));
    assert_eq!(block[88..], [1, 0, 3, 0, 0, 0, 0, 0]);
    let big_endian = |bytes: &[u8]| bytes[..48].iter().rev().copied().collect::<Vec<u8>>();
    let verify = |pair: &EcdsaKeyPair, message: &[u8], signature: &[u8]| {
        let signature = [big_endian(signature), big_endian(&signature[72..])].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, pair.public_key().as_ref());
        key.verify(message, &signature).expect("the signature is good");
    };
    verify(&id, &block, &auth[0x40..]);
    verify(&author, &auth[0x240..0x644], &auth[0x680..]);
    let point = [
        vec![4],
        big_endian(&auth[0x244..]),
        big_endian(&auth[0x244 + 72..]),
    ]
    .concat();
    assert_eq!(point, id.public_key().as_ref());
    let digest = bastide_attestation::sha384(&[&auth[0x240..0x644]]);
    assert_eq!(json["id_block"]["id_key_digest"], hex::encode(digest));
    let digest = bastide_attestation::sha384(&[&auth[0x880..0xc84]]);
    assert_eq!(json["id_block"]["author_key_digest"], hex::encode(digest));
}

#[test]
fn several_digests_have_id_blocks_named_by_their_shapes() {
    let files = Files::new();
    files.key("id.pem");
    let run =
        files.measure("--ovmf @amd-sev.fd --vcpus 1,2 --vcpu-type EPYC-v4 --id-key @id.pem --id-out @.");
    assert_eq!(run.code, 0, "{run:?}");
    for vcpus in [1, 2] {
        let block = files.text(&format!("id-block-{vcpus}vcpu-EPYC-v4-gf0x1.b64"));
        assert_eq!(STANDARD.decode(block).unwrap().len(), 96);
        let auth = files.text(&format!("id-auth-{vcpus}vcpu-EPYC-v4-gf0x1.b64"));
        let auth = STANDARD.decode(auth).unwrap();
        assert!(auth[0x680..].iter().all(|byte| *byte == 0), "there is no author");
    }
}

#[test]
fn a_malformed_image_is_malformed_input_with_its_own_code() {
    let files = Files::new();
    let mut image = Image::amd_sev();
    image.version = 2;
    files.put("version.fd", &image.build());
    files.put("short.fd", &Image::amd_sev().build()[..5000]);
    files.put("empty.fd", b"");
    files.put("zeros.fd", &[0; 8192]);
    let large = std::fs::File::create(files.path("large.fd")).unwrap();
    large.set_len(16 * 1024 * 1024 + 1).unwrap();
    for (name, code) in [
        ("version.fd", "measure.ovmf.metadata_version"),
        ("short.fd", "measure.ovmf.not_pages"),
        ("empty.fd", "measure.ovmf.not_pages"),
        ("zeros.fd", "measure.ovmf.no_table"),
        ("large.fd", "measure.ovmf.too_large"),
    ] {
        let run = files.measure(&format!("--ovmf @{name} --vcpus 1 --vcpu-type EPYC-v4"));
        assert_eq!((run.code, run.stdout.as_str()), (30, ""), "{name} {run:?}");
        assert!(run.stderr.contains(code), "{name} {run:?}");
    }
}

#[test]
fn what_is_wrong_with_the_arguments_is_usage_and_says_what_was_expected() {
    let files = Files::new();
    files.put("not-a.pem", b"-----BEGIN CERTIFICATE-----\n");
    let pins = "-o @pins.toml --not-before 2027-01-01 --not-after 2026-01-01 --reason x";
    for (line, wanted) in [
        ("--ovmf @none --vcpus 1 --vcpu-type EPYC-v4", "input.unreadable"),
        (
            "--ovmf @amd-sev.fd --kernel @none --vcpus 1 --vcpu-type EPYC-v4",
            "input.unreadable",
        ),
        (
            "--ovmf @ovmf-x64.fd --kernel @kernel --vcpus 1 --vcpu-type EPYC-v4",
            "AmdSevX64",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --vmm ec2",
            "not verified against",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --vmm gce",
            "measure.vmm.unverified",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --vmm svsm",
            "measure.vmm.unverified",
        ),
        ("--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v9", "EPYC-Turin"),
        ("--ovmf @amd-sev.fd --vcpus 0 --vcpu-type EPYC-v4", "1,2,4,8-16"),
        ("--ovmf @amd-sev.fd --vcpus 1", "--vcpu-type"),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --guest-features 0x20",
            "SNPActive",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --initrd @initrd",
            "--kernel",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --append quiet",
            "--kernel",
        ),
        ("--ovmf @amd-sev.fd --vcpus 1 --vcpu-family 25", "--vcpu-model"),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-family 25 --vcpu-model 256 --vcpu-stepping 0",
            "measure.vcpu.signature",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 -o @pins.toml",
            "--not-before",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --id-key @not-a.pem",
            "measure.id_block.key",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --author-key @not-a.pem",
            "--id-key",
        ),
        (
            "--ovmf @amd-sev.fd --vcpus 1-4096 --vcpu-type EPYC,EPYC-v1,EPYC-v2,EPYC-v3,EPYC-v4",
            "measure.too_many",
        ),
        (
            &format!("--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 {pins}"),
            "measure.window",
        ),
    ] {
        let run = files.measure(line);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line} {run:?}");
        assert!(run.stderr.contains(wanted), "{wanted} in {run:?}");
        assert!(!Path::new(&files.path("pins.toml")).exists(), "{line}");
    }
}

#[test]
fn a_guest_policy_that_the_firmware_refuses_signs_nothing() {
    let files = Files::new();
    files.key("id.pem");
    let run = files.measure(
        "--ovmf @amd-sev.fd --vcpus 1 --vcpu-type EPYC-v4 --id-key @id.pem --id-out @. --guest-policy 0x1",
    );
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
    assert!(run.stderr.contains("measure.id_block.policy"), "{run:?}");
    assert!(!files.path("id-block.b64").exists());
}
