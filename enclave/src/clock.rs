//! The only reader of the wall clock. The host sets it: a hint for people,
//! never a reason to trust.

use std::time::{SystemTime, UNIX_EPOCH};

use bastide_attestation::UnixTime;

/// The time by the guest's clock; 1970 if that clock is before it.
pub(crate) fn now() -> UnixTime {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(elapsed.as_secs())
}
