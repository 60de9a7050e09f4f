//! The client of AMD's key distribution server, or of a mirror that answers as
//! it does. Owns where it asks and what an answer must be; how it asks is
//! [`fetch`](crate::fetch)'s.

use core::fmt;
use core::str::FromStr;

use bastide_attestation::snp::KDS_ADDRESS;

use crate::endorsement::Endorsement;
use crate::fetch::{Address, Fetcher, Question, Service};
pub use crate::fetch::{
    AddressError, Attempt, FetchError as KdsError, Limits as KdsLimits, Pace, SystemPace, Wait,
};
use crate::name::Name;

/// Where the server is: AMD's own address or a mirror's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KdsAddress(Address);

impl Default for KdsAddress {
    /// AMD's.
    fn default() -> Self {
        Self(Address::of_vendor(KDS_ADDRESS))
    }
}

impl fmt::Display for KdsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KdsAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.parse().map(Self)
    }
}

/// A client of one server.
#[derive(Debug)]
pub struct Kds<P> {
    address: KdsAddress,
    fetcher: Fetcher<P>,
}

impl<P: Pace> Kds<P> {
    /// A client; opens no connection yet.
    #[must_use]
    pub fn new(address: KdsAddress, limits: KdsLimits, pace: P) -> Self {
        Self {
            address,
            fetcher: Fetcher::new(limits, pace),
        }
    }

    /// Where it asks.
    #[must_use]
    pub const fn address(&self) -> &KdsAddress {
        &self.address
    }

    /// Fetches one endorsement. Tries again after throttling, faults of the
    /// server and of the connection; never after an answer that is wrong.
    ///
    /// # Errors
    /// [`KdsError`] says what came last.
    pub async fn fetch(&self, name: &Name) -> Result<Endorsement, KdsError> {
        let question = Question {
            service: Service::Kds,
            url: self.address.0.url(&name.kds_path()),
            what: name.describe(),
            post: None,
            limit: name.max_bytes(),
        };
        self.fetcher
            .fetch(&question, |body| Endorsement::read(*name, body))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::KdsAddress;

    #[test]
    fn amds_own_address_is_one() {
        assert_eq!(
            KdsAddress::default().to_string().parse(),
            Ok(KdsAddress::default())
        );
    }
}
