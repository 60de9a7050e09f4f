//! Bytes as hexadecimal digits inside a sentence of a verdict, written straight
//! to where the sentence is built: `hex::encode` would allocate them twice.

use core::fmt;

/// Bytes, displayed as lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bytes in self.0.chunks(32) {
            let mut digits = [0; 64];
            let digits = digits.get_mut(..bytes.len() * 2).ok_or(fmt::Error)?;
            hex::encode_to_slice(bytes, digits).map_err(|_| fmt::Error)?;
            f.write_str(core::str::from_utf8(digits).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Hex;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_library(bytes: Vec<u8>) {
            prop_assert_eq!(Hex(&bytes).to_string(), hex::encode(&bytes));
        }
    }
}
