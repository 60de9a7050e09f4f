//! `bastide verify`: connects to a node, has it prove itself, prints the
//! verdict. It sends nothing but the challenge.

use std::path::{Path, PathBuf};
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
use crate::pipeline::no_head;
use crate::pipeline::stages::{Chain, Wanted};
use crate::pipeline::trust::TrustArgs;
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
  bastide verify https://head.example --pipeline --owner owner.key.pub --policy ours.toml

{}", exit::HELP))]
pub(crate) struct Arguments {
    /// The node, `https://HOST` or `https://HOST:PORT`
    #[arg(value_name = "URL", required_unless_present = "explain")]
    node: Option<NodeAddress>,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Keep the evidence envelope as it came, accepted or not; of a head of a pipeline also each stage's, and the plan, beside it
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

/// Options for pipelines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pipeline")]
struct PipelineArgs {
    /// The node must be the head of a pipeline, as with each of these options. Of every head each stage is judged
    #[arg(long)]
    pipeline: bool,
    #[command(flatten)]
    trust: TrustArgs,
    /// Hold each stage also to the policy that the plan has for it
    #[arg(long)]
    plan_policies: bool,
}

impl PipelineArgs {
    /// Whether something is asked of a pipeline, which a node without one can't meet.
    fn wants_head(&self) -> bool {
        self.pipeline || self.plan_policies || self.trust.names_any()
    }
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
    let wanted = Wanted {
        plan_policies: arguments.pipeline.plan_policies,
        ..arguments.pipeline.trust.wanted()?
    };
    let ledger = Recorder::start(&arguments.ledger, console);
    let gate = Gate::new(policy, arguments.policy.allow_simulated)
        .with_ledger(ledger.clone())
        .with_wanted(wanted)
        .showing_stages();
    let started = Instant::now();
    let what = format!("waiting for {node} to prove itself");
    let connected = block_on(async { Ok(progress::shown(console, &what, gate.connect(node)).await) });
    ledger.finish();
    let connected = connected?;
    let chain = match &connected {
        Ok(connection) if connection.result().statement.pipeline => gate.stages().latest(node),
        Ok(_) if arguments.pipeline.wants_head() => return Err(no_head()),
        _ => None,
    };
    let (verdict, evidence, exit) = match connected {
        Ok(connection) => {
            let verdict = Verdict::clone(&connection.result().verdict);
            (verdict, Some(connection.evidence().to_vec()), exit::ACCEPTED)
        }
        Err(refusal) => (*refusal.verdict, refusal.evidence, refusal.exit),
    };
    let (verdict, exit) = match &chain {
        Some(chain) => {
            let verdict = chain.applied_to(verdict);
            let exit = verdict.decision.exit_code();
            (verdict, exit)
        }
        None => (verdict, exit),
    };
    show(&verdict, chain.as_deref(), node, started, console)?;
    if let Some(signer) = signer {
        signer.sign(&verdict, evidence.as_deref(), clock::now(), console)?;
    }
    match (&arguments.save_evidence, evidence) {
        (Some(path), Some(evidence)) => {
            file::write(path, &evidence, Existing::Replace)?;
            if let Some(chain) = &chain {
                save(path, chain)?;
            }
        }
        (Some(_), None) => console.note("no evidence came; nothing was saved"),
        (None, _) => {}
    }
    Ok(exit)
}

/// Keeps what the stages showed beside what the head did: `evidence.stage-1.cmw`
/// and `evidence.plan.cose` beside `evidence.cmw`.
fn save(path: &Path, chain: &Chain) -> Result<(), Fault> {
    for (number, stage) in chain.stages.iter().enumerate() {
        if let Some(envelope) = &stage.evidence {
            let beside = path.with_extension(format!("stage-{number}.cmw"));
            file::write(&beside, envelope, Existing::Replace)?;
        }
    }
    file::write(
        &path.with_extension("plan.cose"),
        chain.plan.as_bytes(),
        Existing::Replace,
    )
}

fn show(
    verdict: &Verdict,
    chain: Option<&Chain>,
    node: &NodeAddress,
    started: Instant,
    console: &Console,
) -> Result<(), Fault> {
    if console.json() {
        let Some(chain) = chain else {
            return console.object(verdict);
        };
        let mut object = serde_json::to_value(verdict).unwrap_or_default();
        if let Some(members) = object.as_object_mut() {
            members.insert("pipeline".to_owned(), chain.object());
        }
        return console.object(&object);
    }
    let name = node.to_string();
    let subject = Subject {
        name: &name,
        accepted: "VERIFIED",
        consequence: "nothing was sent",
        elapsed: Some(started.elapsed()),
        verbose: console.verbose(),
    };
    let mut verdict = verdict.clone();
    // What the refusal quotes.
    let failed = chain.and_then(Chain::failed).map(|(_, check)| check.clone());
    verdict.checks.extend(failed);
    let mut text = verdict_view::render(&verdict, &subject, console.out());
    if let Some(chain) = chain {
        text.push_str(&chain.tree(console.verbose(), console.out()).render());
    }
    console.data(&text)
}
