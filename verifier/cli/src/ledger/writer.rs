//! The thread that writes the ledger. Events wait for it in a queue of a fixed
//! length; it opens the file, writes what has come in one transaction, and
//! closes it, so that several processes can keep one ledger. What can't be
//! written is said once and given up: nobody waits for it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::record::Event;
use super::store::{Bounds, Store, WAIT};
use crate::console::Console;
use crate::escape;
use crate::fault::Fault;

/// Events that may wait.
const QUEUE: usize = 256;
/// Events of one transaction.
const BATCH: usize = 256;
/// How long the end of a command waits for the file at most.
const FLUSH: Duration = Duration::from_secs(12);

enum Message {
    Event(Event),
    /// Asked at the end; answered when all before it is written.
    Flush(SyncSender<()>),
}

/// A ledger that is being written.
pub(super) struct Writer {
    queue: Mutex<SyncSender<Message>>,
    said: Arc<Said>,
}

impl core::fmt::Debug for Writer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Writer(..)")
    }
}

/// Says once what is wrong.
struct Said {
    once: AtomicBool,
    console: Console,
}

impl Said {
    fn say(&self, fault: &Fault) {
        if !self.once.swap(true, Ordering::Relaxed) {
            warn(&self.console, fault);
        }
    }
}

/// What is said of a ledger that can't be kept.
pub(super) fn warn(console: &Console, fault: &Fault) {
    let remedy = fault.remedy.as_deref().unwrap_or("--no-ledger keeps none");
    console.warn(&format!(
        "the ledger is not kept: {} ({})\n  do  {}",
        escape::line(&fault.message),
        fault.code,
        escape::line(remedy)
    ));
}

impl Writer {
    /// Starts the thread. The file is opened when there is something to write.
    pub(super) fn start(path: PathBuf, bounds: Bounds, console: Console) -> Result<Self, Fault> {
        let (queue, messages) = sync_channel(QUEUE);
        let said = Arc::new(Said {
            once: AtomicBool::new(false),
            console,
        });
        thread::Builder::new()
            .name("ledger".to_owned())
            .spawn({
                let said = Arc::clone(&said);
                move || run(&messages, &path, bounds, &said)
            })
            .map_err(|error| Fault::internal(format!("no thread for the ledger: {error}")))?;
        Ok(Self {
            queue: Mutex::new(queue),
            said,
        })
    }

    /// Hands an event on, or gives it up if too many wait.
    pub(super) fn send(&self, event: Event) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(TrySendError::Full(_)) = queue.try_send(Message::Event(event)) {
            self.said.say(&Fault::unavailable(
                "ledger.behind",
                format!("{QUEUE} events wait to be written; some are left out"),
            ));
        }
    }

    /// Waits until all that was handed on is written, or given up.
    pub(super) fn flush(&self) {
        let (done, waits) = sync_channel(1);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Where the queue is full this waits for room, which the thread makes.
        if queue.send(Message::Flush(done)).is_ok()
            && waits.recv_timeout(FLUSH) == Err(RecvTimeoutError::Timeout)
        {
            self.said.say(&Fault::unavailable(
                "ledger.behind",
                "the latest events could not be written in time",
            ));
        }
    }
}

fn run(messages: &Receiver<Message>, path: &std::path::Path, bounds: Bounds, said: &Said) {
    let mut opened = false;
    while let Ok(first) = messages.recv() {
        let mut events = Vec::new();
        let mut flushed = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Event(event) => events.push(event),
                Message::Flush(done) => flushed.push(done),
            }
            next = if events.len() < BATCH {
                messages.try_recv().ok()
            } else {
                None
            };
        }
        if !events.is_empty() {
            let written = Store::open(path, WAIT, !opened).and_then(|store| {
                opened = true;
                store.append(path, &events, bounds)
            });
            if let Err(fault) = written {
                said.say(&fault);
            }
        }
        for done in flushed {
            // Whoever asked may have given up.
            let _ = done.send(());
        }
    }
}
