//! An authentic manifest: what it is for, and its golden measurements. Made from
//! bytes by [`authenticate_rim`] alone. Compares nothing with a report.

mod content;

use std::sync::Arc;

use bastide_attestation::UnixTime;

use super::chain::{Chain, RimAnchor};
use super::error::{RimFault, SelectionFault};
use super::expiry::{Expiry, Standing};
use super::memo::RimMemo;
use super::signature::Signature;
use super::xml::Document;
use crate::crypto::Crypto;

use content::Content;

/// What a manifest is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    /// A GPU's driver or VBIOS.
    Gpu,
    /// An NVSwitch's firmware.
    Switch,
}

impl Edition {
    /// As manifests spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gpu => "GPU",
            Self::Switch => "SWITCH",
        }
    }
}

/// The version that a device reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version<'a> {
    /// Of its driver: compared as it is.
    Driver(&'a str),
    /// Of its VBIOS or a switch's BIOS: hexadecimal digits, of any case.
    Vbios(&'a str),
}

/// One measurement that must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Golden {
    /// Its index, 0 to 63. That of the SPDM block is one more.
    pub(crate) index: u8,
    /// The values it may have; 1 to 8.
    pub(crate) alternatives: Vec<[u8; 48]>,
}

/// What manifests are verified with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RimTrust<'t> {
    /// Roots.
    pub(crate) anchors: &'t [RimAnchor],
    /// What is done about expired signers.
    pub(crate) expiry: &'t Expiry,
    /// Signature verification.
    pub(crate) crypto: &'t dyn Crypto,
    /// What was verified before.
    pub(crate) memo: &'t RimMemo,
    /// The time.
    pub(crate) now: UnixTime,
}

/// A manifest whose chain, digest and signature verified, at whatever time.
#[derive(Debug)]
pub(super) struct Verified {
    /// Of the file.
    pub(super) sha256: [u8; 32],
    chain: Chain,
    content: Content,
}

/// A manifest that a pinned root vouches for, and that is current enough.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticRim {
    verified: Arc<Verified>,
    anchor: RimAnchor,
    standing: Standing,
}

/// Verifies a manifest, from its file.
///
/// # Errors
/// The first [`RimFault`], in the order: form, signature profile, digest,
/// certificates, signature, content, time.
pub(crate) fn authenticate_rim(file: &[u8], trust: &RimTrust<'_>) -> Result<AuthenticRim, RimFault> {
    // Asked before the file is hashed: it may be of any size.
    if file.len() > super::xml::MAX_BYTES {
        return Err(super::xml::XmlFault::TooLarge.into());
    }
    let digest = trust.crypto.sha256(file);
    let verified = match trust.memo.find(&digest) {
        Some(verified) => verified,
        None => {
            let verified = Arc::new(verify(file, digest, trust)?);
            trust.memo.remember(&verified);
            verified
        }
    };
    let anchor = verified.chain.anchor(trust.anchors)?.clone();
    let standing = trust
        .expiry
        .decide(&verified.chain.validity, &digest, trust.now)?;
    Ok(AuthenticRim {
        verified,
        anchor,
        standing,
    })
}

fn verify(file: &[u8], sha256: [u8; 32], trust: &RimTrust<'_>) -> Result<Verified, RimFault> {
    let document = Document::parse(file)?;
    let mut signature = Signature::read(&document, trust.crypto)?;
    let certificates = core::mem::take(&mut signature.certificates);
    let chain = Chain::verify(certificates, trust.anchors, trust.crypto)?;
    signature.verify(&chain.signer, trust.crypto)?;
    let content = Content::read(&document)?;
    Ok(Verified {
        sha256,
        chain,
        content,
    })
}

impl AuthenticRim {
    /// SHA-256 of the file.
    pub(crate) fn sha256(&self) -> &[u8; 32] {
        &self.verified.sha256
    }

    /// `name` of the manifest: NVIDIA's have the family of chips here too.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.verified.content.name
    }

    /// `tagId` of the manifest: lower-case hexadecimal digits.
    #[cfg(test)]
    pub(crate) fn tag_id(&self) -> &str {
        &self.verified.content.tag_id
    }

    /// `colloquialVersion`: of the driver, the VBIOS or the switch's BIOS.
    pub(crate) fn version(&self) -> &str {
        &self.verified.content.version
    }

    /// The family of chips, for example `GH100`.
    pub(crate) fn product(&self) -> &str {
        &self.verified.content.product
    }

    /// GPU or switch.
    pub(crate) fn edition(&self) -> Edition {
        self.verified.content.edition
    }

    /// The measurements that must match, by index; at least one.
    pub(crate) fn golden(&self) -> &[Golden] {
        &self.verified.content.golden
    }

    /// The certificates in DER, signer first, root last. Whether they were
    /// revoked is for whoever has the answers.
    pub(crate) fn certificates(&self) -> &[Vec<u8>] {
        &self.verified.chain.certificates
    }

    /// First and last second of each certificate's validity, signer first.
    #[cfg(test)]
    pub(crate) fn validity(&self) -> &[(UnixTime, UnixTime)] {
        &self.verified.chain.validity
    }

    /// The root that vouches for it.
    pub(crate) fn anchor(&self) -> &RimAnchor {
        &self.anchor
    }

    /// Why it is current enough.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Requires that it is the manifest for a device: of this family, edition
    /// and version.
    ///
    /// # Errors
    /// [`SelectionFault`] names the first that differs.
    pub(crate) fn require_for(
        &self,
        product: &str,
        edition: Edition,
        version: Version<'_>,
    ) -> Result<(), SelectionFault> {
        if self.product() != product {
            let (expected, got) = (product.to_owned(), self.product().to_owned());
            return Err(SelectionFault::Product { expected, got });
        }
        if self.edition() != edition {
            let (expected, got) = (edition.name(), self.edition().name());
            return Err(SelectionFault::Edition { expected, got });
        }
        let (expected, same) = match version {
            Version::Driver(version) => (version, self.version() == version),
            Version::Vbios(version) => (version, self.version().eq_ignore_ascii_case(version)),
        };
        if same {
            return Ok(());
        }
        let (expected, got) = (expected.to_owned(), self.version().to_owned());
        Err(SelectionFault::Version { expected, got })
    }
}

/// Reads the content of a document that nobody vouches for, and forgets it.
#[cfg(fuzzing)]
pub(super) fn read_unverified(document: &Document<'_>) {
    if let Ok(content) = Content::read(document) {
        assert!((1..=64).contains(&content.golden.len()));
        for golden in &content.golden {
            assert!(golden.index < 64 && (1..=8).contains(&golden.alternatives.len()));
        }
    }
}
