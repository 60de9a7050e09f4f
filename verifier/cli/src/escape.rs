//! What makes text from elsewhere safe and short enough for a terminal: a
//! peer's bytes must not move the cursor, recolour a verdict, reverse its
//! direction or hide behind zero width.

/// Hex runs at least this long are digests, and are cut in human views.
const DIGEST_HEX: usize = 32;
const SHOWN_HEX: usize = 16;
const MAX_SHOWN_CHARS: usize = 400;

/// One line: every control, separator, direction and zero-width character is escaped.
pub(crate) fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// Several lines: like [`line()`], but newlines, tabs and the two joiners that
/// Persian and emoji need stay.
pub(crate) fn prose(text: &str) -> String {
    escape(text, is_prose)
}

fn is_prose(c: char) -> bool {
    matches!(c, '\n' | '\t' | '\u{200c}' | '\u{200d}')
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) && !keep(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line for a human view: escaped, digests cut to 16 hex digits, and cut
/// off where it is very long. JSON has it whole.
pub(crate) fn brief(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, run) = rest.split_at(start);
        let length = run.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(run.len());
        let (run, after) = run.split_at(length);
        out.push_str(&line(before));
        match run.split_at_checked(SHOWN_HEX) {
            Some((head, _)) if length >= DIGEST_HEX => {
                out.push_str(head);
                out.push('…');
            }
            _ => out.push_str(run),
        }
        rest = after;
    }
    out.push_str(&line(rest));
    match out.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &out[..at]),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_sequences_and_direction_marks_are_escaped() {
        assert_eq!(line("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(
            line("\u{202e}evil\u{9b}0m\u{200b}"),
            "\\u{202e}evil\\u{9b}0m\\u{200b}"
        );
        assert_eq!(prose("one\n\ttwo\u{7}"), "one\n\ttwo\\u{7}");
        assert_eq!(line("déjà vu ✔ 漢字"), "déjà vu ✔ 漢字");
    }

    #[test]
    fn digests_are_cut_to_sixteen_digits_and_short_numbers_are_not() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(
            brief(&format!("sha256:{digest}, bl 10")),
            "sha256:0123456789abcdef…, bl 10"
        );
        assert_eq!(
            brief("00112233445566778899aabbccddeef"),
            "00112233445566778899aabbccddeef"
        );
        assert_eq!(brief(&"é".repeat(1000)).chars().count(), MAX_SHOWN_CHARS + 1);
    }

    proptest! {
        #[test]
        fn nothing_dangerous_gets_through(text: String) {
            prop_assert!(!line(&text).chars().any(is_dangerous));
            prop_assert!(!brief(&text).chars().any(is_dangerous));
            prop_assert!(!prose(&text).chars().any(|c| is_dangerous(c) && !is_prose(c)));
        }
    }
}
