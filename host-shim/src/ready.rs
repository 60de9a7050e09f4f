//! The sign that the relay listens: one JSON line on stdout, and the same line
//! in a file for those who can't read stdout. Owns both; writes nothing else to
//! stdout.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::endpoint::Endpoint;

/// Name and version of the line's form. Members may be added to it.
pub const SCHEMA: &str = "bastide.shim-ready/v1";

/// A file that exists while the relay listens.
#[derive(Debug)]
pub struct ReadyFile {
    path: PathBuf,
}

/// The line, with its newline: `listen` is where clients connect, with the port
/// that was picked.
#[must_use]
pub fn line(listen: &Endpoint) -> String {
    let listen = Value::from(listen.to_string());
    format!("{{\"schema\":\"{SCHEMA}\",\"listen\":{listen}}}\n")
}

/// Prints the line to stdout.
///
/// # Errors
/// If stdout is closed.
pub fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

impl ReadyFile {
    /// Removes what an earlier run left, so that nobody takes it for this one's.
    ///
    /// # Errors
    /// If there is something that can't be removed.
    pub fn claim(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self {
                path: path.to_owned(),
            }),
        }
    }

    /// Writes the line beside the file and renames it: a reader sees all of it
    /// or no file.
    ///
    /// # Errors
    /// If the folder isn't there or can't be written to.
    pub fn write(&self, line: &str) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = self.path.with_file_name(name);
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // It says "listening", which is over.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_documented_one() {
        let listen = "tcp:127.0.0.1:8443".parse().unwrap();
        assert_eq!(
            line(&listen),
            "{\"schema\":\"bastide.shim-ready/v1\",\"listen\":\"tcp:127.0.0.1:8443\"}\n"
        );
    }

    #[test]
    fn the_file_exists_from_writing_to_dropping_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, "of an earlier run").unwrap();
        let file = ReadyFile::claim(&path).unwrap();
        assert!(!path.exists());
        file.write("line\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = ReadyFile::claim(&folder.path().join("missing/ready")).unwrap();
        assert!(file.write("line\n").is_err());
    }
}
