//! The test vectors that are checked in are what the code gives.

#[path = "../examples/spec-vectors/vectors/mod.rs"]
mod vectors;

use std::path::Path;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/vectors")
}

#[test]
fn the_checked_in_vectors_are_what_the_code_gives() {
    for (name, file) in vectors::files() {
        let path = folder().join(name);
        if std::env::var_os("BASTIDE_BLESS").is_some() {
            vectors::write(&path, &file).unwrap();
        }
        assert_eq!(vectors::compare(&path, &file), Ok(()), "{name}");
        assert!(vectors::count(&file) > 0, "{name} holds no vector");
    }
}

#[test]
fn no_file_of_vectors_lies_there_that_nothing_makes() {
    let made: Vec<&str> = vectors::files().into_iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(made.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn a_changed_vector_is_noticed() {
    let (name, mut file) = vectors::files().remove(0);
    file["vectors"][0]["binder"] = "00".into();
    assert!(vectors::compare(&folder().join(name), &file).is_err());
}
