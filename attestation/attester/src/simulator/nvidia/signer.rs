//! Whoever signs in the simulation of NVIDIA's devices: a name and a key on
//! P-384. Every signature is ECDSA with SHA-384. Knows not what it signs.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use der::asn1::ObjectIdentifier;

use crate::simulator::asn1::{bit_string, oid, sequence, unsigned};

/// Bytes of R or S.
const SCALAR: usize = 48;

/// A name and a key.
pub(super) struct Signer {
    /// DER Name.
    pub(super) name: Vec<u8>,
    /// DER SubjectPublicKeyInfo.
    pub(super) spki: Vec<u8>,
    key: EcdsaKeyPair,
}

impl Signer {
    /// With a new key.
    pub(super) fn generate(name: Vec<u8>) -> Result<Self, Unspecified> {
        Self::new(name, EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?)
    }

    /// With a committed key.
    pub(super) fn load(name: Vec<u8>, pkcs8: &[u8]) -> Result<Self, Unspecified> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8);
        Self::new(name, key.map_err(|_| Unspecified)?)
    }

    fn new(name: Vec<u8>, key: EcdsaKeyPair) -> Result<Self, Unspecified> {
        let spki = key.public_key().as_der()?.as_ref().to_vec();
        Ok(Self { name, spki, key })
    }

    /// The uncompressed point: the bits in the SubjectPublicKeyInfo.
    pub(super) fn point(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// R and S, big-endian, 48 bytes each.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        Ok(self.key.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    }

    /// SEQUENCE { `tbs`, algorithm, signature, `rest` }: a certificate or a
    /// BasicOCSPResponse.
    pub(super) fn sign_structure(&self, tbs: &[u8], rest: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let signature = self.sign(tbs)?;
        let (r, s) = signature.split_at_checked(SCALAR).ok_or(Unspecified)?;
        let signature = sequence(&[&unsigned(r), &unsigned(s)]);
        Ok(sequence(&[
            tbs,
            &ecdsa_with_sha384(),
            &bit_string(&signature),
            rest,
        ]))
    }
}

/// AlgorithmIdentifier of every signature here \[RFC 5758 §3.2\].
pub(super) fn ecdsa_with_sha384() -> Vec<u8> {
    const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
    sequence(&[&oid(ECDSA_WITH_SHA384)])
}
