//! What an edit changed, line by line, for people to read before they rely on it.

/// Lines around a change that are shown.
const CONTEXT: usize = 2;
/// Larger changes are shown as a whole: all out, all in.
const MAX_CELLS: usize = 4_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit<'t> {
    Same(&'t str),
    Out(&'t str),
    In(&'t str),
}

/// The changed lines with `-` and `+` and what is around them; empty if nothing
/// changed. Lines are not escaped.
pub(crate) fn diff(old: &str, new: &str) -> Vec<String> {
    let edits = edits(old, new);
    let changed: Vec<usize> = (0..edits.len())
        .filter(|at| !matches!(edits[*at], Edit::Same(_)))
        .collect();
    let mut shown = Vec::new();
    let mut last: Option<usize> = None;
    for (at, edit) in edits.iter().enumerate() {
        let near = changed.iter().any(|change| at.abs_diff(*change) <= CONTEXT);
        if !near {
            continue;
        }
        if last.is_some_and(|last| last + 1 != at) {
            shown.push("  …".to_owned());
        }
        last = Some(at);
        shown.push(match edit {
            Edit::Same(line) => format!("  {line}"),
            Edit::Out(line) => format!("- {line}"),
            Edit::In(line) => format!("+ {line}"),
        });
    }
    shown
}

fn edits<'t>(old: &'t str, new: &'t str) -> Vec<Edit<'t>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut edits: Vec<_> = old[..head].iter().map(|line| Edit::Same(line)).collect();
    if (a.len() + 1).saturating_mul(b.len() + 1) > MAX_CELLS {
        edits.extend(a.iter().map(|line| Edit::Out(line)));
        edits.extend(b.iter().map(|line| Edit::In(line)));
    } else {
        edits.extend(longest_common(a, b));
    }
    edits.extend(old[old.len() - tail..].iter().map(|line| Edit::Same(line)));
    edits
}

/// By the table of longest common subsequences.
fn longest_common<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<Edit<'t>> {
    let width = b.len() + 1;
    let mut table = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            table[i * width + j] = if a[i] == b[j] {
                table[(i + 1) * width + j + 1] + 1
            } else {
                table[(i + 1) * width + j].max(table[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut edits = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            edits.push(Edit::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || table[(i + 1) * width + j] >= table[i * width + j + 1]) {
            edits.push(Edit::Out(a[i]));
            i += 1;
        } else {
            edits.push(Edit::In(b[j]));
            j += 1;
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn changes_stand_among_their_neighbours() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\n";
        let new = "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\n";
        assert_eq!(
            diff(old, new),
            ["  a", "- b", "+ B", "  c", "  d", "  …", "  h", "  i", "+ j"]
        );
        assert!(diff(old, old).is_empty());
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_off_the_edits(old in "[ab\n]{0,40}", new in "[ab\n]{0,40}") {
            let edits = edits(&old, &new);
            let left: Vec<_> = edits.iter().filter_map(|edit| match edit {
                Edit::Same(line) | Edit::Out(line) => Some(*line),
                Edit::In(_) => None,
            }).collect();
            let right: Vec<_> = edits.iter().filter_map(|edit| match edit {
                Edit::Same(line) | Edit::In(line) => Some(*line),
                Edit::Out(_) => None,
            }).collect();
            prop_assert_eq!(left, old.lines().collect::<Vec<_>>());
            prop_assert_eq!(right, new.lines().collect::<Vec<_>>());
        }
    }
}
