//! The bytes of every message, by hand.

use bastide_attestation::{Nonce, Salt};
use zeroize::Zeroizing;

use super::*;

#[test]
fn every_message_has_the_bytes_that_the_protocol_writes_down() {
    const SEQUENCE: &[u8] = &[7, 0, 0, 0, 0, 0, 0, 0];
    const EPOCH: &[u8] = &[2, 0, 0, 0];
    let (sequence, epoch) = (SequenceId(7), Epoch(2));
    let cases: Vec<(Message, u8, Vec<&[u8]>)> = vec![
        (
            Message::Join(Join {
                plan: [0x11; 32],
                stage: 1,
                next: Some("[::1]:443".to_owned()),
            }),
            0x20,
            vec![&[0x11; 32], &[1, 0], &[9, 0], b"[::1]:443"],
        ),
        (
            Message::Join(Join {
                plan: [0x11; 32],
                stage: 0x203,
                next: None,
            }),
            0x20,
            vec![&[0x11; 32], &[3, 2], &[0, 0]],
        ),
        (
            Message::Ready(Ready {
                plan: [0x11; 32],
                stage: 1,
                weights: [0x22; 32],
                engine: [0x33; 32],
                max_positions: 0x1234,
                max_sequences: 16,
                row_us: 900,
            }),
            0x21,
            vec![
                &[0x11; 32],
                &[1, 0],
                &[0x22; 32],
                &[0x33; 32],
                &[0x34, 0x12, 0, 0],
                &[16, 0],
                &[0x84, 3, 0, 0],
            ],
        ),
        (
            Message::Open(Open {
                sequence,
                epoch,
                positions: 256,
                salt: Salt::new([0x44; 32]),
                sampling: Sampling {
                    temperature: 0.5,
                    top_p: 1.0,
                    seed: 9,
                    top_logprobs: None,
                },
            }),
            0x22,
            vec![
                SEQUENCE,
                EPOCH,
                &[0, 1, 0, 0],
                &[0x44; 32],
                &[0, 0, 0, 0x3f],
                &[0, 0, 0x80, 0x3f],
                &[9, 0, 0, 0, 0, 0, 0, 0],
                &[255],
            ],
        ),
        (
            Message::Frame(Frame {
                number: 3,
                runs: vec![run(7, 4, 2)],
                payload: Payload::Ids(Zeroizing::new(vec![258, 5])),
            }),
            0x23,
            vec![
                &[3, 0, 0, 0, 0, 0, 0, 0],
                &[1, 0],
                &[0],
                &[1, 0, 0, 0],
                SEQUENCE,
                EPOCH,
                &[4, 0, 0, 0],
                &[2, 0],
                &[1, 0],
                &[5, 0, 0, 0],
                &[2, 1, 0, 0],
                &[5, 0, 0, 0],
            ],
        ),
        (
            Message::Frame(Frame {
                number: 3,
                runs: vec![run(7, 4, 1)],
                payload: Payload::Activations {
                    width: 3,
                    values: Zeroizing::new(vec![1.0, -2.0, 0.5]),
                },
            }),
            0x23,
            vec![
                &[3, 0, 0, 0, 0, 0, 0, 0],
                &[1, 0],
                &[1],
                &[3, 0, 0, 0],
                SEQUENCE,
                EPOCH,
                &[4, 0, 0, 0],
                &[1, 0],
                &[1, 0],
                &[5, 0, 0, 0],
                &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f],
            ],
        ),
        (
            Message::Answer(Answer {
                number: 3,
                runs: vec![Targets {
                    sequence,
                    epoch,
                    pos: 5,
                    targets: vec![Target {
                        id: 258,
                        logprob: -2.0,
                        top: vec![(5, -0.5)],
                    }],
                }],
            }),
            0x24,
            vec![
                &[3, 0, 0, 0, 0, 0, 0, 0],
                &[1, 0],
                SEQUENCE,
                EPOCH,
                &[5, 0, 0, 0],
                &[1, 0],
                &[2, 1, 0, 0],
                &[0, 0, 0, 0xc0],
                &[1],
                &[5, 0, 0, 0],
                &[0, 0, 0, 0xbf],
            ],
        ),
        (
            Message::Finish(Finish {
                sequence,
                epoch,
                rows: 6,
                sign: true,
            }),
            0x25,
            vec![SEQUENCE, EPOCH, &[6, 0, 0, 0], &[1]],
        ),
        (
            Message::Part(Part {
                sequence,
                epoch,
                stage: 1,
                signed: vec![0xd2, 0x84],
            }),
            0x26,
            vec![SEQUENCE, EPOCH, &[1, 0], &[2, 0, 0, 0], &[0xd2, 0x84]],
        ),
        (Message::Cancel { sequence, epoch }, 0x27, vec![SEQUENCE, EPOCH]),
        (Message::Ping { tick: 1 }, 0x28, vec![&[1, 0, 0, 0, 0, 0, 0, 0]]),
        (
            Message::Pong { tick: 1, done: 7 },
            0x29,
            vec![&[1, 0, 0, 0, 0, 0, 0, 0], SEQUENCE],
        ),
        (
            Message::Fault(Fault {
                code: FaultCode::Forward,
                sequence,
                epoch,
            }),
            0x2a,
            vec![&[4], SEQUENCE, EPOCH],
        ),
        (
            Message::Challenge {
                id: 7,
                nonce: Nonce::new([0x55; 32]),
            },
            0x2b,
            vec![SEQUENCE, &[0x55; 32]],
        ),
        (
            Message::Evidence(EvidencePiece {
                id: 7,
                part: 1,
                parts: 2,
                bytes: vec![0xa1],
            }),
            0x2c,
            vec![SEQUENCE, &[1, 0], &[2, 0], &[1, 0, 0, 0], &[0xa1]],
        ),
    ];
    let mut kinds = std::collections::BTreeSet::new();
    for (message, kind, body) in cases {
        let expected = by_hand(kind, [4, 3, 2, 1], &body);
        let (name, _) = message.kind();
        let got = encode(0x0102_0304, message.clone());
        assert!(*got == expected, "{name} has other bytes");
        let back = decode(&expected).unwrap();
        assert!(
            back.message == message && back.ring == RingId(0x0102_0304),
            "{name} reads as another"
        );
        kinds.insert(kind);
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        (0x20..=0x2c).collect::<Vec<_>>()
    );
}
