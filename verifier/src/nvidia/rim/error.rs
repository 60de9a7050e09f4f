//! Why a manifest is refused.

use bastide_attestation::UnixTime;

use super::chain::ChainFault;
use super::xml::XmlFault;

/// Why bytes are not an authentic manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RimFault {
    /// Not XML of the form that manifests have.
    #[error("the manifest is not the expected XML: {0}")]
    Xml(#[from] XmlFault),
    /// XML, but not the one profile of signature and content.
    #[error("expected {0} in the manifest")]
    Profile(&'static str),
    /// A namespace that is not read here. What it adds (SVN floors, for one)
    /// could be a condition, so nothing with it is accepted.
    #[error("expected no namespace but those of RIMs and XML signatures, got `{0}`")]
    UnknownNamespace(String),
    /// The certificates do not lead to a pinned root.
    #[error("the manifest's certificates: {0}")]
    Chain(#[from] ChainFault),
    /// The document is not the one that was signed.
    #[error("expected the document's SHA-384 to be the one in its signature")]
    Digest,
    /// The signature does not verify.
    #[error("expected a signature by the manifest's signer")]
    Signature,
    /// A certificate that is not valid yet; 0 is the signer.
    #[error("certificate {index} of the manifest is valid from {from} on")]
    NotYetValid {
        /// Which certificate.
        index: usize,
        /// First second of its validity.
        from: UnixTime,
    },
    /// A certificate that is not valid any more; 0 is the signer.
    #[error("certificate {index} of the manifest expired at {since}")]
    SignerExpired {
        /// Which certificate.
        index: usize,
        /// Last second of its validity.
        since: UnixTime,
    },
}

/// Why an authentic manifest is not the one for this device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionFault {
    /// For another family of chips.
    #[error("expected a manifest for {expected}, got one for {got}")]
    Product {
        /// The device's family.
        expected: String,
        /// The manifest's.
        got: String,
    },
    /// For a GPU instead of a switch or the reverse.
    #[error("expected a manifest of edition {expected}, got {got}")]
    Edition {
        /// The device's edition.
        expected: &'static str,
        /// The manifest's.
        got: &'static str,
    },
    /// Of another driver or firmware.
    #[error("expected a manifest of version {expected}, got {got}")]
    Version {
        /// What the device reports.
        expected: String,
        /// The manifest's.
        got: String,
    },
}
