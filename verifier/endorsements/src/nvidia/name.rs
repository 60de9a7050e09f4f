//! Names of NVIDIA's endorsements. A name says which endorsement, and is the
//! only source of file names and of paths at NVIDIA's services: all are made of
//! a few letters, digits and marks, never of text that was not looked at.

use core::fmt;
use core::str::FromStr;

use bastide_attestation::nvidia::{MAX_GPU_CRL_BYTES, MAX_OCSP_BYTES, MAX_RIM_BYTES};

/// Most characters of a manifest's id. Real ones have about 45.
const MAX_ID: usize = 120;
/// Most characters of one part of a list's path.
const MAX_PART: usize = 64;
/// Bytes of SHA-384.
const DIGEST_BYTES: usize = 48;
/// Most bytes of a serial number, a leading zero included \[RFC 5280 §4.1.2.2\].
const MAX_SERIAL: usize = 21;
/// Where NVIDIA's certificates say that lists are.
const CRL_SERVER: &str = "http://crl.ndis.nvidia.com/";

/// Id of a reference integrity manifest: letters, digits, `.` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RimId(String);

/// The text is no id of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the id of a manifest, such as `NV_GPU_DRIVER_GH100_550.90.07`: 1 to {MAX_ID} letters, digits, `.` and `_`"
)]
pub struct RimIdError;

impl RimId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RimId {
    type Err = RimIdError;

    fn from_str(text: &str) -> Result<Self, RimIdError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        // Nor `.` and `..`, which are no names in an address.
        let named = text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if named && text.len() <= MAX_ID && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RimIdError)
        }
    }
}

/// Which certificate an OCSP answer is about: its issuer's key and its serial
/// number, as in a CertID \[RFC 6960 §4.1.1\].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId {
    issuer_key: [u8; DIGEST_BYTES],
    serial: Vec<u8>,
}

impl CertificateId {
    /// Of the SHA-384 of the issuer's key and the content of the serial
    /// number's INTEGER; `None` if that is empty or longer than any.
    #[must_use]
    pub fn new(issuer_key: [u8; DIGEST_BYTES], serial: &[u8]) -> Option<Self> {
        (1..=MAX_SERIAL).contains(&serial.len()).then(|| Self {
            issuer_key,
            serial: serial.to_vec(),
        })
    }

    /// SHA-384 of the issuer's key.
    #[must_use]
    pub const fn issuer_key(&self) -> &[u8; DIGEST_BYTES] {
        &self.issuer_key
    }

    /// Content of the serial number's INTEGER, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }
}

/// Folder and file of a revocation list at NVIDIA's server, such as
/// `crl/l1-root.crl`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrlPath {
    folder: String,
    file: String,
}

impl CrlPath {
    /// Of the address in a certificate; `None` if it is at another server, or
    /// not as NVIDIA's are.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let (folder, file) = url.strip_prefix(CRL_SERVER)?.split_once('/')?;
        Self::of_parts(folder, file)
    }

    fn of_parts(folder: &str, file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".crl").unwrap_or(file);
        let plain = |part: &str| {
            (1..=MAX_PART).contains(&part.len())
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        (plain(folder) && plain(stem)).then(|| Self {
            folder: folder.to_owned(),
            file: file.to_owned(),
        })
    }
}

impl fmt::Display for CrlPath {
    /// The path, without a slash before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.file)
    }
}

/// Which of NVIDIA's endorsements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A reference integrity manifest.
    Rim(RimId),
    /// What a responder says about a certificate.
    Ocsp(CertificateId),
    /// A revocation list.
    Crl(CrlPath),
}

impl Name {
    /// Most bytes that a file or an answer of this kind has.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        match self {
            Self::Rim(_) => MAX_RIM_BYTES,
            Self::Ocsp(_) => MAX_OCSP_BYTES,
            Self::Crl(_) => MAX_GPU_CRL_BYTES,
        }
    }

    /// For people: what it is.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Rim(id) => format!("manifest {id}"),
            Self::Ocsp(id) => format!("OCSP answer on certificate {}", hex::encode(&id.serial)),
            Self::Crl(path) => format!("revocation list {path} of NVIDIA"),
        }
    }
}

impl fmt::Display for Name {
    /// The file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rim(id) => write!(f, "nvidia-rim.{id}.xml"),
            Self::Ocsp(id) => {
                let (key, serial) = (hex::encode(id.issuer_key), hex::encode(&id.serial));
                write!(f, "nvidia-ocsp.{key}.{serial}.der")
            }
            Self::Crl(path) => write!(f, "nvidia-crl.{}.{}.der", path.folder, path.file),
        }
    }
}

/// The text is no name of an endorsement of NVIDIA's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a name such as `nvidia-rim.ID.xml`, `nvidia-ocsp.KEYHASH.SERIAL.der` or `nvidia-crl.FOLDER.FILE.der`"
)]
pub struct NameError;

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = read(text).ok_or(NameError)?;
        // One name, one text: no other spelling of the same.
        if name.to_string() == text {
            Ok(name)
        } else {
            Err(NameError)
        }
    }
}

fn read(text: &str) -> Option<Name> {
    if let Some(rest) = text.strip_prefix("nvidia-rim.") {
        let id = rest.strip_suffix(".xml")?;
        return id.parse().ok().map(Name::Rim);
    }
    if let Some(rest) = text.strip_prefix("nvidia-ocsp.") {
        let (key, serial) = rest.strip_suffix(".der")?.split_once('.')?;
        let key = hex::decode(key).ok()?.try_into().ok()?;
        return CertificateId::new(key, &hex::decode(serial).ok()?).map(Name::Ocsp);
    }
    let rest = text.strip_prefix("nvidia-crl.")?;
    let (folder, file) = rest.strip_suffix(".der")?.split_once('.')?;
    CrlPath::of_parts(folder, file).map(Name::Crl)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_name() -> impl Strategy<Value = Name> {
        prop_oneof![
            "[A-Za-z][A-Za-z0-9._]{0,80}".prop_map(|id| Name::Rim(id.parse().unwrap())),
            (
                any::<[u8; 24]>(),
                proptest::collection::vec(any::<u8>(), 1..=MAX_SERIAL)
            )
                .prop_map(|(half, serial)| {
                    let key = [half, half].concat().try_into().unwrap();
                    Name::Ocsp(CertificateId::new(key, &serial).unwrap())
                }),
            ("[a-z0-9-]{1,20}", "[a-z0-9-]{1,20}(\\.crl)?")
                .prop_map(|(folder, file)| Name::Crl(CrlPath::of_parts(&folder, &file).unwrap())),
        ]
    }

    #[test]
    fn names_are_these() {
        let crl = |url| CrlPath::of_url(url).map(Name::Crl).unwrap().to_string();
        assert_eq!(
            crl("http://crl.ndis.nvidia.com/crl/l1-root.crl"),
            "nvidia-crl.crl.l1-root.crl.der"
        );
        assert_eq!(
            crl("http://crl.ndis.nvidia.com/crl-corim/l1-corim"),
            "nvidia-crl.crl-corim.l1-corim.der"
        );
        let id = CertificateId::new([0xab; 48], &[0, 0x91]).unwrap();
        let expected = format!("nvidia-ocsp.{}.0091.der", "ab".repeat(48));
        assert_eq!(Name::Ocsp(id).to_string(), expected);
        let id: RimId = "NV_GPU_DRIVER_GH100_550.90.07".parse().unwrap();
        assert_eq!(
            Name::Rim(id).to_string(),
            "nvidia-rim.NV_GPU_DRIVER_GH100_550.90.07.xml"
        );
    }

    #[test]
    fn ids_and_addresses_that_lead_elsewhere_are_refused() {
        for text in ["", ".", "..", "a/b", "a%2f", "a b", "a?b", "é", "../a", "a\n"] {
            assert!(text.parse::<RimId>().is_err(), "{text:?}");
        }
        assert!("A".repeat(MAX_ID).parse::<RimId>().is_ok());
        assert!("A".repeat(MAX_ID + 1).parse::<RimId>().is_err());
        for url in [
            "http://elsewhere.example/crl/l1-root.crl",
            "http://crl.ndis.nvidia.com/l1-root.crl",
            "http://crl.ndis.nvidia.com/crl/a/b.crl",
            "http://crl.ndis.nvidia.com/../a.crl",
            "http://crl.ndis.nvidia.com/crl/..",
            "http://crl.ndis.nvidia.com/crl/?a",
            "http://crl.ndis.nvidia.com.example/crl/a.crl",
            "http://crl.ndis.nvidia.com//a.crl",
        ] {
            assert!(CrlPath::of_url(url).is_none(), "{url}");
        }
        assert!(CertificateId::new([0; 48], &[]).is_none());
        assert!(CertificateId::new([0; 48], &[0; MAX_SERIAL + 1]).is_none());
    }

    #[test]
    fn other_spellings_are_none() {
        let key = "ab".repeat(48);
        for text in [
            "nvidia-rim.a/b.xml".to_owned(),
            "nvidia-rim..xml".to_owned(),
            "nvidia-rim.a.der".to_owned(),
            "nvidia-crl.crl.der".to_owned(),
            format!("nvidia-ocsp.{}.01.der", key.to_uppercase()),
            format!("nvidia-ocsp.{key}..der"),
            format!("nvidia-ocsp.{key}.1.der"),
            format!("nvidia-ocsp.{}.01.der", "ab".repeat(47)),
        ] {
            assert_eq!(text.parse::<Name>(), Err(NameError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_from_its_text_alone(name in any_name()) {
            let text = name.to_string();
            prop_assert_eq!(text.parse(), Ok(name));
            prop_assert!(text.len() < 200 && !text.contains(['/', '\\', '\0']) && !text.starts_with('.'));
        }

        #[test]
        fn reading_never_panics(text: String) {
            let _ = text.parse::<Name>();
            let _ = CrlPath::of_url(&text);
        }
    }
}
