//! The endorsements that go with a report: from the operator's files, read
//! once; from a source that the caller brings; or from the host's certificate
//! table, which is hostile input. Takes whichever belongs to the report, in this
//! order; fetches nothing.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bastide_attestation::encoding::{Kind, objects};
use bastide_attestation::snp::{SigningKey, SnpReport, VekId, VekIdError};
use bastide_attestation::{AttesterError, CertificateTable, Endorsements};

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

/// What a source has for one key, DER, none of it verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The VCEK or VLEK.
    pub vek: Option<Vec<u8>>,
    /// ASK or ASVK, then ARK; may be empty.
    pub chain: Vec<Vec<u8>>,
    /// The ARK's revocation list.
    pub crl: Option<Vec<u8>>,
}

/// Endorsements from elsewhere than files and the host. It is asked on the
/// thread that waits for the security processor, so it must answer at once.
pub trait EndorsementSource: fmt::Debug + Send + Sync {
    /// What is at hand for the key that signed a report.
    fn at_hand(&self, wanted: &VekId) -> Held;

    /// Hears that nobody had the certificate of this key, and may begin to get
    /// it for a later report. Says in a few words what is being done about it.
    fn missing(&self, wanted: &VekId) -> Option<String>;
}

/// The endorsements of `report`.
pub(super) fn select(
    report: &SnpReport,
    stored: Option<&StoredEndorsements>,
    source: Option<&dyn EndorsementSource>,
    table: &[u8],
) -> Result<Endorsements, AttesterError> {
    let wanted = match VekId::of(report) {
        Ok(wanted) => Some(wanted),
        // A version 2 report can't be matched; whoever verifies it decides.
        Err(VekIdError::Product) => None,
        Err(error) => {
            return Err(AttesterError::Unusable {
                reason: error.to_string(),
            });
        }
    };
    // Read before: a report without such a key is not usable.
    let key = report.key_info().signing_key().unwrap_or(SigningKey::Vcek);
    let belongs = |vek: &[u8]| wanted.is_none_or(|wanted| wanted.check(vek).is_ok());
    let (table, fault) = read_table(table, key);
    let held = match (source, &wanted) {
        (Some(source), Some(wanted)) => source.at_hand(wanted),
        _ => Held::default(),
    };

    let file = stored.map(|stored| stored.vek.as_slice());
    let vek = [file, held.vek.as_deref(), table.vek.as_deref()]
        .into_iter()
        .flatten()
        .find(|vek| belongs(vek));
    let Some(vek) = vek else {
        let told = match (source, &wanted) {
            (Some(source), Some(wanted)) => source.missing(wanted),
            _ => None,
        };
        let looked_at = LookedAt {
            file: file.is_some(),
            source: source.is_some(),
            table: table.vek.is_some(),
        };
        return Err(unendorsed(key, wanted, looked_at, told, fault));
    };
    let file_chain = stored.map_or(&[][..], |stored| &stored.chain);
    let chain = [file_chain, &held.chain, &table.chain]
        .into_iter()
        .find(|chain| !chain.is_empty())
        .unwrap_or_default()
        .to_vec();
    let crl = stored
        .and_then(|stored| stored.crl.clone())
        .or(held.crl)
        .or(table.crl);
    Ok(Endorsements {
        vek: vek.to_vec(),
        chain,
        crl,
    })
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

/// Where a certificate was looked for.
#[derive(Debug, Clone, Copy)]
struct LookedAt {
    file: bool,
    source: bool,
    table: bool,
}

/// Says what was looked at and where to get what is missing.
fn unendorsed(
    key: SigningKey,
    wanted: Option<VekId>,
    at: LookedAt,
    told: Option<String>,
    fault: Option<String>,
) -> AttesterError {
    let name = match key {
        SigningKey::Vcek => "VCEK",
        SigningKey::Vlek => "VLEK",
    };
    let looked_at = match (at.file, at.table) {
        (true, true) => "neither the file's nor the host's certificate is for this chip and its reported TCB",
        (true, false) => "the file's certificate is not for this chip and its reported TCB",
        (false, true) => "the host's certificate is not for this chip and its reported TCB",
        (false, false) => "no file was given and the host's table has none",
    };
    let source = if at.source {
        "; the folder of endorsements has none for it"
    } else {
        ""
    };
    let fault = fault.map_or_else(String::new, |fault| format!(" ({fault})"));
    let remedy = match (told, wanted.and_then(|wanted| wanted.kds_address())) {
        (Some(told), _) => told,
        (None, Some(address)) => format!("download it from {address} and pass it with --vek FILE"),
        (None, None) => "get it from whoever runs the host and pass it with --vek FILE".to_owned(),
    };
    AttesterError::Unendorsed {
        reason: format!("{name}: {looked_at}{source}{fault}; {remedy}"),
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
