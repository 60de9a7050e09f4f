//! A directory that is filled, renewed, carried elsewhere and used there.

use bastide_endorsements::nvidia::{
    Gathered, Name, Outcome, Refresh, Sources, Synced, gpu_endorsements, kept, sync,
};
use bastide_endorsements::sync::SyncError;
use bastide_endorsements::{Item, ItemName, Put, Store, transfer};

use crate::server::{Reply, Server};
use crate::{TestPace, at, crl, made, published, services};

fn results(outcomes: &[Outcome]) -> Vec<Synced> {
    outcomes
        .iter()
        .map(|outcome| *outcome.result.as_ref().unwrap())
        .collect()
}

/// Gathers once, and how many requests that took.
async fn gather(store: &Store, server: &Server, refresh: Refresh, hours: u64) -> (Gathered, usize) {
    let before = server.asked().len();
    let pace = TestPace::new();
    let client = services(&server.address, &pace);
    let gathered = gpu_endorsements(store, &client, &made::evidence(), refresh, at(hours))
        .await
        .unwrap();
    (gathered, server.asked().len() - before)
}

#[tokio::test]
async fn evidence_is_endorsed_from_the_services_once_and_then_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    let (first, asked) = gather(&store, &server, Refresh::Due, 0).await;
    // Two manifests; three answers for the device and three for their common
    // signers; two lists.
    assert_eq!(asked, 10);
    assert_eq!(results(&first.outcomes), [Synced::Fetched(Put::Stored); 10]);
    let sizes = |gathered: &Gathered| {
        let endorsements = &gathered.endorsements;
        (
            endorsements.rims.len(),
            endorsements.ocsp.len(),
            endorsements.crls.len(),
        )
    };
    assert_eq!(sizes(&first), (2, 6, 2));
    assert_eq!(first.endorsements.rims[0], made::rim(1, made::ISSUED));

    let (again, asked) = gather(&store, &server, Refresh::Due, 11).await;
    assert_eq!((asked, &again.endorsements), (0, &first.endorsements));
    assert_eq!(results(&again.outcomes), [Synced::Kept; 10]);
    let offline = kept(&store, &made::evidence()).unwrap();
    assert!(offline.absent.is_empty() && offline.endorsements == first.endorsements);
}

#[tokio::test]
async fn answers_are_renewed_after_half_a_day_and_manifests_when_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    gather(&store, &server, Refresh::Due, 0).await;

    let _ = server.clone().with(published(2, at(12)));
    let (missing, asked) = gather(&store, &server, Refresh::Missing, 12).await;
    assert_eq!((asked, results(&missing.outcomes)), (0, vec![Synced::Kept; 10]));
    let (due, asked) = gather(&store, &server, Refresh::Due, 12).await;
    assert_eq!(asked, 6);
    assert_eq!(
        due.endorsements.ocsp[0],
        made::ocsp(made::device_questions()[0].id(), at(12))
    );
    assert_eq!(due.endorsements.rims[0], made::rim(1, made::ISSUED));

    let (published, asked) = gather(&store, &server, Refresh::Published, 12).await;
    assert_eq!(asked, 2);
    let before = bastide_attestation::sha256(&[&made::rim(1, made::ISSUED)]);
    assert_eq!(results(&published.outcomes)[..2], [Synced::Updated { before }; 2]);
    assert_eq!(published.endorsements.rims[0], made::rim(2, made::ISSUED));
    let (all, asked) = gather(&store, &server, Refresh::All, 12).await;
    assert_eq!(asked, 10);
    let results = results(&all.outcomes);
    let unchanged = |synced: &&Synced| **synced == Synced::Fetched(Put::Unchanged);
    assert_eq!(results.iter().filter(unchanged).count(), 8);
    // The lists, which were not due.
    assert!(results.contains(&Synced::Fetched(Put::Stored)), "{results:?}");
}

#[tokio::test]
async fn a_service_that_has_fallen_behind_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(6)));
    let (newer, _) = gather(&store, &server, Refresh::Due, 6).await;
    let _ = server.clone().with(published(1, at(0)));
    let (older, _) = gather(&store, &server, Refresh::All, 6).await;
    assert_eq!(older.endorsements, newer.endorsements);
    let behind = results(&older.outcomes);
    assert_eq!(behind[2..], [Synced::Fetched(Put::Older); 8]);

    // Nor does an older manifest replace one that was signed anew.
    let id = made::RIM_IDS[0];
    let signed_anew = made::rim(3, at(5));
    let name = Name::Rim(id.parse().unwrap());
    let read = bastide_endorsements::nvidia::Endorsement::read(name, &signed_anew).unwrap();
    store.put_item(&read.into(), at(6)).unwrap();
    let (kept, _) = gather(&store, &server, Refresh::Published, 6).await;
    assert_eq!(results(&kept.outcomes)[0], Synced::Fetched(Put::Older));
    assert_eq!(kept.endorsements.rims[0], signed_anew);
}

#[tokio::test]
async fn an_outage_takes_nothing_away_and_a_damaged_file_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    let (whole, _) = gather(&store, &server, Refresh::Due, 0).await;
    server.then(vec![Reply::Status(400, vec![]); 10]);
    let (outage, _) = gather(&store, &server, Refresh::All, 20).await;
    assert_eq!(outage.endorsements, whole.endorsements);
    for outcome in &outage.outcomes {
        let error = outcome.result.as_ref().unwrap_err();
        assert!(matches!(error, SyncError::Fetch { kept: true, .. }), "{error}");
        assert!(error.to_string().ends_with("; the older copy stays"), "{error}");
    }

    let damaged = folder.path().join(outage.outcomes[0].name.to_string());
    std::fs::write(&damaged, b"damaged").unwrap();
    std::fs::remove_file(folder.path().join(outage.outcomes[2].name.to_string())).unwrap();
    let offline = kept(&store, &made::evidence()).unwrap();
    let absent: Vec<_> = offline
        .absent
        .iter()
        .map(|absent| (&absent.name, absent.damaged.is_some()))
        .collect();
    assert_eq!(
        absent,
        [
            (&outage.outcomes[0].name, true),
            (&outage.outcomes[2].name, false)
        ]
    );
    let (mended, asked) = gather(&store, &server, Refresh::Missing, 0).await;
    assert_eq!(asked, 2);
    assert!(mended.outcomes[0].damaged.is_some());
    assert_eq!(mended.endorsements, whole.endorsements);
}

#[tokio::test]
async fn one_that_can_not_be_had_leaves_the_others_and_what_can_not_be_written_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([Reply::Status(404, vec![])])
        .await
        .with(published(1, at(0)));
    let (gathered, _) = gather(&store, &server, Refresh::Due, 0).await;
    assert_eq!(
        gathered.outcomes[0].result.as_ref().unwrap_err().code(),
        "nvidia.unknown"
    );
    assert_eq!(
        (gathered.endorsements.rims.len(), gathered.endorsements.ocsp.len()),
        (1, 6)
    );

    // A folder in a file's place.
    let place = folder.path().join(gathered.outcomes[0].name.to_string());
    std::fs::create_dir(place).unwrap();
    let (gathered, _) = gather(&store, &server, Refresh::Due, 0).await;
    assert_eq!(
        gathered.outcomes[0].result.as_ref().unwrap_err().code(),
        "endorsements.io"
    );
    assert_eq!(gathered.endorsements.rims.len(), 2);
}

#[tokio::test]
async fn an_answer_of_the_future_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    let (now, _) = gather(&store, &server, Refresh::Due, 0).await;
    let _ = server.clone().with(published(1, at(72)));
    let (future, _) = gather(&store, &server, Refresh::All, 12).await;
    assert_eq!(
        future.outcomes[2].result.as_ref().unwrap_err().code(),
        "endorsements.future"
    );
    assert_eq!(future.endorsements, now.endorsements);
}

#[tokio::test]
async fn a_manifest_can_be_asked_for_by_its_id_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    let pace = TestPace::new();
    let mut sources = Sources::default();
    for _ in 0..2 {
        sources.add_rim(made::RIM_IDS[0].parse().unwrap());
    }
    let client = services(&server.address, &pace);
    let outcomes = sync(&store, &client, &sources, Refresh::Published, at(0)).await;
    assert_eq!(results(&outcomes), [Synced::Fetched(Put::Stored); 5]);
    assert_eq!(outcomes[4].name, crl("crl-corim/l1-corim").name());
}

#[tokio::test]
async fn an_export_is_imported_with_the_same_bytes_and_a_tampered_one_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("from")).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    let (gathered, _) = gather(&store, &server, Refresh::Due, 0).await;
    let carried = folder.path().join("carried");
    assert_eq!(transfer::export(&store, &carried).unwrap().len(), 10);

    let to = Store::create(&folder.path().join("to")).unwrap();
    let imported = transfer::import(&to, &carried, at(0)).unwrap();
    assert!(imported.iter().all(|(_, put)| *put == Put::Stored));
    let offline = kept(&to, &made::evidence()).unwrap();
    assert!(offline.absent.is_empty() && offline.endorsements == gathered.endorsements);

    let untouched = Store::create(&folder.path().join("untouched")).unwrap();
    for file in std::fs::read_dir(&carried).unwrap() {
        let path = file.unwrap().path();
        let good = std::fs::read(&path).unwrap();
        for at_byte in (0..good.len()).step_by(211) {
            let mut bad = good.clone();
            bad[at_byte] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let refused = transfer::import(&untouched, &carried, at(0));
            assert!(refused.is_err(), "{} {at_byte}", path.display());
        }
        std::fs::write(&path, &good).unwrap();
    }
    // A list that is right about an answer under another certificate's name.
    let [one, other] = [2, 3].map(|index: usize| gathered.outcomes[index].name.clone());
    let swapped = std::fs::read(carried.join(other.to_string())).unwrap();
    std::fs::write(carried.join(one.to_string()), &swapped).unwrap();
    let list = bastide_endorsements::manifest::Manifest::of([(ItemName::from(one), swapped.as_slice())]);
    let list_path = carried.join(bastide_endorsements::manifest::FILE_NAME);
    std::fs::write(list_path, list.encode()).unwrap();
    let refused = transfer::import(&untouched, &carried, at(0)).unwrap_err();
    assert_eq!(refused.code(), "endorsements.form");
    assert!(untouched.entries().unwrap().is_empty());
}

#[tokio::test]
async fn both_vendors_endorsements_lie_in_one_directory() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let server = Server::start([]).await.with(published(1, at(0)));
    gather(&store, &server, Refresh::Due, 0).await;
    let amd: ItemName = "vcek-genoa-crl.der".parse().unwrap();
    std::fs::write(folder.path().join(amd.to_string()), b"damaged").unwrap();
    let entries = store.entries().unwrap();
    assert_eq!(entries.len(), 11);
    for entry in entries {
        match (&entry.name, &entry.content) {
            (ItemName::Amd(_), Err(error)) => assert_eq!(error.code(), "endorsements.corrupt"),
            (ItemName::Nvidia(_), Ok(Item::Nvidia(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}
