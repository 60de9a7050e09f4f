//! Tokens to streamed text.
//!
//! Owns the bytes of an incomplete character and the text that may still turn
//! out to be the beginning of a stop string: neither is handed out before it
//! is decided. Everything held is overwritten when it is dropped. Refuses to
//! emit any part of a stop string.

use zeroize::{Zeroize, Zeroizing};

/// Turns the bytes of tokens into text up to the first stop string.
pub(crate) struct TextStream {
    stops: Zeroizing<Vec<String>>,
    /// The beginning of a character; at most three bytes.
    bytes: Zeroizing<Vec<u8>>,
    /// Text that is a beginning of a stop string so far.
    held: Zeroizing<String>,
    /// More than a token and everything held before it can need.
    room: usize,
}

/// What a token added.
pub(crate) struct Added {
    pub(crate) text: Zeroizing<String>,
    /// Whether a stop string was completed; no text follows.
    pub(crate) stopped: bool,
}

impl TextStream {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        let room = 64 + stops.iter().map(String::len).max().unwrap_or(0);
        Self {
            stops: Zeroizing::new(stops),
            bytes: Zeroizing::default(),
            held: Zeroizing::default(),
            room,
        }
    }

    /// Adds the bytes of one token.
    pub(crate) fn push(&mut self, token: &[u8]) -> Added {
        let mut text = self.take_text(token);
        let stop = self
            .stops
            .iter()
            .filter_map(|stop| text.find(stop.as_str()))
            .min();
        if let Some(at) = stop {
            text[at..].zeroize();
            text.truncate(at);
            return Added { text, stopped: true };
        }
        let keep = self
            .stops
            .iter()
            .map(|stop| longest_overlap(&text, stop))
            .max()
            .unwrap_or(0);
        let at = text.len() - keep;
        self.held = copy(&text[at..], self.room);
        text[at..].zeroize();
        text.truncate(at);
        Added { text, stopped: false }
    }

    /// What was held back, once nothing can follow.
    pub(crate) fn finish(&mut self) -> Zeroizing<String> {
        let mut text = std::mem::take(&mut self.held);
        if !self.bytes.is_empty() {
            self.bytes.zeroize();
            text.push(char::REPLACEMENT_CHARACTER);
        }
        text
    }

    /// Everything held and the token's complete characters.
    fn take_text(&mut self, token: &[u8]) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.bytes.len() + token.len()));
        bytes.extend_from_slice(&self.bytes);
        bytes.extend_from_slice(token);
        self.bytes.zeroize();
        // A byte that is not UTF-8 takes three as U+FFFD.
        let mut text = copy(&self.held, self.held.len() + bytes.len() * 3);
        self.held.zeroize();
        let mut rest: &[u8] = &bytes;
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => {
                    let (valid, tail) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).expect("checked up to here"));
                    let Some(bad) = error.error_len() else {
                        self.bytes.extend_from_slice(tail);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &tail[bad..];
                }
            }
        }
    }
}

fn copy(text: &str, room: usize) -> Zeroizing<String> {
    let mut copy = Zeroizing::new(String::with_capacity(room.max(text.len())));
    copy.push_str(text);
    copy
}

/// Length of the longest end of `text` that is a beginning of `stop`, but not all of it.
fn longest_overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest)
        .rev()
        .find(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length]))
        .map_or(0, |length| {
            // A match of bytes begins at a character of the stop string, so also of the text.
            debug_assert!(text.is_char_boundary(text.len() - length), "both are UTF-8");
            length
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let mut stream = TextStream::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut steps = Vec::new();
        for token in tokens {
            let added = stream.push(token);
            steps.push(added.text.to_string());
            if added.stopped {
                return (steps, true);
            }
        }
        steps.push(stream.finish().to_string());
        (steps, false)
    }

    #[test]
    fn a_character_appears_when_it_is_complete() {
        let euro = "€".as_bytes();
        assert_eq!(
            run(&[], &[b"a", &euro[..1], &euro[1..2], &euro[2..], b"b"]).0,
            ["a", "", "", "€", "b", ""]
        );
        assert_eq!(run(&[], &[&euro[..2]]).0, ["", "\u{fffd}"]);
        assert_eq!(run(&[], &[b"\xffz"]).0, ["\u{fffd}z", ""]);
        assert_eq!(run(&[], &[&euro[..2], b"x"]).0, ["", "\u{fffd}x", ""]);
    }

    #[test]
    fn text_is_held_while_it_may_be_a_stop_string() {
        assert_eq!(
            run(&["END"], &[b"hi E", b"N", b"D more"]),
            (vec!["hi ".into(), "".into(), "".into()], true)
        );
        assert_eq!(run(&["END"], &[b"hi E", b"NO"]).0, ["hi ", "ENO", ""]);
        assert_eq!(
            run(&["aab"], &[b"a", b"a", b"a", b"b"]),
            (vec!["".into(), "".into(), "a".into(), "".into()], true)
        );
        assert_eq!(run(&["END"], &[b"E", b"N"]).0, ["", "", "EN"]);
        assert_eq!(
            run(&["\n\n", "stop"], &[b"a\nb", b"\n", b"\nc"]).0,
            ["a\nb", "", ""]
        );
        assert_eq!(
            run(&["b", "ab"], &[b"xab"]),
            (vec!["x".into()], true),
            "the earliest match counts"
        );
    }

    proptest! {
        #[test]
        fn streaming_equals_cutting_the_whole_text(
            text in "[abé]{0,24}", stop in "[abé]{1,4}", cuts in proptest::collection::vec(1usize..5, 0..24)
        ) {
            let mut rest = text.as_bytes();
            let mut tokens: Vec<&[u8]> = Vec::new();
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                tokens.push(head);
                rest = tail;
            }
            tokens.push(rest);
            let (steps, stopped) = run(&[&stop], &tokens);
            prop_assert_eq!(steps.concat(), text.split(&stop).next().unwrap());
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }
}
