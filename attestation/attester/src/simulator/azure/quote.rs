//! Lays out and signs a TPM quote \[TCG TPM 2.0 Library Part 2\] over every
//! SHA-256 PCR.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use bastide_attestation::azure::QuoteSignature;
use bastide_attestation::{QuoteNonce, sha256};

/// TPM_GENERATED and TPM_ST_ATTEST_QUOTE.
const HEAD: [u8; 6] = [0xff, 0x54, 0x43, 0x47, 0x80, 0x18];
/// TPM2B_NAME: 34 bytes, SHA-256.
const NAME_HEAD: [u8; 4] = [0, 34, 0, 0x0b];
/// As Azure's vTPM says.
const FIRMWARE_VERSION: u64 = 0x2020_0312_0012_0003;
/// One bank, SHA-256, all 24 PCRs; then the length of a digest.
const SELECTION: [u8; 12] = [0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff, 0, 32];

/// What is the same in every quote of one vTPM.
pub(super) struct QuoteTemplate {
    signer: [u8; 32],
    pcr_digest: [u8; 32],
}

impl QuoteTemplate {
    pub(super) fn new(key: &[u8], pcrs: &[[u8; 32]]) -> Self {
        Self {
            // A real name hashes the key's public area; nothing here reads it.
            signer: sha256(&[key]),
            pcr_digest: sha256(&[pcrs.as_flattened()]),
        }
    }

    /// TPMS_ATTEST and TPMT_SIGNATURE of a quote with this nonce.
    pub(super) fn sign(
        &self,
        nonce: &QuoteNonce,
        key: &RsaKeyPair,
    ) -> Result<(Vec<u8>, Vec<u8>), Unspecified> {
        let message = self.lay_out(nonce);
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)?;
        let signature = QuoteSignature::encode(&signature).map_err(|_| Unspecified)?;
        Ok((message, signature))
    }

    fn lay_out(&self, nonce: &QuoteNonce) -> Vec<u8> {
        let (clock, resets, restarts) = (0_u64, 1_u32, 0_u32);
        let mut message = HEAD.to_vec();
        message.extend(NAME_HEAD);
        message.extend(self.signer);
        message.extend([0, 32]);
        message.extend(nonce.as_bytes());
        message.extend(clock.to_be_bytes());
        message.extend(resets.to_be_bytes());
        message.extend(restarts.to_be_bytes());
        // The clock is safe.
        message.push(1);
        message.extend(FIRMWARE_VERSION.to_be_bytes());
        message.extend(SELECTION);
        message.extend(self.pcr_digest);
        message
    }
}
