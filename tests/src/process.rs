//! One real process: its JSON line on stdout that says it is ready, its stderr
//! in a file, and its end, which comes at the latest when the value is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running command that has said it is ready.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ready: Value,
    stderr: PathBuf,
    name: String,
}

impl Process {
    /// Starts `command` and waits for its ready line.
    ///
    /// # Errors
    /// What the process printed to stderr, if it ends or says nothing in time.
    pub fn start(mut command: Command, name: &str, logs: &Path, limit: Duration) -> Result<Self, String> {
        let stderr = logs.join(format!("{name}.stderr"));
        let log = File::create(&stderr).map_err(|error| format!("{name}: no log file: {error}"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{name}: can't start: {error}"))?;
        let stdout = child.stdout.take().ok_or("stdout is piped")?;
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            let first = reader.read_line(&mut line).map(|_| line);
            let _ = send.send(first);
            // Keep draining, so that a talkative process never blocks.
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        });
        let line = receive.recv_timeout(limit);
        let ready = match &line {
            Ok(Ok(line)) => serde_json::from_str(line).ok(),
            _ => None,
        };
        let Some(ready) = ready else {
            let _ = child.kill();
            let status = child
                .wait()
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(format!(
                "{name}: no ready line ({status}); stderr:\n{}",
                read(&stderr)
            ));
        };
        Ok(Self {
            child,
            ready,
            stderr,
            name: name.to_owned(),
        })
    }

    /// A text member of the ready line.
    ///
    /// # Panics
    /// If the ready line has no such member.
    #[must_use]
    pub fn ready(&self, member: &str) -> &str {
        self.ready
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{}: the ready line has no `{member}`: {}", self.name, self.ready))
    }

    /// Everything written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// If it is still running after `limit`; then it is killed.
    pub fn terminate(mut self, limit: Duration) -> Result<ExitStatus, String> {
        let pid = self.child.id().to_string();
        let _ = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &pid])
            .status();
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{}: still running {limit:?} after SIGTERM", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    let _ = File::open(path).and_then(|mut file| file.read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}
