//! What a verifier remembers between appraisals: verified signatures, and the
//! digests of authorities' certificates. Holds only what can never change for
//! the same bytes; decides nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bastide_attestation::{SpkiDigest, binding, sha256};

use crate::certificate::Certificate;

/// What a certificate is pinned by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digests {
    /// Of its SubjectPublicKeyInfo.
    pub(crate) spki: SpkiDigest,
    /// SHA-256 of the whole.
    pub(crate) certificate: [u8; 32],
}

impl Digests {
    fn of(certificate: &Certificate<'_>) -> Self {
        Self {
            spki: binding::spki_digest(certificate.spki),
            certificate: sha256(&[certificate.der]),
        }
    }
}

/// A signature that was verified before: issuer key and the signed object,
/// byte for byte.
#[derive(Debug)]
struct Known {
    issuer: SpkiDigest,
    whole: Vec<u8>,
    /// The object's own digests, where it is an authority's certificate.
    digests: Option<Digests>,
}

/// What never changes once it was established: whether a signature verifies,
/// and the digests of the same bytes. Whether a certificate is valid, pinned or
/// revoked is decided anew each time.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<VecDeque<Known>>);

impl Memo {
    /// A chain, its CRL and the leaves of a few dozen nodes: at most 1 MiB.
    const CAPACITY: usize = 64;

    fn find<T>(&self, found: impl FnMut(&Known) -> Option<T>) -> Option<T> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find_map(found)
    }

    /// Whether this key's signature of these very bytes was verified.
    pub(crate) fn knows(&self, issuer: &SpkiDigest, whole: &[u8]) -> bool {
        self.find(|known| (known.issuer == *issuer && known.whole == whole).then_some(()))
            .is_some()
    }

    /// The digests of a certificate, remembered or made.
    pub(crate) fn digests_of(&self, certificate: &Certificate<'_>) -> Digests {
        self.find(|known| known.digests.filter(|_| known.whole == certificate.der))
            .unwrap_or_else(|| Digests::of(certificate))
    }

    /// Keeps that this key's signature of these bytes verifies.
    pub(crate) fn remember(&self, issuer: SpkiDigest, whole: &[u8], digests: Option<Digests>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == Self::CAPACITY {
            known.pop_front();
        }
        known.push_back(Known {
            issuer,
            whole: whole.to_vec(),
            digests,
        });
    }
}
