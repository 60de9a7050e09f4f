//! configfs-tsm with a kernel that the test plays: folders with generations,
//! other processes that interfere, and errors.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use super::*;

#[derive(Default)]
struct Folder {
    generation: u64,
    inblob: Vec<u8>,
    level: String,
}

/// What the kernel does otherwise than as it should.
#[derive(Default)]
struct Faults {
    /// Other processes' writes that are still to come, one after each of ours.
    interference: u32,
    /// Attribute whose use fails, and how.
    error: Option<(&'static str, Errno)>,
    /// Size of the outblob.
    oversized: bool,
    provider: Option<&'static str>,
}

#[derive(Default)]
struct Kernel {
    folders: Mutex<BTreeMap<String, Folder>>,
    faults: Mutex<Faults>,
    levels: Mutex<Vec<String>>,
}

impl Kernel {
    fn with(faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            faults: Mutex::new(faults),
            ..Self::default()
        })
    }

    fn fail(&self, attribute: &str) -> Result<(), Errno> {
        match self.faults.lock().unwrap().error {
            Some((faulty, error)) if faulty == attribute => Err(error),
            _ => Ok(()),
        }
    }
}

impl Tree for Arc<Kernel> {
    fn make(&self, folder: &str) -> Result<(), Errno> {
        self.fail("mkdir")?;
        let mut folders = self.folders.lock().unwrap();
        if folders.contains_key(folder) {
            return Err(Errno::EXIST);
        }
        folders.insert(folder.to_owned(), Folder::default());
        Ok(())
    }

    fn write(&self, folder: &str, attribute: &str, bytes: &[u8]) -> Result<(), Errno> {
        self.fail(attribute)?;
        let mut folders = self.folders.lock().unwrap();
        let folder = folders.get_mut(folder).ok_or(Errno::NOENT)?;
        folder.generation += 1;
        match attribute {
            "inblob" => {
                folder.inblob = bytes.to_vec();
                let mut faults = self.faults.lock().unwrap();
                if faults.interference > 0 {
                    faults.interference -= 1;
                    folder.generation += 1;
                    folder.inblob = vec![0xee; 64];
                }
            }
            "privlevel" => {
                folder.level = String::from_utf8(bytes.to_vec()).unwrap();
                self.levels.lock().unwrap().push(folder.level.clone());
            }
            _ => return Err(Errno::ACCESS),
        }
        Ok(())
    }

    fn read(&self, folder: &str, attribute: &str, limit: usize) -> Result<Vec<u8>, Errno> {
        self.fail(attribute)?;
        let folders = self.folders.lock().unwrap();
        let folder = folders.get(folder).ok_or(Errno::NOENT)?;
        let faults = self.faults.lock().unwrap();
        let bytes = match attribute {
            "provider" => format!("{}\n", faults.provider.unwrap_or("sev_guest")).into_bytes(),
            "generation" => format!("{}\n", folder.generation).into_bytes(),
            "outblob" if faults.oversized => vec![0; limit + 1],
            "outblob" => [b"report of ".as_slice(), &folder.inblob].concat(),
            "auxblob" => b"table".to_vec(),
            _ => return Err(Errno::NOENT),
        };
        if bytes.len() > limit {
            return Err(Errno::FBIG);
        }
        Ok(bytes)
    }

    fn remove(&self, folder: &str) {
        self.folders.lock().unwrap().remove(folder);
    }

    fn path(&self) -> String {
        "/config/tsm/report".to_owned()
    }
}

fn data(byte: u8) -> ReportData {
    ReportData::new([byte; 64])
}

fn open(kernel: &Arc<Kernel>, vmpl: Option<u8>) -> ConfigfsTsm<Arc<Kernel>> {
    ConfigfsTsm::open(Arc::clone(kernel), vmpl).unwrap()
}

fn is_clean(kernel: &Kernel) -> bool {
    kernel.folders.lock().unwrap().is_empty()
}

#[test]
fn a_request_gives_report_and_table_and_leaves_nothing_behind() {
    let kernel = Kernel::with(Faults::default());
    for vmpl in [None, Some(0), Some(2)] {
        let answer = open(&kernel, vmpl).request(&data(7)).unwrap();
        assert_eq!(answer.report, [b"report of ".as_slice(), &[7; 64]].concat());
        assert_eq!(answer.table, b"table");
    }
    assert_eq!(*kernel.levels.lock().unwrap(), ["0", "2"]);
    assert!(is_clean(&kernel));
}

#[test]
fn one_interference_is_outlasted_and_two_are_transient() {
    let once = Kernel::with(Faults {
        interference: 1,
        ..Faults::default()
    });
    let answer = open(&once, None).request(&data(7)).unwrap();
    assert!(answer.report.ends_with(&[7; 64]));
    assert!(is_clean(&once));

    let twice = Kernel::with(Faults {
        interference: 2,
        ..Faults::default()
    });
    let source = open(&twice, Some(1));
    assert!(matches!(
        source.request(&data(7)),
        Err(AttesterError::Transient { .. })
    ));
    assert!(source.request(&data(7)).is_ok());
    assert!(is_clean(&twice));
}

#[test]
fn errors_are_sorted_and_folders_removed() {
    for (attribute, errno, expected) in [
        ("mkdir", Errno::NOMEM, "transient"),
        ("inblob", Errno::BUSY, "transient"),
        ("outblob", Errno::INTR, "transient"),
        ("outblob", Errno::TIMEDOUT, "unattestable"),
        ("outblob", Errno::NOTTY, "unattestable"),
        ("outblob", Errno::IO, "unattestable"),
        ("privlevel", Errno::INVAL, "unusable"),
        ("generation", Errno::ACCESS, "unusable"),
    ] {
        let kernel = Kernel::with(Faults::default());
        let source = open(&kernel, Some(0));
        kernel.faults.lock().unwrap().error = Some((attribute, errno));
        let got = match source.request(&data(1)).unwrap_err() {
            AttesterError::Transient { .. } => "transient",
            AttesterError::Unattestable { .. } => "unattestable",
            AttesterError::Unusable { .. } => "unusable",
            _ => "other",
        };
        assert_eq!(got, expected, "{attribute} {errno:?}");
        assert!(is_clean(&kernel), "{attribute}");
    }
}

#[test]
fn a_hidden_auxblob_is_an_empty_table_and_a_huge_outblob_is_refused() {
    let kernel = Kernel::with(Faults::default());
    let source = open(&kernel, None);
    kernel.faults.lock().unwrap().error = Some(("auxblob", Errno::NOENT));
    assert!(source.request(&data(1)).unwrap().table.is_empty());
    kernel.faults.lock().unwrap().oversized = true;
    assert!(matches!(
        source.request(&data(1)),
        Err(AttesterError::Unusable { .. })
    ));
    assert!(is_clean(&kernel));
}

#[test]
fn another_provider_and_a_missing_one_are_unavailable() {
    for (faults, expected) in [
        (
            Faults {
                provider: Some("tdx_guest"),
                ..Faults::default()
            },
            "`tdx_guest`",
        ),
        (
            Faults {
                error: Some(("mkdir", Errno::NXIO)),
                ..Faults::default()
            },
            "no provider",
        ),
        (
            Faults {
                error: Some(("mkdir", Errno::ACCESS)),
                ..Faults::default()
            },
            "by this user",
        ),
        (
            Faults {
                error: Some(("mkdir", Errno::NOENT)),
                ..Faults::default()
            },
            "does not exist",
        ),
    ] {
        let kernel = Kernel::with(faults);
        let error = ConfigfsTsm::open(Arc::clone(&kernel), None).err().unwrap();
        assert!(matches!(error, AttesterError::Unavailable { .. }));
        assert!(error.to_string().contains(expected), "{error}");
        assert!(is_clean(&kernel));
    }
}

#[test]
fn folders_left_behind_by_others_are_stepped_over_and_kept() {
    let kernel = Kernel::with(Faults::default());
    let left = |number: u32| format!("bastide-{}-{number}", std::process::id());
    for number in 1..5 {
        kernel
            .folders
            .lock()
            .unwrap()
            .insert(left(number), Folder::default());
    }
    assert!(open(&kernel, None).request(&data(3)).is_ok());
    assert_eq!(kernel.folders.lock().unwrap().len(), 4);
}

#[test]
fn concurrent_requests_do_not_mix() {
    let kernel = Kernel::with(Faults::default());
    let source = open(&kernel, None);
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for byte in 0..8 {
            let (source, start) = (&source, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..50 {
                    let answer = source.request(&data(byte)).unwrap();
                    assert!(answer.report.ends_with(&[byte; 64]));
                }
            });
        }
    });
    assert!(is_clean(&kernel));
}

#[test]
fn the_real_file_system_is_read_with_a_limit_and_no_file_is_created() {
    let root = tempfile::tempdir().unwrap();
    let tree = Reports::at(root.path());
    tree.make("one").unwrap();
    assert_eq!(tree.make("one"), Err(Errno::EXIST));
    assert_eq!(tree.write("one", "inblob", b"x"), Err(Errno::NOENT));
    fs::write(root.path().join("one/inblob"), b"").unwrap();
    tree.write("one", "inblob", b"four").unwrap();
    assert_eq!(tree.read("one", "inblob", 4), Ok(b"four".to_vec()));
    assert_eq!(tree.read("one", "inblob", 3), Err(Errno::FBIG));
    assert_eq!(tree.read("one", "outblob", 3), Err(Errno::NOENT));
    fs::remove_file(root.path().join("one/inblob")).unwrap();
    tree.remove("one");
    assert!(!root.path().join("one").exists());
    assert_eq!(
        Reports::at(&root.path().join("none")).make("x"),
        Err(Errno::NOENT)
    );
}
