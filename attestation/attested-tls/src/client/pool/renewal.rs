//! Renewal in the background: from the age of 240 s on, a connection is asked
//! for new evidence on itself. Over HTTP/2 beside running answers; over HTTP/1.1
//! while nobody uses it.

use std::sync::{Arc, Weak};

use tokio::time::{Duration, sleep};

use super::{Inner, Slotted};
use crate::client::connection::AttestedConnection;
use crate::client::error::ConnectError;

/// How often leases are looked at. A minute is left when the first is due.
const TICK: Duration = Duration::from_secs(5);

/// Starts the task that renews for as long as the pool is there.
pub(super) fn start(pool: &Arc<Inner>) {
    let pool: Weak<Inner> = Arc::downgrade(pool);
    tokio::spawn(async move {
        loop {
            sleep(TICK).await;
            let Some(pool) = pool.upgrade() else { return };
            pool.renew_due();
        }
    });
}

impl Inner {
    fn renew_due(self: &Arc<Self>) {
        let mut held = self.held();
        held.drop_unusable();
        for slotted in &mut held.shared {
            if slotted.renewing || !slotted.connection.is_due() {
                continue;
            }
            if let Some(connection) = slotted.connection.share() {
                slotted.renewing = true;
                tokio::spawn(Arc::clone(self).renew_shared(connection));
            }
        }
        let (due, idle) = held
            .idle
            .drain(..)
            .partition(|slotted| slotted.connection.is_due());
        held.idle = idle;
        drop(held);
        let due: Vec<Slotted> = due;
        for slotted in due {
            tokio::spawn(Arc::clone(self).renew_idle(slotted));
        }
    }

    async fn renew_shared(self: Arc<Self>, mut connection: AttestedConnection) {
        let renewed = connection.renew().await;
        for slotted in &mut self.held().shared {
            if slotted.connection.is_same(&connection) {
                slotted.renewing = false;
            }
        }
        self.report(&connection, renewed);
    }

    async fn renew_idle(self: Arc<Self>, slotted: Slotted) {
        let Slotted {
            mut connection, slot, ..
        } = slotted;
        let renewed = connection.renew().await;
        self.report(&connection, renewed);
        // One that failed is closed, and not kept.
        self.keep_idle(connection, slot);
        self.freed.notify_waiters();
    }

    fn report(&self, connection: &AttestedConnection, renewed: Result<(), ConnectError>) {
        if let (Err(error), Some(observer)) = (renewed, &self.observer) {
            observer.failed(connection.node(), &error);
        }
    }
}
