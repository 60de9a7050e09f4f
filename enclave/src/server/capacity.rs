//! What this machine can compute. How busy it is shows in it, so that an
//! attested connection is needed; it carries nothing of a user.

use std::sync::Arc;

use hyper::Response;

use super::Node;
use super::body::AnswerBody;
use super::route::{JSON, with_type};
use crate::api::ApiError;

/// Where it is asked for.
pub(super) const PATH: &str = "/.well-known/bastide/capacity";

/// Answers with one JSON object.
pub(super) async fn describe(node: &Node) -> Result<Response<AnswerBody>, ApiError> {
    let (capacity, model) = (Arc::clone(&node.capacity), Arc::clone(&node.loaded));
    // It computes for a moment when it is first asked.
    let described = tokio::task::spawn_blocking(move || capacity.describe(&model));
    let described = described.await.map_err(|_| ApiError::Internal)?;
    Ok(with_type(AnswerBody::whole(described), JSON))
}
