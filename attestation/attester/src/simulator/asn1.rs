//! Writes the DER that AMD's and NVIDIA's certificates are made of. Writes
//! only: nothing here reads.

use bastide_attestation::UnixTime;
use der::asn1::ObjectIdentifier;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const PRIMITIVE_CONTEXT: u8 = 0x80;
const CONTEXT: u8 = 0xa0;

/// DER of `critical TRUE`.
const TRUE: &[u8] = &[0x01, 0x01, 0xff];
/// First second that needs GeneralizedTime, 2050-01-01T00:00:00Z \[RFC 5280 §4.1.2.5\].
const GENERALIZED_FROM: UnixTime = UnixTime::from_secs(2_524_608_000);

/// AlgorithmIdentifier of RSASSA-PSS with SHA-384, MGF1 with SHA-384 and 48
/// bytes of salt. AMD spells the default trailerField out in ARK and ASK, and
/// leaves it out in what it signs since late 2024.
pub(super) fn pss_sha384(trailer: bool) -> Vec<u8> {
    const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
    const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
    const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
    let hash = sequence(&[&oid(SHA384), &[0x05, 0x00]]);
    let mask = sequence(&[&oid(MGF1), &hash]);
    let (salt, one) = (integer(48), integer(1));
    let trailer = if trailer { explicit(3, &one) } else { Vec::new() };
    let parameters = sequence(&[
        &explicit(0, &hash),
        &explicit(1, &mask),
        &explicit(2, &salt),
        &trailer,
    ]);
    sequence(&[&oid(RSASSA_PSS), &parameters])
}

/// AMD's distinguished name with this common name, in AMD's order and string types.
pub(super) fn amd_name(common_name: &str) -> Vec<u8> {
    const RDNS: [(ObjectIdentifier, u8, &str); 5] = [
        (
            ObjectIdentifier::new_unwrap("2.5.4.11"),
            UTF8_STRING,
            "Engineering",
        ),
        (ObjectIdentifier::new_unwrap("2.5.4.6"), PRINTABLE_STRING, "US"),
        (
            ObjectIdentifier::new_unwrap("2.5.4.7"),
            UTF8_STRING,
            "Santa Clara",
        ),
        (ObjectIdentifier::new_unwrap("2.5.4.8"), UTF8_STRING, "CA"),
        (
            ObjectIdentifier::new_unwrap("2.5.4.10"),
            UTF8_STRING,
            "Advanced Micro Devices",
        ),
    ];
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    let rdns: Vec<u8> = RDNS
        .into_iter()
        .chain([(COMMON_NAME, UTF8_STRING, common_name)])
        .flat_map(|(kind, string, text)| {
            let attribute = sequence(&[&oid(kind), &tlv(string, &[text.as_bytes()])]);
            tlv(SET, &[&attribute])
        })
        .collect();
    sequence(&[&rdns])
}

/// A distinguished name of texts, in this order.
pub(super) fn name(attributes: &[(ObjectIdentifier, &str)]) -> Vec<u8> {
    let rdns: Vec<u8> = attributes
        .iter()
        .flat_map(|(kind, text)| {
            let attribute = sequence(&[&oid(*kind), &tlv(UTF8_STRING, &[text.as_bytes()])]);
            tlv(SET, &[&attribute])
        })
        .collect();
    sequence(&[&rdns])
}

/// UTCTime, or GeneralizedTime from 2050 on.
pub(super) fn time(at: UnixTime) -> Vec<u8> {
    if at < GENERALIZED_FROM {
        tlv(UTC_TIME, &[digits(at).get(2..).unwrap_or_default()])
    } else {
        generalized_time(at)
    }
}

/// GeneralizedTime, as OCSP has it of every year.
pub(super) fn generalized_time(at: UnixTime) -> Vec<u8> {
    tlv(GENERALIZED_TIME, &[&digits(at)])
}

/// `YYYYMMDDhhmmssZ`.
fn digits(at: UnixTime) -> Vec<u8> {
    let mut digits: Vec<u8> = at.to_string().bytes().filter(u8::is_ascii_digit).collect();
    digits.push(b'Z');
    digits
}

/// A non-negative INTEGER.
pub(super) fn integer(number: u32) -> Vec<u8> {
    unsigned(&number.to_be_bytes())
}

/// A non-negative INTEGER of any size, from big-endian bytes.
pub(super) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let most = bytes.len().saturating_sub(1);
    let zeros = bytes.iter().take(most).take_while(|byte| **byte == 0).count();
    let significant = bytes.get(zeros..).unwrap_or_default();
    let sign: &[u8] = match significant.first() {
        Some(0x80..) => &[0],
        _ => &[],
    };
    tlv(INTEGER, &[sign, significant])
}

/// One extension, `value` being the content of extnValue.
pub(super) fn extension(kind: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { TRUE } else { &[] };
    sequence(&[&oid(kind), critical, &octet_string(value)])
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

pub(super) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(OBJECT_IDENTIFIER, &[oid.as_bytes()])
}

pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes])
}

pub(super) fn octet_string(bytes: &[u8]) -> Vec<u8> {
    tlv(OCTET_STRING, &[bytes])
}

pub(super) fn ia5_string(text: &str) -> Vec<u8> {
    tlv(IA5_STRING, &[text.as_bytes()])
}

pub(super) fn utf8_string(text: &str) -> Vec<u8> {
    tlv(UTF8_STRING, &[text.as_bytes()])
}

pub(super) fn enumerated(number: u8) -> Vec<u8> {
    tlv(ENUMERATED, &[&[number]])
}

/// `[number] EXPLICIT`, and `[number] IMPLICIT` of what is constructed.
pub(super) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(CONTEXT | number, &[content])
}

/// `[number] IMPLICIT` of what is not constructed.
pub(super) fn implicit(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(PRIMITIVE_CONTEXT | number, &[content])
}

/// Tag, length and the concatenated parts.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ ..0x80) => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant = bytes.iter().skip_while(|byte| **byte == 0);
            out.push(significant.clone().fold(0x80, |count, _| count + 1));
            out.extend(significant);
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_integers_and_times_are_minimal_der() {
        assert_eq!(tlv(4, &[&[7; 0x7f]])[..2], [4, 0x7f]);
        assert_eq!(tlv(4, &[&[7; 0x80]])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[&[7; 0x101]])[..4], [4, 0x82, 1, 1]);
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0, 0x80, 0]), [2, 3, 0, 0x80, 0]);
        assert_eq!(integer(0x7f), [2, 1, 0x7f]);
        assert_eq!(integer(0xdb), [2, 2, 0, 0xdb]);
        assert_eq!(integer(0x2_0002), [2, 3, 2, 0, 2]);
        assert_eq!(time(UnixTime::from_secs(0))[2..], *b"700101000000Z");
        assert_eq!(time(UnixTime::from_secs(2_524_607_999))[2..], *b"491231235959Z");
        assert_eq!(time(GENERALIZED_FROM), *b"\x18\x0f20500101000000Z");
        assert_eq!(
            generalized_time(UnixTime::from_secs(0)),
            *b"\x18\x0f19700101000000Z"
        );
    }

    #[test]
    fn the_algorithm_and_the_name_are_amds_byte_for_byte() {
        // From a Genoa VCEK of 2026 and the Genoa ASK.
        let leaf = "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d\
                    010108300d06096086480165030402020500a203020130";
        assert_eq!(hex::encode(pss_sha384(false)), leaf);
        let authority = "304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a8648\
                         86f70d010108300d06096086480165030402020500a203020130a303020101";
        assert_eq!(hex::encode(pss_sha384(true)), authority);
        assert!(hex::encode(amd_name("ARK-Genoa")).starts_with(
            "307b31143012060355040b0c0b456e67696e656572696e67310b3009060355040613025553\
             3114301206035504070c0b53616e746120436c617261310b300906035504080c024341"
        ));
    }
}
