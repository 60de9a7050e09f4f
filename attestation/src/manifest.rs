//! The model manifest: which weights, tokenizer, template, arithmetic and draft
//! answer a prompt, under one digest that an epoch statement carries.

use crate::codec::MapBuilder;
use crate::digest::ManifestDigest;
use crate::hash::sha256;

const LABEL: &[u8] = b"bastide-model-manifest-v1\0";

/// What determines a model's answers. Digests are SHA-256 of exact file bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelManifest {
    /// Digest of the weights.
    pub weights: [u8; 32],
    /// Digest of `tokenizer.json`.
    pub tokenizer: [u8; 32],
    /// Digest of the chat template.
    pub chat_template: [u8; 32],
    /// Digest of `config.json`.
    pub config: [u8; 32],
    /// Which engine, of which version and arithmetic.
    pub engine: String,
    /// How the weights are held, for example `bf16`.
    pub quantisation: String,
    /// Digest of the draft model's manifest, where speculation is on.
    pub draft: Option<ManifestDigest>,
}

impl ModelManifest {
    /// SHA-256 over a label and the deterministic CBOR of the members, in the
    /// order of the fields, keys 1 to 7.
    #[must_use]
    pub fn digest(&self) -> ManifestDigest {
        let map = MapBuilder::new()
            .bytes(1, &self.weights)
            .bytes(2, &self.tokenizer)
            .bytes(3, &self.chat_template)
            .bytes(4, &self.config)
            .text(5, &self.engine)
            .text(6, &self.quantisation)
            .bytes_or_null(7, self.draft.as_ref().map(|digest| digest.as_bytes().as_slice()));
        ManifestDigest::new(sha256(&[LABEL, &map.encode()]))
    }
}

#[cfg(test)]
mod tests {
    use super::ModelManifest;
    use crate::digest::ManifestDigest;

    #[test]
    fn every_member_changes_the_digest() {
        let base = ModelManifest {
            weights: [1; 32],
            tokenizer: [2; 32],
            chat_template: [3; 32],
            config: [4; 32],
            engine: "e".to_owned(),
            quantisation: "q".to_owned(),
            draft: None,
        };
        let variants = [
            base.clone(),
            ModelManifest {
                weights: [9; 32],
                ..base.clone()
            },
            ModelManifest {
                tokenizer: [9; 32],
                ..base.clone()
            },
            ModelManifest {
                chat_template: [9; 32],
                ..base.clone()
            },
            ModelManifest {
                config: [9; 32],
                ..base.clone()
            },
            ModelManifest {
                engine: "eq".to_owned(),
                quantisation: String::new(),
                ..base.clone()
            },
            ModelManifest {
                quantisation: "r".to_owned(),
                ..base.clone()
            },
            ModelManifest {
                draft: Some(ManifestDigest::new([0; 32])),
                ..base
            },
        ];
        let mut digests: Vec<_> = variants.iter().map(ModelManifest::digest).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), variants.len());
    }
}
