//! A clock that moves when it is waited by.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bastide_endorsements::fetch::{Pace, Wait};

/// Waits by moving a clock of its own, and remembers each wait.
#[derive(Debug)]
pub(crate) struct TestPace {
    begun: Instant,
    waits: Mutex<Vec<Duration>>,
    said: Mutex<Vec<String>>,
}

impl TestPace {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            waits: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// Whole seconds of each wait.
    pub(crate) fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().iter().map(Duration::as_secs).collect()
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Pace for &TestPace {
    fn elapsed(&self) -> Duration {
        self.begun.elapsed() + self.waits.lock().unwrap().iter().sum::<Duration>()
    }

    async fn pause(&self, delay: Duration) {
        self.waits.lock().unwrap().push(delay);
    }

    fn random(&self) -> u16 {
        0
    }

    fn waiting(&self, wait: &Wait<'_>) {
        self.said.lock().unwrap().push(wait.to_string());
    }
}
