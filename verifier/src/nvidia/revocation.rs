//! Whether a certificate of NVIDIA's was revoked: what is asked, what is
//! answered, and answers by revocation list \[RFC 5280 §5\]. Answers by OCSP are
//! [`super::ocsp`]'s. Which certificates must be asked about is not decided here.

use bastide_attestation::UnixTime;

use crate::certificate::{Certificate, PublicKey};
use crate::crl::RevocationList;
use crate::crypto::Crypto;
use crate::der::Fault;
use crate::ecdsa::{fixed_width, require_ecdsa_sha384};

/// How long an answer that does not say when the next is due holds, in seconds.
pub(super) const UNSAID_SECONDS: u64 = 24 * 60 * 60;
/// CRLReason certificateHold.
const CERTIFICATE_HOLD: u8 = 6;

/// A certificate that may have been revoked, and the key that says so: always
/// that of its own issuer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Its serial number, without leading zeros.
    pub(super) serial: &'a [u8],
    /// Its SubjectPublicKeyInfo, DER.
    pub(super) spki: &'a [u8],
    /// Its issuer's name, DER.
    pub(super) issuer_name: &'a [u8],
    /// Its issuer's key, an uncompressed point: the bits in its SubjectPublicKeyInfo.
    pub(super) issuer_point: &'a [u8],
}

impl<'a> Subject<'a> {
    /// A certificate of a verified chain, and the one after it.
    ///
    /// # Errors
    /// [`RevocationFault::Malformed`] if the one did not issue the other by name,
    /// or has no key on P-384.
    pub(crate) fn new(
        certificate: &Certificate<'a>,
        issuer: &Certificate<'a>,
    ) -> Result<Self, RevocationFault> {
        let PublicKey::P384(issuer_point) = issuer.key else {
            return Err(RevocationFault::Malformed("an issuer with a key on P-384"));
        };
        if certificate.issuer != issuer.subject {
            return Err(RevocationFault::Malformed("the certificate's issuer"));
        }
        Ok(Self {
            serial: certificate.serial,
            spki: certificate.spki,
            issuer_name: certificate.issuer,
            issuer_point,
        })
    }
}

impl<'a> Subject<'a> {
    /// A certificate of a verified chain, DER, and its issuer's name (DER) and
    /// key (uncompressed point).
    ///
    /// # Errors
    /// [`RevocationFault::Malformed`] if the certificate can't be read.
    pub(super) fn of_parts(
        der: &'a [u8],
        issuer_name: &'a [u8],
        issuer_point: &'a [u8],
    ) -> Result<Self, RevocationFault> {
        let certificate = Certificate::parse(der)?;
        Ok(Self {
            serial: certificate.serial,
            spki: certificate.spki,
            issuer_name,
            issuer_point,
        })
    }
}

/// How current an answer must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// The time.
    pub(crate) now: UnixTime,
    /// Most seconds since the answer's `thisUpdate`, whatever it says itself.
    pub(crate) max_age: u64,
    /// Seconds by which the answer's clock may be ahead.
    pub(crate) skew: u64,
}

impl Freshness {
    /// Requires that an answer holds now.
    pub(super) fn require(&self, good: Good) -> Result<Good, RevocationFault> {
        let latest = self.now.as_secs().saturating_add(self.skew);
        let from = good.this_update.max(good.produced);
        if from.as_secs() > latest {
            return Err(RevocationFault::NotYetValid { from });
        }
        let aged = good.this_update.as_secs().saturating_add(self.max_age);
        let until = good.until().as_secs().min(aged);
        if self.now.as_secs() > until {
            let since = UnixTime::from_secs(until);
            return Err(RevocationFault::Stale { since });
        }
        Ok(good)
    }
}

/// The answer that a certificate was not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Good {
    /// When it was signed; of a list, its `thisUpdate`.
    pub(crate) produced: UnixTime,
    /// From when on it holds.
    pub(crate) this_update: UnixTime,
    /// When the next is due, if it says so.
    pub(crate) next_update: Option<UnixTime>,
}

impl Good {
    /// Last second that it holds: 24 hours after `thisUpdate` if it does not say.
    pub(crate) const fn until(&self) -> UnixTime {
        match self.next_update {
            Some(next) => next,
            None => UnixTime::from_secs(self.this_update.as_secs().saturating_add(UNSAID_SECONDS)),
        }
    }
}

/// Why it is not known that a certificate was not revoked, or that it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RevocationFault {
    /// Not an answer of the form that is read here.
    #[error("expected {0} in an answer about revocation")]
    Malformed(&'static str),
    /// An OCSP responder that had no answer.
    #[error("expected an OCSP response that is successful, got status {0}")]
    Unsuccessful(u8),
    /// An answer about another certificate.
    #[error("expected an answer about this certificate; its {0} differs")]
    CertIdMismatch(&'static str),
    /// An OCSP responder that the issuer did not delegate.
    #[error("expected an OCSP responder that the issuer delegated: {0}")]
    ResponderNotDelegated(&'static str),
    /// A signature that does not verify.
    #[error("expected a signature by the issuer or its responder")]
    Signature,
    /// An answer from the future.
    #[error("the answer about revocation holds from {from} on")]
    NotYetValid {
        /// First second that it holds.
        from: UnixTime,
    },
    /// An answer that holds no more.
    #[error("the answer about revocation held until {since}")]
    Stale {
        /// Last second that it held.
        since: UnixTime,
    },
    /// Revoked for good.
    #[error("the certificate was revoked at {at} ({})", reason_name(*.reason))]
    Revoked {
        /// CRLReason, if one is said.
        reason: Option<u8>,
        /// Since when.
        at: UnixTime,
    },
    /// Revoked for the time being, as NVIDIA does with what it has not released.
    #[error("the certificate is on hold since {at}")]
    OnHold {
        /// Since when.
        at: UnixTime,
    },
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    Unknown,
}

impl RevocationFault {
    /// Revoked at a time, for a CRLReason.
    pub(super) const fn revoked(reason: Option<u8>, at: UnixTime) -> Self {
        match reason {
            Some(CERTIFICATE_HOLD) => Self::OnHold { at },
            _ => Self::Revoked { reason, at },
        }
    }
}

impl From<Fault> for RevocationFault {
    fn from(Fault(expected): Fault) -> Self {
        Self::Malformed(expected)
    }
}

/// Name of a CRLReason \[RFC 5280 §5.3.1\].
const fn reason_name(reason: Option<u8>) -> &'static str {
    match reason {
        Some(1) => "keyCompromise",
        Some(2) => "cACompromise",
        Some(3) => "affiliationChanged",
        Some(4) => "superseded",
        Some(5) => "cessationOfOperation",
        Some(6) => "certificateHold",
        Some(8) => "removeFromCRL",
        Some(9) => "privilegeWithdrawn",
        Some(10) => "aACompromise",
        _ => "unspecified",
    }
}

/// Requires that the issuer's list does not name the certificate.
///
/// # Errors
/// [`RevocationFault`]; that it was revoked comes before that the list is old.
pub(crate) fn check_crl(
    list: &[u8],
    subject: &Subject<'_>,
    crypto: &dyn Crypto,
    freshness: &Freshness,
) -> Result<Good, RevocationFault> {
    let list = RevocationList::parse(list)?;
    require_ecdsa_sha384(list.algorithm)?;
    if list.issuer != subject.issuer_name {
        return Err(RevocationFault::CertIdMismatch("issuer"));
    }
    let signature = fixed_width(list.signature)?;
    if !crypto.p384_sha384_verify(subject.issuer_point, list.tbs, &signature) {
        return Err(RevocationFault::Signature);
    }
    if let Some(entry) = list.entry(subject.serial) {
        return Err(RevocationFault::revoked(entry.reason, entry.revoked_at));
    }
    freshness.require(Good {
        produced: list.this_update,
        this_update: list.this_update,
        next_update: Some(list.next_update),
    })
}

#[cfg(test)]
mod tests;
