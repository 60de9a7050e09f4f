//! Lays out opaque data as real devices do, field by field in their order, in
//! both encodings: the legacy one, and NVDAOD as of driver 620 (2.0.0, whose
//! value types are those of the one public sample).

use bastide_attestation::nvidia::{LINKS_OF_A_GPU, Mode};

use super::device::Pdi;
use super::{Encoding, GpuOptions};

/// From this driver on, legacy opaque data state their version and the mode.
const FEATURE_FLAG_FROM: u32 = 580;
const ON: u8 = 0xaa;
const OFF: u8 = 0x55;
/// NVDAOD's value types.
mod value_type {
    pub(super) const HASH: u16 = 0x01;
    pub(super) const TEXT: u16 = 0x82;
    pub(super) const BITMAP: u16 = 0x83;
    pub(super) const NUMBERS: u16 = 0x84;
    pub(super) const STATUS: u16 = 0x85;
    pub(super) const VERSION: u16 = 0x86;
    pub(super) const SVN: u16 = 0x87;
}
/// "NVDAOD", profile 0, version 2.0.0, padding.
const NVDAOD_HEADER: &[u8; 12] = b"NVDAOD\0\0\x02\0\0\0";
/// Which switch is at the end of each of a GPU's links: five, four, four, five.
const SWITCH_OF_LINK: [usize; LINKS_OF_A_GPU] = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3];
const PORTS_OF_A_SWITCH: usize = 64;
/// A port with no GPU at its end.
const NO_GPU: u8 = 0xff;

/// Number, NVDAOD's value type, value.
type Field = (u16, u16, Vec<u8>);

/// Opaque data of a GPU that is connected to these switches.
pub(super) fn gpu(options: &GpuOptions, fwid: &[u8; 48], counts: &[u32], switches: &[Pdi]) -> Vec<u8> {
    use value_type::{BITMAP, HASH, NUMBERS, STATUS, SVN, TEXT, VERSION};
    let (project, project_sku, chip_sku) = options.board();
    let nvdec0 = if options.faults.nvdec_disabled { OFF } else { ON };
    let ppcie = options.mode == Mode::Ppcie;
    let mut fields: Vec<Field> = vec![
        (6, VERSION, vbios_bytes(&options.vbios)),
        (14, TEXT, vec![0xa1, 0x04, 0, 0]),
        (15, TEXT, padded(chip_sku, 9)),
        (16, TEXT, padded("0", 5)),
        (17, TEXT, padded(project, 5)),
        (18, TEXT, padded(project_sku, 5)),
        (19, TEXT, padded("", 2)),
        (3, VERSION, padded(&options.driver, options.driver.len() + 1)),
        (4, TEXT, vec![0x80, 1, 0, 0, 0, 0, 0, 0]),
        (12, NUMBERS, numbers(counts)),
        (13, BITMAP, vec![0, 0xc0, 1, 0]),
        (11, TEXT, vec![nvdec0]),
    ];
    if options.encoding == Encoding::Nvdaod {
        fields.push((37, SVN, vec![0, 0]));
    }
    fields.push((20, HASH, fwid.to_vec()));
    fields.push((21, STATUS, vec![if ppcie { ON } else { OFF }]));
    if !switches.is_empty() {
        fields.push((22, TEXT, switch_pdis(switches)));
    }
    let states_feature = match options.encoding {
        Encoding::Legacy => major(&options.driver) >= FEATURE_FLAG_FROM,
        Encoding::Nvdaod => true,
    };
    if states_feature {
        let version = match options.encoding {
            Encoding::Legacy => vec![1, 0],
            Encoding::Nvdaod => vec![0, 2],
        };
        fields.push((34, VERSION, version));
        fields.push((36, STATUS, vec![if ppcie { 2 } else { 0 }, 0]));
    }
    encode(options.encoding, &fields)
}

/// Opaque data of the switch at this position, with these GPUs at its ports.
/// Switches write the legacy encoding alone.
pub(super) fn switch(bios: &str, pdi: Pdi, counts: &[u32], gpus: &[Pdi], position: u8) -> Vec<u8> {
    use value_type::{NUMBERS, STATUS, TEXT, VERSION};
    let links = SWITCH_OF_LINK
        .iter()
        .filter(|switch| **switch == usize::from(position))
        .count();
    let mut ports: Vec<u8> = (0_u8..)
        .zip(gpus)
        .flat_map(|(gpu, _)| core::iter::repeat_n(gpu, links))
        .collect();
    ports.resize(PORTS_OF_A_SWITCH, NO_GPU);
    let fields = [
        (6, VERSION, bios.as_bytes().to_vec()),
        (22, TEXT, pdi.to_vec()),
        (12, NUMBERS, numbers(counts)),
        (26, TEXT, [gpus.concat(), ports].concat()),
        (23, STATUS, vec![0xec, 0]),
        (24, STATUS, vec![position, 0]),
        (25, STATUS, vec![1, 0]),
    ];
    encode(Encoding::Legacy, &fields)
}

fn encode(encoding: Encoding, fields: &[Field]) -> Vec<u8> {
    let mut out = match encoding {
        Encoding::Legacy => Vec::new(),
        Encoding::Nvdaod => NVDAOD_HEADER.to_vec(),
    };
    for (id, value_type, value) in fields {
        out.extend(id.to_le_bytes());
        if encoding == Encoding::Nvdaod {
            out.extend(value_type.to_le_bytes());
        }
        // INVARIANT: the longest value has 256 bytes.
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        out.extend(length.to_le_bytes());
        out.extend_from_slice(value);
    }
    out
}

/// `96.00.9F.00.01` is `00 9f 00 96 01 00 00 00`.
fn vbios_bytes(version: &str) -> Vec<u8> {
    let pairs = version.split('.');
    let bytes: Vec<u8> = pairs
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    let (version, end) = bytes.split_at_checked(4).unwrap_or_default();
    let mut out: Vec<u8> = version.iter().rev().chain(end).copied().collect();
    out.resize(8, 0);
    out
}

fn padded(text: &str, length: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(length, 0);
    bytes
}

fn numbers(counts: &[u32]) -> Vec<u8> {
    counts.iter().flat_map(|count| count.to_le_bytes()).collect()
}

/// GPUs write switches' identities the other way round.
fn switch_pdis(switches: &[Pdi]) -> Vec<u8> {
    let links = SWITCH_OF_LINK.iter();
    links
        .filter_map(|switch| switches.get(*switch))
        .flat_map(|pdi| pdi.iter().rev().copied())
        .collect()
}

/// The first number of a driver's version.
fn major(driver: &str) -> u32 {
    let first = driver.split('.').next();
    first.and_then(|major| major.parse().ok()).unwrap_or_default()
}
