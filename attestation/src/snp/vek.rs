//! Which endorsement key certificate goes with a report: the chip, its
//! REPORTED_TCB, where AMD's key distribution server has it \[AMD 57230\], and
//! whether a certificate is the one. Chooses and catches mistakes early; it
//! proves nothing, since only a verifier checks signatures.

use core::fmt;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag};

use super::{Generation, Product, SigningKey, SnpReport, TcbVersion};

/// AMD's key distribution server.
pub const KDS_ADDRESS: &str = "https://kdsintf.amd.com";

/// Most bytes of a certificate that is looked into. AMD's have at most 1.7 KB.
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
const CHIP_BYTES: usize = 64;
const HWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
/// The levels' extensions, by the names that a TCB version has for them.
const LEVELS: [(&str, ObjectIdentifier); 5] = [
    ("fmc", ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9")),
    (
        "boot_loader",
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1"),
    ),
    ("tee", ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2")),
    ("snp", ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3")),
    (
        "microcode",
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8"),
    ),
];

/// Why a report or values name no endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VekIdError {
    /// KEY_INFO says that neither a VCEK nor a VLEK signed, or that there is no signature.
    #[error(
        "the report is not signed with a VCEK or VLEK (KEY_INFO 0x{key_info:x}); the host must not mask the chip's key"
    )]
    NotSigned {
        /// The bits of KEY_INFO.
        key_info: u32,
    },
    /// The report doesn't say which product it is of (version 2), or one that isn't known here.
    #[error("the report names no known product; version 2 reports name none")]
    Product,
    /// Reserved bytes of REPORTED_TCB aren't zero.
    #[error("REPORTED_TCB has reserved bytes that are not zero")]
    Tcb,
    /// CHIP_ID is all zero: the host masks it, and no VCEK can be found.
    #[error("CHIP_ID is all zero, which names no chip; the host must not mask it")]
    NoChip,
    /// A hardware id of another length.
    #[error("expected a hardware id of {expected} bytes, or 64 with zeros after them, got {got}")]
    Hwid {
        /// Bytes that the generation's ids have.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// `fmc` on a generation that has none, or none on Turin.
    #[error("a TCB version has `fmc` on Turin and nowhere else")]
    Fmc,
}

/// One VCEK: a chip at one TCB version. What KDS is asked for, and what a
/// cache is keyed by; the certificate itself differs with each download.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VcekId {
    generation: Generation,
    /// Zeros after the generation's bytes.
    chip: [u8; CHIP_BYTES],
    tcb: TcbVersion,
}

impl VcekId {
    /// From a chip's hardware id (64 bytes; on Turin 8, or 64 with zeros after
    /// them) and a TCB version.
    ///
    /// # Errors
    /// [`VekIdError`] if these can't belong together.
    pub fn new(generation: Generation, hwid: &[u8], tcb: TcbVersion) -> Result<Self, VekIdError> {
        let expected = generation.hwid_len();
        let wrong = VekIdError::Hwid {
            expected,
            got: hwid.len(),
        };
        let (id, rest) = hwid.split_at_checked(expected).ok_or(wrong)?;
        let padded = hwid.len() == CHIP_BYTES && rest.iter().all(|byte| *byte == 0);
        if !rest.is_empty() && !padded {
            return Err(wrong);
        }
        if id.iter().all(|byte| *byte == 0) {
            return Err(VekIdError::NoChip);
        }
        if tcb.fmc.is_some() != (generation == Generation::Turin) {
            return Err(VekIdError::Fmc);
        }
        let mut chip = [0; CHIP_BYTES];
        chip.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
        Ok(Self {
            generation,
            chip,
            tcb,
        })
    }

    /// The line of processors.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The chip's id: 64 bytes, 8 on Turin.
    #[must_use]
    pub fn hwid(&self) -> &[u8] {
        self.chip.get(..self.generation.hwid_len()).unwrap_or_default()
    }

    /// The TCB version that the key is for.
    #[must_use]
    pub const fn tcb(&self) -> &TcbVersion {
        &self.tcb
    }

    /// Path and query of the certificate at AMD's key distribution server.
    #[must_use]
    pub fn kds_path(&self) -> String {
        let TcbVersion {
            fmc,
            boot_loader,
            tee,
            snp,
            microcode,
        } = self.tcb;
        let fmc = fmc.map_or_else(String::new, |fmc| format!("fmcSPL={fmc:02}&"));
        format!(
            "/vcek/v1/{}/{}?{fmc}blSPL={boot_loader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}",
            self.generation.name(),
            hex::encode(self.hwid())
        )
    }
}

impl fmt::Debug for VcekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VcekId({} {} {})",
            self.generation.name(),
            hex::encode(self.hwid()),
            self.tcb
        )
    }
}

/// The key that signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VekId {
    /// A chip's own, which AMD hands out to anybody.
    Vcek(VcekId),
    /// A cloud provider's, which only the provider hands out.
    Vlek {
        /// The line of processors.
        generation: Generation,
        /// The TCB version that the key is for.
        tcb: TcbVersion,
    },
}

/// Why a certificate isn't the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VekMismatch {
    /// The bytes are no certificate, more than one, or name an extension twice.
    #[error("expected one DER certificate with nothing after it and no extension of AMD's twice")]
    Form,
    /// The chip's id is another one, or missing.
    #[error("the certificate is for another chip (hwID extension)")]
    Chip,
    /// A level is another one, or missing.
    #[error("the certificate is for another TCB version: expected {component} {}, got {}", level(.expected), level(.got))]
    Level {
        /// Name of the component.
        component: &'static str,
        /// The level that was asked for; `None` for no such extension.
        expected: Option<u8>,
        /// The level in the certificate.
        got: Option<u8>,
    },
}

fn level(level: &Option<u8>) -> String {
    level.map_or_else(|| "none".to_owned(), |level| level.to_string())
}

impl VekId {
    /// Of a report.
    ///
    /// # Errors
    /// [`VekIdError`] if the report doesn't say which key, product or chip.
    pub fn of(report: &SnpReport) -> Result<Self, VekIdError> {
        let info = report.key_info();
        let key = match info.signing_key() {
            Some(key) if !info.mask_chip_key() => key,
            _ => {
                return Err(VekIdError::NotSigned {
                    key_info: info.bits(),
                });
            }
        };
        let generation = report
            .cpuid()
            .and_then(Product::of)
            .ok_or(VekIdError::Product)?
            .generation();
        let tcb = report.reported_tcb(generation).ok_or(VekIdError::Tcb)?;
        match key {
            SigningKey::Vcek => VcekId::new(generation, report.chip_id().as_bytes(), tcb).map(Self::Vcek),
            SigningKey::Vlek => Ok(Self::Vlek { generation, tcb }),
        }
    }

    /// Which kind of key.
    #[must_use]
    pub const fn key(&self) -> SigningKey {
        match self {
            Self::Vcek(_) => SigningKey::Vcek,
            Self::Vlek { .. } => SigningKey::Vlek,
        }
    }

    /// The line of processors.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        match self {
            Self::Vcek(id) => id.generation,
            Self::Vlek { generation, .. } => *generation,
        }
    }

    /// The TCB version that the key is for.
    #[must_use]
    pub const fn tcb(&self) -> &TcbVersion {
        match self {
            Self::Vcek(id) => &id.tcb,
            Self::Vlek { tcb, .. } => tcb,
        }
    }

    /// Where AMD hands out the certificate; `None` for a VLEK, which only its provider has.
    #[must_use]
    pub fn kds_address(&self) -> Option<String> {
        match self {
            Self::Vcek(id) => Some(format!("{KDS_ADDRESS}{}", id.kds_path())),
            Self::Vlek { .. } => None,
        }
    }

    /// Whether a DER certificate is for exactly this chip (unless it is a
    /// VLEK's, which is of none) and TCB version.
    ///
    /// # Errors
    /// [`VekMismatch`] names the first difference.
    pub fn check(&self, certificate: &[u8]) -> Result<(), VekMismatch> {
        let extensions = extensions(certificate).ok_or(VekMismatch::Form)?;
        let find = |wanted: ObjectIdentifier| {
            let mut values = extensions.iter().filter(|(oid, _)| *oid == wanted);
            match (values.next(), values.next()) {
                (found, None) => Ok(found.map(|(_, value)| *value)),
                _ => Err(VekMismatch::Form),
            }
        };
        let TcbVersion {
            fmc,
            boot_loader,
            tee,
            snp,
            microcode,
        } = *self.tcb();
        let levels = [fmc, Some(boot_loader), Some(tee), Some(snp), Some(microcode)];
        for ((component, oid), expected) in LEVELS.into_iter().zip(levels) {
            let got = match find(oid)? {
                None => None,
                Some(value) => Some(u8::from_der(value).map_err(|_| VekMismatch::Form)?),
            };
            if got != expected {
                return Err(VekMismatch::Level {
                    component,
                    expected,
                    got,
                });
            }
        }
        match self {
            Self::Vlek { .. } => Ok(()),
            Self::Vcek(id) if find(HWID)?.is_some_and(|value| names(value, id.hwid())) => Ok(()),
            Self::Vcek(_) => Err(VekMismatch::Chip),
        }
    }
}

/// hwID is raw bytes, or in historic certificates an OCTET STRING of them.
fn names(value: &[u8], hwid: &[u8]) -> bool {
    let wrapped = || {
        AnyRef::from_der(value)
            .is_ok_and(|inner| inner.header().tag() == Tag::OctetString && inner.value() == hwid)
    };
    value == hwid || wrapped()
}

/// Identifier and value of every extension of a certificate \[RFC 5280 §4.1\].
fn extensions(certificate: &[u8]) -> Option<Vec<(ObjectIdentifier, &[u8])>> {
    if certificate.len() > MAX_CERTIFICATE_BYTES {
        return None;
    }
    let outer = AnyRef::from_der(certificate).ok()?;
    let mut outer = inside(outer, |tag| tag == Tag::Sequence)?;
    let tbs = AnyRef::decode(&mut outer).ok()?;
    let mut fields = inside(tbs, |tag| tag == Tag::Sequence)?;
    let mut found = None;
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields).ok()?;
        if is_extensions(field.header().tag()) && found.replace(field).is_some() {
            return None;
        }
    }
    let mut wrapper = inside(found?, is_extensions)?;
    let list = AnyRef::decode(&mut wrapper).ok()?;
    let mut list = inside(list, |tag| tag == Tag::Sequence)?;
    let mut extensions = Vec::new();
    while !list.is_finished() {
        let mut extension = inside(AnyRef::decode(&mut list).ok()?, |tag| tag == Tag::Sequence)?;
        let oid = ObjectIdentifier::decode(&mut extension).ok()?;
        let mut value = AnyRef::decode(&mut extension).ok()?;
        if value.header().tag() == Tag::Boolean {
            value = AnyRef::decode(&mut extension).ok()?;
        }
        if value.header().tag() != Tag::OctetString || !extension.is_finished() {
            return None;
        }
        extensions.push((oid, value.value()));
    }
    Some(extensions)
}

/// `[3]`, constructed.
fn is_extensions(tag: Tag) -> bool {
    tag == Tag::ContextSpecific {
        constructed: true,
        number: der::TagNumber(3),
    }
}

fn inside<'a>(element: AnyRef<'a>, expected: impl Fn(Tag) -> bool) -> Option<SliceReader<'a>> {
    if !expected(element.header().tag()) {
        return None;
    }
    SliceReader::new(element.value()).ok()
}

#[cfg(test)]
mod tests;
