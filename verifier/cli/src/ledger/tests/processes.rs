//! Several processes and one file: they wait for one another, and one that is
//! killed loses nothing that it had written.

use super::*;

/// Where a child of a test writes, and how often.
const CHILD_FILE: &str = "BASTIDE_TEST_LEDGER";
const CHILD_COUNT: &str = "BASTIDE_TEST_LEDGER_COUNT";

#[test]
fn a_ledger_that_another_process_has_is_waited_for_and_then_named() {
    let ledger = Ledger::new();
    let held = Store::open(&ledger.path, WAIT, true).unwrap();
    let started = Instant::now();
    let fault = Store::open(&ledger.path, Duration::from_millis(100), true).unwrap_err();
    assert_eq!((fault.code, fault.exit), ("ledger.locked", 40));
    assert!(started.elapsed() >= Duration::from_millis(100));
    let waiter = std::thread::spawn({
        let path = ledger.path.clone();
        move || Store::open(&path, WAIT, true).map(drop)
    });
    std::thread::sleep(Duration::from_millis(50));
    drop(held);
    waiter.join().unwrap().unwrap();
}

/// Not a test of its own: what the next ones start as processes.
#[test]
fn child_that_writes() {
    let Some(path) = std::env::var_os(CHILD_FILE) else {
        return;
    };
    let count: u64 = std::env::var(CHILD_COUNT).unwrap().parse().unwrap();
    let path = PathBuf::from(path);
    for number in 0..count {
        Store::open(&path, WAIT, false)
            .unwrap()
            .append(&path, &[unreachable_node(AT + number)], Bounds::default())
            .unwrap();
        println!("written {number}");
    }
}

fn child(path: &Path, count: u64) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "ledger::tests::processes::child_that_writes",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD_FILE, path)
        .env(CHILD_COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_process_that_is_killed_while_it_writes_loses_nothing_that_it_had_written() {
    let ledger = Ledger::new();
    let mut known = 0;
    for _ in 0..4 {
        let mut child = child(&ledger.path, 1_000_000);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut written = 0;
        while written < 7 {
            let line = lines.next().expect("it goes on writing").unwrap();
            written += usize::from(line.contains("written"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = ledger.entries().len();
        assert!(now >= known + written, "{now} of {}", known + written);
        known = now;
    }
}

#[test]
fn several_processes_keep_one_ledger() {
    let ledger = Ledger::new();
    let children: Vec<_> = (0..3).map(|_| child(&ledger.path, 30)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(ledger.entries().len(), 90);
}
