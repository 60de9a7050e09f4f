//! The clients of NVIDIA's RIM service, OCSP responder and server of revocation
//! lists, or of mirrors that answer as they do. What they answer is judged by
//! its signatures, not by whoever carried it.

use super::answer::{self, MAX_ANSWER_BYTES};
use super::endorsement::Endorsement;
use super::name::Name;
use super::sources::Wanted;
use crate::fetch::{Address, FetchError, Fetcher, Limits, Pace, Question, Service};

const OCSP_REQUEST: &str = "application/ocsp-request";

/// Where the services are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Manifests: `/v1/rim/ID` is asked for.
    pub rim: Address,
    /// OCSP: requests are posted to the address itself.
    pub ocsp: Address,
    /// Revocation lists: `/FOLDER/FILE` is asked for.
    pub crl: Address,
}

impl Default for Addresses {
    /// NVIDIA's own. Lists come without TLS, as certificates name them.
    fn default() -> Self {
        Self {
            rim: Address::of_vendor("https://rim.attestation.nvidia.com"),
            ocsp: Address::of_vendor("https://ocsp.ndis.nvidia.com"),
            crl: Address::of_vendor("http://crl.ndis.nvidia.com"),
        }
    }
}

/// A client of all three.
#[derive(Debug)]
pub struct Services<P> {
    addresses: Addresses,
    fetcher: Fetcher<P>,
}

impl<P: Pace> Services<P> {
    /// A client; opens no connection yet.
    #[must_use]
    pub fn new(addresses: Addresses, limits: Limits, pace: P) -> Self {
        Self {
            addresses,
            fetcher: Fetcher::new(limits, pace),
        }
    }

    /// Where it asks.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Fetches one endorsement. Tries again after throttling, faults of the
    /// server and of the connection; never after an answer that is wrong.
    ///
    /// # Errors
    /// [`FetchError`] says what came last.
    pub async fn fetch(&self, wanted: &Wanted) -> Result<Endorsement, FetchError> {
        let name = wanted.name();
        let (service, url, post, limit) = match wanted {
            Wanted::Rim(id) => {
                let url = self.addresses.rim.url(&format!("/v1/rim/{id}"));
                (Service::Rim, url, None, MAX_ANSWER_BYTES)
            }
            Wanted::Ocsp(question) => {
                let post = Some((OCSP_REQUEST, question.encode()));
                let url = self.addresses.ocsp.url("");
                (Service::Ocsp, url, post, name.max_bytes())
            }
            Wanted::Crl(path) => {
                let url = self.addresses.crl.url(&format!("/{path}"));
                (Service::Crl, url, None, name.max_bytes())
            }
        };
        let question = Question {
            service,
            url,
            what: name.describe(),
            post,
            limit,
        };
        let read = |body: &[u8]| match &name {
            Name::Rim(id) => answer::read(id, body),
            Name::Ocsp(_) | Name::Crl(_) => Endorsement::read(name.clone(), body),
        };
        self.fetcher.fetch(&question, read).await
    }
}
