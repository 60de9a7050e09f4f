//! Quotes byte by byte: each field's fault has its own name, and no byte that
//! is not looked at.

use proptest::prelude::*;

use super::*;

/// A quote as a vTPM of Azure makes it, over all PCRs and a nonce of 32 bytes.
fn message() -> Vec<u8> {
    let mut bytes = hex::decode("ff5443478018").unwrap();
    bytes.extend([0, 34, 0, 11]);
    bytes.extend([0x17; 32]);
    bytes.extend([0, 32]);
    bytes.extend([0xee; 32]);
    bytes.extend(0x0054_3d38_u64.to_be_bytes());
    bytes.extend(0x35_u32.to_be_bytes());
    bytes.extend(2_u32.to_be_bytes());
    bytes.push(1);
    bytes.extend(0x2020_0312_0012_0003_u64.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 11, 3, 0xff, 0xff, 0xff]);
    bytes.extend([0, 32]);
    bytes.extend([0xdd; 32]);
    bytes
}

fn with(at: usize, change: &[u8]) -> Result<(), QuoteError> {
    let mut bytes = message();
    bytes[at..at + change.len()].copy_from_slice(change);
    Quote::parse(&bytes).map(drop)
}

#[test]
fn every_field_is_read() {
    let bytes = message();
    let quote = Quote::parse(&bytes).unwrap();
    assert_eq!(quote.qualified_signer, &[0x17; 32]);
    assert_eq!(quote.extra_data, [0xee; 32]);
    assert_eq!(
        (quote.clock, quote.reset_count, quote.restart_count, quote.safe),
        (0x0054_3d38, 0x35, 2, true)
    );
    assert_eq!(quote.firmware_version, 0x2020_0312_0012_0003);
    assert_eq!(quote.selection.len(), 24);
    assert_eq!(quote.pcr_digest, &[0xdd; 32]);
}

#[test]
fn what_a_tpm_did_not_make_and_what_is_no_quote_is_refused() {
    assert_eq!(
        with(0, &[0, 0x54, 0x43, 0x47]),
        Err(QuoteError::Magic { got: 0x0054_4347 })
    );
    // Certify, creation, time, session audit, command audit, NV.
    for got in [0x8017_u16, 0x801a, 0x8019, 0x8016, 0x8015, 0x8014] {
        assert_eq!(with(4, &got.to_be_bytes()), Err(QuoteError::Type { got }));
    }
}

#[test]
fn lengths_algorithms_and_values_of_other_forms_are_refused() {
    let algorithm = |what, got| QuoteError::Algorithm {
        what,
        expected: "SHA-256 (0x000b)",
        got,
    };
    let cases: [(usize, &[u8], QuoteError); 12] = [
        (6, &[0, 33], length("qualifiedSigner")),
        (6, &[0, 36], length("qualifiedSigner")),
        (8, &[0, 12], algorithm("the signing key's name", 12)),
        (42, &[0, 67], length("extraData")),
        (42, &[0xff, 0xff], length("extraData")),
        (92, &[2], value("clockInfo.safe", "0 or 1")),
        (101, &[0, 0, 0, 0], value("pcrSelect", "one bank of PCRs")),
        (101, &[0xff; 4], value("pcrSelect", "one bank of PCRs")),
        (105, &[0, 4], algorithm("the bank of PCRs", 4)),
        (107, &[4], value("pcrSelect", "a bitmap of 3 bytes")),
        (108, &[0, 0, 0], value("pcrSelect", "at least one PCR")),
        (111, &[0, 31], length("pcrDigest")),
    ];
    for (at, change, fault) in cases {
        assert_eq!(with(at, change), Err(fault), "{at}");
    }
}

#[test]
fn every_truncation_and_every_byte_more_is_refused() {
    let mut bytes = message();
    for length in 0..bytes.len() {
        assert!(Quote::parse(&bytes[..length]).is_err(), "{length}");
    }
    bytes.push(0);
    assert_eq!(Quote::parse(&bytes), Err(QuoteError::Trailing { got: 1 }));
    bytes.resize(MAX_QUOTE_BYTES + 1, 0);
    assert_eq!(
        Quote::parse(&bytes),
        Err(QuoteError::TooLarge { got: bytes.len() })
    );
}

#[test]
fn a_signature_is_read_out_of_its_frame_and_only_of_one_kind() {
    let bytes = QuoteSignature::encode(&[7; 256]).unwrap();
    assert_eq!(bytes[..6], [0, 0x14, 0, 0x0b, 1, 0]);
    assert_eq!(QuoteSignature::parse(&bytes).unwrap().as_bytes(), [7; 256]);
    for length in 0..bytes.len() {
        assert!(QuoteSignature::parse(&bytes[..length]).is_err(), "{length}");
    }
    let trailing = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        QuoteSignature::parse(&trailing),
        Err(QuoteError::Trailing { got: 1 })
    );
    // RSAPSS, ECDSA; SHA-1, SHA-384.
    for (at, got) in [(0, 0x16_u16), (0, 0x18), (2, 0x04), (2, 0x0c)] {
        let mut other = bytes.clone();
        other[at..at + 2].copy_from_slice(&got.to_be_bytes());
        assert!(
            matches!(QuoteSignature::parse(&other), Err(QuoteError::Algorithm { got: named, .. }) if named == got)
        );
    }
    let empty = [0, 0x14, 0, 0x0b, 0, 0];
    assert_eq!(QuoteSignature::parse(&empty), Err(length("signature")));
    assert!(QuoteSignature::encode(&[]).is_err());
    assert!(QuoteSignature::encode(&[0; 513]).is_err());
    assert!(QuoteSignature::encode(&[0; 512]).is_ok());
}

proptest! {
    #[test]
    fn a_flipped_bit_is_refused_or_read_as_something_else(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = message();
        let good = Quote::parse(&bytes).unwrap();
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        if let Ok(quote) = Quote::parse(&flipped) {
            prop_assert_ne!(quote, good);
        }
    }

    #[test]
    fn reading_never_panics(bytes: Vec<u8>, at: prop::sample::Index, part in prop::collection::vec(any::<u8>(), 1..8)) {
        let _ = Quote::parse(&bytes);
        let _ = QuoteSignature::parse(&bytes);
        let mut altered = message();
        let at = at.index(altered.len());
        for (to, from) in altered[at..].iter_mut().zip(part) {
            *to = from;
        }
        let _ = Quote::parse(&altered);
    }
}
