//! However a stream is cut into pieces, the same bytes are passed on, and
//! never an end mark.

use super::*;
use proptest::prelude::*;

const RECEIPT: &str = "event: bastide.receipt\ndata: {\"receipt\":\"AAAA\",\"salt\":\"00\"}\n\n";

fn whole(text: &str) -> (Vec<u8>, Result<WholeStream, StreamFault>) {
    run([text.as_bytes()])
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Result<WholeStream, StreamFault>) {
    let mut stream = AnswerStream::new();
    let mut passed = Vec::new();
    for piece in pieces {
        match stream.push(piece) {
            Ok(range) => passed.extend_from_slice(&stream.bytes()[range]),
            Err(fault) => return (passed, Err(fault)),
        }
    }
    (passed, stream.finish())
}

#[test]
fn a_whole_answer_holds_back_its_end_mark_and_receipt() {
    let (passed, end) = whole(&format!(
        "data: {{\"a\":1}}\n\ndata: two\n\ndata: [DONE]\n\n{RECEIPT}"
    ));
    assert_eq!(passed, b"data: {\"a\":1}\n\ndata: two\n\n");
    let end = end.unwrap();
    assert_eq!(
        end.committed(),
        b"data: {\"a\":1}\n\ndata: two\n\ndata: [DONE]\n\n"
    );
    assert_eq!(end.held_back(), format!("data: [DONE]\n\n{RECEIPT}").as_bytes());
    assert_eq!((end.receipt.as_str(), end.salt.as_str()), ("AAAA", "00"));
}

#[test]
fn every_incomplete_or_foreign_ending_is_a_fault() {
    let missing = StreamFault::Receipt(ReceiptFault::Missing);
    let encoding = StreamFault::Receipt(ReceiptFault::Encoding);
    for (text, fault) in [
        (String::new(), StreamFault::Truncated),
        ("data: a\n\n".to_owned(), StreamFault::Truncated),
        ("data: a\n\ndata: [DO".to_owned(), StreamFault::Truncated),
        ("data: a\n\ndata: [DONE]\n\n".to_owned(), missing),
        (
            format!("data: [DONE]\n\n{}", &RECEIPT[..30]),
            StreamFault::Truncated,
        ),
        (format!("data: [DONE]\n\n{RECEIPT}{RECEIPT}"), StreamFault::Order),
        (format!("data: [DONE]\n\n{RECEIPT}: x"), StreamFault::Order),
        (
            format!("data: [DONE]\n\ndata: more\n\n{RECEIPT}"),
            StreamFault::Order,
        ),
        (format!("{RECEIPT}data: [DONE]\n\n"), StreamFault::Order),
        (format!("data:[DONE]\n\n{RECEIPT}"), StreamFault::Form),
        (format!("event: x\ndata: [DONE]\n\n{RECEIPT}"), StreamFault::Form),
        (format!("data: a\r\rdata: [DONE]\r\r{RECEIPT}"), StreamFault::Form),
        (
            "data: [DONE]\n\nevent: bastide.receipt\ndata: {}\n\n".to_owned(),
            encoding,
        ),
    ] {
        assert_eq!(whole(&text).1.unwrap_err(), fault, "{text:?}");
    }
}

#[test]
fn an_endless_event_and_an_endless_answer_are_refused() {
    let mut stream = AnswerStream::new();
    assert_eq!(
        stream.push(&vec![b'a'; MAX_EVENT_BYTES + 1]),
        Err(StreamFault::TooLarge)
    );
    let event = [vec![b'a'; MAX_EVENT_BYTES - 2], b"\n\n".to_vec()].concat();
    let mut stream = AnswerStream::new();
    let end = (0..=MAX_ANSWER_BYTES / MAX_EVENT_BYTES).find_map(|_| stream.push(&event).err());
    assert_eq!(end, Some(StreamFault::TooLarge));
}

#[test]
fn data_lines_are_found() {
    let found: Vec<_> = data_of(b"data: {\"a\":1}\n\nevent: x\ndata:two\n\n: note\n\n").collect();
    assert_eq!(found, ["{\"a\":1}", "two"]);
}

fn events() -> impl Strategy<Value = Vec<String>> {
    let event = prop_oneof![
        4 => "data: [a-z{}\":]{0,20}\n\n",
        1 => Just("data: [DONE]\n\n".to_owned()),
        1 => Just(RECEIPT.to_owned()),
        1 => "[a-z:\n ]{0,12}",
    ];
    prop::collection::vec(event, 0..8)
}

proptest! {
    #[test]
    fn pieces_do_not_matter(events in events(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let text = events.concat();
        let bytes = text.as_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let (passed, end) = run(pieces);
        let (passed_whole, end_whole) = run([bytes]);
        prop_assert_eq!(end.is_ok(), end_whole.is_ok());
        if let (Ok(end), Ok(end_whole)) = (&end, &end_whole) {
            prop_assert_eq!(end, end_whole);
            prop_assert_eq!(&passed, &passed_whole);
            // Nothing is lost and nothing is added.
            prop_assert_eq!([passed.as_slice(), end.held_back()].concat(), bytes);
        }
        prop_assert!(bytes.starts_with(&passed));
        prop_assert!(!looks_done(&passed));
        prop_assert!(!looks_like_receipt(&passed));
    }

    #[test]
    fn any_bytes_in_any_pieces_never_panic(pieces: Vec<Vec<u8>>) {
        let _ = run(pieces.iter().map(Vec::as_slice));
    }
}
