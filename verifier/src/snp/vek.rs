//! AMD's extensions in VCEK and VLEK certificates \[AMD 57230, tables 8 and 10\]:
//! product, security patch levels, chip or provider. Read by exact encoding;
//! what is missing, repeated or belongs to the other kind of key is refused.

use bastide_attestation::snp::{Generation, SigningKey, TcbVersion};

use crate::certificate::{Certificate, MAX_EXTENSIONS};
use crate::der::{Elements, Tag, small_integer};
use crate::rejection::Rejection;

/// 1.3.6.1.4.1.3704.1
const AMD: [u8; 8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];

const STRUCT_VERSION: &[u8] = &[1];
const PRODUCT_NAME: &[u8] = &[2];
const BOOT_LOADER: &[u8] = &[3, 1];
const TEE: &[u8] = &[3, 2];
const SNP: &[u8] = &[3, 3];
const MICROCODE: &[u8] = &[3, 8];
const FMC: &[u8] = &[3, 9];
const HWID: &[u8] = &[4];
const CSP_ID: &[u8] = &[5];

/// Most characters of a product name or provider.
const MAX_TEXT: usize = 128;

/// Why an extension isn't usable: the rejection, its name, what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VekFault {
    pub(crate) rejection: Rejection,
    pub(crate) extension: &'static str,
    pub(crate) got: &'static str,
}

/// What the extensions of one endorsement key say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VekExtensions<'a> {
    /// 0 for Milan and Genoa, 1 for Turin.
    pub(crate) struct_version: u8,
    /// For example `Milan-B0`, `Genoa`, `Turin`.
    pub(crate) product_name: &'a str,
    /// The TCB version that the key was derived for.
    pub(crate) tcb: TcbVersion,
    /// The chip that the key belongs to; VCEK only, of the generation's length.
    pub(crate) hwid: Option<&'a [u8]>,
    /// The provider that the key belongs to; VLEK only.
    pub(crate) provider: Option<&'a str>,
}

impl<'a> VekExtensions<'a> {
    /// Reads the extensions that a key of this kind and generation has.
    pub(crate) fn read(
        certificate: &Certificate<'a>,
        generation: Generation,
        kind: SigningKey,
    ) -> Result<Self, VekFault> {
        if certificate.duplicate_extension {
            return Err(VekFault {
                rejection: Rejection::VekExtensionDuplicate,
                extension: "extensions",
                got: "one of them twice",
            });
        }
        let reader = Reader::new(certificate);
        let fmc = match generation {
            Generation::Turin => Some(reader.level(FMC, "fmcSPL")?),
            Generation::Milan | Generation::Genoa => {
                reader.absent(FMC, "fmcSPL")?;
                None
            }
        };
        let (hwid, provider) = match kind {
            SigningKey::Vcek => {
                reader.absent(CSP_ID, "cspID")?;
                (Some(reader.hwid(generation.hwid_len())?), None)
            }
            SigningKey::Vlek => {
                reader.absent(HWID, "hwID")?;
                (None, Some(reader.text(CSP_ID, "cspID")?))
            }
        };
        Ok(Self {
            struct_version: reader.level(STRUCT_VERSION, "structVersion")?,
            product_name: reader.text(PRODUCT_NAME, "productName")?,
            tcb: TcbVersion {
                fmc,
                boot_loader: reader.level(BOOT_LOADER, "blSPL")?,
                tee: reader.level(TEE, "teeSPL")?,
                snp: reader.level(SNP, "snpSPL")?,
                microcode: reader.level(MICROCODE, "ucodeSPL")?,
            },
            hwid,
            provider,
        })
    }

    /// Whether product name and structure version are the generation's. The
    /// name may have a stepping after it: `Milan-B0`.
    pub(crate) fn is_for(&self, generation: Generation) -> bool {
        let version = match generation {
            Generation::Milan | Generation::Genoa => 0,
            Generation::Turin => 1,
        };
        let stepping = self.product_name.strip_prefix(generation.name());
        self.struct_version == version
            && stepping.is_some_and(|stepping| stepping.is_empty() || stepping.starts_with('-'))
    }
}

/// AMD's extensions, gone through once: what follows AMD's arc, and the value.
struct Reader<'a> {
    found: [(&'a [u8], &'a [u8]); MAX_EXTENSIONS],
}

impl<'a> Reader<'a> {
    fn new(certificate: &Certificate<'a>) -> Self {
        let mut found: [(&[u8], &[u8]); MAX_EXTENSIONS] = [(&[], &[]); MAX_EXTENSIONS];
        let amd = certificate
            .extensions
            .iter()
            .filter_map(|extension| Some((extension.oid.strip_prefix(&AMD)?, extension.value)));
        // INVARIANT: no certificate that parses has more.
        found.iter_mut().zip(amd).for_each(|(slot, one)| *slot = one);
        Self { found }
    }

    fn find(&self, suffix: &[u8]) -> Option<&'a [u8]> {
        self.found
            .iter()
            .find(|(oid, _)| *oid == suffix)
            .map(|(_, value)| *value)
    }

    fn required(&self, suffix: &[u8], extension: &'static str) -> Result<&'a [u8], VekFault> {
        self.find(suffix).ok_or(VekFault {
            rejection: Rejection::VekExtensionMissing,
            extension,
            got: "none",
        })
    }

    fn absent(&self, suffix: &[u8], extension: &'static str) -> Result<(), VekFault> {
        match self.find(suffix) {
            None => Ok(()),
            Some(_) => Err(VekFault {
                rejection: Rejection::VekExtensionUnexpected,
                extension,
                got: "one, which this kind of key must not have",
            }),
        }
    }

    /// An INTEGER of one content byte, or two from 128 on.
    fn level(&self, suffix: &[u8], extension: &'static str) -> Result<u8, VekFault> {
        let mut value = Elements::new(self.required(suffix, extension)?);
        let malformed = malformed(extension, "not an INTEGER from 0 to 255");
        let integer = value.expect(Tag::INTEGER, "").map_err(|_| malformed)?;
        value.finish("").map_err(|_| malformed)?;
        small_integer(integer.content).ok_or(malformed)
    }

    fn text(&self, suffix: &[u8], extension: &'static str) -> Result<&'a str, VekFault> {
        let mut value = Elements::new(self.required(suffix, extension)?);
        let malformed = malformed(extension, "not an IA5String of printable characters");
        let text = value.expect(Tag::IA5_STRING, "").map_err(|_| malformed)?;
        value.finish("").map_err(|_| malformed)?;
        core::str::from_utf8(text.content)
            .ok()
            .filter(|text| text.len() <= MAX_TEXT)
            .filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
            .ok_or(malformed)
    }

    /// hwID as raw bytes, not DER, or in historic leaves as an OCTET STRING.
    /// Told apart by length alone: a raw id may itself begin with 04 40.
    fn hwid(&self, length: usize) -> Result<&'a [u8], VekFault> {
        let value = self.required(HWID, "hwID")?;
        if value.len() == length {
            return Ok(value);
        }
        let malformed = malformed("hwID", "not the number of bytes that this generation has");
        let mut wrapped = Elements::new(value);
        let octets = wrapped.expect(Tag::OCTET_STRING, "").map_err(|_| malformed)?;
        wrapped.finish("").map_err(|_| malformed)?;
        if octets.content.len() == length {
            Ok(octets.content)
        } else {
            Err(malformed)
        }
    }
}

const fn malformed(extension: &'static str, got: &'static str) -> VekFault {
    VekFault {
        rejection: Rejection::VekExtensionMalformed,
        extension,
        got,
    }
}
