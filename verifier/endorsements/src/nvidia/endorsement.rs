//! Whether bytes are the endorsement of NVIDIA's that a name says: form, which
//! certificate, and when it was issued. No signature is verified here.

use bastide_attestation::{UnixTime, sha256};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

use super::certificate::Fields;
use super::name::Name;
use super::ocsp::{Window, read_answer};
use super::rim;
use crate::endorsement::FormError;

/// How long an answer or a list holds that doesn't say so. 24 h: NVIDIA's do.
const UNSAID_SECONDS: u64 = 24 * 60 * 60;

/// An endorsement whose form is right and which is the one of its name, except
/// that a manifest doesn't say its id. Nothing about it is authentic yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Endorsement {
    name: Name,
    bytes: Vec<u8>,
    window: Window,
}

impl core::fmt::Debug for Endorsement {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endorsement")
            .field("name", &self.name)
            .field("bytes", &self.bytes.len())
            .field("window", &self.window)
            .finish()
    }
}

impl Endorsement {
    /// Reads what a file, an import or a service gave for `name`.
    ///
    /// # Errors
    /// [`FormError`] says what was expected and what came.
    pub fn read(name: Name, bytes: &[u8]) -> Result<Self, FormError> {
        let limit = name.max_bytes();
        if bytes.len() > limit {
            return Err(FormError::TooLarge { limit });
        }
        let window = match &name {
            Name::Rim(_) => read_rim(bytes)?,
            Name::Ocsp(id) => read_answer(bytes, id)?,
            Name::Crl(_) => read_list(bytes)?,
        };
        Ok(Self {
            name,
            bytes: bytes.to_vec(),
            window,
        })
    }

    /// Which it is.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The bytes as received.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same as one's own.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&[&self.bytes])
    }

    /// When it was issued: an answer's or a list's thisUpdate, of a manifest the
    /// notBefore of the certificate that signed it, which is renewed with it.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.window.this_update
    }

    /// Whether half the time has passed for which an answer or a list holds. A
    /// manifest is never due: it holds as long as it is the one that is published.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        if matches!(self.name, Name::Rim(_)) {
            return false;
        }
        let from = self.window.this_update.as_secs();
        let until = self
            .window
            .next_update
            .map_or_else(|| from.saturating_add(UNSAID_SECONDS), UnixTime::as_secs);
        now.as_secs() >= from.saturating_add(until.saturating_sub(from) / 2)
    }

    /// DER of the certificates in a manifest, leaf first; of other kinds none.
    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        match &self.name {
            Name::Rim(_) => core::str::from_utf8(&self.bytes)
                .ok()
                .and_then(rim::certificates)
                .unwrap_or_default(),
            Name::Ocsp(_) | Name::Crl(_) => Vec::new(),
        }
    }
}

fn read_rim(bytes: &[u8]) -> Result<Window, FormError> {
    let expected = "a manifest: XML that begins with <SoftwareIdentity>, with 1 to 4 certificates in it";
    let refuse = || FormError::Encoding { expected };
    let text = core::str::from_utf8(bytes).map_err(|_| refuse())?;
    if !text.starts_with("<SoftwareIdentity ") {
        return Err(if text.trim_start().starts_with('<') {
            FormError::WebPage { expected }
        } else {
            refuse()
        });
    }
    if !text.trim_end().ends_with("</SoftwareIdentity>") {
        return Err(refuse());
    }
    let chain = rim::certificates(text).ok_or_else(refuse)?;
    let signer = chain.first().and_then(|der| Fields::read(der));
    let this_update = signer.and_then(|signer| signer.issued()).ok_or_else(refuse)?;
    Ok(Window {
        this_update,
        next_update: None,
    })
}

fn read_list(bytes: &[u8]) -> Result<Window, FormError> {
    let list: CertificateList =
        CertificateList::from_der(bytes).map_err(|_| FormError::not("a revocation list in DER", bytes))?;
    let seconds = |time: Time| UnixTime::from_secs(time.to_unix_duration().as_secs());
    Ok(Window {
        this_update: seconds(list.tbs_cert_list.this_update),
        next_update: list.tbs_cert_list.next_update.map(seconds),
    })
}

#[cfg(test)]
mod tests;
