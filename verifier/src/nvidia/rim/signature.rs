//! The one profile of XML signatures that manifests have \[XML-Signature 1.1,
//! RFC 9231\]: enveloped, Canonical XML 1.1, SHA-384, ECDSA on P-384, and four
//! certificates. Every element inside the signature is known by its place, so
//! that nothing unsigned can hide there. Follows no chain.

use super::canonical::canonical;
use super::chain::{CHAIN_LENGTH, ChainFault};
use super::error::RimFault;
use super::xml::{Document, Element};
use super::{DSIG, base64};
use crate::certificate::MAX_CERTIFICATE_BYTES;
use crate::crypto::Crypto;

const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const DIGEST_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";

/// What a signature says, and over what.
#[derive(Debug)]
pub(super) struct Signature {
    /// Certificates in DER, signer first.
    pub(super) certificates: Vec<Vec<u8>>,
    /// Canonical SignedInfo, with the namespaces around it.
    signed_info: Vec<u8>,
    /// R and S.
    value: [u8; 96],
}

impl Signature {
    /// Reads the signature of a document, and requires that the document without
    /// it has the digest that it names.
    pub(super) fn read(document: &Document<'_>, crypto: &dyn Crypto) -> Result<Self, RimFault> {
        let root = document.root();
        let mut signatures = root.children().filter(|child| child.is(DSIG, "Signature"));
        let (Some(signature), None) = (signatures.next(), signatures.next()) else {
            return Err(RimFault::Profile(
                "one Signature directly inside the root element",
            ));
        };
        let foreign = |element: &Element<'_, '_>| element.namespace() == DSIG && !signature.contains(element);
        if document.elements().any(|element| foreign(&element)) {
            return Err(RimFault::Profile(
                "elements of XML signatures inside Signature alone",
            ));
        }
        if signature.declarations() != [("ds", DSIG)] || !signature.attributes().is_empty() {
            return Err(RimFault::Profile(
                "Signature with the namespace `ds` and no attribute",
            ));
        }
        let mut inside = signature.and_descendants().skip(1);
        if inside.any(|element| !element.declarations().is_empty()) {
            return Err(RimFault::Profile("no further namespace inside Signature"));
        }

        let [signed_info, value, key_info] = parts(signature, ["SignedInfo", "SignatureValue", "KeyInfo"])?;
        plain(signed_info)?;
        let [canonicalization, method, reference] = parts(
            signed_info,
            ["CanonicalizationMethod", "SignatureMethod", "Reference"],
        )?;
        algorithm(canonicalization, C14N11)?;
        algorithm(method, ECDSA_SHA384)?;
        only(reference, "URI", "", "one Reference with `URI=\"\"`")?;
        let [transforms, digest_method, digest_value] =
            parts(reference, ["Transforms", "DigestMethod", "DigestValue"])?;
        plain(transforms)?;
        let [enveloped, canonical_form] = parts(transforms, ["Transform", "Transform"])?;
        algorithm(enveloped, ENVELOPED)?;
        algorithm(canonical_form, C14N11)?;
        algorithm(digest_method, DIGEST_SHA384)?;
        let expected: [u8; 48] = bytes(digest_value, "a DigestValue of 48 bytes")?;
        let value: [u8; 96] = bytes(value, "a SignatureValue of 96 bytes")?;
        let certificates = certificates(key_info)?;

        let content = canonical(root, Some(signature));
        if crypto.sha384(&content) != expected {
            return Err(RimFault::Digest);
        }
        Ok(Self {
            certificates,
            signed_info: canonical(signed_info, None),
            value,
        })
    }

    /// Requires that this key signed it. `signer` is an uncompressed point.
    pub(super) fn verify(&self, signer: &[u8], crypto: &dyn Crypto) -> Result<(), RimFault> {
        if crypto.p384_sha384_verify(signer, &self.signed_info, &self.value) {
            Ok(())
        } else {
            Err(RimFault::Signature)
        }
    }
}

/// The elements directly inside one, which must be exactly these, with nothing
/// between them.
fn parts<'d, 'a, const N: usize>(
    element: Element<'d, 'a>,
    names: [&'static str; N],
) -> Result<[Element<'d, 'a>; N], RimFault> {
    let children: Vec<_> = element.children().collect();
    let named = children
        .iter()
        .zip(names)
        .all(|(child, name)| child.is(DSIG, name));
    let parts = children
        .try_into()
        .ok()
        .filter(|_| named && element.own_texts().next().is_none());
    parts.ok_or(RimFault::Profile(
        "the parts of a Signature in their order, and nothing else",
    ))
}

/// Requires that an element has no attribute.
fn plain(element: Element<'_, '_>) -> Result<(), RimFault> {
    if element.attributes().is_empty() {
        Ok(())
    } else {
        Err(RimFault::Profile(
            "no attribute but Algorithm and URI inside Signature",
        ))
    }
}

/// Requires one attribute of one value, as written.
fn only(element: Element<'_, '_>, name: &str, value: &str, expected: &'static str) -> Result<(), RimFault> {
    match element.attributes() {
        [attribute] if attribute.qualified == name && attribute.value == value => Ok(()),
        _ => Err(RimFault::Profile(expected)),
    }
}

/// Requires an empty element that names one algorithm.
fn algorithm(element: Element<'_, '_>, uri: &str) -> Result<(), RimFault> {
    let expected = "the algorithms C14N 1.1, enveloped-signature, SHA-384 and ECDSA with SHA-384";
    if element.text() != Some("") {
        return Err(RimFault::Profile(expected));
    }
    only(element, "Algorithm", uri, expected)
}

/// The value of an element with nothing but base64 inside.
fn bytes<const N: usize>(element: Element<'_, '_>, expected: &'static str) -> Result<[u8; N], RimFault> {
    plain(element)?;
    element
        .text()
        .and_then(|text| base64::decode(text, N))
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(RimFault::Profile(expected))
}

fn certificates(key_info: Element<'_, '_>) -> Result<Vec<Vec<u8>>, RimFault> {
    plain(key_info)?;
    let [data] = parts(key_info, ["X509Data"])?;
    plain(data)?;
    let found: Vec<_> = data.children().collect();
    let known = found.iter().all(|child| child.is(DSIG, "X509Certificate"));
    if !known || data.own_texts().next().is_some() {
        return Err(RimFault::Profile("X509Data with certificates alone"));
    }
    if found.len() != CHAIN_LENGTH {
        return Err(ChainFault::Length(found.len()).into());
    }
    let decode = |element: Element<'_, '_>| {
        plain(element)?;
        let text = element.text();
        text.and_then(|text| base64::decode(text, MAX_CERTIFICATE_BYTES))
            .ok_or(RimFault::Profile("an X509Certificate in base64"))
    };
    found.into_iter().map(decode).collect()
}
