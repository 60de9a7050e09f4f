//! Hostile and honest headers.

use proptest::prelude::*;

use super::*;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

fn refused(header: &str, data: usize) -> SafetensorsError {
    parse_safetensors_header(&file(header, data)).expect_err("must be refused")
}

const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}}  "#;

#[test]
fn an_honest_file_is_read() {
    let bytes = file(TWO, 12);
    let header = parse_safetensors_header(&bytes).unwrap();
    assert_eq!(header.tensors["b"].shape, [2, 1]);
    assert_eq!(header.tensors["b"].bytes, bytes.len() - 4..bytes.len());
    assert_eq!(parse_safetensors_header(&file("{}", 0)).unwrap().tensors.len(), 0);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = file(TWO, 12);
    for end in 0..bytes.len() {
        assert!(
            parse_safetensors_header(&bytes[..end]).is_err(),
            "{end} bytes were accepted"
        );
    }
    assert_eq!(
        parse_safetensors_header(&bytes[..bytes.len() - 1])
            .unwrap_err()
            .code(),
        "model.weights.cut_short"
    );
}

#[test]
fn a_lying_length_is_refused_before_it_is_used() {
    let mut bytes = file(TWO, 12);
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        parse_safetensors_header(&bytes),
        Err(SafetensorsError::HeaderTooLong { .. })
    ));
    bytes[..8].copy_from_slice(&10_000u64.to_le_bytes());
    assert!(matches!(
        parse_safetensors_header(&bytes),
        Err(SafetensorsError::HeaderCutShort { .. })
    ));
}

#[test]
fn overlaps_holes_repeats_and_wrong_sizes_are_refused() {
    let two = |first: &str, second: &str| format!("{{{first},{second}}}");
    let a = r#""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    assert!(matches!(
        refused(
            &two(a, r#""b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#),
            12
        ),
        SafetensorsError::Overlap { .. }
    ));
    assert!(matches!(
        refused(
            &two(a, r#""b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}"#),
            16
        ),
        SafetensorsError::Hole { start: 8, end: 12 }
    ));
    assert!(matches!(
        refused(&format!("{{{a}}}"), 9),
        SafetensorsError::Hole { start: 8, end: 9 }
    ));
    assert!(refused(&two(a, a), 8).to_string().contains("duplicate name `a`"));
    assert!(matches!(
        refused(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8),
        SafetensorsError::Size {
            got: 8,
            expected: 12,
            ..
        }
    ));
    assert!(matches!(
        refused(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8),
        SafetensorsError::Impossible { .. }
    ));
    assert!(matches!(
        refused(
            r#"{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,8]}}"#,
            8
        ),
        SafetensorsError::Impossible { .. }
    ));
}

#[test]
fn foreign_types_fields_and_metadata_are_refused() {
    for header in [
        r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1}}"#,
        r#"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#,
        r#"{"__metadata__":{"x":1}}"#,
        r#"{"__metadata__":{"x":"1","x":"2"}}"#,
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        r#"[1]"#,
        r#" {}"#,
    ] {
        assert!(
            matches!(refused(header, 8), SafetensorsError::Header { .. }),
            "{header}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse_safetensors_header(&bytes);
    }

    #[test]
    fn a_flipped_byte_never_panics_and_never_leaves_the_file(at in 0usize..220, value in any::<u8>()) {
        let mut bytes = file(TWO, 12);
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(header) = parse_safetensors_header(&bytes) {
            let covered: usize = header.tensors.values().map(|entry| bytes[entry.bytes.clone()].len()).sum();
            let claimed = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
            prop_assert_eq!(covered, bytes.len() - 8 - claimed);
        }
    }

    #[test]
    fn arbitrary_tensors_round_trip(sizes in proptest::collection::vec(0u64..40, 0..12)) {
        let mut at = 0;
        let mut parts = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            parts.push(format!(
                r#""t{index}":{{"dtype":"BF16","shape":[{size}],"data_offsets":[{at},{}]}}"#, at + size * 2
            ));
            at += size * 2;
        }
        let bytes = file(&format!("{{{}}}", parts.join(",")), usize::try_from(at).unwrap());
        let header = parse_safetensors_header(&bytes).unwrap();
        prop_assert_eq!(header.tensors.len(), sizes.len());
    }
}
