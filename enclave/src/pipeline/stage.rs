//! A stage behind the head: it takes links in, computes its layers, and hands
//! rows on. It serves no prompt of its own.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use bastide_engine::Model;
use bastide_pipeline::compute::{EngineLayers, bounds, stage_terms};
use bastide_pipeline::node::{AttestStage, Connector, StageLinks, StageNode};
use bastide_pipeline::stage::{Cancelled, Stage};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::evidence::StageAttester;
use super::place::PipelineSettings;
use super::signing::PartSigner;

/// Pause after a failed accept.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// What a stage is made of, the head's own included.
pub(crate) struct StageParts {
    pub(crate) model: Arc<Model>,
    pub(crate) connector: Connector,
    pub(crate) attester: StageAttester,
    pub(crate) signer: PartSigner,
    /// Answers that it holds at once.
    pub(crate) sequences: usize,
}

impl StageParts {
    /// The machine and its links.
    pub(super) fn build(self, settings: &PipelineSettings) -> (Stage<EngineLayers>, StageLinks) {
        let Self {
            model,
            connector,
            attester,
            signer,
            sequences,
        } = self;
        let layers = EngineLayers::new(Arc::clone(&model));
        let terms = stage_terms(
            &model,
            *settings.plan.digest().as_bytes(),
            settings.stage,
            count_u16(settings.plan.plan().stages().len()),
            count_u16(sequences),
            layers.measure_row_us(),
        );
        let bounds = bounds(&model);
        let stage = Stage::new(terms, layers, Box::new(signer), Cancelled::new());
        let links = StageLinks {
            stage: settings.stage,
            connector,
            attester: Arc::new(attester) as Arc<dyn AttestStage>,
            bounds,
        };
        (stage, links)
    }
}

/// As many as a number of this kind can say.
pub(super) fn count_u16(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// As many as a number of this kind can say.
pub(super) fn count_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A running stage and where it is reached.
pub(crate) struct StagePart {
    node: StageNode,
    listener: TcpListener,
}

impl fmt::Debug for StagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagePart")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl StagePart {
    /// Starts computing, and listens for links.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(
        parts: StageParts,
        settings: &PipelineSettings,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let (stage, links) = parts.build(settings);
        let node = StageNode::start(stage, links)?;
        Ok(Self { node, listener })
    }

    /// Takes links until it is dropped.
    pub(crate) async fn serve(&self) {
        // Running out of descriptors must not spin, nor end the stage.
        while self.node.serve(&self.listener).await.is_err() {
            sleep(AFTER_FAILURE).await;
        }
    }

    /// Where links come in: `IP:PORT`.
    pub(crate) fn address(&self) -> Option<String> {
        self.listener.local_addr().ok().map(|address| address.to_string())
    }

    /// Lets the answers in progress end for at most `limit`, then ends all links.
    pub(crate) async fn shut_down(self, limit: Duration) {
        self.node.shut_down(limit).await;
    }
}
