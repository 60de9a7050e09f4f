//! DER, element by element: as much as it takes to find a field, and no more.
//! Elements are borrowed from the bytes that came, which are never re-encoded.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag of `[number]` around other elements.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// Tag and length included.
    pub(super) whole: &'a [u8],
}

/// Elements that follow one another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is inside the only element, which has this tag.
    pub(super) fn inside(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut outer = Self(bytes);
        let content = outer.expect(tag)?;
        outer.0.is_empty().then_some(Self(content))
    }

    /// The next element; `None` at the end, and if there is none that is whole.
    /// Lengths have their shortest form, and at most three bytes.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (tag, rest) = self.0.split_first()?;
        // Tags of more than one byte occur nowhere here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let length = digits
                    .iter()
                    .fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
                let shortest = digits.first() != Some(&0) && length > 0x7f;
                (shortest.then_some(length)?, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len().checked_sub(after.len())?)?;
        self.0 = after;
        Some(Element {
            tag: *tag,
            content,
            whole,
        })
    }

    /// The content of the next element, which has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = self.next()?;
        (element.tag == tag).then_some(element.content)
    }

    /// The content of the next element if it has this tag; else nothing is taken.
    pub(super) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) {
            self.expect(tag)
        } else {
            None
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An element of this tag around the parts; for less than 64 KiB.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let mut whole = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => whole.push(low),
        (0, _) => whole.extend([0x81, low]),
        _ => whole.extend([0x82, high, low]),
    }
    whole.extend(content);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn longer_lengths_than_needed_endless_ones_and_cuts_are_refused() {
        for bytes in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 0x7f],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0, 1, 0],
            &[0x30, 0x84, 0, 0, 0, 1, 0],
            &[0x30, 0x02, 0],
            &[0x30],
            &[0x3f, 0x01, 0],
            &[],
        ] {
            assert_eq!(Elements::of(bytes).next(), None, "{bytes:02x?}");
        }
        assert!(Elements::inside(&[0x30, 0, 0], SEQUENCE).is_none());
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_stays_inside(bytes: Vec<u8>) {
            let mut elements = Elements::of(&bytes);
            let mut read = 0;
            while let Some(found) = elements.next() {
                read += found.whole.len();
                prop_assert!(found.whole.ends_with(found.content));
            }
            prop_assert!(read <= bytes.len());
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let content = vec![7; length];
            let written = element(OCTET_STRING, &[&content]);
            let found = Elements::of(&written).next().unwrap();
            assert_eq!((found.tag, found.content), (OCTET_STRING, &content[..]));
            assert_eq!(found.whole, written);
        }
    }
}
