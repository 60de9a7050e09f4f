//! A made-up NVIDIA device under a made-up root: its certificates and its
//! report, each part open to change before everything is signed. Holds no
//! expectation; unit and integration tests share it.

use p384::ecdsa::SigningKey;
use p384::ecdsa::signature::Signer as _;

use super::der::{bits, integer, oid, sequence, time, tlv};

pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
pub(crate) const COMPOSITE_DEVICE_ID: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01];
pub(crate) const DICE_TCB_INFO: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// What the made-up device's firmware hashes to.
pub(crate) const FWID: [u8; 48] = [0xf0; 48];

/// One extension: its identifier, whether it is critical, its value.
pub(crate) type Extension = (&'static [u8], bool, Vec<u8>);

/// One certificate before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) serial: Vec<u8>,
    /// Last octet of the OID ecdsa-with-SHA….
    pub(crate) hash: u8,
    pub(crate) validity: [&'static str; 2],
    pub(crate) extensions: Vec<Extension>,
    /// Whose key signs: a number of [`key`].
    pub(crate) signer: u8,
}

impl Plan {
    /// Puts an extension in the place of the one with its identifier; a new one
    /// is critical.
    pub(crate) fn set(&mut self, oid: &'static [u8], value: Vec<u8>) {
        let before = self.extensions.iter().find(|(known, ..)| *known == oid);
        let critical = before.is_none_or(|(_, critical, _)| *critical);
        self.remove(oid);
        self.extensions.push((oid, critical, value));
    }

    pub(crate) fn remove(&mut self, oid: &[u8]) {
        self.extensions.retain(|(extension, ..)| *extension != oid);
    }
}

/// A device before anything is signed.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) certificates: [Plan; 5],
    pub(crate) opaque: Vec<u8>,
    /// Whose key signs the report.
    pub(crate) signer: u8,
    /// Measurement blocks.
    pub(crate) blocks: u8,
    /// What the report answers.
    pub(crate) nonce: [u8; 32],
}

/// Key number `number`; certificate i is for key i.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number + 1; 48]).expect("below the order")
}

pub(crate) fn spki(number: u8) -> Vec<u8> {
    let point = key(number).verifying_key().to_encoded_point(false);
    sequence(&[
        sequence(&[oid(EC_PUBLIC_KEY), oid(SECP384R1)]),
        bits(point.as_bytes()),
    ])
}

/// cA and pathLen.
pub(crate) fn constraints(authority: bool, path_length: Option<u8>) -> Vec<u8> {
    let mut parts = Vec::new();
    if authority {
        parts.push(tlv(0x01, &[0xff]));
    }
    parts.extend(path_length.map(integer));
    sequence(&parts)
}

pub(crate) fn fwid(digest: &[u8]) -> Vec<u8> {
    sequence(&[oid(SHA384), tlv(0x04, digest)])
}

pub(crate) fn composite_device_id(version: u8, digest: &[u8]) -> Vec<u8> {
    sequence(&[integer(version), spki(1), fwid(digest)])
}

pub(crate) fn tcb_info(flags: &[u8]) -> Vec<u8> {
    sequence(&[
        tlv(0x80, b"NVIDIA"),
        tlv(0x81, b"GB100 A01 GSP"),
        tlv(0xa6, &[fwid(&FWID), fwid(&[0; 48])].concat()),
        tlv(0x87, &[&[0], flags].concat()),
    ])
}

/// Fields in the legacy encoding.
pub(crate) fn legacy(fields: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, value) in fields {
        bytes.extend(id.to_le_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Fields of a GPU that must be there.
pub(crate) const FIELDS: [(u16, &[u8]); 7] = [
    (6, &[0, 0x9f, 0, 0x96, 1, 0, 0, 0]),
    (15, b"882\0"),
    (17, b"1010\0"),
    (18, b"0200\0"),
    (3, b"580.159.03\0"),
    (11, &[0x55]),
    (20, &FWID),
];

impl Made {
    pub(crate) fn hopper() -> Self {
        let mut made = Self::of("GH100");
        let value = composite_device_id(1, &FWID);
        made.certificates[0]
            .extensions
            .push((COMPOSITE_DEVICE_ID, false, value));
        made
    }

    pub(crate) fn blackwell() -> Self {
        let mut made = Self::of("GB102");
        let value = tcb_info(&[0x80, 0, 0, 1]);
        made.certificates[0]
            .extensions
            .push((DICE_TCB_INFO, false, value));
        made
    }

    fn of(chip: &str) -> Self {
        let names = [
            format!("{chip} A01 GSP FMC LF"),
            format!("{chip} A01 GSP BROM"),
            format!("NVIDIA {chip} Provisioner ICA 1"),
            format!("NVIDIA {chip} Identity"),
            "NVIDIA Device Identity CA".to_owned(),
        ];
        let plan = |index: usize| {
            let number = u8::try_from(index).unwrap();
            let usage: &[u8] = if index == 0 {
                &[3, 2, 7, 0x80]
            } else {
                &[3, 2, 2, 4]
            };
            let mut extensions: Vec<Extension> = vec![(KEY_USAGE, true, usage.to_vec())];
            if index > 0 {
                extensions.push((BASIC_CONSTRAINTS, true, constraints(true, None)));
            }
            Plan {
                subject: names[index].clone(),
                issuer: names[(index + 1).min(4)].clone(),
                serial: vec![number + 1],
                hash: 3,
                validity: ["20201017000000", "99991231235959"],
                extensions,
                signer: (number + 1).min(4),
            }
        };
        Self {
            certificates: [0, 1, 2, 3, 4].map(plan),
            opaque: legacy(&FIELDS),
            signer: 0,
            blocks: 64,
            nonce: [0xa0; 32],
        }
    }

    /// The root's SubjectPublicKeyInfo, as a policy would pin it.
    pub(crate) fn root_spki() -> Vec<u8> {
        spki(4)
    }

    /// The five certificates, leaf first.
    pub(crate) fn ders(&self) -> Vec<Vec<u8>> {
        self.certificates
            .iter()
            .zip(0..)
            .map(|(plan, number)| certificate(plan, number))
            .collect()
    }

    /// The report, signed.
    pub(crate) fn report(&self) -> Vec<u8> {
        let mut bytes = vec![0x11, 0xe0, 0x01, 0xff];
        bytes.extend(self.nonce);
        bytes.extend([0, 0x11, 0x60, 0, 0, self.blocks]);
        bytes.extend(&(u32::from(self.blocks) * 55).to_le_bytes()[..3]);
        for index in 1..=self.blocks {
            bytes.extend([index, 1, 51, 0, 1, 48, 0]);
            bytes.extend([index; 48]);
        }
        bytes.extend([0xb0; 32]);
        bytes.extend(u16::try_from(self.opaque.len()).unwrap().to_le_bytes());
        bytes.extend(&self.opaque);
        let signature: p384::ecdsa::Signature = key(self.signer).sign(&bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        bytes
    }
}

fn certificate(plan: &Plan, number: u8) -> Vec<u8> {
    let tbs = to_be_signed(plan, name(&plan.issuer), spki(number));
    let signature: p384::ecdsa::Signature = key(plan.signer).sign(&tbs);
    signed(&tbs, plan.hash, signature.to_der().as_bytes())
}

/// A name that is a common name alone.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[oid(COMMON_NAME), tlv(0x0c, common_name.as_bytes())]);
    sequence(&[tlv(0x31, &attribute)])
}

/// ecdsa-with-SHA…, 3 for SHA-384.
fn algorithm(hash: u8) -> Vec<u8> {
    sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, hash])])
}

/// What a certificate's issuer signs.
pub(crate) fn to_be_signed(plan: &Plan, issuer: Vec<u8>, spki: Vec<u8>) -> Vec<u8> {
    let extensions: Vec<_> = plan
        .extensions
        .iter()
        .map(|(id, critical, value)| {
            let mut parts = vec![oid(id)];
            if *critical {
                parts.push(tlv(0x01, &[0xff]));
            }
            parts.push(tlv(0x04, value));
            sequence(&parts)
        })
        .collect();
    sequence(&[
        tlv(0xa0, &integer(2)),
        tlv(0x02, &plan.serial),
        algorithm(plan.hash),
        issuer,
        sequence(&plan.validity.map(time)),
        name(&plan.subject),
        spki,
        tlv(0xa3, &sequence(&extensions)),
    ])
}

/// A certificate or a list: what is signed, how, and the DER signature.
pub(crate) fn signed(tbs: &[u8], hash: u8, signature: &[u8]) -> Vec<u8> {
    sequence(&[tbs.to_vec(), algorithm(hash), bits(signature)])
}
