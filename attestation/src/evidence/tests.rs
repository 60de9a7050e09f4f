use super::*;
use crate::digest::Salt;
use crate::nvidia::{DeviceEvidence, GpuEndorsements, GpuEvidence};
use proptest::prelude::*;

pub(crate) fn evidence() -> Evidence {
    Evidence {
        statement: crate::statement::tests::statement().encode().as_bytes().to_vec(),
        proof: InclusionProof {
            index: 3,
            path: vec![[9; 32]; 4],
            salt: Salt::new([8; 32]),
        },
        platform: PlatformEvidence::Snp(Box::new([5; REPORT_BYTES])),
        endorsements: Endorsements {
            vek: vec![1; 1300],
            chain: vec![vec![2; 1600]; 2],
            crl: Some(vec![3; 900]),
        },
        gpu: None,
    }
}

pub(super) fn gpu_evidence() -> Evidence {
    let device = DeviceEvidence {
        report: vec![11; 4000],
        chain: vec![12; 4800],
    };
    let gpus = GpuEvidence::new(vec![device]).unwrap();
    Evidence {
        gpu: Some(GpuPart {
            evidence: gpus.encode(),
            seed: [13; 32],
            endorsements: GpuEndorsements {
                rims: vec![vec![14; 26_000]; 2],
                ocsp: vec![vec![15; 1000]; 9],
                crls: vec![],
            },
        }),
        ..evidence()
    }
}

#[test]
fn gpu_evidence_comes_with_its_seed_or_not_at_all() {
    let bytes = gpu_evidence().encode();
    assert!(bytes.len() < MAX_ENVELOPE_BYTES / 2, "{}", bytes.len());
    let base = || {
        MapBuilder::new()
            .text("__cmwc_t", COLLECTION_TYPE)
            .record("statement", STATEMENT_TYPE, &evidence().statement, EVIDENCE)
            .record("proof", PROOF_TYPE, &evidence().proof.encode(), EVIDENCE)
            .record("snp", SNP_REPORT_TYPE, &[0; REPORT_BYTES], EVIDENCE)
            .record("vek", CERTIFICATE_TYPE, &[1], ENDORSEMENTS)
    };
    let gpu = gpu_evidence().gpu.unwrap();
    for (label, missing) in [("gpu", "gpu-seed"), ("gpu-seed", "gpu")] {
        let whole = gpu.add_to(base()).encode();
        let fields = Fields::decode(&whole, MAX_ENVELOPE_BYTES).unwrap();
        assert!(fields.has(label));
        let half = gpu.add_one_to(base(), label);
        assert_eq!(
            Evidence::decode(&half.encode()).unwrap_err(),
            EvidenceError::Gpu(GpuPartError::Missing { part: missing })
        );
    }
}

fn azure_evidence() -> Evidence {
    Evidence {
        platform: PlatformEvidence::AzureVtpm {
            hcl_report: vec![7; 2600],
            quote: TpmQuote {
                message: vec![8; 145],
                signature: vec![9; 262],
                pcrs: vec![[10; 32]; 24],
            },
        },
        ..evidence()
    }
}

#[test]
fn an_envelope_round_trips_byte_for_byte() {
    for evidence in [
        evidence(),
        azure_evidence(),
        gpu_evidence(),
        Evidence {
            endorsements: Endorsements {
                vek: vec![1],
                chain: vec![],
                crl: None,
            },
            ..evidence()
        },
    ] {
        let bytes = evidence.encode();
        let decoded = Evidence::decode(&bytes).unwrap();
        assert_eq!(decoded.as_unverified(), &evidence);
        assert_eq!(decoded.as_unverified().encode(), bytes);
    }
}

#[test]
fn oversized_and_misshapen_parts_are_named() {
    let bytes = vec![0; MAX_ENVELOPE_BYTES + 1];
    assert!(matches!(
        Evidence::decode(&bytes),
        Err(EvidenceError::Codec(CodecError::TooLarge { .. }))
    ));
    let mut large = evidence();
    large.endorsements.vek = vec![0; MAX_ENDORSEMENT_BYTES + 1];
    assert!(matches!(
        Evidence::decode(&large.encode()),
        Err(EvidenceError::EndorsementLength { .. })
    ));
    let short = MapBuilder::new()
        .text("__cmwc_t", COLLECTION_TYPE)
        .record("statement", STATEMENT_TYPE, &[], EVIDENCE)
        .record("proof", PROOF_TYPE, &[], EVIDENCE)
        .record("snp", SNP_REPORT_TYPE, &[0; 1183], EVIDENCE)
        .record("vek", CERTIFICATE_TYPE, &[], ENDORSEMENTS);
    assert_eq!(
        Evidence::decode(&short.encode()).unwrap_err(),
        EvidenceError::ReportLength { got: 1183 }
    );
    assert_eq!(
        Evidence::decode(&MapBuilder::new().text("__cmwc_t", COLLECTION_TYPE).encode()).unwrap_err(),
        EvidenceError::Missing { part: "statement" }
    );
}

#[test]
fn evidence_of_two_platforms_or_half_of_one_is_refused() {
    let base = || {
        MapBuilder::new()
            .text("__cmwc_t", COLLECTION_TYPE)
            .record("statement", STATEMENT_TYPE, &evidence().statement, EVIDENCE)
            .record("proof", PROOF_TYPE, &evidence().proof.encode(), EVIDENCE)
            .record("vek", CERTIFICATE_TYPE, &[1], ENDORSEMENTS)
    };
    let PlatformEvidence::AzureVtpm { quote, .. } = azure_evidence().platform else {
        panic!("made above");
    };
    let quote = quote.encode();
    let decode = |map: MapBuilder| Evidence::decode(&map.encode()).unwrap_err();
    let hcl = |length| base().record("hcl", HCL_REPORT_TYPE, &vec![0; length], EVIDENCE);
    assert_eq!(decode(base()), EvidenceError::Missing { part: "snp" });
    assert_eq!(decode(hcl(1)), EvidenceError::Missing { part: "quote" });
    let with_quote = |map: MapBuilder| map.record("quote", QUOTE_TYPE, &quote, EVIDENCE);
    assert_eq!(
        decode(with_quote(hcl(8193))),
        EvidenceError::HclReportLength { got: 8193 }
    );
    let snp = |map: MapBuilder| map.record("snp", SNP_REPORT_TYPE, &[0; REPORT_BYTES], EVIDENCE);
    for both in [snp(with_quote(hcl(1))), snp(with_quote(base()))] {
        assert!(matches!(
            decode(both),
            EvidenceError::Codec(CodecError::Unknown { .. })
        ));
    }
    let broken = hcl(1).record("quote", QUOTE_TYPE, &[0xa0], EVIDENCE);
    assert!(matches!(decode(broken), EvidenceError::Quote(_)));
}

#[test]
fn a_record_under_another_indicator_is_refused() {
    let bytes = evidence().encode();
    let mut record = SNP_REPORT_TYPE.as_bytes().to_vec();
    record.extend_from_slice(&[0x59, 0x04, 0xa0]);
    let at = bytes
        .windows(record.len())
        .position(|window| window == record)
        .unwrap();
    let indicator = at + record.len() + REPORT_BYTES;
    assert_eq!(bytes[indicator], 4);
    let mut changed = bytes;
    changed[indicator] = 2;
    assert!(matches!(
        Evidence::decode(&changed),
        Err(EvidenceError::Codec(CodecError::Value { .. }))
    ));
}

proptest! {
    #[test]
    fn truncated_or_flipped_envelopes_never_panic_nor_equal(azure: bool, at: prop::sample::Index, bit in 0_u8..8) {
        let good = if azure { azure_evidence() } else { evidence() };
        let bytes = good.encode();
        prop_assert!(Evidence::decode(&bytes[..at.index(bytes.len())]).is_err());
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        if let Ok(decoded) = Evidence::decode(&flipped) {
            prop_assert!(decoded.as_unverified() != &good);
        }
    }

    #[test]
    fn decoding_never_panics(bytes: Vec<u8>) {
        let _ = Evidence::decode(&bytes);
        let _ = AttestAnswer::decode(&bytes);
    }
}
