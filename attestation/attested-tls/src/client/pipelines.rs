//! What an application says of the stages behind a head of a pipeline, before it
//! is given the connection.
//!
//! The protocol of stages is `docs/spec/pipeline.md`'s; this module only knows
//! that a head's own evidence proves nothing of them.

use std::future::Future;
use std::pin::Pin;

use bastide_attestation::Decision;

use crate::client::connection::AttestedConnection;

/// Judges the stages behind heads of pipelines.
pub trait AppraisePipeline: Send + Sync {
    /// Whether everyone who will see something of what is asked of `head` has
    /// proved itself. `head` is for asking exactly that: nothing of a user's
    /// may be sent yet. Called before a connection is given out, and whenever it
    /// is renewed.
    fn appraise<'a>(
        &'a self,
        head: &'a mut AttestedConnection,
    ) -> Pin<Box<dyn Future<Output = Result<(), PipelineRefused>> + Send + 'a>>;

    /// Whether that they have still counts: it isn't too old, and nothing else
    /// was learnt since. Asked before each request on `head`, which was given out;
    /// nothing is sent where it doesn't. Must not wait.
    fn counts(&self, head: &AttestedConnection) -> bool;
}

/// Why the stages behind a head were not accepted. Nothing of the user's was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PipelineRefused {
    /// Stable dotted code.
    pub code: &'static str,
    /// What it comes to; an accepting decision counts as our own fault.
    pub decision: Decision,
    /// What was expected, and what came.
    pub reason: String,
    /// Whether the connection only ended before it was known, so that it is
    /// worth asking once more on another.
    pub interrupted: bool,
}
