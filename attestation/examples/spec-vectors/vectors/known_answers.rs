//! The known answers of the protocol: one chain of values, each made of the one before.

use bastide_attestation::binding::{
    Ends, ExporterSecret, LeafType, Role, binder, gpu_nonce, leaf, quote_nonce, report_data,
};
use bastide_attestation::{BootId, Nonce, Salt, SpkiDigest, sha256};
use serde_json::{Value, json};

pub(super) fn file() -> Value {
    let eks: [u8; 32] = core::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
    let exporter = ExporterSecret::new(eks.into()).expect("not zero");
    let (nonce, spki, salt, sibling, boot_id) = ([0x11; 32], [0x22; 32], [0x33; 32], [0x44; 32], [0x55; 16]);
    let ends = Ends {
        role: Role::Server,
        spki_attester: SpkiDigest::new(spki),
        spki_peer: None,
        context: None,
    };
    let binder = binder(&exporter, &Nonce::new(nonce), &ends);
    let leaf = leaf(LeafType::ServerTls, &Salt::new(salt), &binder);
    let root = sha256(&[&[1], leaf.as_bytes(), &sibling]);
    // Not a statement that anyone would accept: short enough to be made by hand.
    let toy: Vec<u8> = [&[0xa1, 0x06, 0x58, 0x20][..], &root].concat();
    super::with_head(
        "the known answers of docs/spec/attested-tls.md, one chain of values",
        json!({"vectors": [{
            "name": "known-answers",
            "role": 0,
            "eks": hex::encode(eks),
            "nonce": hex::encode(nonce),
            "spki_attester": hex::encode(spki),
            "spki_peer": null,
            "context": null,
            "leaf_type": 0,
            "salt": hex::encode(salt),
            "right_sibling": hex::encode(sibling),
            "boot_id": hex::encode(boot_id),
            "gpu_epoch": 7,
            "binder": binder.to_string(),
            "leaf": leaf.to_string(),
            "root": hex::encode(root),
            "statement": hex::encode(&toy),
            "report_data": report_data(&toy).to_string(),
            "quote_nonce": quote_nonce(&toy).to_string(),
            "gpu_nonce": gpu_nonce(&BootId::new(boot_id), 7, &root).to_string(),
        }]}),
    )
}
