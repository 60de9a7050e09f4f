//! Which known name somebody meant who mistyped one.

/// Longer words than this are nobody's typing error.
const MAX_CHARS: usize = 64;

/// Levenshtein's distance, if both are short enough to ask.
fn distance(one: &str, other: &str) -> Option<usize> {
    let other: Vec<char> = other.chars().take(MAX_CHARS + 1).collect();
    if other.len() > MAX_CHARS || one.chars().nth(MAX_CHARS).is_some() {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            let best = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied()
}

/// Whether one text becomes the other by at most two edits.
pub(crate) fn is_near(one: &str, other: &str) -> bool {
    distance(one, other).is_some_and(|distance| distance <= 2)
}

/// The known names nearest to `word`, nearest first, at most three: by edits,
/// or because they contain it.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Vec<&'k str> {
    let mut ranked: Vec<(usize, &str)> = known
        .filter_map(|name| {
            let distance = distance(word, name)?;
            let contained = word.len() > 2 && name.contains(word);
            (contained || distance <= 2 + name.len() / 6).then_some((distance, name))
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert!(is_near("production", "prodction"));
        assert!(is_near("production", "productoin"));
        assert!(!is_near("production", "strict"));
        assert!(!is_near("production", &"production".repeat(9)));
        let known = ["snp.tcb.below_floor", "snp.policy.debug", "session.tcp"];
        assert_eq!(
            nearest("snp.tcb.belowfloor", known.into_iter()),
            ["snp.tcb.below_floor"]
        );
        assert_eq!(nearest("debug", known.into_iter()), ["snp.policy.debug"]);
        assert!(nearest("zzz", known.into_iter()).is_empty());
    }
}
