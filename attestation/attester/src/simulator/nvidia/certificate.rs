//! Builds certificates as NVIDIA's look \[RFC 5280; TCG DICE Attestation
//! Architecture 1.1\]: names, extensions and their encodings, but for the
//! organisation, which says that they are simulated. Sets no distribution
//! points and no responders' addresses: there are none.

use aws_lc_rs::error::Unspecified;
use bastide_attestation::UnixTime;
use der::asn1::ObjectIdentifier;

use super::signer::{Signer, ecdsa_with_sha384};
use crate::simulator::asn1::{
    explicit, extension, integer, name, octet_string, oid, sequence, unsigned, utf8_string,
};
use crate::simulator::certificate::{
    BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_KEY_ID, Validity, authority_key_id, key_id,
};

/// O of every simulated certificate, by which people can tell.
pub(super) const ORGANISATION: &str = "Bastide simulation";

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const ORGANISATION_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// CompositeDeviceID, of an older draft of DICE.
const COMPOSITE_DEVICE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
/// DMTF's device information: `manufacturer:product:serial number`.
const DEVICE_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.412.274.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const OCSP_NO_CHECK: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.5");

/// DER KeyUsage: digitalSignature.
const DIGITAL_SIGNATURE: [u8; 4] = [0x03, 0x02, 0x07, 0x80];
/// DER KeyUsage: keyCertSign.
const CERT_SIGN: [u8; 4] = [0x03, 0x02, 0x02, 0x04];
/// DER KeyUsage: keyCertSign and cRLSign.
const CERT_AND_CRL_SIGN: [u8; 4] = [0x03, 0x02, 0x01, 0x06];
/// DER `BOOLEAN TRUE`.
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];
const VERSION_3: u32 = 2;

/// NVIDIA's validity of devices' certificates: to 9999-12-31T23:59:59Z.
pub(super) const FOR_EVER: Validity = Validity {
    not_before: Validity::AUTHORITY.not_before,
    not_after: UnixTime::from_secs(253_402_300_799),
};

/// What a certificate is for.
pub(super) enum Purpose<'a> {
    /// A shared authority. `path_length` as NVIDIA's last authority over
    /// signers of manifests has it, and no other.
    Authority { path_length: Option<u32> },
    /// A device's boot ROM, which issues the device's leaf.
    BootRom,
    /// A device's attestation key.
    Attestation {
        /// The boot ROM's SubjectPublicKeyInfo: whose firmware it is.
        device: &'a [u8],
        /// Digest of the firmware that made the key.
        fwid: &'a [u8; 48],
        /// `NVIDIA:product:serial number`.
        device_info: &'a str,
    },
    /// Signs reference manifests.
    ManifestSigner,
    /// Answers about revocation, for its issuer.
    OcspResponder,
}

/// CN and O, for all but what is in a device.
pub(super) fn named(common_name: &str) -> Vec<u8> {
    name(&[(COMMON_NAME, common_name), (ORGANISATION_NAME, ORGANISATION)])
}

/// The name of a key in a device, which has its certificate's serial number.
pub(super) fn named_in_device(common_name: &str, serial: &[u8]) -> Vec<u8> {
    let serial: String = serial.iter().map(|byte| format!("{byte:02X}")).collect();
    name(&[
        (SERIAL_NUMBER, &serial),
        (ORGANISATION_NAME, ORGANISATION),
        (COMMON_NAME, common_name),
    ])
}

/// A certificate for `subject` by `issuer`.
pub(super) fn issue(
    issuer: &Signer,
    subject: &Signer,
    serial: &[u8],
    validity: Validity,
    purpose: &Purpose<'_>,
) -> Result<Vec<u8>, Unspecified> {
    let mut extensions = constraints(purpose);
    let subject_key_id = octet_string(&key_id(&subject.spki));
    extensions.push(extension(SUBJECT_KEY_ID, false, &subject_key_id));
    extensions.push(authority_key_id(&issuer.spki));
    if let Purpose::Attestation {
        device,
        fwid,
        device_info,
    } = purpose
    {
        extensions.push(alternative_name(device_info));
        extensions.push(composite_device_id(device, fwid));
    }
    let tbs = sequence(&[
        &explicit(0, &integer(VERSION_3)),
        &unsigned(serial),
        &ecdsa_with_sha384(),
        &issuer.name,
        &validity.encode(),
        &subject.name,
        &subject.spki,
        &explicit(3, &sequence(&[&extensions.concat()])),
    ]);
    issuer.sign_structure(&tbs, &[])
}

/// What the key is for, as extensions.
fn constraints(purpose: &Purpose<'_>) -> Vec<Vec<u8>> {
    let usage = |bits: &[u8]| extension(KEY_USAGE, true, bits);
    let authority = |path_length: Option<u32>| {
        let path_length = path_length.map(integer).unwrap_or_default();
        extension(BASIC_CONSTRAINTS, true, &sequence(&[&TRUE, &path_length]))
    };
    let end_entity = || extension(BASIC_CONSTRAINTS, true, &sequence(&[]));
    match purpose {
        Purpose::Authority { path_length } => vec![authority(*path_length), usage(&CERT_AND_CRL_SIGN)],
        Purpose::BootRom => vec![authority(None), usage(&CERT_SIGN)],
        Purpose::Attestation { .. } => vec![usage(&DIGITAL_SIGNATURE)],
        Purpose::ManifestSigner => vec![end_entity(), usage(&DIGITAL_SIGNATURE)],
        Purpose::OcspResponder => vec![
            end_entity(),
            usage(&DIGITAL_SIGNATURE),
            // NVIDIA has ocsp-nocheck as a purpose instead of an extension.
            extension(
                EXTENDED_KEY_USAGE,
                true,
                &sequence(&[&oid(OCSP_SIGNING), &oid(OCSP_NO_CHECK)]),
            ),
        ],
    }
}

/// GeneralNames with one otherName.
fn alternative_name(device_info: &str) -> Vec<u8> {
    let other = [oid(DEVICE_INFO), explicit(0, &utf8_string(device_info))].concat();
    extension(
        SUBJECT_ALTERNATIVE_NAME,
        false,
        &sequence(&[&explicit(0, &other)]),
    )
}

/// SEQUENCE { version INTEGER (1), deviceID SubjectPublicKeyInfo, FWID }
fn composite_device_id(device: &[u8], fwid: &[u8; 48]) -> Vec<u8> {
    let fwid = sequence(&[&oid(SHA384), &octet_string(fwid)]);
    extension(
        COMPOSITE_DEVICE_ID,
        false,
        &sequence(&[&integer(1), device, &fwid]),
    )
}
