//! The epoch statement: what the hardware signs, as deterministic CBOR of at
//! most 1,024 bytes (`docs/spec/attested-tls.md`, "Epoch statement").

use crate::binding::{quote_nonce, report_data, statement_digest};
use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{
    BootId, KeyThumbprint, ManifestDigest, PolicyDigest, QuoteNonce, ReportData, StatementDigest, TreeHash,
};
use crate::merkle::PERMITTED_DEPTHS;

/// The most bytes a statement may have.
pub const MAX_STATEMENT_BYTES: usize = 1024;
const VERSION: u64 = 1;
const FLAG_DEBUG: u64 = 1;
const FLAG_PIPELINE: u64 = 2;

/// Where a GPU nonce's seed comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuSeedKind {
    /// SHA-256 of the previous epoch's statement.
    PreviousStatement,
    /// A root computed first, on demand.
    Strict,
}

/// What the enclave's clock is set by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The host: a hint, not evidence.
    Host,
    /// The guest's secure TSC since a time verified elsewhere.
    SecureTsc,
}

/// What one epoch of an enclave states about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStatement {
    /// Random identity of this boot.
    pub boot_id: BootId,
    /// Number of the epoch in this boot, from 0, always rising.
    pub epoch: u64,
    /// SHA-256 of the statement before; all zero in epoch 0.
    pub previous: StatementDigest,
    /// Depth of the session tree.
    pub depth: u8,
    /// Root of the session tree.
    pub root: TreeHash,
    /// Number of the GPU epoch.
    pub gpu_epoch: u64,
    /// SHA-256 of the GPU evidence as sent; `None` if there is none.
    pub gpu_digest: Option<[u8; 32]>,
    /// Where the GPU nonce's seed comes from.
    pub gpu_seed: GpuSeedKind,
    /// Ed25519 public key of lane K.
    pub session_key: [u8; 32],
    /// COSE thumbprint of the receipt key.
    pub receipt_key: KeyThumbprint,
    /// SHA-256 of the sealed-mode key configuration; `None` if the mode is off.
    pub sealed_key: Option<[u8; 32]>,
    /// Digest of the manifest of the model that answers.
    pub model: ManifestDigest,
    /// Digest of the enclave's configuration.
    pub configuration: PolicyDigest,
    /// The enclave's clock, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// What that clock is set by.
    pub time_source: TimeSource,
    /// Whether this is a debug build. Verifiers refuse it.
    pub debug: bool,
    /// Whether it is the head of a pipeline: answers are computed with other
    /// enclaves, which see activations, and of which this statement proves
    /// nothing. They prove themselves apart (`docs/spec/pipeline.md`).
    pub pipeline: bool,
}

impl EpochStatement {
    /// The deterministic encoding.
    #[must_use]
    pub fn encode(&self) -> StatementBytes {
        let map = MapBuilder::new()
            .uint(1, VERSION)
            .bytes(2, self.boot_id.as_bytes())
            .uint(3, self.epoch)
            .bytes(4, self.previous.as_bytes())
            .uint(5, u64::from(self.depth))
            .bytes(6, self.root.as_bytes())
            .uint(7, self.gpu_epoch)
            .bytes_or_null(8, self.gpu_digest.as_ref().map(<[u8; 32]>::as_slice))
            .uint(
                9,
                match self.gpu_seed {
                    GpuSeedKind::PreviousStatement => 0,
                    GpuSeedKind::Strict => 1,
                },
            )
            .bytes(10, &self.session_key)
            .bytes(11, self.receipt_key.as_bytes())
            .bytes_or_null(12, self.sealed_key.as_ref().map(<[u8; 32]>::as_slice))
            .bytes(13, self.model.as_bytes())
            .bytes(14, self.configuration.as_bytes())
            .uints(
                15,
                &[
                    self.time_ms,
                    match self.time_source {
                        TimeSource::Host => 0,
                        TimeSource::SecureTsc => 1,
                    },
                ],
            )
            .uint(16, self.flags());
        StatementBytes(map.encode())
    }

    /// Key 16.
    #[must_use]
    pub const fn flags(&self) -> u64 {
        let debug = if self.debug { FLAG_DEBUG } else { 0 };
        let pipeline = if self.pipeline { FLAG_PIPELINE } else { 0 };
        debug | pipeline
    }

    /// Decodes a statement strictly: unknown keys, duplicate keys, other
    /// encodings, other versions and unknown flags are refused.
    ///
    /// # Errors
    /// [`CodecError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields::decode(bytes, MAX_STATEMENT_BYTES)?;
        if fields.uint(1)? != VERSION {
            return Err(fault(1, "version 1"));
        }
        let flags = fields.uint(16)?;
        if flags & !(FLAG_DEBUG | FLAG_PIPELINE) != 0 {
            return Err(fault(16, "no flag but debug and pipeline"));
        }
        let statement = Self {
            boot_id: BootId::new(fields.array(2)?),
            epoch: fields.uint(3)?,
            previous: StatementDigest::new(fields.array(4)?),
            depth: u8::try_from(fields.uint(5)?)
                .ok()
                .filter(|depth| PERMITTED_DEPTHS.contains(depth))
                .ok_or_else(|| fault(5, "a depth of 0, 4, 8, 10, 12 or 14"))?,
            root: TreeHash::new(fields.array(6)?),
            gpu_epoch: fields.uint(7)?,
            gpu_digest: fields.array_or_null(8)?,
            gpu_seed: match fields.uint(9)? {
                0 => GpuSeedKind::PreviousStatement,
                1 => GpuSeedKind::Strict,
                _ => return Err(fault(9, "seed kind 0 or 1")),
            },
            session_key: fields.array(10)?,
            receipt_key: KeyThumbprint::new(fields.array(11)?),
            sealed_key: fields.array_or_null(12)?,
            model: ManifestDigest::new(fields.array(13)?),
            configuration: PolicyDigest::new(fields.array(14)?),
            time_ms: 0,
            time_source: TimeSource::Host,
            debug: flags & FLAG_DEBUG != 0,
            pipeline: flags & FLAG_PIPELINE != 0,
        };
        let [time_ms, source] = fields.uints(15)?;
        let time_source = match source {
            0 => TimeSource::Host,
            1 => TimeSource::SecureTsc,
            _ => return Err(fault(15, "time source 0 or 1")),
        };
        fields.finish()?;
        Ok(Self {
            time_ms,
            time_source,
            ..statement
        })
    }
}

fn fault(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

/// The exact bytes of an encoded statement. Only these are hashed into
/// REPORT_DATA: an attester takes this type, never a caller's 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementBytes(Vec<u8>);

impl StatementBytes {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// REPORT_DATA of this statement.
    #[must_use]
    pub fn report_data(&self) -> ReportData {
        report_data(&self.0)
    }

    /// Nonce of a vTPM's quote over this statement.
    #[must_use]
    pub fn quote_nonce(&self) -> QuoteNonce {
        quote_nonce(&self.0)
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> StatementDigest {
        statement_digest(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn statement() -> EpochStatement {
        EpochStatement {
            boot_id: BootId::new([1; 16]),
            epoch: 3,
            previous: StatementDigest::new([2; 32]),
            depth: 4,
            root: TreeHash::new([3; 32]),
            gpu_epoch: 0,
            gpu_digest: None,
            gpu_seed: GpuSeedKind::PreviousStatement,
            session_key: [4; 32],
            receipt_key: KeyThumbprint::new([5; 32]),
            sealed_key: None,
            model: ManifestDigest::new([6; 32]),
            configuration: PolicyDigest::new([7; 32]),
            time_ms: 1_764_000_000_000,
            time_source: TimeSource::Host,
            debug: false,
            pipeline: false,
        }
    }

    #[test]
    fn a_statement_round_trips_in_a_third_of_its_limit() {
        let bytes = statement().encode();
        assert_eq!(EpochStatement::decode(bytes.as_bytes()), Ok(statement()));
        assert!(
            bytes.as_bytes().len() < MAX_STATEMENT_BYTES / 3,
            "{}",
            bytes.as_bytes().len()
        );
    }

    #[test]
    fn every_flag_is_read_as_it_was_stated() {
        for (flags, debug, pipeline) in [
            (0, false, false),
            (1, true, false),
            (2, false, true),
            (3, true, true),
        ] {
            let stated = EpochStatement {
                debug,
                pipeline,
                ..statement()
            };
            assert_eq!(stated.flags(), flags);
            assert_eq!(EpochStatement::decode(stated.encode().as_bytes()), Ok(stated));
        }
    }

    #[test]
    fn an_extra_key_is_refused() {
        let mut bytes = statement().encode().as_bytes().to_vec();
        bytes[0] += 1;
        bytes.extend_from_slice(&[17, 0]);
        assert_eq!(
            EpochStatement::decode(&bytes),
            Err(CodecError::Unknown { key: 17.into() })
        );
    }

    #[test]
    fn unknown_version_flags_depths_and_kinds_are_refused() {
        for (key, value) in [(1, 2), (5, 3), (5, 300), (9, 2), (16, 4), (16, 7)] {
            let bytes = statement().encode();
            let mut map: std::collections::BTreeMap<u8, serde_cbor::Value> =
                serde_cbor::from_slice(bytes.as_bytes()).unwrap();
            map.insert(key, serde_cbor::Value::Integer(value));
            let changed = serde_cbor::to_vec(&map).unwrap();
            assert!(
                matches!(EpochStatement::decode(&changed), Err(CodecError::Value { .. })),
                "key {key} value {value}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_other_bytes_decode_to_the_same_statement(position: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = statement().encode().as_bytes().to_vec();
            let at = position.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(EpochStatement::decode(&bytes) != Ok(statement()));
        }

        #[test]
        fn truncation_is_refused(position: prop::sample::Index) {
            let bytes = statement().encode().as_bytes().to_vec();
            prop_assert!(EpochStatement::decode(&bytes[..position.index(bytes.len())]).is_err());
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = EpochStatement::decode(&bytes);
        }
    }
}
