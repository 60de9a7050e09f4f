//! X.509 v3 certificates as AMD and NVIDIA issue them \[RFC 5280; AMD 57230\],
//! borrowed from their DER. Reads strictly and keeps the raw to-be-signed bytes; trusts
//! nothing and follows no chain.

use core::fmt::{self, Write as _};

use bastide_attestation::UnixTime;

use crate::der::{Element, Elements, Fault, Tag, bit_string, boolean, sequence, small_integer, time};

/// Most bytes of a certificate. AMD's have at most 1.7 KB, NVIDIA's 0.9 KB.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 4096;
/// Most extensions. AMD's leaves have 12.
pub(crate) const MAX_EXTENSIONS: usize = 32;
/// Most characters of a foreign name in a verdict.
const MAX_NAME: usize = 40;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.3.132.0.34
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.19
pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// 2.5.29.15
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

const KEY_CERT_SIGN: u8 = 0b0000_0100;

/// A public key, by what it can verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicKey<'a> {
    /// DER RSAPublicKey.
    Rsa(&'a [u8]),
    /// Uncompressed point on P-384, 97 bytes.
    P384(&'a [u8]),
    /// Anything else.
    Other,
}

/// One extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    /// Content of the OID.
    pub(crate) oid: &'a [u8],
    /// Whether it must be understood.
    pub(crate) critical: bool,
    /// Content of extnValue.
    pub(crate) value: &'a [u8],
}

/// The extensions of a certificate, in order. They stay where they are in its
/// DER and are read again at each look, so that nothing is allocated for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extensions<'a> {
    list: Elements<'a>,
    count: usize,
}

impl<'a> Extensions<'a> {
    /// Reads every extension, and says whether one occurs twice.
    fn read(explicit: Element<'a>) -> Result<(Self, bool), Fault> {
        let list = sequence(explicit.content, "extensions")?;
        let mut seen: [&[u8]; MAX_EXTENSIONS] = [&[]; MAX_EXTENSIONS];
        let (mut rest, mut count, mut duplicate) = (list, 0, false);
        while !rest.is_empty() {
            let oid = read_extension(&mut rest)?.oid;
            duplicate |= seen.iter().take(count).any(|earlier| *earlier == oid);
            *seen.get_mut(count).ok_or(Fault("at most 32 extensions"))? = oid;
            count += 1;
        }
        let extensions = Self { list, count };
        Ok((extensions, duplicate))
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        let mut list = self.list;
        // INVARIANT: `read` has read all of them without a fault.
        core::iter::from_fn(move || read_extension(&mut list).ok())
    }
}

/// A certificate whose form is right.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    /// The whole certificate.
    pub(crate) der: &'a [u8],
    /// What is signed, as received.
    pub(crate) tbs: &'a [u8],
    /// Content of the serial number, without leading zeros.
    pub(crate) serial: &'a [u8],
    /// The AlgorithmIdentifier of its signature, with its header.
    pub(crate) algorithm: &'a [u8],
    /// Issuer, with its header.
    pub(crate) issuer: &'a [u8],
    /// Subject, with its header.
    pub(crate) subject: &'a [u8],
    /// First second it is valid.
    pub(crate) not_before: UnixTime,
    /// Last second it is valid.
    pub(crate) not_after: UnixTime,
    /// SubjectPublicKeyInfo, with its header.
    pub(crate) spki: &'a [u8],
    /// The key in it.
    pub(crate) key: PublicKey<'a>,
    /// Extensions in order.
    pub(crate) extensions: Extensions<'a>,
    /// The same extension occurs twice.
    pub(crate) duplicate_extension: bool,
    /// The signature's bytes.
    pub(crate) signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads exactly one certificate, version 3, with nothing after it.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Fault> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(Fault("a certificate of at most 4,096 bytes"));
        }
        let mut outer = sequence(der, "a DER certificate with nothing after it")?;
        let tbs = outer.expect(Tag::SEQUENCE, "tbsCertificate")?;
        let outer_algorithm = outer.expect(Tag::SEQUENCE, "signatureAlgorithm")?;
        let signature = outer.expect(Tag::BIT_STRING, "signatureValue")?;
        outer.finish("nothing after signatureValue")?;

        let mut fields = Elements::new(tbs.content);
        let version = fields.expect(Tag::context::<0>(), "version 3")?;
        if version.content != [0x02, 0x01, 0x02] {
            return Err(Fault("version 3"));
        }
        let serial = fields.expect(Tag::INTEGER, "serialNumber")?;
        let inner_algorithm = fields.expect(Tag::SEQUENCE, "signature")?;
        if inner_algorithm.raw != outer_algorithm.raw {
            return Err(Fault("the same algorithm inside and outside tbsCertificate"));
        }
        let issuer = fields.expect(Tag::SEQUENCE, "issuer")?;
        let validity = fields.expect(Tag::SEQUENCE, "validity")?;
        let (not_before, not_after) = read_validity(validity)?;
        let subject = fields.expect(Tag::SEQUENCE, "subject")?;
        let spki = fields.expect(Tag::SEQUENCE, "subjectPublicKeyInfo")?;
        let (extensions, duplicate_extension) =
            Extensions::read(fields.expect(Tag::context::<3>(), "extensions")?)?;
        fields.finish("nothing after extensions")?;

        Ok(Self {
            der,
            tbs: tbs.raw,
            serial: without_leading_zeros(serial.content),
            algorithm: outer_algorithm.raw,
            issuer: issuer.raw,
            subject: subject.raw,
            not_before,
            not_after,
            spki: spki.raw,
            key: read_key(spki)?,
            extensions,
            duplicate_extension,
            signature: bit_string(signature.content, "signatureValue without unused bits")?,
        })
    }

    /// The extension with this OID.
    pub(crate) fn extension(&self, oid: &[u8]) -> Option<Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// Whether `now` is within the validity period, both ends included.
    pub(crate) fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Requires the marks of a certificate authority, and that nothing
    /// critical is left that isn't understood here.
    pub(crate) fn require_authority(&self) -> Result<(), Fault> {
        if self.duplicate_extension {
            return Err(Fault("no extension twice"));
        }
        let constraints = self
            .extension(BASIC_CONSTRAINTS)
            .ok_or(Fault("basicConstraints"))?;
        if !is_authority(constraints.value)? {
            return Err(Fault("basicConstraints with cA true"));
        }
        let usage = self.extension(KEY_USAGE).ok_or(Fault("keyUsage"))?;
        if key_usage(usage.value)? & KEY_CERT_SIGN == 0 {
            return Err(Fault("keyUsage with keyCertSign"));
        }
        self.require_no_other_critical(&[BASIC_CONSTRAINTS, KEY_USAGE])
    }

    /// How many authorities may follow below it; `None` if it doesn't say.
    pub(crate) fn path_length(&self) -> Result<Option<u8>, Fault> {
        match self.extension(BASIC_CONSTRAINTS) {
            Some(constraints) => basic_constraints(constraints.value).map(|(_, path_length)| path_length),
            None => Ok(None),
        }
    }

    /// Requires that it isn't marked as a certificate authority.
    pub(crate) fn require_end_entity(&self) -> Result<(), Fault> {
        match self.extension(BASIC_CONSTRAINTS) {
            Some(constraints) if is_authority(constraints.value)? => Err(Fault("no certificate authority")),
            _ => self.require_no_other_critical(&[BASIC_CONSTRAINTS, KEY_USAGE]),
        }
    }

    fn require_no_other_critical(&self, known: &[&[u8]]) -> Result<(), Fault> {
        if self
            .extensions
            .iter()
            .any(|extension| extension.critical && !known.contains(&extension.oid))
        {
            return Err(Fault("no critical extension that is unknown here"));
        }
        Ok(())
    }
}

/// The one common name in a Name, if it has exactly one.
pub(crate) fn common_name(name: &[u8]) -> Option<&str> {
    let mut relative_names = sequence(name, "a name").ok()?;
    let mut found = None;
    while !relative_names.is_empty() {
        let set = relative_names.expect(Tag::SET, "a relative name").ok()?;
        let mut attributes = Elements::new(set.content);
        while !attributes.is_empty() {
            let attribute = attributes.expect(Tag::SEQUENCE, "an attribute").ok()?;
            let mut parts = Elements::new(attribute.content);
            let oid = parts.expect(Tag::OID, "its type").ok()?;
            let value = parts.any("its value").ok()?;
            parts.finish("nothing after its value").ok()?;
            if oid.content == COMMON_NAME {
                if found.is_some() || !matches!(value.tag, Tag::UTF8_STRING | Tag::PRINTABLE_STRING) {
                    return None;
                }
                found = Some(core::str::from_utf8(value.content).ok()?);
            }
        }
    }
    found
}

/// Common name of a name, for a verdict: foreign text, so cut and filtered.
pub(crate) const fn printable(name: &[u8]) -> Printable<'_> {
    Printable(name)
}

/// See [`printable`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = common_name(self.0) else {
            return f.write_str("(no common name)");
        };
        name.chars()
            .take(MAX_NAME)
            .map(|character| match character {
                ' '..='~' => character,
                _ => '?',
            })
            .try_for_each(|character| f.write_char(character))
    }
}

/// Serial numbers are compared as numbers: DER pads with a zero byte.
pub(crate) fn without_leading_zeros(content: &[u8]) -> &[u8] {
    let zeros = content.iter().take_while(|byte| **byte == 0).count();
    content.get(zeros..).unwrap_or_default()
}

fn read_validity(validity: Element<'_>) -> Result<(UnixTime, UnixTime), Fault> {
    let mut fields = Elements::new(validity.content);
    let not_before = time(fields.any("notBefore")?, "notBefore")?;
    let not_after = time(fields.any("notAfter")?, "notAfter")?;
    fields.finish("nothing after notAfter")?;
    Ok((not_before, not_after))
}

fn read_key<'a>(spki: Element<'a>) -> Result<PublicKey<'a>, Fault> {
    let mut fields = Elements::new(spki.content);
    let algorithm = fields.expect(Tag::SEQUENCE, "a key algorithm")?;
    let bits = fields.expect(Tag::BIT_STRING, "a public key")?;
    fields.finish("nothing after the public key")?;
    let key = bit_string(bits.content, "a public key without unused bits")?;

    let mut algorithm = Elements::new(algorithm.content);
    let oid = algorithm.expect(Tag::OID, "a key algorithm")?;
    let parameters = if algorithm.is_empty() {
        None
    } else {
        Some(algorithm.any("key parameters")?)
    };
    algorithm.finish("nothing after key parameters")?;
    Ok(match (oid.content, parameters) {
        (RSA_ENCRYPTION, Some(parameters)) if parameters.raw == [0x05, 0x00] => PublicKey::Rsa(key),
        (EC_PUBLIC_KEY, Some(parameters))
            if parameters.tag == Tag::OID
                && parameters.content == SECP384R1
                && key.len() == 97
                && key.first() == Some(&4) =>
        {
            PublicKey::P384(key)
        }
        _ => PublicKey::Other,
    })
}

fn read_extension<'a>(list: &mut Elements<'a>) -> Result<Extension<'a>, Fault> {
    let mut fields = Elements::new(list.expect(Tag::SEQUENCE, "an extension")?.content);
    let oid = fields.expect(Tag::OID, "an extension's identifier")?.content;
    let critical = match fields.optional(Tag::BOOLEAN, "critical")? {
        Some(element) => boolean(element.content, "critical")?,
        None => false,
    };
    let value = fields.expect(Tag::OCTET_STRING, "an extension's value")?.content;
    fields.finish("nothing after an extension's value")?;
    Ok(Extension { oid, critical, value })
}

/// BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLen INTEGER OPTIONAL }
fn is_authority(value: &[u8]) -> Result<bool, Fault> {
    basic_constraints(value).map(|(authority, _)| authority)
}

/// cA and pathLen.
fn basic_constraints(value: &[u8]) -> Result<(bool, Option<u8>), Fault> {
    let mut fields = sequence(value, "basicConstraints")?;
    let authority = match fields.optional(Tag::BOOLEAN, "basicConstraints")? {
        Some(element) => boolean(element.content, "basicConstraints")?,
        None => false,
    };
    let path_length = match fields.optional(Tag::INTEGER, "basicConstraints")? {
        Some(element) => Some(small_integer(element.content).ok_or(Fault("a small pathLen"))?),
        None => None,
    };
    fields.finish("basicConstraints")?;
    Ok((authority, path_length))
}

/// First byte of KeyUsage's bits.
fn key_usage(value: &[u8]) -> Result<u8, Fault> {
    let mut outer = Elements::new(value);
    let bits = outer.expect(Tag::BIT_STRING, "keyUsage")?;
    outer.finish("keyUsage")?;
    match bits.content {
        [0..=7, usage, ..] => Ok(*usage),
        _ => Err(Fault("keyUsage")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            let _ = Certificate::parse(&bytes);
            let _ = common_name(&bytes);
        }
    }
}
