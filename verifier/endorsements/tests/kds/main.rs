//! The client against a server over real HTTP, which does what AMD's does on a
//! bad day and what a liar would.

mod honest;
mod lies;
mod server;
mod silence;
#[path = "../../src/simulated.rs"]
mod simulated;
mod throttling;

use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(crate) use bastide_endorsements::Name;
use bastide_endorsements::kds::{Kds, KdsLimits, Pace, Wait};

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

/// A client of a server at this address, with the limits as they are.
pub(crate) fn client<'a>(address: &str, pace: &'a TestPace) -> Kds<&'a TestPace> {
    Kds::new(address.parse().unwrap(), KdsLimits::default(), pace)
}
