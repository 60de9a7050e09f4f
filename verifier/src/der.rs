//! Strict DER, element by element, borrowed from the input: definite minimal
//! lengths, nothing after the end. Knows no structure; refuses what isn't DER.

use bastide_attestation::UnixTime;
use der::Decode;
use der::asn1::{GeneralizedTime, UtcTime};

/// Bytes that aren't the DER that was expected, and what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub(crate) struct Fault(pub(crate) &'static str);

/// An identifier octet: class, constructed bit and a tag number below 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u8);

impl Tag {
    pub(crate) const BOOLEAN: Self = Self(0x01);
    pub(crate) const INTEGER: Self = Self(0x02);
    pub(crate) const BIT_STRING: Self = Self(0x03);
    pub(crate) const OCTET_STRING: Self = Self(0x04);
    pub(crate) const NULL: Self = Self(0x05);
    pub(crate) const OID: Self = Self(0x06);
    pub(crate) const ENUMERATED: Self = Self(0x0a);
    pub(crate) const UTF8_STRING: Self = Self(0x0c);
    pub(crate) const PRINTABLE_STRING: Self = Self(0x13);
    pub(crate) const IA5_STRING: Self = Self(0x16);
    const UTC_TIME: Self = Self(0x17);
    pub(crate) const GENERALIZED_TIME: Self = Self(0x18);
    pub(crate) const SEQUENCE: Self = Self(0x30);
    pub(crate) const SET: Self = Self(0x31);

    /// `[NUMBER]`, constructed.
    pub(crate) const fn context<const NUMBER: u8>() -> Self {
        const { assert!(NUMBER < 31) };
        Self(0xa0 | NUMBER)
    }

    /// `[NUMBER]`, primitive: an IMPLICIT tag in the place of a simple type's.
    pub(crate) const fn implicit<const NUMBER: u8>() -> Self {
        const { assert!(NUMBER < 31) };
        Self(0x80 | NUMBER)
    }
}

/// One element: tag, length and content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    /// The tag.
    pub(crate) tag: Tag,
    /// Tag, length and content.
    pub(crate) raw: &'a [u8],
    /// The content alone.
    pub(crate) content: &'a [u8],
}

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elements<'a>(&'a [u8]);

/// Tag, length of the content, and what follows both. Lengths must be minimal
/// \[X.690 §10.1\]; nothing here is longer than 64 KiB.
fn header(bytes: &[u8]) -> Option<(Tag, usize, &[u8])> {
    let (tag, length, rest) = match bytes {
        [tag, length @ 0..=0x7f, rest @ ..] => (*tag, u16::from_be_bytes([0, *length]), rest),
        [tag, 0x81, length @ 0x80..=0xff, rest @ ..] => (*tag, u16::from_be_bytes([0, *length]), rest),
        [tag, 0x82, high @ 1..=0xff, low, rest @ ..] => (*tag, u16::from_be_bytes([*high, *low]), rest),
        _ => return None,
    };
    // Tag numbers from 31 on take more octets; no format here has one.
    if tag & 0x1f == 0x1f {
        return None;
    }
    Some((Tag(tag), usize::from(length), rest))
}

impl<'a> Elements<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self, what: &'static str) -> Result<Element<'a>, Fault> {
        let (tag, length, rest) = header(self.0).ok_or(Fault(what))?;
        let (content, after) = rest.split_at_checked(length).ok_or(Fault(what))?;
        let raw = self.0.get(..self.0.len() - after.len()).ok_or(Fault(what))?;
        self.0 = after;
        Ok(Element { tag, raw, content })
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: Tag, what: &'static str) -> Result<Element<'a>, Fault> {
        let element = self.any(what)?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(Fault(what))
        }
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: Tag, what: &'static str) -> Result<Option<Element<'a>>, Fault> {
        let mut ahead = *self;
        if ahead.is_empty() {
            return Ok(None);
        }
        let element = ahead.any(what)?;
        if element.tag != tag {
            return Ok(None);
        }
        *self = ahead;
        Ok(Some(element))
    }

    /// Requires that nothing is left.
    pub(crate) const fn finish(self, what: &'static str) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(Fault(what)) }
    }
}

/// Content of the one SEQUENCE that `bytes` are.
pub(crate) fn sequence<'a>(bytes: &'a [u8], what: &'static str) -> Result<Elements<'a>, Fault> {
    let mut outer = Elements::new(bytes);
    let element = outer.expect(Tag::SEQUENCE, what)?;
    outer.finish(what)?;
    Ok(Elements::new(element.content))
}

/// An INTEGER's content as a number from 0 to 255; minimal encoding required.
pub(crate) const fn small_integer(content: &[u8]) -> Option<u8> {
    match content {
        [byte @ 0..=0x7f] => Some(*byte),
        [0, byte @ 0x80..=0xff] => Some(*byte),
        _ => None,
    }
}

/// Bytes of a BIT STRING without unused bits.
pub(crate) fn bit_string<'a>(content: &'a [u8], what: &'static str) -> Result<&'a [u8], Fault> {
    match content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Fault(what)),
    }
}

/// A BOOLEAN's content.
pub(crate) const fn boolean(content: &[u8], what: &'static str) -> Result<bool, Fault> {
    match content {
        [0] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(Fault(what)),
    }
}

/// UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 profiles them.
pub(crate) fn time(element: Element<'_>, what: &'static str) -> Result<UnixTime, Fault> {
    let since_epoch = match element.tag {
        Tag::UTC_TIME => UtcTime::from_der(element.raw).map(|time| time.to_unix_duration()),
        Tag::GENERALIZED_TIME => GeneralizedTime::from_der(element.raw).map(|time| time.to_unix_duration()),
        _ => return Err(Fault(what)),
    };
    since_epoch
        .map(|duration| UnixTime::from_secs(duration.as_secs()))
        .map_err(|_| Fault(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_integers_are_minimal_and_not_negative() {
        let cases: [(&[u8], Option<u8>); 7] = [
            (&[0], Some(0)),
            (&[0x7f], Some(127)),
            (&[0, 0xdb], Some(219)),
            (&[0x80], None),
            (&[0, 0x7f], None),
            (&[1, 0], None),
            (&[], None),
        ];
        for (content, expected) in cases {
            assert_eq!(small_integer(content), expected, "{content:?}");
        }
    }

    #[test]
    fn indefinite_and_overlong_lengths_and_trailing_bytes_are_refused() {
        for bytes in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 0x01, 0x05],
            &[0x30, 0x82, 0x00, 0x01, 0x05],
            &[0x30, 0x83, 0x00, 0x00, 0x01, 0x05],
            &[0x3f, 0x20, 0x00],
            &[0x30],
            &[0x30, 0x02, 0x05],
            &[0x30, 0x00, 0x00],
            &[],
        ] {
            assert!(sequence(bytes, "a sequence").is_err(), "{bytes:02x?}");
        }
        assert!(sequence(&[0x30, 0x02, 0x05, 0x00], "a sequence").is_ok());
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let mut elements = Elements::new(&bytes);
            while let Ok(element) = elements.any("anything") {
                let _ = time(element, "a time");
                prop_assert!(element.raw.ends_with(element.content));
                // Whatever is read here, a full DER library reads too, and the same.
                let mut oracle = der::SliceReader::new(element.raw).unwrap();
                if let Ok(header) = der::Header::decode(&mut oracle) {
                    prop_assert_eq!(usize::try_from(header.length()).unwrap(), element.content.len());
                }
            }
        }
    }
}
