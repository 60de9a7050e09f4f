//! Endorsements of AMD's: VCEK certificates, the chains above them and the
//! roots' revocation lists. Owns the directory that keeps them, its export and
//! import, and (feature `kds`) the client of AMD's key distribution server.
//!
//! | module | what it owns |
//! |---|---|
//! | [`name`] | which endorsement: key, file name, address |
//! | [`endorsement`] | whether bytes are the endorsement of a name |
//! | [`store`] | the directory |
//! | [`transfer`], [`manifest`] | carrying a directory to a machine without a network |
//! | `kds`, `sync` (feature `kds`) | downloads, their pace and their limits |
//!
//! Nothing here verifies a signature: what is kept is what a verifier judges by
//! its own pinned keys. Checks of form are made so that a mistake, a lie or a
//! damaged file is found where it can be mended. No TLS type is named: a
//! download is trusted for what it holds, never for where it came from.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions
    )
)]

pub mod endorsement;
#[cfg(feature = "kds")]
pub mod fetch;
#[cfg(feature = "kds")]
pub mod kds;
pub mod manifest;
pub mod name;
pub mod store;
#[cfg(feature = "kds")]
pub mod sync;
pub mod transfer;

mod files;
#[cfg(test)]
mod simulated;

pub use endorsement::{Endorsement, FormError};
pub use name::{Name, NameError};
pub use store::{Entry, Put, Store, StoreError};
