//! Time: the clock's, or the one that `--at` gives.

use std::time::{SystemTime, UNIX_EPOCH};

use bastide_attestation::UnixTime;

/// The clock's time. A clock before 1970 counts as 1970: then no certificate is valid.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(since.as_secs())
}

/// Parses RFC 3339.
///
/// # Errors
/// A sentence for clap.
pub(crate) fn parse(text: &str) -> Result<UnixTime, String> {
    let wanted = "expected a time as in RFC 3339, for example 2026-06-01T00:00:00Z";
    let time: jiff::Timestamp = text.parse().map_err(|_| wanted.to_owned())?;
    u64::try_from(time.as_second())
        .map(UnixTime::from_secs)
        .map_err(|_| "expected a time after 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn rfc_3339_with_offset_is_read_and_other_text_is_not() {
        assert_eq!(
            parse("2026-06-01T02:00:00+02:00").unwrap().to_string(),
            "2026-06-01T00:00:00Z"
        );
        for text in [
            "2026-06-01",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
