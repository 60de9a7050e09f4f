//! Manifests that a PKI made for the test signs: each rule of content and chain,
//! broken alone, under signatures that verify.

use super::*;
use crate::anchors::Pin;
use crate::nvidia::rim::canonical::canonical;
use crate::nvidia::rim::xml::{Document, Element};
use crate::nvidia::tests::pki::{Holder, OCSP_SIGNING, Template};
use ::base64::Engine as _;
use ::base64::prelude::BASE64_STANDARD;
use bastide_attestation::{binding, sha256};
use ring::digest::{SHA384, digest};

const NOW: u64 = 1_500_000_000;

/// Keys and certificates, and how each is made.
struct Pki {
    holders: [Holder; 4],
    templates: [Template<'static>; 4],
    /// Which holder issues each.
    issuers: [usize; 4],
}

impl Pki {
    fn new() -> Self {
        let holders = [
            (1, "NVIDIA Reference Value L4 TEST"),
            (2, "NVIDIA Reference Value L3 TEST 001"),
            (3, "NVIDIA Reference Value TEST CA"),
            (4, "Root"),
        ]
        .map(|(seed, name)| Holder::new(seed, name));
        let (signer, authority) = (Template::SIGNER, Template::AUTHORITY);
        let last = Template {
            authority: Some(Some(0)),
            ..Template::AUTHORITY
        };
        Self {
            holders,
            templates: [signer, last, authority.clone(), authority],
            issuers: [1, 2, 3, 3],
        }
    }

    fn certificates(&self) -> Vec<Vec<u8>> {
        let each = self.templates.iter().zip(&self.holders).zip(self.issuers);
        each.map(|((template, holder), issuer)| template.issue(holder, &self.holders[issuer]))
            .collect()
    }

    fn anchor(&self) -> RimAnchor {
        let root = Pin {
            spki: binding::spki_digest(&self.holders[3].spki),
            certificate: None,
        };
        RimAnchor {
            name: "test".to_owned(),
            root,
            simulated: true,
            added_by_policy: true,
        }
    }

    /// The content with a signature over it.
    fn sign(&self, content: &Content) -> String {
        let certificates = self.certificates();
        let certificates: String = certificates
            .iter()
            .map(|der| {
                format!(
                    "<ds:X509Certificate>{}</ds:X509Certificate>",
                    BASE64_STANDARD.encode(der)
                )
            })
            .collect();
        let make = |digest_value: &str, value: &str| {
            let signature = format!(
                "<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo>\
                 <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/>\
                 <ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384\"/>\
                 <ds:Reference URI=\"\"><ds:Transforms>\
                 <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/>\
                 <ds:Transform Algorithm=\"http://www.w3.org/2006/12/xml-c14n11\"/></ds:Transforms>\
                 <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#sha384\"/>\
                 <ds:DigestValue>{digest_value}</ds:DigestValue></ds:Reference></ds:SignedInfo>\
                 <ds:SignatureValue>{value}</ds:SignatureValue>\
                 <ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>"
            );
            content.around(&signature)
        };
        let find = |document: &Document<'_>, name: &str, without: Option<&str>| {
            let find = |name: &str| document.elements().find(|element| element.is(DSIG, name));
            let apex = find(name).unwrap_or_else(|| document.root());
            canonical(apex, without.and_then(find) as Option<Element<'_, '_>>)
        };
        let draft = make("", "");
        let whole = find(&Document::parse(draft.as_bytes()).unwrap(), "", Some("Signature"));
        let digest_value = BASE64_STANDARD.encode(digest(&SHA384, &whole));
        let draft = make(&digest_value, "");
        let signed = find(&Document::parse(draft.as_bytes()).unwrap(), "SignedInfo", None);
        make(
            &digest_value,
            &BASE64_STANDARD.encode(self.holders[0].sign_raw(&signed)),
        )
    }

    fn authenticate(&self, content: &Content) -> Result<AuthenticRim, RimFault> {
        let memo = RimMemo::default();
        authenticate_with(
            self.sign(content).as_bytes(),
            &[self.anchor()],
            NOW,
            &Expiry::Strict,
            &memo,
        )
    }
}

/// The parts of a manifest.
#[derive(Clone)]
struct Content {
    root: String,
    entity: String,
    meta: String,
    payload: String,
}

impl Content {
    fn new() -> Self {
        let swid = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
        let tcg = "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
        Self {
            root: format!(
                "xmlns=\"{swid}\" xmlns:ns0=\"{swid}\" xmlns:ns2=\"http://www.w3.org/2001/04/xmlenc#sha384\" name=\"GH100\" tagId=\"0a1b\""
            ),
            entity: "<ns0:Entity name=\"NVIDIA Corporation\" role=\"tagCreator\"/>".to_owned(),
            meta: format!(
                "<ns0:Meta xmlns:ns1=\"{tcg}\" colloquialVersion=\"1.2\" edition=\"GPU\" product=\"GH100\" ns1:PlatformManufacturerId=\"5703\" ns1:FirmwareManufacturerId=\"5703\"/>"
            ),
            payload: format!(
                "<ns0:Payload>{}{}</ns0:Payload>",
                resource(63, "False", 1),
                resource(7, "True", 2)
            ),
        }
    }

    fn around(&self, signature: &str) -> String {
        let Self {
            root,
            entity,
            meta,
            payload,
        } = self;
        format!(
            "<SoftwareIdentity {root}>\n  {entity}\n  {meta}\n  {payload}\n{signature}</SoftwareIdentity>"
        )
    }

    fn replaced(&self, from: &str, to: &str) -> Self {
        let change = |part: &str| part.replacen(from, to, 1);
        let changed = Self {
            root: change(&self.root),
            entity: change(&self.entity),
            meta: change(&self.meta),
            payload: change(&self.payload),
        };
        assert_ne!(changed.around(""), self.around(""), "`{from}` is not there");
        changed
    }
}

fn resource(index: u8, active: &str, alternatives: u8) -> String {
    let hashes: String = (0..alternatives)
        .map(|at| format!(" ns2:Hash{at}=\"{}\"", hex::encode([at; 48])))
        .collect();
    format!(
        "<ns0:Resource type=\"Measurement\" index=\"{index}\" active=\"{active}\" alternatives=\"{alternatives}\"{hashes} name=\"M_{index}\" size=\"48\"/>"
    )
}

#[test]
fn what_an_anchor_signs_is_authentic_and_says_so() {
    let pki = Pki::new();
    let rim = pki.authenticate(&Content::new()).unwrap();
    assert!(rim.anchor().simulated);
    let golden = Golden {
        index: 7,
        alternatives: vec![[0; 48], [1; 48]],
    };
    assert_eq!(rim.golden(), [golden]);
    assert_eq!(
        (rim.version(), rim.product(), rim.tag_id()),
        ("1.2", "GH100", "0a1b")
    );
    // NVIDIA's root did not.
    let fault = authenticate(pki.sign(&Content::new()).as_bytes(), NOW).unwrap_err();
    assert!(matches!(fault, RimFault::Chain(ChainFault::RootNotPinned { .. })));
    // A namespace redefined inside, white space and order: signed, and so allowed.
    let content = Content::new()
        .replaced(
            "<ns0:Payload>",
            "<Payload xmlns:ns0=\"urn:q\" xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\">\n",
        )
        .replaced("</ns0:Payload>", "</Payload>");
    let content = Content {
        payload: content
            .payload
            .replace("ns0:Resource", "Resource")
            .replace(" xmlns:ns0=\"urn:q\"", ""),
        ..content
    };
    let swapped = Content {
        entity: content.payload.clone(),
        payload: content.entity.clone(),
        ..content
    };
    assert_eq!(pki.authenticate(&swapped).unwrap().golden().len(), 1);
}

#[test]
fn content_that_breaks_a_rule_is_refused_though_signed() {
    let pki = Pki::new();
    let base = Content::new();
    for (from, to) in [
        ("active=\"True\"", "active=\"true\""),
        ("active=\"True\"", "active=\"TRUE\""),
        ("active=\"True\"", "active=\"1\""),
        ("active=\"False\"", "active=\"false\""),
        ("active=\"True\"", "active=\"False\""),
        (" active=\"True\"", ""),
        ("index=\"63\"", "index=\"64\""),
        ("index=\"63\"", "index=\"7\""),
        ("index=\"7\"", "index=\"07\""),
        ("index=\"7\"", "index=\"+7\""),
        ("index=\"7\"", "index=\"-1\""),
        ("index=\"7\"", "index=\"263\""),
        ("index=\"7\"", "index=\"\""),
        (" index=\"7\"", ""),
        ("alternatives=\"2\"", "alternatives=\"1\""),
        ("alternatives=\"2\"", "alternatives=\"3\""),
        ("alternatives=\"2\"", "alternatives=\"0\""),
        ("alternatives=\"2\"", "alternatives=\"9\""),
        ("alternatives=\"2\"", "alternatives=\"99\""),
        ("ns2:Hash1", "ns2:Hash2"),
        ("ns2:Hash1", "Hash1"),
        ("ns2:Hash1=\"01", "ns2:Hash1=\""),
        ("ns2:Hash1=\"01", "ns2:Hash1=\"0101"),
        ("ns2:Hash1=\"01", "ns2:Hash1=\"0x"),
        ("size=\"48\"", "size=\"64\""),
        ("size=\"48\"", "size=\"48\" more=\"1\""),
        (" name=\"M_7\"", ""),
        ("type=\"Measurement\"", "type=\"measurement\""),
        ("<ns0:Resource ", "<ns0:File "),
        ("</ns0:Payload>", "x</ns0:Payload>"),
        ("</ns0:Payload>", "<ns0:Payload/></ns0:Payload>"),
        ("<ns0:Resource ", "<ns2:Resource "),
        ("name=\"NVIDIA Corporation\"", "name=\"Another\""),
        (
            "FirmwareManufacturerId=\"5703\"",
            "FirmwareManufacturerId=\"5704\"",
        ),
        (" ns1:FirmwareManufacturerId=\"5703\"", ""),
        ("ns1:FirmwareManufacturerId", "FirmwareManufacturerId"),
        ("PlatformManufacturerId=\"5703\"", "PlatformManufacturerId=\"1\""),
        ("edition=\"GPU\"", "edition=\"gpu\""),
        (" edition=\"GPU\"", ""),
        ("product=\"GH100\"", "product=\"GH 100\""),
        (" product=\"GH100\"", ""),
        ("colloquialVersion=\"1.2\"", "colloquialVersion=\"\""),
        ("colloquialVersion=\"1.2\"", "colloquialVersion=\"1&amp;2\""),
        (" tagId=\"0a1b\"", ""),
        (" name=\"GH100\"", ""),
    ] {
        // `<ns0:File …/>` closes itself, as Resource does.
        let fault = pki.authenticate(&base.replaced(from, to)).unwrap_err();
        assert!(matches!(fault, RimFault::Profile(_)), "{from} -> {to}: {fault}");
    }
    let doubled = |part: &str| part.repeat(2);
    for changed in [
        Content {
            meta: doubled(&base.meta),
            ..base.clone()
        },
        Content {
            payload: doubled(&base.payload),
            ..base.clone()
        },
        Content {
            entity: doubled(&base.entity),
            ..base.clone()
        },
        Content {
            entity: format!("{}x", base.entity),
            ..base.clone()
        },
        Content {
            entity: format!("{}<Link/>", base.entity),
            ..base.clone()
        },
        Content {
            meta: String::new(),
            ..base.clone()
        },
        Content {
            payload: String::new(),
            ..base.clone()
        },
        Content {
            payload: "<ns0:Payload/>".to_owned(),
            ..base.clone()
        },
        // Meta where it does not belong.
        Content {
            meta: String::new(),
            payload: base
                .payload
                .replace("</ns0:Payload>", &format!("{}</ns0:Payload>", base.meta)),
            ..base.clone()
        },
    ] {
        let fault = pki.authenticate(&changed).unwrap_err();
        assert!(
            matches!(fault, RimFault::Profile(_)),
            "{}: {fault}",
            changed.around("")
        );
    }
}

#[test]
fn a_namespace_that_could_add_a_condition_is_its_own_fault() {
    let pki = Pki::new();
    let floors = "https://docs.nvidia.com/attestation/specs/latest/opaque-data.html";
    for (from, to) in [
        ("name=\"GH100\"", format!("xmlns:ns3=\"{floors}\" name=\"GH100\"")),
        (
            "size=\"48\"",
            format!("size=\"48\" xmlns:ns3=\"{floors}\" ns3:MIN_SVN=\"1\""),
        ),
    ] {
        let fault = pki.authenticate(&Content::new().replaced(from, &to)).unwrap_err();
        assert_eq!(fault, RimFault::UnknownNamespace(floors.to_owned()));
    }
    let long = format!("xmlns:x=\"{} \u{e4}\" name=\"GH100\"", "y".repeat(500));
    let fault = pki
        .authenticate(&Content::new().replaced("name=\"GH100\"", &long))
        .unwrap_err();
    assert!(matches!(fault, RimFault::UnknownNamespace(shown) if shown.len() == 120));
}

#[test]
fn a_chain_that_breaks_a_rule_does_not_vouch() {
    let content = Content::new();
    let refused = |change: &dyn Fn(&mut Pki)| {
        let mut pki = Pki::new();
        change(&mut pki);
        match pki.authenticate(&content) {
            Err(RimFault::Chain(fault)) => fault,
            other => panic!("a fault of the chain was expected, got {other:?}"),
        }
    };
    for index in 1..4 {
        let fault = refused(&|pki| pki.templates[index].authority = None);
        assert!(matches!(fault, ChainFault::Authority { index: at, .. } if at == index));
        let fault = refused(&|pki| pki.templates[index].usage = 0x80);
        assert!(matches!(fault, ChainFault::Authority { index: at, .. } if at == index));
    }
    let fault = refused(&|pki| pki.templates[0].authority = Some(None));
    assert!(matches!(fault, ChainFault::Authority { index: 0, .. }));
    let fault = refused(&|pki| pki.templates[0].usage = 0x04);
    assert!(matches!(fault, ChainFault::KeyUsage { index: 0, .. }));
    // An OCSP responder of the same authority.
    let fault = refused(&|pki| pki.templates[0].purposes = &[OCSP_SIGNING]);
    assert!(matches!(
        fault,
        ChainFault::Authority { index: 0, .. } | ChainFault::KeyUsage { index: 0, .. }
    ));
    let fault = refused(&|pki| pki.templates[2].authority = Some(Some(0)));
    assert_eq!(
        fault,
        ChainFault::PathLength {
            index: 2,
            below: 1,
            allowed: 0
        }
    );
    let fault = refused(&|pki| pki.templates[3].authority = Some(Some(1)));
    assert_eq!(
        fault,
        ChainFault::PathLength {
            index: 3,
            below: 2,
            allowed: 1
        }
    );
    for (index, name) in [
        (0, "NVIDIA OCSP Responder L4"),
        (0, "HCC RIM L4 Signer 2"),
        (1, "NVIDIA Reference Value L4 TEST"),
        (2, "NVIDIA Reference Value L3 TEST"),
    ] {
        let fault = refused(&|pki| pki.holders[index] = Holder::new(40, name));
        assert!(matches!(fault, ChainFault::Name { index: at, .. } if at == index));
    }
    // By another name, and by another key of the same name.
    for index in 0..3 {
        let fault = refused(&|pki| pki.issuers[index] = index);
        assert!(matches!(fault, ChainFault::Link { index: at, .. } if at == index));
    }
    let mut pki = Pki::new();
    let anchor = pki.anchor();
    let real = pki.certificates();
    pki.holders[2].key = Holder::new(50, "x").key;
    // The certificate of the second is the genuine one, its key is not.
    let forged = pki.sign(&content);
    assert_eq!(real[2], pki.certificates()[2]);
    let fault = authenticate_with(
        forged.as_bytes(),
        &[anchor],
        NOW,
        &Expiry::Strict,
        &RimMemo::default(),
    );
    assert!(matches!(
        fault,
        Err(RimFault::Chain(ChainFault::Link { index: 1, .. }))
    ));
    // A signer's certificate with another's signature.
    let mut pki = Pki::new();
    pki.holders[0].key = Holder::new(50, "x").key;
    assert_eq!(pki.authenticate(&content).unwrap_err(), RimFault::Signature);
}

#[test]
fn every_certificate_of_the_chain_must_be_valid_in_time() {
    for index in 0..4 {
        let mut pki = Pki::new();
        pki.templates[index].validity = (NOW - 10, NOW - 1);
        let since = UnixTime::from_secs(NOW - 1);
        assert_eq!(
            pki.authenticate(&Content::new()).unwrap_err(),
            RimFault::SignerExpired { index, since }
        );
        pki.templates[index].validity = (NOW + 1, NOW + 10);
        let from = UnixTime::from_secs(NOW + 1);
        assert_eq!(
            pki.authenticate(&Content::new()).unwrap_err(),
            RimFault::NotYetValid { index, from }
        );
    }
}

#[test]
fn the_memo_is_bounded_and_forgets_the_oldest() {
    let (pki, memo, crypto) = (Pki::new(), RimMemo::default(), Counting::default());
    let anchors = [pki.anchor()];
    let now = UnixTime::from_secs(NOW);
    let files: Vec<_> = (0..=RimMemo::capacity())
        .map(|at| {
            pki.sign(&Content::new().replaced(
                "colloquialVersion=\"1.2\"",
                &format!("colloquialVersion=\"{at}\""),
            ))
        })
        .collect();
    let trust = RimTrust {
        anchors: &anchors,
        expiry: &Expiry::Strict,
        crypto: &crypto,
        memo: &memo,
        now,
    };
    let cost = |file: &String| {
        let before = crypto.0.load(core::sync::atomic::Ordering::Relaxed);
        let rim = authenticate_rim(file.as_bytes(), &trust).unwrap();
        assert_eq!(*rim.sha256(), sha256(&[file.as_bytes()]));
        crypto.0.load(core::sync::atomic::Ordering::Relaxed) - before
    };
    assert!(files.iter().all(|file| cost(file) == 5));
    assert_eq!(memo.len(), RimMemo::capacity());
    assert_eq!(cost(files.last().unwrap()), 0);
    assert_eq!(cost(&files[0]), 5);
}
