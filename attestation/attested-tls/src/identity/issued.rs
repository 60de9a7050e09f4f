//! A certificate that an authority issued, and its key, as PEM: what is read of
//! them and what is refused, so that a node doesn't start with a certificate that
//! every client turns away. Who issued it is for clients to judge; evidence is
//! bound to the key whoever did.

use std::time::Duration;

use bastide_attestation::UnixTime;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{self, CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, Error, KeyUsage};
use zeroize::Zeroize;

use super::IdentityError;
use crate::provider::provider;

/// Most certificates of a chain.
const MOST_CERTIFICATES: usize = 8;
/// Most bytes of all of them, DER: TLS libraries take no larger message, and
/// there is something around them in it.
const MOST_CHAIN_BYTES: usize = 60 * 1024;

/// The certificate with its chain, and the key, held together.
///
/// # Errors
/// [`IdentityError`] names the first fault.
pub(super) fn certified(
    certificates: &[u8],
    key: &[u8],
    now: UnixTime,
) -> Result<CertifiedKey, IdentityError> {
    let chain = chain(certificates)?;
    let leaf = chain
        .first()
        .ok_or_else(|| unusable("expected PEM with at least one CERTIFICATE, found none"))?;
    require_server_certificate(leaf, now)?;
    let mut key = private_key(key)?;
    let signing = any_supported_type(&key);
    key.zeroize();
    let signing = signing.map_err(|_| IdentityError::PrivateKey {
        reason: "expected a key for RSA, ECDSA or Ed25519",
    })?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|_| IdentityError::Mismatch)?;
    Ok(certified)
}

fn unusable(reason: impl Into<String>) -> IdentityError {
    IdentityError::Issued {
        reason: reason.into(),
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let mut chain = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        // What the library says of it may quote the file.
        let (kind, mut bytes) = section.map_err(|_| unusable("it is no PEM"))?;
        match kind {
            SectionKind::Certificate => chain.push(CertificateDer::from(bytes)),
            _ => {
                // It may be a key.
                bytes.zeroize();
                return Err(unusable(
                    "expected certificates alone: a private key has a file of its own",
                ));
            }
        }
        if chain.len() > MOST_CERTIFICATES {
            return Err(unusable(format!(
                "expected at most {MOST_CERTIFICATES} certificates, the node's first and no root, found more"
            )));
        }
    }
    if let Some(number) = chain.iter().position(|one| EndEntityCert::try_from(one).is_err()) {
        return Err(unusable(format!(
            "its certificate {} is no X.509 certificate of version 3",
            number + 1
        )));
    }
    let bytes: usize = chain.iter().map(|one| one.len()).sum();
    if bytes > MOST_CHAIN_BYTES {
        return Err(unusable(format!(
            "expected a chain of at most {MOST_CHAIN_BYTES} bytes, found {bytes}"
        )));
    }
    Ok(chain)
}

/// What every WebPKI client asks of a server's certificate whoever issued it: that
/// it is valid now, is for servers, and is none of an authority.
fn require_server_certificate(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), IdentityError> {
    let parsed = EndEntityCert::try_from(leaf).map_err(|error| unusable(error.to_string()))?;
    let time = pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()));
    let algorithms = provider().signature_verification_algorithms;
    // Without a root: what is checked before one is looked for is checked alone.
    let verified = parsed.verify_for_usage(
        algorithms.all,
        &[],
        &[],
        time,
        KeyUsage::server_auth(),
        None,
        None,
    );
    match verified {
        Ok(_) | Err(Error::UnknownIssuer) => Ok(()),
        Err(Error::CertExpired { not_after, .. }) => Err(unusable(format!(
            "it is valid until {}, and it is {now}",
            UnixTime::from_secs(not_after.as_secs())
        ))),
        Err(Error::CertNotValidYet { not_before, .. }) => Err(unusable(format!(
            "it is valid from {} on, and it is {now}",
            UnixTime::from_secs(not_before.as_secs())
        ))),
        Err(Error::CaUsedAsEndEntity) => Err(unusable(
            "its first certificate is an authority's: expected the node's own first",
        )),
        Err(error) => Err(unusable(format!("no client would take it: {error}"))),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let wrong = |reason| IdentityError::PrivateKey { reason };
    let mut keys = PrivateKeyDer::pem_slice_iter(pem);
    let mut key = match keys.next() {
        Some(Ok(key)) => key,
        Some(Err(_)) => return Err(wrong("it is no PEM")),
        None => {
            return Err(wrong(
                "expected PEM with one private key that has no password, found none",
            ));
        }
    };
    if let Some(second) = keys.next() {
        key.zeroize();
        if let Ok(mut second) = second {
            second.zeroize();
        }
        return Err(wrong("expected one private key, and nothing after it"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
