//! The few fields of a certificate \[RFC 5280 §4.1\] that an OCSP question, a
//! revocation list's address and a date are read from, as they came. Verifies
//! nothing, and knows of extensions only where lists are.

use bastide_attestation::UnixTime;
use x509_cert::der::Decode as _;
use x509_cert::name::Name as DistinguishedName;
use x509_cert::time::Time;

use super::name::CrlPath;
use super::tlv::{BIT_STRING, Elements, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, context};

/// cRLDistributionPoints, 2.5.29.31
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
/// uniformResourceIdentifier of a GeneralName
const URI: u8 = 0x86;

/// Fields of a certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    /// Content of the serial number's INTEGER.
    pub(super) serial: &'a [u8],
    /// The issuer's name, DER.
    pub(super) issuer: &'a [u8],
    /// The subject's name, DER.
    pub(super) subject: &'a [u8],
    /// The subject's key: the bits in its SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
    not_before: &'a [u8],
    extensions: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// `None` if these bytes are no certificate.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut certificate = Elements::inside(der, SEQUENCE)?;
        let mut fields = Elements::of(certificate.expect(SEQUENCE)?);
        fields.optional(context(0));
        let serial = fields.expect(INTEGER)?;
        fields.expect(SEQUENCE)?;
        let issuer = sequence(&mut fields)?;
        let not_before = Elements::of(fields.expect(SEQUENCE)?).next()?.whole;
        let subject = sequence(&mut fields)?;
        let mut key = Elements::of(fields.expect(SEQUENCE)?);
        key.expect(SEQUENCE)?;
        // No bits of the last byte are unused.
        let (0, key) = key.expect(BIT_STRING)?.split_first()? else {
            return None;
        };
        let mut extensions = None;
        while let Some(field) = fields.next() {
            if field.tag == context(3) {
                extensions = Elements::of(field.content).expect(SEQUENCE);
            }
        }
        Some(Self {
            serial,
            issuer,
            subject,
            key,
            not_before,
            extensions,
        })
    }

    /// First second of validity.
    pub(super) fn issued(&self) -> Option<UnixTime> {
        let time = Time::from_der(self.not_before).ok()?;
        Some(UnixTime::from_secs(time.to_unix_duration().as_secs()))
    }

    /// The subject's common name.
    pub(super) fn common_name(&self) -> Option<String> {
        let name = DistinguishedName::from_der(self.subject).ok()?;
        let name = name.common_name().ok()??;
        Some(name.value().into_owned())
    }

    /// Where the certificate says its issuer's lists are, at NVIDIA's server.
    pub(super) fn lists(&self) -> Vec<CrlPath> {
        let mut found = Vec::new();
        let mut extensions = Elements::of(self.extensions.unwrap_or_default());
        while let Some(extension) = extensions.expect(SEQUENCE) {
            let mut extension = Elements::of(extension);
            if extension.expect(OBJECT_IDENTIFIER) != Some(CRL_DISTRIBUTION_POINTS) {
                continue;
            }
            // A flag may come before the value.
            while let Some(part) = extension.next() {
                if part.tag == OCTET_STRING {
                    found.extend(points(part.content));
                }
            }
        }
        found
    }
}

fn sequence<'a>(fields: &mut Elements<'a>) -> Option<&'a [u8]> {
    let element = fields.next()?;
    (element.tag == SEQUENCE).then_some(element.whole)
}

/// SEQUENCE OF { \[0\] { \[0\] { \[6\] URI … } } }
fn points(value: &[u8]) -> Vec<CrlPath> {
    let mut found = Vec::new();
    let Some(mut points) = Elements::inside(value, SEQUENCE) else {
        return found;
    };
    while let Some(point) = points.expect(SEQUENCE) {
        let names = Elements::of(point)
            .expect(context(0))
            .and_then(|name| Elements::of(name).expect(context(0)));
        let mut names = Elements::of(names.unwrap_or_default());
        while let Some(name) = names.next() {
            let text = core::str::from_utf8(name.content).unwrap_or_default();
            if name.tag == URI {
                found.extend(CrlPath::of_url(text));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            if let Some(fields) = Fields::read(&bytes) {
                let _ = (fields.issued(), fields.common_name(), fields.lists());
            }
            let _ = points(&bytes);
        }
    }
}
