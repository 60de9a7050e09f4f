//! One start tag, and the names and values in it. Knows no namespaces in scope.

use super::{Declaration, XmlFault};

/// Most attributes of one element, and most namespaces that it declares.
/// NVIDIA's have at most 14 and 3.
const MAX_ATTRIBUTES: usize = 32;
/// See [`MAX_ATTRIBUTES`].
const MAX_DECLARATIONS: usize = 8;
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

/// A qualified name: as written, and its two parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) qualified: &'a str,
    /// Empty if there is none.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

impl<'a> Name<'a> {
    fn read(rest: &'a str) -> Result<(Self, &'a str), XmlFault> {
        let expected = XmlFault::Malformed("a name of ASCII letters, digits, `.`, `-` and `_`");
        let length = rest
            .bytes()
            .take_while(
                |byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b':'),
            )
            .count();
        let (qualified, after) = rest.split_at_checked(length).ok_or(expected)?;
        let (prefix, local) = match qualified.split_once(':') {
            Some((prefix, local)) if is_simple(prefix) => (prefix, local),
            Some(_) => return Err(expected),
            None => ("", qualified),
        };
        if !is_simple(local) {
            return Err(expected);
        }
        let name = Self {
            qualified,
            prefix,
            local,
        };
        Ok((name, after))
    }
}

/// A name without colon that does not begin with a digit, `.` or `-`.
fn is_simple(name: &str) -> bool {
    !name.contains(':') && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// A start tag.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    pub(super) name: Name<'a>,
    pub(super) attributes: Vec<(Name<'a>, &'a str)>,
    pub(super) declarations: Vec<Declaration<'a>>,
    /// Whether it is the end as well.
    pub(super) empty: bool,
}

impl<'a> Tag<'a> {
    /// Reads the tag at the start of `rest`, and gives what follows.
    pub(super) fn read(rest: &'a str) -> Result<(Self, &'a str), XmlFault> {
        let rest = rest.strip_prefix('<').ok_or(XmlFault::Malformed("a tag"))?;
        refuse_markup(rest)?;
        let (name, mut rest) = Name::read(rest)?;
        if matches!(name.prefix, "xml" | "xmlns") {
            return Err(XmlFault::Forbidden("an element of the `xml` or `xmlns` prefix"));
        }
        // A Resource has 7 to 10.
        let (mut attributes, mut declarations) = (Vec::with_capacity(10), Vec::new());
        loop {
            if let Some(after) = rest.strip_prefix('>') {
                let tag = Self {
                    name,
                    attributes,
                    declarations,
                    empty: false,
                };
                return Ok((tag, after));
            }
            if let Some(after) = rest.strip_prefix("/>") {
                let tag = Self {
                    name,
                    attributes,
                    declarations,
                    empty: true,
                };
                return Ok((tag, after));
            }
            let (name, value, after) = attribute(rest)?;
            rest = after;
            match (name.prefix, name.local) {
                ("xml", _) => return Err(XmlFault::Forbidden("an attribute of the `xml` prefix")),
                ("", "xmlns") => declare(&mut declarations, "", value)?,
                ("xmlns", prefix) => declare(&mut declarations, prefix, value)?,
                _ if attributes.len() == MAX_ATTRIBUTES => {
                    let (limit, what) = (MAX_ATTRIBUTES, "attributes of an element");
                    return Err(XmlFault::TooMany { limit, what });
                }
                _ => attributes.push((name, value)),
            }
        }
    }
}

/// One space and `name="value"`, as libxml2 writes attributes.
fn attribute(rest: &str) -> Result<(Name<'_>, &str, &str), XmlFault> {
    let rest = rest.strip_prefix(' ').ok_or(XmlFault::Malformed(
        "one space before an attribute, or the end of a tag",
    ))?;
    let (name, rest) = Name::read(rest)?;
    let rest = rest
        .strip_prefix("=\"")
        .ok_or(XmlFault::Malformed("an attribute's value in double quotes"))?;
    let (value, after) = rest
        .split_once('"')
        .ok_or(XmlFault::Malformed("the end of an attribute's value"))?;
    match value.bytes().find(|byte| matches!(byte, b'<' | b'\t' | b'\n')) {
        None => {}
        Some(b'<') => return Err(XmlFault::Malformed("no `<` in an attribute")),
        Some(_) => return Err(XmlFault::Forbidden("a tab or line feed in an attribute")),
    }
    require_predefined(value)?;
    Ok((name, value, after))
}

fn declare<'a>(
    declarations: &mut Vec<Declaration<'a>>,
    prefix: &'a str,
    uri: &'a str,
) -> Result<(), XmlFault> {
    if declarations.len() == MAX_DECLARATIONS {
        let (limit, what) = (MAX_DECLARATIONS, "namespaces of an element");
        return Err(XmlFault::TooMany { limit, what });
    }
    if declarations.iter().any(|(declared, _)| *declared == prefix) {
        return Err(XmlFault::Malformed("no attribute twice"));
    }
    if matches!(prefix, "xml" | "xmlns") || matches!(uri, XML_NAMESPACE | XMLNS_NAMESPACE) {
        return Err(XmlFault::Forbidden(
            "a declaration of a namespace that XML reserves",
        ));
    }
    // An empty one would undo the namespace around; with `&`, two ways of
    // writing would be one namespace.
    if uri.is_empty() || uri.contains('&') {
        return Err(XmlFault::Forbidden("an empty namespace or one with an entity"));
    }
    declarations.push((prefix, uri));
    Ok(())
}

/// Names what begins with `<` and is no element.
fn refuse_markup(rest: &str) -> Result<(), XmlFault> {
    for (start, what) in [
        ("?", "a processing instruction or XML declaration"),
        ("!--", "a comment"),
        ("![CDATA[", "a CDATA section"),
        ("!", "a document type declaration"),
    ] {
        if rest.starts_with(start) {
            return Err(XmlFault::Forbidden(what));
        }
    }
    Ok(())
}

/// Requires that every `&` begins one of the five predefined entities.
pub(super) fn require_predefined(text: &str) -> Result<(), XmlFault> {
    if !text.as_bytes().contains(&b'&') {
        return Ok(());
    }
    for after in text.split('&').skip(1) {
        if !PREDEFINED.iter().any(|(entity, _)| after.starts_with(entity)) {
            return Err(XmlFault::Forbidden(
                "a reference to a character or to an entity that is not predefined",
            ));
        }
    }
    Ok(())
}

/// The predefined entities after their `&` \[XML 1.0 §4.6\].
pub(in super::super) const PREDEFINED: [(&str, char); 5] = [
    ("amp;", '&'),
    ("lt;", '<'),
    ("gt;", '>'),
    ("quot;", '"'),
    ("apos;", '\''),
];
