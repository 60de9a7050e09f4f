//! The link context: where in which pipeline an end stands. Its digest is in
//! the binder, so that evidence for stage 3 is of no use for stage 4.

use crate::codec::MapBuilder;
use crate::digest::{ContextDigest, ManifestDigest, PipelineId};
use crate::hash::sha256;

/// ALPN protocol of a link. Both ends refuse a session without exactly it.
pub const LINK_ALPN: &str = "bastide-link/1";

/// Where one end of a link says it stands. Evidence is bound to the context of
/// the end that attests, as that end claimed it in its HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkContext {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Stage in it, from 0.
    pub stage: u16,
    /// Digest of the manifest of the model that the pipeline computes.
    pub model: ManifestDigest,
}

impl LinkContext {
    /// SHA-256 of the deterministic CBOR of
    /// `{1: pipeline, 2: stage, 3: model, 4: "bastide-link/1"}`.
    #[must_use]
    pub fn digest(&self) -> ContextDigest {
        let context = MapBuilder::new()
            .bytes(1, self.pipeline.as_bytes())
            .uint(2, u64::from(self.stage))
            .bytes(3, self.model.as_bytes())
            .text(4, LINK_ALPN);
        ContextDigest::new(sha256(&[&context.encode()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> LinkContext {
        LinkContext {
            pipeline: PipelineId::new([0x66; 16]),
            stage: 3,
            model: ManifestDigest::new([0x77; 32]),
        }
    }

    /// Computed by other code:
    ///
    /// ```python
    /// m = bytes([0xa4, 1, 0x50]) + b"\x66"*16 + bytes([2, STAGE, 3, 0x58, 32]) + b"\x77"*32
    /// hashlib.sha256(m + bytes([4, 0x6e]) + b"bastide-link/1").hexdigest()
    /// ```
    #[test]
    fn known_answers_of_the_context() {
        assert_eq!(
            context().digest().to_string(),
            "7a9e3953aa2cf34ab2e603cbe1df4121e7348f4ba8ecb26a37a3357f955c9ff8"
        );
        let next = LinkContext {
            stage: 4,
            ..context()
        };
        assert_eq!(
            next.digest().to_string(),
            "0c9daaf07a900f14957235abe3bb263b7b16ae704449506ed1ace328d12b5916"
        );
    }

    #[test]
    fn every_member_changes_the_digest() {
        let mut digests = vec![
            context().digest(),
            LinkContext {
                pipeline: PipelineId::new([0x67; 16]),
                ..context()
            }
            .digest(),
            LinkContext {
                stage: 259,
                ..context()
            }
            .digest(),
            LinkContext {
                model: ManifestDigest::new([0x78; 32]),
                ..context()
            }
            .digest(),
        ];
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 4);
    }
}
