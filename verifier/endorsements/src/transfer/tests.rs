//! From one directory to another, with honest and with tampered copies.

use bastide_attester::simulator::Generation as Simulated;

use super::*;
use crate::endorsement::Endorsement;
use crate::simulated::{NOW, guest, guest_at};

fn filled(folder: &Path) -> Store {
    let store = Store::create(folder).unwrap();
    let genoa = guest(Simulated::Genoa);
    for (name, bytes) in [
        (genoa.name(), &genoa.vcek),
        (genoa.chain_name(), &genoa.chain),
        (genoa.crl_name(), &genoa.crl),
    ] {
        store.put(&Endorsement::read(name, bytes).unwrap(), NOW).unwrap();
    }
    store
}

#[test]
fn an_export_is_imported_whole_and_again_without_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(&folder.path().join("from"));
    let carried = folder.path().join("carried");
    assert_eq!(export(&store, &carried).unwrap().len(), 3);
    assert_eq!(fs::read_dir(&carried).unwrap().count(), 4);

    let to = Store::create(&folder.path().join("to")).unwrap();
    let kept = import(&to, &carried, NOW).unwrap();
    assert!(kept.len() == 3 && kept.iter().all(|(_, put)| *put == Put::Stored));
    let kept = import(&to, &carried, NOW).unwrap();
    assert!(kept.len() == 3 && kept.iter().all(|(_, put)| *put == Put::Unchanged));
    let bytes = |store: &Store| -> Vec<Vec<u8>> {
        let entries = store.entries().unwrap();
        entries
            .into_iter()
            .map(|entry| entry.content.unwrap().encode())
            .collect()
    };
    assert_eq!(bytes(&to), bytes(&store));
}

#[test]
fn an_import_keeps_the_newer_list() {
    let folder = tempfile::tempdir().unwrap();
    let carried = folder.path().join("carried");
    export(&filled(&folder.path().join("from")), &carried).unwrap();
    let to = filled(&folder.path().join("to"));
    let tomorrow = UnixTime::from_secs(NOW.as_secs() + 86_400);
    let newer = guest_at(Simulated::Genoa, 0, tomorrow, None);
    let newer = Endorsement::read(newer.crl_name(), &newer.crl).unwrap();
    to.put(&newer, tomorrow).unwrap();
    let kept = import(&to, &carried, tomorrow).unwrap();
    assert!(
        kept.contains(&(ItemName::Amd(*newer.name()), Put::Older)),
        "{kept:?}"
    );
    assert_eq!(to.get(newer.name()).unwrap(), Some(newer));
}

#[test]
fn every_flipped_byte_of_an_export_is_found_before_anything_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let carried = folder.path().join("carried");
    export(&filled(&folder.path().join("from")), &carried).unwrap();
    let to = Store::create(&folder.path().join("to")).unwrap();
    for file in fs::read_dir(&carried).unwrap() {
        let path = file.unwrap().path();
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(import(&to, &carried, NOW).is_err(), "{} {at}", path.display());
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(import(&to, &carried, NOW).is_err(), "{} cut", path.display());
        fs::remove_file(&path).unwrap();
        assert!(import(&to, &carried, NOW).is_err(), "{} removed", path.display());
        fs::write(&path, &good).unwrap();
    }
    assert!(
        to.entries().unwrap().is_empty(),
        "a refused import kept something"
    );
    import(&to, &carried, NOW).unwrap();
}

#[test]
fn a_list_that_is_right_about_a_file_that_is_wrong_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let carried = folder.path().join("carried");
    export(&filled(&folder.path().join("from")), &carried).unwrap();
    let (genoa, other) = (guest(Simulated::Genoa), guest_at(Simulated::Genoa, 9, NOW, None));
    let path = carried.join(genoa.name().to_string());
    fs::write(path, &other.vcek).unwrap();
    let list = Manifest::of([(genoa.name().into(), other.vcek.as_slice())]);
    fs::write(carried.join(manifest::FILE_NAME), list.encode()).unwrap();
    let to = Store::create(&folder.path().join("to")).unwrap();
    let error = import(&to, &carried, NOW).unwrap_err();
    assert_eq!(error.code(), "endorsements.form");
    assert!(error.to_string().contains("another chip"), "{error}");
}

#[test]
fn exports_take_an_empty_folder_and_a_sound_directory_only() {
    let folder = tempfile::tempdir().unwrap();
    let code = |result: Result<Vec<Item>, TransferError>| result.unwrap_err().code();
    let empty = Store::create(&folder.path().join("empty")).unwrap();
    assert_eq!(
        code(export(&empty, &folder.path().join("out"))),
        "endorsements.nothing"
    );
    let store = filled(&folder.path().join("from"));
    assert_eq!(code(export(&store, folder.path())), "endorsements.not_empty");
    let path = store.folder().join("vcek-genoa-crl.der");
    fs::write(path, b"damaged").unwrap();
    let out = folder.path().join("out");
    assert_eq!(code(export(&store, &out)), "endorsements.corrupt");
    assert!(!out.exists());
    let no_export = import(&store, empty.folder(), NOW).unwrap_err();
    assert_eq!(no_export.code(), "endorsements.manifest");
}
