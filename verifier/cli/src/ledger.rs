//! The ledger: what each node proved, what was decided, and the receipts of
//! what it answered, kept on this machine so that one can ask later what has
//! changed, and show somebody. It keeps no prompt and no answer, and unless it
//! is asked to, no salt by which a short prompt could be guessed.
//!
//! | module | what it owns |
//! |---|---|
//! | `record` | what is kept of each event, and by which digests it is found |
//! | `store` | the file: schema, transactions, bounds |
//! | `writer` | the thread that writes, so that no answer waits for it |
//! | `changes` | what differs between two appraisals |
//!
//! A ledger that can't be written is said once and stops nothing: it is a
//! record of decisions, not a part of them.

pub(crate) mod changes;
pub(crate) mod record;
pub(crate) mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bastide_attestation::{Receipt, Salt, Verdict};
use bastide_attested_tls::NodeAddress;
use clap::Args;

use self::record::Event;
use self::writer::Writer;
use crate::clock;
use crate::console::Console;
use crate::fault::Fault;
use crate::pipeline::stages::Chain;

/// Where the ledger is, for commands that write it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ledger")]
pub(crate) struct LedgerArgs {
    /// Ledger of evidence, verdicts and receipts [default: bastide/ledger.redb in the user's data folder]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Keep nothing in the ledger
    #[arg(long, conflicts_with_all = ["ledger", "ledger_days", "keep_salts"])]
    no_ledger: bool,
    /// Days that the ledger keeps an entry
    #[arg(long, value_name = "DAYS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    ledger_days: u32,
    /// Also keep the salts of receipts: with one, a short prompt can be guessed from its receipt
    #[arg(long)]
    keep_salts: bool,
}

/// Where the ledger is, for commands that read it.
#[derive(Debug, Clone, Args)]
pub(crate) struct LedgerFile {
    /// The ledger [default: bastide/ledger.redb in the user's data folder]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

impl LedgerFile {
    /// The file that was named, or the default one.
    ///
    /// # Errors
    /// [`Fault`] of usage if there is no default: no data folder is known.
    pub(crate) fn path(&self) -> Result<PathBuf, Fault> {
        self.ledger
            .clone()
            .or_else(|| default_path(|name| std::env::var_os(name)))
            .ok_or_else(no_folder)
    }
}

fn no_folder() -> Fault {
    Fault::usage(
        "ledger.no_folder",
        "neither XDG_DATA_HOME nor HOME names a folder, so there is no default ledger",
    )
    .with_remedy("name one with --ledger FILE, or give --no-ledger")
}

/// `$XDG_DATA_HOME/bastide/ledger.redb`, else under `~/.local/share`, as the XDG
/// base directory specification has it: a path that isn't absolute is ignored.
fn default_path(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let folder = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share")))?;
    Some(data.join("bastide").join("ledger.redb"))
}

/// Where events go. Cheap to clone; each call returns at once.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    writer: Option<Arc<Writer>>,
    keep_salts: bool,
}

impl Recorder {
    /// A recorder that keeps nothing.
    pub(crate) const fn off() -> Self {
        Self {
            writer: None,
            keep_salts: false,
        }
    }

    /// A recorder as the options say. What prevents it is said once, on stderr.
    pub(crate) fn start(arguments: &LedgerArgs, console: &Console) -> Self {
        if arguments.no_ledger {
            return Self::off();
        }
        let file = LedgerFile {
            ledger: arguments.ledger.clone(),
        };
        let started = file.path().and_then(|path| {
            let bounds = store::Bounds {
                days: u64::from(arguments.ledger_days),
                ..store::Bounds::default()
            };
            Writer::start(path, bounds, *console)
        });
        match started {
            Ok(writer) => Self {
                writer: Some(Arc::new(writer)),
                keep_salts: arguments.keep_salts,
            },
            Err(fault) => {
                writer::warn(console, &fault);
                Self::off()
            }
        }
    }

    /// Keeps what a node showed and what was decided: a connection, a renewal,
    /// or a refusal. Evidence is kept once for each epoch.
    pub(crate) fn evidence(&self, node: &NodeAddress, verdict: &Verdict, evidence: Option<&[u8]>) {
        self.send(|| Event::Appraisal {
            at: clock::now().as_secs(),
            node: node.to_string(),
            verdict: Box::new(verdict.clone()),
            evidence: evidence.map(<[u8]>::to_vec),
        });
    }

    /// Keeps a pipeline's plan and what its stages showed: receipts that they
    /// have a part in are verified by them later.
    pub(crate) fn chain(&self, head: &NodeAddress, chain: &Chain) {
        let at = clock::now().as_secs();
        self.send(|| Event::Plan {
            at,
            plan: Box::new(chain.plan.clone()),
        });
        for (number, stage) in chain.stages.iter().enumerate() {
            if let Some(verdict) = &stage.verdict {
                self.send(|| Event::Appraisal {
                    at,
                    node: record::stage_of(&head.to_string(), number),
                    verdict: Box::new(verdict.clone()),
                    evidence: stage.evidence.clone(),
                });
            }
        }
    }

    /// Keeps a verified receipt; its salt only if salts are to be kept. Verdict
    /// and evidence are those of the attestation that it was made under; they are
    /// kept with it if they are not there yet, as after a renewal.
    pub(crate) fn receipt(
        &self,
        node: &NodeAddress,
        receipt: &Receipt,
        salt: &Salt,
        verdict: &Verdict,
        evidence: &[u8],
    ) {
        self.send(|| Event::Receipt {
            at: clock::now().as_secs(),
            node: node.to_string(),
            receipt: Box::new(receipt.clone()),
            salt: self.keep_salts.then_some(*salt),
            attested: Some((Box::new(verdict.clone()), evidence.to_vec())),
        });
    }

    fn send(&self, event: impl FnOnce() -> Event) {
        if let Some(writer) = &self.writer {
            writer.send(event());
        }
    }

    /// Waits until what was sent is written, but not for long.
    pub(crate) fn finish(&self) {
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }
}

/// A path for people.
fn shown(path: &Path) -> String {
    format!("ledger `{}`", path.display())
}

#[cfg(test)]
mod tests;
