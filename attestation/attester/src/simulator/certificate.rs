//! Builds ARK, ASK and VCEK as AMD's look \[AMD 57230\]: names, extensions,
//! algorithms and their encodings. Does not set distribution points: there is
//! no server where a simulated revocation list could be had.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PSS_SHA384;
use bastide_attestation::snp::TcbVersion;
use bastide_attestation::{UnixTime, sha256};
use der::asn1::ObjectIdentifier;

use super::asn1::{
    amd_name, bit_string, explicit, extension, ia5_string, integer, octet_string, pss_sha384, sequence, time,
};
use super::chip::Generation;
use super::roots::Authority;

pub(super) const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(super) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(super) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

const STRUCT_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.1");
const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const BL_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const SPL_4: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.4");
const SPL_5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.5");
const SPL_6: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.6");
const SPL_7: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.7");
const UCODE_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");

/// DER `keyCertSign`, as in AMD's ASK.
const KEY_CERT_SIGN: [u8; 4] = [0x03, 0x02, 0x01, 0x04];
/// DER `keyCertSign, cRLSign`: the root signs its revocation list too.
const KEY_CERT_AND_CRL_SIGN: [u8; 4] = [0x03, 0x02, 0x01, 0x06];
/// DER `BOOLEAN TRUE`.
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];
const VERSION_3: u32 = 2;
const DAY: u64 = 86_400;
/// AMD's validity of a VCEK, in days.
const SEVEN_YEARS: u64 = 7 * 365 + 2;

/// From when to when a certificate is valid, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity {
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
}

impl Validity {
    /// 2022-01-01T00:00:00Z to 2049-12-31T23:59:59Z.
    pub(super) const AUTHORITY: Self = Self {
        not_before: UnixTime::from_secs(1_640_995_200),
        not_after: UnixTime::from_secs(2_524_607_999),
    };

    /// From the day before `now`, for seven years.
    pub(super) const fn of_leaf(now: UnixTime) -> Self {
        let not_before = now.as_secs().saturating_sub(DAY);
        Self {
            not_before: UnixTime::from_secs(not_before),
            not_after: UnixTime::from_secs(not_before.saturating_add(SEVEN_YEARS * DAY)),
        }
    }

    /// DER Validity.
    pub(super) fn encode(self) -> Vec<u8> {
        sequence(&[&time(self.not_before), &time(self.not_after)])
    }
}

/// The self-signed root.
pub(super) fn ark(ark: &Authority, generation: Generation) -> Result<Vec<u8>, Unspecified> {
    let spki = ark.spki()?;
    let extensions = [
        extension(SUBJECT_KEY_ID, false, &octet_string(&key_id(&spki))),
        extension(BASIC_CONSTRAINTS, true, &sequence(&[&TRUE])),
        extension(KEY_USAGE, true, &KEY_CERT_AND_CRL_SIGN),
    ];
    let (serial, _) = generation.serials();
    let tbs = authority_tbs(ark, &ark.name, serial, &spki, &extensions);
    signed(&tbs, &pss_sha384(true), &ark.key)
}

/// The intermediate, signed by the root.
pub(super) fn ask(ark: &Authority, ask: &Authority, generation: Generation) -> Result<Vec<u8>, Unspecified> {
    let spki = ask.spki()?;
    let extensions = [
        extension(SUBJECT_KEY_ID, false, &octet_string(&key_id(&spki))),
        authority_key_id(&ark.spki()?),
        extension(BASIC_CONSTRAINTS, true, &sequence(&[&TRUE, &integer(0)])),
        extension(KEY_USAGE, true, &KEY_CERT_SIGN),
    ];
    let (_, serial) = generation.serials();
    let tbs = authority_tbs(ark, &ask.name, serial, &spki, &extensions);
    signed(&tbs, &pss_sha384(true), &ark.key)
}

fn authority_tbs(
    issuer: &Authority,
    subject: &str,
    serial: u32,
    spki: &[u8],
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    sequence(&[
        &explicit(0, &integer(VERSION_3)),
        &integer(serial),
        &pss_sha384(true),
        &amd_name(&issuer.name),
        &Validity::AUTHORITY.encode(),
        &amd_name(subject),
        spki,
        &explicit(3, &sequence(&[&extensions.concat()])),
    ])
}

/// The chip's key for one TCB version, signed by the intermediate.
pub(super) fn vcek(
    ask: &Authority,
    generation: Generation,
    tcb: &TcbVersion,
    chip: u8,
    validity: Validity,
    spki: &[u8],
) -> Result<Vec<u8>, Unspecified> {
    let tbs = sequence(&[
        &explicit(0, &integer(VERSION_3)),
        // AMD gives every VCEK the serial number 0.
        &integer(0),
        &pss_sha384(false),
        &amd_name(&ask.name),
        &validity.encode(),
        &amd_name("SEV-VCEK"),
        spki,
        &explicit(3, &sequence(&[&vcek_extensions(generation, tcb, chip).concat()])),
    ]);
    signed(&tbs, &pss_sha384(false), &ask.key)
}

/// AMD's extensions, in AMD's order for the generation.
fn vcek_extensions(generation: Generation, tcb: &TcbVersion, chip: u8) -> Vec<Vec<u8>> {
    let level = |kind, level: u8| extension(kind, false, &integer(u32::from(level)));
    let product = |version| {
        [
            level(STRUCT_VERSION, version),
            extension(PRODUCT_NAME, false, &ia5_string(generation.name())),
        ]
    };
    // Content of extnValue is the id itself, not DER.
    let hwid = extension(HWID, false, &generation.hwid(chip));
    let mut all = Vec::new();
    match tcb.fmc {
        None => {
            all.extend(product(0));
            all.extend([level(BL_SPL, tcb.boot_loader), level(TEE_SPL, tcb.tee)]);
            all.extend([SPL_4, SPL_5, SPL_6, SPL_7].map(|kind| level(kind, 0)));
            all.extend([level(SNP_SPL, tcb.snp), level(UCODE_SPL, tcb.microcode)]);
        }
        Some(fmc) => {
            all.extend(product(1));
            all.extend([
                level(FMC_SPL, fmc),
                level(BL_SPL, tcb.boot_loader),
                level(TEE_SPL, tcb.tee),
                level(SNP_SPL, tcb.snp),
            ]);
            all.extend([SPL_5, SPL_6, SPL_7].map(|kind| level(kind, 0)));
            all.push(level(UCODE_SPL, tcb.microcode));
        }
    }
    all.push(hwid);
    all
}

/// Names the issuer's key.
pub(super) fn authority_key_id(issuer_spki: &[u8]) -> Vec<u8> {
    // [0] IMPLICIT KeyIdentifier, 20 bytes.
    let id = [&[0x80, 20], key_id(issuer_spki).as_slice()].concat();
    extension(AUTHORITY_KEY_ID, false, &sequence(&[&id]))
}

/// First 20 bytes of SHA-256 \[RFC 7093 §2\].
pub(super) fn key_id(spki: &[u8]) -> Vec<u8> {
    sha256(&[spki]).into_iter().take(20).collect()
}

/// `tbs` with its algorithm and an RSASSA-PSS signature after it.
pub(super) fn signed(tbs: &[u8], algorithm: &[u8], key: &RsaKeyPair) -> Result<Vec<u8>, Unspecified> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA384, &SystemRandom::new(), tbs, &mut signature)?;
    Ok(sequence(&[tbs, algorithm, &bit_string(&signature)]))
}
