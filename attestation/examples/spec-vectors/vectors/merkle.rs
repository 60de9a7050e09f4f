//! A tree at every permitted depth with proofs, and proofs that must be refused.

use bastide_attestation::{InclusionProof, LeafHash, PERMITTED_DEPTHS, Salt, Tree, TreeHash, sha256};
use serde_json::{Value, json};

pub(super) fn file() -> Value {
    super::with_head(
        "session trees: leaf i of a tree is SHA-256(seed ‖ u32be(i)), there are 2^depth of them",
        json!({"tree": PERMITTED_DEPTHS.map(tree).to_vec(), "refused": refused()}),
    )
}

fn seed(depth: u8) -> [u8; 32] {
    super::pattern(0x50 + depth)
}

fn leaf(seed: &[u8; 32], index: u32) -> LeafHash {
    LeafHash::new(sha256(&[seed, &index.to_be_bytes()]))
}

fn grown(depth: u8) -> Tree {
    let leaves: Vec<LeafHash> = (0..1_u32 << depth)
        .map(|index| leaf(&seed(depth), index))
        .collect();
    Tree::new(&leaves).expect("the depth is permitted")
}

fn proof_of(tree: &Tree, index: u32) -> InclusionProof {
    let salt = Salt::new(super::pattern(0x33));
    tree.prove(usize::try_from(index).unwrap_or(usize::MAX), salt)
        .expect("the leaf is in the tree")
}

fn tree(depth: u8) -> Value {
    let tree = grown(depth);
    let last = (1_u32 << depth) - 1;
    let mut indices = vec![0, 1.min(last), last / 2, last / 3 * 2, last];
    indices.sort_unstable();
    indices.dedup();
    let proofs: Vec<Value> = indices
        .into_iter()
        .map(|index| {
            let proof = proof_of(&tree, index);
            assert_eq!(
                proof.verify(&leaf(&seed(depth), index), depth, &tree.root()),
                Ok(())
            );
            json!({
                "index": index,
                "path": proof.path.iter().map(hex::encode).collect::<Vec<_>>(),
                "salt": proof.salt.to_string(),
                "cbor": hex::encode(proof.encode()),
            })
        })
        .collect();
    json!({
        "depth": depth,
        "seed": hex::encode(seed(depth)),
        "root": tree.root().to_string(),
        "proofs": proofs,
    })
}

fn refused() -> Vec<Value> {
    let (tree, index) = (grown(4), 5);
    let (good, own) = (proof_of(&tree, index), leaf(&seed(4), index));
    let parent = LeafHash::new(sha256(&[&[1], &good.path[0], own.as_bytes()]));
    let with = |change: &dyn Fn(&mut InclusionProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        proof
    };
    let empty = with(&|proof| {
        proof.path.clear();
        proof.index = 0;
    });
    let flipped = |height: usize| with(&move |proof| proof.path[height][31] ^= 1);
    [
        (
            "an inner node as the leaf of a shallower tree: the depth is the statement's",
            with(&|proof| {
                proof.path.remove(0);
                proof.index >>= 1;
            }),
            parent,
            4,
        ),
        (
            "depth 3 is not permitted, though the path has three hashes",
            with(&|proof| {
                proof.path.remove(0);
                proof.index >>= 1;
            }),
            parent,
            3,
        ),
        (
            "a path one hash short",
            with(&|proof| {
                proof.path.pop();
            }),
            own,
            4,
        ),
        (
            "a path one hash long",
            with(&|proof| proof.path.push([0; 32])),
            own,
            4,
        ),
        ("no path, in a tree of depth 4", empty.clone(), own, 4),
        ("the statement says depth 8", good.clone(), own, 8),
        (
            "the root as a leaf, without a path",
            empty,
            LeafHash::new(*tree.root().as_bytes()),
            4,
        ),
        (
            "an index outside the tree, which has the same last four bits",
            with(&|proof| proof.index += 16),
            own,
            4,
        ),
        (
            "the index of the neighbour",
            with(&|proof| proof.index ^= 1),
            own,
            4,
        ),
        ("another leaf", good.clone(), leaf(&seed(4), index + 1), 4),
        ("a flipped bit in the lowest sibling", flipped(0), own, 4),
        ("a flipped bit in the highest sibling", flipped(3), own, 4),
    ]
    .map(|(why, proof, leaf, depth)| refusal(why, &proof, &leaf, depth, &tree.root()))
    .to_vec()
}

fn refusal(why: &str, proof: &InclusionProof, leaf: &LeafHash, depth: u8, root: &TreeHash) -> Value {
    let error = proof
        .verify(leaf, depth, root)
        .expect_err("listed as refused, and the code accepts it");
    json!({
        "why": why,
        "leaf": leaf.to_string(),
        "depth": depth,
        "root": root.to_string(),
        "cbor": hex::encode(proof.encode()),
        "error": error.to_string(),
    })
}
