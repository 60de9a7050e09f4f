//! Signature wrapping: content moved, doubled or hidden so that what is read
//! would not be what was signed; and XML that only a general parser needs.

use super::*;

/// The VBIOS's manifest, or an empty text where there are no vectors.
fn text() -> Option<String> {
    file(VBIOS).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Replaces what occurs exactly once, or at least once if it is repeated.
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not there");
    text.replacen(from, to, 1)
}

/// From the first `from` to the end of the first `to` after it.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap();
    let end = start + text[start..].find(to).unwrap() + to.len();
    &text[start..end]
}

fn fault(text: &str) -> RimFault {
    match authenticate(text.as_bytes(), AT_T1) {
        Err(fault) => fault,
        Ok(_) => panic!("accepted: {}", &text[..200]),
    }
}

fn is_profile(text: &str) {
    let fault = fault(text);
    assert!(matches!(fault, RimFault::Profile(_)), "{fault}");
}

fn is_forbidden(text: &str) {
    let fault = fault(text);
    assert!(matches!(fault, RimFault::Xml(XmlFault::Forbidden(_))), "{fault}");
}

fn is_malformed(text: &str) {
    let fault = fault(text);
    assert!(matches!(fault, RimFault::Xml(XmlFault::Malformed(_))), "{fault}");
}

fn is_too_many(text: &str) {
    let fault = fault(text);
    assert!(
        matches!(fault, RimFault::Xml(XmlFault::TooMany { .. })),
        "{fault}"
    );
}

const RESOURCE: &str = "<ns0:Resource type=\"Measurement\" index=\"7\" active=\"True\" alternatives=\"1\" name=\"x\" size=\"48\"/>";

#[test]
fn nothing_unsigned_hides_inside_the_signature() {
    let Some(text) = text() else { return };
    let meta = part(&text, "<ns0:Meta ", "/>");
    let certificate = part(&text, "<ds:X509Certificate>", "</ds:X509Certificate>");
    let payload = part(&text, "<ns0:Payload ", "</ns0:Payload>");
    for hidden in [
        RESOURCE,
        meta,
        payload,
        certificate,
        "<ds:Object/>",
        "<ds:Manifest/>",
        "x",
        " ",
        "\n",
    ] {
        for place in [
            "<ds:SignedInfo>",
            "</ds:SignedInfo>",
            "</ds:SignatureValue>",
            "<ds:KeyInfo>",
            "</ds:X509Data>",
            "</ds:KeyInfo>",
            "<ds:Transforms>",
            "</ds:Transforms>",
            "</ds:Reference>",
        ] {
            is_profile(&with(&text, place, &format!("{place}{hidden}")));
            let object = format!("{place}<ds:Object>{hidden}</ds:Object>");
            is_profile(&with(&text, place, &object));
        }
    }
    for hidden in [RESOURCE, meta, " ", "x"] {
        is_profile(&with(&text, "<ds:X509Data>", &format!("<ds:X509Data>{hidden}")));
        is_profile(&with(
            &text,
            "<ds:DigestValue>",
            &format!("<ds:DigestValue>{hidden}"),
        ));
        is_profile(&with(
            &text,
            "<ds:X509Certificate>",
            &format!("<ds:X509Certificate>{hidden}"),
        ));
    }
    // An algorithm with parameters.
    let method = part(&text, "<ds:SignatureMethod ", "/>");
    let inside = with(
        method,
        "/>",
        "><ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>",
    );
    is_profile(&with(&text, method, &inside));
}

#[test]
fn there_is_one_signature_and_it_is_inside_the_root() {
    let Some(text) = text() else { return };
    let signature = part(&text, "<ds:Signature ", "</ds:Signature>");
    let unsigned = with(&text, signature, "");
    is_profile(&unsigned);
    is_profile(&with(&text, signature, &signature.repeat(2)));
    // A second one somewhere else, or the one somewhere else.
    for text in [&text, &unsigned] {
        is_profile(&with(
            text,
            "</ns0:Payload>",
            &format!("{signature}</ns0:Payload>"),
        ));
    }
    is_profile(&with(
        &text,
        "</ds:KeyInfo>",
        &format!("</ds:KeyInfo>{signature}"),
    ));
    // Its elements outside of it.
    let certificate = part(&text, "<ds:X509Certificate>", "</ds:X509Certificate>");
    let outside = certificate.replacen(
        "<ds:X509Certificate",
        &format!("<ds:X509Certificate xmlns:ds=\"{DSIG}\""),
        1,
    );
    is_profile(&with(
        &text,
        "</ns0:Payload>",
        &format!("{outside}</ns0:Payload>"),
    ));
    // Another namespace of the same name, and another prefix of the same namespace.
    is_profile(&text.replace(DSIG, "http://www.w3.org/2000/09/xmldsig"));
    is_profile(&text.replace("ds:", "dsig:").replace("xmlns:ds=", "xmlns:dsig="));
    let own = with(&text, "<ds:KeyInfo>", "<ds:KeyInfo xmlns=\"urn:x\">");
    is_profile(&own);
}

#[test]
fn only_the_whole_document_is_signed_and_only_by_these_algorithms() {
    let Some(text) = text() else { return };
    for uri in [
        "",
        " URI=\"#x\"",
        " URI=\"#\"",
        " URI=\"#xpointer(/)\"",
        " URI=\"other.xml\"",
        " URI=\" \"",
        " URI=\"\" Id=\"x\"",
        " URI=\"\" Type=\"x\"",
        " uri=\"\"",
    ] {
        is_profile(&with(&text, " URI=\"\"", uri));
    }
    is_malformed(&with(&text, " URI=\"\"", " URI=\"\" URI=\"\""));
    let reference = part(&text, "<ds:Reference ", "</ds:Reference>");
    is_profile(&with(&text, reference, &reference.repeat(2)));
    is_profile(&with(&text, reference, ""));
    let transform = part(&text, "<ds:Transform ", "/>");
    is_profile(&with(&text, transform, ""));
    is_profile(&with(&text, transform, &transform.repeat(2)));
    for (from, to) in [
        (
            "http://www.w3.org/2006/12/xml-c14n11\"/><ds:SignatureMethod",
            "http://www.w3.org/2001/10/xml-exc-c14n#\"/><ds:SignatureMethod",
        ),
        (
            "http://www.w3.org/2006/12/xml-c14n11\"/></ds:Transforms>",
            "http://www.w3.org/TR/2001/REC-xml-c14n-20010315\"/></ds:Transforms>",
        ),
        (
            "http://www.w3.org/2006/12/xml-c14n11\"/></ds:Transforms>",
            "http://www.w3.org/2006/12/xml-c14n11#WithComments\"/></ds:Transforms>",
        ),
        ("#enveloped-signature", "#base64"),
        ("xmldsig-more#ecdsa-sha384", "xmldsig-more#ecdsa-sha256"),
        ("xmldsig-more#ecdsa-sha384", "xmldsig-more#hmac-sha384"),
        ("xmldsig-more#sha384", "xmldsig-more#sha224"),
    ] {
        is_profile(&with(&text, from, to));
    }
}

#[test]
fn certificates_dropped_added_or_reordered_do_not_vouch() {
    let Some(text) = text() else { return };
    let data = part(&text, "<ds:X509Data>", "</ds:X509Data>");
    let certificates: Vec<_> = data
        .split("<ds:X509Certificate>")
        .skip(1)
        .map(|rest| {
            format!(
                "<ds:X509Certificate>{}",
                rest.split("</ds:X509Data>").next().unwrap()
            )
        })
        .collect();
    let of = |order: &[usize]| {
        let chosen: String = order.iter().map(|index| certificates[*index].as_str()).collect();
        fault(&with(
            &text,
            data,
            &format!("<ds:X509Data>{chosen}</ds:X509Data>"),
        ))
    };
    for (order, length) in [(&[][..], 0), (&[0, 1, 2], 3), (&[0, 1, 2, 3, 3], 5), (&[3], 1)] {
        assert_eq!(of(order), RimFault::Chain(ChainFault::Length(length)));
    }
    for order in [
        [3, 2, 1, 0],
        [1, 0, 2, 3],
        [0, 2, 1, 3],
        [0, 0, 2, 3],
        [0, 1, 3, 3],
        [0, 1, 2, 2],
    ] {
        let fault = of(&order);
        let chain = matches!(
            &fault,
            RimFault::Chain(
                ChainFault::Name { .. }
                    | ChainFault::Authority { .. }
                    | ChainFault::Link { .. }
                    | ChainFault::RootNotPinned { .. }
            )
        );
        assert!(chain, "{order:?}: {fault}");
    }
}

#[test]
fn what_only_a_general_parser_reads_is_refused() {
    let Some(text) = text() else { return };
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>";
    for before in [
        "<?xml version=\"1.0\"?>",
        "<?x y?>",
        "<!-- x -->",
        "<!DOCTYPE x>",
        bomb,
        "<![CDATA[x]]>",
    ] {
        is_forbidden(&format!("{before}{text}"));
        is_forbidden(&with(&text, "<ns0:Payload ", &format!("{before}<ns0:Payload ")));
        is_forbidden(&with(&text, "<ds:KeyInfo>", &format!("<ds:KeyInfo>{before}")));
        is_malformed(&format!("{text}{before}"));
    }
    let entity = with(&text, "name=\"Measurement_0\"", "name=\"&a;\"");
    is_forbidden(&entity);
    for reference in ["&#65;", "&#x41;", "&a;", "&amp", "&AMP;", "&", "& amp;"] {
        is_forbidden(&with(&text, "Measurement_0", reference));
        is_forbidden(&with(
            &text,
            "<ds:X509Certificate>",
            &format!("<ds:X509Certificate>{reference}"),
        ));
    }
    is_forbidden(&text.replace('\n', "\r\n"));
    is_forbidden(&with(&text, "Measurement_0", "\r"));
    for attribute in [
        " xml:lang=\"en\"",
        " xml:space=\"preserve\"",
        " xml:id=\"x\"",
        " xml:base=\"x\"",
        " xmlns:xml=\"http://www.w3.org/XML/1998/namespace\"",
        " xmlns:x=\"\"",
        " xmlns:x=\"a&amp;b\"",
        " xmlns:x=\"http://www.w3.org/2000/xmlns/\"",
    ] {
        is_forbidden(&with(&text, " corpus=", &format!("{attribute} corpus=")));
    }
    for blank in ["\t", "\n"] {
        is_forbidden(&with(&text, "Measurement_0", blank));
        is_malformed(&with(&text, " index=\"0\"", &format!("{blank}index=\"0\"")));
    }
    for (from, to) in [
        (" index=\"0\"", " index='0'"),
        (" index=\"0\"", " index =\"0\""),
        (" index=\"0\"", "  index=\"0\""),
        (" index=\"0\"", " index=\"0\" index=\"0\""),
        (" ns2:Hash0=", " ns9:Hash0="),
        ("Measurement_0", "<"),
        ("</ns0:Payload>", "</ns0:Payload >"),
        ("</ns0:Payload>", "</Payload>"),
        ("</ns0:Payload>", ""),
        ("<ns0:Payload ", "<ns0:ns0:Payload "),
        ("<ns0:Payload ", "<:Payload "),
        ("<ns0:Payload ", "<0Payload "),
        ("<ns0:Payload ", "< ns0:Payload "),
        ("<ns0:Payload ", "<ns\u{f6}:Payload "),
    ] {
        is_malformed(&with(&text, from, to));
    }
    // Two names for one namespace do not hide that an attribute is there twice.
    let twice = with(&text, " ns2:Hash0=", " SHA384:Hash0=\"\" ns2:Hash0=");
    is_malformed(&twice);
    is_malformed(&format!("\u{feff}{text}"));
    is_malformed(&format!(" {text}"));
    is_malformed(&format!("\n{text}"));
    is_malformed(&format!("{text} "));
    is_malformed(&format!("{text}<x/>"));
    for character in ["\0", "\u{1}", "\u{b}", "\u{fffe}", "\u{ffff}"] {
        is_forbidden(&with(&text, "Measurement_0", character));
    }
    let mut not_utf8 = text.clone().into_bytes();
    not_utf8[100] = 0xff;
    assert!(matches!(
        authenticate(&not_utf8, AT_T1),
        Err(RimFault::Xml(XmlFault::Malformed("UTF-8")))
    ));
}

#[test]
fn a_document_that_says_something_else_has_another_digest() {
    let Some(text) = text() else { return };
    let resources: Vec<_> = text
        .lines()
        .filter(|line| line.contains("<ns0:Resource "))
        .collect();
    assert_eq!(resources.len(), 64);
    let meta = part(&text, "<ns0:Meta ", "/>");
    for changed in [
        with(&text, resources[9], ""),
        with(&text, &format!("{}\n", resources[9]), ""),
        with(&text, resources[9], &resources[9].repeat(2)),
        with(&text, resources[9], &resources[8..10].concat()),
        with(&text, resources[7], &resources[7].replace("False", "True")),
        with(&text, meta, &meta.repeat(2)),
        with(&text, meta, &meta.replace("GH100", "GB100")),
        with(&text, "<ns0:Payload ", "<ns0:Payload xmlns=\"urn:x\" "),
        with(&text, "<ns0:Payload ", "<ns0:Payload xmlns:ns2=\"urn:x\" "),
        with(&text, "<ns0:Payload ", "<Payload ").replace("</ns0:Payload>", "</Payload>"),
        with(&text, "    <ns0:Payload ", "\t<ns0:Payload "),
        with(&text, "</SoftwareIdentity>", "\n</SoftwareIdentity>"),
    ] {
        assert_eq!(fault(&changed), RimFault::Digest);
    }
    // A default namespace inside that is the one around: C14N leaves it out, and
    // so the document is the one that was signed.
    let again = with(
        &text,
        "<ns0:Payload ",
        "<ns0:Payload xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\" ",
    );
    let same = authenticate(again.as_bytes(), AT_T1).unwrap();
    assert_eq!(
        same.golden(),
        authenticate(text.as_bytes(), AT_T1).unwrap().golden()
    );
    // The whole inside another root, or inside itself.
    let wrapped = format!("<x>{text}</x>");
    is_profile(&wrapped);
    let signature = part(&text, "<ds:Signature ", "</ds:Signature>");
    let inner = with(&text, signature, "");
    let moved = format!("<SoftwareIdentity>{inner}{signature}</SoftwareIdentity>");
    assert_eq!(fault(&moved), RimFault::Digest);
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let Some(text) = text() else { return };
    let many = |count: usize, make: fn(usize) -> String| (0..count).map(make).collect::<String>();
    let attributes = many(10_000, |at| format!(" a{at}=\"\""));
    is_too_many(&with(&text, "<ns0:Payload", &format!("<ns0:Payload{attributes}")));
    let namespaces = many(6_000, |at| format!(" xmlns:a{at}=\"x\""));
    is_too_many(&with(&text, "<ns0:Payload", &format!("<ns0:Payload{namespaces}")));
    is_too_many(&with(
        &text,
        "</ns0:Payload>",
        &format!("{}</ns0:Payload>", "<x/>".repeat(10_000)),
    ));
    for inside in ["</ns0:Payload>", "<ds:KeyInfo>"] {
        let deep = format!("{}{}{inside}", "<x>".repeat(10_000), "</x>".repeat(10_000));
        is_too_many(&with(&text, inside, &deep));
    }
    is_too_many(&"<x>".repeat(50_000));
    for large in [
        text.clone() + &"\n".repeat(256 * 1024),
        with(
            &text,
            "<ns0:Payload",
            &format!("{}<ns0:Payload", " ".repeat(256 * 1024)),
        ),
    ] {
        assert_eq!(fault(&large), RimFault::Xml(XmlFault::TooLarge));
    }
    // As large as may be, and costly to read again and again if it were: it is not.
    let started = std::time::Instant::now();
    for filler in ["<", "</", "<a ", "&amp;", "\"", "<x a=\"", "]]", "=\"\" "] {
        let filled = filler.repeat(256 * 1024 / filler.len());
        assert!(authenticate(filled.as_bytes(), AT_T1).is_err());
        let inside = with(
            &text,
            "</ns0:Payload>",
            &format!("{}</ns0:Payload>", filler.repeat(200_000 / filler.len())),
        );
        assert!(authenticate(inside.as_bytes(), AT_T1).is_err());
    }
    assert!(started.elapsed().as_secs() < 30);
}
