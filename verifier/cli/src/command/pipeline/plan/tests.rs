//! What is planned is what can be signed, and says what it was made of.

use super::*;
use crate::pipeline::file as plan_file;
use bastide_attestation::sha256;

fn node(number: u8, chip: bool) -> Node {
    let text = r#"{"schema":"bastide.capacity/v1","model":"m","layers":6,"memory_bytes":1000000,
        "row_us_per_layer":1000,"draft_us":500,"max_sequences":16}"#;
    Node {
        address: format!("https://node-{number}.example").parse().unwrap(),
        policy: "development".to_owned(),
        model: ManifestDigest::new([0x77; 32]),
        chip: chip.then(|| ChipId::new([number; 64])),
        capacity: serde_json::from_str(text).unwrap(),
        round_trip: Duration::from_millis(10 * u64::from(number)),
    }
}

fn placed(nodes: &[Node]) -> Vec<Placed<'_>> {
    nodes
        .iter()
        .zip([(0, 2), (2, 4), (4, 6)])
        .map(|(node, (first, end))| Placed {
            node,
            layers: LayerRange::new(first, end).unwrap(),
            bytes: 3 << 20,
            weights: sha256(&[&end.to_be_bytes()]),
        })
        .collect()
}

#[test]
fn what_is_written_is_read_as_the_plan_that_was_made() {
    let nodes = [node(1, true), node(2, false), node(3, true)];
    let placed = placed(&nodes);
    let name = PipelineId::new([0x66; 16]);
    let draft = Some(ManifestDigest::new([0x78; 32]));
    let spares = [node(4, true)];
    let issuers = ["ab".repeat(32)];
    let text = toml(&name, draft, &placed, &spares, &issuers, &ring(&placed, None));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    std::fs::write(&path, &text).unwrap();
    let plan = plan_file::read(&path).unwrap();
    assert_eq!((plan.pipeline(), plan.draft(), plan.layers()), (name, draft, 6));
    assert_eq!(plan.stages()[1].weights, sha256(&[&4_u16.to_be_bytes()]));
    assert_eq!(plan.policies().len(), 1);
    let rules = plan.rules().peer_rules();
    // Those of stages and of spares, and a hint for the node without one.
    assert_eq!(rules.hardware().chips.len(), 3);
    assert_eq!(rules.issuers().len(), 1);
    assert!(
        text.contains("# https://node-2.example shows no CHIP_ID"),
        "{text}"
    );
    // Without a draft it is a plan, too.
    std::fs::write(&path, toml(&name, None, &placed, &[], &[], &ring(&placed, None))).unwrap();
    assert_eq!(plan_file::read(&path).unwrap().draft(), None);
}

#[test]
fn the_estimate_takes_half_of_each_round_trip_or_the_hop_that_is_given() {
    let nodes = [node(1, true), node(2, true), node(3, true)];
    let placed = placed(&nodes);
    let near = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{got} {expected}");
    // Hops of 20, 15 and 25 ms, and 2 ms of rows in each of three stages.
    near(ring(&placed, None).lap_s(), 0.066);
    near(ring(&placed, Some(10.0)).lap_s(), 0.036);
    near(ring(&placed[..1], Some(10.0)).lap_s(), 0.002);
    let estimate = estimate(&ring(&placed, Some(10.0)), true);
    assert!(estimate["speculation"][2]["synchronous"].as_f64() > estimate["plain"].as_f64());
    let text = shown(&placed, &[node(4, true)], &ring(&placed, None), true).render();
    for wanted in [
        "PLANNED",
        "stage 2",
        "spare",
        "without a draft",
        "90 % of drafts right",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[test]
fn nodes_that_differ_are_named() {
    let committed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../enclave/engine/models/bastide-5m"
    );
    let weights = Weights::read(std::path::Path::new(committed)).unwrap();
    let mut nodes = vec![node(1, true), node(2, true)];
    assert_eq!(agree(&nodes, &weights), Ok(()));
    nodes[1].capacity.layers = 7;
    assert_eq!(agree(&nodes, &weights).unwrap_err().code, "pipeline.nodes");
    nodes[1].model = ManifestDigest::new([0; 32]);
    let fault = agree(&nodes, &weights).unwrap_err();
    assert_eq!((fault.exit, fault.code), (10, "pipeline.nodes_differ"));
    assert!(fault.message.contains("node-2"), "{fault}");
    let small = [node(1, true)];
    assert_eq!(
        place(&small, 1, &weights).map(drop).unwrap_err().code,
        "pipeline.split"
    );
}
