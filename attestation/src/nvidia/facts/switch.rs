//! The facts of an NVSwitch, and the name of its BIOS's reference manifest.

use super::{id, optional, read_version};
use crate::digest::Pdi;
use crate::nvidia::field::{counts, exact, pdi, switch_bios};
use crate::nvidia::opaque::{Entries, OpaqueError, OpaqueVersion};
use crate::reader::Reader;

/// GPUs that an NVSwitch's report has a place for.
const GPUS_OF_A_SWITCH: usize = 8;
/// Ports of an NVSwitch.
const PORTS_OF_A_SWITCH: usize = 64;
/// Fewer than blocks: an NVSwitch counts for 27 of its 31.
const COUNTS_OF_A_SWITCH: usize = 27;

/// What an NVSwitch says. `None` is a field that its firmware doesn't write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchFacts {
    /// Encoding and version of the opaque data.
    pub opaque_version: OpaqueVersion,
    /// Version of the BIOS, for example `96.10.6D.00.01`.
    pub bios_version: String,
    /// The switch's own identity, which GPUs name too.
    pub pdi: Pdi,
    /// The GPUs at its ports; `None` for a place without one.
    pub gpu_pdis: [Option<Pdi>; GPUS_OF_A_SWITCH],
    /// For each port the place in `gpu_pdis` of the GPU at its end, 0xff for
    /// none. As it came: inferred from real reports, documented nowhere.
    pub port_gpus: [u8; PORTS_OF_A_SWITCH],
    /// MSRSCNT: how often each measurement was taken.
    pub measurement_counts: Option<Box<[u32; COUNTS_OF_A_SWITCH]>>,
    /// FLOORSWEPT_PORTS, as it came.
    pub floorswept_ports: Option<[u8; 2]>,
    /// POSITION_ID: which of the machine's switches it is.
    pub position_id: Option<u16>,
    /// LOCK_SWITCH_STATUS.
    pub lock_status: Option<u16>,
}

impl SwitchFacts {
    pub(super) fn read(mut entries: Entries<'_>) -> Result<Self, OpaqueError> {
        let short = |id, value: &[u8]| exact(id, value, "2 bytes").map(u16::from_le_bytes);
        let (gpu_pdis, port_gpus) = read_gpu_pdis(entries.required(id::GPU_PDIS)?)?;
        let facts = Self {
            opaque_version: read_version(&mut entries)?,
            bios_version: switch_bios(id::VBIOS_VERSION, entries.required(id::VBIOS_VERSION)?)?,
            pdi: read_pdi(entries.required(id::SWITCH_PDI)?)?,
            gpu_pdis,
            port_gpus,
            measurement_counts: optional(&mut entries, id::MEASUREMENT_COUNT, counts)?,
            floorswept_ports: optional(&mut entries, id::FLOORSWEPT_PORTS, |id, value| {
                exact(id, value, "2 bytes")
            })?,
            position_id: optional(&mut entries, id::POSITION_ID, short)?,
            lock_status: optional(&mut entries, id::LOCK_STATUS, short)?,
        };
        // The encoding is the legacy one, in which nothing may be left over.
        entries.finish().map(|_| facts)
    }

    /// Name of the BIOS's reference manifest. Project and SKUs are not in the
    /// report: LS10 has one of each.
    #[must_use]
    pub fn bios_rim_id(&self) -> String {
        format!(
            "NV_SWITCH_BIOS_5612_0002_890_{}",
            self.bios_version.replace('.', "")
        )
    }
}

fn read_pdi(value: &[u8]) -> Result<Pdi, OpaqueError> {
    let id = id::SWITCH_PDI;
    let bytes: [u8; 8] = exact(id, value, "an identity of 8 bytes")?;
    pdi(&mut Reader::new(&bytes)).ok_or(OpaqueError::Field {
        id,
        expected: "an identity that is not all zero or one",
    })
}

/// Eight identities, then a byte for each port.
type GpusOfSwitch = ([Option<Pdi>; GPUS_OF_A_SWITCH], [u8; PORTS_OF_A_SWITCH]);

fn read_gpu_pdis(value: &[u8]) -> Result<GpusOfSwitch, OpaqueError> {
    let expected = "8 identities of 8 bytes and 64 ports";
    let fault = OpaqueError::Field {
        id: id::GPU_PDIS,
        expected,
    };
    if value.len() != GPUS_OF_A_SWITCH * 8 + PORTS_OF_A_SWITCH {
        return Err(fault);
    }
    let mut reader = Reader::new(value);
    let pdis = core::array::from_fn(|_| pdi(&mut reader));
    let ports = reader.array().ok_or(fault)?;
    Ok((pdis, *ports))
}
