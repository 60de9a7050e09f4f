//! Messages to bytes and back: the envelope.
//!
//! Owns type, ring, length and padding. One message has one encoding, and
//! nothing else is read: another size, a length that another size is for,
//! padding that isn't zero, an unknown type, a body that ends early or goes on.

use zeroize::Zeroizing;

use super::body::{self, FRAME_BYTES, RUN_BYTES};
use super::error::MessageError;
use super::wire::{Reader, Writer};
use super::{Envelope, Message, RingId};

/// The sizes that messages are padded to; the last is what one DATA of a link holds.
pub const MESSAGE_BUCKETS: [usize; 7] = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];

/// Bytes before the body: type, ring, length.
const HEADER_BYTES: usize = 9;
/// Where the length is.
const LENGTH_AT: usize = 5;

/// What the receiver's model bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The model's hidden size: activations of another width are refused.
    pub width: u32,
    /// Entries of its vocabulary: ids from there on are refused.
    pub vocab: u32,
}

/// Rows of `width` activations that fit in a frame of `runs` runs.
#[must_use]
pub fn rows_that_fit(width: u32, runs: usize) -> usize {
    let most = MESSAGE_BUCKETS[MESSAGE_BUCKETS.len() - 1];
    let room = most.saturating_sub(HEADER_BYTES + FRAME_BYTES + RUN_BYTES * runs.min(super::MAX_RUNS));
    let row = usize::try_from(width).map_or(usize::MAX, |width| width.max(1).saturating_mul(4));
    (room / row).min(super::MAX_ROWS)
}

impl Message {
    /// Name and type, as in the protocol.
    #[must_use]
    pub const fn kind(&self) -> (&'static str, u8) {
        match self {
            Self::Join(_) => ("JOIN", 0x20),
            Self::Ready(_) => ("READY", 0x21),
            Self::Open(_) => ("OPEN", 0x22),
            Self::Frame(_) => ("FRAME", 0x23),
            Self::Answer(_) => ("ANSWER", 0x24),
            Self::Finish(_) => ("FINISH", 0x25),
            Self::Part(_) => ("PART", 0x26),
            Self::Cancel { .. } => ("CANCEL", 0x27),
            Self::Ping { .. } => ("PING", 0x28),
            Self::Pong { .. } => ("PONG", 0x29),
            Self::Fault(_) => ("FAULT", 0x2a),
            Self::Challenge { .. } => ("CHALLENGE", 0x2b),
            Self::Evidence(_) => ("EVIDENCE", 0x2c),
        }
    }
}

impl Envelope {
    /// The bytes of one DATA, padded to the least of [`MESSAGE_BUCKETS`] that holds them.
    ///
    /// # Errors
    /// [`MessageError::Field`] if a field is out of its range: what a receiver
    /// would refuse isn't sent. [`MessageError::TooLarge`] beyond the last bucket.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        let (_, kind) = self.message.kind();
        let mut out = Writer::new();
        out.u8(kind);
        out.u32(self.ring.0);
        out.u32(0);
        body::write(&self.message, &mut out)?;
        out.finish(LENGTH_AT)
    }

    /// Reads the bytes of one DATA.
    ///
    /// # Errors
    /// [`MessageError`] if they are not exactly the encoding of a message within
    /// the protocol's limits and `bounds`. Nothing is allocated by a count that
    /// the bytes don't bear out.
    pub fn decode(bytes: &[u8], bounds: &Bounds) -> Result<Self, MessageError> {
        let bucket = MESSAGE_BUCKETS.iter().position(|size| *size == bytes.len());
        let (Some(bucket), Some((header, rest))) = (bucket, bytes.split_first_chunk::<HEADER_BYTES>()) else {
            return Err(MessageError::Size { got: bytes.len() });
        };
        let [kind, r0, r1, r2, r3, l0, l1, l2, l3] = *header;
        let claimed = u32::from_le_bytes([l0, l1, l2, l3]);
        let smaller = bucket.checked_sub(1).map_or(0, |index| MESSAGE_BUCKETS[index]);
        let wrong = MessageError::Length {
            size: bytes.len(),
            claimed,
        };
        let length = usize::try_from(claimed).map_err(|_| wrong)?;
        let (body, padding) = rest.split_at_checked(length).ok_or(wrong)?;
        if length + HEADER_BYTES <= smaller {
            return Err(wrong);
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(MessageError::Padding);
        }
        let name = body::name(kind).ok_or(MessageError::Type { got: kind })?;
        let mut reader = Reader::new(name, body);
        let message = body::read(kind, &mut reader, bounds)?;
        reader.end()?;
        Ok(Self {
            ring: RingId(u32::from_le_bytes([r0, r1, r2, r3])),
            message,
        })
    }
}
