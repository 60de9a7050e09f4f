//! What a signed result promises: nothing left out is affirmed, nothing altered
//! is accepted, and the keys are those of the draft.

use super::*;
use crate::result::{Basis, Check, Decision, Status, VERDICT_SCHEMA, Verdict};
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};

const CHECKS: &[&str] = &[
    "platform.allowed",
    "snp.report.form",
    "snp.report.key_info",
    "snp.report.product",
    "snp.chain.root",
    "snp.chain.intermediate",
    "snp.crl",
    "snp.vek.signature",
    "snp.vek.hwid",
    "snp.report.signature",
    "snp.report_version",
    "snp.product",
    "snp.key",
    "snp.tcb.reported",
    "snp.policy.debug",
    "snp.policy.migrate_ma",
    "snp.policy.bits",
    "snp.platform.known",
    "snp.platform.alias_check",
    "snp.platform.bits",
    "snp.vmpl",
    "snp.id_block",
    "snp.author_key",
    "snp.launch_measurement",
    "snp.chip_id",
    "snp.host_data",
    "snp.memory_bus",
    "azure.quote.signature",
    "azure.pcrs",
    "session.statement",
    "session.report_data",
    "session.binding",
    "session.debug",
    "gpu.evidence",
    "model.manifest",
];

fn verdict(change: &[(&str, Status)]) -> Verdict {
    let checks: Vec<_> = CHECKS
        .iter()
        .map(|id| Check {
            id,
            status: change
                .iter()
                .find(|(changed, _)| changed == id)
                .map_or(Status::Pass, |(_, status)| *status),
            expected: "".into(),
            got: "".into(),
            basis: Basis::Derived,
        })
        .collect();
    let failed = checks.iter().find(|check| check.status == Status::Fail);
    Verdict {
        schema: VERDICT_SCHEMA,
        decision: failed.map_or(Decision::Accepted, |_| Decision::Rejected),
        code: failed.map(|check| check.id),
        reason: None,
        checks,
        roots: Vec::new(),
        simulated: false,
        uncovered: Vec::new(),
        platform: None,
        azure: None,
        snp: None,
        gpus: Vec::new(),
        session: None,
        policy: "ours".to_owned(),
        policy_digest: "cd".repeat(32),
        ignored: Vec::new(),
        at: "2026-06-01T00:00:00Z".to_owned(),
    }
}

const CONTEXT: EarContext<'_> = EarContext {
    verdict_json: b"{}",
    issued_at: 1_780_000_100,
    appraised_at: 1_780_000_000,
    build: "bastide-cli 0.1.0",
    nonce: Some(&[7; 32]),
    evidence: Some([8; 32]),
};

fn key(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

fn signed(verdict: &Verdict, context: &EarContext<'_>) -> Ear {
    let (pair, public) = key(1);
    let claims = EarClaims::new(verdict, context).unwrap();
    Ear::sign(&claims, &public, |bytes| {
        pair.sign(bytes).as_ref().try_into().ok()
    })
    .unwrap()
}

#[test]
fn a_result_verifies_and_states_what_was_signed() {
    let verdict = verdict(&[]);
    let claims = EarClaims::new(&verdict, &CONTEXT).unwrap();
    let result = Ear::verify(signed(&verdict, &CONTEXT).as_bytes()).unwrap();
    assert_eq!(result.claims(), &claims);
    assert_eq!(claims.status(), TrustTier::Affirming);
    assert_eq!(claims.policy_id(), format!("ours@sha256:{}", "cd".repeat(32)));
    assert_eq!(claims.verdict(), &crate::sha256(&[b"{}"]));
    assert_eq!(result.signed_by(&key(1).1), Ok(()));
    assert!(matches!(result.signed_by(&key(2).1), Err(EarError::Key { .. })));
}

#[test]
fn the_keys_and_values_are_those_of_the_draft() {
    let result = signed(&verdict(&[]), &CONTEXT);
    let sign1 = CoseSign1::from_tagged_slice(result.as_bytes()).unwrap();
    let payload = sign1.payload.unwrap();
    let mut fields = crate::codec::Fields::decode(&payload, MAX_EAR_BYTES).unwrap();
    assert_eq!(fields.text(265), Ok("tag:ietf.org,2026:rats/ear#03".to_owned()));
    assert_eq!(fields.uint(6), Ok(1_780_000_100));
    assert_eq!(fields.bytes(10), Ok(vec![7; 32]));
    assert_eq!(fields.uint(1000), Ok(2));
    let mut verifier = fields.map(1004).unwrap();
    assert_eq!(verifier.text(0), Ok("Bastide".to_owned()));
    assert_eq!(verifier.text(1), Ok("bastide-cli 0.1.0".to_owned()));
    let mut appraisal = fields.map(266).unwrap().map("snp").unwrap();
    assert_eq!(appraisal.uint(1000), Ok(2));
    let mut vector = appraisal.map(1001).unwrap();
    let values: Vec<_> = (0..6).map(|key| vector.uint(key).unwrap()).collect();
    assert_eq!(values, [2, 2, 3, 2, 2, 2]);
    assert_eq!(
        appraisal.texts(1003, 1),
        Ok(vec![format!("ours@sha256:{}", "cd".repeat(32))])
    );
}

#[test]
fn what_failed_is_said_and_contraindicated() {
    for (id, name, value) in [
        ("snp.report.signature", "instance-identity", 99),
        ("snp.chain.root", "instance-identity", 97),
        ("snp.policy.debug", "configuration", 96),
        ("snp.policy.debug", "runtime-opaque", 96),
        ("snp.launch_measurement", "executables", 33),
        ("model.manifest", "file-system", 32),
        ("snp.tcb.reported", "hardware", 32),
        ("snp.product", "hardware", 97),
    ] {
        let verdict = verdict(&[(id, Status::Fail)]);
        let claims = EarClaims::new(&verdict, &CONTEXT).unwrap();
        let (_, _, claim) = claims
            .vector()
            .claims()
            .into_iter()
            .find(|(_, claim, _)| *claim == name)
            .unwrap();
        assert_eq!(claim.value(), value, "{id}");
        assert_eq!(claims.status(), TrustTier::Contraindicated, "{id}");
    }
    let mut revoked = verdict(&[("snp.crl", Status::Fail)]);
    revoked.code = Some("snp.crl.revoked");
    assert_eq!(TrustVector::of(&revoked).instance_identity.value(), 96);
    // No claim is about the binding: it still decides.
    let unbound = verdict(&[("session.binding", Status::Fail)]);
    let claims = EarClaims::new(&unbound, &CONTEXT).unwrap();
    assert_eq!(claims.status(), TrustTier::Contraindicated);
}

/// The verdict of a machine with GPUs, one check of theirs as it is said.
fn with_gpus(id: &'static str, status: Status) -> Verdict {
    let mut verdict = verdict(&[]);
    verdict.checks.push(Check {
        id,
        status,
        expected: "".into(),
        got: "".into(),
        basis: Basis::HardwareProven,
    });
    if status == Status::Fail {
        (verdict.decision, verdict.code) = (Decision::Rejected, Some(id));
    }
    verdict
}

#[test]
fn what_fails_or_is_left_out_of_a_gpu_is_not_affirmed_of_the_machine() {
    for (id, name, value) in [
        ("gpu.report.signature", "instance-identity", 99),
        ("gpu.report.signature", "hardware", 99),
        ("gpu.chain", "instance-identity", 97),
        ("gpu.device", "instance-identity", 97),
        ("gpu.revocation.device", "instance-identity", 97),
        ("gpu.mode", "configuration", 96),
        ("gpu.topology", "configuration", 96),
        ("gpu.measurements", "executables", 33),
        ("gpu.rim.signature", "executables", 99),
        ("gpu.fwid", "hardware", 97),
        ("gpu.driver", "hardware", 32),
        ("gpu.vbios", "hardware", 32),
    ] {
        let claim = |status| {
            let claims = TrustVector::of(&with_gpus(id, status)).claims();
            let (_, _, claim) = claims.into_iter().find(|(_, claim, _)| *claim == name).unwrap();
            claim
        };
        assert_eq!(claim(Status::Pass).tier(), TrustTier::Affirming, "{id}");
        assert_eq!(claim(Status::Fail).value(), value, "{id}");
        assert_eq!(claim(Status::Skip), TrustworthinessClaim::NONE, "{id}");
    }
    for code in ["gpu.revocation.revoked", "gpu.revocation.on_hold"] {
        let mut revoked = with_gpus("gpu.revocation.device", Status::Fail);
        revoked.code = Some(code);
        assert_eq!(TrustVector::of(&revoked).instance_identity.value(), 96);
    }
    // What no report shows is in no claim, and still decides.
    for apart in [
        "gpu.nonce",
        "gpu.nvlink",
        "gpu.settings",
        "gpu.same_machine",
        "gpu.nras",
    ] {
        let open = with_gpus(apart, Status::NotProvable);
        assert_eq!(TrustVector::of(&open), TrustVector::of(&verdict(&[])), "{apart}");
        let claims = EarClaims::new(&with_gpus(apart, Status::Fail), &CONTEXT).unwrap();
        assert_eq!(claims.status(), TrustTier::Contraindicated, "{apart}");
    }
}

#[test]
fn a_claim_without_its_checks_is_not_made() {
    for missing in [
        "snp.launch_measurement",
        "snp.chain.root",
        "snp.policy.debug",
        "model.manifest",
    ] {
        let mut short = verdict(&[]);
        short.checks.retain(|check| check.id != missing);
        let vector = TrustVector::of(&short);
        assert!(
            vector
                .claims()
                .into_iter()
                .any(|(_, _, claim)| claim == TrustworthinessClaim::NONE),
            "{missing}"
        );
    }
}

#[test]
fn hardware_with_a_known_vulnerability_is_genuine_and_a_warning() {
    let mut open = verdict(&[]);
    open.uncovered = vec!["AMD-SB-3034".to_owned()];
    let claims = EarClaims::new(&open, &CONTEXT).unwrap();
    assert_eq!(claims.vector().hardware.value(), 32);
    assert_eq!(claims.status(), TrustTier::Warning);
    // Nothing is said of hardware that was not verified.
    open.checks.retain(|check| check.id != "snp.report.signature");
    assert_eq!(TrustVector::of(&open).hardware, TrustworthinessClaim::NONE);
}

#[test]
fn nothing_simulated_is_affirmed() {
    let mut simulated = verdict(&[]);
    simulated.simulated = true;
    let claims = EarClaims::new(&simulated, &CONTEXT).unwrap();
    assert_eq!(claims.status(), TrustTier::Contraindicated);
    assert!(
        claims
            .vector()
            .claims()
            .into_iter()
            .all(|(_, _, claim)| claim.tier() != TrustTier::Affirming)
    );
}

#[test]
fn what_could_not_be_decided_makes_no_claim() {
    for decision in [Decision::Malformed, Decision::Unsupported, Decision::Undecided] {
        let mut open = verdict(&[]);
        open.checks.clear();
        (open.decision, open.code) = (decision, Some("snp.report.length"));
        let claims = EarClaims::new(&open, &CONTEXT).unwrap();
        assert_eq!(claims.status(), TrustTier::None);
        assert_eq!(claims.vector().worst(), TrustTier::None);
    }
}

#[test]
fn a_verdict_without_a_policy_and_a_nonce_of_another_length_make_no_result() {
    let mut anonymous = verdict(&[]);
    anonymous.policy_digest.clear();
    assert!(matches!(
        EarClaims::new(&anonymous, &CONTEXT),
        Err(EarError::Verdict(_))
    ));
    for length in [0, 7, 65] {
        let nonce = vec![0; length];
        let context = EarContext {
            nonce: Some(&nonce),
            ..CONTEXT
        };
        assert!(EarClaims::new(&verdict(&[]), &context).is_err(), "{length}");
    }
    let mut uncoded = verdict(&[]);
    uncoded.decision = Decision::Rejected;
    assert!(matches!(
        EarClaims::new(&uncoded, &CONTEXT),
        Err(EarError::Contradiction(_))
    ));
}

#[test]
fn a_result_that_says_more_than_its_parts_is_refused_though_it_is_signed() {
    let (pair, public) = key(1);
    let sign = |payload: Vec<u8>| {
        CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build())
            .payload(payload)
            .create_signature(&[], |bytes| pair.sign(bytes).as_ref().to_vec())
            .build()
            .to_tagged_vec()
            .unwrap()
    };
    let skipped = verdict(&[("snp.launch_measurement", Status::Skip)]);
    let payload = EarClaims::new(&skipped, &CONTEXT).unwrap().encode(&public);
    assert!(Ear::verify(&sign(payload.clone())).is_ok());
    // 1000: warning, twice, becomes 1000: affirming.
    let (from, to) = ([0x19, 0x03, 0xe8, 0x18, 0x20], [0x19, 0x03, 0xe8, 0x02]);
    let mut better = payload;
    while let Some(at) = better.windows(5).position(|window| window == from) {
        better.splice(at..at + 5, to);
    }
    assert_eq!(
        Ear::verify(&sign(better)),
        Err(EarError::Contradiction(
            "the status is not what decision and trustworthiness vector amount to"
        ))
    );
}

#[test]
fn a_signature_by_another_key_is_not_issued() {
    let claims = EarClaims::new(&verdict(&[]), &CONTEXT).unwrap();
    let (stranger, _) = key(2);
    assert_eq!(
        Ear::sign(&claims, &key(1).1, |bytes| stranger
            .sign(bytes)
            .as_ref()
            .try_into()
            .ok()),
        Err(EarError::Signing)
    );
}

proptest! {
    #[test]
    fn what_is_skipped_unknown_or_not_provable_is_never_affirmed(
        at in 0..CHECKS.len(),
        status in prop::sample::select(vec![Status::Skip, Status::Unknown, Status::NotProvable]),
    ) {
        let id = CHECKS[at];
        let full = TrustVector::of(&verdict(&[]));
        let open = TrustVector::of(&verdict(&[(id, status)]));
        let mut concerned = 0;
        for ((_, name, before), (_, _, after)) in full.claims().into_iter().zip(open.claims()) {
            prop_assert_eq!(before.tier(), TrustTier::Affirming, "{}", name);
            if after != before {
                prop_assert_eq!(after, TrustworthinessClaim::NONE);
                concerned += 1;
            }
        }
        let apart = ["session.binding", "gpu.evidence", "snp.memory_bus"].contains(&id);
        prop_assert_eq!(concerned == 0, apart, "{}", id);
    }

    #[test]
    fn no_status_is_better_than_its_claims(statuses in prop::collection::vec(0..5_u8, CHECKS.len())) {
        let all = [Status::Pass, Status::Fail, Status::Skip, Status::Unknown, Status::NotProvable];
        let change: Vec<_> = CHECKS.iter().copied().zip(statuses.iter().map(|at| all[usize::from(*at)])).collect();
        let verdict = verdict(&change);
        let claims = EarClaims::new(&verdict, &CONTEXT).unwrap();
        prop_assert!(claims.status().value() >= claims.vector().worst().value());
        prop_assert_eq!(
            claims.status() == TrustTier::Affirming,
            verdict.decision == Decision::Accepted
                && claims.vector().claims().into_iter().all(|(key, _, claim)| key == 3 || claim.tier() == TrustTier::Affirming)
        );
        let result = signed(&verdict, &CONTEXT);
        prop_assert_eq!(result.claims(), &claims);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = signed(&verdict(&[]), &CONTEXT).as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assert!(Ear::verify(&bytes[..at]).is_err());
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(Ear::verify(&flipped).is_err());
        let mut longer = bytes;
        longer.push(0);
        prop_assert!(Ear::verify(&longer).is_err());
    }

    #[test]
    fn verifying_never_panics(bytes: Vec<u8>) {
        let _ = Ear::verify(&bytes);
    }
}
