//! Clock, waiting and random numbers as arguments, so that whoever calls
//! decides about them, and hears of every wait before it begins.

use core::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use super::error::{Attempt, Said, Service};

/// A wait that is about to begin.
#[derive(Debug)]
pub struct Wait<'a> {
    /// Who is asked.
    pub service: Service,
    /// For people: what is fetched.
    pub what: &'a str,
    /// What the attempt before came to.
    pub reason: &'a Attempt,
    /// How long it will be.
    pub delay: Duration,
    /// Which attempt follows, from 1.
    pub attempt: u32,
    /// Most attempts.
    pub attempts: u32,
}

impl fmt::Display for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; waiting {} s, attempt {} of {}",
            Said(self.service, self.reason),
            self.delay.as_millis().div_ceil(1000),
            self.attempt,
            self.attempts
        )
    }
}

/// What a client needs from outside.
pub trait Pace: Send + Sync {
    /// Time since some moment; only differences count.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn pause(&self, delay: Duration) -> impl Future<Output = ()> + Send;

    /// A random number, so that many machines don't come again all at once. It
    /// keeps nothing secret.
    fn random(&self) -> u16;

    /// Hears of a wait before it begins.
    fn waiting(&self, wait: &Wait<'_>);
}

/// The machine's clock and tokio's timer; `on_wait` hears of waits.
#[derive(Debug)]
pub struct SystemPace<F> {
    begun: Instant,
    on_wait: F,
}

impl<F: Fn(&Wait<'_>) + Send + Sync> SystemPace<F> {
    /// Begins now.
    pub fn new(on_wait: F) -> Self {
        Self {
            begun: Instant::now(),
            on_wait,
        }
    }
}

impl<F: Fn(&Wait<'_>) + Send + Sync> Pace for SystemPace<F> {
    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn pause(&self, delay: Duration) {
        tokio::time::sleep(delay).await;
    }

    fn random(&self) -> u16 {
        // Each map of the standard library has keys of its own from the system.
        let [low, high, ..] = RandomState::new().hash_one(0_u8).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    fn waiting(&self, wait: &Wait<'_>) {
        (self.on_wait)(wait);
    }
}
