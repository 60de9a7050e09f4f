//! Characters of two real manifests, changed into others of their kind: all that
//! say what is signed and how, and a share of the digests and certificates.

use super::*;

/// One in so many of what is long and repeats itself; a prime, so that every
/// column is met. With 1 it takes a minute.
const SHARE: usize = 11;

/// Another character that is most like this one, so that the change survives as
/// far as it can.
const fn other(byte: u8) -> u8 {
    match byte {
        b'0' => b'1',
        b'1'..=b'9' => b'0',
        b'A' | b'a' => byte + 1,
        b'B'..=b'Z' | b'b'..=b'z' => byte - 1,
        b' ' => b'\n',
        b'\n' => b' ',
        b'+' => b'/',
        b'/' => b'+',
        b'.' => b'-',
        b'-' => b'.',
        b'"' => b'\'',
        b':' => b'_',
        b'_' => b'-',
        b'=' => b'A',
        b'<' => b'>',
        b'>' => b'<',
        _ => b'x',
    }
}

#[test]
fn no_manifest_with_a_changed_character_is_authentic() {
    let (mut tried, mut faults) = (0_usize, std::collections::BTreeMap::new());
    for name in [DRIVER, VBIOS] {
        let Some(bytes) = file(name) else { return };
        let place = |word: &str| {
            bytes
                .windows(word.len())
                .position(|window| window == word.as_bytes())
        };
        let [payload, signature, certificates, end] = [
            "index=\"1\"",
            "<ds:Signature ",
            "<ds:X509Certificate>",
            "</ds:X509Data>",
        ]
        .map(|word| place(word).unwrap());
        for (index, byte) in bytes.iter().enumerate() {
            let repetitive = (payload..signature).contains(&index) || (certificates..end).contains(&index);
            if repetitive && index % SHARE != 0 {
                continue;
            }
            let mut changed = bytes.clone();
            changed[index] = other(*byte);
            let fault = match authenticate(&changed, AT_T1) {
                Ok(_) => panic!("{name} with another character at {index} was accepted"),
                Err(RimFault::Xml(_)) => "XML",
                Err(RimFault::Profile(_)) => "profile",
                Err(RimFault::Digest) => "digest",
                Err(RimFault::Chain(_)) => "chain",
                Err(RimFault::Signature) => "signature",
                Err(other) => panic!("{name} at {index}: {other}"),
            };
            *faults.entry(fault).or_insert(0_usize) += 1;
            tried += 1;
        }
    }
    println!("{tried} changes: {faults:?}");
    // Each way to refuse was met.
    assert_eq!(faults.len(), 5);
    assert!(tried > 7_000);
}

#[test]
fn no_manifest_that_is_cut_is_authentic() {
    let Some(bytes) = file(VBIOS) else { return };
    for length in 0..bytes.len() {
        let fault = authenticate(&bytes[..length], AT_T1).unwrap_err();
        assert!(matches!(fault, RimFault::Xml(_)), "{length}");
    }
}

#[test]
fn line_feeds_in_base64_and_after_the_root_change_nothing() {
    let Some(bytes) = file(VBIOS) else { return };
    let plain = authenticate(&bytes, AT_T1).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let changed = text.replace("<ds:SignatureValue>", "<ds:SignatureValue>\n") + "\n\n";
    let fed = authenticate(changed.as_bytes(), AT_T1).unwrap();
    assert_eq!(fed.golden(), plain.golden());
    assert_eq!(fed.certificates(), plain.certificates());
    assert_ne!(fed.sha256(), plain.sha256());
}
