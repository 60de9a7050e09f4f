//! Sealed mode's formats: key configurations, a request's header and chunks,
//! requests and responses as binary HTTP, evidence of a key. Never a panic; what
//! decodes encodes to what decodes to the same.
#![no_main]

use bastide_attestation::sealed::{
    Framed, MAX_CHUNK_BYTES, RequestHeader, ResponsePiece, ResponseReader, SealedKeyAnswer, SealedRequest,
    TAG_BYTES, Unframer, decode_configs, encode_configs,
};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 1024;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(configs) = decode_configs(bytes) {
        assert!(decode_configs(&encode_configs(&configs)) == Ok(configs));
    }
    if let Ok((header, encapsulated, chunks)) = RequestHeader::split(bytes) {
        let again = [&header.encode()[..], encapsulated, chunks].concat();
        assert!(again == bytes);
        whole_and_in_pieces(chunks);
    }
    whole_and_in_pieces(bytes);
    if let Ok(request) = SealedRequest::decode(bytes, MOST) {
        assert!(request.body.len() <= MOST);
        assert!(SealedRequest::decode(&request.encode(), MOST) == Ok(request));
    }
    if let Ok((evidence, key_config)) = SealedKeyAnswer::decode(bytes) {
        let evidence = evidence.as_unverified().clone();
        let again = SealedKeyAnswer { evidence, key_config }.encode();
        assert!(SealedKeyAnswer::decode(&again).is_ok());
    }
    let mut whole = ResponseReader::new();
    whole.push(bytes);
    let (mut pieces, mut reader) = (Vec::new(), ResponseReader::new());
    for byte in bytes.chunks(7) {
        reader.push(byte);
        if !read(&mut reader, &mut pieces) {
            return;
        }
    }
    let mut other = Vec::new();
    assert!(read(&mut whole, &mut other), "what is read in pieces is read whole");
    assert!(pieces == other && whole.finish() == reader.finish());
});

fn read(reader: &mut ResponseReader, pieces: &mut Vec<ResponsePiece>) -> bool {
    loop {
        match reader.next_piece() {
            Ok(ResponsePiece::Incomplete) => return true,
            Ok(piece) => pieces.push(piece),
            Err(_) => return false,
        }
    }
}

/// A message's chunks are the same however its bytes come.
fn whole_and_in_pieces(bytes: &[u8]) {
    let read = |step: usize| {
        let mut unframer = Unframer::new();
        let mut chunks = Vec::new();
        for part in bytes.chunks(step) {
            unframer.push(part);
            loop {
                match unframer.next_chunk() {
                    Ok(Framed::Chunk(chunk)) => {
                        assert!(chunk.len() <= MAX_CHUNK_BYTES + TAG_BYTES);
                        chunks.push(chunk);
                    }
                    Ok(Framed::Incomplete) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((chunks, unframer.finish()))
    };
    assert!(read(bytes.len().max(1)) == read(3));
}
