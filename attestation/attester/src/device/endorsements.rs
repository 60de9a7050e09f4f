//! The endorsements that go with a report: from the operator's files, read
//! once, or from the host's certificate table, which is hostile input. Takes
//! whichever belongs to the report; fetches nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bastide_attestation::snp::{SigningKey, SnpReport};
use bastide_attestation::{AttesterError, CertificateTable, Endorsements};

use super::encoding::{Kind, objects};
use super::matching::Wanted;

/// Most bytes of an endorsement file.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// ASK or ASVK, and ARK.
const MAX_CHAIN: usize = 2;

/// Files of an operator's that endorse the guest's reports, DER or PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementFiles {
    /// The VCEK or VLEK.
    pub vek: PathBuf,
    /// ASK or ASVK, then ARK, as AMD's key distribution server sends them.
    pub chain: Option<PathBuf>,
    /// The ARK's revocation list.
    pub crl: Option<PathBuf>,
}

impl EndorsementFiles {
    /// Reads the files.
    pub(super) fn load(&self) -> Result<StoredEndorsements, AttesterError> {
        let chain = match &self.chain {
            None => Vec::new(),
            Some(path) => {
                let chain = read_objects(path, Kind::Certificate)?;
                if chain.len() > MAX_CHAIN {
                    return Err(file_fault(
                        path,
                        &format!(
                            "expected the ASK or ASVK and the ARK, got {} certificates",
                            chain.len()
                        ),
                    ));
                }
                chain
            }
        };
        let crl = match &self.crl {
            None => None,
            Some(path) => Some(read_one(path, Kind::RevocationList)?),
        };
        Ok(StoredEndorsements {
            vek: read_one(&self.vek, Kind::Certificate)?,
            chain,
            crl,
        })
    }
}

/// The content of [`EndorsementFiles`], DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredEndorsements {
    pub(super) vek: Vec<u8>,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) crl: Option<Vec<u8>>,
}

/// The endorsements of `report`.
pub(super) fn select(
    report: &SnpReport,
    stored: Option<&StoredEndorsements>,
    table: &[u8],
) -> Result<Endorsements, AttesterError> {
    let info = report.key_info();
    let key = match info.signing_key() {
        Some(key) if !info.mask_chip_key() => key,
        _ => {
            return Err(AttesterError::Unusable {
                reason: format!(
                    "the report is not signed with a VCEK or VLEK (KEY_INFO 0x{:x}); the host must not mask the chip's key",
                    info.bits()
                ),
            });
        }
    };
    let wanted = Wanted::by(report, key);
    let belongs = |vek: &[u8]| wanted.is_none_or(|wanted| wanted.is_met_by(vek));
    let (table, fault) = read_table(table, key);

    let file = stored.map(|stored| stored.vek.as_slice());
    let vek = [file, table.vek.as_deref()]
        .into_iter()
        .flatten()
        .find(|vek| belongs(vek))
        .ok_or_else(|| unendorsed(key, wanted, file.is_some(), table.vek.is_some(), fault))?
        .to_vec();
    let chain = match stored {
        Some(stored) if !stored.chain.is_empty() => stored.chain.clone(),
        _ => table.chain,
    };
    let crl = stored.and_then(|stored| stored.crl.clone()).or(table.crl);
    Ok(Endorsements { vek, chain, crl })
}

/// What a host's table has for one kind of key.
#[derive(Debug, Default)]
struct HostEndorsements {
    vek: Option<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    crl: Option<Vec<u8>>,
}

/// Reads as much of a host's table as is usable, and says why not all is.
fn read_table(table: &[u8], key: SigningKey) -> (HostEndorsements, Option<String>) {
    let table = match CertificateTable::parse(table) {
        Ok(table) => table,
        Err(error) => return (HostEndorsements::default(), Some(error.to_string())),
    };
    let mut fault = None;
    let mut read = |name: &str, blob: Option<Vec<u8>>, kind| {
        match objects(&blob?, kind) {
            // Each entry is one object; what a host appends is not looked at.
            Ok(objects) => objects.into_iter().next(),
            Err(error) => {
                fault.get_or_insert_with(|| format!("the {name} of the host's table: {error}"));
                None
            }
        }
    };
    let vek = match key {
        SigningKey::Vcek => read("VCEK", table.vcek, Kind::Certificate),
        SigningKey::Vlek => read("VLEK", table.vlek, Kind::Certificate),
    };
    let ask = read("ASK", table.ask, Kind::Certificate);
    let ark = read("ARK", table.ark, Kind::Certificate);
    let crl = read("CRL", table.crl, Kind::RevocationList);
    // An ARK alone would be taken for an ASK.
    let chain = match ask {
        Some(ask) => [Some(ask), ark].into_iter().flatten().collect(),
        None => Vec::new(),
    };
    (HostEndorsements { vek, chain, crl }, fault)
}

/// Says what was looked at and where to get what is missing.
fn unendorsed(
    key: SigningKey,
    wanted: Option<Wanted>,
    had_file: bool,
    had_table: bool,
    fault: Option<String>,
) -> AttesterError {
    let name = match key {
        SigningKey::Vcek => "VCEK",
        SigningKey::Vlek => "VLEK",
    };
    let looked_at = match (had_file, had_table) {
        (true, true) => "neither the file's nor the host's certificate is for this chip and its reported TCB",
        (true, false) => "the file's certificate is not for this chip and its reported TCB",
        (false, true) => "the host's certificate is not for this chip and its reported TCB",
        (false, false) => "no file was given and the host's table has none",
    };
    let fault = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
    let remedy = match wanted.and_then(|wanted| wanted.kds_address()) {
        Some(address) => format!("download it from {address}"),
        None => "get it from whoever runs the host".to_owned(),
    };
    AttesterError::Unendorsed {
        reason: format!("{name}: {looked_at}{fault}; {remedy} and pass it with --vek FILE"),
    }
}

fn read_one(path: &Path, kind: Kind) -> Result<Vec<u8>, AttesterError> {
    let mut found = read_objects(path, kind)?;
    match (found.pop(), found.is_empty()) {
        (Some(object), true) => Ok(object),
        _ => Err(file_fault(path, "expected one certificate or list, got several")),
    }
}

fn read_objects(path: &Path, kind: Kind) -> Result<Vec<Vec<u8>>, AttesterError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| file_fault(path, &error.to_string()))?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(file_fault(
            path,
            &format!("expected at most {MAX_FILE_BYTES} bytes"),
        ));
    }
    objects(&bytes, kind).map_err(|error| file_fault(path, &error.to_string()))
}

fn file_fault(path: &Path, fault: &str) -> AttesterError {
    AttesterError::Unendorsed {
        reason: format!("`{}`: {fault}", path.display()),
    }
}
