//! Files that an operator names, read once, whole and within a limit, into
//! memory that is wiped and never moved: some of them are keys.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// The whole of a regular file of at most `most` bytes.
///
/// # Errors
/// If it can't be read, is no regular file, or is longer.
pub(crate) fn read(file: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe could keep the start waiting for ever.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut bytes = Zeroizing::new(vec![0; most + 1]);
    let mut reading = File::open(file)?;
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reading.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    if length > most {
        let expected = format!("expected at most {most} bytes, got more");
        return Err(io::Error::other(expected));
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::read;

    const MOST: usize = 1024;

    #[test]
    fn a_file_is_read_whole_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        std::fs::write(&file, b"key").unwrap();
        assert_eq!(**read(&file, MOST).unwrap(), b"key"[..]);
        std::fs::write(&file, vec![7; MOST]).unwrap();
        assert_eq!(read(&file, MOST).unwrap().len(), MOST);
        std::fs::write(&file, vec![7; MOST + 1]).unwrap();
        assert!(read(&file, MOST).unwrap_err().to_string().contains("at most"));
        let folder = read(folder.path(), MOST).unwrap_err();
        assert!(folder.to_string().contains("regular file"));
        assert!(read(std::path::Path::new("/dev/zero"), MOST).is_err());
    }
}
