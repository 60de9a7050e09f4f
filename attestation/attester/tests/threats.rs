//! T11 of docs/spec/threats.md: nobody but the enclave's one process gets a
//! report over something of their own choice.
//!
//! What can be shown without the hardware: that the product's own way to the
//! device ends with EACCES for another user, whose file's mode is what the image
//! must set, and that no public function takes REPORT_DATA. Not shown here: that
//! an image does set that mode, and that its kernel grants no other way to the
//! guest's messages (the device is the only one that Linux has).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bastide_attestation::AttesterError;
use bastide_attester::device::{DeviceOptions, DevicePaths, Source, open};

/// Names the folder with a device for the child process, which is this test again.
const FOLDER: &str = "BASTIDE_T11_FOLDER";
const NOBODY: u32 = 65_534;

/// Tries to open both interfaces as the product does, and says what came of it.
fn attempt(folder: &Path, source: Source) -> String {
    let options = DeviceOptions {
        paths: DevicePaths {
            configfs_reports: folder.join("report"),
            sev_guest: folder.join("sev-guest"),
        },
        ..DeviceOptions::default()
    };
    match open(source, &options) {
        Ok(attester) => format!("opened {}", attester.name()),
        Err(AttesterError::Unavailable { reason }) => format!("unavailable: {reason}"),
        Err(error) => format!("another error: {error}"),
    }
}

/// A file of mode 0600 where the device would be, and a folder of mode 0700
/// where configfs would be, both this user's.
fn fake_devices() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let device = folder.path().join("sev-guest");
    fs::write(&device, "").unwrap();
    fs::set_permissions(&device, fs::Permissions::from_mode(0o600)).unwrap();
    let reports = folder.path().join("report");
    fs::create_dir(&reports).unwrap();
    fs::set_permissions(&reports, fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

#[test]
fn t11_a_second_user_in_the_guest_gets_eacces() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        // The child: another user from its first instruction on.
        for source in [Source::SevGuest, Source::ConfigfsTsm] {
            println!("{source}: {}", attempt(Path::new(&folder), source));
        }
        let device = fs::File::open(Path::new(&folder).join("sev-guest"));
        println!("the device itself: {:?}", device.unwrap_err().kind());
        let request = fs::create_dir(Path::new(&folder).join("report/0"));
        println!("a request in configfs: {:?}", request.unwrap_err().kind());
        return;
    }
    let folder = fake_devices();
    // The owner gets as far as the file goes: it opens, and is no device.
    let owner = attempt(folder.path(), Source::SevGuest);
    assert!(owner.ends_with("is not a device"), "{owner}");

    // The test's own binary, where the other user can read it.
    let copy = folder.path().join("child");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(&copy);
    child
        .args([
            "--exact",
            "t11_a_second_user_in_the_guest_gets_eacces",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .current_dir("/");
    if fs::metadata(&copy)
        .map(|file| std::os::unix::fs::MetadataExt::uid(&file))
        .unwrap()
        == 0
    {
        child.uid(NOBODY).gid(NOBODY);
    } else {
        // Only root can become another user. Without it, what is left is that a
        // mode which excludes this user stops the product, too.
        fs::set_permissions(folder.path().join("sev-guest"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(folder.path().join("report"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for wanted in [
        "sev-guest: unavailable",
        "configfs-tsm: unavailable",
        "the device itself: PermissionDenied",
        "a request in configfs: PermissionDenied",
    ] {
        assert!(said.contains(wanted), "no `{wanted}` in:\n{said}");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A source without comments and without its tests, which come last in a file.
fn product(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| ["tests", "benches", "fuzz_targets"].contains(&part.as_os_str().to_str().unwrap_or("")))
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

#[test]
fn t11_no_public_function_takes_report_data() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["attestation", "enclave", "host-shim"] {
        sources(&root.join(folder), &mut files);
    }
    files.retain(|path| !is_test(path) && !path.components().any(|part| part.as_os_str() == "target"));
    assert!(files.len() > 100, "only {} sources were found", files.len());
    let mut makers = Vec::new();
    for path in &files {
        let text = product(path);
        // `pub fn`, and methods of public traits, which name no visibility.
        for (at, _) in text.match_indices("fn ") {
            let line = &text[text[..at].rfind('\n').map_or(0, |newline| newline + 1)..at];
            let signature = text[at..].split(['{', ';']).next().unwrap_or_default();
            let parameters = signature.split("->").next().unwrap_or_default();
            let private = line.contains("pub(") || !line.contains("pub ");
            assert!(
                private || !parameters.contains("ReportData"),
                "{}: `{signature}` takes REPORT_DATA of a caller's choice",
                path.display()
            );
        }
        if text.contains("ReportData::new(") {
            makers.push(path.strip_prefix(&root).unwrap().display().to_string());
        }
    }
    makers.sort();
    // binding makes it of a statement; a report's reader reads it; the simulated
    // paravisor makes its own of runtime data, as Azure's does, in simulator builds.
    assert_eq!(
        makers,
        [
            "attestation/attester/src/simulator/azure.rs",
            "attestation/src/binding.rs",
            "attestation/src/snp/report.rs",
        ]
    );
}

/// The one public way to a report takes a statement, and a statement's bytes are
/// to be had only by encoding one.
#[test]
fn t11_an_attester_takes_statements_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let role = product(&root.join("role.rs"));
    assert!(
        role.contains("fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError>;")
    );
    let statement = product(&root.join("statement.rs"));
    assert!(
        statement.contains("pub struct StatementBytes(Vec<u8>);"),
        "its bytes are private"
    );
    assert_eq!(
        statement.matches("StatementBytes(").count(),
        2,
        "its definition, and the one place that makes one"
    );
}
