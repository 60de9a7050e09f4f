//! Whether bytes are the endorsement that a name says: form, subject, issuer,
//! chip and TCB version, and when it was issued. No signature is verified here.

use bastide_attestation::UnixTime;
use bastide_attestation::encoding::{EncodingError, Kind, objects};
use bastide_attestation::snp::{Generation, SigningKey, VekId, VekMismatch};
use der::pem::LineEnding;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::name::Name as DistinguishedName;
use x509_cert::time::Time;

use crate::name::Name;

/// Why bytes aren't the endorsement that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// More bytes than the kind has.
    #[error("expected at most {limit} bytes")]
    TooLarge {
        /// Most bytes of this kind.
        limit: usize,
    },
    /// A web page, as proxies and sign-in portals send instead.
    #[error("expected {expected}, got text that begins like a web page; a proxy may have answered instead")]
    WebPage {
        /// What was expected.
        expected: &'static str,
    },
    /// Not the encoding that was expected, cut short, or with bytes after it.
    #[error("expected {expected} and nothing after it")]
    Encoding {
        /// What was expected.
        expected: &'static str,
    },
    /// PEM that can't be read.
    #[error("expected a chain in PEM: {0}")]
    Pem(EncodingError),
    /// Another number of certificates than the two of a chain.
    #[error("expected the ASK or ASVK and the ARK, got {got} certificates")]
    ChainLength {
        /// Certificates that came.
        got: usize,
    },
    /// Another subject or issuer.
    #[error("expected {role} `{expected}`, got `{got}`")]
    CommonName {
        /// Whose name.
        role: &'static str,
        /// The common name that was expected.
        expected: String,
        /// The one that came, cut to 64 characters; empty if there is none.
        got: String,
    },
    /// A certificate of another chip or TCB version.
    #[error(transparent)]
    Vek(#[from] VekMismatch),
    /// Not the JSON that a RIM service answers with.
    #[error("expected JSON with id, rim, sha256 and rim_format, each once")]
    Json,
    /// Another manifest than the one that was asked for.
    #[error("expected the manifest `{expected}`, got `{got}`")]
    OtherRim {
        /// The id that was asked for.
        expected: String,
        /// The id that came, cut to 64 characters.
        got: String,
    },
    /// A manifest in a format that isn't read here.
    #[error("expected a manifest in the format `TCG`, got `{got}`")]
    RimFormat {
        /// The format, cut to 64 characters.
        got: String,
    },
    /// A manifest that isn't in base64, or not strictly.
    #[error("expected a manifest in base64, padded and without line ends")]
    RimBase64,
    /// A manifest of another digest than the answer says.
    #[error("the manifest has SHA-256 {got}, the answer says {expected}")]
    RimDigest {
        /// Digest in the answer, hex; cut to 64 characters.
        expected: String,
        /// Digest of the manifest, hex.
        got: String,
    },
    /// An OCSP responder that has no answer.
    #[error("expected an OCSP response that is successful, got status {status}{}", ocsp_status(*.status))]
    OcspStatus {
        /// OCSPResponseStatus \[RFC 6960 §4.2.1\].
        status: u8,
    },
    /// An OCSP answer about another certificate, or with another hash algorithm.
    #[error("expected an answer about the certificate that was asked about, with digests of SHA-384")]
    OtherCertificate,
    /// A certificate that the next one did not issue.
    #[error("expected each certificate to be issued by the next, going by their names")]
    Issuer,
}

impl FormError {
    /// What to say of bytes that don't decode.
    pub(crate) fn not(expected: &'static str, bytes: &[u8]) -> Self {
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'<') => Self::WebPage { expected },
            _ => Self::Encoding { expected },
        }
    }
}

/// Text that came from elsewhere, as it may be shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

const fn ocsp_status(status: u8) -> &'static str {
    match status {
        1 => " (malformedRequest)",
        2 => " (internalError)",
        3 => " (tryLater)",
        5 => " (sigRequired)",
        6 => " (unauthorized: it does not serve this certificate)",
        _ => "",
    }
}

/// An endorsement whose form is right and which is the one of its name.
/// Nothing about it is authentic yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    name: Name,
    objects: Vec<Vec<u8>>,
    issued: UnixTime,
}

impl Endorsement {
    /// Reads what a file, an import or a server gave for `name`.
    ///
    /// # Errors
    /// [`FormError`] says what was expected and what came.
    pub fn read(name: Name, bytes: &[u8]) -> Result<Self, FormError> {
        let limit = name.max_bytes();
        if bytes.len() > limit {
            return Err(FormError::TooLarge { limit });
        }
        let (objects, issued) = match &name {
            Name::Vcek(id) => {
                let expected = "a certificate in DER";
                let certificate = certificate(bytes, expected)?;
                VekId::Vcek(*id).check(bytes)?;
                let issuer = intermediate(id.generation(), SigningKey::Vcek);
                require("issuer", certificate.tbs_certificate().issuer(), &issuer)?;
                require("subject", certificate.tbs_certificate().subject(), "SEV-VCEK")?;
                (vec![bytes.to_vec()], issue_time(&certificate))
            }
            Name::Chain(generation, key) => read_chain(bytes, *generation, *key)?,
            Name::Crl(generation, _) => {
                let expected = "a revocation list in DER";
                let list: CertificateList =
                    CertificateList::from_der(bytes).map_err(|_| FormError::not(expected, bytes))?;
                let list = list.tbs_cert_list;
                require("issuer", &list.issuer, &root(*generation))?;
                (vec![bytes.to_vec()], seconds(list.this_update))
            }
        };
        Ok(Self {
            name,
            objects,
            issued,
        })
    }

    /// Which it is.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// DER of each object: one, or for a chain ASK or ASVK and ARK.
    #[must_use]
    pub fn objects(&self) -> &[Vec<u8>] {
        &self.objects
    }

    /// The same as one's own.
    #[must_use]
    pub fn into_objects(self) -> Vec<Vec<u8>> {
        self.objects
    }

    /// When it was issued: a certificate's notBefore, the later one in a chain,
    /// a list's thisUpdate.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.issued
    }

    /// The bytes of its file: DER as received, or a chain in PEM.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match &self.name {
            Name::Vcek(_) | Name::Crl(..) => self.objects.concat(),
            Name::Chain(..) => self
                .objects
                .iter()
                .filter_map(|der| {
                    der::pem::encode_string(Kind::Certificate.label(), LineEnding::LF, der).ok()
                })
                .collect::<String>()
                .into_bytes(),
        }
    }
}

fn read_chain(
    bytes: &[u8],
    generation: Generation,
    key: SigningKey,
) -> Result<(Vec<Vec<u8>>, UnixTime), FormError> {
    let expected = "a chain in PEM";
    let found = objects(bytes, Kind::Certificate).map_err(|error| match FormError::not(expected, bytes) {
        page @ FormError::WebPage { .. } => page,
        _ => FormError::Pem(error),
    })?;
    let [lower, upper] = found.as_slice() else {
        return Err(FormError::ChainLength { got: found.len() });
    };
    let mut issued = UnixTime::from_secs(0);
    for (role, der, subject) in [
        ("ASK or ASVK", lower, intermediate(generation, key)),
        ("ARK", upper, root(generation)),
    ] {
        let certificate = certificate(der, expected)?;
        let fields = certificate.tbs_certificate();
        require(role, fields.subject(), &subject)?;
        require("issuer", fields.issuer(), &root(generation))?;
        issued = issued.max(issue_time(&certificate));
    }
    Ok((found, issued))
}

fn certificate(der: &[u8], expected: &'static str) -> Result<Certificate, FormError> {
    Certificate::from_der(der).map_err(|_| FormError::not(expected, der))
}

fn root(generation: Generation) -> String {
    format!("ARK-{}", generation.name())
}

fn intermediate(generation: Generation, key: SigningKey) -> String {
    match key {
        SigningKey::Vcek => format!("SEV-{}", generation.name()),
        SigningKey::Vlek => format!("SEV-VLEK-{}", generation.name()),
    }
}

fn require(role: &'static str, name: &DistinguishedName, expected: &str) -> Result<(), FormError> {
    let got = match name.common_name() {
        Ok(Some(common_name)) => common_name.value().into_owned(),
        _ => String::new(),
    };
    if got == expected {
        return Ok(());
    }
    Err(FormError::CommonName {
        role,
        expected: expected.to_owned(),
        got: shown(&got),
    })
}

fn issue_time(certificate: &Certificate) -> UnixTime {
    seconds(certificate.tbs_certificate().validity().not_before)
}

fn seconds(time: Time) -> UnixTime {
    UnixTime::from_secs(time.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests;
