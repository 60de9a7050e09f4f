//! A tree as text, with lines that a screen reader and a log can do without.

/// One line and what belongs under it. Lines are already safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    line: String,
    under: Vec<Self>,
}

impl Tree {
    /// A line with nothing under it.
    pub(crate) fn leaf(line: impl Into<String>) -> Self {
        Self::new(line, Vec::new())
    }

    /// A line and what is under it.
    pub(crate) fn new(line: impl Into<String>, under: Vec<Self>) -> Self {
        Self {
            line: line.into(),
            under,
        }
    }

    /// The text, each line ended by a newline.
    pub(crate) fn render(&self) -> String {
        let mut out = format!("{}\n", self.line);
        self.render_under("", &mut out);
        out
    }

    fn render_under(&self, indent: &str, out: &mut String) {
        let last = self.under.len().saturating_sub(1);
        for (at, child) in self.under.iter().enumerate() {
            let (branch, below) = if at == last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            out.push_str(&format!("{indent}{branch}{}\n", child.line));
            child.render_under(&format!("{indent}{below}"), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn branches_and_indents() {
        let tree = Tree::new(
            "top",
            vec![
                Tree::new("one", vec![Tree::leaf("a"), Tree::leaf("b")]),
                Tree::new("two", vec![Tree::leaf("c")]),
            ],
        );
        assert_eq!(tree.render(), "top\n├─ one\n│  ├─ a\n│  └─ b\n└─ two\n   └─ c\n");
    }
}
