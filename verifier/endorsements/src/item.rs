//! An endorsement of whichever vendor: what a directory, its export and its
//! import deal in.

use core::fmt;
use core::str::FromStr;

use bastide_attestation::UnixTime;

use crate::endorsement::{Endorsement, FormError};
use crate::name::{Name, NameError};
use crate::nvidia;

/// Which endorsement of which vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemName {
    /// Of AMD's.
    Amd(Name),
    /// Of NVIDIA's.
    Nvidia(nvidia::Name),
}

impl ItemName {
    /// Most bytes that a file of this kind has.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        match self {
            Self::Amd(name) => name.max_bytes(),
            Self::Nvidia(name) => name.max_bytes(),
        }
    }

    /// For people: what it is.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Amd(name) => name.describe(),
            Self::Nvidia(name) => name.describe(),
        }
    }
}

impl fmt::Display for ItemName {
    /// The file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amd(name) => name.fmt(f),
            Self::Nvidia(name) => name.fmt(f),
        }
    }
}

impl FromStr for ItemName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(name) = text.parse() {
            return Ok(Self::Nvidia(name));
        }
        text.parse().map(Self::Amd)
    }
}

impl From<Name> for ItemName {
    fn from(name: Name) -> Self {
        Self::Amd(name)
    }
}

impl From<nvidia::Name> for ItemName {
    fn from(name: nvidia::Name) -> Self {
        Self::Nvidia(name)
    }
}

/// An endorsement whose form is right and which is the one of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Of AMD's.
    Amd(Endorsement),
    /// Of NVIDIA's.
    Nvidia(nvidia::Endorsement),
}

impl Item {
    /// Reads what a file or an import gave for `name`.
    ///
    /// # Errors
    /// [`FormError`] says what was expected and what came.
    pub fn read(name: ItemName, bytes: &[u8]) -> Result<Self, FormError> {
        match name {
            ItemName::Amd(name) => Endorsement::read(name, bytes).map(Self::Amd),
            ItemName::Nvidia(name) => nvidia::Endorsement::read(name, bytes).map(Self::Nvidia),
        }
    }

    /// Which it is.
    #[must_use]
    pub fn name(&self) -> ItemName {
        match self {
            Self::Amd(endorsement) => ItemName::Amd(*endorsement.name()),
            Self::Nvidia(endorsement) => ItemName::Nvidia(endorsement.name().clone()),
        }
    }

    /// When it was issued.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        match self {
            Self::Amd(endorsement) => endorsement.issued(),
            Self::Nvidia(endorsement) => endorsement.issued(),
        }
    }

    /// The bytes of its file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Amd(endorsement) => endorsement.encode(),
            Self::Nvidia(endorsement) => endorsement.bytes().to_vec(),
        }
    }
}

impl From<Endorsement> for Item {
    fn from(endorsement: Endorsement) -> Self {
        Self::Amd(endorsement)
    }
}

impl From<nvidia::Endorsement> for Item {
    fn from(endorsement: nvidia::Endorsement) -> Self {
        Self::Nvidia(endorsement)
    }
}
