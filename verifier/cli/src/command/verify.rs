//! `bastide verify`: connects to a node, has it prove itself, prints the
//! verdict. It sends nothing but the challenge.

use std::path::PathBuf;
use std::time::Instant;

use bastide_attestation::Verdict;
use bastide_attested_tls::NodeAddress;
use clap::Args;

use super::{block_on, explain};
use crate::clock;
use crate::console::Console;
use crate::exit;
use crate::fault::Fault;
use crate::file::{self, Existing};
use crate::gate::Gate;
use crate::ledger::{LedgerArgs, Recorder};
use crate::policy_source::{self, PolicyArgs};
use crate::progress;
use crate::result_signing::ResultArgs;
use crate::verdict_view::{self, Subject};

/// Connect to a node and judge its evidence; sends no prompt
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  bastide verify https://node.example
  bastide verify https://node.example:8443 --policy ours.toml --output json
  bastide verify https://node.example --save-evidence evidence.cmw --sign-result auditor.key
  bastide verify https://127.0.0.1:8443 --policy development --allow-simulated

{}", exit::HELP))]
pub(crate) struct Arguments {
    /// The node, `https://HOST` or `https://HOST:PORT`
    #[arg(value_name = "URL", required_unless_present = "explain")]
    node: Option<NodeAddress>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Keep the evidence envelope as it came, accepted or not
    #[arg(long, value_name = "FILE")]
    save_evidence: Option<PathBuf>,
    #[command(flatten)]
    result: ResultArgs,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Explain a code and connect to nobody
    #[arg(long, value_name = "CODE", conflicts_with_all = ["node", "sign_result", "save_evidence"])]
    explain: Option<String>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the policy or a file is unusable. A refused node is no fault.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    if let Some(code) = &arguments.explain {
        return explain::one(code, console);
    }
    let Some(node) = &arguments.node else {
        return Err(Fault::usage("usage", "a node must be named"));
    };
    let policy = policy_source::load(&arguments.policy)?;
    let signer = arguments.result.signer()?;
    let ledger = Recorder::start(&arguments.ledger, console);
    let gate = Gate::new(policy, arguments.policy.allow_simulated).with_ledger(ledger.clone());
    let started = Instant::now();
    let outcome = block_on(async {
        let what = format!("waiting for {node} to prove itself");
        Ok(progress::shown(console, &what, gate.connect(node)).await)
    })?;
    ledger.finish();
    let (verdict, evidence, exit) = match outcome {
        Ok(connection) => {
            let verdict = Verdict::clone(&connection.result().verdict);
            (verdict, Some(connection.evidence().to_vec()), exit::ACCEPTED)
        }
        Err(refusal) => (*refusal.verdict, refusal.evidence, refusal.exit),
    };
    show(&verdict, node, started, console)?;
    if let Some(signer) = signer {
        signer.sign(&verdict, evidence.as_deref(), clock::now(), console)?;
    }
    match (&arguments.save_evidence, evidence) {
        (Some(path), Some(evidence)) => file::write(path, &evidence, Existing::Replace)?,
        (Some(_), None) => console.note("no evidence came; nothing was saved"),
        (None, _) => {}
    }
    Ok(exit)
}

fn show(verdict: &Verdict, node: &NodeAddress, started: Instant, console: &Console) -> Result<(), Fault> {
    if console.json() {
        return console.object(verdict);
    }
    let subject = Subject {
        name: &node.to_string(),
        accepted: "VERIFIED",
        consequence: "nothing was sent",
        elapsed: Some(started.elapsed()),
        verbose: console.verbose(),
    };
    console.data(&verdict_view::render(verdict, &subject, console.out()))
}
