//! Answers that aren't what was asked for. None is taken, none is asked for
//! twice, and each says what is wrong with it.

use crate::server::{Reply, Server};
use crate::{TestPace, Wanted, asked, crl, made, rim, services};

const ID: &str = made::RIM_IDS[0];

/// What the client says of an answer, after exactly one request.
async fn refused(wanted: &Wanted, reply: Reply) -> (&'static str, String) {
    let server = Server::start([reply]).await;
    let pace = TestPace::new();
    let error = services(&server.address, &pace).fetch(wanted).await.unwrap_err();
    assert_eq!(server.asked(), [asked(wanted)]);
    assert!(pace.waits().is_empty());
    (error.code(), error.to_string())
}

async fn wrong(wanted: &Wanted, body: &[u8], expected: &str) {
    let (code, text) = refused(wanted, Reply::Body(body.to_vec())).await;
    assert_eq!(code, "nvidia.wrong");
    assert!(text.contains(expected), "{text}");
}

fn good() -> String {
    made::rim_answer(ID, &made::rim(1, made::ISSUED))
}

#[tokio::test]
async fn a_manifest_that_is_not_published_is_said_at_once_with_what_to_do() {
    let (code, text) = refused(&rim(ID), Reply::Status(404, vec![])).await;
    assert_eq!(code, "nvidia.unknown");
    assert!(
        text.contains("no such manifest; NVIDIA may publish one weeks after"),
        "{text}"
    );
}

#[tokio::test]
async fn a_manifest_of_another_id_is_refused() {
    let other = good().replace(ID, "NV_GPU_DRIVER_GH100_535.86.09");
    wrong(&rim(ID), other.as_bytes(), "got `NV_GPU_DRIVER_GH100_535.86.09`").await;
}

#[tokio::test]
async fn a_manifest_of_another_digest_is_refused() {
    let answer = good();
    let digest = answer.split("\"sha256\":\"").nth(1).unwrap();
    let other = answer.replace(&digest[..64], &"ab".repeat(32));
    wrong(&rim(ID), other.as_bytes(), "the answer says abab").await;
}

#[tokio::test]
async fn a_manifest_in_another_format_or_encoding_is_refused() {
    let other = good().replace("\"TCG\"", "\"CORIM\"");
    wrong(
        &rim(ID),
        other.as_bytes(),
        "expected a manifest in the format `TCG`, got `CORIM`",
    )
    .await;
    let other = good().replace("\"rim\":\"", "\"rim\":\" ");
    wrong(&rim(ID), other.as_bytes(), "in base64").await;
    let other = made::rim_answer(ID, b"<html></html>");
    wrong(&rim(ID), other.as_bytes(), "begins like a web page").await;
}

#[tokio::test]
async fn web_pages_and_cut_answers_behind_a_right_length_are_refused() {
    let question = made::device_questions().remove(0);
    let answer = made::ocsp(question.id(), made::ISSUED);
    for (wanted, bytes) in [
        (rim(ID), good().into_bytes()),
        (Wanted::Ocsp(question), answer),
        (crl("crl/l1-root.crl"), made::crl(made::ISSUED)),
    ] {
        wrong(&wanted, b"<html>Please sign in</html>", "begins like a web page").await;
        wrong(&wanted, &bytes[..bytes.len() / 2], "not what was asked for").await;
        wrong(&wanted, b"", "not what was asked for").await;
        wrong(&wanted, &[&bytes[..], b"x"].concat(), "not what was asked for").await;
    }
}

#[tokio::test]
async fn an_answer_about_another_certificate_and_none_at_all_are_refused() {
    let mut questions = made::device_questions();
    let other = made::ocsp(questions[1].id(), made::ISSUED);
    let wanted = Wanted::Ocsp(questions.remove(0));
    wrong(&wanted, &other, "about the certificate that was asked about").await;
    wrong(&wanted, &[0x30, 3, 0x0a, 1, 6], "status 6 (unauthorized").await;
}

#[tokio::test]
async fn too_long_an_answer_is_refused_whether_announced_chunked_or_endless() {
    let question = made::device_questions().remove(0);
    for (wanted, limit) in [
        (rim(ID), 353_624),
        (Wanted::Ocsp(question), 16_384),
        (crl("crl/l1-root.crl"), 65_536),
    ] {
        let long = vec![b' '; limit + 1];
        for reply in [
            Reply::Body(long.clone()),
            Reply::Chunked(long),
            Reply::Stall(u64::MAX / 2, vec![b' '; 10]),
            Reply::Endless(vec![b' '; 4096]),
        ] {
            let (code, text) = refused(&wanted, reply).await;
            assert_eq!(code, "nvidia.too_large");
            assert!(text.contains(&format!("more than {limit} bytes")), "{text}");
        }
    }
    // Within the answer's limit, and beyond the manifest's.
    let mut large = b"<SoftwareIdentity >".to_vec();
    large.resize(256 * 1024 + 1, b' ');
    let answer = made::rim_answer(ID, &large);
    wrong(&rim(ID), answer.as_bytes(), "expected at most 262144 bytes").await;
}

#[tokio::test]
async fn redirections_are_refused_and_not_followed() {
    let elsewhere = Server::start([]).await.with(crate::published(1, made::ISSUED));
    let location = format!("{}{}", elsewhere.address, asked(&rim(ID)));
    let reply = Reply::Status(302, vec![("location", location)]);
    let (code, text) = refused(&rim(ID), reply).await;
    assert_eq!(code, "nvidia.redirected");
    assert!(text.contains("--rim-url"), "{text}");
    assert!(elsewhere.asked().is_empty());
    let (code, _) = refused(&rim(ID), Reply::Status(403, vec![])).await;
    assert_eq!(code, "nvidia.refused");
}
