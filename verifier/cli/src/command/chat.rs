//! `bastide chat`: verifies a node, then asks it one question or holds a
//! conversation by lines. The answer goes to stdout as it comes.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use bastide_attestation::UnixTime;
use bastide_attested_tls::NodeAddress;
use clap::Args;
use serde_json::{Value, json};

use super::block_on;
use crate::console::Console;
use crate::conversation::{Conversation, NoTurn, OUTPUT_CLOSED, Turn};
use crate::escape;
use crate::exit;
use crate::fault::Fault;
use crate::gate::{Gate, Refusal};
use crate::ledger::{LedgerArgs, Recorder};
use crate::pipeline::trust::TrustArgs;
use crate::policy_source::{self, PolicyArgs};
use crate::progress;
use crate::receipt_check;
use crate::verdict_view::{self, Subject};

const MAX_PROMPT_BYTES: u64 = 4 * 1024 * 1024;

/// Verify a node, then ask it
#[derive(Debug, Args)]
#[command(after_help = format!("\
Without PROMPT, lines of a terminal are a conversation; anything else on stdin is one prompt.

Examples:
  bastide chat https://node.example 'What is a bastide?'
  bastide chat https://node.example --policy ours.toml --save answers
  bastide chat https://127.0.0.1:8443 --policy development --allow-simulated < prompt.txt

{}", exit::HELP))]
pub(crate) struct Arguments {
    /// The node, `https://HOST` or `https://HOST:PORT`
    #[arg(value_name = "URL")]
    node: NodeAddress,
    /// What to ask
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Which model; the node's first if not given
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Keep evidence, receipt, salt and both bodies of each answer in a folder under this one
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if there is no answer, or none that its receipt vouches for.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<u8, Fault> {
    let policy = policy_source::load(&arguments.policy)?;
    let wanted = arguments.trust.wanted()?;
    let ledger = Recorder::start(&arguments.ledger, console);
    let gate = Gate::new(policy, arguments.policy.allow_simulated)
        .with_ledger(ledger.clone())
        .with_wanted(wanted);
    let one_shot = match arguments.prompt {
        Some(prompt) => Some(prompt),
        None if std::io::stdin().is_terminal() => None,
        None => Some(piped()?),
    };
    let name = arguments.node.to_string();
    let conversation = Conversation::new(gate, arguments.node, arguments.model, arguments.save);
    let ended = block_on(async {
        match converse(conversation, &name, one_shot, console).await {
            Ok(()) => Ok(exit::ACCEPTED),
            Err(NoTurn::Refused(refusal)) => refused(&refusal, console),
            // Nobody reads a message either; but no receipt was verified, and the code says so.
            Err(NoTurn::Fault(fault)) if fault.code == OUTPUT_CLOSED => Ok(fault.exit),
            Err(NoTurn::Fault(fault)) => Err(fault),
        }
    });
    ledger.finish();
    ended
}

fn piped() -> Result<String, Fault> {
    let mut prompt = String::new();
    let read = std::io::stdin()
        .take(MAX_PROMPT_BYTES + 1)
        .read_to_string(&mut prompt);
    read.map_err(|error| {
        Fault::usage(
            "input.unreadable",
            format!("stdin can't be read as text: {error}"),
        )
    })?;
    if prompt.trim().is_empty() {
        return Err(Fault::usage(
            "input.empty",
            "there is no prompt; give it as an argument or on stdin",
        ));
    }
    if u64::try_from(prompt.len()).is_ok_and(|length| length > MAX_PROMPT_BYTES) {
        return Err(Fault::usage(
            "input.too_large",
            format!("a prompt has at most {MAX_PROMPT_BYTES} bytes"),
        ));
    }
    Ok(prompt)
}

async fn converse(
    mut conversation: Conversation,
    node: &str,
    one_shot: Option<String>,
    console: &Console,
) -> Result<(), NoTurn> {
    let what = format!("waiting for {node} to prove itself");
    let (verdict, stages) = progress::shown(console, &what, conversation.verdict()).await?;
    if verdict.simulated {
        console.warn(&console.err().warn(verdict_view::SIMULATED));
    }
    console.note(&format!(
        "{} {}{} under policy {}",
        if verdict.simulated { "admitted" } else { "verified" },
        escape::line(node),
        stages.map_or_else(String::new, |stages| format!(
            ", all {stages} stages of its pipeline,"
        )),
        escape::brief(&format!("{}@sha256:{}", verdict.policy, verdict.policy_digest))
    ));
    if let Some(prompt) = one_shot {
        ask(&mut conversation, &[message("user", &prompt)], console).await?;
        return Ok(());
    }
    console.note("type a line to ask; end with Ctrl-D");
    let mut messages = Vec::new();
    while let Some(line) = line(console).await? {
        if line.trim().is_empty() {
            continue;
        }
        messages.push(message("user", line.trim()));
        let turn = ask(&mut conversation, &messages, console).await?;
        messages.push(message("assistant", &turn.text));
    }
    Ok(())
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// One line from the terminal; `None` at its end.
async fn line(console: &Console) -> Result<Option<String>, Fault> {
    console.note(&console.err().strong("you:"));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map(|count| (count > 0).then_some(line))
    });
    read.await
        .map_err(|error| Fault::internal(format!("reading a line failed: {error}")))?
        .map_err(|error| Fault::usage("input.unreadable", format!("stdin can't be read: {error}")))
}

async fn ask(conversation: &mut Conversation, messages: &[Value], console: &Console) -> Result<Turn, NoTurn> {
    let json = console.json();
    let turn = {
        let mut piece = |text: &str| {
            if json {
                Ok(true)
            } else {
                console.stream(&escape::prose(text))
            }
        };
        conversation.ask(messages, &mut piece).await
    };
    if !json {
        console.data("\n")?;
    }
    let turn = turn?;
    let claims = turn.receipt.claims();
    if json {
        console.object(&json!({
            "schema": "bastide.chat/v1",
            "answer": turn.text,
            "receipt": receipt_check::object(&turn.receipt),
            "saved": turn.kept,
        }))?;
    }
    let [_, tokens] = claims.usage;
    console.note(&console.err().faint(&format!(
        "receipt {} verified: {tokens} tokens, finish {}, {}",
        claims.sequence,
        claims.finish.as_str(),
        UnixTime::from_secs(claims.issued_at)
    )));
    if let Some(folder) = &turn.kept {
        console.note(&escape::line(&format!("kept in {}", folder.display())));
    }
    Ok(turn)
}

/// Shows why nothing was sent.
fn refused(refusal: &Refusal, console: &Console) -> Result<u8, Fault> {
    if console.json() {
        console.object(&refusal.verdict)?;
        return Ok(refusal.exit);
    }
    let subject = Subject {
        name: &refusal.node.to_string(),
        accepted: "VERIFIED",
        consequence: "nothing was sent",
        elapsed: None,
        verbose: console.verbose(),
    };
    console.warn(verdict_view::render(&refusal.verdict, &subject, console.err()).trim_end());
    Ok(refusal.exit)
}
