//! Strict DER, element by element, borrowed from the input: definite minimal
//! lengths, nothing after the end. Knows no structure; refuses what isn't DER.

use bastide_attestation::UnixTime;
use der::asn1::{GeneralizedTime, UtcTime};
use der::{Decode, Header, Reader as _, SliceReader, Tag};

/// Bytes that aren't the DER that was expected, and what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub(crate) struct Fault(pub(crate) &'static str);

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

impl<'a> Elements<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self, what: &'static str) -> Result<Element<'a>, Fault> {
        let fault = |_| Fault(what);
        let mut reader = SliceReader::new(self.0).map_err(fault)?;
        let header = Header::peek(&reader).map_err(fault)?;
        let raw = reader.tlv_bytes().map_err(fault)?;
        let length = usize::try_from(header.length()).map_err(fault)?;
        let content = raw
            .len()
            .checked_sub(length)
            .and_then(|start| raw.get(start..))
            .ok_or(Fault(what))?;
        self.0 = self.0.get(raw.len()..).ok_or(Fault(what))?;
        Ok(Element {
            tag: header.tag(),
            raw,
            content,
        })
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
    let element = outer.expect(Tag::Sequence, what)?;
    outer.finish(what)?;
    Ok(Elements::new(element.content))
}

/// Tag `[number]`, constructed.
pub(crate) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: der::TagNumber(number),
    }
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
        Tag::UtcTime => UtcTime::from_der(element.raw).map(|time| time.to_unix_duration()),
        Tag::GeneralizedTime => GeneralizedTime::from_der(element.raw).map(|time| time.to_unix_duration()),
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
            }
        }
    }
}
