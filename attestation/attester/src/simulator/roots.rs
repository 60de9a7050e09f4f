//! The simulation roots: keys that are public on purpose (`keys/README.md`)
//! and the certificates made from them.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::KeyPair as _;
use bastide_attestation::AttesterError;

use super::certificate;
use super::chip::Generation;

/// A certificate authority of the simulation.
pub(super) struct Authority {
    /// Its common name.
    pub(super) name: String,
    /// Its key, which everybody knows.
    pub(super) key: RsaKeyPair,
}

impl Authority {
    fn load(name: String, pkcs8: &[u8]) -> Result<Self, Unspecified> {
        let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| Unspecified)?;
        Ok(Self { name, key })
    }

    /// DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> Result<Vec<u8>, Unspecified> {
        Ok(self.key.public_key().as_der()?.as_ref().to_vec())
    }
}

/// Both authorities of one generation.
pub(super) struct Roots {
    pub(super) ark: Authority,
    pub(super) ask: Authority,
    pub(super) ark_certificate: &'static [u8],
    pub(super) ask_certificate: &'static [u8],
}

struct Files {
    ark_key: &'static [u8],
    ask_key: &'static [u8],
    ark_certificate: &'static [u8],
    ask_certificate: &'static [u8],
}

const GENOA: Files = Files {
    ark_key: include_bytes!("keys/ark-genoa.pk8.der"),
    ask_key: include_bytes!("keys/ask-genoa.pk8.der"),
    ark_certificate: include_bytes!("keys/ark-genoa.der"),
    ask_certificate: include_bytes!("keys/ask-genoa.der"),
};

const TURIN: Files = Files {
    ark_key: include_bytes!("keys/ark-turin.pk8.der"),
    ask_key: include_bytes!("keys/ask-turin.pk8.der"),
    ark_certificate: include_bytes!("keys/ark-turin.der"),
    ask_certificate: include_bytes!("keys/ask-turin.der"),
};

impl Roots {
    pub(super) fn load(generation: Generation) -> Result<Self, Unspecified> {
        let files = match generation {
            Generation::Genoa => GENOA,
            Generation::Turin => TURIN,
        };
        let product = generation.name();
        Ok(Self {
            ark: Authority::load(format!("ARK-{product}"), files.ark_key)?,
            ask: Authority::load(format!("SEV-{product}"), files.ask_key)?,
            ark_certificate: files.ark_certificate,
            ask_certificate: files.ask_certificate,
        })
    }
}

/// DER certificates of a generation's simulation roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootCertificates {
    /// The root, self-signed.
    pub ark: Vec<u8>,
    /// The intermediate, signed by the root.
    pub ask: Vec<u8>,
}

/// The certificates as committed, which every simulator hands out.
#[must_use]
pub fn certificates(generation: Generation) -> RootCertificates {
    let files = match generation {
        Generation::Genoa => GENOA,
        Generation::Turin => TURIN,
    };
    RootCertificates {
        ark: files.ark_certificate.to_vec(),
        ask: files.ask_certificate.to_vec(),
    }
}

/// Builds the certificates anew from the committed keys. All but the
/// signatures, which are randomised, equals the committed files.
///
/// # Errors
/// [`AttesterError::Unavailable`] if a key can't be read or a signature fails.
pub fn mint(generation: Generation) -> Result<RootCertificates, AttesterError> {
    let build = || {
        let roots = Roots::load(generation)?;
        Ok(RootCertificates {
            ark: certificate::ark(&roots.ark, generation)?,
            ask: certificate::ask(&roots.ark, &roots.ask, generation)?,
        })
    };
    build().map_err(|Unspecified| AttesterError::Unavailable {
        reason: "the simulation roots' keys can't be used".to_owned(),
    })
}
