//! Membership credentials: the owner of a pipeline says that one guest, by its
//! REPORT_ID, with one TLS key, may take these stages of it. A CWT \[RFC 8392\]
//! in COSE_Sign1, EdDSA. Image and measurement are public, so that anyone can
//! run them on a chip of their own; a credential is what they don't have.
//!
//! It admits and proves nothing: evidence bound to the link must be accepted
//! first, and REPORT_ID is compared with the one in it.

use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana,
};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{KeyThumbprint, ManifestDigest, PipelineId, ReportId, SpkiDigest};
use crate::link::LinkContext;
use crate::receipt::ed25519_thumbprint;
use crate::time::UnixTime;

/// EAT profile of a membership credential.
pub const CREDENTIAL_PROFILE: &str = "tag:bastide,2026:link-credential/v1";
/// Most bytes of a credential.
pub const MAX_CREDENTIAL_BYTES: usize = 1024;
const EXTERNAL_AAD: &[u8] = b"bastide-credential-v1";
/// Longest validity: a credential is for one life of a guest.
const MAX_VALIDITY_S: u64 = 366 * 24 * 60 * 60;

/// CWT and EAT claim keys, then private ones.
mod claim {
    pub(super) const EXP: i64 = 4;
    pub(super) const NBF: i64 = 5;
    pub(super) const CNF: i64 = 8;
    pub(super) const EAT_PROFILE: i64 = 265;
    pub(super) const REPORT_ID: i64 = -75_201;
    pub(super) const PIPELINE: i64 = -75_202;
    pub(super) const STAGES: i64 = -75_203;
    pub(super) const MODEL: i64 = -75_204;
    /// In `cnf`: key identifier \[RFC 8747 §3.4\], here SHA-256 of the SPKI.
    pub(super) const CNF_KID: i64 = 3;
}

/// What a credential states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialClaims {
    /// First second in which it counts.
    pub not_before: UnixTime,
    /// First second in which it counts no more.
    pub expires: UnixTime,
    /// SHA-256 of the SPKI of the TLS key that the enclave has on links.
    pub spki: SpkiDigest,
    /// REPORT_ID of the guest. Never zero.
    pub report_id: ReportId,
    /// The pipeline.
    pub pipeline: PipelineId,
    /// First and last stage that the enclave may take.
    pub stages: [u16; 2],
    /// Manifest of the model that the pipeline computes.
    pub model: ManifestDigest,
}

/// Why something is no credential, or can't be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Not a COSE_Sign1 of at most 1,024 bytes.
    #[error("a membership credential is a tagged COSE_Sign1 of at most {MAX_CREDENTIAL_BYTES} bytes")]
    Format,
    /// Another algorithm than EdDSA, no key id, or something else in the headers.
    #[error("a credential's protected header says EdDSA and the issuer's key id, and nothing else")]
    Header,
    /// The claims are not strict CBOR of the defined shape.
    #[error("credential claims: {0}")]
    Claims(#[from] CodecError),
    /// The key that signed it is none of the issuers'.
    #[error("the credential was issued by key {got}, which is none of the {known} issuer(s) named")]
    Issuer {
        /// Thumbprint in the credential.
        got: KeyThumbprint,
        /// How many issuers were named.
        known: usize,
    },
    /// The signature does not verify.
    #[error("the credential's signature does not verify")]
    Signature,
    /// Signing failed.
    #[error("signing the credential failed")]
    Signing,
}

/// Why a good credential does not admit this peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialFault {
    /// Its time has not come.
    #[error("the credential counts from {from}, it is {now}")]
    NotYet {
        /// From when.
        from: UnixTime,
        /// The time.
        now: UnixTime,
    },
    /// Its time is over.
    #[error("the credential expired at {at}, it is {now}")]
    Expired {
        /// Since when.
        at: UnixTime,
        /// The time.
        now: UnixTime,
    },
    /// It is for another pipeline, stage, model, key or guest.
    #[error("the credential is for {member} {expected}, the peer has {got}")]
    Other {
        /// What differs.
        member: &'static str,
        /// What the credential says.
        expected: String,
        /// What the peer is.
        got: String,
    },
}

/// A credential whose signature is by one of the issuers named. Made only by
/// issuing or by verifying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    bytes: Vec<u8>,
    claims: CredentialClaims,
    issuer: KeyThumbprint,
}

impl Credential {
    /// Issues one. `sign` is called once with the bytes to be signed by the
    /// Ed25519 key whose public half is `issuer`.
    ///
    /// # Errors
    /// [`CredentialError::Claims`] if a claim is out of its range,
    /// [`CredentialError::Signing`] if `sign` gives no signature of that key.
    pub fn issue(
        claims: &CredentialClaims,
        issuer: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> Option<[u8; 64]>,
    ) -> Result<Self, CredentialError> {
        claims.check()?;
        let sign1 = CoseSign1Builder::new()
            .protected(header(ed25519_thumbprint(issuer)))
            .payload(claims.encode())
            .try_create_signature(EXTERNAL_AAD, |bytes| {
                sign(bytes).map(Vec::from).ok_or(CredentialError::Signing)
            })?
            .build();
        let bytes = sign1.to_tagged_vec().map_err(|_| CredentialError::Signing)?;
        // A signature by another key would be found by the peer; find it here.
        Self::verify(&bytes, &[*issuer]).map_err(|_| CredentialError::Signing)
    }

    /// Reads a credential strictly and verifies that one of `issuers` (Ed25519
    /// public keys) signed it. Time and peer are asked by [`CredentialClaims::admits`].
    ///
    /// # Errors
    /// [`CredentialError`] names what doesn't hold.
    pub fn verify(bytes: &[u8], issuers: &[[u8; 32]]) -> Result<Self, CredentialError> {
        let (sign1, claims, issuer) = read(bytes)?;
        let key = issuers
            .iter()
            .find(|key| ed25519_thumbprint(key) == issuer)
            .ok_or(CredentialError::Issuer {
                got: issuer,
                known: issuers.len(),
            })?;
        sign1
            .verify_signature(EXTERNAL_AAD, |signature, message| {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            })
            .map_err(|_| CredentialError::Signature)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            claims,
            issuer,
        })
    }

    /// What a credential says, and the key that it says issued it, for showing:
    /// no signature is verified.
    ///
    /// # Errors
    /// [`CredentialError`] if it can't be read.
    pub fn inspect(bytes: &[u8]) -> Result<(CredentialClaims, KeyThumbprint), CredentialError> {
        read(bytes).map(|(_, claims, issuer)| (claims, issuer))
    }

    /// What it states.
    #[must_use]
    pub const fn claims(&self) -> &CredentialClaims {
        &self.claims
    }

    /// Thumbprint of the key that issued it.
    #[must_use]
    pub const fn issuer(&self) -> &KeyThumbprint {
        &self.issuer
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn header(issuer: KeyThumbprint) -> coset::Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(issuer.as_bytes().to_vec())
        .build()
}

fn read(bytes: &[u8]) -> Result<(CoseSign1, CredentialClaims, KeyThumbprint), CredentialError> {
    if bytes.len() > MAX_CREDENTIAL_BYTES {
        return Err(CredentialError::Format);
    }
    let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| CredentialError::Format)?;
    let again = sign1
        .clone()
        .to_tagged_vec()
        .map_err(|_| CredentialError::Format)?;
    if again != bytes {
        return Err(CredentialError::Format);
    }
    let issuer = KeyThumbprint::try_from(sign1.protected.header.key_id.as_slice())
        .map_err(|_| CredentialError::Header)?;
    let expected = header(issuer);
    let canonical = expected.clone().to_vec().map_err(|_| CredentialError::Header)?;
    let as_sent = sign1.protected.original_data.as_deref();
    if sign1.protected.header != expected
        || as_sent.is_some_and(|sent| sent != canonical)
        || !sign1.unprotected.is_empty()
    {
        return Err(CredentialError::Header);
    }
    let payload = sign1.payload.as_deref().ok_or(CredentialError::Format)?;
    let claims = CredentialClaims::decode(payload)?;
    Ok((sign1, claims, issuer))
}

impl CredentialClaims {
    /// Whether a credential of these claims is for the peer that stands at
    /// `context`, holds the TLS key `spki` and proved `report_id`, at `now`.
    ///
    /// # Errors
    /// [`CredentialFault`] names the first difference.
    pub fn admits(
        &self,
        context: &LinkContext,
        spki: &SpkiDigest,
        report_id: &ReportId,
        now: UnixTime,
    ) -> Result<(), CredentialFault> {
        if now < self.not_before {
            return Err(CredentialFault::NotYet {
                from: self.not_before,
                now,
            });
        }
        if now >= self.expires {
            return Err(CredentialFault::Expired {
                at: self.expires,
                now,
            });
        }
        let [first, last] = self.stages;
        let other = |member, expected: &dyn core::fmt::Display, got: &dyn core::fmt::Display| {
            Err(CredentialFault::Other {
                member,
                expected: expected.to_string(),
                got: got.to_string(),
            })
        };
        if self.pipeline != context.pipeline {
            return other("pipeline", &self.pipeline, &context.pipeline);
        }
        if !(first..=last).contains(&context.stage) {
            return other("stages", &format_args!("{first} to {last}"), &context.stage);
        }
        if self.model != context.model {
            return other("model", &self.model, &context.model);
        }
        if self.spki != *spki {
            return other("TLS key", &self.spki, spki);
        }
        if self.report_id != *report_id {
            return other("REPORT_ID", &self.report_id, report_id);
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let [first, last] = self.stages.map(u64::from);
        MapBuilder::new()
            .uint(claim::EXP, self.expires.as_secs())
            .uint(claim::NBF, self.not_before.as_secs())
            .map(
                claim::CNF,
                MapBuilder::new().bytes(claim::CNF_KID, self.spki.as_bytes()),
            )
            .text(claim::EAT_PROFILE, CREDENTIAL_PROFILE)
            .bytes(claim::REPORT_ID, self.report_id.as_bytes())
            .bytes(claim::PIPELINE, self.pipeline.as_bytes())
            .uints(claim::STAGES, &[first, last])
            .bytes(claim::MODEL, self.model.as_bytes())
            .encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut fields = Fields::decode(bytes, MAX_CREDENTIAL_BYTES)?;
        if fields.text(claim::EAT_PROFILE)? != CREDENTIAL_PROFILE {
            return Err(value(claim::EAT_PROFILE, CREDENTIAL_PROFILE));
        }
        let mut confirmation = fields.map(claim::CNF)?;
        let spki = SpkiDigest::new(confirmation.array(claim::CNF_KID)?);
        confirmation.finish()?;
        let stage = |stage| u16::try_from(stage).map_err(|_| value(claim::STAGES, STAGES));
        let [first, last] = fields.uints(claim::STAGES)?;
        let claims = Self {
            not_before: UnixTime::from_secs(fields.uint(claim::NBF)?),
            expires: UnixTime::from_secs(fields.uint(claim::EXP)?),
            spki,
            report_id: ReportId::new(fields.array(claim::REPORT_ID)?),
            pipeline: PipelineId::new(fields.array(claim::PIPELINE)?),
            stages: [stage(first)?, stage(last)?],
            model: ManifestDigest::new(fields.array(claim::MODEL)?),
        };
        fields.finish()?;
        claims.check()?;
        Ok(claims)
    }

    fn check(&self) -> Result<(), CodecError> {
        let [first, last] = self.stages;
        if first > last {
            return Err(value(claim::STAGES, STAGES));
        }
        // A guest that has no REPORT_ID is nobody in particular.
        if self.report_id.is_zero() {
            return Err(value(claim::REPORT_ID, "a REPORT_ID that is not zero"));
        }
        let validity = self.expires.as_secs().checked_sub(self.not_before.as_secs());
        match validity {
            Some(1..=MAX_VALIDITY_S) => Ok(()),
            _ => Err(value(
                claim::EXP,
                "an end after the beginning, by at most 366 days",
            )),
        }
    }
}

const STAGES: &str = "first and last stage, in this order, of at most 65535";

fn value(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

#[cfg(test)]
pub(crate) mod tests;
