//! Real evidence and endorsements, where this machine has them: the folder named
//! by `BASTIDE_VECTORS`, else `../shared/vectors` next to the workspace.

use std::path::{Path, PathBuf};

/// A complete Hopper set; `None`, and a line on stdout, where there is none.
pub(super) fn h100() -> Option<PathBuf> {
    let root = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join("nvidia/h100-550.90.07");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("ignored: no vectors");
    None
}

pub(super) fn read(folder: &Path, name: &str) -> Vec<u8> {
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
