//! Why bytes are no message, or a message can't be sent.
//!
//! Owns the reasons and their stable codes. They carry counts and names of
//! fields, never what a field held.

/// Bytes are no message of a pipeline, or a message can't become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not of a size that messages are padded to.
    #[error(
        "a message has 256, 1024, 4096, 16384, 65536, 262144 or 1048576 bytes, got {got}; pad it to the least that holds it"
    )]
    Size {
        /// Bytes that came.
        got: usize,
    },
    /// The body's length is not one that this size is for.
    #[error("a message of {size} bytes says that its body has {claimed}, which another size is for")]
    Length {
        /// Bytes that came.
        size: usize,
        /// Bytes that it claims for the body.
        claimed: u32,
    },
    /// Something follows the body.
    #[error("a message is padded with zeros, got other bytes after the body")]
    Padding,
    /// A type that this version does not have.
    #[error("messages have types 0x20 to 0x2c, got {got:#04x}")]
    Type {
        /// The type that came.
        got: u8,
    },
    /// The body ends before the message does.
    #[error("{message} ends inside `{field}`")]
    Short {
        /// The message.
        message: &'static str,
        /// The field that isn't whole.
        field: &'static str,
    },
    /// The body goes on after the message.
    #[error("{message} is followed by {rest} more bytes of body, expected none")]
    Long {
        /// The message.
        message: &'static str,
        /// Bytes too many.
        rest: usize,
    },
    /// A field is out of its range.
    #[error("`{field}` of {message} is out of range, expected {expected}")]
    Field {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// More than one message holds.
    #[error("a message has at most {most} bytes, this one would have {got}; send fewer rows at once")]
    TooLarge {
        /// Bytes that it would have, as far as they were counted.
        got: usize,
        /// The most.
        most: usize,
    },
}

impl MessageError {
    /// A stable dotted code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "pipeline.message.size",
            Self::Length { .. } => "pipeline.message.length",
            Self::Padding => "pipeline.message.padding",
            Self::Type { .. } => "pipeline.message.type",
            Self::Short { .. } => "pipeline.message.short",
            Self::Long { .. } => "pipeline.message.long",
            Self::Field { .. } => "pipeline.message.field",
            Self::TooLarge { .. } => "pipeline.message.too_large",
        }
    }
}
