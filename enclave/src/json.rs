//! The one way JSON is written here: from our own structs of texts and
//! numbers, for which serialising can't fail.

use std::io;

use serde::Serialize;

/// One line of JSON, without a line break. It is measured first and then
/// written into memory that doesn't grow: growth would leave copies of an
/// answer behind that nobody zeroes.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    const FINE: &str = "our structs hold texts and numbers with text keys only";
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).expect(FINE);
    let mut json = Vec::with_capacity(length.0);
    serde_json::to_writer(&mut json, value).expect(FINE);
    json
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_copy_is_left_behind_by_growth() {
        let text = "a\"\u{1}é".repeat(5000);
        let json = super::encode(&text);
        assert_eq!(json, serde_json::to_vec(&text).unwrap());
        assert_eq!(json.len(), json.capacity());
    }
}
