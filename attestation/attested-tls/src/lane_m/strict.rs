//! Sessions that want GPUs asked over a root that holds their own leaf. The tree
//! is computed first, its root goes to the GPUs, and only then is there a
//! statement for the security processor to sign. GPUs take seconds, so this is
//! done on a thread of its own, one tree at a time and not too often, while other
//! sessions have their epochs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::{GpuAttester, GpuAttesterError, GpuEpoch};

use crate::lane_m::LaneError;
use crate::lane_m::epoch::Batch;
use crate::lane_m::queue::Queue;

const THREAD_NAME: &str = "bastide-strict";

/// A tree whose root the GPUs have answered.
pub(super) struct Prepared {
    pub(super) batch: Batch,
    pub(super) gpus: Arc<GpuEpoch>,
    /// Of what is stated, before the GPUs were asked.
    pub(super) generation: u64,
}

impl core::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Prepared")
            .field("gpus", &self.gpus.number())
            .finish_non_exhaustive()
    }
}

/// Starts the thread. It ends when the queue is closed or the lane unattestable.
pub(super) fn spawn(queue: Arc<Queue>, gpus: Arc<dyn GpuAttester>, pace: Duration) -> Result<(), LaneError> {
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || run(&queue, &*gpus, pace))
        .map(drop)
        .map_err(|error| LaneError::Thread {
            reason: error.to_string(),
        })
}

fn run(queue: &Queue, gpus: &dyn GpuAttester, pace: Duration) {
    let mut earliest = Instant::now();
    while let Some((leaves, generation)) = queue.next_strict(earliest) {
        earliest = Instant::now() + pace;
        let prepared = Batch::new(&leaves).and_then(|batch| {
            let gpus = gpus.strict(&batch.root()).map_err(unavailable)?;
            Ok(Prepared {
                batch,
                gpus,
                generation,
            })
        });
        queue.prepared(prepared);
    }
}

fn unavailable(error: GpuAttesterError) -> LaneError {
    LaneError::Gpus {
        reason: error.to_string(),
    }
}
