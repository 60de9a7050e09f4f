//! Frames of a link: `type u8 ‖ len u32be ‖ body`. Each type has its own bounds
//! on the body, so that a header alone decides how much may be waited for.

use crate::digest::Nonce;
use crate::evidence::MAX_ENVELOPE_BYTES;
use crate::link::hello::MAX_HELLO_BYTES;

/// Bytes before a frame's body.
pub const FRAME_HEADER_BYTES: usize = 5;
/// Most bytes of one DATA frame. Before OPEN no frame has more than 256 KiB.
pub const MAX_DATA_BYTES: usize = 1024 * 1024;

/// HMAC-SHA-256: see [`crate::binding::link_confirm`].
const CONFIRM_BYTES: usize = 32;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameType {
    /// Who the sender says it is, and its challenge: [`crate::link::Hello`].
    Hello,
    /// An evidence envelope, for the challenge that came last.
    Evidence,
    /// That the sender has accepted the other's evidence, over all frames so far.
    Confirm,
    /// That the sender has verified the other's CONFIRM. Empty.
    Open,
    /// A new challenge on an open link, to be answered by EVIDENCE.
    Renew,
    /// One message of the application; never empty.
    Data,
    /// The last frame of its sender: [`CloseCode`].
    Close,
}

impl FrameType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Hello,
        Self::Evidence,
        Self::Confirm,
        Self::Open,
        Self::Renew,
        Self::Data,
        Self::Close,
    ];

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Evidence => 2,
            Self::Confirm => 3,
            Self::Open => 4,
            Self::Renew => 5,
            Self::Data => 6,
            Self::Close => 7,
        }
    }

    /// The name in the specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Evidence => "EVIDENCE",
            Self::Confirm => "CONFIRM",
            Self::Open => "OPEN",
            Self::Renew => "RENEW",
            Self::Data => "DATA",
            Self::Close => "CLOSE",
        }
    }

    /// Fewest and most bytes of a body.
    #[must_use]
    pub const fn bounds(self) -> (usize, usize) {
        match self {
            Self::Hello => (1, MAX_HELLO_BYTES),
            Self::Evidence => (1, MAX_ENVELOPE_BYTES),
            Self::Confirm => (CONFIRM_BYTES, CONFIRM_BYTES),
            Self::Open => (0, 0),
            Self::Renew => (Nonce::LEN, Nonce::LEN),
            Self::Data => (1, MAX_DATA_BYTES),
            Self::Close => (CloseCode::LEN, CloseCode::LEN),
        }
    }

    fn permits(self, length: usize) -> bool {
        let (fewest, most) = self.bounds();
        (fewest..=most).contains(&length)
    }
}

impl core::fmt::Display for FrameType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes begin no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A type that isn't defined.
    #[error("frame types are 1 to 7, got {got}")]
    Type {
        /// The byte that came.
        got: u8,
    },
    /// A body shorter or longer than its type has.
    #[error("a {kind} frame has {} to {} bytes, got {got}", kind.bounds().0, kind.bounds().1)]
    Length {
        /// The type.
        kind: FrameType,
        /// The length that was announced.
        got: u32,
    },
}

/// The header of one frame, within its type's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    kind: FrameType,
    length: usize,
}

impl FrameHeader {
    /// Reads a header, before anything of the body is waited for.
    ///
    /// # Errors
    /// [`FrameError`] if the type is unknown, or the length not one of its type.
    pub fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, FrameError> {
        let [kind, length @ ..] = *bytes;
        let kind = FrameType::ALL
            .into_iter()
            .find(|known| known.byte() == kind)
            .ok_or(FrameError::Type { got: kind })?;
        let got = u32::from_be_bytes(length);
        match usize::try_from(got) {
            Ok(length) if kind.permits(length) => Ok(Self { kind, length }),
            _ => Err(FrameError::Length { kind, got }),
        }
    }

    /// The frame's type.
    #[must_use]
    pub const fn kind(&self) -> FrameType {
        self.kind
    }

    /// Bytes of the body.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }
}

/// A whole frame.
///
/// # Errors
/// [`FrameError::Length`] if the type has no body of that length.
pub fn encode_frame(kind: FrameType, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if !kind.permits(body.len()) {
        return Err(FrameError::Length { kind, got: length });
    }
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES.saturating_add(body.len()));
    frame.push(kind.byte());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(body);
    Ok(frame)
}

/// Why an end closes. It tells the other as much as it needs to know whose
/// fault it is, and nothing of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// All that was to be sent was sent.
    Done,
    /// A frame that the protocol doesn't allow, or one that can't be read.
    Protocol,
    /// Another pipeline, stage or model than expected.
    Context,
    /// The evidence was not accepted.
    Refused,
    /// The evidence was accepted, but the peer is not admitted to the pipeline.
    NotAdmitted,
    /// CONFIRM was not over the frames that this end sent and received.
    Confirm,
    /// Something took too long.
    TimedOut,
    /// The lease ended and was not renewed.
    LeaseOver,
    /// The closing end can't attest itself at the moment.
    Unattestable,
    /// Another peer has the place that this one wants, for now.
    Taken,
    /// A code that this version doesn't know.
    Other(u16),
}

impl CloseCode {
    const LEN: usize = 2;
    const KNOWN: [Self; 10] = [
        Self::Done,
        Self::Protocol,
        Self::Context,
        Self::Refused,
        Self::NotAdmitted,
        Self::Confirm,
        Self::TimedOut,
        Self::LeaseOver,
        Self::Unattestable,
        Self::Taken,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Done => 0,
            Self::Protocol => 1,
            Self::Context => 2,
            Self::Refused => 3,
            Self::NotAdmitted => 4,
            Self::Confirm => 5,
            Self::TimedOut => 6,
            Self::LeaseOver => 7,
            Self::Unattestable => 8,
            Self::Taken => 9,
            Self::Other(number) => number,
        }
    }

    /// A CLOSE frame's body.
    #[must_use]
    pub const fn encode(self) -> [u8; 2] {
        self.number().to_be_bytes()
    }

    /// Reads a CLOSE frame's body; every two bytes are one.
    #[must_use]
    pub fn decode(body: [u8; 2]) -> Self {
        let number = u16::from_be_bytes(body);
        Self::KNOWN
            .into_iter()
            .find(|known| known.number() == number)
            .unwrap_or(Self::Other(number))
    }
}

impl core::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Done => "it was done",
            Self::Protocol => "it got a frame that the protocol doesn't allow",
            Self::Context => "it expected another pipeline, stage or model",
            Self::Refused => "it did not accept the evidence",
            Self::NotAdmitted => "it does not admit this enclave to the pipeline",
            Self::Confirm => "the confirmation was not over this session",
            Self::TimedOut => "something took too long",
            Self::LeaseOver => "the lease ended",
            Self::Unattestable => "it can't attest itself at the moment",
            Self::Taken => "another enclave has that place for now",
            Self::Other(number) => return write!(f, "code {number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_frame_before_open_is_larger_than_256_kib() {
        for kind in FrameType::ALL.into_iter().filter(|kind| *kind != FrameType::Data) {
            assert!(kind.bounds().1 <= 256 * 1024, "{kind}");
        }
    }

    #[test]
    fn bodies_out_of_their_types_bounds_are_neither_written_nor_waited_for() {
        for kind in FrameType::ALL {
            let (fewest, most) = kind.bounds();
            assert!(encode_frame(kind, &vec![0; fewest]).is_ok());
            let mut frame = encode_frame(kind, &vec![0; most]).unwrap();
            assert!(encode_frame(kind, &vec![0; most + 1]).is_err());
            assert!(fewest == 0 || encode_frame(kind, &vec![0; fewest - 1]).is_err());
            let too_long = u32::try_from(most + 1).unwrap();
            frame[1..5].copy_from_slice(&too_long.to_be_bytes());
            let header = frame.first_chunk().unwrap();
            assert_eq!(
                FrameHeader::decode(header),
                Err(FrameError::Length { kind, got: too_long })
            );
        }
        assert_eq!(
            FrameHeader::decode(&[0, 0, 0, 0, 1]),
            Err(FrameError::Type { got: 0 })
        );
        assert_eq!(
            FrameHeader::decode(&[8, 0, 0, 0, 1]),
            Err(FrameError::Type { got: 8 })
        );
    }

    #[test]
    fn close_codes_round_trip_and_unknown_ones_keep_their_number() {
        for number in [0_u16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xffff] {
            let code = CloseCode::decode(number.to_be_bytes());
            assert_eq!(code.number(), number);
            assert_eq!(matches!(code, CloseCode::Other(_)), number > 9);
            assert!(!code.to_string().is_empty());
        }
    }

    proptest! {
        #[test]
        fn what_a_header_decodes_to_encodes_to_it(bytes: [u8; FRAME_HEADER_BYTES]) {
            if let Ok(header) = FrameHeader::decode(&bytes) {
                let frame = encode_frame(header.kind(), &vec![0; header.length()]).unwrap();
                prop_assert_eq!(&frame[..FRAME_HEADER_BYTES], &bytes[..]);
            }
        }
    }
}
