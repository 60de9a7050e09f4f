//! Questions to an OCSP responder \[RFC 6960\], as NVIDIA's own tools ask them:
//! one certificate, named by digests of SHA-384, without a nonce, so that an
//! answer can be sent along with evidence. Of an answer is read what it is
//! about and for how long; that it is signed, and what it says, is for the
//! verifier.

use bastide_attestation::{UnixTime, sha384};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::GeneralizedTime;

use super::certificate::Fields;
use super::name::CertificateId;
use super::tlv::{
    ENUMERATED, Elements, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, context,
    element,
};
use crate::endorsement::FormError;

/// 2.16.840.1.101.3.4.2.2
const ID_SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// 1.3.6.1.5.5.7.48.1.1
const BASIC_RESPONSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// An algorithm's parameters are NULL in what NVIDIA's tools send.
const NULL: &[u8] = &[0x05, 0x00];
const EXPECTED: &str = "an OCSP response in DER";

/// What is asked about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspQuestion {
    issuer_name: [u8; 48],
    id: CertificateId,
}

impl OcspQuestion {
    /// About a certificate, issued by the other; both DER.
    ///
    /// # Errors
    /// [`FormError`] if one is no certificate, or the one was not issued by the
    /// other going by names.
    pub fn about(certificate: &[u8], issuer: &[u8]) -> Result<Self, FormError> {
        let expected = "a certificate in DER";
        let read = |der| Fields::read(der).ok_or(FormError::Encoding { expected });
        let (subject, issuer) = (read(certificate)?, read(issuer)?);
        if subject.issuer != issuer.subject {
            return Err(FormError::Issuer);
        }
        let id = CertificateId::new(sha384(&[issuer.key]), subject.serial)
            .ok_or(FormError::Encoding { expected })?;
        Ok(Self {
            issuer_name: sha384(&[issuer.subject]),
            id,
        })
    }

    /// Which certificate it is about.
    #[must_use]
    pub const fn id(&self) -> &CertificateId {
        &self.id
    }

    /// The request, DER.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[ID_SHA384]), NULL]);
        let certificate = element(
            SEQUENCE,
            &[
                &algorithm,
                &element(OCTET_STRING, &[&self.issuer_name]),
                &element(OCTET_STRING, &[self.id.issuer_key()]),
                &element(INTEGER, &[self.id.serial()]),
            ],
        );
        // OCSPRequest, TBSRequest, requestList, Request
        (0..4).fold(certificate, |inner, _| element(SEQUENCE, &[&inner]))
    }
}

/// For how long an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) this_update: UnixTime,
    pub(super) next_update: Option<UnixTime>,
}

/// Reads what an answer is about, and requires that it is this certificate.
///
/// # Errors
/// [`FormError`] if it is no answer, or about another.
pub(super) fn read_answer(bytes: &[u8], id: &CertificateId) -> Result<Window, FormError> {
    let malformed = || FormError::not(EXPECTED, bytes);
    let mut response = Elements::inside(bytes, SEQUENCE).ok_or_else(malformed)?;
    match response.expect(ENUMERATED).ok_or_else(malformed)? {
        [0] => {}
        [status] => return Err(FormError::OcspStatus { status: *status }),
        _ => return Err(malformed()),
    }
    let single = single_response(&mut response).ok_or_else(malformed)?;
    let (about, window) = read_single(single).ok_or_else(malformed)?;
    if about == (ID_SHA384, &id.issuer_key()[..], id.serial()) {
        Ok(window)
    } else {
        Err(FormError::OtherCertificate)
    }
}

/// The only SingleResponse of a response that was successful.
fn single_response<'a>(response: &mut Elements<'a>) -> Option<Elements<'a>> {
    let mut bytes = Elements::of(Elements::of(response.expect(context(0))?).expect(SEQUENCE)?);
    if !response.is_empty() || bytes.expect(OBJECT_IDENTIFIER)? != BASIC_RESPONSE {
        return None;
    }
    let mut basic = Elements::inside(bytes.expect(OCTET_STRING)?, SEQUENCE)?;
    let mut data = Elements::of(basic.expect(SEQUENCE)?);
    data.optional(context(0));
    // The responder's name or key, and when it answered.
    data.next()?;
    data.expect(GENERALIZED_TIME)?;
    let mut responses = Elements::of(data.expect(SEQUENCE)?);
    let single = responses.expect(SEQUENCE)?;
    responses.is_empty().then_some(Elements::of(single))
}

type About<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn read_single(mut single: Elements<'_>) -> Option<(About<'_>, Window)> {
    let mut about = Elements::of(single.expect(SEQUENCE)?);
    let algorithm = Elements::of(about.expect(SEQUENCE)?).expect(OBJECT_IDENTIFIER)?;
    about.expect(OCTET_STRING)?;
    let key = about.expect(OCTET_STRING)?;
    let serial = about.expect(INTEGER)?;
    // What it says of the certificate.
    single.next()?;
    let this_update = read_time(single.next()?.whole)?;
    let next_update = match single.optional(context(0)) {
        Some(time) => Some(read_time(time)?),
        None => None,
    };
    let window = Window {
        this_update,
        next_update,
    };
    Some(((algorithm, key, serial), window))
}

fn read_time(der: &[u8]) -> Option<UnixTime> {
    let time = GeneralizedTime::from_der(der).ok()?;
    Some(UnixTime::from_secs(time.to_unix_duration().as_secs()))
}

#[cfg(test)]
mod tests;
