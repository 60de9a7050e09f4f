//! Bytes as hexadecimal digits in verdicts, which have many: inside a sentence
//! without a text of their own, and alone without going digit by digit, as
//! `hex::encode` does.

use core::fmt;

/// Bytes, displayed as lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bytes in self.0.chunks(64) {
            let mut digits = [0; 128];
            let digits = digits.get_mut(..bytes.len() * 2).ok_or(fmt::Error)?;
            hex::encode_to_slice(bytes, digits).map_err(|_| fmt::Error)?;
            f.write_str(core::str::from_utf8(digits).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// Bytes as a text of lower-case hexadecimal digits.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    let mut digits = vec![0; bytes.len() * 2];
    // INVARIANT: twice as many digits as bytes, all of them ASCII.
    match hex::encode_to_slice(bytes, &mut digits) {
        Ok(()) => String::from_utf8(digits).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Hex, encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_library(bytes: Vec<u8>) {
            prop_assert_eq!(encode(&bytes), hex::encode(&bytes));
            prop_assert_eq!(format!("{}!", Hex(&bytes)), hex::encode(&bytes) + "!");
        }
    }
}
