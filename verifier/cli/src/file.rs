//! Files that a person names: read with a limit, written for their owner only.
//! Nothing is overwritten unless the caller says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::fault::Fault;

fn named(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// Reads at most `limit` bytes; a longer file is malformed input.
///
/// # Errors
/// [`Fault`] of usage if it can't be read, of malformed input if it is too long.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: io::Error| {
        Fault::usage(
            "input.unreadable",
            format!("{} can't be read: {error}", named(path)),
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limit {
        return Err(Fault::malformed(
            "input.too_large",
            format!("{} has more than {limit} bytes", named(path)),
        ));
    }
    Ok(bytes)
}

/// Whether an existing file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Refuse.
    Keep,
    /// Replace its content.
    Replace,
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// [`Fault`] of usage if it exists and must be kept, or can't be written.
pub(crate) fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Fault> {
    let mut options = OpenOptions::new();
    options.write(true);
    match existing {
        Existing::Keep => options.create_new(true),
        Existing::Replace => options.create(true).truncate(true),
    };
    owner_only(&mut options);
    options
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Fault::usage("output.exists", format!("{} exists already", named(path)))
                    .with_remedy("name another file, or remove this one yourself")
            }
            _ => Fault::usage(
                "output.unwritable",
                format!("{} can't be written: {error}", named(path)),
            ),
        })
}

/// Writes beside and renames over, so that a reader sees all of it or nothing.
///
/// # Errors
/// As [`write()`].
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    write(beside, bytes, Existing::Replace)?;
    fs::rename(beside, path).map_err(|error| {
        Fault::usage(
            "output.unwritable",
            format!("{} can't be written: {error}", named(path)),
        )
    })
}

/// Replaces a file that others may read, all of it or not at all. An existing
/// file keeps its mode.
///
/// # Errors
/// As [`write()`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let unwritable = |error: io::Error| {
        Fault::usage(
            "output.unwritable",
            format!("{} can't be written: {error}", named(path)),
        )
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = Path::new(&beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(beside)?;
        file.write_all(bytes)?;
        if let Ok(existing) = fs::metadata(path) {
            file.set_permissions(existing.permissions())?;
        }
        file.sync_all()?;
        fs::rename(beside, path)
    })();
    written.map_err(|error| {
        // Half a file beside the whole one helps nobody.
        let _ = fs::remove_file(beside);
        unwritable(error)
    })
}

/// Makes a folder, and its parents, that only their owner can enter.
///
/// # Errors
/// [`Fault`] of usage if it can't be made.
pub(crate) fn make_folder(path: &Path) -> Result<(), Fault> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        Fault::usage(
            "output.unwritable",
            format!("folder {} can't be made: {error}", named(path)),
        )
    })
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_limited_private_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er");
        make_folder(&path).unwrap();
        let file = path.join("file");
        write(&file, b"12345", Existing::Keep).unwrap();
        assert_eq!(
            write(&file, b"6", Existing::Keep).unwrap_err().code,
            "output.exists"
        );
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().code, "input.too_large");
        let open = path.join("open");
        replace(&open, b"1").unwrap();
        replace(&open, b"2").unwrap();
        assert_eq!(read(&open, 5).unwrap(), b"2");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "nothing is left beside");
        publish(&file, b"7").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"7");
        assert_eq!(read(&path.join("none"), 5).unwrap_err().code, "input.unreadable");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
