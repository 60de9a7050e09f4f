//! What a device says about itself in its report's opaque data, as typed
//! facts, and the names of the reference manifests that follow from them.
//!
//! Sizes are those of real reports of every driver seen, from 550 to 620.

use std::collections::BTreeMap;

use super::family::{DeviceKind, Family};
use super::field::{counts, exact, number, pdi, switch_bios, text, text_or_empty, vbios};
use super::opaque::{Entries, OpaqueError, OpaqueVersion, OtherField};
use super::spdm::SpdmReport;
use crate::digest::{Fwid, Pdi};
use crate::reader::Reader;

/// NVLink links of a GPU that a report has a place for.
pub const LINKS_OF_A_GPU: usize = 18;
/// GPUs that an NVSwitch's report has a place for.
const GPUS_OF_A_SWITCH: usize = 8;
/// Ports of an NVSwitch.
const PORTS_OF_A_SWITCH: usize = 64;
/// One for each measurement block of a GPU.
const COUNTS_OF_A_GPU: usize = 64;
/// Fewer than blocks: an NVSwitch counts for 27 of its 31.
const COUNTS_OF_A_SWITCH: usize = 27;
/// NVDAOD's value type of a security version number.
const SVN: u16 = 0x87;
/// Numbers of the fields \[attestation-sdk, OpaqueDataType\].
mod id {
    pub(super) const DRIVER_VERSION: u16 = 3;
    pub(super) const GPU_INFO: u16 = 4;
    pub(super) const VBIOS_VERSION: u16 = 6;
    pub(super) const NVDEC0_STATUS: u16 = 11;
    pub(super) const MEASUREMENT_COUNT: u16 = 12;
    pub(super) const CPR_INFO: u16 = 13;
    pub(super) const BOARD_ID: u16 = 14;
    pub(super) const CHIP_SKU: u16 = 15;
    pub(super) const CHIP_SKU_MODIFIER: u16 = 16;
    pub(super) const PROJECT: u16 = 17;
    pub(super) const PROJECT_SKU: u16 = 18;
    pub(super) const PROJECT_SKU_MODIFIER: u16 = 19;
    pub(super) const FWID: u16 = 20;
    pub(super) const PROTECTED_PCIE_STATUS: u16 = 21;
    pub(super) const SWITCH_PDI: u16 = 22;
    pub(super) const FLOORSWEPT_PORTS: u16 = 23;
    pub(super) const POSITION_ID: u16 = 24;
    pub(super) const LOCK_STATUS: u16 = 25;
    pub(super) const GPU_PDIS: u16 = 26;
    pub(super) const SYS_ENABLE_STATUS: u16 = 33;
    pub(super) const OPAQUE_DATA_VERSION: u16 = 34;
    pub(super) const CHIP_INFO: u16 = 35;
    pub(super) const FEATURE_FLAG: u16 = 36;
    pub(super) const FSP_UCODE_SVN: u16 = 37;
}

/// How a GPU is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Single-GPU passthrough: one GPU in one confidential VM.
    Spt,
    /// Multi-GPU passthrough: NVLink is encrypted.
    Mpt,
    /// Protected PCIe: several GPUs and NVSwitches in one confidential VM, what
    /// goes over NVLink in the clear.
    Ppcie,
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Spt => "SPT",
            Self::Mpt => "MPT",
            Self::Ppcie => "PPCIE",
        })
    }
}

/// Whether the first video decoder is on. If it is off, its measurement says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nvdec0 {
    /// 0xAA.
    Enabled,
    /// 0x55.
    Disabled,
}

/// What a device of either kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceFacts {
    /// A GPU.
    Gpu(Box<GpuFacts>),
    /// An NVSwitch.
    Switch(Box<SwitchFacts>),
}

impl DeviceFacts {
    /// Reads the opaque data of a report whose signature holds.
    ///
    /// # Errors
    /// [`OpaqueError`] names the first fault.
    pub fn parse(report: &SpdmReport<'_>) -> Result<Self, OpaqueError> {
        Self::parse_opaque(report.kind(), report.opaque_unverified())
    }

    /// Reads opaque data that are of this kind of device.
    ///
    /// # Errors
    /// [`OpaqueError`] names the first fault.
    pub fn parse_opaque(kind: DeviceKind, opaque: &[u8]) -> Result<Self, OpaqueError> {
        let entries = Entries::read(kind, opaque)?;
        match kind {
            DeviceKind::Gpu => GpuFacts::read(entries).map(|facts| Self::Gpu(Box::new(facts))),
            DeviceKind::NvSwitch => SwitchFacts::read(entries).map(|facts| Self::Switch(Box::new(facts))),
        }
    }

    /// The facts of a GPU.
    #[must_use]
    pub fn gpu(&self) -> Option<&GpuFacts> {
        match self {
            Self::Gpu(facts) => Some(facts),
            Self::Switch(_) => None,
        }
    }

    /// The facts of an NVSwitch.
    #[must_use]
    pub fn switch(&self) -> Option<&SwitchFacts> {
        match self {
            Self::Switch(facts) => Some(facts),
            Self::Gpu(_) => None,
        }
    }
}

/// What a GPU says. `None` is a field that its driver doesn't write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuFacts {
    /// Encoding and version of the opaque data.
    pub opaque_version: OpaqueVersion,
    /// Version of the driver, for example `580.159.03`.
    pub driver_version: String,
    /// Version of the VBIOS, for example `96.00.9F.00.01`.
    pub vbios_version: String,
    /// PROJECT, for example `1010` or `G520`.
    pub project: String,
    /// PROJECT_SKU.
    pub project_sku: String,
    /// PROJECT_SKU_MOD; may be empty.
    pub project_sku_modifier: Option<String>,
    /// CHIP_SKU.
    pub chip_sku: String,
    /// CHIP_SKU_MOD; may be empty.
    pub chip_sku_modifier: Option<String>,
    /// CHIP_INFO, for example `GB100`.
    pub chip_info: Option<String>,
    /// BOARD_ID.
    pub board_id: Option<u32>,
    /// GPU_INFO, as it came.
    pub gpu_info: Option<[u8; 8]>,
    /// CPRINFO, as it came.
    pub cpr_info: Option<[u8; 4]>,
    /// SYS_ENABLE_STATUS, as it came.
    pub sys_enable_status: Option<[u8; 2]>,
    /// MSRSCNT: how often each measurement was taken, block by block.
    pub measurement_counts: Option<Box<[u32; COUNTS_OF_A_GPU]>>,
    /// Digest of the firmware that made the attestation key.
    pub fwid: Option<Fwid>,
    /// Whether the first video decoder is on.
    pub nvdec0: Nvdec0,
    /// Whether PROTECTED_PCIE_STATUS says on. Blackwell has no such field.
    pub protected_pcie: Option<bool>,
    /// Mode of protection; `None` if the driver states it nowhere (Blackwell
    /// before driver 580), which is not the same as [`Mode::Spt`].
    pub mode: Option<Mode>,
    /// NVSwitch at the end of each link, in the order of bytes in which the
    /// switch itself writes it; `None` for a link that is off. Empty if the
    /// report names no switch.
    pub switch_pdis: Vec<Option<Pdi>>,
    /// Security version numbers by their field's number. Only NVDAOD has any.
    pub svns: BTreeMap<u16, u64>,
    /// Fields known by number alone. Only NVDAOD may have any.
    pub other: Vec<OtherField>,
}

impl GpuFacts {
    fn read(mut entries: Entries<'_>) -> Result<Self, OpaqueError> {
        let stated = read_feature(&mut entries)?;
        let protected_pcie = read_protected_pcie(&mut entries)?;
        Ok(Self {
            opaque_version: read_version(&mut entries)?,
            driver_version: text(id::DRIVER_VERSION, entries.required(id::DRIVER_VERSION)?)?,
            vbios_version: vbios(id::VBIOS_VERSION, entries.required(id::VBIOS_VERSION)?)?,
            project: text(id::PROJECT, entries.required(id::PROJECT)?)?,
            project_sku: text(id::PROJECT_SKU, entries.required(id::PROJECT_SKU)?)?,
            project_sku_modifier: optional(&mut entries, id::PROJECT_SKU_MODIFIER, text_or_empty)?,
            chip_sku: text(id::CHIP_SKU, entries.required(id::CHIP_SKU)?)?,
            chip_sku_modifier: optional(&mut entries, id::CHIP_SKU_MODIFIER, text_or_empty)?,
            chip_info: optional(&mut entries, id::CHIP_INFO, text)?,
            board_id: optional(&mut entries, id::BOARD_ID, |id, value| {
                exact(id, value, "4 bytes").map(u32::from_le_bytes)
            })?,
            gpu_info: optional(&mut entries, id::GPU_INFO, |id, value| {
                exact(id, value, "8 bytes")
            })?,
            cpr_info: optional(&mut entries, id::CPR_INFO, |id, value| {
                exact(id, value, "4 bytes")
            })?,
            sys_enable_status: optional(&mut entries, id::SYS_ENABLE_STATUS, |id, value| {
                exact(id, value, "2 bytes")
            })?,
            measurement_counts: optional(&mut entries, id::MEASUREMENT_COUNT, counts)?,
            fwid: optional(&mut entries, id::FWID, |id, value| {
                exact(id, value, "a 48-byte FWID").map(Fwid::new)
            })?,
            nvdec0: read_nvdec0(&mut entries)?,
            protected_pcie,
            mode: mode_of(protected_pcie, stated)?,
            switch_pdis: optional(&mut entries, id::SWITCH_PDI, read_switch_pdis)?.unwrap_or_default(),
            svns: read_svns(&mut entries)?,
            other: entries.finish()?,
        })
    }

    /// Name of the driver's reference manifest; `None` for a family whose
    /// devices have no driver of their own.
    #[must_use]
    pub fn driver_rim_id(&self, family: Family) -> Option<String> {
        let driver = &self.driver_version;
        match family {
            Family::Hopper => Some(format!("NV_GPU_DRIVER_GH100_{driver}")),
            Family::Blackwell => {
                let chip = self.chip_info.as_deref().unwrap_or("GB100");
                Some(format!("NV_GPU_CC_DRIVER_{chip}_{driver}"))
            }
            Family::Ls10 => None,
        }
    }

    /// Name of the VBIOS's reference manifest; the same pattern for every
    /// family of GPUs.
    #[must_use]
    pub fn vbios_rim_id(&self) -> String {
        format!(
            "NV_GPU_VBIOS_{}_{}_{}_{}",
            self.project,
            self.project_sku,
            self.chip_sku,
            self.vbios_version.replace('.', "")
        )
        .to_ascii_uppercase()
    }
}

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
    fn read(mut entries: Entries<'_>) -> Result<Self, OpaqueError> {
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

fn optional<T>(
    entries: &mut Entries<'_>,
    id: u16,
    read: impl FnOnce(u16, &[u8]) -> Result<T, OpaqueError>,
) -> Result<Option<T>, OpaqueError> {
    entries
        .optional(id)
        .map(|entry| read(id, entry.value))
        .transpose()
}

/// The header's version, or field 34 of the legacy encoding. NVDAOD of driver
/// 620 still has a field 34, of value 0, which says nothing there.
fn read_version(entries: &mut Entries<'_>) -> Result<OpaqueVersion, OpaqueError> {
    let field = optional(entries, id::OPAQUE_DATA_VERSION, |id, value| {
        exact(id, value, "2 bytes").map(u16::from_le_bytes)
    })?;
    match (entries.header, field.unwrap_or_default()) {
        (Some(header), _) => Ok(header),
        (None, version @ 0..=1) => Ok(OpaqueVersion::Legacy(version)),
        (None, major) => Err(OpaqueError::VersionUnsupported {
            major,
            kind: entries.kind,
        }),
    }
}

fn read_nvdec0(entries: &mut Entries<'_>) -> Result<Nvdec0, OpaqueError> {
    match exact(id::NVDEC0_STATUS, entries.required(id::NVDEC0_STATUS)?, "1 byte")? {
        [0xaa] => Ok(Nvdec0::Enabled),
        [0x55] => Ok(Nvdec0::Disabled),
        [got] => Err(OpaqueError::NvdecUnknown { got }),
    }
}

fn read_protected_pcie(entries: &mut Entries<'_>) -> Result<Option<bool>, OpaqueError> {
    let expected = "0xaa (on) or 0x55 (off)";
    optional(entries, id::PROTECTED_PCIE_STATUS, |id, value| match value {
        [0xaa] => Ok(true),
        [0x55] => Ok(false),
        _ => Err(OpaqueError::Field { id, expected }),
    })
}

fn read_feature(entries: &mut Entries<'_>) -> Result<Option<Mode>, OpaqueError> {
    optional(entries, id::FEATURE_FLAG, |id, value| match value {
        [0, 0] => Ok(Mode::Spt),
        [1, 0] => Ok(Mode::Mpt),
        [2, 0] => Ok(Mode::Ppcie),
        _ => Err(OpaqueError::Field {
            id,
            expected: "0 (SPT), 1 (MPT) or 2 (PPCIE)",
        }),
    })
}

/// Drivers before 580 state the mode by field 21 alone, Blackwell by field 36
/// alone, newer ones on Hopper by both.
const fn mode_of(protected_pcie: Option<bool>, stated: Option<Mode>) -> Result<Option<Mode>, OpaqueError> {
    match (protected_pcie, stated) {
        (None, stated) => Ok(stated),
        (Some(true), None | Some(Mode::Ppcie)) => Ok(Some(Mode::Ppcie)),
        (Some(false), None) => Ok(Some(Mode::Spt)),
        (Some(false), Some(mode @ (Mode::Spt | Mode::Mpt))) => Ok(Some(mode)),
        (Some(protected_pcie), Some(mode)) => Err(OpaqueError::ContradictoryMode {
            protected_pcie,
            feature: match mode {
                Mode::Spt => 0,
                Mode::Mpt => 1,
                Mode::Ppcie => 2,
            },
        }),
    }
}

fn read_switch_pdis(id: u16, value: &[u8]) -> Result<Vec<Option<Pdi>>, OpaqueError> {
    let (pdis, rest) = value.as_chunks::<8>();
    if pdis.len() != LINKS_OF_A_GPU || !rest.is_empty() {
        let expected = "18 identities of 8 bytes";
        return Err(OpaqueError::Field { id, expected });
    }
    // The switch writes them the other way round.
    let reversed = |bytes: &[u8; 8]| {
        let mut bytes = *bytes;
        bytes.reverse();
        pdi(&mut Reader::new(&bytes))
    };
    Ok(pdis.iter().map(reversed).collect())
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

/// Security version numbers, of known fields and others.
fn read_svns(entries: &mut Entries<'_>) -> Result<BTreeMap<u16, u64>, OpaqueError> {
    let numbers: Vec<_> = entries.of_type(SVN).collect();
    let mut svns = BTreeMap::new();
    for (id, value) in numbers {
        svns.insert(id, number(id, value)?);
        entries.optional(id);
    }
    // The one that is known by name must not come as something else.
    match entries.optional(id::FSP_UCODE_SVN) {
        Some(entry) if entry.value_type.is_some() => Err(OpaqueError::Field {
            id: id::FSP_UCODE_SVN,
            expected: "a security version number (value type 0x87)",
        }),
        Some(_) => Err(OpaqueError::UnknownType {
            id: id::FSP_UCODE_SVN,
            kind: entries.kind,
        }),
        None => Ok(svns),
    }
}

#[cfg(test)]
mod tests;
