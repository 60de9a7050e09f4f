//! SHA-256 of files that may be too large for memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest;

use crate::fault::Fault;

/// Most bytes of a kernel or an initrd.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
const CHUNK_BYTES: usize = 1024 * 1024;

/// Hashes a file of at most 1 GiB.
///
/// # Errors
/// [`Fault`] of usage if it can't be read, of malformed input if it is longer.
pub(super) fn sha256_of(path: &Path) -> Result<[u8; 32], Fault> {
    let unreadable = |error: io::Error| {
        Fault::usage(
            "input.unreadable",
            format!("`{}` can't be read: {error}", path.display()),
        )
    };
    let too_large = || {
        Fault::malformed(
            "input.too_large",
            format!("`{}` has more than {MAX_BYTES} bytes", path.display()),
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    // Only a hint, and no limit: what isn't a regular file says 0.
    if file.metadata().map_err(unreadable)?.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut file = file.take(MAX_BYTES + 1);
    let mut context = digest::Context::new(&digest::SHA256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        context.update(chunk.get(..read).unwrap_or_default());
    }
    if file.limit() == 0 {
        return Err(too_large());
    }
    context
        .finish()
        .as_ref()
        .try_into()
        .map_err(|_| Fault::internal("SHA-256 has another length than 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_hashed_whole_over_chunks_and_refused_over_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(sha256_of(&path), Ok(bastide_attestation::sha256(&[&bytes])));
        }
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(sha256_of(&path).unwrap_err().code, "input.too_large");
        let none = folder.path().join("none");
        assert_eq!(sha256_of(&none).unwrap_err().code, "input.unreadable");
        assert_eq!(sha256_of(folder.path()).unwrap_err().code, "input.unreadable");
    }
}
