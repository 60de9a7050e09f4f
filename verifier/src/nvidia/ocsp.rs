//! Answers about one certificate by OCSP \[RFC 6960\], as NVIDIA's responders sign
//! them: ECDSA on P-384 with SHA-384, by a responder that the certificate's own
//! issuer delegated, or by the issuer. Asks nobody.

mod response;

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

use crate::certificate::{BASIC_CONSTRAINTS, Certificate, KEY_USAGE, PublicKey};
use crate::crypto::Crypto;
use crate::ecdsa::{fixed_width, require_ecdsa_sha384};
use crate::nvidia::revocation::{Freshness, Good, RevocationFault, Subject};
use crate::nvidia::usage::{EXTENDED_KEY_USAGE, purposes, require_digital_signature};

pub(crate) use response::Response;
use response::{ResponderId, Status};

/// id-kp-OCSPSigning, 1.3.6.1.5.5.7.3.9
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];
/// id-pkix-ocsp-nocheck, 1.3.6.1.5.5.7.48.1.5
const NO_CHECK: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x05];
/// 1.3.14.3.2.26
const ID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.2.1
const ID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 2.16.840.1.101.3.4.2.2
const ID_SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

/// Requires that a response says of a certificate that it was not revoked.
///
/// # Errors
/// The first [`RevocationFault`], in the order: form, status, which certificate,
/// responder, signature, revoked, time.
pub(crate) fn check_ocsp(
    response: &[u8],
    subject: &Subject<'_>,
    crypto: &dyn Crypto,
    freshness: &Freshness,
) -> Result<Good, RevocationFault> {
    let response = Response::parse(response)?;
    require_same(&response, subject)?;
    require_ecdsa_sha384(response.algorithm)?;
    let signature = fixed_width(response.signature)?;
    let responder = response.certificate.map(Certificate::parse).transpose()?;
    let key = match &responder {
        Some(responder) => {
            require_delegated(responder, subject, crypto)?;
            require_named(&response, responder.subject, &responder.key)?
        }
        None => require_named(
            &response,
            subject.issuer_name,
            &PublicKey::P384(subject.issuer_point),
        )?,
    };
    if !crypto.p384_sha384_verify(key, response.tbs, &signature) {
        return Err(RevocationFault::Signature);
    }
    match response.status {
        Status::Good => {}
        Status::Revoked { reason, at } => return Err(RevocationFault::revoked(reason, at)),
        Status::Unknown => return Err(RevocationFault::Unknown),
    }
    // After the status: that a certificate was revoked counts, however old the
    // answer is, and an old answer is old, not forged.
    if let Some(responder) = responder {
        if freshness.now < responder.not_before {
            let from = responder.not_before;
            return Err(RevocationFault::NotYetValid { from });
        }
        if freshness.now > responder.not_after {
            let since = responder.not_after;
            return Err(RevocationFault::Stale { since });
        }
    }
    freshness.require(Good {
        produced: response.produced,
        this_update: response.this_update,
        next_update: response.next_update,
    })
}

/// Requires that the answer is about the certificate: the digests of its
/// issuer's name and key, and its serial number.
fn require_same(response: &Response<'_>, subject: &Subject<'_>) -> Result<(), RevocationFault> {
    let algorithm: &Algorithm = match response.hash_algorithm {
        // Enough to say which certificate is meant: whoever finds a second name
        // and key with these digests has no signature by the issuer.
        ID_SHA1 => &SHA1_FOR_LEGACY_USE_ONLY,
        ID_SHA256 => &SHA256,
        ID_SHA384 => &SHA384,
        _ => return Err(RevocationFault::CertIdMismatch("hash algorithm")),
    };
    for (what, got, expected) in [
        ("issuer's name", response.issuer_name_hash, subject.issuer_name),
        ("issuer's key", response.issuer_key_hash, subject.issuer_point),
    ] {
        if digest(algorithm, expected).as_ref() != got {
            return Err(RevocationFault::CertIdMismatch(what));
        }
    }
    if response.serial != subject.serial {
        return Err(RevocationFault::CertIdMismatch("serial number"));
    }
    Ok(())
}

/// Requires that a responder's certificate was issued by the subject's issuer,
/// for this purpose \[RFC 6960 §4.2.2.2\].
///
/// NVIDIA's own verifier also takes a responder that the subject itself issued,
/// and one without the purpose: the key of a device's own CA could then say that
/// it was not revoked.
fn require_delegated(
    responder: &Certificate<'_>,
    subject: &Subject<'_>,
    crypto: &dyn Crypto,
) -> Result<(), RevocationFault> {
    let refuse = |expected| Err(RevocationFault::ResponderNotDelegated(expected));
    if responder.spki == subject.spki {
        return refuse("it is the certificate itself");
    }
    if responder.issuer != subject.issuer_name {
        return refuse("another issuer");
    }
    require_ecdsa_sha384(responder.algorithm)?;
    if responder.duplicate_extension {
        return refuse("an extension that occurs twice");
    }
    let is_authority = responder.extension(BASIC_CONSTRAINTS);
    // SEQUENCE {}: cA is false.
    if is_authority.is_some_and(|constraints| constraints.value != [0x30, 0x00]) {
        return refuse("a certificate authority");
    }
    if require_digital_signature(responder).is_err() {
        return refuse("no keyUsage with digitalSignature");
    }
    let known = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, NO_CHECK];
    let mut extensions = responder.extensions.iter();
    if extensions.any(|extension| extension.critical && !known.contains(&extension.oid)) {
        return refuse("a critical extension that is unknown here");
    }
    let purposes = purposes(responder)?;
    if !purposes.contains(&OCSP_SIGNING) {
        return refuse("no extKeyUsage with OCSPSigning");
    }
    // Some of NVIDIA's have it as an extension, others as a purpose.
    if responder.extension(NO_CHECK).is_none() && !purposes.contains(&NO_CHECK) {
        return refuse("no ocsp-nocheck");
    }
    let signature = fixed_width(responder.signature)?;
    if !crypto.p384_sha384_verify(subject.issuer_point, responder.tbs, &signature) {
        return refuse("the issuer did not sign its certificate");
    }
    Ok(())
}

/// Requires that the response names this responder, and gives its key.
fn require_named<'a>(
    response: &Response<'_>,
    name: &[u8],
    key: &PublicKey<'a>,
) -> Result<&'a [u8], RevocationFault> {
    let PublicKey::P384(point) = key else {
        return Err(RevocationFault::ResponderNotDelegated("no key on P-384"));
    };
    let named = match response.responder {
        ResponderId::Name(got) => got == name,
        ResponderId::Key(got) => got == digest(&SHA1_FOR_LEGACY_USE_ONLY, point).as_ref(),
    };
    if named {
        Ok(point)
    } else {
        Err(RevocationFault::ResponderNotDelegated(
            "another responder is named",
        ))
    }
}

#[cfg(test)]
mod tests;
