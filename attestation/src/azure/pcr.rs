//! Platform configuration registers of one SHA-256 bank: which of them a quote
//! covers, and their values. A value that no quote covers has no place here.

use crate::hash::sha256;

/// Registers of a PC client TPM.
pub const PCR_COUNT: usize = 24;

/// Which registers, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcrSelection(u32);

impl PcrSelection {
    /// From the three octets of a TPMS_PCR_SELECTION: bit 0 of the first is PCR 0.
    #[must_use]
    pub const fn new([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([a, b, c, 0]))
    }

    /// The selected indices, ascending.
    pub fn indices(self) -> impl Iterator<Item = u8> {
        (0_u8..24).filter(move |index| self.0 >> index & 1 == 1)
    }

    /// How many are selected.
    #[must_use]
    pub fn len(self) -> usize {
        self.indices().count()
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Neither every register's value nor exactly the selected ones'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quote selects {selected} PCRs; expected as many values, or all {PCR_COUNT}, got {got}")]
pub struct PcrError {
    /// Registers that the quote selects.
    pub selected: usize,
    /// Values that came.
    pub got: usize,
}

/// Values of the selected registers. Authentic only if their digest is a quote's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrValues(Vec<(u8, [u8; 32])>);

impl PcrValues {
    /// Takes the selected registers' values, in order, or all 24, of which
    /// those not selected are dropped: nobody vouches for them.
    ///
    /// # Errors
    /// [`PcrError`] for any other number of values.
    pub fn new(selection: PcrSelection, values: &[[u8; 32]]) -> Result<Self, PcrError> {
        let indices: Vec<u8> = selection.indices().collect();
        if values.len() == indices.len() {
            return Ok(Self(indices.into_iter().zip(values.iter().copied()).collect()));
        }
        if values.len() == PCR_COUNT {
            let all = (0_u8..24).zip(values.iter().copied());
            return Ok(Self(all.filter(|(index, _)| indices.contains(index)).collect()));
        }
        Err(PcrError {
            selected: indices.len(),
            got: values.len(),
        })
    }

    /// SHA-256 over the values in ascending order \[TCG TPM 2.0 Part 1, "Attesting to PCR"\].
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let parts: Vec<&[u8]> = self.0.iter().map(|(_, value)| value.as_slice()).collect();
        sha256(&parts)
    }

    /// A register's value, if the quote selects it.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<&[u8; 32]> {
        self.iter().find_map(|(at, value)| (at == index).then_some(value))
    }

    /// Index and value of each selected register, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8; 32])> {
        self.0.iter().map(|(index, value)| (*index, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_values_are_taken_from_all_or_from_themselves() {
        let selection = PcrSelection::new([0b0001_0001, 0, 0x80]);
        assert_eq!(selection.indices().collect::<Vec<_>>(), [0, 4, 23]);
        assert_eq!((selection.len(), selection.is_empty()), (3, false));
        let all: Vec<[u8; 32]> = (0..24).map(|index| [index; 32]).collect();
        let of_all = PcrValues::new(selection, &all).unwrap();
        let chosen = [[0; 32], [4; 32], [23; 32]];
        assert_eq!(PcrValues::new(selection, &chosen).unwrap(), of_all);
        assert_eq!(of_all.digest(), sha256(&[&chosen.concat()]));
        assert_eq!(of_all.get(4), Some(&[4; 32]));
        assert_eq!(of_all.get(5), None);
        for got in [0, 2, 4, 23, 25] {
            let values = vec![[0; 32]; got];
            let fault = PcrError { selected: 3, got };
            assert_eq!(PcrValues::new(selection, &values), Err(fault));
        }
        assert!(PcrSelection::new([0; 3]).is_empty());
        assert_eq!(PcrSelection::new([0xff; 3]).len(), PCR_COUNT);
    }
}
