//! A client's request for evidence on the connection it is sent on.

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{Nonce, StatementDigest};

/// Which evidence a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// A signature of the session key if the enclave may give one for the known
    /// statement, else a fresh report.
    #[default]
    Auto,
    /// A report that begins after the request.
    M,
    /// A signature of the session key, or nothing.
    K,
}

/// How fresh GPU evidence must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuFreshness {
    /// Of the current GPU epoch.
    #[default]
    Current,
    /// Collected after the request, over a root that holds this session's leaf.
    Strict,
}

/// A client's challenge, and what it knows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttestRequest {
    /// The client's challenge.
    pub nonce: Nonce,
    /// Which evidence.
    pub lane: Lane,
    /// The oldest statement, in seconds since it was made, that lane K may sign
    /// for; at most [`Self::MAX_AGE_S`]. Lane M is always fresh.
    pub max_age_s: u16,
    /// How fresh GPU evidence must be.
    pub gpu: GpuFreshness,
    /// A statement that this client appraised: lane K signs for it, and what came
    /// with it need not come again.
    pub known: Option<StatementDigest>,
}

impl AttestRequest {
    /// Most bytes of a request.
    pub const MAX_BYTES: usize = 128;
    /// Longest that lane K may build on one report.
    pub const MAX_AGE_S: u16 = 300;

    /// A request for a fresh report by a client that knows nothing yet.
    #[must_use]
    pub const fn fresh(nonce: Nonce) -> Self {
        Self {
            nonce,
            lane: Lane::M,
            max_age_s: 0,
            gpu: GpuFreshness::Current,
            known: None,
        }
    }

    /// Deterministic CBOR: `{1: nonce, 2: lane, 3: max_age_s, 4: gpu, 5: known}`,
    /// the last left out if there is none.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let map = MapBuilder::new()
            .bytes(1, self.nonce.as_bytes())
            .uint(
                2,
                match self.lane {
                    Lane::Auto => 0,
                    Lane::M => 1,
                    Lane::K => 2,
                },
            )
            .uint(3, u64::from(self.max_age_s))
            .uint(
                4,
                match self.gpu {
                    GpuFreshness::Current => 0,
                    GpuFreshness::Strict => 1,
                },
            );
        match &self.known {
            Some(known) => map.bytes(5, known.as_bytes()),
            None => map,
        }
        .encode()
    }

    /// Reads a request strictly.
    ///
    /// # Errors
    /// [`CodecError`] names the first fault. Lane K without a known statement, or
    /// with strict GPU evidence, contradicts itself and is one.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let fault = |key: i64, expected| CodecError::Value {
            key: key.into(),
            expected,
        };
        let mut fields = Fields::decode(bytes, Self::MAX_BYTES)?;
        let nonce = Nonce::new(fields.array(1)?);
        let lane = match fields.uint(2)? {
            0 => Lane::Auto,
            1 => Lane::M,
            2 => Lane::K,
            _ => return Err(fault(2, "lane 0 (auto), 1 (M) or 2 (K)")),
        };
        let max_age_s = u16::try_from(fields.uint(3)?)
            .ok()
            .filter(|age| *age <= Self::MAX_AGE_S)
            .ok_or_else(|| fault(3, "at most 300 s"))?;
        let gpu = match fields.uint(4)? {
            0 => GpuFreshness::Current,
            1 => GpuFreshness::Strict,
            _ => return Err(fault(4, "gpu 0 (current) or 1 (strict)")),
        };
        let known = if fields.has(5) {
            Some(StatementDigest::new(fields.array(5)?))
        } else {
            None
        };
        fields.finish()?;
        if lane == Lane::K && known.is_none() {
            return Err(fault(5, "the statement that lane K builds on"));
        }
        if lane == Lane::K && gpu == GpuFreshness::Strict {
            return Err(fault(4, "gpu 0 (current) in lane K, which asks no GPU"));
        }
        Ok(Self {
            nonce,
            lane,
            max_age_s,
            gpu,
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> AttestRequest {
        AttestRequest {
            nonce: Nonce::new([3; 32]),
            lane: Lane::Auto,
            max_age_s: 300,
            gpu: GpuFreshness::Current,
            known: Some(StatementDigest::new([4; 32])),
        }
    }

    #[test]
    fn requests_of_every_kind_round_trip_within_the_limit() {
        for lane in [Lane::Auto, Lane::M, Lane::K] {
            for gpu in [GpuFreshness::Current, GpuFreshness::Strict] {
                for known in [None, request().known] {
                    let request = AttestRequest {
                        lane,
                        gpu,
                        known,
                        ..request()
                    };
                    let bytes = request.encode();
                    assert!(bytes.len() <= AttestRequest::MAX_BYTES);
                    let fine = lane != Lane::K || (known.is_some() && gpu == GpuFreshness::Current);
                    assert_eq!(AttestRequest::decode(&bytes).ok(), fine.then_some(request));
                }
            }
        }
        let fresh = AttestRequest::fresh(Nonce::new([3; 32]));
        assert_eq!(AttestRequest::decode(&fresh.encode()), Ok(fresh));
    }

    #[test]
    fn an_extra_member_and_values_out_of_range_are_refused() {
        let mut bytes = request().encode();
        bytes[0] += 1;
        bytes.extend_from_slice(&[9, 0]);
        assert_eq!(
            AttestRequest::decode(&bytes),
            Err(CodecError::Unknown { key: 9.into() })
        );
        let with = |lane, age, gpu| {
            MapBuilder::new()
                .bytes(1, &[3; 32])
                .uint(2, lane)
                .uint(3, age)
                .uint(4, gpu)
                .encode()
        };
        assert!(AttestRequest::decode(&with(1, 300, 1)).is_ok());
        for bytes in [
            with(3, 0, 0),
            with(1, 301, 0),
            with(1, u64::MAX, 0),
            with(1, 0, 2),
        ] {
            assert!(matches!(
                AttestRequest::decode(&bytes),
                Err(CodecError::Value { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = AttestRequest::decode(&bytes);
        }
    }
}
