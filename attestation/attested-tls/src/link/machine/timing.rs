//! Time on a link: what it waits for and until when, and the lease of the
//! peer's evidence.

use std::time::Duration;

use bastide_attestation::link::CloseCode;

use super::{Closing, Effect, LinkMachine, Renewal};
use crate::link::end::{LinkEnd, LinkState};

impl LinkMachine {
    /// Ends what lasted too long, and begins what is due.
    pub(super) fn keep_time(&mut self, now: Duration, out: &mut Vec<Effect>) -> Result<(), LinkEnd> {
        if self.state != LinkState::Opened {
            let (state, until) = self.waiting();
            return if now < until {
                Ok(())
            } else {
                Err(LinkEnd::TimedOut { state })
            };
        }
        // INVARIANT: nothing is sent or taken on evidence older than the lease.
        if now >= self.lease_end() {
            return Err(self
                .closing
                .as_ref()
                .map_or(LinkEnd::LeaseOver, Closing::unanswered));
        }
        if let Some(closing) = &self.closing {
            return if now < closing.until {
                Ok(())
            } else {
                Err(closing.unanswered())
            };
        }
        if now >= self.leased.saturating_add(self.terms.times.drain_after) {
            let until = self.lease_end();
            return self.close_in_order(LinkEnd::NotRenewed, CloseCode::LeaseOver, until, out);
        }
        if now >= self.renewal_due() && self.renewal == Renewal::Idle {
            self.renewal = Renewal::Drawing;
            out.push(Effect::DrawNonce);
        }
        Ok(())
    }

    /// Before the link is open: what it waits for, and until when.
    pub(super) fn waiting(&self) -> (LinkState, Duration) {
        let times = &self.terms.times;
        match (self.state, self.confirmed) {
            (LinkState::Hello, _) => (LinkState::Hello, times.hello),
            (state, Some(confirmed)) => (state, confirmed.saturating_add(times.confirm)),
            (_, None) => (LinkState::Evidence, self.greeted.saturating_add(times.evidence)),
        }
    }

    pub(super) const fn lease_end(&self) -> Duration {
        self.leased.saturating_add(self.terms.times.lease)
    }

    pub(super) const fn renewal_due(&self) -> Duration {
        self.leased.saturating_add(self.terms.times.renew_after)
    }

    pub(super) fn arm(&mut self, out: &mut Vec<Effect>) {
        if self.over {
            return;
        }
        let next = if self.state != LinkState::Opened {
            self.waiting().1
        } else if let Some(closing) = &self.closing {
            closing.until.min(self.lease_end())
        } else if self.renewal == Renewal::Idle {
            self.renewal_due()
        } else {
            self.leased.saturating_add(self.terms.times.drain_after)
        };
        if self.armed != Some(next) {
            self.armed = Some(next);
            out.push(Effect::ArmTimer(next));
        }
    }
}
