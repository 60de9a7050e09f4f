//! Writes XML that is its own canonical form \[W3C xml-c14n11\]: declarations by
//! prefix, attributes by namespace and name, no empty tags. So what is hashed
//! is what was written, and nothing has to be canonicalised.

/// A start tag in the making.
#[derive(Debug, Clone)]
pub(super) struct Tag<'a> {
    name: &'a str,
    /// Prefix, URI.
    namespaces: Vec<(&'a str, &'a str)>,
    /// URI, name as written, value.
    attributes: Vec<(&'a str, String, String)>,
}

impl<'a> Tag<'a> {
    pub(super) const fn new(name: &'a str) -> Self {
        Self {
            name,
            namespaces: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Declares a namespace; the default one has no prefix.
    pub(super) fn declaring(mut self, prefix: &'a str, uri: &'a str) -> Self {
        self.namespaces.push((prefix, uri));
        self
    }

    /// An attribute without namespace.
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        self.with_in("", "", name, value)
    }

    /// An attribute in a namespace.
    pub(super) fn with_in(mut self, prefix: &str, uri: &'a str, local: &str, value: &str) -> Self {
        let name = match prefix {
            "" => local.to_owned(),
            _ => format!("{prefix}:{local}"),
        };
        self.attributes.push((uri, name, value.to_owned()));
        self
    }

    /// The start tag alone.
    pub(super) fn open(&self) -> String {
        let (mut namespaces, mut attributes) = (self.namespaces.clone(), self.attributes.clone());
        namespaces.sort_unstable();
        // Within a namespace there is one prefix: names as written sort as local ones.
        attributes.sort_unstable();
        let mut out = format!("<{}", self.name);
        for (prefix, uri) in namespaces {
            let colon = if prefix.is_empty() { "" } else { ":" };
            out.push_str(&format!(" xmlns{colon}{prefix}=\"{}\"", escaped(uri)));
        }
        for (_, name, value) in attributes {
            out.push_str(&format!(" {name}=\"{}\"", escaped(&value)));
        }
        out.push('>');
        out
    }

    /// The element with this inside, which must be canonical already.
    pub(super) fn around(&self, inside: &str) -> String {
        format!("{}{inside}</{}>", self.open(), self.name)
    }
}

/// A value of an attribute. No tab and no line feed comes here.
fn escaped(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_and_attributes_are_in_canonical_order() {
        let tag = Tag::new("a:x")
            .with("z", "1")
            .with_in("q", "urn:a", "b", "2")
            .with("Z", "a<\"&>")
            .with_in("q", "urn:a", "B", "3")
            .declaring("q", "urn:a")
            .declaring("a", "urn:z")
            .declaring("", "urn:d");
        assert_eq!(
            tag.around("t"),
            "<a:x xmlns=\"urn:d\" xmlns:a=\"urn:z\" xmlns:q=\"urn:a\" Z=\"a&lt;&quot;&amp;>\" z=\"1\" \
             q:B=\"3\" q:b=\"2\">t</a:x>"
        );
    }
}
