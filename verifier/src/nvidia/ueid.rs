//! A device's identity: its leaf's serial number, which NVIDIA's claims call
//! `ueid` and write in decimal.

use core::fmt;
use core::str::FromStr;

/// Digits of the longest serial number, of 20 bytes.
const MAX_DIGITS: usize = 49;

/// A serial number in decimal digits without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ueid(String);

/// Why a text is no identity of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a device's ueid: 1 to {MAX_DIGITS} decimal digits without leading zeros")]
pub(crate) struct UeidError;

impl Ueid {
    /// A big-endian number in decimal. Serial numbers have at most 20 bytes.
    pub(crate) fn of_serial(bytes: &[u8]) -> Self {
        // Lowest digit first.
        let mut digits: Vec<u16> = Vec::new();
        for byte in bytes {
            let mut carry = u16::from(*byte);
            for digit in &mut digits {
                carry += *digit * 256;
                *digit = carry % 10;
                carry /= 10;
            }
            while carry > 0 {
                digits.push(carry % 10);
                carry /= 10;
            }
        }
        if digits.is_empty() {
            digits.push(0);
        }
        let digit = |digit: &u16| char::from_digit(u32::from(*digit), 10);
        Self(digits.iter().rev().filter_map(digit).collect())
    }
}

impl FromStr for Ueid {
    type Err = UeidError;

    fn from_str(text: &str) -> Result<Self, UeidError> {
        let fits = (1..=MAX_DIGITS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && !text.starts_with('0');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(UeidError)
        }
    }
}

impl AsRef<[u8]> for Ueid {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Ueid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Ueid;
    use proptest::prelude::*;

    #[test]
    fn long_numbers_are_written_in_decimal() {
        let serial = hex::decode("74a22f2f728d41a62ca45f04f1aa7c3dd68dadf4").unwrap();
        assert_eq!(
            Ueid::of_serial(&serial).to_string(),
            "665859760560702820674522738202305046761689689588"
        );
        assert_eq!(Ueid::of_serial(&[]).to_string(), "0");
    }

    #[test]
    fn what_is_no_number_or_could_be_written_twice_is_refused() {
        for text in ["", "0", "01", "12a", "-1", "+1", &"1".repeat(50)] {
            assert!(text.parse::<Ueid>().is_err(), "{text}");
        }
        assert!("1".repeat(49).parse::<Ueid>().is_ok());
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(number: u128) {
            prop_assert_eq!(Ueid::of_serial(&number.to_be_bytes()).to_string(), number.to_string());
        }
    }
}
