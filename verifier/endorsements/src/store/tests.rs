//! A directory in use, damaged, and full of what doesn't belong there.

use bastide_attester::simulator::Generation as Simulated;

use super::*;
use crate::simulated::{Guest, NOW, guest, guest_at};

const DAY: u64 = 86_400;

fn later(seconds: u64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() + seconds)
}

fn read(name: Name, bytes: &[u8]) -> Endorsement {
    Endorsement::read(name, bytes).unwrap()
}

fn crl_of(guest: &Guest) -> Endorsement {
    read(guest.crl_name(), &guest.crl)
}

#[test]
fn what_is_kept_is_found_under_its_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("a/b")).unwrap();
    let (genoa, turin) = (guest(Simulated::Genoa), guest(Simulated::Turin));
    for guest in [&genoa, &turin] {
        for (name, bytes) in [
            (guest.name(), &guest.vcek),
            (guest.chain_name(), &guest.chain),
            (guest.crl_name(), &guest.crl),
        ] {
            assert!(store.get(&name).unwrap().is_none());
            assert_eq!(store.put(&read(name, bytes), NOW).unwrap(), Put::Stored);
            assert_eq!(store.put(&read(name, bytes), NOW).unwrap(), Put::Unchanged);
            assert_eq!(store.get(&name).unwrap().unwrap().encode(), *bytes);
        }
    }
    let stranger = guest_at(Simulated::Genoa, 9, NOW, None);
    assert!(store.get(&stranger.name()).unwrap().is_none());
    assert_eq!(Store::open(store.folder()).unwrap().entries().unwrap().len(), 6);
    assert!(Store::open(&folder.path().join("none")).is_err());
}

#[test]
fn a_list_never_gives_way_to_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let older = crl_of(&guest(Simulated::Genoa));
    let newer = crl_of(&guest_at(Simulated::Genoa, 0, later(DAY), None));
    assert_eq!(store.put(&newer, later(DAY)).unwrap(), Put::Stored);
    assert_eq!(store.put(&older, later(DAY)).unwrap(), Put::Older);
    assert_eq!(store.get(older.name()).unwrap(), Some(newer));
}

#[test]
fn a_list_of_the_future_is_refused_so_that_it_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let future = crl_of(&guest_at(Simulated::Genoa, 0, later(3 * DAY), None));
    let error = store.put(&future, NOW).unwrap_err();
    assert_eq!(error.code(), "endorsements.future");
    assert!(error.to_string().contains("clock right"), "{error}");
    assert_eq!(store.put(&future, later(DAY)).unwrap(), Put::Stored);
}

#[test]
fn damaged_files_are_named_never_returned_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let genoa = guest(Simulated::Genoa);
    let path = folder.path().join(genoa.name().to_string());
    let other = guest_at(Simulated::Genoa, 9, NOW, None).vcek;
    for damage in [b"".as_slice(), &genoa.vcek[..700], &other, &[0x30; 40_000]] {
        fs::write(&path, damage).unwrap();
        let error = store.get(&genoa.name()).unwrap_err();
        assert!(error.to_string().contains(&genoa.name().to_string()), "{error}");
        assert!(store.entries().unwrap()[0].content.is_err());
        let good = read(genoa.name(), &genoa.vcek);
        assert_eq!(store.put(&good, NOW).unwrap(), Put::Stored);
        assert_eq!(store.get(&genoa.name()).unwrap(), Some(good));
    }
    // A folder in a file's place can't be replaced, and is left alone.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let good = read(genoa.name(), &genoa.vcek);
    assert_eq!(store.put(&good, NOW).unwrap_err().code(), "endorsements.io");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn strangers_files_are_left_alone_and_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for name in ["README", ".vcek-genoa-crl.der.1.2.part", "vcek-Genoa-crl.der"] {
        fs::write(folder.path().join(name), b"x").unwrap();
    }
    assert!(store.entries().unwrap().is_empty());
    assert_eq!(
        store.put(&crl_of(&guest(Simulated::Turin)), NOW).unwrap(),
        Put::Stored
    );
    let listed: Vec<_> = store
        .entries()
        .unwrap()
        .iter()
        .map(|entry| entry.name.to_string())
        .collect();
    assert_eq!(listed, ["vcek-turin-crl.der"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn a_directory_of_too_many_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for number in 0..=MAX_ENTRIES {
        fs::write(folder.path().join(number.to_string()), b"").unwrap();
    }
    assert_eq!(store.entries().unwrap_err().code(), "endorsements.too_many");
}
