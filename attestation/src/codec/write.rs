//! The writing side, item by item: each in its shortest form. Whoever writes a
//! map brings its keys in order.

pub(super) const UINT: u8 = 0x00;
pub(super) const NEGATIVE: u8 = 0x20;
pub(super) const BYTES: u8 = 0x40;
pub(super) const TEXT: u8 = 0x60;
pub(super) const ARRAY: u8 = 0x80;
pub(super) const MAP: u8 = 0xa0;
pub(super) const NULL: u8 = 0xf6;

/// A head: major type, in the upper three bits, and argument.
pub(super) fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let [.., d, c, b, a] = argument.to_be_bytes();
    match argument {
        0..24 => out.push(major | a),
        24..=0xff => out.extend_from_slice(&[major | 24, a]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, b, a]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[major | 26, d, c, b, a]),
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

/// The head of something of this length.
pub(super) fn length(out: &mut Vec<u8>, major: u8, length: usize) {
    // No length has more bits than 64.
    head(out, major, u64::try_from(length).unwrap_or(u64::MAX));
}

pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, BYTES, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    length(out, TEXT, text.len());
    out.extend_from_slice(text.as_bytes());
}
