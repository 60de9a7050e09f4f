use super::*;
use proptest::prelude::*;

#[test]
fn names_are_resolved_where_they_stand() {
    let text = "<a xmlns=\"urn:1\" xmlns:p=\"urn:2\" b=\"x\" p:b=\"y\">t<p:c xmlns:p=\"urn:3\"><p:d/></p:c><p:e/>u</a>";
    let document = Document::parse(text.as_bytes()).unwrap();
    let root = document.root();
    assert!(root.is("urn:1", "a"));
    // The default namespace is for elements alone.
    assert_eq!(root.attribute("", "b"), Some("x"));
    assert_eq!(root.attribute("urn:2", "b"), Some("y"));
    assert_eq!(root.attribute("urn:1", "b"), None);
    let children: Vec<_> = root.children().collect();
    let [c, e] = children[..] else {
        panic!("two children were expected")
    };
    assert!(c.is("urn:3", "c") && e.is("urn:2", "e"));
    assert!(c.children().all(|child| child.is("urn:3", "d")));
    assert_eq!(root.own_texts().collect::<Vec<_>>(), ["t", "u"]);
    assert_eq!((root.text(), e.text()), (None, Some("")));
    assert!(root.contains(&c) && c.contains(&c) && !c.contains(&e) && !c.contains(&root));
    assert_eq!(document.elements().count(), 4);
    assert_eq!(root.and_descendants().count(), 4);
}

#[test]
fn bounds_are_where_they_are_said_to_be() {
    let nested = |depth: usize| "<x>".repeat(depth) + &"</x>".repeat(depth);
    assert!(Document::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert!(Document::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    let wide = |elements: usize| format!("<x>{}</x>", "<x/>".repeat(elements - 1));
    assert!(Document::parse(wide(MAX_ELEMENTS).as_bytes()).is_ok());
    assert!(Document::parse(wide(MAX_ELEMENTS + 1).as_bytes()).is_err());
    let large = |bytes: usize| format!("<x>{}</x>", "x".repeat(bytes - 7));
    assert!(Document::parse(large(MAX_BYTES).as_bytes()).is_ok());
    assert_eq!(
        Document::parse(large(MAX_BYTES + 1).as_bytes()).unwrap_err(),
        XmlFault::TooLarge
    );
    let attributes = |count: usize| {
        format!(
            "<x{}/>",
            (0..count).map(|at| format!(" a{at}=\"\"")).collect::<String>()
        )
    };
    assert!(Document::parse(attributes(32).as_bytes()).is_ok());
    assert!(Document::parse(attributes(33).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn reading_never_panics(bytes: Vec<u8>) {
        let _ = Document::parse(&bytes);
    }

    #[test]
    fn what_looks_like_xml_never_panics(text in "(<|</|/>|>|a|:|xmlns|=\"|\"| |&amp;|\n|é|<a>|</a>){0,24}") {
        let text = format!("<a>{text}</a>");
        if let Ok(document) = Document::parse(text.as_bytes()) {
            prop_assert!(document.root().is("", "a"));
            prop_assert!(document.elements().count() <= MAX_ELEMENTS);
        }
    }
}
