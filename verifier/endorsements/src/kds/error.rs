//! Why an attempt gave no endorsement, and why there is none in the end.

use std::time::Duration;

use crate::endorsement::FormError;

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Attempt {
    /// Too many requests.
    #[error("KDS says 429 (too many requests){}", after(.retry_after))]
    Throttled {
        /// How long the server asks to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// A fault of the server's.
    #[error("KDS says {status}{}", after(.retry_after))]
    Server {
        /// HTTP status.
        status: u16,
        /// How long the server asks to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// No connection, or one that ended before the answer did.
    #[error("no whole answer from KDS: {reason}")]
    Connection {
        /// What happened.
        reason: String,
    },
    /// No whole answer in time.
    #[error("no whole answer from KDS within {} s", .limit.as_secs_f32())]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// Nothing is known under this address.
    #[error("KDS says 404: it knows no such chip at this TCB version")]
    Unknown,
    /// Sent elsewhere, where this client doesn't go.
    #[error(
        "KDS says {status}, which sends elsewhere; redirections are not followed: give the right address with --kds"
    )]
    Redirected {
        /// HTTP status.
        status: u16,
    },
    /// Another status.
    #[error("KDS says {status}, expected 200")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// A longer answer than the kind has.
    #[error("the answer of KDS has more than {limit} bytes")]
    TooLarge {
        /// Most bytes of this kind.
        limit: usize,
    },
    /// An answer that isn't the endorsement that was asked for.
    #[error("the answer of KDS is not what was asked for: {0}")]
    Wrong(#[source] FormError),
}

fn after(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |after| {
        format!(" and asks to wait {} s", after.as_secs())
    })
}

/// Why an endorsement could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{last} (attempt {attempts}, {url})")]
pub struct KdsError {
    /// Where it was asked for.
    pub url: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// What the last one came to.
    pub last: Attempt,
}

impl KdsError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.last {
            Attempt::Throttled { .. } => "kds.throttled",
            Attempt::Server { .. } => "kds.server",
            Attempt::Connection { .. } => "kds.connection",
            Attempt::Silent { .. } => "kds.silent",
            Attempt::Unknown => "kds.unknown",
            Attempt::Redirected { .. } => "kds.redirected",
            Attempt::Refused { .. } => "kds.refused",
            Attempt::TooLarge { .. } => "kds.too_large",
            Attempt::Wrong(_) => "kds.wrong",
        }
    }
}
