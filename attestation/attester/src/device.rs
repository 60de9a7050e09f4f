//! Attesters over the SNP guest device: asks for a report over a statement,
//! checks that the answer is one, and staples its endorsements. Judges nothing
//! else, and never retries beyond what a source's own protocol asks for.

mod configfs_tsm;
mod endorsements;
mod errno;
mod sev_guest;

use core::fmt;
use core::str::FromStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bastide_attestation::snp::{REPORT_BYTES, SnpReport};
use bastide_attestation::{
    Attestation, Attester, AttesterError, PlatformEvidence, ReportData, StatementBytes,
};

pub use endorsements::{EndorsementFiles, EndorsementSource, Held};

use configfs_tsm::{ConfigfsTsm, Reports};
use endorsements::StoredEndorsements;
use sev_guest::SevGuest;
use sev_guest::ioctl::GuestDevice;

/// Highest VMPL number.
const MAX_VMPL: u8 = 3;

/// Which interface of the kernel to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// configfs-tsm if it is there, else `/dev/sev-guest`.
    Auto,
    /// configfs-tsm (Linux 6.7 and later).
    ConfigfsTsm,
    /// The device `/dev/sev-guest` (Linux 5.19 and later).
    SevGuest,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 3] = [Self::Auto, Self::ConfigfsTsm, Self::SevGuest];

    /// Name as on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ConfigfsTsm => "configfs-tsm",
            Self::SevGuest => "sev-guest",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, UnknownSource> {
        Self::ALL
            .into_iter()
            .find(|source| source.name() == text)
            .ok_or(UnknownSource)
    }
}

/// The text names no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `auto`, `configfs-tsm` or `sev-guest`")]
pub struct UnknownSource;

/// Where the kernel's interfaces are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePaths {
    /// Folder of configfs-tsm in which a folder for each request is made.
    pub configfs_reports: PathBuf,
    /// Character device of the SNP guest driver.
    pub sev_guest: PathBuf,
}

impl Default for DevicePaths {
    fn default() -> Self {
        Self {
            configfs_reports: "/sys/kernel/config/tsm/report".into(),
            sev_guest: "/dev/sev-guest".into(),
        }
    }
}

/// How to attest.
#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    /// VMPL to ask a report for, 0 to 3 and at least the guest's own; `None`
    /// for VMPL 0.
    pub vmpl: Option<u8>,
    /// The operator's files of endorsements, which come before everything else.
    pub endorsements: Option<EndorsementFiles>,
    /// Where else to look: after the files and before the certificate table
    /// that the host hands over with a report.
    pub source: Option<Arc<dyn EndorsementSource>>,
    /// Where the kernel's interfaces are.
    pub paths: DevicePaths,
}

/// Opens a source of reports.
///
/// # Errors
/// [`AttesterError::Unavailable`] if there is no such source here, or the VMPL
/// is no VMPL; [`AttesterError::Unendorsed`] if an endorsement file can't be read.
pub fn open(source: Source, options: &DeviceOptions) -> Result<Box<dyn Attester>, AttesterError> {
    if let Some(vmpl) = options.vmpl
        && vmpl > MAX_VMPL
    {
        return Err(AttesterError::Unavailable {
            reason: format!("a VMPL is 0, 1, 2 or 3, got {vmpl}"),
        });
    }
    let stored = match &options.endorsements {
        Some(files) => Some(files.load()?),
        None => None,
    };
    let reports = open_reports(source, options)?;
    Ok(Box::new(GuestAttester {
        reports,
        stored,
        source: options.source.clone(),
    }))
}

fn open_reports(source: Source, options: &DeviceOptions) -> Result<Box<dyn ReportSource>, AttesterError> {
    let configfs = |path: &Path| -> Result<Box<dyn ReportSource>, AttesterError> {
        Ok(Box::new(ConfigfsTsm::open(Reports::at(path), options.vmpl)?))
    };
    let sev_guest = |path: &Path| -> Result<Box<dyn ReportSource>, AttesterError> {
        let device = GuestDevice::open(path)?;
        Ok(Box::new(SevGuest::new(device, options.vmpl)))
    };
    let paths = &options.paths;
    match source {
        Source::ConfigfsTsm => configfs(&paths.configfs_reports),
        Source::SevGuest => sev_guest(&paths.sev_guest),
        Source::Auto => match configfs(&paths.configfs_reports) {
            Err(AttesterError::Unavailable { reason: first }) => {
                sev_guest(&paths.sev_guest).map_err(|second| match second {
                    AttesterError::Unavailable { reason: second } => AttesterError::Unavailable {
                        reason: format!(
                            "{first}; {second}; run inside an SEV-SNP guest whose kernel has the sev-guest driver"
                        ),
                    },
                    other => other,
                })
            }
            opened => opened,
        },
    }
}

/// What a source answered, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The report, not parsed.
    pub(crate) report: Vec<u8>,
    /// The host's certificate table; empty if there is none.
    pub(crate) table: Vec<u8>,
}

/// An interface of the kernel that reports can be asked from.
pub(crate) trait ReportSource: Send + Sync {
    /// Asks for a report over `report_data`.
    fn request(&self, report_data: &ReportData) -> Result<Answer, AttesterError>;

    /// Name for logs.
    fn name(&self) -> &'static str;
}

struct GuestAttester {
    reports: Box<dyn ReportSource>,
    stored: Option<StoredEndorsements>,
    source: Option<Arc<dyn EndorsementSource>>,
}

impl Attester for GuestAttester {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        let report_data = statement.report_data();
        let answer = self.reports.request(&report_data)?;
        let report = SnpReport::parse(&answer.report).map_err(|error| AttesterError::Unusable {
            reason: error.to_string(),
        })?;
        if report.report_data() != report_data {
            return Err(AttesterError::Unusable {
                reason: "the report is over another REPORT_DATA than was asked for".to_owned(),
            });
        }
        let source = self.source.as_deref();
        let endorsements = endorsements::select(&report, self.stored.as_ref(), source, &answer.table)?;
        let raw: [u8; REPORT_BYTES] = *report.as_bytes();
        Ok(Attestation {
            platform: PlatformEvidence::Snp(Box::new(raw)),
            endorsements,
        })
    }

    fn name(&self) -> &'static str {
        self.reports.name()
    }
}

#[cfg(test)]
mod tests;
