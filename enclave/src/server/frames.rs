//! Where frames begin and end in what an HTTP/2 client sends (RFC 9113, 4.1), and
//! whether the rest of a request's head, or of a frame that may become one, is
//! still to come. It judges nothing: that is the HTTP codec's.

/// `PRI * HTTP/2.0` and so on: bytes before the first frame.
const PREFACE: usize = 24;
/// Length, type, flags, stream.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A position in a client's frames.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface that have come.
    preface: usize,
    /// The head of the frame that begins, and how much of it there is.
    head: [u8; HEAD],
    came: usize,
    /// Bytes of the current frame that are still to come.
    left: usize,
    is_data: bool,
    /// A header block is not at its end.
    in_block: bool,
    ended: u64,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            preface: 0,
            head: [0; HEAD],
            came: 0,
            left: 0,
            is_data: false,
            in_block: false,
            ended: 0,
        }
    }
}

impl Frames {
    /// What has come next.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let preface = bytes.len().min(PREFACE - self.preface);
        self.preface += preface;
        let mut rest = bytes.get(preface..).unwrap_or_default();
        while let Some((first, after)) = rest.split_first() {
            if self.left > 0 {
                let part = self.left.min(rest.len());
                self.left -= part;
                rest = rest.get(part..).unwrap_or_default();
            } else {
                if let Some(place) = self.head.get_mut(self.came) {
                    *place = *first;
                }
                self.came += 1;
                rest = after;
                if self.came < HEAD {
                    continue;
                }
                self.begin();
            }
            if self.left == 0 && !self.in_block {
                self.ended = self.ended.wrapping_add(1);
            }
        }
    }

    /// A frame's head is whole.
    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.came = 0;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.is_data = kind == DATA;
        // The block's end is known here; the frame that holds it has its own.
        if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
    }

    /// Whether something has begun that has to end soon: the preface, a frame other
    /// than DATA, a header block. What comes in DATA is body, which has a limit of
    /// its own.
    pub(super) const fn waits(&self) -> bool {
        (self.preface > 0 && self.preface < PREFACE)
            || self.came > 0
            || self.in_block
            || (self.left > 0 && !self.is_data)
    }

    /// Counts what has ended: when it changes, what is waited for is another.
    pub(super) const fn ended(&self) -> u64 {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: u8 = 4;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![0xff; payload]].concat()
    }

    /// After each byte: does it wait?
    fn waits(bytes: &[u8]) -> Vec<bool> {
        let mut frames = Frames::default();
        frames.read(&[b'x'; PREFACE]);
        let after = |byte: &u8| {
            frames.read(&[*byte]);
            frames.waits()
        };
        bytes.iter().map(after).collect()
    }

    #[test]
    fn it_waits_from_a_frames_first_byte_to_its_last_and_for_no_data() {
        for kind in [SETTINGS, HEADERS, 0x77] {
            let flags = if kind == HEADERS { END_HEADERS } else { 0 };
            let waits = waits(&frame(kind, flags, 5));
            assert_eq!(waits, [vec![true; 13], vec![false]].concat(), "{kind}");
        }
        let data = waits(&frame(DATA, 0, 5));
        assert_eq!(data, [vec![true; 8], vec![false; 6]].concat());
        assert_eq!(
            waits(&frame(SETTINGS, 0, 0)),
            [vec![true; 8], vec![false]].concat()
        );
    }

    #[test]
    fn a_header_block_is_waited_for_over_all_its_frames() {
        let block = [
            frame(HEADERS, 0, 3),
            frame(CONTINUATION, 0, 0),
            frame(CONTINUATION, END_HEADERS, 2),
        ]
        .concat();
        let waits = waits(&block);
        let (last, before) = waits.split_last().unwrap();
        assert!(!last && before.iter().all(|waits| *waits));
        let mut frames = Frames::default();
        frames.read(&[b'x'; PREFACE]);
        frames.read(&block[..block.len() - 1]);
        assert_eq!(frames.ended(), 0);
        frames.read(&block[block.len() - 1..]);
        assert_eq!(frames.ended(), 1);
    }

    #[test]
    fn a_preface_that_has_begun_is_waited_for() {
        let mut frames = Frames::default();
        assert!(!frames.waits());
        for _ in 1..PREFACE {
            frames.read(b"x");
            assert!(frames.waits());
        }
        frames.read(b"x");
        assert!(!frames.waits());
    }

    proptest! {
        #[test]
        fn however_bytes_are_cut_the_position_is_the_same(bytes: Vec<u8>, cut in 0_usize..300) {
            let mut whole = Frames::default();
            whole.read(&bytes);
            let mut parts = Frames::default();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            parts.read(first);
            parts.read(second);
            prop_assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
        }
    }
}
