//! Versions of a GPU's driver and of its VBIOS: how they compare, and which
//! of them an operator still takes. A reference manifest of an old driver
//! verifies for ever, so that a minimum is the only defence against one with
//! known faults. Knows no list of such faults.

mod rules;

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

pub(crate) use rules::{DriverFault, DriverRules, VbiosFault, VbiosMinimum, VbiosRules};

/// Numbers of a driver's version, at most.
const DRIVER_NUMBERS: usize = 4;
/// Digits of one of them, at most.
const DRIVER_DIGITS: usize = 5;
/// Bytes of a VBIOS's version.
const VBIOS_BYTES: usize = 5;

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VersionError {
    /// Not a driver's.
    #[error(
        "expected a driver version: 2 to {DRIVER_NUMBERS} numbers of up to {DRIVER_DIGITS} digits, separated by dots"
    )]
    Driver,
    /// Not a VBIOS's.
    #[error("expected a VBIOS version: {VBIOS_BYTES} pairs of hexadecimal digits, separated by dots")]
    Vbios,
}

/// A driver's version, for example `550.90.07`. Compares number by number, one
/// that is absent as 0; displays as it was written, leading zeros included.
#[derive(Debug, Clone)]
pub(crate) struct DriverVersion {
    text: String,
    numbers: [u32; DRIVER_NUMBERS],
}

impl DriverVersion {
    /// Its first number: releases of one branch replace each other.
    pub(crate) const fn branch(&self) -> u32 {
        let [branch, ..] = self.numbers;
        branch
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for DriverVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut numbers = [0; DRIVER_NUMBERS];
        let mut places = numbers.iter_mut();
        let mut count = 0;
        for digits in text.split('.') {
            // There are at most as many turns as places.
            let place = places.next().ok_or(VersionError::Driver)?;
            *place = number(digits).ok_or(VersionError::Driver)?;
            count += 1;
        }
        if count < 2 {
            return Err(VersionError::Driver);
        }
        let text = text.to_owned();
        Ok(Self { text, numbers })
    }
}

/// Decimal digits and nothing else: `u32::from_str` would take a sign.
fn number(digits: &str) -> Option<u32> {
    if digits.len() > DRIVER_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for DriverVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers)
    }
}

impl PartialOrd for DriverVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DriverVersion {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl Eq for DriverVersion {}

impl Hash for DriverVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers.hash(state);
    }
}

/// A VBIOS's version, for example `96.00.9F.00.01`: five bytes in hexadecimal
/// digits, which it is displayed with in upper case, as NVIDIA does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VbiosVersion([u8; VBIOS_BYTES]);

impl VbiosVersion {
    /// Its first byte: 0x96 for Hopper, 0x97 for Blackwell. Versions of two
    /// generations have no order that means anything.
    pub(crate) const fn generation(self) -> u8 {
        let [generation, ..] = self.0;
        generation
    }
}

impl FromStr for VbiosVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut bytes = [0; VBIOS_BYTES];
        let mut pairs = text.split('.');
        for byte in &mut bytes {
            let pair = pairs.next().ok_or(VersionError::Vbios)?;
            hex::decode_to_slice(pair, core::slice::from_mut(byte)).map_err(|_| VersionError::Vbios)?;
        }
        match pairs.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(VersionError::Vbios),
        }
    }
}

impl fmt::Display for VbiosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e] = self.0;
        write!(f, "{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}")
    }
}

impl fmt::Debug for VbiosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VbiosVersion({self})")
    }
}

#[cfg(test)]
mod tests;
