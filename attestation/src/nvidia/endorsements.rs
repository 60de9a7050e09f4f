//! What NVIDIA issued for a machine's devices, as sent along with their
//! evidence: manifests, OCSP answers and revocation lists, in any order. Which
//! belongs to what, and whether it is any good, is the verifier's business.

use crate::codec::{CodecError, decode_pairs, encode_pairs};

/// Most bytes of a reference integrity manifest. Real ones have 20 to 26 KB.
pub const MAX_RIM_BYTES: usize = 256 * 1024;
/// Most bytes of an OCSP answer. Real ones have about 1 KB.
pub const MAX_OCSP_BYTES: usize = 16 * 1024;
/// Most bytes of a revocation list.
pub const MAX_GPU_CRL_BYTES: usize = 64 * 1024;
/// Most items: three answers for each of sixteen devices, and some manifests.
const MAX_ITEMS: usize = 96;
/// Most bytes of all of them: what an envelope has room for.
const MAX_BYTES: usize = 1024 * 1024;

const RIM: &[u8] = b"rim";
const OCSP: &[u8] = b"ocsp";
const CRL: &[u8] = b"crl";

/// Endorsements of GPUs and NVSwitches.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct GpuEndorsements {
    /// Reference integrity manifests, XML as published.
    pub rims: Vec<Vec<u8>>,
    /// OCSP responses, DER.
    pub ocsp: Vec<Vec<u8>>,
    /// Certificate revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
}

impl core::fmt::Debug for GpuEndorsements {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let sizes = |items: &[Vec<u8>]| items.iter().map(Vec::len).collect::<Vec<_>>();
        f.debug_struct("GpuEndorsements")
            .field("rim_bytes", &sizes(&self.rims))
            .field("ocsp_bytes", &sizes(&self.ocsp))
            .field("crl_bytes", &sizes(&self.crls))
            .finish()
    }
}

/// Why bytes are not endorsements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuEndorsementsError {
    /// Not the CBOR that was expected.
    #[error("GPU endorsements: {0}")]
    Codec(#[from] CodecError),
    /// Too many of them.
    #[error("at most {MAX_ITEMS} GPU endorsements were expected, got {got}")]
    Count {
        /// How many came.
        got: usize,
    },
    /// Of a kind that is not known.
    #[error("GPU endorsement {index}: expected a kind `rim`, `ocsp` or `crl`")]
    Kind {
        /// Which, from 0.
        index: usize,
    },
    /// One with too many bytes.
    #[error("GPU endorsement {index}: at most {limit} bytes were expected, got {got}")]
    TooLarge {
        /// Which, from 0.
        index: usize,
        /// The most that its kind has.
        limit: usize,
        /// What came.
        got: usize,
    },
}

impl GpuEndorsements {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rims.is_empty() && self.ocsp.is_empty() && self.crls.is_empty()
    }

    /// A CBOR array of `[kind, bytes]`: manifests, then OCSP answers, then lists.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_pairs(
            [(RIM, &self.rims), (OCSP, &self.ocsp), (CRL, &self.crls)]
                .into_iter()
                .flat_map(|(kind, items)| items.iter().map(move |item| [kind, &item[..]])),
        )
    }

    /// Reads them, whatever their order.
    ///
    /// # Errors
    /// [`GpuEndorsementsError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, GpuEndorsementsError> {
        let pairs = decode_pairs(bytes, MAX_BYTES)?;
        if pairs.len() > MAX_ITEMS {
            return Err(GpuEndorsementsError::Count { got: pairs.len() });
        }
        let mut endorsements = Self::default();
        for (index, [kind, item]) in pairs.into_iter().enumerate() {
            let (list, limit) = match &kind[..] {
                RIM => (&mut endorsements.rims, MAX_RIM_BYTES),
                OCSP => (&mut endorsements.ocsp, MAX_OCSP_BYTES),
                CRL => (&mut endorsements.crls, MAX_GPU_CRL_BYTES),
                _ => return Err(GpuEndorsementsError::Kind { index }),
            };
            let got = item.len();
            if got > limit {
                return Err(GpuEndorsementsError::TooLarge { index, limit, got });
            }
            list.push(item);
        }
        Ok(endorsements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_kinds_and_oversized_items_are_named() {
        let bytes = encode_pairs([[RIM, &[1][..]], [b"vbios", &[2]]]);
        let fault = GpuEndorsementsError::Kind { index: 1 };
        assert_eq!(GpuEndorsements::decode(&bytes), Err(fault));
        let large = vec![0; MAX_OCSP_BYTES + 1];
        let bytes = encode_pairs([[OCSP, &large[..]]]);
        let fault = GpuEndorsementsError::TooLarge {
            index: 0,
            limit: MAX_OCSP_BYTES,
            got: MAX_OCSP_BYTES + 1,
        };
        assert_eq!(GpuEndorsements::decode(&bytes), Err(fault));
        let bytes = encode_pairs(vec![[CRL, &[][..]]; MAX_ITEMS + 1]);
        let fault = GpuEndorsementsError::Count { got: MAX_ITEMS + 1 };
        assert_eq!(GpuEndorsements::decode(&bytes), Err(fault));
    }

    proptest! {
        #[test]
        fn endorsements_round_trip(rims: Vec<Vec<u8>>, ocsp: Vec<Vec<u8>>) {
            let endorsements = GpuEndorsements { rims, ocsp, crls: vec![vec![7]] };
            prop_assume!(endorsements.rims.len() + endorsements.ocsp.len() < MAX_ITEMS);
            prop_assert_eq!(GpuEndorsements::decode(&endorsements.encode()), Ok(endorsements));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = GpuEndorsements::decode(&bytes);
        }
    }
}
