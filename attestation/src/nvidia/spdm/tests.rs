use proptest::prelude::*;

use super::*;

/// A report of `count` blocks with made-up digests, opaque data and signature.
pub(crate) fn made(count: u8, opaque: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x11, 0xe0, 0x01, 0xff];
    bytes.extend([0xa0; 32]);
    bytes.extend([0, 0x11, 0x60, 0, 0, count]);
    let length = u32::from(count) * 55;
    bytes.extend(&length.to_le_bytes()[..3]);
    for index in 1..=count {
        bytes.extend([index, 1, 51, 0, 1, 48, 0]);
        bytes.extend([index; 48]);
    }
    bytes.extend([0xb0; 32]);
    bytes.extend(u16::try_from(opaque.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(opaque);
    bytes.extend([0xc0; 96]);
    bytes
}

/// Where block `index` starts.
const fn block(index: usize) -> usize {
    45 + 55 * (index - 1)
}

#[test]
fn parts_lie_where_the_specification_says() {
    for (count, kind) in [(64, DeviceKind::Gpu), (31, DeviceKind::NvSwitch)] {
        let bytes = made(count, b"opaque");
        let report = SpdmReport::parse(&bytes).unwrap();
        assert_eq!(report.kind(), kind);
        assert_eq!(report.nonce(), GpuNonce::new([0xa0; 32]));
        assert_eq!(report.measurement(0), None);
        assert_eq!(report.measurement(1), Some(&[1; 48]));
        assert_eq!(report.measurement(count), Some(&[count; 48]));
        assert_eq!(report.measurement(count + 1), None);
        assert_eq!(report.measurements().len(), usize::from(count));
        assert_eq!(report.measurements().nth(4), Some(&[5; 48][..]));
        assert_eq!(report.responder_nonce(), &[0xb0; 32]);
        assert_eq!(report.opaque_unverified(), b"opaque");
        assert_eq!(report.signature(), &[0xc0; 96]);
        assert_eq!(report.signed_bytes(), &bytes[..bytes.len() - 96]);
        assert_eq!(report.as_bytes(), bytes);
    }
}

#[test]
fn a_report_cut_anywhere_is_refused_as_cut() {
    let bytes = made(31, b"opaque");
    for length in 0..bytes.len() {
        assert!(
            matches!(
                SpdmReport::parse(&bytes[..length]),
                Err(SpdmError::Truncated { .. })
            ),
            "{length}"
        );
    }
}

#[test]
fn bytes_after_the_signature_are_refused() {
    let mut bytes = made(64, b"");
    bytes.push(0);
    let fault = SpdmError::TrailingBytes { got: 1 };
    assert_eq!(SpdmReport::parse(&bytes), Err(fault));
    bytes.resize(8193, 0);
    assert_eq!(SpdmReport::parse(&bytes), Err(SpdmError::TooLarge { got: 8193 }));
}

#[test]
fn each_fault_is_named() {
    let parameters = |field, expected, got: &[u8]| SpdmError::Parameters {
        field,
        expected,
        got: got.to_vec(),
    };
    let size = |field, expected, got| SpdmError::BlockSize {
        index: 2,
        field,
        expected,
        got,
    };
    let specification = |field| SpdmError::BlockSpecification {
        index: 2,
        field,
        got: 0x81,
    };
    let request = "the request's Param1 and Param2";
    let cases = [
        (
            0,
            0x12,
            SpdmError::Version {
                part: "request",
                got: 0x12,
            },
        ),
        (
            37,
            0x10,
            SpdmError::Version {
                part: "response",
                got: 0x10,
            },
        ),
        (
            1,
            0xe1,
            SpdmError::Code {
                part: "request",
                expected: 0xe0,
                got: 0xe1,
            },
        ),
        (
            38,
            0x7f,
            SpdmError::Code {
                part: "response",
                expected: 0x60,
                got: 0x7f,
            },
        ),
        (2, 0, parameters(request, &[1, 0xff], &[0, 0xff])),
        (3, 0, parameters(request, &[1, 0xff], &[1, 0])),
        (36, 1, parameters("SlotID", &[0], &[1])),
        (
            39,
            1,
            parameters("the response's Param1 and Param2", &[0, 0], &[1, 0]),
        ),
        (41, 63, SpdmError::BlockCount { got: 63 }),
        (
            41,
            31,
            SpdmError::RecordLength {
                expected: 1705,
                got: 3520,
            },
        ),
        (
            44,
            1,
            SpdmError::RecordLength {
                expected: 3520,
                got: 3520 + 0x1_0000,
            },
        ),
        (block(2), 1, SpdmError::DuplicateBlock { index: 1 }),
        (block(2), 3, SpdmError::BlockIndex { expected: 2, got: 3 }),
        (block(1), 0, SpdmError::BlockIndex { expected: 1, got: 0 }),
        (block(2) + 1, 0x81, specification("MeasurementSpecification")),
        (block(2) + 2, 50, size("MeasurementSize", 51, 50)),
        (block(2) + 4, 0x81, specification("DMTFSpecMeasurementValueType")),
        (block(2) + 6, 1, size("DMTFSpecMeasurementValueSize", 48, 304)),
    ];
    for (offset, byte, fault) in cases {
        let mut bytes = made(64, b"");
        bytes[offset] = byte;
        assert_eq!(SpdmReport::parse(&bytes), Err(fault), "{offset}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..4400)) {
        let _ = SpdmReport::parse(&bytes);
    }

    #[test]
    fn one_changed_byte_never_panics(offset in 0_usize..1800, byte: u8) {
        let mut bytes = made(31, b"opaque");
        let offset = offset % bytes.len();
        bytes[offset] = byte;
        if let Ok(report) = SpdmReport::parse(&bytes) {
            prop_assert_eq!(report.measurements().len(), 31);
        }
    }
}
