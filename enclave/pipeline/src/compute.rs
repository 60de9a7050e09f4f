//! Layers and drafts that the engine computes.
//!
//! Owns the way from the machines' terms to the engine's: what a stage is, its
//! layers and its draft. Each sequence's memory is overwritten when it is
//! forgotten, the working memory that it shared included. Refuses a draft
//! model of other tokens than the model it drafts for.

mod drafter;
mod layers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bastide_attestation::sha256;
use bastide_engine::{Model, Scratch};

use crate::message::Bounds;
use crate::stage::StageTerms;

pub use drafter::{DraftRefused, EngineDraft, EngineDrafter};
pub use layers::{EngineLayers, EngineSequence};

/// What a stage that computes with `model` is. `row_us` is what one row takes it, as
/// [`EngineLayers::measure_row_us`] finds.
pub fn stage_terms(
    model: &Model,
    plan: [u8; 32],
    stage: u16,
    stages: u16,
    max_sequences: u16,
    row_us: u32,
) -> StageTerms {
    StageTerms {
        plan,
        stage,
        stages,
        weights: *model.range_digest(),
        engine: sha256(&[model.engine().as_bytes()]),
        max_positions: u32::try_from(model.max_positions()).unwrap_or(u32::MAX),
        max_sequences,
        width: bounds(model).width,
        row_us,
    }
}

/// What messages of this model's pipeline are bounded by.
pub fn bounds(model: &Model) -> Bounds {
    let spec = model.config();
    Bounds {
        width: u32::try_from(spec.hidden).unwrap_or(u32::MAX),
        vocab: u32::try_from(spec.vocab).unwrap_or(u32::MAX),
    }
}

/// A model and its working memory, which the sequences share and overwrite when they end.
#[derive(Clone)]
struct Bench {
    model: Arc<Model>,
    scratch: Arc<Mutex<Scratch>>,
}

impl Bench {
    fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            scratch: Arc::default(),
        }
    }

    fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Overwrites what a sequence has left.
    fn wipe(&self) {
        *self.scratch() = Scratch::new();
        self.model.wipe_workers();
    }
}
