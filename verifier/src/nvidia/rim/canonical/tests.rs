use super::canonical;
use crate::nvidia::rim::xml::{Document, Element};
use proptest::prelude::*;

fn named<'d, 'a>(document: &'d Document<'a>, local: &str) -> Element<'d, 'a> {
    let mut elements = document.elements();
    elements
        .find(|element| {
            ["", "urn:a", "urn:b"]
                .iter()
                .any(|namespace| element.is(namespace, local))
        })
        .unwrap()
}

fn whole(text: &str) -> String {
    let document = Document::parse(text.as_bytes()).unwrap();
    String::from_utf8(canonical(document.root(), None)).unwrap()
}

/// Each pair is of the document and what W3C xml-c14n11 makes of it.
#[test]
fn a_document_has_the_form_of_the_recommendation() {
    for (text, expected) in [
        ("<a/>", "<a></a>"),
        ("<a></a>\n\n", "<a></a>"),
        // Namespaces by prefix before attributes by namespace, then by name;
        // those without a namespace first (§2.3, §3.3).
        (
            "<b:e q=\"4\" b:attr=\"2\" a:attr=\"3\" attr2=\"1\" attr=\"0\" xmlns:b=\"urn:b\" xmlns:a=\"urn:z\" xmlns=\"urn:d\"/>",
            "<b:e xmlns=\"urn:d\" xmlns:a=\"urn:z\" xmlns:b=\"urn:b\" attr=\"0\" attr2=\"1\" q=\"4\" b:attr=\"2\" a:attr=\"3\"></b:e>",
        ),
        // A declaration that changes nothing is left out, one that changes
        // something stays, and so does the way back.
        (
            "<a xmlns=\"urn:a\"><b xmlns=\"urn:a\"><c xmlns=\"urn:b\"><d xmlns=\"urn:a\"/></c></b></a>",
            "<a xmlns=\"urn:a\"><b><c xmlns=\"urn:b\"><d xmlns=\"urn:a\"></d></c></b></a>",
        ),
        (
            "<a xmlns:p=\"urn:a\"><p:b xmlns:p=\"urn:b\"/><p:b xmlns:p=\"urn:a\"/></a>",
            "<a xmlns:p=\"urn:a\"><p:b xmlns:p=\"urn:b\"></p:b><p:b></p:b></a>",
        ),
        // Unused ones stay: this is not the exclusive form.
        ("<a xmlns:x=\"urn:x\"/>", "<a xmlns:x=\"urn:x\"></a>"),
        // Characters: `>` is replaced in text alone, `\"` in attributes alone.
        (
            "<a b=\"&lt;&gt;&amp;&quot;&apos;>'\">&lt;&gt;&amp;&quot;&apos;>\"'\t\n</a>",
            "<a b=\"&lt;>&amp;&quot;'>'\">&lt;&gt;&amp;\"'&gt;\"'\t\n</a>",
        ),
        ("<a>&amp;amp;lt;</a>", "<a>&amp;amp;lt;</a>"),
        (
            "<a b=\"\u{e4}\u{1f600}\">\u{20ac}</a>",
            "<a b=\"\u{e4}\u{1f600}\">\u{20ac}</a>",
        ),
        ("<a xmlns=\"urn:a?b>'c\"/>", "<a xmlns=\"urn:a?b>'c\"></a>"),
    ] {
        assert_eq!(whole(text), expected, "{text}");
    }
}

#[test]
fn a_part_brings_every_namespace_around_it() {
    let text = "<a xmlns=\"urn:a\" xmlns:x=\"urn:x\" xmlns:y=\"urn:y\"><b xmlns:x=\"urn:z\" xmlns:d=\"urn:b\">\
                <d:c q=\"\"><d:e xmlns:y=\"urn:y\" xmlns=\"urn:b\"/></d:c></b></a>";
    let document = Document::parse(text.as_bytes()).unwrap();
    let part = canonical(named(&document, "c"), None);
    let expected = "<d:c xmlns=\"urn:a\" xmlns:d=\"urn:b\" xmlns:x=\"urn:z\" xmlns:y=\"urn:y\" q=\"\">\
                    <d:e xmlns=\"urn:b\"></d:e></d:c>";
    assert_eq!(String::from_utf8(part).unwrap(), expected);
}

#[test]
fn one_element_is_left_out_and_nothing_around_it() {
    let text = "<a>1<b>2<c/>3</b>4<b/>5</a>";
    let document = Document::parse(text.as_bytes()).unwrap();
    let form = canonical(document.root(), Some(named(&document, "b")));
    assert_eq!(String::from_utf8(form).unwrap(), "<a>14<b></b>5</a>");
}

/// Small documents of the form that is read, with what C14N changes.
fn documents() -> impl Strategy<Value = String> {
    let value = "[a<>'\u{e4} ]{0,4}".prop_map(|text| text.replace('<', "&lt;"));
    let leaf = value.clone().prop_map(|text| text.replace('>', "&gt;"));
    let leaf = leaf.prop_map(|text| format!("<p:x xmlns:p=\"urn:p\">{text}</p:x>"));
    leaf.prop_recursive(4, 16, 3, move |inner| {
        let uri = prop::sample::select(vec!["urn:a", "urn:b"]);
        (prop::collection::vec(inner, 0..3), uri, value.clone()).prop_map(|(inner, uri, value)| {
            format!(
                "<x xmlns:q=\"{uri}\" xmlns=\"{uri}\" z=\"{value}\" q:a=\"&quot;\">{}</x>",
                inner.concat()
            )
        })
    })
}

proptest! {
    #[test]
    fn the_canonical_form_is_its_own(text in documents()) {
        let once = whole(&text);
        prop_assert_eq!(whole(&once), once);
    }
}
