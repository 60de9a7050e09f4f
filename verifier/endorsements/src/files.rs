//! Reading and writing of whole files with a limit. Follows no link, opens
//! nothing but regular files, and replaces a file at once or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Reads a regular file of at most `limit` bytes; `None` if there is none.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let about = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        about => about?,
    };
    // A pipe would be waited for, and a link leads elsewhere.
    if !about.file_type().is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a regular file, and no link to one",
        ));
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("expected at most {limit} bytes"),
        ));
    }
    Ok(Some(bytes))
}

/// Writes beside and renames over, readable for everybody: nothing of this is
/// secret. After a crash there is the old file or the new one.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let beside = folder.join(format!(".{name}.{}.{count}.part", std::process::id()));
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, folder.join(name)));
    if written.is_err() {
        // What is left is nobody's: reading goes by names, and this is none.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_limited_replaced_whole_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(read(&path, 3).unwrap(), None);
        replace(folder.path(), "a", b"one").unwrap();
        replace(folder.path(), "a", b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"two");
        assert!(read(&path, 2).is_err());
        assert!(read(folder.path(), 9).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("none"), "a", b"x").is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
            assert!(read(&folder.path().join("link"), 3).is_err());
            // A write goes to the name, not through the link.
            replace(folder.path(), "link", b"new").unwrap();
            assert_eq!(read(&path, 3).unwrap().unwrap(), b"two");
        }
    }
}
