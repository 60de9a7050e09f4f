//! Lane K's key: Ed25519, made in aws-lc and never taken out of it. It signs a
//! session's binder beside a statement, and nothing else.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bastide_attestation::binding::session_message;
use bastide_attestation::{Binder, SessionSignature, StatementDigest};

/// No session key could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no session key could be made: the operating system gave no random bytes")]
pub struct NoSessionKey;

/// The key of lane K. Clones share it; it shows its public half alone.
#[derive(Clone)]
pub struct SessionKey {
    pair: Arc<Ed25519KeyPair>,
    public: [u8; 32],
}

impl core::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// By the public half.
impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for SessionKey {}

impl SessionKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`NoSessionKey`] without random bytes.
    pub fn generate() -> Result<Self, NoSessionKey> {
        let pair = Ed25519KeyPair::generate().map_err(|_| NoSessionKey)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoSessionKey)?;
        Ok(Self {
            pair: Arc::new(pair),
            public,
        })
    }

    /// The public half, as statements name it.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Signs a session's binder and the statement that it builds on.
    pub(super) fn sign(&self, binder: &Binder, statement: &StatementDigest) -> Option<SessionSignature> {
        let signature = self.pair.try_sign(&session_message(binder, statement)).ok()?;
        signature.as_ref().try_into().ok().map(SessionSignature::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_this_key_this_session_and_this_statement() {
        let (key, other) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
        assert_ne!(key, other);
        let (binder, statement) = (Binder::new([1; 32]), StatementDigest::new([2; 32]));
        let signature = key.sign(&binder, &statement).unwrap();
        assert!(signature.verifies(key.public(), &binder, &statement));
        assert!(!signature.verifies(other.public(), &binder, &statement));
        assert!(!signature.verifies(key.public(), &Binder::new([3; 32]), &statement));
        assert!(!signature.verifies(key.public(), &binder, &StatementDigest::new([3; 32])));
        assert_eq!(format!("{key:?}"), "SessionKey(..)");
    }
}
