//! What ends of a link say to one another: contexts, HELLOs, frames with the
//! CONFIRM over them, and membership credentials; each with what to refuse.

use bastide_attestation::binding::{ExporterSecret, Role, link_confirm};
use bastide_attestation::codec::MapBuilder;
use bastide_attestation::link::{
    FRAME_HEADER_BYTES, FrameHeader, FrameType, Hello, LinkContext, encode_frame,
};
use bastide_attestation::{
    Credential, CredentialClaims, ManifestDigest, Nonce, PipelineId, ReportId, SpkiDigest, UnixTime,
    ed25519_thumbprint, sha256,
};
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana};
use serde_json::{Value, json};

use super::{ed25519, pattern, sign};

const ISSUER: u8 = 0x61;
const AAD: &[u8] = b"bastide-credential-v1";

pub(super) fn file() -> Value {
    super::with_head(
        "docs/spec/attested-link.md: contexts, HELLO, frames and CONFIRM, membership credentials",
        json!({
            "context": contexts(),
            "hello": hellos(),
            "hello_refused": hellos_refused(),
            "frame_header": headers(),
            "confirm": [confirm()],
            "credential": credentials(),
            "credential_refused": credentials_refused(),
        }),
    )
}

fn context(stage: u16) -> LinkContext {
    LinkContext {
        pipeline: PipelineId::new([0x66; 16]),
        stage,
        model: ManifestDigest::new([0x77; 32]),
    }
}

fn contexts() -> Vec<Value> {
    [0, 3, 4, 24, 256, u16::MAX]
        .map(|stage| {
            let context = context(stage);
            json!({
                "pipeline": context.pipeline.to_string(),
                "stage": stage,
                "model": context.model.to_string(),
                "context": context.digest().to_string(),
            })
        })
        .to_vec()
}

fn hello(role: Role, credential: Option<Vec<u8>>, capabilities: &[&str]) -> Hello {
    Hello {
        role,
        nonce: Nonce::new([0x11; 32]),
        credential,
        context: context(3),
        capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn hellos() -> Vec<Value> {
    let credential = Some(pattern::<300>(0x62).to_vec());
    [
        hello(Role::Client, None, &["bf16"]),
        hello(Role::Server, None, &[]),
        hello(Role::Client, credential, &["a", "bf16", "zstd/1.5"]),
    ]
    .map(|hello| {
        let bytes = hello.encode().expect("within bounds");
        assert_eq!(Hello::decode(&bytes).as_ref(), Ok(&hello));
        json!({
            "role": match hello.role {
                Role::Server => 0,
                Role::Client => 1,
            },
            "nonce": hello.nonce.to_string(),
            "credential": hello.credential.as_ref().map(hex::encode),
            "pipeline": hello.context.pipeline.to_string(),
            "stage": hello.context.stage,
            "model": hello.context.model.to_string(),
            "capabilities": hello.capabilities,
            "cbor": hex::encode(bytes),
        })
    })
    .to_vec()
}

fn hellos_refused() -> Vec<Value> {
    let map = || {
        MapBuilder::new()
            .uint(1, 1)
            .uint(2, 1)
            .bytes(3, &[0x11; 32])
            .bytes_or_null(4, None)
            .bytes(5, &[0x66; 16])
            .uint(6, 3)
            .bytes(7, &[0x77; 32])
            .texts(8, &["bf16"])
    };
    let good = map().encode();
    let many: Vec<String> = (10..27).map(|number| format!("n{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    [
        ("no bytes", vec![]),
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("version 2", map().uint(1, 2).encode()),
        ("role 2", map().uint(2, 2).encode()),
        ("a nonce of 31 bytes", map().bytes(3, &[1; 31]).encode()),
        ("an empty credential", map().bytes(4, &[]).encode()),
        (
            "a credential of more than 1,024 bytes",
            map().bytes(4, &[1; 1025]).encode(),
        ),
        ("a pipeline's name of 15 bytes", map().bytes(5, &[1; 15]).encode()),
        ("stage 65,536", map().uint(6, 65_536).encode()),
        ("a model that is null", map().bytes_or_null(7, None).encode()),
        (
            "capabilities in another order",
            map().texts(8, &["b", "a"]).encode(),
        ),
        ("a capability twice", map().texts(8, &["a", "a"]).encode()),
        ("a capability in capitals", map().texts(8, &["A"]).encode()),
        ("a capability without a name", map().texts(8, &[""]).encode()),
        (
            "a capability of 33 characters",
            map().texts(8, &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]).encode(),
        ),
        ("17 capabilities", map().texts(8, &many).encode()),
        ("an unknown key, 9", map().uint(9, 0).encode()),
    ]
    .map(|(why, bytes)| {
        let error = Hello::decode(&bytes).expect_err(why);
        json!({"why": why, "cbor": hex::encode(&bytes), "error": error.to_string()})
    })
    .to_vec()
}

/// Headers at and beside the bounds of each type.
fn headers() -> Vec<Value> {
    let mut vectors = Vec::new();
    for kind in 0..=8_u8 {
        for length in [
            0,
            1,
            2,
            3,
            31,
            32,
            33,
            4096,
            4097,
            262_144,
            262_145,
            1_048_576,
            1_048_577,
            u32::MAX,
        ] {
            let [a, b, c, d] = length.to_be_bytes();
            let header: [u8; FRAME_HEADER_BYTES] = [kind, a, b, c, d];
            vectors.push(json!({
                "header": hex::encode(header),
                "allowed": FrameHeader::decode(&header).is_ok(),
            }));
        }
    }
    vectors
}

fn confirm() -> Value {
    let frame = |kind, body: &[u8]| encode_frame(kind, body).expect("within bounds");
    let hello_of = |role| {
        frame(
            FrameType::Hello,
            &hello(role, None, &["bf16"]).encode().expect("within bounds"),
        )
    };
    let frames = [
        hello_of(Role::Client),
        frame(FrameType::Evidence, &pattern::<80>(0x63)),
        hello_of(Role::Server),
        frame(FrameType::Evidence, &pattern::<81>(0x64)),
    ];
    let transcript = sha256(&[&frames[0], &frames[1], &frames[2], &frames[3]]);
    let of = |eks: [u8; 32]| {
        let own = ExporterSecret::new(eks.into()).expect("not zero");
        hex::encode(link_confirm(&own, &transcript))
    };
    json!({
        "initiator": frames[..2].iter().map(hex::encode).collect::<Vec<_>>(),
        "responder": frames[2..].iter().map(hex::encode).collect::<Vec<_>>(),
        "transcript": hex::encode(transcript),
        "eks_client": hex::encode(pattern::<32>(0x65)),
        "eks_server": hex::encode(pattern::<32>(0x66)),
        "confirm_of_initiator": of(pattern(0x65)),
        "confirm_of_responder": of(pattern(0x66)),
    })
}

fn claims() -> CredentialClaims {
    CredentialClaims {
        not_before: UnixTime::from_secs(1_772_000_000),
        expires: UnixTime::from_secs(1_772_086_400),
        spki: SpkiDigest::new(pattern(0x67)),
        report_id: ReportId::new(pattern(0x68)),
        pipeline: PipelineId::new([0x66; 16]),
        stages: [3, 5],
        model: ManifestDigest::new([0x77; 32]),
    }
}

fn issued(claims: &CredentialClaims) -> Credential {
    let (pair, public) = ed25519(pattern(ISSUER));
    Credential::issue(claims, &public, |message| Some(sign(&pair, message))).expect("the key signs")
}

fn credentials() -> Vec<Value> {
    let longest = CredentialClaims {
        expires: UnixTime::from_secs(1_772_000_000 + 366 * 86_400),
        stages: [0, u16::MAX],
        ..claims()
    };
    let (_, public) = ed25519(pattern(ISSUER));
    [claims(), longest]
        .map(|claims| {
            json!({
                "issuer_seed": hex::encode(pattern::<32>(ISSUER)),
                "issuer": hex::encode(public),
                "claims": {
                    "not_before": claims.not_before.as_secs(),
                    "expires": claims.expires.as_secs(),
                    "spki": claims.spki.to_string(),
                    "report_id": claims.report_id.to_string(),
                    "pipeline": claims.pipeline.to_string(),
                    "stages": claims.stages,
                    "model": claims.model.to_string(),
                },
                "cose": hex::encode(issued(&claims).as_bytes()),
            })
        })
        .to_vec()
}

/// The claims of a good credential, to be changed.
fn map() -> MapBuilder {
    MapBuilder::new()
        .uint(4, 1_772_086_400)
        .uint(5, 1_772_000_000)
        .map(8, MapBuilder::new().bytes(3, &pattern::<32>(0x67)))
        .text(265, "tag:bastide,2026:link-credential/v1")
        .bytes(-75_201, &pattern::<32>(0x68))
        .bytes(-75_202, &[0x66; 16])
        .uints(-75_203, &[3, 5])
        .bytes(-75_204, &[0x77; 32])
}

fn credentials_refused() -> Vec<Value> {
    let (pair, public) = ed25519(pattern(ISSUER));
    let thumbprint = ed25519_thumbprint(&public);
    let headed = |header: coset::Header, aad: &[u8], payload: Vec<u8>| {
        CoseSign1Builder::new()
            .protected(header)
            .payload(payload)
            .create_signature(aad, |message| sign(&pair, message).to_vec())
            .build()
            .to_tagged_vec()
            .expect("a COSE_Sign1 encodes")
    };
    let header = || HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA);
    let named = || header().key_id(thumbprint.as_bytes().to_vec()).build();
    let with = |claims: MapBuilder| headed(named(), AAD, claims.encode());
    assert_eq!(
        with(map()),
        issued(&claims()).as_bytes(),
        "the pieces make the credential that the code issues"
    );
    let good = with(map());
    let mut flipped = good.clone();
    *flipped.last_mut().expect("it has bytes") ^= 1;
    let mut stranger = CoseSign1::from_tagged_slice(&good).expect("a COSE_Sign1");
    let (other, other_public) = ed25519(pattern(ISSUER + 1));
    stranger.signature = sign(&other, &stranger.tbs_data(AAD)).to_vec();
    let other_name = ed25519_thumbprint(&other_public).as_bytes().to_vec();
    [
        ("no bytes", vec![]),
        ("the tag is missing", good[1..].to_vec()),
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("a flipped bit of the signature", flipped),
        (
            "signed by another key under the issuer's name",
            stranger.to_tagged_vec().expect("a COSE_Sign1 encodes"),
        ),
        (
            "the name of another issuer",
            headed(header().key_id(other_name).build(), AAD, map().encode()),
        ),
        ("no issuer's name", headed(header().build(), AAD, map().encode())),
        (
            "signed with the external data of a receipt",
            headed(named(), b"bastide-receipt-v1", map().encode()),
        ),
        (
            "another profile",
            with(map().text(265, "tag:bastide,2026:receipt/v1")),
        ),
        ("a REPORT_ID of zeros", with(map().bytes(-75_201, &[0; 32]))),
        ("stages in the wrong order", with(map().uints(-75_203, &[5, 3]))),
        ("stage 65,536", with(map().uints(-75_203, &[3, 65_536]))),
        ("one stage", with(map().uints(-75_203, &[3]))),
        ("it ends when it begins", with(map().uint(4, 1_772_000_000))),
        (
            "it counts for a second more than 366 days",
            with(map().uint(4, 1_772_000_001 + 366 * 86_400)),
        ),
        (
            "a key beside the TLS key's digest",
            with(map().map(8, MapBuilder::new().bytes(3, &pattern::<32>(0x67)).uint(1, 0))),
        ),
        ("an unknown claim", with(map().uint(6, 0))),
        ("more than 1,024 bytes", with(map().bytes(-75_205, &[0; 1024]))),
    ]
    .map(|(why, bytes)| {
        let error = Credential::verify(&bytes, &[public]).expect_err(why);
        json!({
            "why": why,
            "issuer": hex::encode(public),
            "cose": hex::encode(&bytes),
            "error": error.to_string(),
        })
    })
    .to_vec()
}
