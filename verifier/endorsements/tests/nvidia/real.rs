//! A real H100's evidence, endorsed by the real manifests and answers.

use bastide_attestation::UnixTime;
use bastide_attestation::encoding::{Kind, objects};
use bastide_attestation::nvidia::{DeviceEvidence, GpuEvidence};
use bastide_endorsements::Store;
use bastide_endorsements::nvidia::{Refresh, gpu_endorsements};

use crate::server::Server;
use crate::{OcspQuestion, TestPace, Wanted, asked, made, rim, services, vectors};

/// 2025-10-24T12:00:00Z, within half a day of the manifests' answers.
const NOW: UnixTime = UnixTime::from_secs(1_761_307_200);

#[tokio::test]
async fn a_real_h100_is_endorsed_by_what_nvidia_published_byte_by_byte() {
    let Some(folder) = vectors::h100() else { return };
    let read = |name: &str| vectors::read(&folder, name);
    let chain = objects(&read("chain.pem"), Kind::Certificate).unwrap();
    let rims = made::RIM_IDS.map(|id| read(&format!("{id}.xml")));
    let mut files = Vec::new();
    for (id, bytes) in made::RIM_IDS.into_iter().zip(&rims) {
        files.push((asked(&rim(id)), made::rim_answer(id, bytes).into_bytes()));
    }
    let mut has = |pair: &[Vec<u8>], name: &str| {
        let question = OcspQuestion::about(&pair[0], &pair[1]).unwrap();
        files.push((asked(&Wanted::Ocsp(question)), read(name)));
    };
    has(&chain[1..3], "ocsp/gpu_certificate_l4.der");
    has(&chain[2..4], "ocsp/gpu_certificate_l3.der");
    has(&chain[3..5], "ocsp/gpu_certificate_l2.der");
    let [driver, vbios] = rims.each_ref().map(|xml| certificates(xml));
    has(&driver[0..2], "ocsp/gpu_driver_rim_l4.der");
    has(&driver[1..3], "ocsp/gpu_driver_rim_l3.der");
    has(&driver[2..4], "ocsp/gpu_rim_l2.der");
    has(&vbios[0..2], "ocsp/gpu_vbios_l4.der");
    let answers: Vec<Vec<u8>> = files[2..].iter().map(|(_, bytes)| bytes.clone()).collect();
    let server = Server::start([]).await.with(files);

    let evidence = GpuEvidence::new(vec![DeviceEvidence {
        report: read("report.bin"),
        chain: read("chain.pem"),
    }])
    .unwrap();
    let store = tempfile::tempdir().unwrap();
    let store = Store::open(store.path()).unwrap();
    let pace = TestPace::new();
    let client = services(&server.address, &pace);
    let gathered = gpu_endorsements(&store, &client, &evidence, Refresh::Due, NOW)
        .await
        .unwrap();
    assert_eq!(gathered.endorsements.rims, rims);
    for answer in &answers {
        assert!(gathered.endorsements.ocsp.contains(answer));
    }
    // The lists are not among the vectors, nor is anything else missing.
    for outcome in &gathered.outcomes {
        let list = matches!(outcome.name, bastide_endorsements::nvidia::Name::Crl(_));
        assert_eq!(outcome.result.is_err(), list, "{outcome:?}");
    }
    assert_eq!(gathered.endorsements.ocsp.len(), answers.len());
}

fn certificates(xml: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let xml = std::str::from_utf8(xml).unwrap();
    xml.split("<ds:X509Certificate>")
        .skip(1)
        .map(|rest| {
            let text: String = rest.split('<').next().unwrap().split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(text).unwrap()
        })
        .collect()
}
