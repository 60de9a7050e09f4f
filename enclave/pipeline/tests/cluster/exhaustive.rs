//! A stage killed at every boundary of a short answer.

use bastide_pipeline::head::Speculation;

use crate::world::{Ask, Drafts, Setting, World};

fn setting(stages: u16, speculation: Speculation, temperature: f32) -> Setting {
    let mut ask = Ask::long(0, 12);
    ask.sampling.temperature = temperature;
    Setting {
        stages,
        speculation,
        drafts: Drafts::Mixed,
        asks: vec![ask],
        ..Setting::default()
    }
}

/// Kills each stage before each message that arrives anywhere; how many runs it took.
fn kill_everywhere(stages: u16, speculation: Speculation, temperature: f32) -> u64 {
    let mut calm = World::new(setting(stages, speculation, temperature));
    calm.run();
    let answer = calm.outcomes[0].emitted.clone();
    assert!(answer.len() > 4, "long enough to be killed in");
    let mut runs = 0;
    for stage in 1..stages {
        let mut replans = 0;
        for delivered in 0..=calm.delivered {
            let mut world = World::new(setting(stages, speculation, temperature));
            world.kill = Some((delivered, stage));
            world.run();
            let outcome = &world.outcomes[0];
            assert_eq!(
                outcome.emitted, answer,
                "stage {stage} killed at message {delivered}"
            );
            let record = outcome.record.as_ref().expect("it is complete");
            assert!(record.replans.len() <= 1);
            replans += record.replans.len();
            runs += 1;
        }
        assert!(replans > 10, "it was killed in mid-answer");
    }
    runs
}

#[test]
fn a_stage_killed_at_any_message_changes_nothing_without_speculation() {
    for stages in 2..=4 {
        assert!(kill_everywhere(stages, Speculation::Off, 0.0) > 15);
    }
    assert!(kill_everywhere(3, Speculation::Off, 0.8) > 15);
}

#[test]
fn a_stage_killed_at_any_message_changes_nothing_in_synchronous_speculation() {
    for stages in 2..=4 {
        assert!(kill_everywhere(stages, Speculation::Synchronous { k: 4 }, 0.0) > 15);
    }
    assert!(kill_everywhere(3, Speculation::Synchronous { k: 4 }, 0.8) > 15);
}

#[test]
fn a_stage_killed_at_any_message_changes_nothing_in_pipelined_speculation() {
    for stages in 2..=4 {
        assert!(kill_everywhere(stages, Speculation::Pipelined { k: 2, depth: 4 }, 0.0) > 15);
    }
    assert!(kill_everywhere(3, Speculation::Pipelined { k: 2, depth: 4 }, 0.8) > 15);
}

#[test]
fn a_stage_killed_at_any_message_changes_nothing_while_the_head_chooses() {
    assert!(kill_everywhere(3, Speculation::Auto, 0.0) > 15);
}
