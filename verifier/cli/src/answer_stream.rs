//! A streamed answer as it arrives: which of its bytes may be passed on now,
//! and which are held back until its receipt has been verified. No I/O: bytes
//! go in, ranges come out.
//!
//! `data: [DONE]` tells an API client that the answer is complete, so it is
//! held back, and so is everything after it. An event is passed on only when
//! all of it is there.

use std::ops::Range;

use serde::Deserialize;

use crate::receipt_check::ReceiptFault;

/// Most bytes of a whole answer. The commitment's salt comes last, so all of it is kept.
pub(crate) const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const MAX_EVENT_BYTES: usize = 1024 * 1024;
const BOUNDARY: &[u8] = b"\n\n";
/// The only form that ends an answer; response commitments end with it.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";
const RECEIPT_EVENT: &[u8] = b"event: bastide.receipt\n";
const RECEIPT_DATA: &[u8] = b"event: bastide.receipt\ndata: ";

/// Why a stream is no complete answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamFault {
    /// Too many bytes.
    #[error("the answer has more than {MAX_ANSWER_BYTES} bytes, or an event more than {MAX_EVENT_BYTES}")]
    TooLarge,
    /// It ended before `data: [DONE]` and the receipt.
    #[error("the answer ended before it was complete")]
    Truncated,
    /// A carriage return, or an end mark in another form than the one that is committed to.
    #[error("the answer is not in the event stream form of this protocol")]
    Form,
    /// Something else than one receipt follows the end mark, or a receipt precedes it.
    #[error("the answer does not end with its end mark and one receipt")]
    Order,
    /// The receipt event can't be read.
    #[error(transparent)]
    Receipt(#[from] ReceiptFault),
}

impl StreamFault {
    /// Stable dotted code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "stream.too_large",
            Self::Truncated => "stream.truncated",
            Self::Form | Self::Order => "stream.malformed",
            Self::Receipt(fault) => fault.code(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Events are passed on.
    Open,
    /// The end mark ended here; the receipt must come.
    Done { end: usize },
    /// The receipt came; nothing may follow.
    Receipt { end: usize },
}

/// A streamed answer so far.
#[derive(Debug)]
pub(crate) struct AnswerStream {
    bytes: Vec<u8>,
    /// Events up to here have been looked at.
    seen: usize,
    /// No boundary begins before here.
    scanned: usize,
    state: State,
}

/// A whole stream whose receipt nobody has verified yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WholeStream {
    bytes: Vec<u8>,
    done: usize,
    /// Receipt as in the event: base64url.
    pub(crate) receipt: String,
    /// Salt as in the event: hex.
    pub(crate) salt: String,
}

#[derive(Deserialize)]
struct ReceiptEvent {
    receipt: String,
    salt: String,
}

impl AnswerStream {
    /// Nothing has come.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            seen: 0,
            scanned: 0,
            state: State::Open,
        }
    }

    /// Takes the next bytes. The range, into [`Self::bytes`], holds the whole
    /// events that may be passed on now; it may be empty.
    ///
    /// # Errors
    /// [`StreamFault`]; then the stream must be ended as incomplete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Range<usize>, StreamFault> {
        if self.bytes.len().saturating_add(bytes.len()) > MAX_ANSWER_BYTES {
            return Err(StreamFault::TooLarge);
        }
        // Clients split lines at a carriage return too, so one could hide an
        // end mark from this scan.
        if bytes.contains(&b'\r') {
            return Err(StreamFault::Form);
        }
        self.bytes.extend_from_slice(bytes);
        let from = self.seen;
        let mut passed = from;
        while let Some(end) = self.next_boundary() {
            let event = self.bytes.get(self.seen..end).unwrap_or_default();
            self.state = self.state.after(event, end)?;
            self.seen = end;
            self.scanned = end;
            if self.state == State::Open {
                passed = end;
            }
        }
        if self.bytes.len() - self.seen > MAX_EVENT_BYTES {
            return Err(StreamFault::TooLarge);
        }
        Ok(from..passed)
    }

    fn next_boundary(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.scanned..)?;
        match rest.windows(BOUNDARY.len()).position(|window| window == BOUNDARY) {
            Some(at) => Some(self.scanned + at + BOUNDARY.len()),
            None => {
                // The last byte may be the first half of a boundary.
                self.scanned = self.bytes.len().saturating_sub(1).max(self.seen);
                None
            }
        }
    }

    /// Everything that came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`StreamFault`] if it isn't whole.
    pub(crate) fn finish(self) -> Result<WholeStream, StreamFault> {
        let (done, end) = match self.state {
            State::Open => return Err(StreamFault::Truncated),
            State::Done { .. } if self.seen == self.bytes.len() => {
                return Err(StreamFault::Receipt(ReceiptFault::Missing));
            }
            State::Done { .. } => return Err(StreamFault::Truncated),
            State::Receipt { end } => (end, self.seen),
        };
        if end != self.bytes.len() {
            return Err(StreamFault::Order);
        }
        let data = self
            .bytes
            .get(done..)
            .and_then(|event| event.strip_prefix(RECEIPT_DATA))
            .ok_or(StreamFault::Receipt(ReceiptFault::Encoding))?;
        let event: ReceiptEvent =
            serde_json::from_slice(data).map_err(|_| StreamFault::Receipt(ReceiptFault::Encoding))?;
        Ok(WholeStream {
            bytes: self.bytes,
            done,
            receipt: event.receipt,
            salt: event.salt,
        })
    }
}

impl State {
    fn after(self, event: &[u8], end: usize) -> Result<Self, StreamFault> {
        match self {
            Self::Open if event == DONE => Ok(Self::Done { end }),
            Self::Open if looks_like_receipt(event) => Err(StreamFault::Order),
            Self::Open if looks_done(event) => Err(StreamFault::Form),
            Self::Open => Ok(Self::Open),
            // `end` stays the end mark's: from there on it is the receipt.
            Self::Done { end } if event.starts_with(RECEIPT_EVENT) => Ok(Self::Receipt { end }),
            Self::Done { .. } | Self::Receipt { .. } => Err(StreamFault::Order),
        }
    }
}

/// Whether some client would take the event for the end mark.
fn looks_done(event: &[u8]) -> bool {
    event.split(|byte| *byte == b'\n').any(|line| {
        let line = line.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(line);
        line.strip_prefix(b"data:".as_slice())
            .is_some_and(|data| data.trim_ascii().starts_with(b"[DONE]"))
    })
}

/// Whether some client would take the event for a receipt.
fn looks_like_receipt(event: &[u8]) -> bool {
    event.split(|byte| *byte == b'\n').any(|line| {
        line.strip_prefix(b"event:".as_slice())
            .is_some_and(|name| name.trim_ascii() == b"bastide.receipt")
    })
}

impl WholeStream {
    /// The bytes that the response commitment covers.
    pub(crate) fn committed(&self) -> &[u8] {
        self.bytes.get(..self.done).unwrap_or_default()
    }

    /// What was held back: the end mark and the receipt.
    pub(crate) fn held_back(&self) -> &[u8] {
        self.bytes.get(self.done - DONE.len()..).unwrap_or_default()
    }
}

/// The `data` of each event in a piece of a stream that has only whole events.
pub(crate) fn data_of(events: &[u8]) -> impl Iterator<Item = &str> {
    std::str::from_utf8(events)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim_start)
}

#[cfg(test)]
mod tests;
