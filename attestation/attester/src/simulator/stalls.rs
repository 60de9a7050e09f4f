//! A security processor as one large cloud has it: every so many reports, one
//! takes ten seconds. For tests of who waits, and for how long.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bastide_attestation::{Attestation, Attester, AttesterError, StatementBytes};

/// An attester that stalls now and then before it asks another.
pub struct Stalling<A> {
    inner: A,
    every: NonZeroU32,
    lasting: Duration,
    asked: AtomicU32,
}

impl<A> core::fmt::Debug for Stalling<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stalling")
            .field("every", &self.every)
            .field("lasting", &self.lasting)
            .finish_non_exhaustive()
    }
}

impl<A: Attester> Stalling<A> {
    /// Stalls for `lasting` on every `every`th report.
    pub const fn new(inner: A, every: NonZeroU32, lasting: Duration) -> Self {
        Self {
            inner,
            every,
            lasting,
            asked: AtomicU32::new(0),
        }
    }
}

impl<A: Attester> Attester for Stalling<A> {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if asked.is_multiple_of(self.every.get()) {
            thread::sleep(self.lasting);
        }
        self.inner.attest(statement)
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
}
