//! One element of a document, and the ways around in it. Reads nothing itself.

use super::{Attribute, Declaration, Document, Node, Start};

/// One element of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'d, 'a> {
    pub(super) document: &'d Document<'a>,
    pub(super) index: usize,
}

impl<'d, 'a> Element<'d, 'a> {
    fn start(&self) -> Option<&'d Start<'a>> {
        // INVARIANT: `index` is that of a `Start`; `None` does not happen.
        match self.document.nodes.get(self.index) {
            Some(Node::Start(start)) => Some(start),
            _ => None,
        }
    }

    /// Whether it has this namespace and local name.
    pub(crate) fn is(&self, namespace: &str, local: &str) -> bool {
        self.start()
            .is_some_and(|start| start.local == local && start.namespace == namespace)
    }

    /// Its namespace, empty for none.
    pub(crate) fn namespace(&self) -> &'a str {
        self.start().map_or("", |start| start.namespace)
    }

    /// Its attributes, as written.
    pub(crate) fn attributes(&self) -> &'d [Attribute<'a>] {
        self.start().map_or(&[], |start| &start.attributes)
    }

    /// The namespaces that it declares, as written.
    pub(crate) fn declarations(&self) -> &'d [Declaration<'a>] {
        self.start().map_or(&[], |start| &start.declarations)
    }

    /// The value of an attribute, as written.
    pub(crate) fn attribute(&self, namespace: &str, local: &str) -> Option<&'a str> {
        let mut attributes = self.attributes().iter();
        attributes
            .find(|attribute| attribute.local == local && attribute.namespace == namespace)
            .map(|attribute| attribute.value)
    }

    /// What a prefix stands for just outside it.
    pub(in super::super) fn inherited(&self, prefix: &str) -> Option<&'a str> {
        let parent = self.start()?.parent?;
        self.document.namespace_at(parent, prefix)
    }

    /// It and the elements around it, from the inside out.
    pub(in super::super) fn and_ancestors(&self) -> impl Iterator<Item = Self> + use<'d, 'a> {
        core::iter::successors(Some(*self), |element| {
            let index = element.start()?.parent?;
            let document = element.document;
            Some(Self { document, index })
        })
    }

    /// The nodes from its start to its end, with their numbers.
    pub(in super::super) fn nodes(&self) -> impl Iterator<Item = (usize, &'d Node<'a>)> + use<'d, 'a> {
        let (index, end) = (self.index, self.end());
        let nodes = self.document.nodes.iter().enumerate();
        nodes.skip(index).take_while(move |(index, _)| *index <= end)
    }

    /// The element that starts at a node of the same document.
    pub(in super::super) fn at(&self, index: usize) -> Option<Self> {
        let element = Self { index, ..*self };
        element.start().map(|_| element)
    }

    /// Whether a node of the same document is its start, its end, or between them.
    pub(in super::super) fn covers(&self, index: usize) -> bool {
        self.index <= index && index <= self.end()
    }

    /// Whether both are the same element of the same document.
    pub(in super::super) fn is_same(&self, other: &Self) -> bool {
        self.index == other.index
    }

    fn end(&self) -> usize {
        self.start().map_or(self.index, |start| start.end)
    }

    /// Whether the other element of the same document is inside it, or it itself.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.covers(other.index)
    }

    /// The elements directly inside it.
    pub(crate) fn children(&self) -> impl Iterator<Item = Self> + use<'d, 'a> {
        let element = *self;
        self.nodes()
            .filter_map(move |(index, _)| element.at(index))
            .filter(move |inner| {
                inner
                    .start()
                    .is_some_and(|start| start.parent == Some(element.index))
            })
    }

    /// Its text if it has nothing else inside; as written.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let end = self.start()?.end;
        match (
            end.checked_sub(self.index)?,
            self.document.nodes.get(self.index + 1)?,
        ) {
            (1, _) => Some(""),
            (2, Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The texts directly inside it, as written.
    pub(crate) fn own_texts(&self) -> impl Iterator<Item = &'a str> + use<'d, 'a> {
        let mut depth = 0_usize;
        self.nodes().filter_map(move |(_, node)| {
            match node {
                Node::Start(_) => depth += 1,
                Node::End(_) => depth = depth.saturating_sub(1),
                Node::Text(text) if depth == 1 => return Some(*text),
                Node::Text(_) => {}
            }
            None
        })
    }

    /// It and the elements inside it, in document order.
    pub(crate) fn and_descendants(&self) -> impl Iterator<Item = Self> + use<'d, 'a> {
        let element = *self;
        self.nodes().filter_map(move |(index, _)| element.at(index))
    }
}
