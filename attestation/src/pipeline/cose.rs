//! The COSE_Sign1 of plans and parts: tagged, EdDSA, nothing in it that the
//! profile doesn't name, and one encoding of each.

use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable as _,
    iana,
};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::digest::KeyThumbprint;

/// Why bytes aren't a COSE_Sign1 of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not a tagged COSE_Sign1, not its one encoding, or too long.
    Format,
    /// Other headers.
    Header,
}

/// EdDSA, with a key id if there is one, and nothing else.
fn header(kid: Option<&KeyThumbprint>) -> Header {
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA);
    match kid {
        Some(kid) => header.key_id(kid.as_bytes().to_vec()),
        None => header,
    }
    .build()
}

/// Signs `payload`. None if `sign` gives nothing.
pub(super) fn sign(
    payload: Vec<u8>,
    kid: Option<&KeyThumbprint>,
    aad: &[u8],
    sign: impl FnOnce(&[u8]) -> Option<[u8; 64]>,
) -> Option<Vec<u8>> {
    CoseSign1Builder::new()
        .protected(header(kid))
        .payload(payload)
        .try_create_signature(aad, |bytes| sign(bytes).map(Vec::from).ok_or(()))
        .ok()?
        .build()
        .to_tagged_vec()
        .ok()
}

/// One message, read and not yet verified.
pub(super) struct Unverified(CoseSign1);

/// Reads one of at most `limit` bytes.
pub(super) fn read(bytes: &[u8], limit: usize) -> Result<Unverified, Fault> {
    if bytes.len() > limit {
        return Err(Fault::Format);
    }
    let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| Fault::Format)?;
    let again = sign1.clone().to_tagged_vec().map_err(|_| Fault::Format)?;
    if again != bytes || sign1.payload.is_none() {
        return Err(Fault::Format);
    }
    Ok(Unverified(sign1))
}

impl Unverified {
    /// What was signed.
    pub(super) fn payload(&self) -> &[u8] {
        self.0.payload.as_deref().unwrap_or_default()
    }

    /// Requires exactly the header of the profile, with this key id or none.
    pub(super) fn has_header(&self, kid: Option<&KeyThumbprint>) -> Result<(), Fault> {
        let expected = header(kid);
        let canonical = expected.clone().to_vec().map_err(|_| Fault::Header)?;
        // As it was sent: the header is signed in those bytes.
        let as_sent = self.0.protected.original_data.as_deref();
        let same = self.0.protected.header == expected
            && as_sent.is_none_or(|sent| sent == canonical)
            && self.0.unprotected.is_empty();
        if same { Ok(()) } else { Err(Fault::Header) }
    }

    /// Whether `key` signed it.
    pub(super) fn is_signed_by(&self, key: &[u8; 32], aad: &[u8]) -> bool {
        self.0
            .verify_signature(aad, |signature, message| {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            })
            .is_ok()
    }
}
