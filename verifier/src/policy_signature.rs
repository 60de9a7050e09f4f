//! Who stands behind a policy: k of n Ed25519 signatures \[RFC 8032\] over its
//! exact bytes, kept beside it in a small text file of one canonical form.
//! Verifies and reads; signing needs a key, which this crate never sees.

use core::fmt;
use core::str::FromStr;
use std::collections::{BTreeMap, BTreeSet};

use ring::signature::{ED25519, UnparsedPublicKey};

/// First line of a signature file; others are of another version.
pub const POLICY_SIGNATURES_HEADER: &str = "bastide.policy-signatures/v1";
/// Most signatures in a file, and most signers that can be asked for.
pub const MAX_POLICY_SIGNATURES: usize = 32;
/// Most bytes of a signature file.
pub const MAX_POLICY_SIGNATURES_BYTES: usize = 8 * 1024;
const ALGORITHM: &str = "ed25519";
const DOMAIN: &[u8] = b"bastide-policy-v1\0";

/// Why signatures of a policy can't be used, or don't suffice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicySignatureError {
    /// The file isn't what its format says.
    #[error("policy signatures, line {line}: {expected}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What should have come.
        expected: &'static str,
    },
    /// More bytes or more signatures than a file may have.
    #[error(
        "policy signatures have at most {MAX_POLICY_SIGNATURES_BYTES} bytes and {MAX_POLICY_SIGNATURES} signatures"
    )]
    TooLarge,
    /// The text is no public key.
    #[error("expected an Ed25519 public key, 64 lower-case hexadecimal digits")]
    Key,
    /// No signer was named, or more than can be.
    #[error("expected 1 to {MAX_POLICY_SIGNATURES} signers, got {got}")]
    Signers {
        /// Different keys that were named.
        got: usize,
    },
    /// A threshold that can't be met, or that anything meets.
    #[error("expected a threshold from 1 to {signers}, the number of different signers, got {got}")]
    Threshold {
        /// Different keys that were named.
        signers: usize,
        /// The threshold.
        got: usize,
    },
    /// Fewer valid signatures than were asked for.
    #[error("expected valid signatures by {threshold} of {} signers, got {}", .check.signers(), .check.valid.len())]
    NotEnough {
        /// How many were asked for.
        threshold: usize,
        /// What became of each signer.
        check: Box<PolicySignatureCheck>,
    },
}

/// An Ed25519 public key of somebody who signs policies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicySigner([u8; 32]);

impl PolicySigner {
    /// Takes the key as RFC 8032 encodes it.
    #[must_use]
    pub const fn new(public_key: [u8; 32]) -> Self {
        Self(public_key)
    }

    /// The key as RFC 8032 encodes it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PolicySigner {
    type Err = PolicySignatureError;

    fn from_str(text: &str) -> Result<Self, PolicySignatureError> {
        lower_hex(text).map(Self).ok_or(PolicySignatureError::Key)
    }
}

impl fmt::Display for PolicySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PolicySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicySigner({self})")
    }
}

/// Exactly `N` bytes in lower-case hex: one key has one spelling.
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode(text).ok()?.try_into().ok()
}

/// What is signed: a domain, the length and the exact bytes of a policy.
#[must_use]
pub fn policy_signing_input(policy: &[u8]) -> Vec<u8> {
    let length = u64::try_from(policy.len()).unwrap_or(u64::MAX);
    [DOMAIN, &length.to_be_bytes(), policy].concat()
}

/// The signatures beside a policy, at most one for each key. Nothing about
/// them is verified before [`PolicySigners::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySignatures(BTreeMap<PolicySigner, [u8; 64]>);

impl PolicySignatures {
    /// No signature yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a signature file. There is one file for each set of signatures:
    /// keys ascend, hex is in lower case, every line ends with a newline.
    ///
    /// # Errors
    /// [`PolicySignatureError`] names the first line that isn't of that form.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicySignatureError> {
        if bytes.len() > MAX_POLICY_SIGNATURES_BYTES {
            return Err(PolicySignatureError::TooLarge);
        }
        let fault = |line, expected| PolicySignatureError::Malformed { line, expected };
        let text = core::str::from_utf8(bytes).map_err(|_| fault(1, "expected text"))?;
        let Some(text) = text.strip_suffix('\n') else {
            let last = text.split('\n').count();
            return Err(fault(last, "expected a newline at the end of every line"));
        };
        let mut lines = text.split('\n');
        if lines.next() != Some(POLICY_SIGNATURES_HEADER) {
            return Err(fault(1, "expected `bastide.policy-signatures/v1`"));
        }
        let mut signatures = Self::new();
        let mut last: Option<PolicySigner> = None;
        for (index, text) in lines.enumerate() {
            let line = index.saturating_add(2);
            if index >= MAX_POLICY_SIGNATURES {
                return Err(PolicySignatureError::TooLarge);
            }
            let (signer, signature) = entry(text).ok_or_else(|| {
                fault(line, "expected `ed25519`, a public key of 64 and a signature of 128 lower-case hexadecimal digits, one space between")
            })?;
            if last.is_some_and(|last| signer <= last) {
                return Err(fault(line, "expected each key once, in ascending order"));
            }
            last = Some(signer);
            signatures.0.insert(signer, signature);
        }
        if signatures.0.is_empty() {
            return Err(fault(2, "expected at least one signature"));
        }
        Ok(signatures)
    }

    /// The file of these signatures.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{POLICY_SIGNATURES_HEADER}\n");
        for (signer, signature) in &self.0 {
            text.push_str(&format!("{ALGORITHM} {signer} {}\n", hex::encode(signature)));
        }
        text
    }

    /// Adds a signature, or replaces the one of the same key.
    ///
    /// # Errors
    /// [`PolicySignatureError::TooLarge`] if there are as many as can be.
    pub fn add(&mut self, signer: PolicySigner, signature: [u8; 64]) -> Result<(), PolicySignatureError> {
        if self.0.len() >= MAX_POLICY_SIGNATURES && !self.0.contains_key(&signer) {
            return Err(PolicySignatureError::TooLarge);
        }
        self.0.insert(signer, signature);
        Ok(())
    }

    /// Removes the signature of a key, if there is one.
    pub fn remove(&mut self, signer: &PolicySigner) {
        self.0.remove(signer);
    }

    /// Whose signatures are there, valid or not, in ascending order.
    pub fn signers(&self) -> impl Iterator<Item = &PolicySigner> {
        self.0.keys()
    }

    /// Whether the signature of `signer` is there and is one over `policy`.
    #[must_use]
    pub fn is_valid(&self, signer: &PolicySigner, policy: &[u8]) -> bool {
        self.0.get(signer).is_some_and(|signature| {
            UnparsedPublicKey::new(&ED25519, signer.as_bytes())
                .verify(&policy_signing_input(policy), signature)
                .is_ok()
        })
    }
}

fn entry(line: &str) -> Option<(PolicySigner, [u8; 64])> {
    let mut words = line.split(' ');
    let (algorithm, key, signature) = (words.next()?, words.next()?, words.next()?);
    if algorithm != ALGORITHM || words.next().is_some() {
        return None;
    }
    Some((PolicySigner(lower_hex(key)?), lower_hex(signature)?))
}

/// Whose signatures a relying party asks for, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySigners {
    signers: BTreeSet<PolicySigner>,
    threshold: usize,
}

/// What became of each signer that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySignatureCheck {
    /// Signed exactly these bytes.
    pub valid: Vec<PolicySigner>,
    /// A signature is there, but not over these bytes.
    pub invalid: Vec<PolicySigner>,
    /// No signature is there.
    pub missing: Vec<PolicySigner>,
}

impl PolicySignatureCheck {
    /// How many signers were asked for.
    #[must_use]
    pub const fn signers(&self) -> usize {
        self.valid
            .len()
            .saturating_add(self.invalid.len())
            .saturating_add(self.missing.len())
    }
}

impl PolicySigners {
    /// Asks for `threshold` of `signers`; for all of them if it isn't given. A
    /// key that is named twice counts once.
    ///
    /// # Errors
    /// [`PolicySignatureError::Signers`] or [`PolicySignatureError::Threshold`].
    pub fn new(
        signers: impl IntoIterator<Item = PolicySigner>,
        threshold: Option<usize>,
    ) -> Result<Self, PolicySignatureError> {
        let signers: BTreeSet<_> = signers.into_iter().collect();
        if signers.is_empty() || signers.len() > MAX_POLICY_SIGNATURES {
            return Err(PolicySignatureError::Signers { got: signers.len() });
        }
        let threshold = threshold.unwrap_or(signers.len());
        if threshold == 0 || threshold > signers.len() {
            return Err(PolicySignatureError::Threshold {
                signers: signers.len(),
                got: threshold,
            });
        }
        Ok(Self { signers, threshold })
    }

    /// How many have to have signed.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// Requires enough valid signatures over the exact bytes of a policy.
    /// Signatures of keys that weren't asked for are passed over.
    ///
    /// # Errors
    /// [`PolicySignatureError::NotEnough`] says what became of each signer.
    pub fn verify(
        &self,
        policy: &[u8],
        signatures: &PolicySignatures,
    ) -> Result<PolicySignatureCheck, PolicySignatureError> {
        let mut check = PolicySignatureCheck::default();
        for signer in &self.signers {
            let list = if signatures.is_valid(signer, policy) {
                &mut check.valid
            } else if signatures.0.contains_key(signer) {
                &mut check.invalid
            } else {
                &mut check.missing
            };
            list.push(*signer);
        }
        if check.valid.len() < self.threshold {
            return Err(PolicySignatureError::NotEnough {
                threshold: self.threshold,
                check: Box::new(check),
            });
        }
        Ok(check)
    }
}

#[cfg(test)]
mod tests;
