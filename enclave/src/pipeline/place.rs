//! The plan, held against the files that are here: which layers to load, and
//! whether what was loaded is what the owner signed. Refuses to be a stage of
//! a plan whose model, draft or weights are others.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use bastide_attestation::ManifestDigest;
use bastide_attestation::link::LinkContext;
use bastide_attestation::pipeline::{MAX_PLAN_BYTES, SignedPlan, SignedPlanError, StagePlan};
use bastide_engine::Model;
use bastide_pipeline::compute::{DraftRefused, EngineDrafter};
use bastide_pipeline::head::Speculation;

use crate::args::{PipelineArgs, StageAddress};
use crate::bounded_file;
use crate::error::StartError;
use crate::model;

/// A place in a pipeline, as the operator gave it.
#[derive(Debug, Clone)]
pub struct PipelineSettings {
    /// The plan.
    pub plan: SignedPlan,
    /// The stage in it.
    pub stage: u16,
    /// Where links come in, for every stage but the head.
    pub links: SocketAddr,
    /// Where the stages behind the head can be reached, spares after those they replace.
    pub stages: Vec<StageAddress>,
    /// The draft model's directory.
    pub draft: Option<PathBuf>,
    /// How the head drafts.
    pub speculation: Speculation,
    /// File of the membership credential: read for each link, since it is issued
    /// after the boot, for this boot's key.
    pub credential: Option<PathBuf>,
}

/// Why this enclave can't be that stage of that plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A file can't be read.
    #[error("`{}` can't be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The plan is none.
    #[error("the plan can't be used")]
    Plan(#[from] SignedPlanError),
    /// The plan hasn't that stage.
    #[error("the plan has stages 0 to {last}, and this is to be stage {stage}")]
    NoSuchStage {
        /// The stage.
        stage: u16,
        /// The plan's last.
        last: usize,
    },
    /// Something here is not what the plan names.
    #[error("the plan names {what} {expected}, and what is here has {got}")]
    Other {
        /// What.
        what: &'static str,
        /// What the plan says.
        expected: String,
        /// What is here.
        got: String,
    },
    /// A policy in the plan can't be used.
    #[error("the plan's policy for stage {stage} can't be used: {reason}")]
    Policy {
        /// The stage.
        stage: u16,
        /// Why.
        reason: String,
    },
    /// The draft can't draft for this model.
    #[error("the draft can't draft for this model")]
    Draft(#[from] DraftRefused),
    /// A flag that this stage needs, or has no use for.
    #[error("{0}")]
    Flags(&'static str),
}

impl PlaceError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "start.pipeline_file",
            Self::Plan(_) => "start.pipeline_plan",
            Self::NoSuchStage { .. } => "start.pipeline_stage",
            Self::Other { .. } => "start.pipeline_other",
            Self::Policy { .. } => "start.pipeline_policy",
            Self::Draft(_) => "start.pipeline_draft",
            Self::Flags(_) => "start.usage",
        }
    }
}

impl PipelineSettings {
    /// Reads what the flags name, if they name a pipeline.
    ///
    /// # Errors
    /// [`StartError::Place`].
    pub fn read(args: &PipelineArgs) -> Result<Option<Self>, StartError> {
        let (Some(path), Some(stage)) = (&args.pipeline, args.stage) else {
            return Ok(None);
        };
        let read = |path: &PathBuf, most| {
            bounded_file::read(path, most).map_err(|source| PlaceError::Read {
                path: path.clone(),
                source,
            })
        };
        let plan = SignedPlan::verify(&read(path, MAX_PLAN_BYTES)?).map_err(PlaceError::from)?;
        let settings = Self {
            plan,
            stage,
            links: args.links,
            stages: args.stage_addresses.clone(),
            draft: args.draft.clone(),
            speculation: args.speculation.0,
            credential: args.credential.clone(),
        };
        settings.check()?;
        Ok(Some(settings))
    }

    /// What can be said before anything is loaded.
    fn check(&self) -> Result<(), PlaceError> {
        let stages = self.plan.plan().stages().len();
        self.own()?;
        if self.stage > 0 {
            if self.draft.is_some() || !self.stages.is_empty() {
                return Err(PlaceError::Flags(
                    "--draft and --stage-address are for the head, stage 0: it drafts, and tells the others of one another",
                ));
            }
            return Ok(());
        }
        if self.draft.is_some() != self.plan.plan().draft().is_some() {
            return Err(PlaceError::Flags(
                "a head needs --draft exactly where the plan names a draft model: it is part of the model that is attested",
            ));
        }
        let reaches = |stage| self.stages.iter().any(|known| usize::from(known.stage) == stage);
        if !(1..stages).all(reaches) {
            return Err(PlaceError::Flags(
                "a head needs --stage-address N=HOST:PORT for every stage behind it",
            ));
        }
        if self.stages.iter().any(|known| usize::from(known.stage) >= stages) {
            return Err(PlaceError::Flags(
                "--stage-address names a stage that the plan doesn't have",
            ));
        }
        Ok(())
    }

    /// Where this stage stands, as on its links.
    pub(crate) fn context(&self) -> Result<LinkContext, PlaceError> {
        let context = self.plan.plan().context(self.stage);
        context.ok_or_else(|| self.no_such_stage())
    }

    fn no_such_stage(&self) -> PlaceError {
        PlaceError::NoSuchStage {
            stage: self.stage,
            last: self.plan.plan().stages().len().saturating_sub(1),
        }
    }

    /// What the plan says of this stage.
    pub(crate) fn own(&self) -> Result<&StagePlan, PlaceError> {
        let plan = self.plan.plan();
        plan.stage(self.stage).ok_or_else(|| self.no_such_stage())
    }
}

/// A place that this enclave's files fit.
pub(crate) struct Place {
    pub(crate) settings: PipelineSettings,
    /// The draft model, at a head that has one.
    pub(crate) draft: Option<Arc<Model>>,
    /// It, ready to draft.
    pub(super) drafter: Option<EngineDrafter>,
}

impl Place {
    /// Holds what was loaded against the plan, and loads the draft.
    ///
    /// # Errors
    /// [`PlaceError::Other`] names what differs; [`StartError::Model`] if the
    /// draft is refused.
    pub(crate) fn take(
        settings: PipelineSettings,
        loaded: &Model,
        threads: Option<NonZeroUsize>,
    ) -> Result<Self, StartError> {
        let plan = settings.plan.plan();
        let own = settings.own()?;
        equal(
            "weights of its layers with digest",
            &own.weights,
            loaded.range_digest(),
        )?;
        let layers = usize::from(plan.layers());
        if loaded.config().layers != layers {
            return Err(other("layers:", &layers, &loaded.config().layers).into());
        }
        let draft = settings.draft.as_ref();
        let draft = draft
            .map(|dir| model::load(dir, threads).map(Arc::new))
            .transpose()?;
        if let Some(draft) = &draft {
            let named = plan.draft().unwrap_or(ManifestDigest::new([0; 32]));
            let got = model::manifest(draft, None).digest();
            equal("a draft with manifest", named.as_bytes(), got.as_bytes())?;
        }
        // A stage has no draft, but states the model whole: what the plan says of it.
        let model = model::manifest(loaded, plan.draft()).digest();
        equal("a model with manifest", plan.model().as_bytes(), model.as_bytes())?;
        let drafter = draft.as_ref();
        let drafter = drafter
            .map(|draft| EngineDrafter::new(Arc::clone(draft), loaded))
            .transpose()
            .map_err(PlaceError::from)?;
        Ok(Self {
            settings,
            draft,
            drafter,
        })
    }

    /// Manifest of the draft, which is a member of the model's: a stage that has no draft states it too.
    pub(crate) fn draft_manifest(&self) -> Option<ManifestDigest> {
        self.settings.plan.plan().draft()
    }

    /// Whether clients ask this enclave, and others compute with it.
    pub(crate) fn is_head(&self) -> bool {
        self.settings.stage == 0
    }

    /// Digest of the plan, and the stage.
    pub(crate) fn configured(settings: &PipelineSettings) -> ([u8; 32], u16) {
        (*settings.plan.digest().as_bytes(), settings.stage)
    }
}

fn equal(what: &'static str, expected: &[u8; 32], got: &[u8; 32]) -> Result<(), PlaceError> {
    if expected == got {
        return Ok(());
    }
    Err(other(what, &hex::encode(expected), &hex::encode(got)))
}

fn other(what: &'static str, expected: &impl ToString, got: &impl ToString) -> PlaceError {
    PlaceError::Other {
        what,
        expected: expected.to_string(),
        got: got.to_string(),
    }
}
