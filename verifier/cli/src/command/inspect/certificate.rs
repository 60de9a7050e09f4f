//! The fields of an X.509 certificate or revocation list, as text. Nothing is verified here.

use bastide_attestation::sha256;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode as _, Encode as _};

use super::{Fields, text};

/// A certificate's fields.
///
/// # Errors
/// What is wrong with the DER.
pub(super) fn fields(der: &[u8]) -> Result<Fields, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let inner = certificate.tbs_certificate();
    let spki = inner
        .subject_public_key_info()
        .to_der()
        .map_err(|error| error.to_string())?;
    let validity = inner.validity();
    let extensions = inner.extensions().map_or(0, Vec::len);
    Ok(vec![
        text("subject", inner.subject()),
        text("issuer", inner.issuer()),
        text("serial", inner.serial_number()),
        text("not before", validity.not_before),
        text("not after", validity.not_after),
        text("key algorithm", inner.subject_public_key_info().algorithm.oid),
        text("signature algorithm", certificate.signature_algorithm().oid),
        text("spki sha256", hex::encode(sha256(&[&spki]))),
        text("certificate sha256", hex::encode(sha256(&[der]))),
        text("extensions", extensions),
    ])
}

/// A revocation list's fields.
///
/// # Errors
/// What is wrong with the DER.
pub(super) fn revocations(der: &[u8]) -> Result<Fields, String> {
    let list = CertificateList::from_der(der).map_err(|error| error.to_string())?;
    let inner = &list.tbs_cert_list;
    let next = inner
        .next_update
        .map_or_else(|| "none".to_owned(), |time| time.to_string());
    let revoked = inner.revoked_certificates.iter().flatten();
    let mut fields = vec![
        text("issuer", &inner.issuer),
        text("this update", inner.this_update),
        text("next update", next),
    ];
    fields.extend(revoked.map(|entry| text("revoked serial", &entry.serial_number)));
    Ok(fields)
}
