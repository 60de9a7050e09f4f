//! Pages of the epoch log, and evidence of its head. They carry nothing of a user;
//! how busy this enclave is can be read from them, so that an attested connection
//! is needed.

use bastide_attestation::{ENVELOPE_MEDIA_TYPE, EPOCH_LOG_MEDIA_TYPE, LogHeadAnswer, MAX_EPOCH_LOG_PAGE};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response};

use super::body::AnswerBody;
use super::route::with_type;
use super::session::Session;
use super::{Node, attest};
use crate::api::ApiError;

/// Answers with evidence of where the log stands, for the nonce of the request. It
/// counts as an attest of this connection and is none: its lease is what it was.
pub(super) async fn head(
    session: &Session,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ApiError> {
    let request = attest::challenge(session, request).await?;
    let (head, attested) = session
        .node
        .lane
        .attest_log_head(&request.nonce)
        .await
        .map_err(|error| attest::no_report(&error))?;
    let answer = LogHeadAnswer {
        evidence: attested.evidence(),
        head,
    };
    Ok(with_type(
        AnswerBody::whole(answer.encode()),
        HeaderValue::from_static(ENVELOPE_MEDIA_TYPE),
    ))
}

/// Answers `?from=N&count=M`: both may be left out.
pub(super) fn page(node: &Node, query: Option<&str>) -> Result<Response<AnswerBody>, ApiError> {
    let Wanted { from, count } = Wanted::parse(query.unwrap_or_default())?;
    let page = node.lane.epochs(from, count).encode();
    let media_type = HeaderValue::from_static(EPOCH_LOG_MEDIA_TYPE);
    Ok(with_type(AnswerBody::whole(page), media_type))
}

/// Which part of the log.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    from: u64,
    count: usize,
}

impl Wanted {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let (mut from, mut count) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "from" if from.is_none() => {
                    let value = value.parse::<u64>();
                    from = Some(value.map_err(|_| ApiError::invalid("from", "the number of an epoch"))?);
                }
                "count" if count.is_none() => {
                    let value = value.parse::<usize>().ok();
                    let value = value.filter(|value| (1..=MAX_EPOCH_LOG_PAGE).contains(value));
                    count = Some(value.ok_or_else(|| {
                        ApiError::invalid("count", format!("a number from 1 to {MAX_EPOCH_LOG_PAGE}"))
                    })?);
                }
                _ => {
                    return Err(ApiError::invalid(
                        "query",
                        "`from=N` and `count=M`, each at most once",
                    ));
                }
            }
        }
        Ok(Self {
            from: from.unwrap_or(0),
            count: count.unwrap_or(MAX_EPOCH_LOG_PAGE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_EPOCH_LOG_PAGE, Wanted};

    #[test]
    fn a_query_is_exact_or_refused() {
        let wanted = |from, count| Wanted { from, count };
        assert_eq!(Wanted::parse("").unwrap(), wanted(0, MAX_EPOCH_LOG_PAGE));
        assert_eq!(Wanted::parse("from=7&count=2").unwrap(), wanted(7, 2));
        assert_eq!(Wanted::parse("count=1").unwrap(), wanted(0, 1));
        assert_eq!(
            Wanted::parse("from=18446744073709551615").unwrap(),
            wanted(u64::MAX, MAX_EPOCH_LOG_PAGE)
        );
        for bad in [
            "from=",
            "from",
            "from=-1",
            "from=x",
            "count=0",
            "count=257",
            "from=1&from=2",
            "to=3",
            "from=18446744073709551616",
            "%66rom=1",
        ] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }
}
