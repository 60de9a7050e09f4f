//! HTTP/1.1 and HTTP/2 over attested TLS: who may connect, for how long, and
//! what each path answers. The states of a connection are the protocol's:
//! PENDING until it is attested, ATTESTED for a lease, closed after that or on
//! any failure.
//!
//! | module | what it owns |
//! |---|---|
//! | `accept` | the listeners, and who is let in |
//! | `connection` | one connection's task and its deadlines |
//! | `head`, `frames` | how long a request's head may take |
//! | `session` | what is known of one connection: binding, lease, running request |
//! | `route` | paths and methods, and what needs a lease |
//! | `attest` | evidence for this connection |
//! | `epochs` | pages of the epoch log, evidence of its head |
//! | `capacity` | what this machine can compute, for whoever plans a pipeline |
//! | `pipeline` | evidence of every stage of the pipeline that this is the head of |
//! | `chat` | a completion, whole or streamed, with its receipt |
//! | `sealed` | evidence of the sealed-mode key; sealed requests and answers |
//! | `body` | request bodies in, answers out |
//! | `monitor` | liveness, readiness and metrics on a plain loopback port |

mod accept;
mod attest;
mod body;
mod capacity;
mod chat;
mod connection;
mod epochs;
mod frames;
mod head;
mod limits;
mod monitor;
mod pipeline;
mod route;
mod sealed;
mod session;

use std::sync::Arc;

use bastide_attestation::ManifestDigest;
use bastide_attested_tls::{LaneM, ServerIdentity, Standing};
use bastide_engine::Model;

use crate::admission::Admission;
use crate::api::ApiError;
use crate::capacity::Capacity;
use crate::drain::Lifecycle;
use crate::gpus::{GpuState, Renewal};
use crate::inference::Inference;
use crate::metrics::Metrics;
use crate::pipeline::HeadPart;
use crate::receipts::Ledger;
use crate::sealed::SealedMode;

pub(crate) use accept::{Listener, serve};
pub use limits::Limits;
pub(crate) use limits::{LONGEST_LEASE, MOST_TOKENS};
pub(crate) use monitor::monitor;

/// The model as clients see it.
#[derive(Debug, Clone)]
pub(crate) struct ModelCard {
    /// Its name in the API.
    pub(crate) name: String,
    /// Digest of its manifest.
    pub(crate) manifest: ManifestDigest,
    /// When it was loaded, seconds since the Unix epoch.
    pub(crate) loaded: u64,
}

impl ModelCard {
    /// `fp_` and the first 16 hex digits of the manifest digest.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = self.manifest.to_string();
        format!("fp_{}", digest.get(..16).unwrap_or_default())
    }
}

/// Everything that connections share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) limits: Limits,
    pub(crate) admission: Arc<Admission>,
    pub(crate) identity: ServerIdentity,
    pub(crate) lane: LaneM,
    pub(crate) model: ModelCard,
    /// Computes answers; a stage behind a head has none.
    pub(crate) inference: Option<Inference>,
    /// The model as it is loaded here.
    pub(crate) loaded: Arc<Model>,
    pub(crate) capacity: Arc<Capacity>,
    /// Where it is the head of a pipeline.
    pub(crate) head: Option<Arc<HeadPart>>,
    /// Where it is another stage of one: its number.
    pub(crate) stage: Option<u16>,
    pub(crate) ledger: Ledger,
    pub(crate) sealed: SealedMode,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Lifecycle>,
    /// Where the machine has GPUs that must be attested.
    pub(crate) gpus: Option<NodeGpus>,
}

/// The GPUs' evidence, and what renews it as long as the node is there.
#[derive(Debug)]
pub(crate) struct NodeGpus {
    pub(crate) state: Arc<GpuState>,
    pub(crate) renewal: Renewal,
}

impl Node {
    /// Holds that GPUs, if there are some, are attested. Returns the number of
    /// their epoch.
    ///
    /// # Errors
    /// [`ApiError::GpusNotAttested`].
    pub(crate) fn require_gpus(&self) -> Result<Option<u64>, ApiError> {
        match &self.gpus {
            None => Ok(None),
            Some(gpus) => gpus.state.attested().map(Some).ok_or(ApiError::GpusNotAttested),
        }
    }

    /// Holds that what was attested so still answers: a key that was replaced, or a
    /// GPU epoch that followed without an event, changes nothing of that.
    ///
    /// # Errors
    /// [`ApiError::GpusNotAttested`], else [`ApiError::AttestationOutdated`].
    pub(crate) fn require_unchanged(&self, attested: Standing) -> Result<(), ApiError> {
        self.require_gpus()?;
        if self.lane.answers(&attested) {
            Ok(())
        } else {
            Err(ApiError::AttestationOutdated)
        }
    }

    /// Whether a new request may build on what was attested so: nothing has
    /// changed, and there is no newer GPU epoch.
    ///
    /// # Errors
    /// [`ApiError::GpusNotAttested`] while nobody could attest, else
    /// [`ApiError::AttestationRequired`].
    pub(crate) fn require_current(&self, attested: Standing) -> Result<(), ApiError> {
        let gpus = self.require_gpus()?;
        let current = self.lane.holds(&attested) && gpus.is_none_or(|epoch| attested.gpu_epoch >= epoch);
        if current {
            Ok(())
        } else {
            Err(ApiError::AttestationRequired)
        }
    }

    /// Its stage, for errors.
    pub(crate) fn stage(&self) -> u16 {
        self.stage.unwrap_or_default()
    }

    /// Whether a prompt may be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        self.life.is_ready() && self.require_gpus().is_ok()
    }
}

#[cfg(test)]
mod tests;
