//! How fast answers come, against the latency model.
//!
//! Time is simulated: links take exactly their time, stages none, and drafting
//! a millisecond a token. What the head itself wastes shows, and nothing else.

use bastide_attestation::pipeline::latency::{Ring, StageCost};
use bastide_pipeline::head::Speculation;

use crate::world::{Ask, Drafts, Setting, World};

/// Tokens that are asked for.
const TOKENS: u32 = 380;

/// Tokens a second after the first, with hops of so many microseconds.
fn speed(stages: u16, hop: u64, speculation: Speculation, percent: u64) -> f64 {
    let mut world = World::new(Setting {
        stages,
        steady: true,
        hop,
        speculation,
        drafts: Drafts::Often(percent),
        asks: vec![Ask::long(0, TOKENS)],
        ..Setting::default()
    });
    world.run();
    let micros = world.last_at - world.first_at.unwrap();
    f64::from(TOKENS - 1) / (f64::from(u32::try_from(micros).unwrap()) / 1e6)
}

#[test]
fn each_form_is_about_as_fast_as_the_model_says_and_the_best_is_chosen() {
    for (stages, hop, percent) in [
        (4, 1_000u32, 80u32),
        (4, 10_000, 80),
        (2, 10_000, 90),
        (4, 25_000, 90),
    ] {
        let lap = f64::from(hop) * f64::from(stages + 1) / 1e6;
        let acceptance = f64::from(percent) / 100.0;
        let nothing = StageCost {
            hop_s: 0.0,
            row_s: 0.0,
            further_row_s: 0.0,
        };
        let ring = Ring::measured(lap, 0.0, &nothing, 0.001);
        let k = u8::try_from(ring.best_k(16, acceptance)).unwrap();
        let forms = [
            (Speculation::Off, ring.plain(), 0.99),
            (
                Speculation::Synchronous { k },
                ring.synchronous(k.into(), acceptance),
                0.9,
            ),
            (
                Speculation::Pipelined { k: 2, depth: 16 },
                ring.pipelined(2, 32, acceptance),
                0.9,
            ),
            (Speculation::Auto, ring.pipelined(2, 32, acceptance), 0.8),
        ];
        for (speculation, model, share) in forms {
            let speed = speed(stages, hop.into(), speculation, percent.into());
            assert!(
                speed > share * model,
                "{stages} {hop} {percent} {speculation:?}: {speed} of {model}"
            );
        }
    }
}

/// Tokens a second, from the request on; 4 stages, hops of 10 ms.
fn whole(speculation: Speculation, drafts: Drafts) -> f64 {
    let mut world = World::new(Setting {
        stages: 4,
        steady: true,
        hop: 10_000,
        speculation,
        drafts,
        asks: vec![Ask::long(0, 200)],
        ..Setting::default()
    });
    world.run();
    200.0 / (f64::from(u32::try_from(world.now).unwrap()) / 1e6)
}

#[test]
fn speculation_hides_the_distance() {
    let plain = whole(Speculation::Off, Drafts::Right);
    let synchronous = whole(Speculation::Synchronous { k: 8 }, Drafts::Right);
    let pipelined = whole(Speculation::Pipelined { k: 4, depth: 16 }, Drafts::Right);
    let auto = whole(Speculation::Auto, Drafts::Right);
    assert!((plain - 20.0).abs() < 2.0, "{plain}");
    assert!(synchronous > 6.0 * plain, "{synchronous}");
    assert!(pipelined > 3.0 * synchronous, "{pipelined}");
    assert!(auto > 0.6 * pipelined, "{auto}");
}

#[test]
fn a_draft_that_is_always_wrong_costs_little() {
    let plain = whole(Speculation::Off, Drafts::Wrong);
    for speculation in [
        Speculation::Synchronous { k: 4 },
        Speculation::Pipelined { k: 4, depth: 8 },
        Speculation::Auto,
    ] {
        let speed = whole(speculation, Drafts::Wrong);
        assert!(speed > 0.85 * plain, "{speculation:?} {speed} {plain}");
    }
}
