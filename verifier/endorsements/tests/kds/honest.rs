//! A server that answers as documented, and the directory that is filled from it.

use bastide_attestation::UnixTime;
use bastide_attester::simulator::Generation;
use bastide_endorsements::sync::{Refresh, SyncError, Synced, sync};
use bastide_endorsements::{Put, Store};

use crate::server::{Reply, Server};
use crate::simulated::{Guest, NOW, guest, guest_at, issued};
use crate::{Name, TestPace, client};

fn names(guest: &Guest) -> [Name; 3] {
    [guest.name(), guest.chain_name(), guest.crl_name()]
}

#[tokio::test]
async fn both_forms_of_the_certificates_address_and_chain_and_list_are_asked_for() {
    for generation in Generation::ALL {
        let guest = guest(generation);
        let server = Server::start([]).await.with(&guest);
        let pace = TestPace::new();
        let kds = client(&server.address, &pace);
        for (name, bytes) in names(&guest)
            .into_iter()
            .zip([&guest.vcek, &guest.chain, &guest.crl])
        {
            assert_eq!(kds.fetch(&name).await.unwrap().encode(), *bytes);
        }
        let asked = server.asked();
        let product = generation.name();
        let (digits, query) = match generation {
            Generation::Genoa => (128, "?blSPL=10&teeSPL=00&snpSPL=27&ucodeSPL=84"),
            Generation::Turin => (16, "?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=81"),
        };
        let hwid = asked[0]
            .strip_prefix(&format!("/vcek/v1/{product}/"))
            .and_then(|rest| rest.strip_suffix(query))
            .unwrap_or_else(|| panic!("{asked:?}"));
        assert_eq!(hwid.len(), digits);
        assert_eq!(
            asked[1..],
            [
                format!("/vcek/v1/{product}/cert_chain"),
                format!("/vcek/v1/{product}/crl")
            ]
        );
        assert!(pace.waits().is_empty());
    }
}

#[tokio::test]
async fn a_mirror_may_have_a_path_of_its_own() {
    let guest = guest(Generation::Turin);
    let server = Server::start([Reply::Body(guest.crl.clone())]).await;
    let pace = TestPace::new();
    let kds = client(&format!("{}/amd/", server.address), &pace);
    kds.fetch(&guest.crl_name()).await.unwrap();
    assert_eq!(server.asked(), ["/amd/vcek/v1/Turin/crl"]);
}

#[tokio::test]
async fn what_the_server_does_not_know_is_said_at_once() {
    let guest = guest(Generation::Turin);
    let server = Server::start([]).await;
    let pace = TestPace::new();
    let error = client(&server.address, &pace)
        .fetch(&guest.name())
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.attempts), ("kds.unknown", 1));
    assert!(error.to_string().contains(&guest.name().kds_path()), "{error}");
}

#[tokio::test]
async fn a_directory_is_filled_once_and_its_list_is_kept_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let guest = guest(Generation::Genoa);
    let server = Server::start([]).await.with(&guest);
    let pace = TestPace::new();
    let kds = client(&server.address, &pace);
    let wanted = names(&guest);
    let outcomes = sync(&store, &kds, &wanted, Refresh::Lists, NOW).await;
    assert_eq!(outcomes.len(), 3);
    for outcome in outcomes {
        assert_eq!(outcome.result.unwrap(), Synced::Fetched(Put::Stored));
    }
    let tomorrow = UnixTime::from_secs(NOW.as_secs() + 86_400);
    let _ = server
        .clone()
        .with(&guest_at(Generation::Genoa, 0, tomorrow, None));
    let outcomes = sync(&store, &kds, &wanted, Refresh::Lists, tomorrow).await;
    let results: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.result.unwrap())
        .collect();
    assert_eq!(
        results,
        [Synced::Kept, Synced::Kept, Synced::Fetched(Put::Stored)]
    );
    assert_eq!(server.asked().len(), 4);
    assert_eq!(
        store.get(&guest.crl_name()).unwrap().unwrap().issued(),
        issued(tomorrow)
    );

    // A mirror that has fallen behind takes nothing away.
    let _ = server.clone().with(&guest);
    let outcomes = sync(&store, &kds, &wanted[2..], Refresh::Lists, tomorrow).await;
    assert!(matches!(outcomes[0].result, Ok(Synced::Fetched(Put::Older))));
    assert_eq!(
        store.get(&guest.crl_name()).unwrap().unwrap().issued(),
        issued(tomorrow)
    );
}

#[tokio::test]
async fn a_damaged_file_is_fetched_again_and_an_outage_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let guest = guest(Generation::Turin);
    let server = Server::start([]).await.with(&guest);
    let pace = TestPace::new();
    let kds = client(&server.address, &pace);
    let wanted = names(&guest);
    std::fs::write(folder.path().join(guest.name().to_string()), b"damaged").unwrap();
    let outcomes = sync(&store, &kds, &wanted, Refresh::Missing, NOW).await;
    assert!(outcomes[0].damaged.is_some() && outcomes[1].damaged.is_none());
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));

    let before = store.get(&guest.crl_name()).unwrap();
    server.then(vec![Reply::Status(500, vec![]); 5]);
    let outcomes = sync(&store, &kds, &wanted, Refresh::Lists, NOW).await;
    let Err(error @ SyncError::Fetch { kept: true, .. }) = &outcomes[2].result else {
        panic!("{outcomes:?}");
    };
    assert!(error.to_string().ends_with("; the older copy stays"), "{error}");
    assert_eq!(store.get(&guest.crl_name()).unwrap(), before);

    // One that can't be had doesn't keep the others from being fetched.
    let other = Store::create(&folder.path().join("other")).unwrap();
    server.then([Reply::Body(b"<html>".to_vec())]);
    let outcomes = sync(&other, &kds, &wanted, Refresh::Missing, NOW).await;
    let good: Vec<_> = outcomes.iter().map(|outcome| outcome.result.is_ok()).collect();
    assert_eq!(good, [false, true, true]);
}
