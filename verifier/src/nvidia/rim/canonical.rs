//! Canonical XML 1.1 of what [`super::xml`] reads \[W3C xml-c14n11\]: the octets
//! that are hashed and signed. Without `xml:*` attributes it is Canonical XML 1.0.

use super::xml::{Attribute, Declaration, Element, Node, PREDEFINED};

/// What most of NVIDIA's manifests come to.
const USUAL_BYTES: usize = 32 * 1024;

/// The canonical form of an element and all inside it, with every namespace in
/// scope at it, less one element if `without` names it (the enveloped-signature
/// transform).
///
/// Of the root without its signature this is the form of the document: nothing
/// outside the root is read that would be in it.
pub(super) fn canonical(apex: Element<'_, '_>, without: Option<Element<'_, '_>>) -> Vec<u8> {
    let mut out = String::with_capacity(USUAL_BYTES);
    for (index, node) in apex.nodes() {
        if without.is_some_and(|without| without.covers(index)) {
            continue;
        }
        match node {
            Node::Start(start) => {
                out.push('<');
                out.push_str(start.qualified);
                if let Some(element) = apex.at(index) {
                    namespaces(&mut out, element, element.is_same(&apex));
                }
                attributes(&mut out, &start.attributes);
                out.push('>');
            }
            Node::End(qualified) => {
                out.push_str("</");
                out.push_str(qualified);
                out.push('>');
            }
            Node::Text(text) => escape(&mut out, text, Place::Text),
        }
    }
    out.into_bytes()
}

/// The namespaces of an element that are not those of the element around it in
/// the output; by prefix, the default one first \[§2.3\].
fn namespaces(out: &mut String, element: Element<'_, '_>, is_apex: bool) {
    if !is_apex && element.declarations().is_empty() {
        return;
    }
    let mut shown: Vec<Declaration<'_>> = Vec::new();
    if is_apex {
        // Nothing is around it in the output: all that are in scope.
        for (prefix, uri) in element
            .and_ancestors()
            .flat_map(|ancestor| ancestor.declarations())
        {
            if !shown.iter().any(|(nearer, _)| nearer == prefix) {
                shown.push((prefix, uri));
            }
        }
    } else {
        let declared = element.declarations().iter();
        shown.extend(declared.filter(|(prefix, uri)| element.inherited(prefix) != Some(uri)));
    }
    shown.sort_unstable();
    for (prefix, uri) in shown {
        out.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
        out.push_str(prefix);
        out.push_str("=\"");
        escape(out, uri, Place::Attribute);
        out.push('"');
    }
}

/// By namespace, then by local name; those without namespace first.
fn attributes(out: &mut String, attributes: &[Attribute<'_>]) {
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_unstable_by_key(|attribute| (attribute.namespace, attribute.local));
    for attribute in sorted {
        out.push(' ');
        out.push_str(attribute.qualified);
        out.push_str("=\"");
        escape(out, attribute.value, Place::Attribute);
        out.push('"');
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Attribute,
}

/// Replaces entities by their characters, and writes those as C14N does.
fn escape(out: &mut String, written: &str, place: Place) {
    // Digests, names and white space: nearly all there is.
    if !written
        .bytes()
        .any(|byte| matches!(byte, b'&' | b'<' | b'>' | b'"'))
    {
        out.push_str(written);
        return;
    }
    let mut parts = written.split('&');
    literal(out, parts.next().unwrap_or_default(), place);
    for part in parts {
        // INVARIANT: the reader let only these five through.
        for (entity, character) in PREDEFINED {
            if let Some(rest) = part.strip_prefix(entity) {
                push(out, character, place);
                literal(out, rest, place);
            }
        }
    }
}

/// Text without entities: whole stretches between the characters that C14N
/// writes otherwise, all of which are one byte.
fn literal(out: &mut String, text: &str, place: Place) {
    let mut rest = text;
    while let Some((plain, character, after)) = next_escaped(rest, place) {
        out.push_str(plain);
        push(out, character, place);
        rest = after;
    }
    out.push_str(rest);
}

/// What is before the next character that is written otherwise, it, and what follows.
fn next_escaped(text: &str, place: Place) -> Option<(&str, char, &str)> {
    let at = text.bytes().position(|byte| match byte {
        b'&' | b'<' => true,
        b'>' => place == Place::Text,
        b'"' => place == Place::Attribute,
        _ => false,
    })?;
    let (plain, rest) = text.split_at_checked(at)?;
    let mut characters = rest.chars();
    let character = characters.next()?;
    Some((plain, character, characters.as_str()))
}

fn push(out: &mut String, character: char, place: Place) {
    match (character, place) {
        ('&', _) => out.push_str("&amp;"),
        ('<', _) => out.push_str("&lt;"),
        ('>', Place::Text) => out.push_str("&gt;"),
        ('"', Place::Attribute) => out.push_str("&quot;"),
        _ => out.push(character),
    }
}

#[cfg(test)]
mod tests;
