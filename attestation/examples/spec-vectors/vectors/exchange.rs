//! What goes over the wire before a session is attested: requests and answers,
//! read and refused. The reports and certificates inside are patterns: whether
//! evidence is authentic is not what these vectors are about.

use bastide_attestation::codec::{MapBuilder, encode_pairs};
use bastide_attestation::nvidia::GpuEndorsements;
use bastide_attestation::{
    AttestAnswer, AttestRequest, Binder, Endorsements, Evidence, GpuFreshness, GpuPart, InclusionProof, Lane,
    Nonce, Omission, PlatformEvidence, Salt, SessionSignature, StatementDigest, TpmQuote,
    binding::session_message,
};
use serde_json::{Map, Value, json};

use super::{ed25519, pattern, sign, statement};

const COLLECTION: &str = "tag:bastide,2026:attest/v1";
const STATEMENT: &str = "application/vnd.bastide.epoch-statement+cbor";
const PROOF: &str = "application/vnd.bastide.inclusion-proof+cbor";
const SNP: &str = "application/vnd.amd.snp-attestation-report";
const HCL: &str = "application/vnd.bastide.azure-hcl-report";
const QUOTE: &str = "application/vnd.bastide.tpm-quote+cbor";
const CERTIFICATE: &str = "application/pkix-cert";
const CRL: &str = "application/pkix-crl";
const GPU: &str = "application/vnd.bastide.gpu-evidence+cbor";
const SEED: &str = "application/octet-stream";
const GPU_ENDORSEMENTS: &str = "application/vnd.bastide.gpu-endorsements+cbor";
const SESSION: &str = "application/vnd.bastide.session-signature";

pub(super) fn file() -> Value {
    super::with_head(
        "attest requests and answers: bytes and their members; `refused` are bytes that no reader may take",
        json!({
            "requests": requests(),
            "requests_refused": requests_refused(),
            "answers": answers(),
            "answers_refused": answers_refused(),
        }),
    )
}

fn requests() -> Vec<Value> {
    let known = StatementDigest::new(pattern(0x22));
    let mut vectors = Vec::new();
    for (lane, lane_number) in [(Lane::Auto, 0), (Lane::M, 1), (Lane::K, 2)] {
        for (gpu, gpu_number) in [(GpuFreshness::Current, 0), (GpuFreshness::Strict, 1)] {
            for (known, max_age_s) in [(None, 0), (Some(known), 300), (Some(known), 23)] {
                if lane == Lane::K && (known.is_none() || gpu == GpuFreshness::Strict) {
                    continue;
                }
                let request = AttestRequest {
                    nonce: Nonce::new(pattern(0x21)),
                    lane,
                    max_age_s,
                    gpu,
                    known,
                };
                let bytes = request.encode();
                assert_eq!(AttestRequest::decode(&bytes), Ok(request));
                vectors.push(json!({
                    "nonce": request.nonce.to_string(),
                    "lane": lane_number,
                    "max_age_s": max_age_s,
                    "gpu": gpu_number,
                    "known": known.map(|known| known.to_string()),
                    "cbor": hex::encode(bytes),
                }));
            }
        }
    }
    vectors
}

fn request(lane: u64, age: u64, gpu: u64) -> MapBuilder {
    MapBuilder::new()
        .bytes(1, &pattern::<32>(0x21))
        .uint(2, lane)
        .uint(3, age)
        .uint(4, gpu)
}

fn requests_refused() -> Vec<Value> {
    let known = pattern::<32>(0x22);
    let good = request(1, 0, 0).encode();
    let twice = [&[0xa5][..], &good[1..], &good[good.len() - 2..]].concat();
    [
        ("no bytes", vec![]),
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("key 4 twice", twice),
        (
            "a map of indefinite length",
            [&[0xbf][..], &good[1..], &[0xff]].concat(),
        ),
        ("key 4 is missing", {
            let mut cut = good.clone();
            cut.truncate(good.len() - 2);
            cut[0] = 0xa3;
            cut
        }),
        ("an unknown key, 6", request(1, 0, 0).uint(6, 0).encode()),
        (
            "an exporter label of the client's choice",
            request(1, 0, 0).text("label", "EXPORTER-other").encode(),
        ),
        (
            "a nonce of 31 bytes",
            request(1, 0, 0).bytes(1, &[0x21; 31]).encode(),
        ),
        ("lane 3", request(3, 0, 0).encode()),
        ("an age of 301 s", request(1, 301, 0).encode()),
        ("an age of 65,536 s", request(1, 65_536, 0).encode()),
        ("gpu 2", request(1, 0, 2).encode()),
        (
            "a known statement that is null",
            request(1, 0, 0).bytes_or_null(5, None).encode(),
        ),
        (
            "a known statement of 33 bytes",
            request(1, 0, 0).bytes(5, &[0; 33]).encode(),
        ),
        ("lane K without a known statement", request(2, 300, 0).encode()),
        (
            "lane K with strict GPU evidence",
            request(2, 300, 1).bytes(5, &known).encode(),
        ),
        (
            "more than 128 bytes",
            request(1, 0, 0).bytes(5, &[0; 96]).encode(),
        ),
    ]
    .map(|(why, bytes)| {
        let error = AttestRequest::decode(&bytes).expect_err(why);
        json!({"why": why, "cbor": hex::encode(&bytes), "error": error.to_string()})
    })
    .to_vec()
}

fn snp() -> Evidence {
    Evidence {
        statement: statement::full().encode().as_bytes().to_vec(),
        proof: InclusionProof {
            index: 300,
            path: (0..10).map(|height| pattern(0x70 + height)).collect(),
            salt: Salt::new(pattern(0x33)),
        },
        platform: PlatformEvidence::Snp(Box::new(pattern(0x01))),
        endorsements: Endorsements {
            vek: pattern::<40>(0x02).to_vec(),
            chain: vec![pattern::<30>(0x03).to_vec(), pattern::<20>(0x04).to_vec()],
            crl: Some(pattern::<10>(0x05).to_vec()),
        },
        gpu: None,
    }
}

fn with_gpus() -> Evidence {
    let device = |tag| [pattern::<60>(tag), pattern::<60>(tag + 1)];
    let devices = [device(0x0a), device(0x0c)];
    Evidence {
        gpu: Some(GpuPart {
            evidence: encode_pairs(devices.iter().map(|[report, chain]| [&report[..], &chain[..]])),
            seed: pattern(0x06),
            endorsements: GpuEndorsements {
                rims: vec![b"<rim/>".to_vec()],
                ocsp: vec![vec![0x30, 0]],
                crls: vec![vec![0x30, 1]],
            },
        }),
        ..snp()
    }
}

fn azure() -> Evidence {
    Evidence {
        platform: PlatformEvidence::AzureVtpm {
            hcl_report: pattern::<100>(0x07).to_vec(),
            quote: TpmQuote {
                message: pattern::<24>(0x08).to_vec(),
                signature: pattern::<24>(0x09).to_vec(),
                pcrs: vec![pattern(0x0a), pattern(0x0b)],
            },
        },
        endorsements: Endorsements {
            vek: pattern::<40>(0x02).to_vec(),
            chain: Vec::new(),
            crl: None,
        },
        ..snp()
    }
}

/// The records that an envelope of `evidence` has, by their labels.
fn records(evidence: &Evidence, omitted: Omission) -> Value {
    let mut records = Map::new();
    let mut put = |label: &str, kind: &str, bytes: &[u8], indicator: u8| {
        records.insert(
            label.to_owned(),
            json!({"type": kind, "bytes": hex::encode(bytes), "indicator": indicator}),
        );
    };
    put("statement", STATEMENT, &evidence.statement, 4);
    put("proof", PROOF, &evidence.proof.encode(), 4);
    match &evidence.platform {
        PlatformEvidence::Snp(report) => put("snp", SNP, &report[..], 4),
        PlatformEvidence::AzureVtpm { hcl_report, quote } => {
            put("hcl", HCL, hcl_report, 4);
            put("quote", QUOTE, &quote.encode(), 4);
        }
        _ => unreachable!("made in this file"),
    }
    if !omitted.endorsements {
        put("vek", CERTIFICATE, &evidence.endorsements.vek, 2);
        for (label, certificate) in ["ask", "ark"].into_iter().zip(&evidence.endorsements.chain) {
            put(label, CERTIFICATE, certificate, 2);
        }
        if let Some(crl) = &evidence.endorsements.crl {
            put("crl", CRL, crl, 2);
        }
    }
    if let Some(gpu) = evidence.gpu.as_ref().filter(|_| !omitted.gpu) {
        put("gpu", GPU, &gpu.evidence, 4);
        put("gpu-seed", SEED, &gpu.seed, 4);
        put(
            "gpu-endorsements",
            GPU_ENDORSEMENTS,
            &gpu.endorsements.encode(),
            2,
        );
    }
    Value::Object(records)
}

fn answers() -> Vec<Value> {
    let both = Omission {
        endorsements: true,
        gpu: true,
    };
    let mut vectors: Vec<Value> = [
        ("a bare SNP guest", snp(), Omission::default()),
        (
            "the same for a client that has the endorsements",
            snp(),
            Omission {
                endorsements: true,
                gpu: false,
            },
        ),
        (
            "an Azure VM, chain and CRL not sent",
            azure(),
            Omission::default(),
        ),
        ("with two GPUs", with_gpus(), Omission::default()),
        (
            "the same for a client that has the GPU evidence",
            with_gpus(),
            Omission {
                endorsements: false,
                gpu: true,
            },
        ),
        ("the same for a client that has both", with_gpus(), both),
    ]
    .map(|(name, evidence, omitted)| {
        let bytes = evidence.encode_without(omitted);
        let Ok(AttestAnswer::Evidence(partial)) = AttestAnswer::decode(&bytes) else {
            panic!("{name}: the code doesn't read what it writes");
        };
        if !omitted.endorsements && !omitted.gpu {
            assert_eq!(
                partial.complete(None).map(|whole| whole.as_unverified().clone()),
                Ok(evidence.clone())
            );
        }
        json!({
            "name": name,
            "lane": 1,
            "records": records(&evidence, omitted),
            "cbor": hex::encode(bytes),
        })
    })
    .to_vec();
    vectors.push(lane_k());
    vectors
}

fn lane_k() -> Value {
    let (pair, public) = ed25519(pattern(0x15));
    let (binder, digest) = (pattern::<32>(0x41), statement::full().encode().digest());
    let signature = sign(&pair, &session_message(&Binder::new(binder), &digest));
    let bytes = AttestAnswer::encode_session(&SessionSignature::new(signature));
    let Ok(AttestAnswer::Session(read)) = AttestAnswer::decode(&bytes) else {
        panic!("the code doesn't read what it writes");
    };
    assert!(read.verifies(&public, &Binder::new(binder), &digest));
    json!({
        "name": "a signature of the session key for a known statement",
        "lane": 2,
        "statement": hex::encode(statement::full().encode().as_bytes()),
        "binder": hex::encode(binder),
        "records": {"session": {"type": SESSION, "bytes": hex::encode(signature), "indicator": 4}},
        "cbor": hex::encode(bytes),
    })
}

fn collection() -> MapBuilder {
    MapBuilder::new().text("__cmwc_t", COLLECTION)
}

/// Statement, proof and a report of `length` bytes.
fn bare(length: usize) -> MapBuilder {
    let evidence = snp();
    collection()
        .record("statement", STATEMENT, &evidence.statement, 4)
        .record("proof", PROOF, &evidence.proof.encode(), 4)
        .record("snp", SNP, &vec![1; length], 4)
}

fn answers_refused() -> Vec<Value> {
    let evidence = snp();
    let proof = evidence.proof.encode();
    let good = bare(1184).encode();
    let quote = with_quote();
    [
        ("no bytes", vec![]),
        ("a byte after the end", [&good[..], &[0]].concat()),
        (
            "no collection type",
            MapBuilder::new().record("session", SESSION, &[1; 64], 4).encode(),
        ),
        (
            "another collection type",
            MapBuilder::new()
                .text("__cmwc_t", "tag:bastide,2026:attest/v2")
                .record("session", SESSION, &[1; 64], 4)
                .encode(),
        ),
        ("nothing but the collection type", collection().encode()),
        (
            "a label that is not defined",
            bare(1184).record("label", SEED, &[0], 4).encode(),
        ),
        ("a report one byte short", bare(1183).encode()),
        ("a report one byte long", bare(1185).encode()),
        (
            "a statement of another media type",
            bare(1184)
                .record("statement", PROOF, &evidence.statement, 4)
                .encode(),
        ),
        (
            "a statement marked as an endorsement",
            bare(1184)
                .record("statement", STATEMENT, &evidence.statement, 2)
                .encode(),
        ),
        (
            "a statement that is no record",
            bare(1184).bytes("statement", &evidence.statement).encode(),
        ),
        (
            "no proof",
            collection()
                .record("statement", STATEMENT, &evidence.statement, 4)
                .record("snp", SNP, &[1; 1184], 4)
                .encode(),
        ),
        (
            "a proof with a byte after its end",
            bare(1184)
                .record("proof", PROOF, &[&proof[..], &[0]].concat(), 4)
                .encode(),
        ),
        (
            "no report",
            collection()
                .record("statement", STATEMENT, &evidence.statement, 4)
                .record("proof", PROOF, &proof, 4)
                .encode(),
        ),
        (
            "the reports of both platforms",
            bare(1184)
                .record("hcl", HCL, &[1; 100], 4)
                .record("quote", QUOTE, &quote, 4)
                .encode(),
        ),
        (
            "a quote beside a bare report",
            bare(1184).record("quote", QUOTE, &quote, 4).encode(),
        ),
        (
            "an HCL report without a quote",
            collection()
                .record("statement", STATEMENT, &evidence.statement, 4)
                .record("proof", PROOF, &proof, 4)
                .record("hcl", HCL, &[1; 100], 4)
                .encode(),
        ),
        (
            "an ARK without an ASK",
            bare(1184)
                .record("vek", CERTIFICATE, &[1], 2)
                .record("ark", CERTIFICATE, &[1], 2)
                .encode(),
        ),
        (
            "a CRL without the certificate that it belongs to",
            bare(1184).record("crl", CRL, &[1], 2).encode(),
        ),
        (
            "a certificate of more than 16 KiB",
            bare(1184)
                .record("vek", CERTIFICATE, &vec![1; 16 * 1024 + 1], 2)
                .encode(),
        ),
        (
            "GPU evidence without the seed",
            bare(1184).record("gpu", GPU, &[0x80], 4).encode(),
        ),
        (
            "a seed without GPU evidence",
            bare(1184).record("gpu-seed", SEED, &[1; 32], 4).encode(),
        ),
        (
            "a seed of 31 bytes",
            bare(1184)
                .record("gpu", GPU, &[0x80], 4)
                .record("gpu-seed", SEED, &[1; 31], 4)
                .encode(),
        ),
        (
            "a signature beside evidence",
            bare(1184).record("session", SESSION, &[1; 64], 4).encode(),
        ),
        (
            "a signature of 63 bytes",
            collection().record("session", SESSION, &[1; 63], 4).encode(),
        ),
        (
            "a signature marked as an endorsement",
            collection().record("session", SESSION, &[1; 64], 2).encode(),
        ),
    ]
    .map(|(why, bytes)| {
        let error = AttestAnswer::decode(&bytes).expect_err(why);
        json!({"why": why, "cbor": hex::encode(&bytes), "error": error.to_string()})
    })
    .to_vec()
}

fn with_quote() -> Vec<u8> {
    match azure().platform {
        PlatformEvidence::AzureVtpm { quote, .. } => quote.encode(),
        _ => Vec::new(),
    }
}
