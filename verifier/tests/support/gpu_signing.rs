//! Manifests and revocation lists signed anew with the simulation's keys, which
//! are public: what is changed in them is authentic. Holds no expectation.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::sha384;
use bastide_attester::simulator::nvidia::roots::Authority;
use p384::ecdsa::signature::Signer as _;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::der::{oid, sequence, time, tlv};
use super::gpu_pki::{self, BASIC_CONSTRAINTS, KEY_USAGE, Plan, constraints};

const RIM_L3: &[u8] =
    include_bytes!("../../../attestation/attester/src/simulator/keys/nvidia-rim-l3.pk8.der");
const PROVISIONER: &[u8] =
    include_bytes!("../../../attestation/attester/src/simulator/keys/nvidia-provisioner-gh100.pk8.der");
/// Number of the key that signs manifests here.
const SIGNER: u8 = 9;

/// A simulated manifest with other content, signed by a new signer under the
/// simulation's root. The content must be its own canonical form.
pub(crate) fn manifest(original: &[u8], change: impl FnOnce(&str) -> String) -> Vec<u8> {
    const END: &str = "</SoftwareIdentity>";
    const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
    let original = core::str::from_utf8(original).expect("manifests are text");
    let (content, signature) = original.split_once("<ds:Signature ").expect("it is signed");
    let content = change(content);
    let digest = STANDARD.encode(sha384(&[format!("{content}{END}").as_bytes()]));

    let signature = replaced(signature, "ds:DigestValue", &digest);
    let info = between(&signature, "<ds:SignedInfo>", "</ds:SignedInfo>");
    // Canonical on its own, it shows every namespace in scope.
    let canonical = format!(
        "<ds:SignedInfo xmlns=\"{SWID}\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" xmlns:ns0=\"{SWID}\" \
         xmlns:ns2=\"http://www.w3.org/2001/04/xmlenc#sha384\">{info}</ds:SignedInfo>"
    );
    let value: p384::ecdsa::Signature = gpu_pki::key(SIGNER).sign(canonical.as_bytes());
    let signature = replaced(
        &signature,
        "ds:SignatureValue",
        &STANDARD.encode(value.to_bytes()),
    );
    let signature = replaced(&signature, "ds:X509Certificate", &STANDARD.encode(signer()));
    format!("{content}<ds:Signature {signature}").into_bytes()
}

/// The certificate of the signer.
fn signer() -> Vec<u8> {
    let plan = Plan {
        subject: "NVIDIA Reference Value L4 Test".to_owned(),
        issuer: String::new(),
        serial: vec![7],
        hash: 3,
        validity: ["20260101000000", "20271231235959"],
        extensions: vec![
            (BASIC_CONSTRAINTS, true, constraints(false, None)),
            (KEY_USAGE, true, vec![3, 2, 7, 0x80]),
        ],
        signer: SIGNER,
    };
    let tbs = gpu_pki::to_be_signed(
        &plan,
        subject(Authority::RimL3.certificate()),
        gpu_pki::spki(SIGNER),
    );
    gpu_pki::signed(&tbs, 3, &signature(RIM_L3, &tbs))
}

/// A list of the GPUs' provisioner that names this certificate, for a CRLReason.
pub(crate) fn revocation_list(certificate: &[u8], reason: u8) -> Vec<u8> {
    let certificate = Certificate::from_der(certificate).expect("it is a certificate");
    let serial = certificate.tbs_certificate().serial_number().as_bytes().to_vec();
    let reason = sequence(&[oid(&[0x55, 0x1d, 0x15]), tlv(4, &tlv(0x0a, &[reason]))]);
    let entry = sequence(&[tlv(2, &serial), time("20260201000000"), sequence(&[reason])]);
    let algorithm = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03])]);
    let tbs = sequence(&[
        tlv(2, &[1]),
        algorithm,
        subject(Authority::ProvisionerGpu.certificate()),
        time("20260228000000"),
        time("20260330000000"),
        sequence(&[entry]),
    ]);
    gpu_pki::signed(&tbs, 3, &signature(PROVISIONER, &tbs))
}

/// A certificate's subject, DER.
fn subject(certificate: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(certificate).expect("the simulation's are certificates");
    certificate
        .tbs_certificate()
        .subject()
        .to_der()
        .expect("a name that was read can be written")
}

/// ECDSA with SHA-384, DER.
fn signature(pkcs8: &[u8], message: &[u8]) -> Vec<u8> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8)
        .expect("the simulation's keys are PKCS #8")
        .sign(&SystemRandom::new(), message)
        .expect("the simulation's keys sign")
        .as_ref()
        .to_vec()
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(start).expect("it begins");
    rest.split_once(end).expect("it ends").0
}

/// The text with another content of the first such element.
fn replaced(text: &str, element: &str, content: &str) -> String {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let old = format!("{start}{}{end}", between(text, &start, &end));
    text.replacen(&old, &format!("{start}{content}{end}"), 1)
}
