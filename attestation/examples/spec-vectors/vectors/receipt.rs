//! Receipts: a chain of three with what they commit to, and bytes that are no
//! receipt, most of them validly signed.

use bastide_attestation::codec::MapBuilder;
use bastide_attestation::{
    Commitment, FinishReason, ManifestDigest, Nonce, RECEIPT_PROFILE, Receipt, ReceiptClaims, Salt,
    StatementDigest, ed25519_thumbprint,
};
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable as _, iana};
use serde_json::{Value, json};

use super::{ed25519, pattern, sign};

const SEED: u8 = 0x44;
const AAD: &[u8] = b"bastide-receipt-v1";

struct Answered {
    name: &'static str,
    request: &'static [u8],
    /// As sent, piece by piece.
    response: &'static [&'static [u8]],
    finish: FinishReason,
    usage: [u64; 2],
}

const ANSWERS: [Answered; 3] = [
    Answered {
        name: "a whole answer",
        request: br#"{"model":"bastide-5m","messages":[{"role":"user","content":"Hello"}]}"#,
        response: &[br#"{"choices":[{"message":{"content":"Hi."}}]}"#],
        finish: FinishReason::Stop,
        usage: [12, 3],
    },
    Answered {
        name: "a streamed answer, in two events and the end",
        request: br#"{"stream":true}"#,
        response: &[
            b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n",
            b"data: {\"choices\":[{\"delta\":{\"content\":\".\"}}]}\n\n",
            b"data: [DONE]\n\n",
        ],
        finish: FinishReason::Length,
        usage: [1, 24],
    },
    Answered {
        name: "an answer that broke off, to an empty request",
        request: b"",
        response: &[],
        finish: FinishReason::Error,
        usage: [0, u64::MAX],
    },
];

pub(super) fn file() -> Value {
    let (_, public) = ed25519(pattern(SEED));
    super::with_head(
        "receipts of one key, each naming the one before; `refused` are bytes that no reader may take",
        json!({
            "key": {
                "seed": hex::encode(pattern::<32>(SEED)),
                "public": hex::encode(public),
                "thumbprint": ed25519_thumbprint(&public).to_string(),
            },
            "receipts": receipts(),
            "refused": refused(),
        }),
    )
}

fn claims(sequence: u64, answered: &Answered, previous: [u8; 32]) -> ReceiptClaims {
    let salt = salt(sequence);
    let mut response = Commitment::response(&salt);
    for piece in answered.response {
        response.update(piece);
    }
    ReceiptClaims {
        issued_at: 1_772_000_000 + sequence,
        nonce: Nonce::new(pattern(0x45)),
        request: Commitment::request(&salt, answered.request),
        response: response.finish(),
        model: ManifestDigest::new(pattern(0x46)),
        statement: StatementDigest::new(pattern(0x47)),
        sequence,
        finish: answered.finish,
        sampling: pattern(0x48),
        usage: answered.usage,
        previous,
        pipeline: None,
    }
}

fn salt(sequence: u64) -> Salt {
    Salt::new(pattern(0x50 + u8::try_from(sequence).unwrap_or(0)))
}

fn receipts() -> Vec<Value> {
    let (pair, public) = ed25519(pattern(SEED));
    let mut previous = [0; 32];
    (0..)
        .zip(&ANSWERS)
        .map(|(sequence, answered)| {
            let claims = claims(sequence, answered, previous);
            let receipt = Receipt::sign(claims.clone(), &public, |message| Some(sign(&pair, message)))
                .expect("the key signs");
            previous = receipt.digest();
            json!({
                "name": answered.name,
                "salt": salt(sequence).to_string(),
                "request": hex::encode(answered.request),
                "response": hex::encode(answered.response.concat()),
                "claims": {
                    "iat": claims.issued_at,
                    "nonce": claims.nonce.to_string(),
                    "request": hex::encode(claims.request.as_bytes()),
                    "response": hex::encode(claims.response.as_bytes()),
                    "model": claims.model.to_string(),
                    "statement": claims.statement.to_string(),
                    "sequence": claims.sequence,
                    "finish": claims.finish.as_str(),
                    "sampling": hex::encode(claims.sampling),
                    "usage": claims.usage,
                    "previous": hex::encode(claims.previous),
                },
                "cose": hex::encode(receipt.as_bytes()),
                "digest": hex::encode(receipt.digest()),
            })
        })
        .collect()
}

/// A receipt's parts, for making others of them.
fn good() -> CoseSign1 {
    let (pair, public) = ed25519(pattern(SEED));
    let claims = claims(0, &ANSWERS[0], [0; 32]);
    let receipt =
        Receipt::sign(claims, &public, |message| Some(sign(&pair, message))).expect("the key signs");
    CoseSign1::from_tagged_slice(receipt.as_bytes()).expect("a receipt is a COSE_Sign1")
}

fn eddsa() -> HeaderBuilder {
    HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA)
}

/// A COSE_Sign1 validly signed by the key of the fixed seed.
fn signed(protected: Header, unprotected: Header, payload: Vec<u8>, aad: &[u8]) -> Vec<u8> {
    let (pair, _) = ed25519(pattern(SEED));
    CoseSign1Builder::new()
        .protected(protected)
        .unprotected(unprotected)
        .payload(payload)
        .create_signature(aad, |message| sign(&pair, message).to_vec())
        .build()
        .to_tagged_vec()
        .expect("a COSE_Sign1 encodes")
}

fn refused() -> Vec<Value> {
    let sign1 = good();
    let payload = sign1.payload.clone().expect("a receipt has claims");
    let good = sign1.clone().to_tagged_vec().expect("a COSE_Sign1 encodes");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let with_claims = |payload: Vec<u8>| signed(eddsa().build(), Header::default(), payload, AAD);
    // One more entry, and the map's head counts it.
    let mut more = payload.clone();
    more[0] += 1;
    let (mut extra, mut twice) = (more.clone(), more);
    extra.extend_from_slice(&[0x61, b'x', 0]);
    twice.splice(1..1, payload[1..7].iter().copied());
    let mut second_version = payload.clone();
    let profile = RECEIPT_PROFILE.as_bytes();
    let at = payload
        .windows(profile.len())
        .position(|window| window == profile)
        .expect("the profile is among the claims");
    second_version[at + profile.len() - 1] = b'2';
    let mut stranger = sign1;
    stranger.signature = {
        let (pair, _) = ed25519(pattern(SEED + 1));
        sign(&pair, &stranger.tbs_data(AAD)).to_vec()
    };
    let es256 = HeaderBuilder::new().algorithm(iana::Algorithm::ES256).build();
    let with_kid = || HeaderBuilder::new().key_id(vec![1]).build();
    [
        ("no bytes", vec![]),
        ("the tag is missing", good[1..].to_vec()),
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("the last byte is missing", good[..good.len() - 1].to_vec()),
        ("a flipped bit of the signature", flipped(good.len() - 1)),
        ("a flipped bit of the last claim", flipped(good.len() - 67)),
        (
            "a signature by another key than the one it names",
            stranger.to_tagged_vec().expect("a COSE_Sign1 encodes"),
        ),
        (
            "signed without the external data",
            signed(eddsa().build(), Header::default(), payload.clone(), b""),
        ),
        (
            "signed with the external data of another version",
            signed(
                eddsa().build(),
                Header::default(),
                payload.clone(),
                b"bastide-receipt-v2",
            ),
        ),
        (
            "a protected header that says ES256",
            signed(es256, Header::default(), payload.clone(), AAD),
        ),
        (
            "a protected header with a key id",
            signed(
                eddsa().key_id(vec![1]).build(),
                Header::default(),
                payload.clone(),
                AAD,
            ),
        ),
        (
            "an unprotected header with a key id",
            signed(eddsa().build(), with_kid(), payload.clone(), AAD),
        ),
        (
            "the algorithm in the unprotected header",
            signed(Header::default(), eddsa().build(), payload, AAD),
        ),
        ("an unknown claim, validly signed", with_claims(extra)),
        ("a claim twice, validly signed", with_claims(twice)),
        (
            "another profile, validly signed",
            with_claims(
                MapBuilder::new()
                    .text(265, "tag:bastide,2026:receipt/v2")
                    .encode(),
            ),
        ),
        (
            "no claims, validly signed",
            with_claims(MapBuilder::new().encode()),
        ),
        (
            "more than 24,576 bytes, validly signed",
            with_claims(MapBuilder::new().bytes(1, &[0; 24_576]).encode()),
        ),
    ]
    .map(|(why, bytes)| {
        let error = Receipt::verify(&bytes).expect_err(why);
        json!({"why": why, "cose": hex::encode(&bytes), "error": error.to_string()})
    })
    .to_vec()
}
