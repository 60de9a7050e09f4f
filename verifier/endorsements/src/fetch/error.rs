//! Who is asked, why an attempt gave no answer, and why there is none in the end.

use core::fmt;
use std::time::Duration;

use crate::endorsement::FormError;

/// Who hands out endorsements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// AMD's key distribution server.
    Kds,
    /// NVIDIA's RIM service.
    Rim,
    /// NVIDIA's OCSP responder.
    Ocsp,
    /// NVIDIA's server of revocation lists.
    Crl,
}

impl Service {
    /// What a 404 means.
    const fn unknown(self) -> &'static str {
        match self {
            Self::Kds => "it knows no such chip at this TCB version",
            Self::Rim => {
                "it has no such manifest; NVIDIA may publish one weeks after the driver or the VBIOS, so ask again later"
            }
            Self::Ocsp => "no OCSP responder is there",
            Self::Crl => "it has no such revocation list",
        }
    }

    /// The option of the command line that names another.
    const fn option(self) -> &'static str {
        match self {
            Self::Kds => "--kds",
            Self::Rim => "--rim-url",
            Self::Ocsp => "--ocsp-url",
            Self::Crl => "--crl-url",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kds => "KDS",
            Self::Rim => "the RIM service",
            Self::Ocsp => "the OCSP responder",
            Self::Crl => "the CRL server",
        })
    }
}

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attempt {
    /// Too many requests.
    Throttled {
        /// How long the server asks to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// A fault of the server's.
    Server {
        /// HTTP status.
        status: u16,
        /// How long the server asks to wait, if it says.
        retry_after: Option<Duration>,
    },
    /// No connection, or one that ended before the answer did.
    Connection {
        /// What happened.
        reason: String,
    },
    /// No whole answer in time.
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// Nothing is known under this address.
    Unknown,
    /// Sent elsewhere, where this client doesn't go.
    Redirected {
        /// HTTP status.
        status: u16,
    },
    /// Another status.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// A longer answer than the kind has.
    TooLarge {
        /// Most bytes of this kind.
        limit: usize,
    },
    /// An answer that isn't what was asked for.
    Wrong(FormError),
}

/// An attempt in words: the service that was asked is their subject.
pub(super) struct Said<'a>(pub(super) Service, pub(super) &'a Attempt);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(service, attempt) = self;
        match attempt {
            Attempt::Throttled { retry_after } => {
                write!(
                    f,
                    "{service} says 429 (too many requests){}",
                    after(retry_after.as_ref())
                )
            }
            Attempt::Server { status, retry_after } => {
                write!(f, "{service} says {status}{}", after(retry_after.as_ref()))
            }
            Attempt::Connection { reason } => write!(f, "no whole answer from {service}: {reason}"),
            Attempt::Silent { limit } => {
                write!(
                    f,
                    "no whole answer from {service} within {} s",
                    limit.as_secs_f32()
                )
            }
            Attempt::Unknown => write!(f, "{service} says 404: {}", service.unknown()),
            Attempt::Redirected { status } => write!(
                f,
                "{service} says {status}, which sends elsewhere; redirections are not followed: give the right address with {}",
                service.option()
            ),
            Attempt::Refused { status } => write!(f, "{service} says {status}, expected 200"),
            Attempt::TooLarge { limit } => {
                write!(f, "the answer of {service} has more than {limit} bytes")
            }
            Attempt::Wrong(error) => {
                write!(f, "the answer of {service} is not what was asked for: {error}")
            }
        }
    }
}

fn after(retry_after: Option<&Duration>) -> String {
    retry_after.map_or_else(String::new, |after| {
        format!(" and asks to wait {} s", after.as_secs())
    })
}

/// Why an endorsement could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} (attempt {attempts}, {url})", Said(*.service, .last))]
pub struct FetchError {
    /// Who was asked.
    pub service: Service,
    /// Where it was asked for.
    pub url: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// What the last one came to.
    pub last: Attempt,
}

impl FetchError {
    /// The stable dotted code: one family for AMD's server, one for NVIDIA's.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        let amd = matches!(self.service, Service::Kds);
        match (&self.last, amd) {
            (Attempt::Throttled { .. }, true) => "kds.throttled",
            (Attempt::Server { .. }, true) => "kds.server",
            (Attempt::Connection { .. }, true) => "kds.connection",
            (Attempt::Silent { .. }, true) => "kds.silent",
            (Attempt::Unknown, true) => "kds.unknown",
            (Attempt::Redirected { .. }, true) => "kds.redirected",
            (Attempt::Refused { .. }, true) => "kds.refused",
            (Attempt::TooLarge { .. }, true) => "kds.too_large",
            (Attempt::Wrong(_), true) => "kds.wrong",
            (Attempt::Throttled { .. }, false) => "nvidia.throttled",
            (Attempt::Server { .. }, false) => "nvidia.server",
            (Attempt::Connection { .. }, false) => "nvidia.connection",
            (Attempt::Silent { .. }, false) => "nvidia.silent",
            (Attempt::Unknown, false) => "nvidia.unknown",
            (Attempt::Redirected { .. }, false) => "nvidia.redirected",
            (Attempt::Refused { .. }, false) => "nvidia.refused",
            (Attempt::TooLarge { .. }, false) => "nvidia.too_large",
            (Attempt::Wrong(_), false) => "nvidia.wrong",
        }
    }
}
