//! Answers that aren't what was asked for. None is taken, none is asked for
//! twice, and each says what is wrong with it.

use bastide_attestation::snp::TcbVersion;
use bastide_attester::simulator::Generation;

use crate::server::{Reply, Server};
use crate::simulated::{NOW, guest, guest_at};
use crate::{Name, TestPace, client};

/// What the client says of an answer, after exactly one request.
async fn refused(name: Name, reply: Reply) -> (&'static str, String) {
    let server = Server::start([reply]).await;
    let pace = TestPace::new();
    let error = client(&server.address, &pace).fetch(&name).await.unwrap_err();
    assert_eq!(server.asked(), [name.kds_path()]);
    assert!(pace.waits().is_empty());
    (error.code(), error.to_string())
}

async fn wrong(name: Name, body: &[u8], expected: &str) {
    let (code, text) = refused(name, Reply::Body(body.to_vec())).await;
    assert_eq!(code, "kds.wrong");
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn a_certificate_of_another_chip_is_refused() {
    let other = guest_at(Generation::Genoa, 1, NOW, None);
    wrong(guest(Generation::Genoa).name(), &other.vcek, "another chip").await;
}

#[tokio::test]
async fn a_certificate_of_another_tcb_version_is_refused() {
    let guest = guest(Generation::Turin);
    let older = TcbVersion {
        fmc: Some(0),
        ..*guest.id.tcb()
    };
    let other = guest_at(Generation::Turin, 0, NOW, Some(older));
    wrong(guest.name(), &other.vcek, "expected fmc 1, got 0").await;
}

#[tokio::test]
async fn a_web_page_with_status_200_is_refused() {
    let guest = guest(Generation::Genoa);
    let page = b"<!DOCTYPE html>\n<html><body>Please sign in</body></html>";
    for name in [guest.name(), guest.chain_name(), guest.crl_name()] {
        wrong(name, page, "begins like a web page").await;
    }
}

#[tokio::test]
async fn a_chain_of_another_product_or_kind_is_refused() {
    let (genoa, turin) = (guest(Generation::Genoa), guest(Generation::Turin));
    wrong(
        genoa.chain_name(),
        &turin.chain,
        "expected ASK or ASVK `SEV-Genoa`",
    )
    .await;
    let vlek: Name = "vlek-genoa-chain.pem".parse().unwrap();
    wrong(vlek, &genoa.chain, "expected ASK or ASVK `SEV-VLEK-Genoa`").await;
}

#[tokio::test]
async fn a_list_of_another_root_is_refused() {
    let (genoa, turin) = (guest(Generation::Genoa), guest(Generation::Turin));
    wrong(genoa.crl_name(), &turin.crl, "expected issuer `ARK-Genoa`").await;
}

#[tokio::test]
async fn an_answer_cut_short_behind_a_right_length_is_refused() {
    let guest = guest(Generation::Genoa);
    for (name, bytes) in [
        (guest.name(), &guest.vcek),
        (guest.chain_name(), &guest.chain),
        (guest.crl_name(), &guest.crl),
    ] {
        wrong(name, &bytes[..bytes.len() / 2], "not what was asked for").await;
        wrong(name, b"", "not what was asked for").await;
    }
}

#[tokio::test]
async fn bytes_after_a_certificate_are_refused() {
    let guest = guest(Generation::Genoa);
    let followed = [guest.vcek.as_slice(), b"\n"].concat();
    wrong(guest.name(), &followed, "nothing after it").await;
}

#[tokio::test]
async fn a_redirection_is_refused_and_not_followed() {
    let guest = guest(Generation::Genoa);
    let elsewhere = Server::start([]).await.with(&guest);
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}{}", elsewhere.address, guest.name().kds_path());
        let reply = Reply::Status(status, vec![("location", location)]);
        let (code, text) = refused(guest.name(), reply).await;
        assert_eq!(code, "kds.redirected");
        assert!(text.contains("not followed"), "{text}");
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn other_statuses_are_refused() {
    let name = guest(Generation::Genoa).name();
    for status in [201, 204, 206, 400, 401, 403, 407] {
        let (code, text) = refused(name, Reply::Status(status, vec![])).await;
        assert_eq!(code, "kds.refused");
        assert!(text.contains(&format!("KDS says {status}")), "{text}");
    }
}

#[tokio::test]
async fn too_long_an_answer_is_refused_whether_announced_chunked_or_endless() {
    let name = guest(Generation::Genoa).name();
    let long = vec![0x30; name.max_bytes() + 1];
    for reply in [
        Reply::Body(long.clone()),
        Reply::Chunked(long),
        Reply::Stall(u64::MAX / 2, vec![0x30; 10]),
        Reply::Endless(vec![0x30; 4096]),
    ] {
        let (code, text) = refused(name, reply).await;
        assert_eq!(code, "kds.too_large");
        assert!(text.contains("more than 16384 bytes"), "{text}");
    }
}
