//! What this boot is: a random id, the receipt key and the session key, made
//! in memory and gone with the process. No key is ever written or printed.

use std::sync::Arc;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bastide_attestation::{BootId, KeyThumbprint, Salt, ed25519_thumbprint};
use bastide_attested_tls::{NoSessionKey, SessionKey};

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the random number generator failed; nothing can be kept secret without it")]
pub struct NoRandomness;

impl From<NoSessionKey> for NoRandomness {
    fn from(_: NoSessionKey) -> Self {
        Self
    }
}

/// Identity and keys of one boot.
#[derive(Debug)]
pub struct Boot {
    /// Random identity of this boot.
    pub id: BootId,
    /// Signs receipts.
    pub receipts: Arc<ReceiptKey>,
    /// Signs sessions of clients that have seen its public half in a report
    /// lately (lane K). The first one: it is replaced from time to time.
    pub session_key: SessionKey,
}

impl Boot {
    /// Draws a new identity.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system gives no random numbers.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self {
            id: BootId::new(random()?),
            receipts: Arc::new(ReceiptKey::generate()?),
            session_key: SessionKey::generate()?,
        })
    }
}

/// The Ed25519 key that signs receipts.
pub struct ReceiptKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl core::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ReceiptKey(..)")
    }
}

impl ReceiptKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system gives no random numbers.
    pub fn generate() -> Result<Self, NoRandomness> {
        let pair = Ed25519KeyPair::generate().map_err(|_| NoRandomness)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| NoRandomness)?;
        Ok(Self { pair, public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// COSE thumbprint of the public half, which goes into every statement.
    #[must_use]
    pub fn thumbprint(&self) -> KeyThumbprint {
        ed25519_thumbprint(&self.public)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        self.pair.try_sign(message).ok()?.as_ref().try_into().ok()
    }
}

/// A fresh salt for one answer's commitments.
pub(crate) fn salt() -> Result<Salt, NoRandomness> {
    random().map(Salt::new)
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::Boot;

    #[test]
    fn boots_differ_and_never_show_keys() {
        let (one, two) = (Boot::generate().unwrap(), Boot::generate().unwrap());
        assert_ne!(one.id, two.id);
        assert_ne!(one.session_key, two.session_key);
        assert_ne!(one.receipts.public(), two.receipts.public());
        assert_ne!(one.session_key.public(), one.receipts.public());
        let shown = format!("{one:?}");
        assert!(shown.contains("ReceiptKey(..)") && shown.contains("SessionKey(..)"));
    }
}
