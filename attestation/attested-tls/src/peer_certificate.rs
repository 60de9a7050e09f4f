//! How the client looks at the server's certificate: the proof that the server
//! holds the certificate's key is verified in full, the certificate's issuer is
//! not asked. It never says who the server is; the evidence does.

use bastide_attestation::SpkiDigest;
use bastide_attestation::binding::spki_digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use webpki::EndEntityCert;

/// Derived from rustls 0.23's `WebPkiServerVerifier` (`webpki/server_verifier.rs`).
///
/// `verify_server_cert` there does four things: it parses the end-entity
/// certificate, builds a path to a trust anchor (with validity periods, usages
/// and revocation), ignores the OCSP response, and compares the server name.
/// Here it does the first only. **The path and the name are left out, on
/// purpose**: the certificate is issued by its own key at every boot, no
/// authority vouches for it, and a name would prove nothing about what runs
/// behind it. The key's digest goes into the binder instead, and the evidence
/// has to be bound to it.
///
/// Signatures are verified exactly as there: the TLS 1.3 CertificateVerify with
/// the provider's algorithms. TLS 1.2 signatures are refused, never verified.
#[derive(Debug)]
pub(crate) struct EvidenceDecides {
    supported: WebPkiSupportedAlgorithms,
}

impl EvidenceDecides {
    pub(crate) const fn new(supported: WebPkiSupportedAlgorithms) -> Self {
        Self { supported }
    }
}

impl ServerCertVerifier for EvidenceDecides {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match spki(end_entity) {
            Some(_) => Ok(ServerCertVerified::assertion()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.supported)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported.supported_schemes()
    }
}

/// SHA-256 of the certificate's SubjectPublicKeyInfo, as it is encoded there.
pub(crate) fn spki(certificate: &CertificateDer<'_>) -> Option<SpkiDigest> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some(spki_digest(parsed.subject_public_key_info().as_ref()))
}
