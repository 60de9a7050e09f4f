//! Messages of every kind, within the protocol's limits.

use bastide_attestation::{Nonce, Salt};
use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

/// A message whose failing values are not printed: it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Quiet(pub(crate) Message);

impl std::fmt::Debug for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.kind().0)
    }
}

fn places() -> impl Strategy<Value = (SequenceId, Epoch)> {
    (any::<u64>().prop_map(SequenceId), any::<u32>().prop_map(Epoch))
}

fn frames() -> impl Strategy<Value = Quiet> {
    let runs = vec(
        (any::<u32>(), 0u32..1 << 30, 1u16..20, any::<u16>(), any::<u32>()),
        0..65,
    );
    (1u64.., runs, any::<bool>(), any::<u32>()).prop_map(|(number, runs, ids, noise)| {
        let runs: Vec<Run> = (0u64..)
            .zip(runs)
            .map(|(index, (epoch, pos, rows, wanted, committed))| Run {
                sequence: SequenceId(index << 32 | u64::from(noise)),
                epoch: Epoch(epoch),
                pos,
                rows,
                wanted: wanted % (rows + 1),
                committed,
            })
            .collect();
        let rows: usize = runs.iter().map(|run| usize::from(run.rows)).sum();
        let words = (0..).map(|index: u32| index.wrapping_mul(noise | 1));
        let payload = if ids {
            Payload::Ids(Zeroizing::new(
                words.take(rows).map(|word| word % BOUNDS.vocab).collect(),
            ))
        } else {
            let finite = words.map(|word| f32::from_bits(word & 0xbfff_ffff));
            Payload::Activations {
                width: BOUNDS.width,
                values: Zeroizing::new(finite.take(rows * 3).collect()),
            }
        };
        Quiet(Message::Frame(Frame {
            number,
            runs,
            payload,
        }))
    })
}

fn answers() -> impl Strategy<Value = Quiet> {
    let tops = vec((0..BOUNDS.vocab, -90f32..0.0), 0..21);
    let target = (0..BOUNDS.vocab, -90f32..0.0, tops);
    let run = (any::<u32>(), any::<u32>(), vec(target, 0..6));
    (1u64.., vec(run, 0..20)).prop_map(|(number, runs)| {
        let runs = (0u64..)
            .zip(runs)
            .map(|(sequence, (epoch, pos, targets))| Targets {
                sequence: SequenceId(sequence),
                epoch: Epoch(epoch),
                pos,
                targets: targets
                    .into_iter()
                    .map(|(id, logprob, top)| Target { id, logprob, top })
                    .collect(),
            })
            .collect();
        Quiet(Message::Answer(Answer { number, runs }))
    })
}

fn opens() -> impl Strategy<Value = Quiet> {
    let sampling = (
        0f32..100.0,
        0.01f32..1.0,
        any::<u64>(),
        proptest::option::of(0u8..=20),
    );
    (places(), any::<u32>(), any::<[u8; 32]>(), sampling).prop_map(
        |((sequence, epoch), positions, salt, (temperature, top_p, seed, top_logprobs))| {
            Quiet(Message::Open(Open {
                sequence,
                epoch,
                positions,
                salt: Salt::new(salt),
                sampling: Sampling {
                    temperature,
                    top_p,
                    seed,
                    top_logprobs,
                },
            }))
        },
    )
}

fn controls() -> impl Strategy<Value = Quiet> {
    let digest = any::<[u8; 32]>;
    let address = proptest::option::of(("[!-9;-~]{1,40}", 1u16..));
    let join = (digest(), any::<u16>(), address).prop_map(|(plan, stage, next)| {
        let next = next.map(|(host, port)| format!("{host}:{port}"));
        Quiet(Message::Join(Join { plan, stage, next }))
    });
    let ready = (digest(), digest(), digest(), any::<(u16, u32, u16, u32)>()).prop_map(
        |(plan, weights, engine, (stage, max_positions, max_sequences, row_us))| {
            Quiet(Message::Ready(Ready {
                plan,
                stage,
                weights,
                engine,
                max_positions,
                max_sequences,
                row_us,
            }))
        },
    );
    let finish = (places(), any::<u32>(), any::<bool>()).prop_map(|((sequence, epoch), rows, sign)| {
        Quiet(Message::Finish(Finish {
            sequence,
            epoch,
            rows,
            sign,
        }))
    });
    let part = (places(), any::<u16>(), vec(any::<u8>(), 1..1_025)).prop_map(
        |((sequence, epoch), stage, signed)| {
            Quiet(Message::Part(Part {
                sequence,
                epoch,
                stage,
                signed,
            }))
        },
    );
    let codes = proptest::sample::select(vec![
        FaultCode::Gap,
        FaultCode::Full,
        FaultCode::Unknown,
        FaultCode::Forward,
        FaultCode::NextLost,
        FaultCode::Signing,
    ]);
    let fault = (codes, places()).prop_map(|(code, (sequence, epoch))| {
        Quiet(Message::Fault(Fault {
            code,
            sequence,
            epoch,
        }))
    });
    let evidence = (any::<u64>(), any::<u16>(), 1u16.., vec(any::<u8>(), 1..3_000)).prop_map(
        |(id, part, parts, bytes)| {
            Quiet(Message::Evidence(EvidencePiece {
                id,
                part: part % parts,
                parts,
                bytes,
            }))
        },
    );
    prop_oneof![
        join,
        ready,
        finish,
        part,
        fault,
        evidence,
        places().prop_map(|(sequence, epoch)| Quiet(Message::Cancel { sequence, epoch })),
        any::<u64>().prop_map(|tick| Quiet(Message::Ping { tick })),
        any::<(u64, u64)>().prop_map(|(tick, done)| Quiet(Message::Pong { tick, done })),
        (any::<u64>(), digest()).prop_map(|(id, nonce)| Quiet(Message::Challenge {
            id,
            nonce: Nonce::new(nonce)
        })),
    ]
}

pub(crate) fn messages() -> impl Strategy<Value = Quiet> {
    prop_oneof![3 => controls(), 1 => opens(), 2 => frames(), 2 => answers()]
}
