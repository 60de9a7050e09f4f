//! A folder of what NVIDIA issued for the GPUs, as files: manifests, OCSP
//! answers, revocation lists. Owns which files are read; judges none of them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bastide_attestation::nvidia::{
    GpuEndorsements, GpuEvidence, MAX_GPU_CRL_BYTES, MAX_OCSP_BYTES, MAX_RIM_BYTES,
};
use bastide_endorsements::{ItemName, Store, nvidia};

use super::fault::GpuFault;

/// Most files, as many as an envelope takes.
const MOST_FILES: usize = 96;

/// A folder with files `*.xml` (manifests as published), `*.ocsp` or `*.der` (OCSP
/// responses, DER) and `*.crl` (revocation lists, DER), or a directory that
/// `bastide endorsements` keeps. Other files are left alone.
#[derive(Debug, Clone)]
pub struct EndorsementFolder(PathBuf);

enum Kind {
    Rim,
    Ocsp,
    Crl,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        // A kept directory's own: its name says what it is for.
        if path.file_name()?.to_str()?.parse::<ItemName>().is_ok() {
            return None;
        }
        match path.extension()?.to_str()? {
            "xml" => Some(Self::Rim),
            "ocsp" | "der" => Some(Self::Ocsp),
            "crl" => Some(Self::Crl),
            _ => None,
        }
    }

    const fn limit(&self) -> usize {
        match self {
            Self::Rim => MAX_RIM_BYTES,
            Self::Ocsp => MAX_OCSP_BYTES,
            Self::Crl => MAX_GPU_CRL_BYTES,
        }
    }
}

impl EndorsementFolder {
    /// This folder, which need not be there yet.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What lies in it now, by name, and of a kept directory what is for these GPUs.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_for(&self, evidence: &GpuEvidence) -> Result<GpuEndorsements, GpuFault> {
        let mut endorsements = self.read()?;
        // What is damaged or missing there, the appraisal says.
        if let Ok(store) = Store::open(&self.0)
            && let Ok(kept) = nvidia::kept(&store, evidence)
        {
            endorsements.rims.extend(kept.endorsements.rims);
            endorsements.ocsp.extend(kept.endorsements.ocsp);
            endorsements.crls.extend(kept.endorsements.crls);
        }
        Ok(endorsements)
    }

    /// What lies in it now, by name.
    ///
    /// # Errors
    /// [`GpuFault`] names the folder, or the file, that can't be read or is too large.
    pub fn read(&self) -> Result<GpuEndorsements, GpuFault> {
        let unreadable = |source| GpuFault::Endorsements {
            path: self.0.clone(),
            source,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some(kind) = Kind::of(&path) {
                files.push((path, kind));
            }
            if files.len() > MOST_FILES {
                return Err(GpuFault::TooLarge {
                    path: self.0.clone(),
                    limit: MOST_FILES,
                    what: "files",
                });
            }
        }
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut endorsements = GpuEndorsements::default();
        for (path, kind) in files {
            let bytes = read_within(&path, kind.limit())?;
            match kind {
                Kind::Rim => endorsements.rims.push(bytes),
                Kind::Ocsp => endorsements.ocsp.push(bytes),
                Kind::Crl => endorsements.crls.push(bytes),
            }
        }
        Ok(endorsements)
    }
}

fn read_within(path: &Path, limit: usize) -> Result<Vec<u8>, GpuFault> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            file.take(most).read_to_end(&mut bytes)
        })
        .map_err(|source| GpuFault::Endorsements {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() > limit {
        return Err(GpuFault::TooLarge {
            path: path.to_owned(),
            limit,
            what: "bytes",
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{EndorsementFolder, MOST_FILES};
    use crate::gpus::GpuFault;
    use bastide_attestation::nvidia::MAX_OCSP_BYTES;
    use bastide_attestation::{GpuNonce, UnixTime};
    use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
    use bastide_endorsements::{Item, Store, nvidia};

    #[test]
    fn files_are_told_by_their_names_and_come_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ["nvidia-rim.X.xml", "vcek-genoa-crl.der"];
        let plain = ["b.xml", "a.xml", "c.ocsp", "d.der", "e.crl", "README", "f.pem"];
        for name in plain.into_iter().chain(kept) {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let read = EndorsementFolder::new(folder.path().to_owned()).read().unwrap();
        assert_eq!(read.rims, [b"a.xml", b"b.xml"]);
        assert_eq!(read.ocsp, [&b"c.ocsp"[..], b"d.der"]);
        assert_eq!(read.crls, [b"e.crl"]);
    }

    #[test]
    fn a_kept_directory_gives_what_is_for_these_gpus() {
        let now = UnixTime::from_secs(1_795_651_200);
        let gpus = SimulatedGpus::new(GpuOptions::new(now)).unwrap();
        let evidence = gpus.evidence(&GpuNonce::new([1; 32])).unwrap();
        let issued = gpus.endorsements(now).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path()).unwrap();
        let sources = nvidia::Sources::of(&evidence).unwrap();
        for (wanted, rim) in sources.rims().zip(&issued.rims) {
            let rim = nvidia::Endorsement::read(wanted.name(), rim).unwrap();
            store.put_item(&Item::Nvidia(rim), now).unwrap();
        }
        let folder = EndorsementFolder::new(folder.path().to_owned());
        assert!(folder.read().unwrap().is_empty());
        assert_eq!(folder.read_for(&evidence).unwrap().rims, issued.rims);
    }

    #[test]
    fn a_missing_folder_a_large_file_and_too_many_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let here = EndorsementFolder::new(folder.path().to_owned());
        let nowhere = EndorsementFolder::new(folder.path().join("nowhere"));
        let missing = nowhere.read().unwrap_err().to_string();
        assert!(missing.contains("nowhere"), "{missing}");
        std::fs::write(folder.path().join("large.ocsp"), vec![0; MAX_OCSP_BYTES]).unwrap();
        assert!(here.read().is_ok());
        std::fs::write(folder.path().join("large.ocsp"), vec![0; MAX_OCSP_BYTES + 1]).unwrap();
        let large = here.read().unwrap_err();
        assert!(
            matches!(
                &large,
                GpuFault::TooLarge {
                    limit: MAX_OCSP_BYTES,
                    ..
                }
            ),
            "{large}"
        );
        std::fs::remove_file(folder.path().join("large.ocsp")).unwrap();
        for number in 0..=MOST_FILES {
            std::fs::write(folder.path().join(format!("{number}.xml")), "x").unwrap();
        }
        let many = here.read().unwrap_err();
        assert!(
            matches!(
                &many,
                GpuFault::TooLarge {
                    limit: MOST_FILES,
                    ..
                }
            ),
            "{many}"
        );
    }
}
