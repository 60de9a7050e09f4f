//! The four certificates in a manifest's signature: signer, two intermediates
//! and the pinned root \[RFC 5280 §6; nvidia CoRIM PKI\]. Verifies their form,
//! names and signatures, which never change; their time is [`super::expiry`]'s.

use bastide_attestation::{SpkiDigest, UnixTime, binding, sha256};

use crate::anchors::{Pin, unhex};
use crate::certificate::{Certificate, PublicKey, common_name};
use crate::crypto::Crypto;
use crate::der::Fault;
use crate::ecdsa::{fixed_width, require_ecdsa_sha384};
use crate::nvidia::usage;

/// Certificates of a manifest, signer first.
pub(crate) const CHAIN_LENGTH: usize = 4;

/// A root that manifests are believed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RimAnchor {
    /// Name for verdicts.
    pub(crate) name: String,
    /// The root's certificate.
    pub(crate) root: Pin,
    /// Whether its private key is public and nothing under it is confidential.
    pub(crate) simulated: bool,
    /// Whether a policy added it, as opposed to being pinned in this crate.
    pub(crate) added_by_policy: bool,
}

impl RimAnchor {
    /// `NVIDIA CoRIM signing Root CA`, serial number
    /// 45DAE3A00E5037BDDF875375ECB5E270, valid to 2053-03-08.
    pub(crate) fn nvidia() -> Self {
        Self {
            name: "NVIDIA CoRIM signing Root CA".to_owned(),
            root: Pin {
                spki: SpkiDigest::new(NVIDIA_SPKI),
                certificate: Some(NVIDIA_CERTIFICATE),
            },
            simulated: false,
            added_by_policy: false,
        }
    }
}

/// SHA-256 of the root's SubjectPublicKeyInfo.
const NVIDIA_SPKI: [u8; 32] = unhex("dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3");
/// SHA-256 of the root's certificate.
const NVIDIA_CERTIFICATE: [u8; 32] =
    unhex("12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1");

/// Why the certificates of a manifest do not vouch for it. An index counts from
/// 0, the signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainFault {
    /// Another number of certificates.
    #[error("expected {CHAIN_LENGTH} certificates, got {0}")]
    Length(usize),
    /// Not a certificate.
    #[error("expected {expected} in certificate {index}")]
    Malformed {
        /// Which certificate.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Another signature algorithm or another kind of key.
    #[error("expected {expected} in certificate {index}")]
    Algorithm {
        /// Which certificate.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// A name that a certificate at this place never has.
    #[error("expected the common name `{expected}` in certificate {index}")]
    Name {
        /// Which certificate.
        index: usize,
        /// The name, with `*` for what may vary.
        expected: &'static str,
    },
    /// Not a certificate authority, or one where the signer should be.
    #[error("expected {expected} in certificate {index}")]
    Authority {
        /// Which certificate.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// An authority that allows fewer authorities below it than there are.
    #[error("expected certificate {index} to allow {below} authorities below it, it allows {allowed}")]
    PathLength {
        /// Which certificate.
        index: usize,
        /// How many there are.
        below: u8,
        /// How many it allows.
        allowed: u8,
    },
    /// A key that is not for this.
    #[error("expected {expected} in certificate {index}")]
    KeyUsage {
        /// Which certificate.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Not issued by the next certificate.
    #[error("expected certificate {index} to be issued by the one after it: {expected}")]
    Link {
        /// Which certificate.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// A root that is not pinned.
    #[error("expected a pinned root, got sha256:{spki}")]
    RootNotPinned {
        /// Digest of the key in the root that came.
        spki: SpkiDigest,
    },
}

/// What is known of a chain whose signatures verified, whatever the time.
#[derive(Debug)]
pub(super) struct Chain {
    /// The certificates' DER, signer first.
    pub(super) certificates: Vec<Vec<u8>>,
    /// First and last second of each, in the same order.
    pub(super) validity: Vec<(UnixTime, UnixTime)>,
    /// The uncompressed point of the signer's key.
    pub(super) signer: Vec<u8>,
    /// Digest of the root's key.
    root_spki: SpkiDigest,
    /// SHA-256 of the root's certificate.
    root_certificate: [u8; 32],
}

impl Chain {
    /// The anchor that the chain ends in. Asked at every appraisal: a policy may
    /// have other anchors than the one before.
    pub(super) fn anchor<'t>(&self, anchors: &'t [RimAnchor]) -> Result<&'t RimAnchor, ChainFault> {
        anchors
            .iter()
            .find(|anchor| {
                let whole = anchor.root.certificate;
                anchor.root.spki == self.root_spki && whole.is_none_or(|pin| pin == self.root_certificate)
            })
            .ok_or(ChainFault::RootNotPinned { spki: self.root_spki })
    }

    /// Verifies everything about four certificates but time, and that the root
    /// is one of `anchors` before any signature is.
    pub(super) fn verify(
        certificates: Vec<Vec<u8>>,
        anchors: &[RimAnchor],
        crypto: &dyn Crypto,
    ) -> Result<Self, ChainFault> {
        if certificates.len() != CHAIN_LENGTH {
            return Err(ChainFault::Length(certificates.len()));
        }
        let parsed = certificates
            .iter()
            .enumerate()
            .map(|(index, der)| {
                Certificate::parse(der).map_err(|Fault(expected)| ChainFault::Malformed { index, expected })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (Some(signer), Some(root)) = (parsed.first(), parsed.last()) else {
            return Err(ChainFault::Length(0));
        };
        let chain = Self {
            certificates: Vec::new(),
            validity: parsed.iter().map(|one| (one.not_before, one.not_after)).collect(),
            signer: point(signer, 0)?.to_vec(),
            root_spki: binding::spki_digest(root.spki),
            root_certificate: sha256(&[root.der]),
        };
        chain.anchor(anchors)?;
        for (index, certificate) in parsed.iter().enumerate() {
            require_fit(certificate, index)?;
        }
        let issuers = parsed.iter().skip(1).chain([root]);
        for (index, (certificate, issuer)) in parsed.iter().zip(issuers).enumerate() {
            require_issued(certificate, issuer, index, crypto)?;
        }
        Ok(Self {
            certificates,
            ..chain
        })
    }
}

/// Requires what the certificate at a place must be, short of its signature.
fn require_fit(certificate: &Certificate<'_>, index: usize) -> Result<(), ChainFault> {
    require_ecdsa_sha384(certificate.algorithm)
        .map_err(|Fault(expected)| ChainFault::Algorithm { index, expected })?;
    point(certificate, index)?;
    let authority = |Fault(expected)| ChainFault::Authority { index, expected };
    if certificate.duplicate_extension {
        return Err(authority(Fault("no extension twice")));
    }
    let (expected, fits): (_, fn(&str) -> bool) = match index {
        0 => ("HCC RIM L4 Signer` or `NVIDIA Reference Value L4 *", |name| {
            name == "HCC RIM L4 Signer" || name.starts_with("NVIDIA Reference Value L4 ")
        }),
        1 => ("NVIDIA Reference Value L3 *", |name| {
            name.starts_with("NVIDIA Reference Value L3 ")
        }),
        2 => ("NVIDIA Reference Value * CA", |name| {
            name.starts_with("NVIDIA Reference Value ") && name.ends_with(" CA")
        }),
        // The root is pinned.
        _ => ("*", |_| true),
    };
    if !common_name(certificate.subject).is_some_and(fits) {
        return Err(ChainFault::Name { index, expected });
    }
    let usage_fault = |Fault(expected)| ChainFault::KeyUsage { index, expected };
    let Some(below) = index.checked_sub(1) else {
        certificate.require_end_entity().map_err(authority)?;
        usage::require_digital_signature(certificate).map_err(usage_fault)?;
        // The same authorities issue to OCSP responders, which sign no manifest.
        let purposes = usage::purposes(certificate).map_err(usage_fault)?;
        if !purposes.is_empty() {
            return Err(usage_fault(Fault("no extKeyUsage")));
        }
        return Ok(());
    };
    certificate.require_authority().map_err(authority)?;
    if let Some(allowed) = certificate.path_length().map_err(authority)?
        && usize::from(allowed) < below
    {
        let below = u8::try_from(below).unwrap_or(u8::MAX);
        return Err(ChainFault::PathLength {
            index,
            below,
            allowed,
        });
    }
    Ok(())
}

fn require_issued(
    certificate: &Certificate<'_>,
    issuer: &Certificate<'_>,
    index: usize,
    crypto: &dyn Crypto,
) -> Result<(), ChainFault> {
    let link = |expected| ChainFault::Link { index, expected };
    if certificate.issuer != issuer.subject {
        return Err(link("its subject as issuer"));
    }
    let signature = fixed_width(certificate.signature).map_err(|Fault(expected)| link(expected))?;
    if crypto.p384_sha384_verify(point(issuer, index + 1)?, certificate.tbs, &signature) {
        Ok(())
    } else {
        Err(link("a signature by its key"))
    }
}

fn point<'a>(certificate: &Certificate<'a>, index: usize) -> Result<&'a [u8], ChainFault> {
    match certificate.key {
        PublicKey::P384(point) => Ok(point),
        _ => Err(ChainFault::Algorithm {
            index,
            expected: "a key on P-384",
        }),
    }
}
