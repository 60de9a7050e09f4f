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
    // In one field: names are keys of a JSON object, and a second would replace the first.
    let revoked: Vec<_> = inner.revoked_certificates.iter().flatten().collect();
    let serials: Vec<_> = revoked
        .iter()
        .map(|entry| entry.serial_number.to_string())
        .collect();
    Ok(vec![
        text("issuer", &inner.issuer),
        text("this update", inner.this_update),
        text("next update", next),
        text("revoked", revoked.len()),
        text("revoked serials", serials.join(", ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::inspect::Field;

    /// A list with two entries, signed by nobody.
    #[test]
    fn every_revoked_serial_is_shown() {
        let entry = |serial: u8| tlv(0x30, &[&[2, 1, serial][..], &time()].concat());
        let entries = tlv(0x30, &[entry(7), entry(9)].concat());
        let algorithm = tlv(0x30, &[6, 3, 0x2b, 0x65, 0x70]);
        let parts = [
            vec![2, 1, 1],
            algorithm.clone(),
            tlv(0x30, &[]),
            time(),
            time(),
            entries,
        ];
        let inner = tlv(0x30, &parts.concat());
        let list = tlv(0x30, &[inner, algorithm, vec![3, 1, 0]].concat());
        let fields = revocations(&list).unwrap();
        let of = |wanted: &str| {
            let found = fields.iter().find(|(name, _)| name == wanted);
            found.map(|(_, field)| field.clone())
        };
        assert_eq!(of("revoked"), Some(Field::Text("2".to_owned())));
        assert_eq!(of("revoked serials"), Some(Field::Text("07, 09".to_owned())));
    }

    fn time() -> Vec<u8> {
        tlv(0x17, b"240101000000Z")
    }

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("test elements are short");
        assert!(length < 0x80);
        [&[tag, length], content].concat()
    }
}
