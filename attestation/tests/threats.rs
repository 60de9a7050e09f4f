//! T9 of docs/spec/threats.md: the shape of the session tree can't be bent so
//! that something else passes for a session's leaf.

use bastide_attestation::binding::{LeafType, leaf};
use bastide_attestation::{
    Binder, EpochStatement, InclusionProof, LeafHash, MAX_DEPTH, MerkleError, PERMITTED_DEPTHS, Salt, Tree,
    TreeHash, sha256,
};
use proptest::prelude::*;

/// A tree over sessions' leaves, as an enclave builds it, and every node of it
/// from the leaves up, computed here.
fn grown(depth: u8, seed: u8) -> (Tree, Vec<Vec<[u8; 32]>>) {
    let leaves: Vec<LeafHash> = (0..1_u32 << depth)
        .map(|index| {
            let salt = Salt::new(sha256(&[&[seed], b"salt", &index.to_be_bytes()]));
            let binder = Binder::new(sha256(&[&[seed], b"binder", &index.to_be_bytes()]));
            leaf(LeafType::ServerTls, &salt, &binder)
        })
        .collect();
    let mut levels = vec![leaves.iter().map(|leaf| *leaf.as_bytes()).collect::<Vec<_>>()];
    while levels[levels.len() - 1].len() > 1 {
        let below = &levels[levels.len() - 1];
        let above = below
            .chunks(2)
            .map(|pair| sha256(&[&[1], &pair[0], &pair[1]]))
            .collect();
        levels.push(above);
    }
    (Tree::new(&leaves).unwrap(), levels)
}

fn proof(index: u64, path: Vec<[u8; 32]>) -> InclusionProof {
    InclusionProof {
        index,
        path,
        salt: Salt::new([7; 32]),
    }
}

/// The siblings of what stands at `height` and `index`, up to the root.
fn siblings(levels: &[Vec<[u8; 32]>], height: usize, index: usize) -> Vec<[u8; 32]> {
    (height..levels.len() - 1)
        .map(|level| levels[level][(index >> (level - height)) ^ 1])
        .collect()
}

fn depths() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0_u8, 4, 8, 10])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every inner node, whose path to the root does hold, is refused at every
    /// depth that a statement can say.
    #[test]
    fn t9_no_inner_node_passes_for_a_leaf(
        depth in depths(), seed: u8, height in 1_usize..11, pick: prop::sample::Index
    ) {
        let (tree, levels) = grown(depth, seed);
        prop_assume!(height < levels.len());
        let index = pick.index(levels[height].len());
        let node = LeafHash::new(levels[height][index]);
        let path = siblings(&levels, height, index);
        let forged = proof(u64::try_from(index).unwrap(), path.clone());
        let refused = MerkleError::PathLength { depth, got: path.len() };
        prop_assert_eq!(forged.verify(&node, depth, &tree.root()), Err(refused));
        // Nor with made-up siblings below it, which give the length that is wanted.
        let mut padded = vec![[0; 32]; usize::from(depth) - path.len()];
        padded.extend(path);
        for low in [0, 1] {
            let index = u64::try_from(index << (usize::from(depth) - padded.len() + height) | low).unwrap();
            let forged = proof(index & ((1 << depth) - 1), padded.clone());
            prop_assert!(forged.verify(&node, depth, &tree.root()).is_err());
        }
    }

    /// A leaf's own preimage can't be cut into two children: what is hashed for a
    /// leaf begins with another byte than what is hashed for a node.
    #[test]
    fn t9_no_leaf_is_the_hash_of_two_children(salt: [u8; 32], binder: [u8; 32], kind in 0_u8..6) {
        let kinds = [
            LeafType::ServerTls, LeafType::ClientTls, LeafType::SealedKey, LeafType::ReceiptKey, LeafType::LogHead,
            LeafType::Stage,
        ];
        let own = leaf(kinds[usize::from(kind)], &Salt::new(salt), &Binder::new(binder));
        let root = TreeHash::new(*own.as_bytes());
        // The one leaf of a tree of depth 0 is under its root; its parts are not.
        prop_assert_eq!(proof(0, vec![]).verify(&own, 0, &root), Ok(()));
        for (part, sibling, index) in [(salt, binder, 0), (binder, salt, 1)] {
            for depth in 0..=MAX_DEPTH {
                let forged = proof(index, vec![sibling]);
                prop_assert!(forged.verify(&LeafHash::new(part), depth, &root).is_err());
            }
        }
        prop_assert_ne!(sha256(&[&[1], &salt, &binder]), *own.as_bytes());
        prop_assert_ne!(sha256(&[&salt, &binder]), *own.as_bytes());
    }

    /// Of one leaf there is one proof: no truncated, extended, shifted or
    /// re-indexed form of it holds, at any depth at all.
    #[test]
    fn t9_no_other_shape_of_a_proof_holds(depth in depths(), seed: u8, pick: prop::sample::Index, cut: usize) {
        let (tree, levels) = grown(depth, seed);
        let index = pick.index(1 << depth);
        let own = LeafHash::new(levels[0][index]);
        let number = u64::try_from(index).unwrap();
        let path = siblings(&levels, 0, index);
        for claimed in 0..=u8::MAX {
            let holds = proof(number, path.clone()).verify(&own, claimed, &tree.root()).is_ok();
            prop_assert_eq!(holds, claimed == depth, "depth {}", claimed);
        }
        let mut shapes = vec![[&path[..], &[levels[0][index]]].concat(), [&[[0; 32]], &path[..]].concat()];
        if !path.is_empty() {
            shapes.push(path[..cut % path.len()].to_vec());
            shapes.push(path[1..].to_vec());
        }
        for shape in shapes {
            for claimed in PERMITTED_DEPTHS {
                for number in [number, number >> 1, number << 1] {
                    prop_assert!(proof(number, shape.clone()).verify(&own, claimed, &tree.root()).is_err());
                }
            }
        }
        for far in [1 << depth, 1 << 32, 1 << 63] {
            prop_assert!(proof(number | far, path.clone()).verify(&own, depth, &tree.root()).is_err());
        }
    }
}

/// The depth is the statement's, which the hardware signed, and no other than a
/// permitted one can be stated.
#[test]
fn t9_a_statement_says_a_permitted_depth_or_is_none() {
    let text = include_str!("../../docs/spec/vectors/statements.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let good = hex::decode(file["accepted"][0]["cbor"].as_str().unwrap()).unwrap();
    let stated = EpochStatement::decode(&good).unwrap();
    // Key 5 follows the 32 bytes of key 4; its value is in the byte after it.
    let previous = stated.previous.as_bytes();
    let at = good.windows(32).position(|bytes| bytes == previous).unwrap() + 33;
    assert_eq!((good[at - 1], good[at]), (5, stated.depth));
    for depth in 0..24 {
        let mut changed = good.clone();
        changed[at] = depth;
        let read = EpochStatement::decode(&changed).map(|statement| statement.depth);
        assert_eq!(read.ok(), PERMITTED_DEPTHS.contains(&depth).then_some(depth));
    }
}
