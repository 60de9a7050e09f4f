//! Who is admitted and who isn't, T6.

use std::collections::BTreeMap;

use super::*;
use crate::credential::CredentialClaims;
use crate::credential::tests::{claims, context, issued, issuer};
use crate::digest::{BootId, ManifestDigest, PolicyDigest, StatementDigest, TreeHash};
use crate::result::{Decision, SharedVerdict, VERDICT_SCHEMA, Verdict};
use crate::statement::{EpochStatement, GpuSeedKind, TimeSource};

const NOW: UnixTime = UnixTime::from_secs(1_764_100_000);
const OURS: ChipId = ChipId::new([7; 64]);

/// An accepted verdict about a guest on `chip`, under the key of `provider` if
/// there is one.
fn accepted(chip: ChipId, provider: Option<&str>) -> AttestationResult {
    let mut facts = BTreeMap::from([
        ("report_id", claims().report_id.to_string()),
        ("chip_id", chip.to_string()),
    ]);
    facts.extend(provider.map(|provider| ("provider", provider.to_owned())));
    AttestationResult {
        verdict: SharedVerdict::from(Verdict {
            schema: VERDICT_SCHEMA,
            decision: Decision::Accepted,
            code: None,
            reason: None,
            platform: None,
            checks: Vec::new(),
            roots: Vec::new(),
            simulated: false,
            uncovered: Vec::new(),
            snp: Some(facts),
            azure: None,
            gpus: Vec::new(),
            session: None,
            policy: String::new(),
            policy_digest: String::new(),
            ignored: Vec::new(),
            at: NOW.to_string(),
        }),
        statement: EpochStatement {
            boot_id: BootId::new([1; 16]),
            epoch: 0,
            previous: StatementDigest::new([0; 32]),
            depth: 0,
            root: TreeHash::new([0; 32]),
            gpu_epoch: 0,
            gpu_digest: None,
            gpu_seed: GpuSeedKind::PreviousStatement,
            session_key: [0; 32],
            receipt_key: KeyThumbprint::new([0; 32]),
            sealed_key: None,
            model: context().model,
            configuration: PolicyDigest::new([0; 32]),
            time_ms: 0,
            time_source: TimeSource::Host,
            debug: false,
            pipeline: false,
        },
        statement_digest: StatementDigest::new([0; 32]),
    }
}

fn rules(required: Required) -> PeerRules {
    let hardware = HardwareRules {
        chips: BTreeSet::from([OURS]),
        csp_ids: BTreeSet::from(["CN=cc-us-east-2.example".to_owned()]),
    };
    PeerRules::new(vec![issuer(1).1], hardware, required).unwrap()
}

fn admit(
    rules: &PeerRules,
    result: &AttestationResult,
    credential: Option<&[u8]>,
) -> Result<Admission, NotAdmitted> {
    rules.admit(result, &context(), &claims().spki, credential, NOW)
}

#[test]
fn t6_an_unknown_chip_without_a_credential_is_not_admitted() {
    let (known, unknown) = (accepted(OURS, None), accepted(ChipId::new([8; 64]), None));
    let either = rules(Required::Either);
    let admission = admit(&either, &known, None).unwrap();
    assert_eq!((admission.hardware, admission.issuer), (true, None));
    let error = admit(&either, &unknown, None).unwrap_err();
    assert_eq!(error.code(), "link.peer_not_admitted");
    assert!(
        matches!(
            error,
            NotAdmitted::Neither {
                credential: NoCredential::NotShown
            }
        ),
        "{error}"
    );
}

#[test]
fn t6_a_zero_chip_id_is_never_in_a_set_and_never_equal() {
    let zero = ChipId::new([0; 64]);
    let with_zero = HardwareRules {
        chips: BTreeSet::from([zero]),
        ..HardwareRules::default()
    };
    assert_eq!(
        PeerRules::new(Vec::new(), with_zero.clone(), Required::Either),
        Err(PeerRulesError::ZeroChip)
    );
    // Even if such a set came about, it would not match.
    let forced = PeerRules {
        issuers: vec![issuer(1).1],
        hardware: with_zero,
        required: Required::Either,
    };
    assert!(admit(&forced, &accepted(zero, None), None).is_err());
    // A credential names the guest instead, and a VLEK its provider.
    let credential = issued(&claims(), 1);
    let either = rules(Required::Either);
    assert!(admit(&either, &accepted(zero, None), Some(credential.as_bytes())).is_ok());
    let provider = accepted(zero, Some("CN=cc-us-east-2.example"));
    assert!(admit(&either, &provider, None).unwrap().hardware);
    assert!(admit(&either, &accepted(zero, Some("CN=cc-other.example")), None).is_err());
}

#[test]
fn t6_a_credential_of_a_stranger_or_for_another_peer_admits_nobody() {
    let unknown = accepted(ChipId::new([8; 64]), None);
    let either = rules(Required::Either);
    let good = issued(&claims(), 1);
    let admission = admit(&either, &unknown, Some(good.as_bytes())).unwrap();
    assert_eq!(admission.issuer, Some(*good.issuer()));
    assert_eq!(admission.report_id, claims().report_id);

    let stranger = issued(&claims(), 2);
    let elsewhere = CredentialClaims {
        report_id: ReportId::new([9; 32]),
        ..claims()
    };
    let elsewhere = issued(&elsewhere, 1);
    for bad in [stranger.as_bytes(), elsewhere.as_bytes(), b"", b"\xd2"] {
        let error = admit(&either, &unknown, Some(bad)).unwrap_err();
        assert_eq!(error.code(), "link.peer_not_admitted", "{error}");
    }
    // T22: the same guest at another stage.
    let next = LinkContext {
        stage: 9,
        ..context()
    };
    let error = either
        .admit(&unknown, &next, &claims().spki, Some(good.as_bytes()), NOW)
        .unwrap_err();
    assert!(error.to_string().contains("stages 5 to 6"), "{error}");
}

#[test]
fn where_both_are_required_neither_alone_is_enough() {
    let both = rules(Required::Both);
    let (known, unknown) = (accepted(OURS, None), accepted(ChipId::new([8; 64]), None));
    let good = issued(&claims(), 1);
    let admission = admit(&both, &known, Some(good.as_bytes())).unwrap();
    assert!(admission.hardware && admission.issuer.is_some());
    assert_eq!(
        admit(&both, &unknown, Some(good.as_bytes())),
        Err(NotAdmitted::Hardware)
    );
    assert!(matches!(
        admit(&both, &known, None),
        Err(NotAdmitted::Credential { .. })
    ));
    assert!(matches!(
        admit(&both, &unknown, None),
        Err(NotAdmitted::Neither { .. })
    ));
    for (issuers, hardware) in [
        (vec![issuer(1).1], HardwareRules::default()),
        (Vec::new(), both.hardware.clone()),
    ] {
        assert_eq!(
            PeerRules::new(issuers, hardware, Required::Both),
            Err(PeerRulesError::Nobody)
        );
    }
}

#[test]
fn a_statement_about_another_model_or_without_a_report_id_admits_nobody() {
    let either = rules(Required::Either);
    let mut other = accepted(OURS, None);
    other.statement.model = ManifestDigest::new([9; 32]);
    assert_eq!(admit(&either, &other, None).unwrap_err().code(), "link.model");
    let with = |facts| {
        let mut result = accepted(OURS, None);
        result.verdict = SharedVerdict::from(Verdict {
            snp: facts,
            ..result.verdict.into_verdict()
        });
        result
    };
    let nobody = with(None);
    assert_eq!(admit(&either, &nobody, None), Err(NotAdmitted::Nobody));
    let mut facts = accepted(OURS, None).verdict.snp.clone().unwrap();
    facts.insert("report_id", ReportId::new([0; 32]).to_string());
    let zero = with(Some(facts));
    assert_eq!(admit(&either, &zero, None), Err(NotAdmitted::Nobody));
}

#[test]
fn every_rule_changes_the_digest_and_the_order_of_issuers_does_not() {
    let (one, two) = (issuer(1).1, issuer(2).1);
    let with = |issuers: &[[u8; 32]], hardware: HardwareRules, required| {
        PeerRules::new(issuers.to_vec(), hardware, required)
            .unwrap()
            .digest()
    };
    let ours = rules(Required::Either).hardware;
    let mut chips_alone = ours.clone();
    chips_alone.csp_ids.clear();
    let mut csp_ids_alone = ours.clone();
    csp_ids_alone.chips.clear();
    let mut digests = vec![
        with(&[one], ours.clone(), Required::Either),
        with(&[one], ours.clone(), Required::Both),
        with(&[one, two], ours.clone(), Required::Either),
        with(&[one], chips_alone, Required::Either),
        with(&[one], csp_ids_alone, Required::Either),
    ];
    assert_eq!(
        with(&[two, one, two], ours, Required::Either),
        digests[2],
        "a set has no order"
    );
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 5);
}
