//! The `bastide-shim` command as a process: what it prints and where, its exit
//! codes, its signals, its memory, and what its log leaves out.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

fn shim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bastide-shim"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = shim(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A relay that has said it listens; killed when dropped.
struct Running {
    child: Child,
    ready: String,
    stdout: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Running {
    fn start(to: &str, more: &[&str]) -> Self {
        let mut command = shim(&["relay", "--listen", "tcp:127.0.0.1:0", "--to", to]);
        let mut child = command
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let line: Value = serde_json::from_str(&ready).expect("the ready line is JSON");
        assert_eq!(line["schema"], "bastide.shim-ready/v1");
        let address = line["listen"]
            .as_str()
            .unwrap()
            .strip_prefix("tcp:")
            .unwrap()
            .to_owned();
        Self {
            child,
            ready,
            stdout,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("sh")
                .args(["-c", "kill -\"$0\" \"$1\"", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end: exit code, the rest of stdout, stderr.
    fn wait(mut self) -> (Option<i32>, String, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it runs on");
            thread::sleep(Duration::from_millis(10));
        };
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (status.code(), stdout, stderr)
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reader, &mut stream);
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

fn event<'a>(lines: &'a [Value], name: &str) -> &'a Value {
    lines
        .iter()
        .find(|line| line["event"] == name)
        .unwrap_or_else(|| panic!("no {name} in {lines:?}"))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn stdout_and_the_ready_file_hold_one_line_and_a_signal_ends_it_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let path = file.to_str().unwrap();
    for signal in ["TERM", "INT"] {
        let relay = Running::start(&echo(), &["--ready-file", path]);
        assert_eq!(fs::read_to_string(&file).unwrap(), relay.ready);
        relay.signal(signal);
        let (code, rest, stderr) = relay.wait();
        assert_eq!((code, rest.as_str()), (Some(0), ""), "{stderr}");
        assert!(!file.exists(), "the file says that it listens");
        let lines = json_lines(&stderr);
        event(&lines, "shim.listening");
        event(&lines, "shim.stopped");
    }
}

#[test]
fn the_first_signal_drains_and_the_second_cuts() {
    let relay = Running::start(&echo(), &["--drain-timeout", "1h"]);
    let mut client = relay.connect();
    let mut byte = [0];
    client
        .write_all(b"x")
        .and_then(|()| client.read_exact(&mut byte))
        .unwrap();
    relay.signal("TERM");
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(&relay.address).is_ok() {
        assert!(Instant::now() < deadline, "it still takes connections");
        thread::sleep(Duration::from_millis(10));
    }
    client
        .write_all(b"y")
        .and_then(|()| client.read_exact(&mut byte))
        .unwrap();
    assert_eq!(byte, *b"y", "an open connection goes on");
    relay.signal("INT");
    let (code, _, stderr) = relay.wait();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(event(&json_lines(&stderr), "shim.stopped")["cut"], 1);
    assert_eq!(
        client.read(&mut byte).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn faults_of_use_are_2_and_say_what_would_do() {
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage"),
        (&["launch"], "unrecognized subcommand"),
        (&["relay", "--listen", "tcp:127.0.0.1:0"], "--to"),
        (
            &["relay", "--listen", "127.0.0.1:0", "--to", "vsock:3:1"],
            "tcp:HOST:PORT",
        ),
        (
            &["relay", "--listen", "tcp:127.0.0.1:0", "--to", "vsock:any:1"],
            "no one to connect to",
        ),
        (
            &[
                "relay",
                "--listen",
                "tcp:127.0.0.1:0",
                "--to",
                "vsock:3:1",
                "--idle-timeout",
                "30",
            ],
            "500ms, 30s",
        ),
        (
            &[
                "relay",
                "--listen",
                "tcp:127.0.0.1:0",
                "--to",
                "vsock:3:1",
                "--per-address",
                "0",
            ],
            "1 to 100000",
        ),
        (
            &[
                "relay",
                "--listen",
                "tcp:127.0.0.1:0",
                "--to",
                "vsock:3:1",
                "--log",
                "all",
            ],
            "debug",
        ),
    ];
    for (arguments, hint) in cases {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}

#[test]
fn faults_of_the_surroundings_are_1_with_code_and_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp:{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing/ready.json");
    let nowhere = nowhere.to_str().unwrap();
    let cases: [(&[&str], &str); 2] = [
        (
            &["relay", "--listen", &taken, "--to", "vsock:3:1"],
            "shim.listen.address_in_use",
        ),
        (
            &[
                "relay",
                "--listen",
                "tcp:127.0.0.1:0",
                "--to",
                "vsock:3:1",
                "--ready-file",
                nowhere,
            ],
            "shim.ready.file",
        ),
    ];
    for (arguments, expected) in cases {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{arguments:?}: {stderr}");
        let lines = json_lines(&stderr);
        let failed = event(&lines, "shim.failed");
        assert_eq!(failed["code"], expected, "{stderr}");
        assert!(!failed["remedy"].as_str().unwrap().is_empty());
    }
}

#[test]
fn help_has_the_address_forms_the_exit_codes_and_examples() {
    let (code, stdout, stderr) = output(&["relay", "--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for text in [
        "vsock:CID:PORT",
        "Exit codes",
        "Examples",
        "--max-connections",
        "--ready-file",
    ] {
        assert!(stdout.contains(text), "{text} in {stdout}");
    }
}

#[test]
fn the_log_has_no_byte_of_payload_and_no_client_address_unless_debugging() {
    let canary = "canary-c41d5e0f";
    for (level, named) in [("info", false), ("debug", true)] {
        let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for to in [echo(), format!("tcp:{down}")] {
            let relay = Running::start(&to, &["--log", level, "--per-address", "1"]);
            // From an address that is neither listened on nor connected to.
            let client = from_127_0_0_9(&relay.address).map(|mut client| {
                let _ = client.write_all(canary.as_bytes());
                let _ = client.read(&mut [0; 64]);
                client
            });
            drop(from_127_0_0_9(&relay.address));
            drop(client);
            thread::sleep(Duration::from_millis(100));
            relay.signal("TERM");
            let (code, _, stderr) = relay.wait();
            assert_eq!(code, Some(0));
            json_lines(&stderr);
            assert!(!stderr.contains(canary), "{stderr}");
            assert_eq!(stderr.contains("127.0.0.9"), named, "level {level}: {stderr}");
        }
    }
}

/// Connects from 127.0.0.9; the standard library can't choose its own address.
/// A connection that the relay refuses can end before it is seen to begin.
fn from_127_0_0_9(to: &str) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.9:0".parse().expect("an address"))?;
        let stream = socket
            .connect(to.parse().expect("an address"))
            .await?
            .into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    })
}

#[test]
fn slow_readers_stop_their_writers_and_not_the_memory() {
    const CONNECTIONS: usize = 16;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp:{}", listener.local_addr().unwrap());
    let relay = Running::start(&to, &[]);
    let before = relay.resident();
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = relay.connect();
        client.set_nonblocking(true).unwrap();
        let (guest, _) = listener.accept().unwrap();
        pairs.push((client, guest, 0_u64));
    }
    // Writes until nothing has been taken anywhere for half a second.
    let chunk = vec![7; 64 << 10];
    let mut moved = Instant::now();
    while moved.elapsed() < Duration::from_millis(500) {
        for (client, _, taken) in &mut pairs {
            match client.write(&chunk) {
                Ok(count) => {
                    *taken += u64::try_from(count).unwrap();
                    moved = Instant::now();
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let most = pairs.iter().map(|(_, _, taken)| *taken).max();
        assert!(most < Some(64 << 20), "a writer is never stopped");
        thread::sleep(Duration::from_millis(1));
    }
    let grown = relay.resident().saturating_sub(before);
    // Two buffers of 36 KiB for each connection, its task, and the allocator's slack.
    assert!(
        grown < 6 * 1024,
        "{grown} KiB for {CONNECTIONS} stalled connections"
    );

    // Nothing was lost: a reader that wakes up gets all of it.
    let (client, mut guest, taken) = pairs.pop().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    guest.set_read_timeout(Some(PATIENCE)).unwrap();
    let read = std::io::copy(&mut guest, &mut std::io::sink()).unwrap();
    assert_eq!(read, taken);
}
