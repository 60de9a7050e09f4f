//! Little-endian numbers and byte strings, read and written in order.
//!
//! Owns the two cursors. The reader never looks past the end and names the
//! field that isn't whole. The writer grows by new memory, so that the old is
//! overwritten and not just freed.

use zeroize::Zeroizing;

use super::codec::MESSAGE_BUCKETS;
use super::error::MessageError;

/// What is left of a body.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    message: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads the body of `message`.
    pub(super) const fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, message }
    }

    pub(super) fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], MessageError> {
        let message = self.message;
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(MessageError::Short { message, field })?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MessageError> {
        let message = self.message;
        let (taken, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(MessageError::Short { message, field })?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, MessageError> {
        self.array(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, MessageError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, MessageError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, MessageError> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self, field: &'static str) -> Result<f32, MessageError> {
        self.array(field).map(f32::from_le_bytes)
    }

    /// Says that as many items follow, before anything is allocated for them.
    pub(super) fn expect(
        &self,
        field: &'static str,
        items: usize,
        least_bytes: usize,
    ) -> Result<(), MessageError> {
        match items.checked_mul(least_bytes) {
            Some(needed) if needed <= self.bytes.len() => Ok(()),
            _ => Err(MessageError::Short {
                message: self.message,
                field,
            }),
        }
    }

    /// A field out of its range.
    pub(super) const fn refuse(&self, field: &'static str, expected: &'static str) -> MessageError {
        MessageError::Field {
            message: self.message,
            field,
            expected,
        }
    }

    /// Nothing may be left.
    pub(super) const fn end(&self) -> Result<(), MessageError> {
        match self.bytes.len() {
            0 => Ok(()),
            rest => Err(MessageError::Long {
                message: self.message,
                rest,
            }),
        }
    }
}

/// A message that is being written. Its memory is of the sizes that messages have.
pub(super) struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    /// The bucket that the memory was taken for.
    room: usize,
    /// Bytes that there was no room for.
    beyond: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(MESSAGE_BUCKETS[0])),
            room: MESSAGE_BUCKETS[0],
            beyond: 0,
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.reserve(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Many numbers of four bytes.
    pub(super) fn words(&mut self, words: impl ExactSizeIterator<Item = [u8; 4]>) {
        if self.reserve(words.len().saturating_mul(4)) {
            words.for_each(|word| self.bytes.extend_from_slice(&word));
        }
    }

    /// Room for as many bytes more; false, and counted, if no message holds them.
    fn reserve(&mut self, more: usize) -> bool {
        let needed = self.bytes.len().saturating_add(more);
        if needed <= self.room {
            return true;
        }
        let Some(room) = MESSAGE_BUCKETS.iter().copied().find(|size| *size >= needed) else {
            self.beyond = self.beyond.saturating_add(more);
            return false;
        };
        let mut grown = Zeroizing::new(Vec::with_capacity(room));
        grown.extend_from_slice(&self.bytes);
        (self.bytes, self.room) = (grown, room);
        true
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn f32(&mut self, value: f32) {
        self.put(&value.to_le_bytes());
    }

    /// What was written, with its length in the four bytes at `at`, padded.
    pub(super) fn finish(mut self, at: usize) -> Result<Zeroizing<Vec<u8>>, MessageError> {
        let most = MESSAGE_BUCKETS[MESSAGE_BUCKETS.len() - 1];
        let written = self.bytes.len().saturating_add(self.beyond);
        let size = MESSAGE_BUCKETS.iter().copied().find(|size| *size >= written);
        let (Some(size), Ok(length)) = (size, u32::try_from(written - at - 4)) else {
            return Err(MessageError::TooLarge { got: written, most });
        };
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        // The memory is of this size already: nothing moves.
        self.bytes.resize(size, 0);
        Ok(self.bytes)
    }
}
