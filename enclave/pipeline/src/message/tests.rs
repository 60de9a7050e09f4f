//! Round trips, known bytes, and everything that is nearly a message.

mod arbitrary;
mod known;

use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

pub(crate) use arbitrary::{Quiet, messages};

pub(crate) const BOUNDS: Bounds = Bounds { width: 3, vocab: 500 };

fn encode(ring: u32, message: Message) -> Zeroizing<Vec<u8>> {
    let ring = RingId(ring);
    Envelope { ring, message }.encode().unwrap()
}

fn decode(bytes: &[u8]) -> Result<Envelope, MessageError> {
    Envelope::decode(bytes, &BOUNDS)
}

/// As the field tables of the protocol say, by hand.
fn by_hand(kind: u8, ring: [u8; 4], body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut bytes = vec![kind];
    bytes.extend(ring);
    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend(body);
    let size = MESSAGE_BUCKETS
        .into_iter()
        .find(|size| *size >= bytes.len())
        .unwrap();
    bytes.resize(size, 0);
    bytes
}

fn run(sequence: u64, pos: u32, rows: u16) -> Run {
    Run {
        sequence: SequenceId(sequence),
        epoch: Epoch(2),
        pos,
        rows,
        wanted: 1,
        committed: 5,
    }
}

fn frame(width: u32, rows: u16) -> Message {
    let values = usize::try_from(width).unwrap() * usize::from(rows);
    Message::Frame(Frame {
        number: 1,
        runs: vec![run(1, 0, rows)],
        payload: Payload::Activations {
            width,
            values: Zeroizing::new(vec![1.0; values]),
        },
    })
}

#[test]
fn the_largest_frame_fits_and_one_row_more_is_refused_with_what_to_do() {
    let rows = u16::try_from(rows_that_fit(8_192, 1)).unwrap();
    assert_eq!(rows, 31, "a DATA of 1 MiB less the heads");
    assert_eq!(encode(1, frame(8_192, rows)).len(), 1_048_576);
    let error = Envelope {
        ring: RingId(1),
        message: frame(8_192, rows + 1),
    }
    .encode()
    .map(|bytes| bytes.len());
    assert_eq!(
        error,
        Err(MessageError::TooLarge {
            got: 9 + 15 + 24 + 32 * 8_192 * 4,
            most: 1_048_576
        })
    );
    assert!(error.unwrap_err().to_string().contains("send fewer rows"));
    // As many targets as a frame has rows, each with all its alternatives.
    let target = || Target {
        id: 1,
        logprob: -1.0,
        top: vec![(1, -1.0); 20],
    };
    let answer = Message::Answer(Answer {
        number: 1,
        runs: vec![Targets {
            sequence: SequenceId(1),
            epoch: Epoch(0),
            pos: 0,
            targets: (0..MAX_ROWS).map(|_| target()).collect(),
        }],
    });
    assert!(decode(&encode(1, answer.clone())).unwrap().message == answer);
}

#[test]
fn the_size_is_the_least_bucket_that_holds_the_message() {
    for (rows, size) in [(1u16, 256), (17, 256), (18, 1_024), (81, 1_024), (82, 4_096)] {
        assert_eq!(
            encode(1, frame(3, rows)).len(),
            size,
            "{rows} rows of 12 bytes after 48"
        );
    }
    let mut bytes = encode(1, Message::Ping { tick: 3 }).to_vec();
    bytes.resize(1_024, 0);
    assert_eq!(
        decode(&bytes).err(),
        Some(MessageError::Length {
            size: 1_024,
            claimed: 8
        })
    );
    bytes.truncate(255);
    assert_eq!(decode(&bytes).err(), Some(MessageError::Size { got: 255 }));
    assert_eq!(decode(&[]).err(), Some(MessageError::Size { got: 0 }));
}

#[test]
fn what_is_nearly_a_message_is_refused_for_what_is_wrong_with_it() {
    let ping = by_hand(0x28, [0; 4], &[&[1; 8]]);
    let changed = |at: usize, value: u8| {
        let mut bytes = ping.clone();
        bytes[at] = value;
        decode(&bytes).err().unwrap()
    };
    assert_eq!(changed(255, 1), MessageError::Padding);
    assert_eq!(changed(17, 1), MessageError::Padding);
    assert_eq!(changed(0, 0x1f), MessageError::Type { got: 0x1f });
    assert_eq!(changed(0, 0x2d), MessageError::Type { got: 0x2d });
    assert_eq!(changed(6, 0xff).code(), "pipeline.message.length");
    assert_eq!(
        changed(5, 9),
        MessageError::Long {
            message: "PING",
            rest: 1
        }
    );
    let mut short = ping.clone();
    short[5] = 7;
    short[16] = 0;
    assert_eq!(
        decode(&short).err(),
        Some(MessageError::Short {
            message: "PING",
            field: "tick"
        })
    );
}

fn field_of(kind: u8, body: &[&[u8]]) -> (&'static str, &'static str) {
    match decode(&by_hand(kind, [0; 4], body)).err() {
        Some(MessageError::Field { message, field, .. } | MessageError::Short { message, field }) => {
            (message, field)
        }
        other => panic!("expected a field to be refused, got {other:?}"),
    }
}

#[test]
fn counts_and_fields_out_of_range_are_refused_before_memory_is_taken() {
    let number: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0];
    let head = |runs: u16, kind: u8, width: u32| {
        let mut bytes = number.to_vec();
        bytes.extend(runs.to_le_bytes());
        bytes.push(kind);
        bytes.extend(width.to_le_bytes());
        bytes
    };
    let run = |sequence: u64, pos: u32, rows: u16, wanted: u16| {
        let mut bytes = sequence.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(pos.to_le_bytes());
        bytes.extend(rows.to_le_bytes());
        bytes.extend(wanted.to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let frame = |parts: &[Vec<u8>]| field_of(0x23, &[&parts.concat()]);
    assert_eq!(frame(&[head(65, 0, 1)]), ("FRAME", "runs"));
    assert_eq!(frame(&[head(64, 0, 1)]), ("FRAME", "runs"), "they are not there");
    assert_eq!(frame(&[head(1, 0, 1), run(1, 0, 65_535, 0)]), ("FRAME", "rows"));
    assert_eq!(frame(&[head(1, 0, 1), run(1, 0, 0, 0)]), ("FRAME", "rows"));
    assert_eq!(frame(&[head(1, 0, 1), run(1, 0, 1, 2)]), ("FRAME", "wanted"));
    assert_eq!(frame(&[head(1, 0, 1), run(1, u32::MAX, 1, 0)]), ("FRAME", "pos"));
    assert_eq!(frame(&[head(1, 0, 1), run(1, 0, 9, 0)]), ("FRAME", "rows"));
    assert_eq!(frame(&[head(1, 2, 1), run(1, 0, 1, 0)]), ("FRAME", "kind"));
    assert_eq!(frame(&[head(1, 0, 3), run(1, 0, 1, 0)]), ("FRAME", "width"));
    for width in [0, 2, 4, u32::MAX] {
        assert_eq!(frame(&[head(1, 1, width), run(1, 0, 1, 0)]), ("FRAME", "width"));
    }
    assert_eq!(
        frame(&[head(2, 0, 1), run(1, 0, 1, 0), run(1, 1, 1, 0)]),
        ("FRAME", "sequence")
    );
    let id = 500u32.to_le_bytes().to_vec();
    assert_eq!(
        frame(&[head(1, 0, 1), run(1, 0, 1, 0), id.clone()]),
        ("FRAME", "rows")
    );

    let answer = |rest: &[&[u8]]| field_of(0x24, &[&[number], rest].concat());
    assert_eq!(answer(&[&[65, 0]]), ("ANSWER", "runs"));
    assert_eq!(answer(&[&[1, 0]]), ("ANSWER", "runs"));
    let targets: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
    assert_eq!(answer(&[&[1, 0], targets]), ("ANSWER", "targets"));
    let one: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(answer(&[&[1, 0], one, &id, &[0; 5]]), ("ANSWER", "targets"));
    assert_eq!(answer(&[&[1, 0], one, &[0; 8], &[21]]), ("ANSWER", "tops"));
    assert_eq!(answer(&[&[1, 0], one, &[0; 8], &[20]]), ("ANSWER", "tops"));

    let open = |temperature: f32, top_p: f32, tops: u8| {
        field_of(
            0x22,
            &[
                &[0; 48],
                &temperature.to_le_bytes(),
                &top_p.to_le_bytes(),
                &[0; 8],
                &[tops],
            ],
        )
    };
    for temperature in [-0.1, 100.5, f32::NAN, f32::INFINITY] {
        assert_eq!(open(temperature, 1.0, 0), ("OPEN", "temperature"));
    }
    for top_p in [0.0, 1.1, f32::NAN, -1.0] {
        assert_eq!(open(0.0, top_p, 0), ("OPEN", "top_p"));
    }
    assert_eq!(open(0.0, 1.0, 21), ("OPEN", "top logprobs"));
    assert_eq!(open(0.0, 1.0, 254), ("OPEN", "top logprobs"));

    for address in ["x", ":1", "a:0", "a:65536", "a:+1", "a b:1", "a:", "é:1"] {
        let length = [u8::try_from(address.len()).unwrap(), 0];
        let got = field_of(0x20, &[&[0; 34], &length, address.as_bytes()]);
        assert_eq!(got, ("JOIN", "address of the next stage"), "{address}");
    }
    assert_eq!(field_of(0x25, &[&[0; 16], &[2]]), ("FINISH", "sign"));
    assert_eq!(field_of(0x26, &[&[0; 14], &[0; 4]]), ("PART", "signed part"));
    assert_eq!(field_of(0x26, &[&[0; 14], &[1, 4, 0, 0], &[0; 1_025]]).0, "PART");
    assert_eq!(field_of(0x2a, &[&[0], &[0; 12]]), ("FAULT", "code"));
    assert_eq!(field_of(0x2a, &[&[7], &[0; 12]]), ("FAULT", "code"));
    assert_eq!(field_of(0x2c, &[&[0; 12], &[0; 4]]), ("EVIDENCE", "part"));
    assert_eq!(
        field_of(0x2c, &[&[0; 8], &[0, 0, 2, 0], &[0; 4]]),
        ("EVIDENCE", "bytes")
    );
}

#[test]
fn what_a_receiver_would_refuse_is_not_sent() {
    let join = |next: &str| {
        Message::Join(Join {
            plan: [0; 32],
            stage: 0,
            next: Some(next.to_owned()),
        })
    };
    let ragged = Message::Frame(Frame {
        number: 1,
        runs: vec![run(1, 0, 2)],
        payload: Payload::Ids(Zeroizing::new(vec![1])),
    });
    let twice = Message::Frame(Frame {
        number: 1,
        runs: vec![run(1, 0, 1), run(1, 1, 1)],
        payload: Payload::Ids(Zeroizing::new(vec![1, 2])),
    });
    let unnumbered = Message::Answer(Answer {
        number: 0,
        runs: Vec::new(),
    });
    let long = Message::Part(Part {
        sequence: SequenceId(1),
        epoch: Epoch(0),
        stage: 0,
        signed: vec![0; 1_025],
    });
    for message in [
        join(""),
        join(&format!("{}:1", "a".repeat(255))),
        ragged,
        twice,
        unnumbered,
        long,
    ] {
        let name = message.kind().0;
        let ring = RingId(1);
        let refused = Envelope { ring, message }.encode().err();
        assert!(
            matches!(refused, Some(MessageError::Field { .. })),
            "{name}: {refused:?}"
        );
    }
}

fn envelope(ring: u32, quiet: Quiet) -> Envelope {
    Envelope {
        ring: RingId(ring),
        message: quiet.0,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_the_same(ring in any::<u32>(), message in messages()) {
        let envelope = envelope(ring, message);
        let bytes = envelope.encode().unwrap();
        prop_assert!(MESSAGE_BUCKETS.contains(&bytes.len()));
        let back = decode(&bytes).unwrap();
        prop_assert!(back == envelope);
        prop_assert!(back.encode().unwrap() == bytes);
    }

    #[test]
    fn a_flipped_bit_or_a_lost_byte_is_noticed(ring in any::<u32>(), message in messages(), places in vec(any::<prop::sample::Index>(), 40)) {
        let envelope = envelope(ring, message);
        let bytes = envelope.encode().unwrap();
        let body = usize::try_from(u32::from_le_bytes(bytes[5..9].try_into().unwrap())).unwrap();
        for place in places {
            let mut flipped = bytes.clone();
            let bit = place.index((9 + body).min(bytes.len()) * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = decode(&flipped) {
                // By bytes, since 0 and −0 are equal as numbers.
                prop_assert!(other.encode().unwrap() == flipped, "bit {bit}: without effect, or one of two encodings");
            }
            prop_assert!(decode(&bytes[..place.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_encoding_of_a_message(
        kind in 0x1fu8..0x2e, body in vec(any::<u8>(), 0..1_200)
    ) {
        let bytes = by_hand(kind, [0; 4], &[&body]);
        if let Ok(envelope) = decode(&bytes) {
            prop_assert!(*envelope.encode().unwrap() == bytes);
        }
    }
}

/// Every length of every message, and every bit of short ones.
#[test]
fn no_truncation_reads_as_a_message_and_no_bit_is_without_meaning() {
    for message in [
        frame(3, 2),
        Message::Cancel {
            sequence: SequenceId(1),
            epoch: Epoch(1),
        },
        Message::Ready(Ready {
            plan: [1; 32],
            stage: 1,
            weights: [2; 32],
            engine: [3; 32],
            max_positions: 4,
            max_sequences: 5,
            row_us: 6,
        }),
    ] {
        let bytes = encode(9, message.clone());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let same = decode(&flipped).is_ok_and(|other| other.message == message && other.ring.0 == 9);
            assert!(!same, "bit {bit} is without effect");
        }
    }
}
