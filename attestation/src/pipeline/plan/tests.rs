//! A plan that exists is a good one, and has one encoding.

use std::collections::BTreeSet;

use super::*;
use crate::digest::ChipId;
use crate::link::{HardwareRules, Required};
use proptest::prelude::*;

pub(crate) const OWNER: [u8; 32] = [0x0a; 32];

pub(crate) fn rules() -> PlanRules {
    let hardware = HardwareRules {
        chips: BTreeSet::from([ChipId::new([7; 64]), ChipId::new([8; 64])]),
        csp_ids: BTreeSet::from(["CN=cc-us-east-2.example".to_owned()]),
    };
    PlanRules::new(&[[2; 32], [1; 32]], hardware, Required::Either).unwrap()
}

pub(crate) fn stage(first: u16, end: u16, policy: u8) -> StagePlan {
    StagePlan {
        layers: LayerRange::new(first, end).unwrap(),
        weights: [u8::try_from(end).unwrap_or(0xff); 32],
        policy,
    }
}

pub(crate) fn contents() -> PlanContents {
    PlanContents {
        pipeline: PipelineId::new([0x66; 16]),
        model: ManifestDigest::new([0x77; 32]),
        draft: Some(ManifestDigest::new([0x78; 32])),
        stages: vec![stage(0, 2, 0), stage(2, 5, 1), stage(5, 6, 0)],
        policies: vec![b"version = 1\n".to_vec(), b"version = 2\n".to_vec()],
        rules: rules(),
    }
}

fn with(change: impl FnOnce(&mut PlanContents)) -> Result<Plan, PlanError> {
    let mut contents = contents();
    change(&mut contents);
    Plan::new(contents)
}

#[test]
fn a_plan_says_what_each_stage_has_and_is_held_to() {
    let plan = Plan::new(contents()).unwrap();
    assert_eq!(plan.layers(), 6);
    assert_eq!(plan.policy_of(1), Some(&b"version = 2\n"[..]));
    assert_eq!(plan.policy_of(2), Some(&b"version = 1\n"[..]));
    assert_eq!(plan.policy_of(3), None);
    assert_eq!(plan.context(2).unwrap().stage, 2);
    assert!(plan.context(3).is_none());
    let payload = plan.encode_payload(&OWNER);
    assert_eq!(Plan::decode_payload(&payload), Ok((plan, OWNER)));
}

#[test]
fn layers_are_contiguous_from_0_and_each_policy_is_used() {
    use PlanError as E;
    let cases = [
        (with(|c| c.stages.clear()), E::Stages { got: 0 }),
        (
            with(|c| c.stages = (0..17).map(|n| stage(n, n + 1, 0)).collect()),
            E::Stages { got: 17 },
        ),
        (
            with(|c| c.stages[0] = stage(1, 2, 0)),
            E::Gap {
                stage: 0,
                expected: 0,
                got: 1,
            },
        ),
        (
            with(|c| c.stages[1] = stage(3, 5, 1)),
            E::Gap {
                stage: 1,
                expected: 2,
                got: 3,
            },
        ),
        (
            with(|c| c.stages[1] = stage(1, 5, 1)),
            E::Gap {
                stage: 1,
                expected: 2,
                got: 1,
            },
        ),
        (
            with(|c| c.stages[2].policy = 2),
            E::NoSuchPolicy {
                stage: 2,
                policy: 2,
                count: 2,
            },
        ),
        (with(|c| c.stages[1].policy = 0), E::UnusedPolicy { policy: 1 }),
        (with(|c| c.policies[0].clear()), E::Policies),
        (
            with(|c| c.policies[0] = vec![b' '; MAX_POLICY_BYTES + 1]),
            E::Policies,
        ),
    ];
    for (got, expected) in cases {
        assert_eq!(got, Err(expected));
    }
    assert!(with(|c| c.policies[0] = vec![b' '; MAX_POLICY_BYTES]).is_ok());
    assert_eq!(LayerRange::new(3, 3), None);
    assert_eq!(LayerRange::new(4, 3), None);
    assert_eq!(LayerRange::new(0, MAX_LAYERS + 1), None);
    assert!(LayerRange::new(0, MAX_LAYERS).is_some());
}

/// The payload of the plan with one entry replaced.
fn payload(change: impl FnOnce(MapBuilder) -> MapBuilder) -> Vec<u8> {
    let stages = MapBuilder::new()
        .map(0, encode_stage(&stage(0, 2, 0)))
        .map(1, encode_stage(&stage(2, 6, 0)));
    change(
        MapBuilder::new()
            .uint(key::VERSION, VERSION)
            .bytes(key::PIPELINE, &[0x66; 16])
            .bytes(key::MODEL, &[0x77; 32])
            .bytes_or_null(key::DRAFT, None)
            .uint(key::LAYERS, 6)
            .text(key::ARITHMETIC, ARITHMETIC)
            .map(key::STAGES, stages)
            .map(key::POLICIES, MapBuilder::new().bytes(0, b"version = 1\n"))
            .map(key::RULES, rules().encode())
            .bytes(key::OWNER, &OWNER),
    )
    .encode()
}

#[test]
fn bytes_that_say_anything_else_are_refused() {
    assert!(Plan::decode_payload(&payload(|map| map)).is_ok());
    let stages = |map: MapBuilder| payload(|plan| plan.map(key::STAGES, map));
    let gap = MapBuilder::new()
        .map(0, encode_stage(&stage(0, 6, 0)))
        .map(2, encode_stage(&stage(2, 6, 0)));
    let empty = MapBuilder::new()
        .uint(1, 3)
        .uint(2, 3)
        .bytes(3, &[1; 32])
        .uint(4, 0);
    let far = MapBuilder::new()
        .uint(1, 0)
        .uint(2, 65_542)
        .bytes(3, &[1; 32])
        .uint(4, 0);
    let policy = MapBuilder::new()
        .uint(1, 0)
        .uint(2, 6)
        .bytes(3, &[1; 32])
        .uint(4, 256);
    let rule = |map: MapBuilder| payload(|plan| plan.map(key::RULES, map));
    let cases = [
        ("another version", payload(|plan| plan.uint(key::VERSION, 2))),
        ("an unknown key", payload(|plan| plan.uint(11, 2))),
        ("layers left over", payload(|plan| plan.uint(key::LAYERS, 7))),
        ("layers missing", payload(|plan| plan.uint(key::LAYERS, 5))),
        (
            "other arithmetic",
            payload(|plan| plan.text(key::ARITHMETIC, "bf16")),
        ),
        (
            "a short name",
            payload(|plan| plan.bytes(key::PIPELINE, &[1; 15])),
        ),
        ("a gap in the numbers of stages", stages(gap)),
        ("an empty range", stages(MapBuilder::new().map(0, empty))),
        ("a range beyond 16 bits", stages(MapBuilder::new().map(0, far))),
        ("a policy beyond 8 bits", stages(MapBuilder::new().map(0, policy))),
        ("a chip cut short", rule(rules().encode().bytes(2, &[7; 63]))),
        (
            "chips that descend",
            rule(rules().encode().bytes(2, &[[8_u8; 64], [7; 64]].concat())),
        ),
        ("a chip twice", rule(rules().encode().bytes(2, &[7; 128]))),
        ("a chip of zeros", rule(rules().encode().bytes(2, &[0; 64]))),
        (
            "issuers that descend",
            rule(rules().encode().hashes(1, &[[2; 32], [1; 32]])),
        ),
        (
            "an issuer twice",
            rule(rules().encode().hashes(1, &[[1; 32], [1; 32]])),
        ),
        ("an empty CSP_ID", rule(rules().encode().texts(3, &[""]))),
        ("another requirement", rule(rules().encode().uint(4, 2))),
        (
            "nobody admitted",
            rule(
                MapBuilder::new()
                    .hashes(1, &[])
                    .bytes(2, &[])
                    .texts(3, &[])
                    .uint(4, 0),
            ),
        ),
    ];
    for (name, bytes) in cases {
        assert!(Plan::decode_payload(&bytes).is_err(), "{name}");
    }
}

#[test]
fn rules_name_a_bounded_number_of_things() {
    let hardware = |chips: usize| HardwareRules {
        chips: (1..=chips)
            .map(|chip| {
                let mut id = [0; 64];
                id[..8].copy_from_slice(&chip.to_le_bytes());
                ChipId::new(id)
            })
            .collect(),
        csp_ids: BTreeSet::new(),
    };
    assert!(PlanRules::new(&[], hardware(super::super::MAX_CHIPS), Required::Either).is_ok());
    assert!(PlanRules::new(&[], hardware(super::super::MAX_CHIPS + 1), Required::Either).is_err());
    let issuers: Vec<[u8; 32]> = (0..65).map(|seed| [seed; 32]).collect();
    assert!(PlanRules::new(&issuers[..64], HardwareRules::default(), Required::Either).is_ok());
    assert!(PlanRules::new(&issuers, HardwareRules::default(), Required::Either).is_err());
    let long = HardwareRules {
        csp_ids: BTreeSet::from(["x".repeat(257)]),
        ..HardwareRules::default()
    };
    assert!(PlanRules::new(&[], long, Required::Either).is_err());
}

prop_compose! {
    /// Any cut of a model into stages.
    fn any_plan()(
        cuts in prop::collection::btree_set(1_u16..200, 1..MAX_STAGES),
        weights: [u8; 32], model: [u8; 32], draft: Option<[u8; 32]>,
        policy in prop::collection::vec(any::<u8>(), 1..200),
        both: bool,
    ) -> Plan {
        let ends: Vec<u16> = cuts.into_iter().collect();
        let mut first = 0;
        let stages = ends
            .iter()
            .map(|end| {
                let layers = LayerRange::new(first, *end).unwrap();
                first = *end;
                StagePlan { layers, weights, policy: 0 }
            })
            .collect();
        let required = if both { Required::Both } else { Required::Either };
        Plan::new(PlanContents {
            pipeline: PipelineId::new([1; 16]),
            model: ManifestDigest::new(model),
            draft: draft.map(ManifestDigest::new),
            stages,
            policies: vec![policy],
            rules: PlanRules::new(&[[3; 32]], rules().peer_rules().hardware().clone(), required).unwrap(),
        })
        .unwrap()
    }
}

proptest! {
    #[test]
    fn every_plan_is_read_back_from_its_bytes(plan in any_plan(), owner: [u8; 32]) {
        prop_assert_eq!(Plan::decode_payload(&plan.encode_payload(&owner)), Ok((plan, owner)));
    }

    #[test]
    fn decoding_never_panics(bytes: Vec<u8>) {
        let _ = Plan::decode_payload(&bytes);
    }
}
