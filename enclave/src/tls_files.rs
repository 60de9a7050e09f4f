//! The files of `--tls-certificate` and `--tls-key`: read once, before anything
//! is asked of the hardware. The key's bytes are wiped and never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bastide_attested_tls::ServerIdentity;
use zeroize::Zeroizing;

use crate::args::ServeArgs;
use crate::bounded_file;
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
    bounded_file::read(file, MOST_BYTES).map_err(|source| StartError::TlsFile {
        file: file.to_owned(),
        source,
    })
}
