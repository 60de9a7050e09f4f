//! From nodes that run to a pipeline that answers, as an owner goes about it:
//! plan, sign, verify, start.

use std::fs;

use bastide_tests::node::{Node, model_folder};
use bastide_tests::pipeline::{Options, Pipeline, Plan};

use crate::ask::{PROMPT, SEEDS, Said, TRUST, ask, bastide, one_node, proxy};

#[test]
fn what_is_planned_over_running_nodes_and_signed_answers_as_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let logs = |name: &str| {
        let logs = folder.path().join(name);
        fs::create_dir(&logs).unwrap();
        logs
    };
    let nodes = ["a", "b"].map(|name| Node::start(&logs(name), &[]).unwrap());
    let urls = nodes.each_ref().map(Node::url).join(",");
    let [source, file, key] = ["plan.toml", "plan.cose", "owner.key"].map(|name| folder.path().join(name));
    let owner = folder.path().join("owner.key.pub");

    let plan = |trust: &[&str]| {
        bastide(|command| {
            command.args(["pipeline", "plan"]).arg(model_folder());
            command.args(["--nodes", &urls, "--hop-ms", "5"]).args(trust);
            command.arg("-o").arg(&source);
        })
    };
    // A node that a stage's policy refuses is no part of a plan.
    let (exit, refused) = plan(&["--policy", "production"]);
    assert_eq!(exit, 10, "{refused}");
    assert!(!source.exists());
    // What is asked of a pipeline, a node that has none doesn't meet.
    let url = nodes[0].url();
    for asked in [
        vec!["--pipeline"],
        vec!["--plan-policies"],
        vec!["--owner", &"ab".repeat(32)],
    ] {
        let (exit, refused) = bastide(|command| {
            command
                .args(["verify", &url, "--no-ledger"])
                .args(TRUST)
                .args(&asked);
        });
        assert_eq!(
            (exit, &refused["code"]),
            (10, &"pipeline.none".into()),
            "{asked:?}"
        );
    }
    let (exit, planned) = plan(&TRUST);
    assert_eq!(exit, 0, "{planned}");
    let stages = planned["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 2);
    // The nodes are alike, and the layers shared evenly; once around is two hops and some work.
    assert_eq!(stages[0]["layers"][1], stages[1]["layers"][0]);
    let lap = planned["estimate"]["lap_s"].as_f64().unwrap();
    assert!((0.010..0.100).contains(&lap), "{lap}");
    for node in nodes {
        node.enclave
            .terminate(std::time::Duration::from_secs(10))
            .unwrap();
    }

    let done = |arguments: &[&str]| {
        let (exit, said) = bastide(|command| {
            command.args(arguments);
        });
        assert_eq!(exit, 0, "{arguments:?}: {said}");
    };
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    done(&["key", "new", "-o", &text(&key)]);
    done(&[
        "pipeline",
        "sign",
        &text(&source),
        "--key",
        &text(&key),
        "-o",
        &text(&file),
    ]);
    done(&["pipeline", "verify", &text(&file), "--owner", &text(&owner)]);

    let plan = Plan {
        file,
        owner,
        stages: 2,
        drafts: false,
    };
    let pipeline = Pipeline::start(&plan, folder.path(), Options::default()).unwrap();
    let proxy = proxy(&pipeline.url(), folder.path(), &[]);
    for (seed, expected) in SEEDS.iter().zip(one_node()) {
        assert_eq!(&Said::of(&ask(&proxy, PROMPT, *seed, false, |_| ())), expected);
    }
}
