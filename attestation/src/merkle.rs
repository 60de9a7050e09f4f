//! The session tree: a Merkle tree with RFC 9162's prefixes and exactly
//! 2^depth leaves, and proofs that a leaf is in it.

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{LeafHash, Salt, TreeHash};
use crate::hash::sha256;

/// The deepest tree: 16,384 leaves.
pub const MAX_DEPTH: u8 = 14;
/// Depths an epoch may have, so that a depth tells little about how many waited.
pub const PERMITTED_DEPTHS: [u8; 6] = [0, 4, 8, 10, 12, 14];

const NODE_PREFIX: &[u8] = &[0x01];

/// An inner node's hash.
pub(crate) fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[NODE_PREFIX, left, right])
}

/// Why a tree can't be built or a proof doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleError {
    /// The number of leaves is not 2^depth of a permitted depth.
    #[error("{leaves} leaves do not fill a tree of a permitted depth")]
    LeafCount {
        /// Leaves that came.
        leaves: usize,
    },
    /// The depth is not one of [`PERMITTED_DEPTHS`].
    #[error("depth {depth} is not permitted")]
    Depth {
        /// The depth.
        depth: u8,
    },
    /// The path has another length than the depth.
    #[error("the inclusion path has {got} hashes, the statement says depth {depth}")]
    PathLength {
        /// Depth in the statement.
        depth: u8,
        /// Hashes in the path.
        got: usize,
    },
    /// The index lies outside the tree.
    #[error("leaf index {index} lies outside a tree of depth {depth}")]
    Index {
        /// The index.
        index: u64,
        /// Depth in the statement.
        depth: u8,
    },
    /// The path leads to another root.
    #[error("the leaf is not under the statement's root")]
    Root,
}

/// A full tree over an epoch's leaves.
#[derive(Debug, Clone)]
pub struct Tree {
    depth: u8,
    /// Levels from the leaves (2^depth hashes) to the root (one hash).
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// Builds the tree. The caller pads: exactly 2^depth leaves of a permitted depth.
    ///
    /// # Errors
    /// [`MerkleError::LeafCount`] otherwise.
    pub fn new(leaves: &[LeafHash]) -> Result<Self, MerkleError> {
        let depth = PERMITTED_DEPTHS
            .into_iter()
            .find(|depth| 1_usize << depth == leaves.len())
            .ok_or(MerkleError::LeafCount { leaves: leaves.len() })?;
        let mut level: Vec<[u8; 32]> = leaves.iter().map(|leaf| *leaf.as_bytes()).collect();
        let mut levels = Vec::with_capacity(usize::from(depth) + 1);
        while level.len() > 1 {
            let (pairs, _) = level.as_chunks::<2>();
            let above = pairs.iter().map(|[left, right]| node(left, right)).collect();
            levels.push(core::mem::replace(&mut level, above));
        }
        levels.push(level);
        Ok(Self { depth, levels })
    }

    /// The smallest permitted depth that holds `leaves`, if one does.
    #[must_use]
    pub fn depth_for(leaves: usize) -> Option<u8> {
        PERMITTED_DEPTHS
            .into_iter()
            .find(|depth| leaves <= 1_usize << depth)
    }

    /// Depth: the tree has 2^depth leaves.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        // The last level of a built tree has one hash.
        TreeHash::new(
            self.levels
                .last()
                .and_then(|level| level.first())
                .copied()
                .unwrap_or([0; 32]),
        )
    }

    /// The proof that leaf `index` is in the tree; `None` if there is no such leaf.
    #[must_use]
    pub fn prove(&self, index: usize, salt: Salt) -> Option<InclusionProof> {
        if index >= 1_usize << self.depth {
            return None;
        }
        let path = self
            .levels
            .iter()
            .take(usize::from(self.depth))
            .enumerate()
            .map(|(height, level)| level.get((index >> height) ^ 1).copied())
            .collect::<Option<Vec<_>>>()?;
        Some(InclusionProof {
            index: u64::try_from(index).ok()?,
            path,
            salt,
        })
    }
}

/// Proof that one leaf is under a root, with the salt that leaf was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Which leaf, from 0.
    pub index: u64,
    /// Sibling hashes from the leaf up; as many as the tree is deep.
    pub path: Vec<[u8; 32]>,
    /// Salt of the leaf.
    pub salt: Salt,
}

impl InclusionProof {
    /// Most bytes of an encoded proof.
    pub const MAX_BYTES: usize = 640;

    /// Checks that `leaf` is under `root` in a tree of exactly `depth`.
    ///
    /// # Errors
    /// [`MerkleError`] names what doesn't hold.
    pub fn verify(&self, leaf: &LeafHash, depth: u8, root: &TreeHash) -> Result<(), MerkleError> {
        if !PERMITTED_DEPTHS.contains(&depth) {
            return Err(MerkleError::Depth { depth });
        }
        if self.path.len() != usize::from(depth) {
            return Err(MerkleError::PathLength {
                depth,
                got: self.path.len(),
            });
        }
        if self.index >> depth != 0 {
            return Err(MerkleError::Index {
                index: self.index,
                depth,
            });
        }
        let mut index = self.index;
        let mut hash = *leaf.as_bytes();
        for sibling in &self.path {
            hash = if index & 1 == 0 {
                node(&hash, sibling)
            } else {
                node(sibling, &hash)
            };
            index >>= 1;
        }
        // Both values are public; no constant time is needed.
        if hash == *root.as_bytes() {
            Ok(())
        } else {
            Err(MerkleError::Root)
        }
    }

    /// Deterministic CBOR: `{1: index, 2: [hash…], 3: salt}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::new()
            .uint(1, self.index)
            .hashes(2, &self.path)
            .bytes(3, self.salt.as_bytes())
            .encode()
    }

    /// Decodes what [`Self::encode`] gives.
    ///
    /// # Errors
    /// [`CodecError`] names the fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields::decode(bytes, Self::MAX_BYTES)?;
        let proof = Self {
            index: fields.uint(1)?,
            path: fields.hashes(2, usize::from(MAX_DEPTH))?,
            salt: Salt::new(fields.array(3)?),
        };
        fields.finish()?;
        Ok(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize, seed: u8) -> Vec<LeafHash> {
        (0..count)
            .map(|i| LeafHash::new(sha256(&[&[seed], &i.to_be_bytes()])))
            .collect()
    }

    fn salt() -> Salt {
        Salt::new([7; 32])
    }

    #[test]
    fn only_permitted_sizes_build() {
        for count in [0, 2, 3, 15, 17, 32, 1023] {
            assert_eq!(
                Tree::new(&leaves(count, 0)).unwrap_err(),
                MerkleError::LeafCount { leaves: count }
            );
        }
        for count in [1, 16, 256] {
            assert!(Tree::new(&leaves(count, 0)).is_ok());
        }
        assert_eq!(Tree::depth_for(17), Some(8));
        assert_eq!(Tree::depth_for(16_384), Some(14));
        assert_eq!(Tree::depth_for(16_385), None);
    }

    #[test]
    fn an_inner_node_is_no_leaf_of_a_shallower_tree() {
        let tree = Tree::new(&leaves(16, 1)).unwrap();
        let inner = LeafHash::new(tree.levels[1][0]);
        let path: Vec<_> = (1..4).map(|height| tree.levels[height][1]).collect();
        let proof = InclusionProof {
            index: 0,
            path,
            salt: salt(),
        };
        // The path does lead to the root: what stops it is the depth in the statement.
        assert_eq!(
            proof.verify(&inner, 4, &tree.root()),
            Err(MerkleError::PathLength { depth: 4, got: 3 })
        );
        assert_eq!(
            proof.verify(&inner, 3, &tree.root()),
            Err(MerkleError::Depth { depth: 3 })
        );
    }

    proptest! {
        #[test]
        fn every_leaf_proves_and_nothing_else_does(
            depth in prop::sample::select(vec![0_u8, 4, 8]), pick: prop::sample::Index, flip in 0_usize..256, seed: u8
        ) {
            let leaves = leaves(1 << depth, seed);
            let tree = Tree::new(&leaves).unwrap();
            let index = pick.index(leaves.len());
            let proof = tree.prove(index, salt()).unwrap();
            prop_assert_eq!(proof.verify(&leaves[index], depth, &tree.root()), Ok(()));
            prop_assert_eq!(InclusionProof::decode(&proof.encode()), Ok(proof.clone()));

            let mut wrong = *leaves[index].as_bytes();
            wrong[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(proof.verify(&LeafHash::new(wrong), depth, &tree.root()).is_err());
            for level in 0..proof.path.len() {
                let mut forged = proof.clone();
                forged.path[level][flip / 8] ^= 1 << (flip % 8);
                prop_assert!(forged.verify(&leaves[index], depth, &tree.root()).is_err());
                let mut moved = proof.clone();
                moved.index ^= 1 << level;
                prop_assert!(moved.verify(&leaves[index], depth, &tree.root()).is_err());
            }
            let mut outside = proof.clone();
            outside.index |= 1 << depth;
            prop_assert!(outside.verify(&leaves[index], depth, &tree.root()).is_err());
            let mut short = proof;
            if short.path.pop().is_some() {
                prop_assert!(short.verify(&leaves[index], depth, &tree.root()).is_err());
            }
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = InclusionProof::decode(&bytes);
        }
    }
}
