//! The file operations of configfs-tsm on a real file system. Creates no
//! file: attributes are the kernel's, only folders are ours.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Tree;
use crate::device::errno::number;

/// A folder in which every request has a folder.
pub(in crate::device) struct Reports(PathBuf);

impl Reports {
    /// `/sys/kernel/config/tsm/report`, or wherever it is.
    pub(in crate::device) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Tree for Reports {
    fn make(&self, folder: &str) -> Result<(), Errno> {
        fs::create_dir(self.0.join(folder)).map_err(|error| number(&error))
    }

    fn write(&self, folder: &str, attribute: &str, bytes: &[u8]) -> Result<(), Errno> {
        // A binary attribute takes effect when the file is closed, and the
        // kernel drops errors of that; `generation` shows whether it did.
        OpenOptions::new()
            .write(true)
            .open(self.0.join(folder).join(attribute))
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|error| number(&error))
    }

    fn read(&self, folder: &str, attribute: &str, limit: usize) -> Result<Vec<u8>, Errno> {
        let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        File::open(self.0.join(folder).join(attribute))
            .and_then(|file| file.take(one_more).read_to_end(&mut bytes))
            .map_err(|error| number(&error))?;
        if bytes.len() > limit {
            return Err(Errno::FBIG);
        }
        Ok(bytes)
    }

    fn remove(&self, folder: &str) {
        // Nothing more can be done about an error, and the next request has
        // another folder.
        drop(fs::remove_dir(self.0.join(folder)));
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}
