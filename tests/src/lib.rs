//! What the end-to-end tests and the demo share: building the real binaries,
//! running them as processes, talking HTTP to the local proxy, and recording
//! bytes on the wire, or delaying them. Nothing here replaces a part of the product.

pub mod binaries;
pub mod delay;
pub mod http;
pub mod node;
pub mod pipeline;
pub mod process;
pub mod recorder;
pub mod watcher;

use std::path::{Path, PathBuf};

/// The workspace's root folder.
#[must_use]
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
