//! Endorsements of NVIDIA's as tests make them: their form is right, and every
//! signature is missing. For what checks form alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::nvidia::{DeviceEvidence, GpuEvidence};
use bastide_attestation::{UnixTime, sha256};

use super::{CertificateId, OcspQuestion};

/// 2026-06-01T00:00:00Z
pub(crate) const ISSUED: UnixTime = UnixTime::from_secs(1_780_272_000);
const HOUR: u64 = 3600;

/// An element around others.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut whole = vec![tag];
    match u16::try_from(content.len()).unwrap() {
        short @ 0..=0x7f => whole.extend(&short.to_be_bytes()[1..]),
        length => {
            whole.push(0x82);
            whole.extend(length.to_be_bytes());
        }
    }
    // Two bytes of length where one is enough are not DER.
    if (0x80..0x100).contains(&content.len()) {
        whole.splice(1..3, [0x81]);
    }
    whole.extend(content);
    whole
}

fn time(at: UnixTime) -> Vec<u8> {
    let digits: String = at.to_string().chars().filter(char::is_ascii_digit).collect();
    element(0x18, &[format!("{digits}Z").as_bytes()])
}

fn name(common_name: &str) -> Vec<u8> {
    let value = element(0x0c, &[common_name.as_bytes()]);
    let pair = element(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03], &value]);
    element(0x30, &[&element(0x31, &[&pair])])
}

fn algorithm() -> Vec<u8> {
    // ecdsa-with-SHA384
    element(
        0x30,
        &[&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]],
    )
}

/// A certificate; its key is made of the name.
pub(crate) fn certificate(
    subject: &str,
    issuer: &str,
    serial: u8,
    not_before: UnixTime,
    list: Option<&str>,
) -> Vec<u8> {
    let end = time(UnixTime::from_secs(not_before.as_secs() + 9000 * 24 * HOUR));
    let key = [&[0][..], subject.as_bytes()].concat();
    let mut fields = vec![
        element(0xa0, &[&[0x02, 0x01, 0x02]]),
        element(0x02, &[&[serial]]),
        algorithm(),
        name(issuer),
        element(0x30, &[&time(not_before), &end]),
        name(subject),
        element(0x30, &[&algorithm(), &element(0x03, &[&key])]),
    ];
    if let Some(url) = list {
        let point = element(
            0x30,
            &[&element(
                0xa0,
                &[&element(0xa0, &[&element(0x86, &[url.as_bytes()])])],
            )],
        );
        let value = element(0x04, &[&element(0x30, &[&point])]);
        let extension = element(0x30, &[&[0x06, 0x03, 0x55, 0x1d, 0x1f], &value]);
        fields.push(element(0xa3, &[&element(0x30, &[&extension])]));
    }
    let parts: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
    element(
        0x30,
        &[&element(0x30, &parts), &algorithm(), &element(0x03, &[&[0, 1]])],
    )
}

/// Each name's certificate, issued by the next one's; the second to last names a list.
fn chain(names: &[&str], serial: u8, not_before: UnixTime, list: &str) -> Vec<Vec<u8>> {
    (0..names.len())
        .map(|at| {
            let issuer = names.get(at + 1).unwrap_or(&names[at]);
            let list = (at + 2 == names.len()).then_some(list);
            certificate(
                names[at],
                issuer,
                serial + u8::try_from(at).unwrap(),
                not_before,
                list,
            )
        })
        .collect()
}

/// A manifest signed by a certificate from then; another number is another manifest.
pub(crate) fn rim(number: u8, signed: UnixTime) -> Vec<u8> {
    let names = [
        "RIM Signer",
        "Reference Value L3",
        "Reference Value CA",
        "RIM Root",
    ];
    let certificates: String = chain(&names, 1, signed, "http://crl.ndis.nvidia.com/crl-corim/l1-corim")
        .iter()
        .map(|der| {
            let text = STANDARD.encode(der);
            format!("<ds:X509Certificate>{text}</ds:X509Certificate>")
        })
        .collect();
    format!("<SoftwareIdentity tagId=\"{number}\">{certificates}</SoftwareIdentity>").into_bytes()
}

/// What the RIM service answers with a manifest.
pub(crate) fn rim_answer(id: &str, rim: &[u8]) -> String {
    format!(
        "{{\"id\":\"{id}\",\"rim\":\"{}\",\"sha256\":\"{}\",\"last_updated\":\"2026-06-01T00:00:00\",\"rim_format\":\"TCG\",\"request_id\":\"1\"}}",
        STANDARD.encode(rim),
        hex::encode(sha256(&[rim]))
    )
}

/// A responder's answer that a certificate is good, for 24 h.
pub(crate) fn ocsp(id: &CertificateId, at: UnixTime) -> Vec<u8> {
    let sha384 = [
        0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
    ];
    let about = element(
        0x30,
        &[
            &element(0x30, &[&sha384]),
            &element(0x04, &[&[7; 48]]),
            &element(0x04, &[id.issuer_key()]),
            &element(0x02, &[id.serial()]),
        ],
    );
    let next = time(UnixTime::from_secs(at.as_secs() + 24 * HOUR));
    let single = element(0x30, &[&about, &[0x80, 0], &time(at), &element(0xa0, &[&next])]);
    let responder = element(0xa2, &[&element(0x04, &[&[8; 20]])]);
    let data = element(0x30, &[&responder, &time(at), &element(0x30, &[&single])]);
    let basic = element(0x30, &[&data, &algorithm(), &element(0x03, &[&[0, 1]])]);
    let bytes = element(
        0x30,
        &[
            &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01],
            &element(0x04, &[&basic]),
        ],
    );
    element(0x30, &[&[0x0a, 1, 0], &element(0xa0, &[&bytes])])
}

/// A revocation list for 60 days.
pub(crate) fn crl(at: UnixTime) -> Vec<u8> {
    let next = time(UnixTime::from_secs(at.as_secs() + 60 * 24 * HOUR));
    let fields = element(
        0x30,
        &[&[0x02, 0x01, 0x01], &algorithm(), &name("Root"), &time(at), &next],
    );
    element(0x30, &[&fields, &algorithm(), &element(0x03, &[&[0, 1]])])
}

/// Certificates of an H100, leaf first.
pub(crate) fn device_chain() -> Vec<Vec<u8>> {
    let names = [
        "GH100 A01 GSP FMC LF",
        "GH100 A01 GSP BROM",
        "NVIDIA GH100 Provisioner ICA 1",
        "NVIDIA GH100 Identity",
        "NVIDIA Device Identity CA",
    ];
    chain(&names, 11, ISSUED, "http://crl.ndis.nvidia.com/crl/l1-root.crl")
}

/// The questions about a device's chain.
pub(crate) fn device_questions() -> Vec<OcspQuestion> {
    questions(&device_chain()[1..])
}

/// The questions about a manifest's chain.
pub(crate) fn rim_questions(signed: UnixTime) -> Vec<OcspQuestion> {
    let names = [
        "RIM Signer",
        "Reference Value L3",
        "Reference Value CA",
        "RIM Root",
    ];
    questions(&chain(&names, 1, signed, ""))
}

fn questions(chain: &[Vec<u8>]) -> Vec<OcspQuestion> {
    chain
        .windows(2)
        .map(|pair| OcspQuestion::about(&pair[0], &pair[1]).unwrap())
        .collect()
}

/// PEM of certificates.
pub(crate) fn pem(chain: &[Vec<u8>]) -> Vec<u8> {
    chain
        .iter()
        .map(|der| der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap())
        .collect::<String>()
        .into_bytes()
}

/// A report of an H100 with driver 550.90.07 and VBIOS 96.00.9F.00.01.
pub(crate) fn report() -> Vec<u8> {
    let mut report = vec![0x11, 0xe0, 0x01, 0xff];
    report.extend([5; 32]);
    report.extend([0, 0x11, 0x60, 0, 0, 64, 0xc0, 0x0d, 0x00]);
    for index in 1..=64 {
        report.extend([index, 1, 51, 0, 1, 48, 0]);
        report.extend([index; 48]);
    }
    report.extend([6; 32]);
    let mut opaque = Vec::new();
    for (id, value) in [
        (6_u16, &[0x00, 0x9f, 0x00, 0x96, 0x01, 0, 0, 0][..]),
        (15, b"882\0"),
        (17, b"1010\0"),
        (18, b"0200\0"),
        (3, b"550.90.07\0"),
        (11, &[0x55]),
        (21, &[0x55]),
    ] {
        opaque.extend(id.to_le_bytes());
        opaque.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        opaque.extend(value);
    }
    report.extend(u16::try_from(opaque.len()).unwrap().to_le_bytes());
    report.extend(opaque);
    report.extend([9; 96]);
    report
}

/// The ids of the manifests that it needs.
pub(crate) const RIM_IDS: [&str; 2] = [
    "NV_GPU_DRIVER_GH100_550.90.07",
    "NV_GPU_VBIOS_1010_0200_882_96009F0001",
];

/// Evidence of one H100.
pub(crate) fn evidence() -> GpuEvidence {
    GpuEvidence::new(vec![DeviceEvidence {
        report: report(),
        chain: pem(&device_chain()),
    }])
    .unwrap()
}
