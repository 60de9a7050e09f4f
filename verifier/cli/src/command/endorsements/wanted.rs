//! Which endorsements a command line asks for: those of reports, of recorded
//! evidence, or of a chip that is named.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bastide_attestation::snp::{Generation, SigningKey, SnpReport, TcbVersion, VcekId, VekId};
use bastide_attestation::{Evidence, PlatformEvidence};
use bastide_endorsements::Name;
use bastide_endorsements::nvidia::Sources;
use clap::{Args, ValueEnum};

use super::gpus::add_evidence;
use crate::fault::{Fault, with_causes};
use crate::file;
use crate::recorded::MAX_ENVELOPE_FILE_BYTES;

/// Whose endorsements.
#[derive(Debug, Args)]
#[command(next_help_heading = "Whose")]
pub(super) struct Wanted {
    /// Raw SNP report, 1184 bytes; may be repeated
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Evidence envelope as kept by `verify --save-evidence`; may be repeated
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
    /// Line of processors; alone, its chain and revocation list
    #[arg(long, value_name = "NAME")]
    product: Option<ProductChoice>,
    /// Hardware id of a chip in hex: 128 digits, 16 on Turin
    #[arg(long, value_name = "HEX", requires = "product", requires = "tcb")]
    hwid: Option<Hwid>,
    /// TCB version, such as `boot_loader=10,tee=0,snp=27,microcode=84`; on Turin also `fmc=1`
    #[arg(long, value_name = "LEVELS", requires = "hwid")]
    tcb: Option<Levels>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProductChoice {
    /// EPYC 7003
    Milan,
    /// EPYC 9004, and 8004 and 97x4
    Genoa,
    /// EPYC 9005
    Turin,
}

impl From<ProductChoice> for Generation {
    fn from(choice: ProductChoice) -> Self {
        match choice {
            ProductChoice::Milan => Self::Milan,
            ProductChoice::Genoa => Self::Genoa,
            ProductChoice::Turin => Self::Turin,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hwid(Vec<u8>);

impl FromStr for Hwid {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode(text)
            .map(Self)
            .map_err(|_| "expected pairs of hex digits")
    }
}

/// Levels by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Levels(TcbVersion);

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const NAMES: [&str; 5] = ["fmc", "boot_loader", "tee", "snp", "microcode"];
        let mut levels = [None; 5];
        for part in text.split(',') {
            let wrong = || {
                format!(
                    "expected NAME=0 to 255, got `{part}`; names are {}",
                    NAMES.join(", ")
                )
            };
            let (name, level) = part.split_once('=').ok_or_else(wrong)?;
            let slot = NAMES
                .iter()
                .zip(levels.iter_mut())
                .find_map(|(known, slot)| (*known == name).then_some(slot))
                .ok_or_else(wrong)?;
            let level: u8 = level.parse().map_err(|_| wrong())?;
            if slot.replace(level).is_some() {
                return Err(format!("`{name}` is given twice"));
            }
        }
        let [fmc, Some(boot_loader), Some(tee), Some(snp), Some(microcode)] = levels else {
            return Err("expected boot_loader, tee, snp and microcode, and on Turin fmc".to_owned());
        };
        Ok(Self(TcbVersion {
            fmc,
            boot_loader,
            tee,
            snp,
            microcode,
        }))
    }
}

impl Wanted {
    /// Names of AMD's in the order they were asked for, none twice; what GPUs of
    /// evidence need is added to `gpus`.
    ///
    /// # Errors
    /// [`Fault`] if nothing is asked for, or a file is no report or evidence.
    pub(super) fn names(&self, gpus: &mut Sources) -> Result<Vec<Name>, Fault> {
        let mut names: Vec<Name> = Vec::new();
        let mut add = |more: Vec<Name>| {
            for name in more {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        };
        for path in &self.report {
            let bytes = file::read(path, MAX_ENVELOPE_FILE_BYTES)?;
            add(of_report(path, &bytes)?);
        }
        for path in &self.evidence {
            let bytes = file::read(path, MAX_ENVELOPE_FILE_BYTES)?;
            let evidence = Evidence::decode(&bytes).map_err(|error| {
                let message = format!("`{}`: {}", path.display(), with_causes(&error));
                Fault::malformed("evidence.malformed", message)
            })?;
            let PlatformEvidence::Snp(report) = &evidence.as_unverified().platform else {
                let message = format!("`{}` has no SNP report of its own", path.display());
                return Err(Fault::malformed("evidence.malformed", message));
            };
            add(of_report(path, report.as_slice())?);
            if let Some(gpu) = &evidence.as_unverified().gpu {
                add_evidence(gpus, path, &gpu.evidence)?;
            }
        }
        if let Some(product) = self.product {
            let generation = Generation::from(product);
            if let (Some(Hwid(hwid)), Some(Levels(tcb))) = (&self.hwid, self.tcb) {
                let id = VcekId::new(generation, hwid, tcb)
                    .map_err(|error| Fault::usage("usage", error.to_string()))?;
                add(vec![Name::Vcek(id)]);
            }
            add(vec![
                Name::Chain(generation, SigningKey::Vcek),
                Name::Crl(generation, SigningKey::Vcek),
            ]);
        }
        if names.is_empty() && gpus.is_empty() {
            return Err(Fault::usage(
                "usage",
                "nothing to fetch: give --report, --evidence, --product, --gpu-report or --rim-id",
            ));
        }
        Ok(names)
    }
}

fn of_report(path: &Path, bytes: &[u8]) -> Result<Vec<Name>, Fault> {
    let malformed = |error: &dyn std::fmt::Display| {
        Fault::malformed("report.malformed", format!("`{}`: {error}", path.display()))
    };
    let report = SnpReport::parse(bytes).map_err(|error| malformed(&error))?;
    let id = VekId::of(&report).map_err(|error| malformed(&error))?;
    Ok(Name::all_for(&id))
}

#[cfg(test)]
mod tests {
    use super::Levels;

    #[test]
    fn levels_are_read_by_name_each_once_and_all() {
        let Levels(tcb) = "microcode=84,boot_loader=10,tee=0,snp=27".parse().unwrap();
        assert_eq!(
            (tcb.fmc, tcb.boot_loader, tcb.snp, tcb.microcode),
            (None, 10, 27, 84)
        );
        let Levels(tcb) = "fmc=1,boot_loader=1,tee=1,snp=4,microcode=219".parse().unwrap();
        assert_eq!((tcb.fmc, tcb.microcode), (Some(1), 219));
        for (text, expected) in [
            ("", "got ``"),
            ("boot_loader=1,tee=0,snp=1", "expected boot_loader"),
            ("boot_loader=1,boot_loader=1,tee=0,snp=1,microcode=1", "twice"),
            ("boot_loader=256,tee=0,snp=1,microcode=1", "0 to 255"),
            ("bl=1,tee=0,snp=1,microcode=1", "names are fmc"),
        ] {
            let error = text.parse::<Levels>().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
