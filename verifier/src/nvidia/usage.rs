//! What the key of a certificate may be used for \[RFC 5280 §4.2.1.3, §4.2.1.12\].
//! Reads two extensions; follows no chain.

use crate::certificate::{Certificate, KEY_USAGE};
use crate::der::{Elements, Fault, Tag, sequence};

/// 2.5.29.37
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const DIGITAL_SIGNATURE: u8 = 0b1000_0000;
const USAGE: &str = "keyUsage with digitalSignature";
const PURPOSES: &str = "extKeyUsage";

/// Requires that keyUsage is there and has digitalSignature.
pub(super) fn require_digital_signature(certificate: &Certificate<'_>) -> Result<(), Fault> {
    let usage = certificate.extension(KEY_USAGE).ok_or(Fault(USAGE))?;
    let mut outer = Elements::new(usage.value);
    let bits = outer.expect(Tag::BIT_STRING, USAGE)?;
    outer.finish(USAGE)?;
    match bits.content {
        [0..=7, first, ..] if first & DIGITAL_SIGNATURE != 0 => Ok(()),
        _ => Err(Fault(USAGE)),
    }
}

/// The purposes in extKeyUsage, as contents of their OIDs; none if it is absent.
pub(super) fn purposes<'a>(certificate: &Certificate<'a>) -> Result<Vec<&'a [u8]>, Fault> {
    let mut found = Vec::new();
    if let Some(extension) = certificate.extension(EXTENDED_KEY_USAGE) {
        let mut list = sequence(extension.value, PURPOSES)?;
        while !list.is_empty() {
            found.push(list.expect(Tag::OID, PURPOSES)?.content);
        }
    }
    Ok(found)
}
