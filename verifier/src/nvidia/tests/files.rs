//! Real evidence for unit tests, where this machine has it: the folder named by
//! `BASTIDE_VECTORS`, else `../shared/vectors` next to the workspace.

use std::path::{Path, PathBuf};

/// One file of the real NVIDIA evidence; `None`, and a line on stdout, where
/// there is no such folder.
pub(in crate::nvidia) fn file(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join("nvidia");
    if !folder.is_dir() {
        println!("ignored: no vectors");
        return None;
    }
    let path = folder.join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The driver's manifest of the complete Hopper set.
pub(in crate::nvidia) const DRIVER: &str = "h100-550.90.07/NV_GPU_DRIVER_GH100_550.90.07.xml";
/// The VBIOS's.
pub(in crate::nvidia) const VBIOS: &str = "h100-550.90.07/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml";
/// A switch's.
pub(in crate::nvidia) const SWITCH: &str = "rim/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml";
/// Its report.
pub(in crate::nvidia) const REPORT: &str = "h100-550.90.07/report.bin";
