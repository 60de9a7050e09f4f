//! The timer that gives a report up. It runs whether anybody asks or not, on a
//! thread of its own: the one it watches can't be asked, and must not be
//! cancelled in flight.

use std::sync::Arc;

use crate::lane_m::LaneError;
use crate::lane_m::queue::Queue;

const THREAD_NAME: &str = "bastide-watchdog";

/// Starts the timer. It ends when the queue is closed or the lane unattestable.
pub(super) fn spawn(queue: Arc<Queue>) -> Result<(), LaneError> {
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || queue.watch())
        .map(drop)
        .map_err(|error| LaneError::Thread {
            reason: error.to_string(),
        })
}
