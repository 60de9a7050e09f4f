//! Certificate revocation lists as AMD's roots and NVIDIA's authorities sign them \[RFC 5280 §5\]. Reads
//! strictly; the signature is verified by whoever knows the root.

use bastide_attestation::UnixTime;

use crate::certificate::without_leading_zeros;
use crate::der::{Elements, Fault, Tag, bit_string, sequence, small_integer, time};

/// Most bytes of a list. AMD's have about 900.
const MAX_CRL_BYTES: usize = 16 * 1024;
/// Most entries.
const MAX_ENTRIES: usize = 512;
/// 2.5.29.21
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];

/// A list whose form is right.
#[derive(Debug)]
pub(crate) struct RevocationList<'a> {
    /// The whole list.
    pub(crate) der: &'a [u8],
    /// What is signed, as received.
    pub(crate) tbs: &'a [u8],
    /// The AlgorithmIdentifier of its signature, with its header.
    pub(crate) algorithm: &'a [u8],
    /// Issuer, with its header.
    pub(crate) issuer: &'a [u8],
    /// First second it applies.
    pub(crate) this_update: UnixTime,
    /// When the next list is due.
    pub(crate) next_update: UnixTime,
    /// What it revokes.
    pub(crate) revoked: Revoked<'a>,
    /// The signature's bytes.
    pub(crate) signature: &'a [u8],
}

impl<'a> RevocationList<'a> {
    /// Reads exactly one list, version 2.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Fault> {
        if der.len() > MAX_CRL_BYTES {
            return Err(Fault("a revocation list of at most 16,384 bytes"));
        }
        let mut outer = sequence(der, "a DER revocation list with nothing after it")?;
        let tbs = outer.expect(Tag::SEQUENCE, "tbsCertList")?;
        let outer_algorithm = outer.expect(Tag::SEQUENCE, "signatureAlgorithm")?;
        let signature = outer.expect(Tag::BIT_STRING, "signatureValue")?;
        outer.finish("nothing after signatureValue")?;

        let mut fields = Elements::new(tbs.content);
        if fields.expect(Tag::INTEGER, "version 2")?.content != [1] {
            return Err(Fault("version 2"));
        }
        let inner_algorithm = fields.expect(Tag::SEQUENCE, "signature")?;
        if inner_algorithm.raw != outer_algorithm.raw {
            return Err(Fault("the same algorithm inside and outside tbsCertList"));
        }
        let issuer = fields.expect(Tag::SEQUENCE, "issuer")?;
        let this_update = time(fields.any("thisUpdate")?, "thisUpdate")?;
        let next_update = time(fields.any("nextUpdate")?, "nextUpdate")?;
        let revoked = match fields.optional(Tag::SEQUENCE, "revokedCertificates")? {
            Some(list) => Revoked::read(list.content)?,
            None => Revoked::read(&[])?,
        };
        // AMD's extensions are its key identifier and a number. A critical one
        // could change what the list means (RFC 5280 §5.2).
        if let Some(extensions) = fields.optional(Tag::context::<0>(), "crlExtensions")? {
            refuse_critical(extensions.content)?;
        }
        fields.finish("nothing after crlExtensions")?;
        Ok(Self {
            der,
            tbs: tbs.raw,
            algorithm: outer_algorithm.raw,
            issuer: issuer.raw,
            this_update,
            next_update,
            revoked,
            signature: bit_string(signature.content, "signatureValue without unused bits")?,
        })
    }

    /// Whether the list names this serial number (without leading zeros).
    pub(crate) fn revokes(&self, serial: &[u8]) -> bool {
        self.entry(serial).is_some()
    }

    /// What the list says of this serial number (without leading zeros).
    pub(crate) fn entry(&self, serial: &[u8]) -> Option<Entry<'a>> {
        self.revoked.entries().find(|entry| entry.serial == serial)
    }
}

/// The entries of a list. They stay where they are in its DER and are read
/// again at each look, so that nothing is allocated for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revoked<'a> {
    list: Elements<'a>,
    count: usize,
}

impl<'a> Revoked<'a> {
    fn read(content: &'a [u8]) -> Result<Self, Fault> {
        let list = Elements::new(content);
        let (mut rest, mut count) = (list, 0);
        while !rest.is_empty() {
            if count == MAX_ENTRIES {
                return Err(Fault("at most 512 revoked certificates"));
            }
            read_entry(&mut rest)?;
            count += 1;
        }
        Ok(Self { list, count })
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Each of them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut list = self.list;
        // INVARIANT: `read` has read all of them without a fault.
        core::iter::from_fn(move || read_entry(&mut list).ok())
    }

    /// Serial numbers, without leading zeros.
    #[cfg(fuzzing)]
    pub(crate) fn serials(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.entries().map(|entry| entry.serial)
    }
}

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Its serial number, without leading zeros.
    pub(crate) serial: &'a [u8],
    /// Since when.
    pub(crate) revoked_at: UnixTime,
    /// CRLReason \[RFC 5280 §5.3.1\], if the list says one.
    pub(crate) reason: Option<u8>,
}

fn read_entry<'a>(list: &mut Elements<'a>) -> Result<Entry<'a>, Fault> {
    let mut entry = Elements::new(list.expect(Tag::SEQUENCE, "a revoked certificate")?.content);
    let serial = entry.expect(Tag::INTEGER, "its serial number")?;
    let revoked_at = time(entry.any("its revocation date")?, "its revocation date")?;
    let reason = match entry.optional(Tag::SEQUENCE, "its extensions")? {
        Some(extensions) => refuse_critical(extensions.raw)?.map(reason).transpose()?,
        None => None,
    };
    entry.finish("nothing after its extensions")?;
    Ok(Entry {
        serial: without_leading_zeros(serial.content),
        revoked_at,
        reason,
    })
}

/// CRLReason ::= ENUMERATED
pub(crate) fn reason(value: &[u8]) -> Result<u8, Fault> {
    const REASON: &str = "a reason from 0 to 10 without 7";
    let mut outer = Elements::new(value);
    let number = outer.expect(Tag::ENUMERATED, REASON)?;
    outer.finish(REASON)?;
    small_integer(number.content)
        .filter(|reason| matches!(reason, 0..=6 | 8..=10))
        .ok_or(Fault(REASON))
}

/// Reads extensions, of which none may be critical, and gives the value of
/// reasonCode.
fn refuse_critical(extensions: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let mut list = sequence(extensions, "extensions")?;
    let mut reason = None;
    while !list.is_empty() {
        let mut fields = Elements::new(list.expect(Tag::SEQUENCE, "an extension")?.content);
        let oid = fields.expect(Tag::OID, "an extension's identifier")?;
        if fields.optional(Tag::BOOLEAN, "critical")?.is_some() {
            return Err(Fault("no critical extension in a revocation list"));
        }
        let value = fields.expect(Tag::OCTET_STRING, "an extension's value")?;
        fields.finish("nothing after an extension's value")?;
        if oid.content == REASON_CODE && reason.replace(value.content).is_some() {
            return Err(Fault("one reasonCode"));
        }
    }
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            let _ = RevocationList::parse(&bytes);
        }
    }
}
