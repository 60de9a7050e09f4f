//! The engine's layers, made slower: so that a loss falls where a test wants it.

use std::ops::Range;
use std::time::Duration;

use bastide_pipeline::compute::EngineLayers;
use bastide_pipeline::message::{Payload, Run, Sampling};
use bastide_pipeline::stage::{Computed, Layers, Refused};

/// Layers that take longer for each frame.
pub(crate) struct Slow(pub(crate) EngineLayers, pub(crate) Duration);

impl Layers for Slow {
    type Sequence = <EngineLayers as Layers>::Sequence;

    fn open(&self, positions: usize, sampling: &Sampling) -> Self::Sequence {
        self.0.open(positions, sampling)
    }

    fn run(
        &mut self,
        runs: &mut [(Run, &mut Self::Sequence)],
        payload: &Payload,
    ) -> Result<Computed, Refused> {
        if !self.1.is_zero() {
            std::thread::sleep(self.1);
        }
        self.0.run(runs, payload)
    }

    fn len(&self, sequence: &Self::Sequence) -> usize {
        self.0.len(sequence)
    }

    fn layers(&self) -> Range<usize> {
        self.0.layers()
    }
}
