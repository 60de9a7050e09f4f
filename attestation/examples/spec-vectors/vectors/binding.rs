//! Every value of the section "The binding", with every role, peer, context and
//! leaf type; lane K's signature, the sealed mode's binder and a link's CONFIRM.

use bastide_attestation::binding::{
    Ends, ExporterSecret, LeafType, Role, binder, gpu_nonce, leaf, link_confirm, quote_nonce, report_data,
    sealed_binder, session_message, spki_digest, statement_digest,
};
use bastide_attestation::{Binder, BootId, ContextDigest, Nonce, Salt, SpkiDigest, StatementDigest};
use serde_json::{Value, json};

use super::{ed25519, pattern, sign};

pub(super) fn file() -> Value {
    super::with_head(
        "labels, hashes and messages of docs/spec/attested-tls.md, \"The binding\"",
        json!({
            "binder": binders(),
            "leaf": leaves(),
            "report_data": report_datas(),
            "gpu_nonce": gpu_nonces(),
            "spki_digest": [spki()],
            "session": sessions(),
            "sealed_binder": sealed(),
            "link_confirm": confirms(),
        }),
    )
}

fn exporter(tag: u8) -> ([u8; 32], ExporterSecret) {
    let bytes = pattern(tag);
    (bytes, ExporterSecret::new(bytes.into()).expect("not zero"))
}

fn binders() -> Vec<Value> {
    let mut vectors = Vec::new();
    for (role, role_byte) in [(Role::Server, 0), (Role::Client, 1)] {
        for peer in [None, Some(pattern::<32>(0x60))] {
            for context in [None, Some(pattern::<32>(0x80))] {
                let (eks, secret) = exporter(0x10 + role_byte);
                let (nonce, attester) = (pattern::<32>(0x30), pattern::<32>(0x40));
                let ends = Ends {
                    role,
                    spki_attester: SpkiDigest::new(attester),
                    spki_peer: peer.map(SpkiDigest::new),
                    context: context.map(ContextDigest::new),
                };
                vectors.push(json!({
                    "role": role_byte,
                    "exporter_label": core::str::from_utf8(role.exporter_label()).unwrap_or_default(),
                    "eks": hex::encode(eks),
                    "nonce": hex::encode(nonce),
                    "spki_attester": hex::encode(attester),
                    "spki_peer": peer.map(hex::encode),
                    "context": context.map(hex::encode),
                    "binder": binder(&secret, &Nonce::new(nonce), &ends).to_string(),
                }));
            }
        }
    }
    vectors
}

fn leaves() -> Vec<Value> {
    let kinds = [
        (LeafType::ServerTls, 0),
        (LeafType::ClientTls, 1),
        (LeafType::SealedKey, 2),
        (LeafType::ReceiptKey, 3),
        (LeafType::LogHead, 4),
        (LeafType::Stage, 5),
    ];
    let (salt, bound) = (pattern::<32>(0x01), pattern::<32>(0x02));
    kinds
        .map(|(kind, byte)| {
            json!({
                "leaf_type": byte,
                "salt": hex::encode(salt),
                "binder": hex::encode(bound),
                "leaf": leaf(kind, &Salt::new(salt), &Binder::new(bound)).to_string(),
            })
        })
        .to_vec()
}

fn report_datas() -> Vec<Value> {
    // Of any bytes: what a statement may be is the statements' business.
    [0, 1, 55, 64, 119, 512, 1024]
        .map(|length: usize| {
            let bytes: Vec<u8> = pattern::<1024>(0xa0).into_iter().take(length).collect();
            json!({
                "statement": hex::encode(&bytes),
                "statement_digest": statement_digest(&bytes).to_string(),
                "report_data": report_data(&bytes).to_string(),
                "quote_nonce": quote_nonce(&bytes).to_string(),
            })
        })
        .to_vec()
}

fn gpu_nonces() -> Vec<Value> {
    let (boot, seed) = (pattern::<16>(0x05), pattern::<32>(0x06));
    [0, 1, 255, 256, u64::from(u32::MAX) + 1, u64::MAX]
        .map(|gpu_epoch| {
            json!({
                "boot_id": hex::encode(boot),
                "gpu_epoch": gpu_epoch,
                "seed": hex::encode(seed),
                "gpu_nonce": gpu_nonce(&BootId::new(boot), gpu_epoch, &seed).to_string(),
            })
        })
        .to_vec()
}

fn spki() -> Value {
    // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410).
    let (_, public) = ed25519(pattern(0x07));
    let head = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let der = [&head[..], &public].concat();
    json!({"spki": hex::encode(&der), "spki_digest": spki_digest(&der).to_string()})
}

fn sessions() -> Vec<Value> {
    let mut vectors = Vec::new();
    for tag in [0x08, 0x09] {
        let seed = pattern::<32>(tag);
        let (pair, public) = ed25519(seed);
        let (bound, statement) = (pattern::<32>(tag + 0x10), pattern::<32>(tag + 0x20));
        let message = session_message(&Binder::new(bound), &StatementDigest::new(statement));
        vectors.push(json!({
            "seed": hex::encode(seed),
            "session_key": hex::encode(public),
            "binder": hex::encode(bound),
            "statement_digest": hex::encode(statement),
            "message": hex::encode(&message),
            "signature": hex::encode(sign(&pair, &message)),
        }));
    }
    vectors
}

fn sealed() -> Vec<Value> {
    let nonce = pattern::<32>(0x0b);
    [0, 41, 1300]
        .map(|length: usize| {
            let config: Vec<u8> = pattern::<1300>(0x0c).into_iter().take(length).collect();
            json!({
                "key_config": hex::encode(&config),
                "nonce": hex::encode(nonce),
                "binder": sealed_binder(&config, &Nonce::new(nonce)).to_string(),
            })
        })
        .to_vec()
}

fn confirms() -> Vec<Value> {
    [0x0d, 0x0e]
        .map(|tag| {
            let (eks, own) = exporter(tag);
            let transcript = pattern::<32>(tag + 0x40);
            json!({
                "eks_own": hex::encode(eks),
                "transcript": hex::encode(transcript),
                "confirm": hex::encode(link_confirm(&own, &transcript)),
            })
        })
        .to_vec()
}
