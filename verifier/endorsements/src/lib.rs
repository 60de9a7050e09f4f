//! Endorsements of AMD's: VCEK certificates, the chains above them and the
//! roots' revocation lists; and of NVIDIA's: reference integrity manifests, OCSP
//! answers and revocation lists. Owns the directory that keeps them, its export
//! and import, and (feature `kds`) the clients of the servers that hand them out.
//!
//! | module | what it owns |
//! |---|---|
//! | [`name`] | which endorsement of AMD's: key, file name, address |
//! | [`endorsement`] | whether bytes are the endorsement of a name of AMD's |
//! | [`nvidia`] | the same for NVIDIA's, their services, and what evidence needs |
//! | [`item`] | an endorsement of whichever vendor |
//! | [`store`] | the directory |
//! | [`transfer`], [`manifest`] | carrying a directory to a machine without a network |
//! | `fetch` (feature `kds`) | downloads, their pace and their limits |
//! | `kds`, `sync` (feature `kds`) | AMD's server, and a directory brought up to date from it |
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
pub mod item;
#[cfg(feature = "kds")]
pub mod kds;
pub mod manifest;
pub mod name;
pub mod nvidia;
pub mod store;
#[cfg(feature = "kds")]
pub mod sync;
pub mod transfer;

mod files;
#[cfg(test)]
mod simulated;

pub use endorsement::{Endorsement, FormError};
pub use item::{Item, ItemName};
pub use name::{Name, NameError};
pub use store::{Entry, Put, Store, StoreError};
