//! What an attested node says that it can carry, and how far away it is.
//! The node's word for its own speed and memory, from measured code: a wrong
//! one makes a slow pipeline, never an unsafe one.

use std::time::{Duration, Instant};

use bastide_attested_tls::AttestedConnection;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;

use super::split::Carrier;
use crate::fault::{Fault, with_causes};

/// Where a node says what it can carry.
const PATH: &str = "/.well-known/bastide/capacity";
const SCHEMA: &str = "bastide.capacity/v1";
const MAX_BYTES: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the distance is measured; the shortest counts.
const PROBES: usize = 5;
/// A second for one layer's row: beyond it a number is a mistake.
const MAX_US: f64 = 1e6;

/// What a node can carry. Members that are not known here are left alone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Capacity {
    schema: String,
    /// Name of the model that it has, for people.
    pub(crate) model: String,
    /// Layers of that model.
    pub(crate) layers: u16,
    /// Bytes of weights that it has room for, its KV cache and the rest left out.
    pub(crate) memory_bytes: u64,
    /// Microseconds that it takes for a row in one layer.
    pub(crate) row_us_per_layer: f64,
    /// Microseconds that its draft takes for a token; none without a draft.
    #[serde(default)]
    pub(crate) draft_us: Option<f64>,
    /// Sequences at a time.
    pub(crate) max_sequences: u32,
    /// Manifest of its draft model alone, hex.
    #[serde(default)]
    pub(crate) draft: Option<String>,
    /// SHA-256 of the SPKI of its key on links, hex; none of a node outside pipelines.
    #[serde(default)]
    pub(crate) link_key: Option<String>,
}

impl Capacity {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let capacity: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let good = |us: f64| us.is_finite() && (0.0..=MAX_US).contains(&us);
        if capacity.schema != SCHEMA {
            return Err(format!("schema: expected `{SCHEMA}`, got `{}`", capacity.schema));
        }
        if capacity.layers == 0 || !good(capacity.row_us_per_layer) || !capacity.draft_us.is_none_or(good) {
            return Err("expected at least a layer, and times of at most a second".to_owned());
        }
        Ok(capacity)
    }

    /// As the split needs it.
    pub(crate) const fn carrier(&self) -> Carrier {
        Carrier {
            memory: self.memory_bytes,
            row_us: self.row_us_per_layer,
        }
    }
}

/// Asks a node what it can carry, and measures the round trip to it.
///
/// # Errors
/// [`Fault`] of unavailability if it doesn't say.
pub(crate) async fn ask(connection: &mut AttestedConnection) -> Result<(Capacity, Duration), Fault> {
    let mut shortest = Duration::MAX;
    let mut capacity = None;
    for _ in 0..PROBES {
        let started = Instant::now();
        let body = tokio::time::timeout(PATIENCE, once(connection))
            .await
            .map_err(|_| silent(connection, &format!("no answer within {} s", PATIENCE.as_secs())))??;
        shortest = shortest.min(started.elapsed());
        if capacity.is_none() {
            capacity = Some(Capacity::read(&body).map_err(|what| silent(connection, &what))?);
        }
    }
    capacity
        .map(|capacity| (capacity, shortest))
        .ok_or_else(|| Fault::internal("no probe was sent"))
}

fn silent(connection: &AttestedConnection, what: &str) -> Fault {
    Fault::unavailable(
        "pipeline.capacity",
        format!("{} does not say what it can carry: {what}", connection.node()),
    )
    .with_remedy("it must be an enclave that was started for a pipeline; see its log")
}

async fn once(connection: &mut AttestedConnection) -> Result<Bytes, Fault> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(PATH)
        .body(Full::new(Bytes::new()))
        .map_err(|error| Fault::internal(format!("no request: {error}")))?;
    let response = match connection.send(request).await {
        Ok(response) => response,
        Err(error) => return Err(silent(connection, &with_causes(&error))),
    };
    if response.status() != StatusCode::OK {
        return Err(silent(
            connection,
            &format!("it answered {}", response.status().as_u16()),
        ));
    }
    match Limited::new(response.into_body(), MAX_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(silent(connection, &error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_read_with_what_later_ones_may_add() {
        let text = r#"{"schema":"bastide.capacity/v1","model":"m","layers":6,"memory_bytes":1000,
            "row_us_per_layer":12.5,"draft_us":30,"max_sequences":16,"later":[1]}"#;
        let read = Capacity::read(text.as_bytes()).unwrap();
        assert_eq!((read.layers, read.memory_bytes, read.draft), (6, 1000, None));
        for (from, to) in [
            ("capacity/v1", "capacity/v2"),
            ("12.5", "-1"),
            ("12.5", "1e7"),
            ("12.5", "\"x\""),
            (":6,", ":0,"),
            (":6,", ":70000,"),
            ("\"max_sequences\":16,", ""),
        ] {
            assert!(
                Capacity::read(text.replace(from, to).as_bytes()).is_err(),
                "{from} {to}"
            );
        }
        assert!(Capacity::read(b"").is_err());
        // A node without a draft says so, or says nothing of it.
        for without in ["\"draft_us\":null,", ""] {
            let text = text.replace("\"draft_us\":30,", without);
            assert_eq!(Capacity::read(text.as_bytes()).unwrap().draft_us, None);
        }
    }
}
