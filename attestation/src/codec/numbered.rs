//! Lists within a map: inner maps with keys 0, 1, 2, …, and arrays of threes.

use super::item::Item;
use super::{CodecError, Fields, KeyRef, wrong};

impl Fields<'_> {
    /// The keys 0, 1, 2, … that are there, up to the first that isn't and at
    /// most `most` of them. What comes after a gap is left over, and refused by
    /// [`Self::finish`].
    #[must_use]
    pub fn numbered(&self, most: usize) -> Vec<i64> {
        (0..).take(most).take_while(|key: &i64| self.has(*key)).collect()
    }

    /// Takes an array of unsigned integers, three for each entry, at most
    /// `most` entries.
    ///
    /// # Errors
    /// If the key is missing or its value is anything else.
    pub fn uint_triples<'k>(
        &mut self,
        key: impl Into<KeyRef<'k>>,
        most: usize,
    ) -> Result<Vec<[u64; 3]>, CodecError> {
        let key = key.into();
        let fault = || wrong(key, "a short array of unsigned integers, three for each entry");
        let Item::Array(items) = self.required(key)? else {
            return Err(fault());
        };
        let (entries, rest) = items.as_chunks::<3>();
        if entries.len() > most || !rest.is_empty() {
            return Err(fault());
        }
        entries
            .iter()
            .map(|entry| match entry {
                [Item::Uint(one), Item::Uint(two), Item::Uint(three)] => Ok([*one, *two, *three]),
                _ => Err(fault()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MapBuilder;

    #[test]
    fn numbers_end_at_the_first_gap_and_at_the_limit() {
        let map = MapBuilder::new().uint(0, 5).uint(1, 5).uint(3, 5);
        let bytes = map.encode();
        let fields = Fields::decode(&bytes, 64).unwrap();
        assert_eq!(fields.numbered(9), [0, 1]);
        assert_eq!(fields.numbered(1), [0]);
    }

    #[test]
    fn threes_are_read_and_nothing_else() {
        let read = |numbers: &[u64]| {
            let map = MapBuilder::new().uints(1, numbers).encode();
            Fields::decode(&map, 64).unwrap().uint_triples(1, 2)
        };
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&[1, 2, 3, 4, 5, 6]), Ok(vec![[1, 2, 3], [4, 5, 6]]));
        assert!(read(&[1, 2]).is_err());
        assert!(read(&[0; 9]).is_err());
        let text = MapBuilder::new().text(1, "123").encode();
        assert!(Fields::decode(&text, 64).unwrap().uint_triples(1, 2).is_err());
    }
}
