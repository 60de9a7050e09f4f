//! The facts of a GPU, its mode of protection, and the names of the reference
//! manifests of its driver and its VBIOS.

use std::collections::BTreeMap;

use super::{id, optional, read_version};
use crate::digest::{Fwid, Pdi};
use crate::nvidia::family::Family;
use crate::nvidia::field::{counts, exact, number, pdi, text, text_or_empty, vbios};
use crate::nvidia::opaque::{Entries, OpaqueError, OpaqueVersion, OtherField};
use crate::reader::Reader;

/// NVLink links of a GPU that a report has a place for.
pub const LINKS_OF_A_GPU: usize = 18;
/// One for each measurement block of a GPU.
const COUNTS_OF_A_GPU: usize = 64;
/// NVDAOD's value type of a security version number.
const SVN: u16 = 0x87;

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
    pub(super) fn read(mut entries: Entries<'_>) -> Result<Self, OpaqueError> {
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
