//! Frames out of bytes as they come, in whatever pieces. A header is judged
//! before anything of its body is kept, and no memory is taken for what was
//! only announced.

use bastide_attestation::link::{FRAME_HEADER_BYTES, FrameError, FrameHeader, FrameType};

/// A whole frame, exactly as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    kind: FrameType,
    bytes: Vec<u8>,
}

impl Frame {
    /// Header and body.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn kind(&self) -> FrameType {
        self.kind
    }

    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(FRAME_HEADER_BYTES..).unwrap_or_default()
    }

    /// The body of a message, without another copy of it.
    pub(super) fn into_body(mut self) -> Vec<u8> {
        self.bytes.drain(..FRAME_HEADER_BYTES.min(self.bytes.len()));
        self.bytes
    }
}

/// What the next bytes gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pulled {
    /// All bytes were taken, and the frame is not complete.
    More,
    /// A header is complete. The caller ends the link if it expects no such frame.
    Header(FrameType),
    /// A frame is complete.
    Frame(Frame),
}

/// A frame in the making.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    bytes: Vec<u8>,
    header: Option<FrameHeader>,
}

impl FrameReader {
    /// Takes bytes from the front of `input`, at most up to the end of the
    /// header or the frame.
    pub(super) fn pull(&mut self, input: &mut &[u8]) -> Result<Pulled, FrameError> {
        let Some(header) = self.header else {
            self.take(FRAME_HEADER_BYTES, input);
            let Some(bytes) = self.bytes.first_chunk() else {
                return Ok(Pulled::More);
            };
            let header = FrameHeader::decode(bytes)?;
            self.header = Some(header);
            return Ok(Pulled::Header(header.kind()));
        };
        let whole = FRAME_HEADER_BYTES.saturating_add(header.length());
        self.take(whole, input);
        if self.bytes.len() < whole {
            return Ok(Pulled::More);
        }
        self.header = None;
        Ok(Pulled::Frame(Frame {
            kind: header.kind(),
            bytes: std::mem::take(&mut self.bytes),
        }))
    }

    /// Fills up to `length` bytes.
    fn take(&mut self, length: usize, input: &mut &[u8]) {
        let missing = length.saturating_sub(self.bytes.len()).min(input.len());
        if let Some((taken, rest)) = input.split_at_checked(missing) {
            self.bytes.extend_from_slice(taken);
            *input = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastide_attestation::link::encode_frame;
    use proptest::prelude::*;

    fn frames(bytes: &[u8], pieces: usize) -> Result<Vec<Frame>, FrameError> {
        let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
        for mut piece in bytes.chunks(pieces) {
            loop {
                match reader.pull(&mut piece)? {
                    Pulled::More => break,
                    Pulled::Header(_) => {}
                    Pulled::Frame(frame) => frames.push(frame),
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn a_header_is_judged_before_its_body_is_kept() {
        let mut reader = FrameReader::default();
        let mut input = [6, 0xff, 0xff, 0xff, 0xff, 1, 2].as_slice();
        assert!(matches!(reader.pull(&mut input), Err(FrameError::Length { .. })));
        // A legal length takes memory only as bytes come.
        let mut reader = FrameReader::default();
        let mut input = [6, 0, 0x10, 0, 0, 1].as_slice();
        assert_eq!(reader.pull(&mut input), Ok(Pulled::Header(FrameType::Data)));
        assert_eq!(reader.pull(&mut input), Ok(Pulled::More));
        assert!(reader.bytes.capacity() < 1024);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_whatever_the_pieces(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..6), pieces in 1_usize..64
        ) {
            let bytes: Vec<u8> = bodies
                .iter()
                .flat_map(|body| encode_frame(FrameType::Data, body).unwrap())
                .collect();
            let read = frames(&bytes, pieces).unwrap();
            prop_assert_eq!(read.iter().map(|frame| frame.body().to_vec()).collect::<Vec<_>>(), bodies);
            prop_assert_eq!(read.iter().flat_map(|frame| frame.bytes().to_vec()).collect::<Vec<_>>(), bytes);
        }

        #[test]
        fn reading_never_panics(bytes: Vec<u8>, pieces in 1_usize..9) {
            let _ = frames(&bytes, pieces);
        }
    }
}
