//! A plan under its owner's signature. Made only by signing or by verifying;
//! whether the owner is the expected one is asked by [`SignedPlan::owned_by`].

use crate::digest::{KeyThumbprint, PlanDigest};
use crate::hash::sha256;
use crate::receipt::ed25519_thumbprint;

use super::cose::{self, Fault};
use super::plan::{MAX_PLAN_BYTES, Plan, PlanError};

const EXTERNAL_AAD: &[u8] = b"bastide-pipeline-plan-v1";

/// Why bytes are no signed plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedPlanError {
    /// Not a COSE_Sign1 of at most 262,144 bytes.
    #[error("a signed plan is a tagged COSE_Sign1 of at most {MAX_PLAN_BYTES} bytes")]
    Format,
    /// Another algorithm than EdDSA, another key id than the owner's, or
    /// something else in the headers.
    #[error("a plan's protected header says EdDSA and the owner's key id, and nothing else")]
    Header,
    /// What is signed is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The signature does not verify.
    #[error("the plan's signature does not verify")]
    Signature,
    /// Signed by another owner.
    #[error("the plan was signed by {got}, which is none of the {known} owner(s) named")]
    Owner {
        /// Thumbprint of the key that signed it.
        got: KeyThumbprint,
        /// How many owners were named.
        known: usize,
    },
    /// Signing failed, or the plan is too long to be signed.
    #[error("signing the plan failed: no signature of the owner's key, or more than {MAX_PLAN_BYTES} bytes")]
    Signing,
}

impl From<Fault> for SignedPlanError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Format => Self::Format,
            Fault::Header => Self::Header,
        }
    }
}

/// A plan whose signature verifies under the owner's key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPlan {
    bytes: Vec<u8>,
    plan: Plan,
    owner: [u8; 32],
}

impl SignedPlan {
    /// Signs a plan. `sign` is called once with the bytes to be signed by the
    /// Ed25519 key whose public half is `owner`.
    ///
    /// # Errors
    /// [`SignedPlanError::Signing`] if `sign` gives no signature of that key,
    /// or the plan is longer than [`MAX_PLAN_BYTES`].
    pub fn sign(
        plan: &Plan,
        owner: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> Option<[u8; 64]>,
    ) -> Result<Self, SignedPlanError> {
        let kid = ed25519_thumbprint(owner);
        let bytes = cose::sign(plan.encode_payload(owner), Some(&kid), EXTERNAL_AAD, sign)
            .ok_or(SignedPlanError::Signing)?;
        // A signature by another key would be found by the enclaves; find it here.
        Self::verify(&bytes).map_err(|_| SignedPlanError::Signing)
    }

    /// Reads a plan strictly and verifies its signature by the key it names.
    ///
    /// # Errors
    /// [`SignedPlanError`] names what doesn't hold.
    pub fn verify(bytes: &[u8]) -> Result<Self, SignedPlanError> {
        let sign1 = cose::read(bytes, MAX_PLAN_BYTES)?;
        let (plan, owner) = Plan::decode_payload(sign1.payload())?;
        sign1.has_header(Some(&ed25519_thumbprint(&owner)))?;
        if !sign1.is_signed_by(&owner, EXTERNAL_AAD) {
            return Err(SignedPlanError::Signature);
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            plan,
            owner,
        })
    }

    /// Requires that one of `owners` (Ed25519 public keys) signed it.
    ///
    /// # Errors
    /// [`SignedPlanError::Owner`] if none of them did.
    pub fn owned_by(&self, owners: &[[u8; 32]]) -> Result<(), SignedPlanError> {
        if owners.contains(&self.owner) {
            Ok(())
        } else {
            Err(SignedPlanError::Owner {
                got: ed25519_thumbprint(&self.owner),
                known: owners.len(),
            })
        }
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The owner's Ed25519 public key.
    #[must_use]
    pub const fn owner(&self) -> &[u8; 32] {
        &self.owner
    }

    /// SHA-256 of the exact bytes, signature and all.
    #[must_use]
    pub fn digest(&self) -> PlanDigest {
        PlanDigest::new(sha256(&[&self.bytes]))
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
pub(crate) mod tests;
