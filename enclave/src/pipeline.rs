//! This enclave as one stage of a pipeline: what the plan makes of it, whom it
//! links with, and what it computes for the others.
//!
//! | module | what it owns |
//! |---|---|
//! | `place` | the plan, held against the files that are here |
//! | `peers` | whom this stage links with, each judged by the plan's policy for it |
//! | `signing` | its part of each receipt |
//! | `evidence` | its evidence for a client of the head |
//! | `stage` | a stage behind the head: links in, rows through |
//! | `head` | the head: answers, and the evidence of every stage |

mod evidence;
mod head;
mod peers;
mod place;
mod signing;
mod stage;

use std::sync::Arc;

use bastide_attestation::{SpkiDigest, StatementDigest};
use bastide_attested_tls::{LaneM, LinkIdentity};
use bastide_engine::Model;
use bastide_pipeline::node::Connector;
use tokio::net::TcpListener;

use self::evidence::{LatestStatement, StageAttester};
use self::signing::PartSigner;
use self::stage::{StagePart, StageParts};
use crate::error::StartError;
use crate::identity::ReceiptKey;

pub(crate) use self::head::{HeadPart, PipedAnswer};
pub(crate) use self::place::Place;
pub use self::place::{PipelineSettings, PlaceError};

/// A running stage.
#[derive(Debug)]
pub(crate) struct Member {
    stage: u16,
    link_key: SpkiDigest,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Head(Arc<HeadPart>),
    Stage(Box<StagePart>),
}

impl Member {
    /// Starts what the plan makes of this enclave, which has attested itself with
    /// the statement `first` and holds `sequences` answers at once.
    ///
    /// # Errors
    /// [`StartError`] if a policy can't be used, an address can't be listened on,
    /// or the operating system gives no thread.
    pub(crate) async fn start(
        place: Place,
        model: &Arc<Model>,
        lane: &LaneM,
        key: &Arc<ReceiptKey>,
        first: StatementDigest,
        sequences: usize,
    ) -> Result<Self, StartError> {
        let settings = &place.settings;
        let stage = settings.stage;
        let context = settings.context()?;
        let latest = LatestStatement::new(first);
        let identity = LinkIdentity::generate()?;
        let link_key = identity.spki();
        let endpoint = peers::endpoint(settings, identity, lane.clone())?;
        let parts = StageParts {
            model: Arc::clone(model),
            connector: Connector::attested(endpoint),
            attester: StageAttester::new(lane.clone(), settings.plan.digest(), context, latest.clone()),
            signer: PartSigner::new(settings, Arc::clone(key), latest)?,
            sequences,
        };
        let role = if stage == 0 {
            let head = HeadPart::start(place, parts).map_err(StartError::Threads)?;
            Role::Head(Arc::new(head))
        } else {
            let address = settings.links;
            let listener = TcpListener::bind(address).await;
            let listener = listener.map_err(|source| StartError::Listen {
                address: address.to_string(),
                source,
            })?;
            let started = StagePart::start(parts, settings, listener);
            Role::Stage(Box::new(started.map_err(StartError::Threads)?))
        };
        Ok(Self {
            stage,
            link_key,
            role,
        })
    }

    /// Its stage.
    pub(crate) const fn stage(&self) -> u16 {
        self.stage
    }

    /// Its key on links: what a membership credential is issued for.
    pub(crate) const fn link_key(&self) -> SpkiDigest {
        self.link_key
    }

    /// The head, if it is that.
    pub(crate) fn head(&self) -> Option<Arc<HeadPart>> {
        match &self.role {
            Role::Head(head) => Some(Arc::clone(head)),
            Role::Stage(_) => None,
        }
    }

    /// Where links come in, if it is another stage.
    pub(crate) fn links(&self) -> Option<String> {
        match &self.role {
            Role::Head(_) => None,
            Role::Stage(stage) => stage.address(),
        }
    }

    /// The stage behind a head, if it is that.
    pub(crate) fn into_stage(self) -> Option<StagePart> {
        match self.role {
            Role::Head(_) => None,
            Role::Stage(stage) => Some(*stage),
        }
    }
}
