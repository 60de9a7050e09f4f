//! The files of `--tls-certificate` and `--tls-key`: read once, before anything
//! is asked of the hardware. The key's bytes are wiped and never shown.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bastide_attested_tls::ServerIdentity;
use zeroize::Zeroizing;

use crate::args::ServeArgs;
use crate::clock;
use crate::error::StartError;
use crate::telemetry::ops;

/// Most bytes of a file. A chain of eight certificates has a tenth of it.
const MOST_BYTES: usize = 256 * 1024;
/// Whoever is neither the owner nor of the group may read it.
const READ_BY_OTHERS: u32 = 0o004;

/// The identity that the operator named, if there is one.
///
/// # Errors
/// [`StartError::TlsFile`] and [`StartError::TlsIdentity`].
pub fn open(args: &ServeArgs) -> Result<Option<ServerIdentity>, StartError> {
    let (Some(certificate), Some(key)) = (&args.tls_certificate, &args.tls_key) else {
        // One without the other is no command line.
        return Ok(None);
    };
    let chain = read(certificate)?;
    let private = read(key)?;
    let open_to_others = fs::metadata(key).is_ok_and(|key| key.permissions().mode() & READ_BY_OTHERS != 0);
    if open_to_others {
        ops!(
            WARN,
            "enclave.tls_key",
            cause = "every user of this machine may read the file of --tls-key; expected mode 0600 or 0640",
        );
    }
    ServerIdentity::from_pem(&chain, &private, clock::now())
        .map(Some)
        .map_err(|source| StartError::TlsIdentity {
            certificate: certificate.clone(),
            key: key.clone(),
            source,
        })
}

/// The whole file, in memory that is wiped and never moved.
fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, StartError> {
    bounded(file).map_err(|source| StartError::TlsFile {
        file: file.to_owned(),
        source,
    })
}

fn bounded(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe could keep the start waiting for ever.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut bytes = Zeroizing::new(vec![0; MOST_BYTES + 1]);
    let mut reading = File::open(file)?;
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reading.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    if length > MOST_BYTES {
        let expected = format!("expected at most {MOST_BYTES} bytes, got more");
        return Err(io::Error::other(expected));
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{MOST_BYTES, bounded};

    #[test]
    fn a_file_is_read_whole_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        std::fs::write(&file, b"key").unwrap();
        assert_eq!(**bounded(&file).unwrap(), b"key"[..]);
        std::fs::write(&file, vec![7; MOST_BYTES]).unwrap();
        assert_eq!(bounded(&file).unwrap().len(), MOST_BYTES);
        std::fs::write(&file, vec![7; MOST_BYTES + 1]).unwrap();
        assert!(bounded(&file).unwrap_err().to_string().contains("at most"));
        let folder = bounded(folder.path()).unwrap_err();
        assert!(folder.to_string().contains("regular file"));
        assert!(bounded(std::path::Path::new("/dev/zero")).is_err());
    }
}
