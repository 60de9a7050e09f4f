//! Random clusters.

use bastide_pipeline::head::Speculation;
use bastide_pipeline::message::Sampling;
use proptest::prelude::*;

use crate::model::VOCABULARY;
use crate::world::{Ask, Drafts, Setting, World};

fn speculation() -> impl Strategy<Value = Speculation> {
    prop_oneof![
        Just(Speculation::Off),
        (1u8..9).prop_map(|k| Speculation::Synchronous { k }),
        (1u8..6, 1u8..9).prop_map(|(k, depth)| Speculation::Pipelined { k, depth }),
        Just(Speculation::Auto),
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    prop_oneof![Just(0.0f32), Just(0.8)].prop_flat_map(|temperature| {
        any::<u64>().prop_map(move |seed| Sampling {
            temperature,
            top_p: 1.0,
            seed,
            top_logprobs: None,
        })
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let prompt = prop_oneof![
        proptest::collection::vec(0..VOCABULARY, 1..8),
        proptest::collection::vec(0..VOCABULARY, 1..300),
    ];
    (
        prompt,
        1u32..60,
        sampling(),
        proptest::option::of(1u32..20),
        0usize..40,
    )
        .prop_map(|(prompt, budget, sampling, stop, cancel)| Ask {
            prompt,
            budget,
            sampling,
            stop,
            cancel: cancel.checked_sub(30).filter(|cancel| *cancel > 0),
        })
}

fn setting() -> impl Strategy<Value = Setting> {
    (
        (
            any::<u64>(),
            1u16..5,
            speculation(),
            0u64..20_000,
            0u32..6,
            0u64..100,
        ),
        prop_oneof![Just(Drafts::Right), Just(Drafts::Wrong), Just(Drafts::Mixed)],
        1u16..6,
        proptest::collection::vec(ask(), 1..8),
    )
        .prop_map(
            |((seed, stages, speculation, hop, losses, repeats), drafts, max_sequences, asks)| Setting {
                seed,
                stages,
                speculation,
                drafts,
                hop,
                steady: false,
                losses,
                repeats,
                max_sequences,
                asks,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_late_lost_repeated_or_guessed_wrong_the_answer_is_that_of_one_node(setting in setting()) {
        let mut world = World::new(setting);
        world.run();
        for outcome in &world.outcomes {
            prop_assert_eq!(outcome.failed, None);
        }
    }
}
