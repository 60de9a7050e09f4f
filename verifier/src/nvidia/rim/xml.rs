//! XML as libxml2 writes it, which is how every manifest of NVIDIA's is written:
//! elements, namespaces, attributes in double quotes, text. A strict reader of
//! that form, borrowed from the input, in linear time and without recursion.
//! Knows no schema and no signature.
//!
//! Refused although XML 1.0 allows it: an XML declaration, DTDs, processing
//! instructions, comments, CDATA, character references, entities other than the
//! five predefined, CR, tabs and line feeds in attributes, `xml:*` attributes,
//! undone namespaces, names outside ASCII, and white space where libxml2 writes
//! none. What is left has one canonical form in C14N 1.0 and 1.1 alike.

mod element;
mod tag;

pub(crate) use element::Element;
pub(super) use tag::PREDEFINED;

use tag::Tag;

/// Most bytes of a manifest. NVIDIA's have 18 to 26 KB.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// Most elements. NVIDIA's have about 90.
const MAX_ELEMENTS: usize = 512;
/// Nodes of most of NVIDIA's.
const USUAL_NODES: usize = 384;
/// Most elements inside each other. NVIDIA's have 6.
const MAX_DEPTH: usize = 16;

/// Why bytes are not XML of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlFault {
    /// More than [`MAX_BYTES`].
    #[error("expected at most {MAX_BYTES} bytes of XML")]
    TooLarge,
    /// More elements, attributes, namespaces or depth than any manifest needs.
    #[error("expected at most {limit} {what}")]
    TooMany {
        /// How many there may be.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// Something that XML has and manifests have not.
    #[error("{0} was found, which manifests have not")]
    Forbidden(&'static str),
    /// Not well-formed, or not written as libxml2 writes.
    #[error("expected {0}")]
    Malformed(&'static str),
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    /// Name as written.
    pub(crate) qualified: &'a str,
    /// Its namespace; empty for a name without prefix.
    pub(crate) namespace: &'a str,
    /// Name without prefix.
    pub(crate) local: &'a str,
    /// Value as written: the predefined entities are not replaced in it.
    pub(crate) value: &'a str,
}

/// One namespace declaration: prefix (empty for the default), URI.
pub(crate) type Declaration<'a> = (&'a str, &'a str);

/// The start of an element.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) qualified: &'a str,
    namespace: &'a str,
    local: &'a str,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) declarations: Vec<Declaration<'a>>,
    /// Node of the element around it.
    parent: Option<usize>,
    /// Node of its end.
    end: usize,
}

/// A part of a document, in document order.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// An element begins.
    Start(Start<'a>),
    /// The innermost open element of this qualified name ends.
    End(&'a str),
    /// Text as written.
    Text(&'a str),
}

/// A document whose form is right.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Document<'a> {
    /// Reads exactly one document; line feeds may follow it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, XmlFault> {
        if bytes.len() > MAX_BYTES {
            return Err(XmlFault::TooLarge);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| XmlFault::Malformed("UTF-8"))?;
        require_characters(text)?;
        let mut document = Self {
            nodes: Vec::with_capacity(USUAL_NODES),
        };
        let mut open = Vec::new();
        let mut elements = 0_usize;
        let mut rest = text;
        loop {
            rest = if rest.starts_with("</") {
                document.end(rest, &mut open)?
            } else if rest.starts_with('<') {
                elements += 1;
                if elements > MAX_ELEMENTS {
                    let (limit, what) = (MAX_ELEMENTS, "elements");
                    return Err(XmlFault::TooMany { limit, what });
                }
                document.start(rest, &mut open)?
            } else {
                document.text(rest, &open)?
            };
            if open.is_empty() {
                break;
            }
        }
        if rest.bytes().all(|byte| byte == b'\n') {
            Ok(document)
        } else {
            Err(XmlFault::Malformed(
                "nothing but line feeds after the root element",
            ))
        }
    }

    fn start(&mut self, rest: &'a str, open: &mut Vec<usize>) -> Result<&'a str, XmlFault> {
        let (tag, after) = Tag::read(rest)?;
        let parent = open.last().copied();
        let index = self.nodes.len();
        let in_scope = |prefix: &str| {
            let own = tag.declarations.iter().find(|(declared, _)| *declared == prefix);
            match own {
                Some((_, uri)) => Some(*uri),
                None => parent.and_then(|parent| self.namespace_at(parent, prefix)),
            }
        };
        let namespace = match in_scope(tag.name.prefix) {
            Some(uri) => uri,
            None if tag.name.prefix.is_empty() => "",
            None => return Err(XmlFault::Malformed("a prefix that is declared")),
        };
        let mut attributes: Vec<Attribute<'a>> = Vec::with_capacity(tag.attributes.len());
        for (name, value) in tag.attributes {
            let namespace = match name.prefix {
                // The default namespace is not for attributes (XML Names §6.2).
                "" => "",
                prefix => in_scope(prefix).ok_or(XmlFault::Malformed("a prefix that is declared"))?,
            };
            let twice = |other: &Attribute<'_>| other.local == name.local && other.namespace == namespace;
            if attributes.iter().any(twice) {
                return Err(XmlFault::Malformed("no attribute twice"));
            }
            attributes.push(Attribute {
                qualified: name.qualified,
                namespace,
                local: name.local,
                value,
            });
        }
        self.nodes.push(Node::Start(Start {
            qualified: tag.name.qualified,
            namespace,
            local: tag.name.local,
            attributes,
            declarations: tag.declarations,
            parent,
            end: index + 1,
        }));
        if tag.empty {
            self.nodes.push(Node::End(tag.name.qualified));
        } else {
            if open.len() == MAX_DEPTH {
                let (limit, what) = (MAX_DEPTH, "elements inside each other");
                return Err(XmlFault::TooMany { limit, what });
            }
            open.push(index);
        }
        Ok(after)
    }

    fn end(&mut self, rest: &'a str, open: &mut Vec<usize>) -> Result<&'a str, XmlFault> {
        let expected = XmlFault::Malformed("the end of the element that is open");
        let index = self.nodes.len();
        let Some(Node::Start(start)) = open.pop().and_then(|index| self.nodes.get_mut(index)) else {
            return Err(expected);
        };
        let after = rest
            .strip_prefix("</")
            .and_then(|rest| rest.strip_prefix(start.qualified))
            .and_then(|rest| rest.strip_prefix('>'))
            .ok_or(expected)?;
        start.end = index;
        let qualified = start.qualified;
        self.nodes.push(Node::End(qualified));
        Ok(after)
    }

    fn text(&mut self, rest: &'a str, open: &[usize]) -> Result<&'a str, XmlFault> {
        if open.is_empty() {
            return Err(XmlFault::Malformed("a root element from the first byte on"));
        }
        let length = rest
            .find('<')
            .ok_or(XmlFault::Malformed("the end of the root element"))?;
        let (text, after) = rest.split_at_checked(length).ok_or(XmlFault::Malformed("text"))?;
        if text.contains("]]>") {
            return Err(XmlFault::Forbidden("`]]>` in text"));
        }
        tag::require_predefined(text)?;
        self.nodes.push(Node::Text(text));
        Ok(after)
    }

    /// What a prefix stands for inside the element at a node.
    fn namespace_at(&self, index: usize, prefix: &str) -> Option<&'a str> {
        let mut at = Some(index);
        // INVARIANT: a parent comes before its children, and there are at most MAX_DEPTH.
        while let Some(Node::Start(start)) = at.and_then(|index| self.nodes.get(index)) {
            if let Some((_, uri)) = start
                .declarations
                .iter()
                .find(|(declared, _)| *declared == prefix)
            {
                return Some(uri);
            }
            at = start.parent;
        }
        None
    }

    /// The root element.
    pub(crate) fn root(&self) -> Element<'_, 'a> {
        Element {
            document: self,
            index: 0,
        }
    }

    /// Every element, in document order.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Element<'_, 'a>> {
        let starts = self.nodes.iter().enumerate();
        starts.filter_map(|(index, node)| {
            matches!(node, Node::Start(_)).then_some(Element {
                document: self,
                index,
            })
        })
    }
}

/// Requires characters of XML 1.0 §2.2, without CR.
fn require_characters(text: &str) -> Result<(), XmlFault> {
    // Nothing but letters, digits, signs and white space, as in NVIDIA's: at once.
    if text.is_ascii()
        && !text
            .bytes()
            .any(|byte| byte < b' ' && !matches!(byte, b'\t' | b'\n'))
    {
        return Ok(());
    }
    for character in text.chars() {
        match character {
            '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'.. => {}
            '\r' => return Err(XmlFault::Forbidden("a carriage return")),
            _ => return Err(XmlFault::Forbidden("a character that XML does not allow")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
