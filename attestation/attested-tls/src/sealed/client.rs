//! The client's gate in sealed mode. First evidence of the key, bound to the key
//! configuration and a nonce and appraised like a session's; then, for as long as
//! that counts, requests sealed to the key. No byte of a user leaves before, and
//! none leaves unsealed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bastide_attestation::binding::{LeafType, sealed_binder};
use bastide_attestation::sealed::{
    Field, Kem, KeyConfig, ResponseHead, SEALED_KEY_PATH, SEALED_PATH, SEALED_REQUEST_TYPE,
    SEALED_RESPONSE_TYPE, STATEMENT_FIELD, SealedFormatError, SealedKeyAnswer, SealedRequest, decode_configs,
};
use bastide_attestation::{
    Appraiser, AttestRequest, AttestationResult, Binder, ENVELOPE_MEDIA_TYPE, MAX_ENVELOPE_BYTES, Nonce,
    REQUEST_MEDIA_TYPE, SessionExpectation, UnixTime, sha256,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use tokio::time::{Instant, timeout};

use super::body::SealedBody;
use super::carrier::Carrier;
use super::error::SealedError;
use super::seal::{self, Sealed};
use crate::address::NodeAddress;
use crate::provider::fill_random;

/// How long evidence of a key counts, from before its challenge was made.
pub(super) const KEY_LEASE: Duration = Duration::from_secs(300);

const CONNECT: Duration = Duration::from_secs(20);
const ATTEST: Duration = Duration::from_secs(20);
const HEAD: Duration = Duration::from_secs(300);

/// Asks one node, through a relay or directly, under one appraiser.
#[derive(Clone)]
pub struct SealedConnector {
    appraiser: Arc<dyn Appraiser>,
    node: NodeAddress,
    carrier: Carrier,
    clock: fn() -> UnixTime,
    head: Duration,
    post_quantum: bool,
}

impl fmt::Debug for SealedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedConnector")
            .field("node", &self.node)
            .field("carrier", &self.carrier)
            .finish_non_exhaustive()
    }
}

/// A key that an enclave attested, for as long as that counts.
pub struct SealedKey {
    node: NodeAddress,
    config: KeyConfig,
    nonce: Nonce,
    binder: Binder,
    evidence: Vec<u8>,
    result: AttestationResult,
    began: Instant,
    began_at: UnixTime,
    clock: fn() -> UnixTime,
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedKey")
            .field("node", &self.node)
            .field("kem", &self.config.kem)
            .field("statement_digest", &self.result.statement_digest)
            .finish_non_exhaustive()
    }
}

impl SealedKey {
    /// What the appraisal established.
    #[must_use]
    pub const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// The evidence envelope, without the key configuration: as one of a session.
    #[must_use]
    pub fn evidence(&self) -> &[u8] {
        &self.evidence
    }

    /// The challenge that the evidence answers.
    #[must_use]
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// What the evidence is bound to: key configuration and challenge.
    #[must_use]
    pub const fn binder(&self) -> &Binder {
        &self.binder
    }

    /// The node's address.
    #[must_use]
    pub const fn node(&self) -> &NodeAddress {
        &self.node
    }

    /// The KEM that requests are sealed with.
    #[must_use]
    pub const fn kem(&self) -> Kem {
        self.config.kem
    }

    /// Whether requests may still be sealed to it. Two clocks have to agree: one
    /// can't be set, the other goes on while the machine sleeps.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let by_clock = (self.clock)().as_secs().checked_sub(self.began_at.as_secs());
        self.began.elapsed() < KEY_LEASE && by_clock.is_some_and(|elapsed| elapsed < KEY_LEASE.as_secs())
    }
}

/// An answer that the enclave sealed for this request alone.
#[derive(Debug)]
pub struct SealedResponse {
    /// Status and fields.
    pub head: ResponseHead,
    /// SHA-256 of the request's encapsulated key: the nonce of the answer's receipt.
    pub request: Nonce,
    /// Its content.
    pub body: SealedBody,
}

impl SealedConnector {
    /// A connector to `node`, through `relay` if there is one.
    #[must_use]
    pub fn new(appraiser: Arc<dyn Appraiser>, node: NodeAddress, relay: Option<Carrier>) -> Self {
        let carrier = relay.unwrap_or_else(|| Carrier::from(&node));
        Self {
            appraiser,
            node,
            carrier,
            clock: system_time,
            head: HEAD,
            post_quantum: false,
        }
    }

    /// The same with another clock for appraisals and leases.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> UnixTime) -> Self {
        Self { clock, ..self }
    }

    /// The same, sealing to X-Wing keys alone.
    #[must_use]
    pub fn post_quantum(self) -> Self {
        Self {
            post_quantum: true,
            ..self
        }
    }

    /// The node's address.
    #[must_use]
    pub const fn node(&self) -> &NodeAddress {
        &self.node
    }

    /// Asks for evidence of the node's key and has it appraised.
    ///
    /// # Errors
    /// [`SealedError`]; nothing but a challenge was sent.
    pub async fn key(&self) -> Result<SealedKey, SealedError> {
        let mut nonce = [0; Nonce::LEN];
        fill_random(&mut nonce).map_err(|_| SealedError::NoRandomness)?;
        let nonce = Nonce::new(nonce);
        // The lease runs from before the challenge: evidence can't be older than it.
        let (began, began_at) = (Instant::now(), (self.clock)());
        let envelope = timeout(ATTEST, self.ask_for_key(&nonce))
            .await
            .map_err(|_| timed_out(ATTEST))??;
        let (evidence, key_config) = SealedKeyAnswer::decode(&envelope).map_err(SealedError::Malformed)?;
        let configs = decode_configs(&key_config).map_err(SealedError::KeyConfig)?;
        let binder = sealed_binder(&key_config, &nonce);
        let expected = SessionExpectation {
            binder,
            leaf: LeafType::SealedKey,
        };
        let plain = evidence.as_unverified().encode();
        let result = match self.appraiser.appraise(&evidence, &expected, (self.clock)()) {
            Ok(result) => result,
            Err(verdict) => {
                return Err(SealedError::Refused {
                    verdict,
                    evidence: plain,
                });
            }
        };
        // INVARIANT: the statement names the key, and not only the leaf: what is
        // sealed to it is sealed to the boot that the hardware vouched for.
        if result.statement.sealed_key != Some(sha256(&[&key_config])) {
            return Err(SealedError::KeyNotAttested);
        }
        // Its stages would have to be asked, and a relay carries no session to do so on.
        if result.statement.pipeline {
            return Err(SealedError::Pipeline);
        }
        let config = prefer(configs, self.post_quantum)
            .ok_or(SealedError::KeyConfig(SealedFormatError::NoKnownConfig))?;
        Ok(SealedKey {
            node: self.node.clone(),
            config,
            nonce,
            binder,
            evidence: plain,
            result,
            began,
            began_at,
            clock: self.clock,
        })
    }

    async fn ask_for_key(&self, nonce: &Nonce) -> Result<Vec<u8>, SealedError> {
        let body = AttestRequest::fresh(*nonce).encode();
        let response = self
            .post(SEALED_KEY_PATH, REQUEST_MEDIA_TYPE, ENVELOPE_MEDIA_TYPE, body)
            .await?;
        if response.status() != StatusCode::OK || !is_of_type(&response, ENVELOPE_MEDIA_TYPE) {
            return Err(SealedError::NoKey {
                status: response.status().as_u16(),
            });
        }
        match Limited::new(response.into_body(), MAX_ENVELOPE_BYTES)
            .collect()
            .await
        {
            Ok(envelope) => Ok(envelope.to_bytes().to_vec()),
            Err(error) if error.is::<LengthLimitError>() => Err(SealedError::NoKey { status: 200 }),
            Err(error) => Err(match error.downcast::<hyper::Error>() {
                Ok(error) => SealedError::Interrupted(*error),
                Err(_) => SealedError::NoKey { status: 200 },
            }),
        }
    }

    /// Seals a request, sends it, and opens the answer's head. The statement that
    /// the key's evidence rests on is named in the request: the enclave answers
    /// only while it stands.
    ///
    /// # Errors
    /// [`SealedError`]. An answer that isn't sealed is an error, whatever it says.
    pub async fn send(
        &self,
        key: &SealedKey,
        mut request: SealedRequest,
    ) -> Result<SealedResponse, SealedError> {
        request.fields.retain(|field| field.name != STATEMENT_FIELD);
        request.fields.push(Field::new(
            STATEMENT_FIELD,
            &key.result.statement_digest.to_string(),
        ));
        let Sealed { bytes, id, answer } =
            seal::seal(&key.config, &request.encode()).map_err(|_| SealedError::NotSealed)?;
        // Right before the first byte leaves.
        if !key.is_usable() {
            return Err(SealedError::LeaseOver);
        }
        let exchange = async {
            let response = self
                .post(SEALED_PATH, SEALED_REQUEST_TYPE, SEALED_RESPONSE_TYPE, bytes)
                .await?;
            if response.status() != StatusCode::OK || !is_of_type(&response, SEALED_RESPONSE_TYPE) {
                return Err(SealedError::Plaintext {
                    status: response.status().as_u16(),
                });
            }
            let mut body = SealedBody::new(response.into_body(), answer);
            let head = body.head().await?;
            Ok(SealedResponse {
                head,
                request: Nonce::new(id),
                body,
            })
        };
        timeout(self.head, exchange)
            .await
            .map_err(|_| timed_out(self.head))?
    }

    /// One request on a connection of its own. Its header says nothing of who sends it.
    async fn post(
        &self,
        path: &'static str,
        media_type: &'static str,
        accept: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, SealedError> {
        let mut sender = self.carrier.open(CONNECT).await.map_err(SealedError::Carrier)?;
        let request = Request::post(path)
            .header(HOST, self.carrier.authority())
            .header(CONTENT_TYPE, media_type)
            .header(ACCEPT, accept)
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| SealedError::NotSealed)?;
        sender
            .send_request(request)
            .await
            .map_err(SealedError::Interrupted)
    }
}

/// X-Wing if it is offered: what is recorded today stays closed to a later
/// quantum computer.
fn prefer(mut configs: Vec<KeyConfig>, post_quantum: bool) -> Option<KeyConfig> {
    configs.retain(|config| config.kem == Kem::XWing || !post_quantum);
    configs.sort_by_key(|config| match config.kem {
        Kem::XWing => 0,
        Kem::X25519 => 1,
    });
    configs.into_iter().next()
}

const fn timed_out(limit: Duration) -> SealedError {
    SealedError::TimedOut {
        seconds: limit.as_secs(),
    }
}

fn is_of_type(response: &Response<Incoming>, expected: &str) -> bool {
    let mut types = response.headers().get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(value), None) => value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()),
        _ => false,
    }
}

/// The system's clock; a clock before 1970 reads 1970.
fn system_time() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::from_secs(since.map_or(0, |elapsed| elapsed.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastide_attestation::sealed::Aead;

    #[test]
    fn x_wing_comes_first_and_alone_where_that_is_asked_for() {
        let config = |kem: Kem| KeyConfig {
            id: 0,
            kem,
            public_key: vec![0; kem.public_key_bytes()],
            aeads: vec![Aead::ChaCha20Poly1305],
        };
        let kem = |configs: &[Kem], post_quantum| {
            let configs = configs.iter().copied().map(config).collect();
            prefer(configs, post_quantum).map(|config| config.kem)
        };
        let both = [Kem::X25519, Kem::XWing];
        assert_eq!(kem(&both, false), Some(Kem::XWing));
        assert_eq!(kem(&both[..1], false), Some(Kem::X25519));
        assert_eq!(kem(&both[..1], true), None);
    }
}
