//! OCSPResponse with one BasicOCSPResponse about one certificate \[RFC 6960
//! §4.2.1\], borrowed from its DER. Reads strictly; believes nothing.

use bastide_attestation::UnixTime;

use crate::certificate::without_leading_zeros;
use crate::crl::reason;
use crate::der::{Element, Elements, Fault, Tag, bit_string, boolean, sequence, small_integer, time};
use crate::nvidia::revocation::RevocationFault;

/// Most bytes of a response. NVIDIA's have about 1,000.
const MAX_RESPONSE_BYTES: usize = 8 * 1024;
/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1
pub(in crate::nvidia::ocsp) const OCSP_BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// Who signed, as the response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponderId<'a> {
    /// Its name, DER.
    Name(&'a [u8]),
    /// SHA-1 of its key.
    Key(&'a [u8]),
}

/// What is said of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// CRLReason.
        reason: Option<u8>,
        /// Since when.
        at: UnixTime,
    },
    /// Not known to the responder.
    Unknown,
}

/// A response whose form is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response<'a> {
    /// What is signed, as received.
    pub(crate) tbs: &'a [u8],
    /// Who signed.
    pub(crate) responder: ResponderId<'a>,
    /// When.
    pub(crate) produced: UnixTime,
    /// The OID of the digests in the CertID.
    pub(crate) hash_algorithm: &'a [u8],
    /// Digest of the issuer's name.
    pub(crate) issuer_name_hash: &'a [u8],
    /// Digest of the issuer's key.
    pub(crate) issuer_key_hash: &'a [u8],
    /// Serial number, without leading zeros.
    pub(crate) serial: &'a [u8],
    /// What is said.
    pub(crate) status: Status,
    /// From when on.
    pub(crate) this_update: UnixTime,
    /// When the next is due.
    pub(crate) next_update: Option<UnixTime>,
    /// The AlgorithmIdentifier of the signature, with its header.
    pub(crate) algorithm: &'a [u8],
    /// The signature's bytes.
    pub(crate) signature: &'a [u8],
    /// The responder's certificate, if one came.
    pub(crate) certificate: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    /// Reads exactly one response that has an answer.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, RevocationFault> {
        if der.len() > MAX_RESPONSE_BYTES {
            return Err(RevocationFault::Malformed("at most 8,192 bytes"));
        }
        let mut outer = sequence(der, "an OCSPResponse with nothing after it")?;
        let status = outer.expect(Tag::ENUMERATED, "responseStatus")?;
        match small_integer(status.content) {
            Some(0) => {}
            Some(other) => return Err(RevocationFault::Unsuccessful(other)),
            None => return Err(RevocationFault::Malformed("responseStatus")),
        }
        let bytes = outer.expect(Tag::context::<0>(), "responseBytes")?;
        outer.finish("nothing after responseBytes")?;
        let mut bytes = sequence(bytes.content, "responseBytes")?;
        if bytes.expect(Tag::OID, "responseType")?.content != OCSP_BASIC {
            return Err(RevocationFault::Malformed("the responseType id-pkix-ocsp-basic"));
        }
        let basic = bytes.expect(Tag::OCTET_STRING, "response")?;
        bytes.finish("nothing after response")?;
        Ok(Self::basic(basic.content)?)
    }

    /// BasicOCSPResponse ::= SEQUENCE { tbsResponseData, signatureAlgorithm,
    /// signature, certs [0] EXPLICIT SEQUENCE OF Certificate OPTIONAL }
    fn basic(der: &'a [u8]) -> Result<Self, Fault> {
        let mut fields = sequence(der, "a BasicOCSPResponse with nothing after it")?;
        let tbs = fields.expect(Tag::SEQUENCE, "tbsResponseData")?;
        let algorithm = fields.expect(Tag::SEQUENCE, "signatureAlgorithm")?;
        let signature = fields.expect(Tag::BIT_STRING, "signature")?;
        let certificate = match fields.optional(Tag::context::<0>(), "certs")? {
            None => None,
            Some(list) => {
                // One alone, so that no byte of a response goes unverified.
                let mut list = sequence(list.content, "certs")?;
                let certificate = list.expect(Tag::SEQUENCE, "one certificate")?;
                list.finish("one certificate")?;
                Some(certificate.raw)
            }
        };
        fields.finish("nothing after certs")?;

        // ResponseData ::= SEQUENCE { version [0] DEFAULT v1, responderID,
        // producedAt, responses, responseExtensions [1] OPTIONAL }
        let mut data = Elements::new(tbs.content);
        let responder = responder(data.any("responderID, and no version but 1")?)?;
        let produced = generalized(data.any("producedAt")?, "producedAt")?;
        let mut responses = Elements::new(data.expect(Tag::SEQUENCE, "responses")?.content);
        let single = responses.expect(Tag::SEQUENCE, "one response")?;
        responses.finish("one response")?;
        extensions(&mut data)?;
        data.finish("nothing after responseExtensions")?;

        // SingleResponse ::= SEQUENCE { certID, certStatus, thisUpdate,
        // nextUpdate [0] OPTIONAL, singleExtensions [1] OPTIONAL }
        let mut single = Elements::new(single.content);
        let mut id = Elements::new(single.expect(Tag::SEQUENCE, "certID")?.content);
        let hash_algorithm = hash_algorithm(id.expect(Tag::SEQUENCE, "hashAlgorithm")?)?;
        let issuer_name_hash = id.expect(Tag::OCTET_STRING, "issuerNameHash")?.content;
        let issuer_key_hash = id.expect(Tag::OCTET_STRING, "issuerKeyHash")?.content;
        let serial = id.expect(Tag::INTEGER, "serialNumber")?.content;
        id.finish("nothing after serialNumber")?;
        let status = status(single.any("certStatus")?)?;
        let this_update = generalized(single.any("thisUpdate")?, "thisUpdate")?;
        let next_update = match single.optional(Tag::context::<0>(), "nextUpdate")? {
            None => None,
            Some(explicit) => {
                let mut inner = Elements::new(explicit.content);
                let next = generalized(inner.any("nextUpdate")?, "nextUpdate")?;
                inner.finish("nextUpdate")?;
                Some(next)
            }
        };
        extensions(&mut single)?;
        single.finish("nothing after singleExtensions")?;

        Ok(Self {
            tbs: tbs.raw,
            responder,
            produced,
            hash_algorithm,
            issuer_name_hash,
            issuer_key_hash,
            serial: without_leading_zeros(serial),
            status,
            this_update,
            next_update,
            algorithm: algorithm.raw,
            signature: bit_string(signature.content, "a signature without unused bits")?,
            certificate,
        })
    }
}

/// ResponderID ::= CHOICE { byName [1] Name, byKey [2] KeyHash }
fn responder(element: Element<'_>) -> Result<ResponderId<'_>, Fault> {
    let expected = "a responderID by name or by key";
    let mut inner = Elements::new(element.content);
    let responder = if element.tag == Tag::context::<1>() {
        ResponderId::Name(inner.expect(Tag::SEQUENCE, expected)?.raw)
    } else if element.tag == Tag::context::<2>() {
        ResponderId::Key(inner.expect(Tag::OCTET_STRING, expected)?.content)
    } else {
        return Err(Fault(expected));
    };
    inner.finish(expected)?;
    Ok(responder)
}

/// CertStatus ::= CHOICE { good [0] IMPLICIT NULL, revoked [1] IMPLICIT
/// RevokedInfo, unknown [2] IMPLICIT NULL }
fn status(element: Element<'_>) -> Result<Status, Fault> {
    let expected = "a certStatus of good, revoked or unknown";
    if element.tag == Tag::context::<1>() {
        let mut fields = Elements::new(element.content);
        let at = generalized(fields.any("revocationTime")?, "revocationTime")?;
        let reason = match fields.optional(Tag::context::<0>(), "revocationReason")? {
            Some(explicit) => Some(reason(explicit.content)?),
            None => None,
        };
        fields.finish("nothing after revocationReason")?;
        return Ok(Status::Revoked { reason, at });
    }
    if !element.content.is_empty() {
        return Err(Fault(expected));
    }
    if element.tag == Tag::implicit::<0>() {
        Ok(Status::Good)
    } else if element.tag == Tag::implicit::<2>() {
        Ok(Status::Unknown)
    } else {
        Err(Fault(expected))
    }
}

/// The OID of an AlgorithmIdentifier whose parameters are absent or NULL.
fn hash_algorithm(element: Element<'_>) -> Result<&[u8], Fault> {
    let expected = "a hashAlgorithm without parameters";
    let mut fields = Elements::new(element.content);
    let oid = fields.expect(Tag::OID, expected)?;
    if let Some(null) = fields.optional(Tag::NULL, expected)?
        && !null.content.is_empty()
    {
        return Err(Fault(expected));
    }
    fields.finish(expected)?;
    Ok(oid.content)
}

/// Times in OCSP are GeneralizedTime alone.
fn generalized(element: Element<'_>, what: &'static str) -> Result<UnixTime, Fault> {
    if element.tag == Tag::GENERALIZED_TIME {
        time(element, what)
    } else {
        Err(Fault(what))
    }
}

/// `[1] EXPLICIT Extensions OPTIONAL`: a nonce, say. A critical one could change
/// what the response means.
fn extensions(fields: &mut Elements<'_>) -> Result<(), Fault> {
    let Some(explicit) = fields.optional(Tag::context::<1>(), "extensions")? else {
        return Ok(());
    };
    let mut list = sequence(explicit.content, "extensions")?;
    while !list.is_empty() {
        let mut fields = Elements::new(list.expect(Tag::SEQUENCE, "an extension")?.content);
        fields.expect(Tag::OID, "an extension's identifier")?;
        if let Some(critical) = fields.optional(Tag::BOOLEAN, "critical")?
            && boolean(critical.content, "critical")?
        {
            return Err(Fault("no critical extension in a response"));
        }
        fields.expect(Tag::OCTET_STRING, "an extension's value")?;
        fields.finish("nothing after an extension's value")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Response;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            let _ = Response::parse(&bytes);
        }
    }
}
