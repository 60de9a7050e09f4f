//! Makes and signs reference integrity manifests in NVIDIA's profile \[TCG RIM
//! Information Model; ISO/IEC 19770-2:2015; XML-Signature 1.1\], in one line but for
//! certificates.

use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bastide_attestation::{UnixTime, sha384};

use super::canonical::Tag;
use super::certificate::{ORGANISATION, Purpose, issue, named};
use super::device::base64_lines;
use super::measurement::{Firmware, PLACES};
use super::roots::Authority;
use super::signer::Signer;
use crate::simulator::certificate::Validity;

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const TCG_RIM: &str =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const DIGEST_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
/// NVIDIA's IANA private enterprise number.
const NVIDIA: &str = "5703";
const TAG_LABEL: &[u8] = b"bastide-simulated-nvidia-rim-v1\0";
/// Serial number of the signer's certificate.
const SERIAL: [u8; 4] = 0x5_0003_u32.to_be_bytes();
const DAY: u64 = 86_400;
/// NVIDIA's validity of signers, in days.
const TWO_YEARS: u64 = 2 * 365;
const MONTH: u64 = 30;

/// The key that signs manifests, and its certificate.
pub(super) struct ManifestSigner {
    signer: Signer,
    certificate: Vec<u8>,
}

impl ManifestSigner {
    /// Serial number of its certificate.
    pub(super) const SERIAL: &'static [u8] = &SERIAL;

    /// A signer that has been valid for a month, or has expired a day ago.
    pub(super) fn new(now: UnixTime, expired: bool) -> Result<Self, Unspecified> {
        let age = if expired { TWO_YEARS + 1 } else { MONTH };
        let not_before = now.as_secs().saturating_sub(age * DAY);
        let validity = Validity {
            not_before: UnixTime::from_secs(not_before),
            not_after: UnixTime::from_secs(not_before.saturating_add(TWO_YEARS * DAY)),
        };
        let signer = Signer::generate(named("NVIDIA Reference Value L4 Simulation"))?;
        let issuer = Authority::RimL3.signer()?;
        let certificate = issue(&issuer, &signer, &SERIAL, validity, &Purpose::ManifestSigner)?;
        Ok(Self { signer, certificate })
    }

    /// The manifest of a firmware's version.
    pub(super) fn sign(&self, firmware: Firmware, version: &str) -> Result<Vec<u8>, Unspecified> {
        let root = root(firmware, version);
        let content = [entity(), meta(firmware, version), payload(firmware, version)].concat();
        let digest = sha384(&[root.around(&content).as_bytes()]);

        let inside = signed_info(&digest);
        // Canonical on its own, it shows every namespace in scope.
        let in_scope = [("", SWID), ("ds", DSIG), ("ns0", SWID), ("ns2", SHA384)];
        let apex = in_scope
            .into_iter()
            .fold(Tag::new("ds:SignedInfo"), |tag, (prefix, uri)| {
                tag.declaring(prefix, uri)
            });
        let value = self.signer.sign(apex.around(&inside).as_bytes())?;

        let certificates = [
            &self.certificate,
            Authority::RimL3.certificate(),
            Authority::RimCa.certificate(),
            Authority::RimRoot.certificate(),
        ]
        .map(|der| Tag::new("ds:X509Certificate").around(&base64_lines(der)))
        .concat();
        let signature = Tag::new("ds:Signature").declaring("ds", DSIG).around(
            &[
                Tag::new("ds:SignedInfo").around(&inside),
                Tag::new("ds:SignatureValue").around(&BASE64_STANDARD.encode(value)),
                Tag::new("ds:KeyInfo").around(&Tag::new("ds:X509Data").around(&certificates)),
            ]
            .concat(),
        );
        Ok(root.around(&[content, signature].concat()).into_bytes())
    }
}

const fn product(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Driver | Firmware::Vbios => "GH100",
        Firmware::SwitchBios => "LS10",
    }
}

fn root(firmware: Firmware, version: &str) -> Tag<'static> {
    let product = product(firmware);
    let id = sha384(&[TAG_LABEL, product.as_bytes(), b"\0", version.as_bytes()]);
    Tag::new("SoftwareIdentity")
        .declaring("", SWID)
        .declaring("ns0", SWID)
        .declaring("ns2", SHA384)
        .with("corpus", "false")
        .with("name", product)
        .with("patch", "false")
        .with("supplemental", "false")
        .with("tagId", &hexadecimal(&id))
        .with("version", "1.0")
        .with("tagVersion", "0")
}

fn entity() -> String {
    Tag::new("ns0:Entity")
        .with("name", "NVIDIA Corporation")
        .with("role", "softwareCreator tagCreator")
        .around("")
}

fn meta(firmware: Firmware, version: &str) -> String {
    let edition = match firmware {
        Firmware::Driver | Firmware::Vbios => "GPU",
        Firmware::SwitchBios => "SWITCH",
    };
    [
        ("BindingSpec", "RIMIM"),
        ("BindingSpecVersion", "1.01"),
        ("PlatformManufacturerId", NVIDIA),
        // Free text: NVIDIA has its own name here.
        ("PlatformManufacturerStr", ORGANISATION),
        ("PlatformModel", product(firmware)),
        ("FirmwareManufacturer", ORGANISATION),
        ("FirmwareManufacturerId", NVIDIA),
    ]
    .into_iter()
    .fold(
        Tag::new("ns0:Meta").declaring("ns1", TCG_RIM),
        |tag, (name, value)| tag.with_in("ns1", TCG_RIM, name, value),
    )
    .with("colloquialVersion", version)
    .with("edition", edition)
    .with("product", product(firmware))
    .with("revision", "r1")
    .with("PayloadType", "direct")
    .around("")
}

/// A Resource for every place; those of other firmware are not active.
fn payload(firmware: Firmware, version: &str) -> String {
    let resource = |index: u8| {
        let active = if firmware.covers(index) { "True" } else { "False" };
        Tag::new("ns0:Resource")
            .with("type", "Measurement")
            .with("index", &index.to_string())
            .with("active", active)
            .with("alternatives", "1")
            .with_in(
                "ns2",
                SHA384,
                "Hash0",
                &hexadecimal(&firmware.digest(version, index)),
            )
            .with("name", &format!("Measurement_{index}"))
            .with("size", "48")
            .around("")
    };
    Tag::new("ns0:Payload")
        .declaring("SHA384", SHA384)
        .around(&(0..PLACES).map(resource).collect::<String>())
}

/// What is inside SignedInfo.
fn signed_info(digest: &[u8]) -> String {
    let algorithm = |name, uri| Tag::new(name).with("Algorithm", uri).around("");
    let transforms = Tag::new("ds:Transforms").around(
        &[
            algorithm("ds:Transform", ENVELOPED),
            algorithm("ds:Transform", C14N11),
        ]
        .concat(),
    );
    let reference = Tag::new("ds:Reference").with("URI", "").around(
        &[
            transforms,
            algorithm("ds:DigestMethod", DIGEST_SHA384),
            Tag::new("ds:DigestValue").around(&BASE64_STANDARD.encode(digest)),
        ]
        .concat(),
    );
    [
        algorithm("ds:CanonicalizationMethod", C14N11),
        algorithm("ds:SignatureMethod", ECDSA_SHA384),
        reference,
    ]
    .concat()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
