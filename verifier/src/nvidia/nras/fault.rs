//! Why what NRAS said doesn't count: one variant for each fault. `token` is the
//! name of the token in the bundle: `JWT` for the overall one, or a GPU's.

use bastide_attestation::{JsonError, UnixTime};

use super::{MAX_BUNDLE_BYTES, MAX_JWKS_BYTES, MAX_TOKEN_BYTES};

/// The first check that a bundle did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NrasFault {
    /// More bytes of key set than may come.
    #[error("a key set has at most {MAX_JWKS_BYTES} bytes, got {got}")]
    JwksTooLarge {
        /// What came.
        got: usize,
    },
    /// Not JSON, or JSON that repeats a key.
    #[error("key set: {0}")]
    JwksJson(JsonError),
    /// Not a key set.
    #[error("key set: expected {expected}")]
    Jwks {
        /// What should have come.
        expected: &'static str,
    },
    /// Two keys with one name.
    #[error("key set: two keys are called `{kid}`")]
    DuplicateKid {
        /// The name, cut and filtered.
        kid: String,
    },
    /// More bytes of bundle than may come.
    #[error("a bundle has at most {MAX_BUNDLE_BYTES} bytes, got {got}")]
    BundleTooLarge {
        /// What came.
        got: usize,
    },
    /// Not JSON, or JSON that repeats a key.
    #[error("bundle: {0}")]
    BundleJson(JsonError),
    /// Not a bundle.
    #[error("bundle: expected {expected}")]
    Bundle {
        /// What should have come.
        expected: &'static str,
    },
    /// Tokens of another number of GPUs.
    #[error("tokens of {expected} GPU(s) were expected, got {got}")]
    GpuCount {
        /// How many were expected.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// More bytes of token than may come.
    #[error("{token}: a token has at most {MAX_TOKEN_BYTES} bytes, got {got}")]
    TokenTooLarge {
        /// Which.
        token: String,
        /// What came.
        got: usize,
    },
    /// Not a signed token in the compact form.
    #[error("{token}: expected {expected}")]
    Token {
        /// Which.
        token: String,
        /// What should have come.
        expected: &'static str,
    },
    /// Header or claims are not JSON, or repeat a key.
    #[error("{token}: {fault}")]
    TokenJson {
        /// Which.
        token: String,
        /// Why.
        fault: JsonError,
    },
    /// Another algorithm than ES384.
    #[error("{token}: signed with `{got}`, expected ES384")]
    Algorithm {
        /// Which.
        token: String,
        /// The algorithm it names, cut and filtered.
        got: String,
    },
    /// A key that isn't in the set.
    #[error("{token}: the key set has no key `{kid}`")]
    KidUnknown {
        /// Which.
        token: String,
        /// The key it names, cut and filtered.
        kid: String,
    },
    /// A key of the set that is none for ES384.
    #[error("{token}: key `{kid}` is not for ES384")]
    KeyUnusable {
        /// Which.
        token: String,
        /// The key it names, cut and filtered.
        kid: String,
    },
    /// The key did not sign it.
    #[error("{token}: the signature does not verify")]
    Signature {
        /// Which.
        token: String,
    },
    /// A claim that must be there is missing or of another kind.
    #[error("{token}: no usable claim `{claim}`; expected {expected}")]
    Claim {
        /// Which.
        token: String,
        /// The claim.
        claim: String,
        /// What should have come.
        expected: &'static str,
    },
    /// Issued by someone else.
    #[error("{token}: issued by `{got}`")]
    Issuer {
        /// Which.
        token: String,
        /// Who, cut and filtered.
        got: String,
    },
    /// About something else.
    #[error("{token}: about `{got}`")]
    Subject {
        /// Which.
        token: String,
        /// What, cut and filtered.
        got: String,
    },
    /// Not valid yet.
    #[error("{token}: valid from {from}, not at {now}")]
    NotYetValid {
        /// Which.
        token: String,
        /// The later of when it was issued and when it becomes valid.
        from: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// Not valid any more.
    #[error("{token}: expired at {at}, it is {now}")]
    Expired {
        /// Which.
        token: String,
        /// When.
        at: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// The answer to another challenge.
    #[error("{token}: its nonce is `{got}`, not the expected one")]
    NonceMismatch {
        /// Which.
        token: String,
        /// The nonce it has, cut and filtered.
        got: String,
    },
    /// The overall token speaks of a device whose token isn't there.
    #[error("the overall token names {device}, whose token is missing")]
    TokenMissing {
        /// Which.
        device: String,
    },
    /// The overall token doesn't speak of a device.
    #[error("the overall token does not name {device}")]
    SubmodMissing {
        /// Which.
        device: String,
    },
    /// A device's token isn't the one that the overall token speaks of.
    #[error("{device}: its token has another digest than in the overall token")]
    DigestMismatch {
        /// Which.
        device: String,
    },
    /// A version of claims that isn't known.
    #[error("{token}: version `{got}` of the claims is not known")]
    ClaimsVersion {
        /// Which.
        token: String,
        /// The version, cut and filtered.
        got: String,
    },
    /// A check that the service made, and that the device did not pass.
    #[error("{device}: `{claim}` is not as expected")]
    NotPassed {
        /// Which.
        device: String,
        /// The claim; of a certificate chain, with the chain's claim before it.
        claim: String,
    },
    /// One device with two tokens.
    #[error("{device} is {same_as} again")]
    DuplicateDevice {
        /// Which.
        device: String,
        /// Which one before it.
        same_as: String,
    },
    /// The service says that the machine did not pass.
    #[error("the overall result is not `true`")]
    OverallResult,
}

/// Foreign text for a verdict: cut and filtered.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .map(|character| match character {
            ' '..='~' => character,
            _ => '?',
        })
        .collect()
}
