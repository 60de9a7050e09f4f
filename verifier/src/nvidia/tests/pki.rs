//! A PKI for tests: P-384 keys made from one byte, certificates and signatures
//! as NVIDIA makes them. Deterministic; knows nothing of what is tested.

use der::Encode as _;
use der::asn1::GeneralizedTime;
use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};

/// One DER element.
pub(in crate::nvidia) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// An OID from its content, with header.
pub(in crate::nvidia) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(6, &[content])
}

/// GeneralizedTime of seconds since 1970.
pub(in crate::nvidia) fn time(seconds: u64) -> Vec<u8> {
    GeneralizedTime::from_unix_duration(core::time::Duration::from_secs(seconds))
        .unwrap()
        .to_der()
        .unwrap()
}

/// ecdsa-with-SHA384.
pub(in crate::nvidia) fn ecdsa_sha384() -> Vec<u8> {
    tlv(0x30, &[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03])])
}

/// 1.3.6.1.5.5.7.3.9
pub(in crate::nvidia) const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// 1.3.6.1.5.5.7.48.1.5
pub(in crate::nvidia) const NO_CHECK: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 5];

/// A key and the name of who holds it.
#[derive(Debug, Clone)]
pub(in crate::nvidia) struct Holder {
    pub(in crate::nvidia) key: SigningKey,
    /// Name, DER.
    pub(in crate::nvidia) name: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub(in crate::nvidia) spki: Vec<u8>,
    /// The uncompressed point.
    pub(in crate::nvidia) point: Vec<u8>,
}

impl Holder {
    pub(in crate::nvidia) fn new(seed: u8, common_name: &str) -> Self {
        let key = SigningKey::from_slice(&[seed; 48]).unwrap();
        let attribute = tlv(
            0x30,
            &[&oid(&[0x55, 4, 3]), &tlv(0x0c, &[common_name.as_bytes()])],
        );
        let name = tlv(0x30, &[&tlv(0x31, &[&attribute])]);
        let point = key.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        let algorithm = tlv(
            0x30,
            &[
                &oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]),
                &oid(&[0x2b, 0x81, 4, 0, 0x22]),
            ],
        );
        let spki = tlv(0x30, &[&algorithm, &tlv(3, &[&[0], &point])]);
        Self {
            key,
            name,
            spki,
            point,
        }
    }

    /// R and S, 48 bytes each.
    pub(in crate::nvidia) fn sign_raw(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().to_vec()
    }

    /// SEQUENCE { tbs, ecdsa-with-SHA384, signature, rest }.
    pub(in crate::nvidia) fn sign_structure(&self, tbs: &[u8], rest: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(tbs);
        let bits = tlv(3, &[&[0], signature.to_der().as_bytes()]);
        tlv(0x30, &[tbs, &ecdsa_sha384(), &bits, rest])
    }
}

/// What a certificate says beside names and keys.
#[derive(Debug, Clone)]
pub(in crate::nvidia) struct Template<'a> {
    pub(in crate::nvidia) serial: u8,
    /// `None`: an end entity; else a CA and its pathLen.
    pub(in crate::nvidia) authority: Option<Option<u8>>,
    /// keyUsage's first byte.
    pub(in crate::nvidia) usage: u8,
    /// extKeyUsage.
    pub(in crate::nvidia) purposes: &'a [&'a [u8]],
    /// Whether ocsp-nocheck is an extension of it.
    pub(in crate::nvidia) no_check: bool,
    /// Validity in seconds since 1970.
    pub(in crate::nvidia) validity: (u64, u64),
}

impl Template<'_> {
    /// An end entity that may sign.
    pub(in crate::nvidia) const SIGNER: Self = Template {
        serial: 1,
        authority: None,
        usage: 0x80,
        purposes: &[],
        no_check: false,
        validity: (1_000_000_000, 2_000_000_000),
    };
    /// A certificate authority.
    pub(in crate::nvidia) const AUTHORITY: Self = Template {
        authority: Some(None),
        usage: 0x06,
        ..Self::SIGNER
    };

    /// A certificate of this kind.
    pub(in crate::nvidia) fn issue(&self, subject: &Holder, issuer: &Holder) -> Vec<u8> {
        let (critical, yes): (&[u8], &[u8]) = (&[1, 1, 0xff], &[1, 1, 0xff]);
        let extension =
            |id: &[u8], critical: &[u8], value: &[u8]| tlv(0x30, &[&oid(id), critical, &tlv(4, &[value])]);
        let constraints = match self.authority {
            None => tlv(0x30, &[]),
            Some(None) => tlv(0x30, &[yes]),
            Some(Some(length)) => tlv(0x30, &[yes, &tlv(2, &[&[length]])]),
        };
        let unused = u8::try_from(self.usage.trailing_zeros()).unwrap().min(7);
        let mut extensions = extension(&[0x55, 0x1d, 0x13], critical, &constraints);
        extensions.extend(extension(
            &[0x55, 0x1d, 0x0f],
            critical,
            &tlv(3, &[&[unused, self.usage]]),
        ));
        if !self.purposes.is_empty() {
            let purposes: Vec<_> = self.purposes.iter().flat_map(|purpose| oid(purpose)).collect();
            extensions.extend(extension(&[0x55, 0x1d, 0x25], critical, &tlv(0x30, &[&purposes])));
        }
        if self.no_check {
            extensions.extend(extension(NO_CHECK, &[], &[5, 0]));
        }
        let tbs = tlv(
            0x30,
            &[
                &[0xa0, 3, 2, 1, 2],
                &tlv(2, &[&[self.serial]]),
                &ecdsa_sha384(),
                &issuer.name,
                &tlv(0x30, &[&time(self.validity.0), &time(self.validity.1)]),
                &subject.name,
                &subject.spki,
                &tlv(0xa3, &[&tlv(0x30, &[&extensions])]),
            ],
        );
        issuer.sign_structure(&tbs, &[])
    }
}
