//! `bastide credential`: the owner of a pipeline admits an enclave to it, after
//! its evidence was appraised and never without; and whoever is shown a
//! credential reads it.

use std::path::{Path, PathBuf};

use bastide_attestation::link::LinkContext;
use bastide_attestation::{
    Credential, CredentialClaims, CredentialError, CredentialFault, Decision, KeyThumbprint, ManifestDigest,
    PipelineId, ReportId, SpkiDigest, UnixTime, Verdict,
};
use bastide_attested_tls::NodeAddress;
use bastide_verifier::{Policy, Verifier};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::block_on;
use crate::advice;
use crate::console::Console;
use crate::escape::{self, brief};
use crate::fault::{Fault, with_causes};
use crate::file::{self, Existing};
use crate::gate::Gate;
use crate::key_file::{self, SigningKey};
use crate::pipeline::capacity;
use crate::policy_source::{self, PolicyArgs};
use crate::tree::Tree;
use crate::verdict_view::{self, Subject};
use crate::{clock, exit, progress, recorded};

const SCHEMA: &str = "bastide.credential/v1";
const ISSUED_SCHEMA: &str = "bastide.credential-issued/v1";
const MAX_CREDENTIAL_FILE_BYTES: usize = 64 * 1024;
/// A credential counts from a little before it is issued: clocks differ.
const SKEW_S: u64 = 60;
const DAY_S: u64 = 24 * 60 * 60;

/// Issue, show and verify membership credentials of a pipeline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide credential issue --evidence evidence.cmw --policy ours.toml --key owner.key \\
      --pipeline \"$PIPELINE\" --stage 3 --spki \"$SPKI\"
  bastide credential verify credential.cose --issuer owner.key.pub")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Issue(Box<IssueArguments>),
    Show(ShowArguments),
    Verify(VerifyArguments),
}

/// First and last stage.
#[derive(Debug, Clone, Copy)]
struct Stages([u16; 2]);

fn stages(text: &str) -> Result<Stages, String> {
    let wanted = "expected a stage (3) or a range of stages (3-5), of at most 65535";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Stages([first, last])),
        _ => Err(wanted.to_owned()),
    }
}

/// Appraise an enclave's evidence, and admit the enclave to a pipeline if it is accepted
#[derive(Debug, Args)]
#[command(after_help = format!("\
A credential is for one life of one guest: REPORT_ID and model are taken from its evidence, and the
enclave's peers compare them with what it proves on the link. The TLS key is the one that it has on
links; an enclave that runs says it itself, once it has proved who it is. Without an accepted verdict
nothing is signed.

Examples:
  bastide credential issue --node https://c.example --policy ours.toml --key owner.key \\
      --pipeline 00112233445566778899aabbccddeeff --stage 3 -o node-3.cose
  bastide credential issue --evidence evidence.cmw --policy ours.toml --key owner.key \\
      --pipeline 00112233445566778899aabbccddeeff --stage 3 --spki \"$SPKI\"
  bastide credential issue --evidence evidence.cmw --policy ours.toml --key owner.key \\
      --pipeline \"$PIPELINE\" --stage 0-7 --spki \"$SPKI\" --days 1 -o spare.cose --output json

{}", exit::HELP))]
struct IssueArguments {
    /// The enclave, which proves itself now
    #[arg(long, value_name = "URL", conflicts_with_all = ["evidence", "spki", "at"])]
    node: Option<NodeAddress>,
    /// The enclave's evidence instead, as `verify --save-evidence` keeps it
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "node",
        requires = "spki"
    )]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Secret key of the pipeline's owner, as `bastide key new` makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Name of the pipeline: 16 random bytes in hex
    #[arg(long, value_name = "HEX")]
    pipeline: PipelineId,
    /// Stage that the enclave may take, or first and last: `3` or `3-5`
    #[arg(long, value_name = "N|N-M", value_parser = stages)]
    stage: Stages,
    /// SHA-256 of the SubjectPublicKeyInfo of the enclave's key on links, in hex; with --evidence
    #[arg(long, value_name = "HEX")]
    spki: Option<SpkiDigest>,
    /// How long it counts
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
    days: u16,
    /// Judge and issue as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
    /// Where the credential goes; never overwritten
    #[arg(
        short = 'o',
        long = "out",
        value_name = "FILE",
        default_value = "credential.cose"
    )]
    file: PathBuf,
}

/// Show what a credential says; nothing is verified
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide credential show credential.cose")]
struct ShowArguments {
    /// The credential
    #[arg(value_name = "CREDENTIAL")]
    file: PathBuf,
}

/// Verify a credential: who issued it, whether it counts now, and whom it is for
#[derive(Debug, Args)]
#[command(after_help = format!("\
What isn't given of pipeline, stage, model, TLS key and REPORT_ID isn't compared.

Examples:
  bastide credential verify credential.cose --issuer owner.key.pub
  bastide credential verify credential.cose --issuer owner.key.pub --stage 3 --pipeline \"$PIPELINE\" \\
      --spki \"$SPKI\" --output json

{}", exit::HELP))]
struct VerifyArguments {
    /// The credential
    #[arg(value_name = "CREDENTIAL")]
    file: PathBuf,
    /// Public key of who may have issued it: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE", required = true)]
    issuer: Vec<String>,
    /// The pipeline that it must be for, in hex
    #[arg(long, value_name = "HEX")]
    pipeline: Option<PipelineId>,
    /// The stage that it must be for
    #[arg(long, value_name = "N")]
    stage: Option<u16>,
    /// The model manifest that it must be for, in hex
    #[arg(long, value_name = "HEX")]
    model: Option<ManifestDigest>,
    /// The TLS key that it must be for, in hex
    #[arg(long, value_name = "HEX")]
    spki: Option<SpkiDigest>,
    /// The REPORT_ID that it must be for, in hex
    #[arg(long, value_name = "HEX")]
    report_id: Option<ReportId>,
    /// Judge as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a file can't be read or written, or the credential doesn't hold.
/// Evidence that is refused is no fault.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Issue(arguments) => issue(arguments, console),
        Action::Show(arguments) => show(&arguments.file, console),
        Action::Verify(arguments) => verify(arguments, console),
    }
}

fn issue(arguments: &IssueArguments, console: &Console) -> Result<u8, Fault> {
    let policy = policy_source::load(&arguments.policy)?;
    // A wrong file name is found before anything is judged.
    let key = SigningKey::read(&arguments.key)?;
    let at = arguments.at.unwrap_or_else(clock::now);
    let Candidate { name, verdict, spki } = candidate(arguments, policy, at, console)?;
    let credential = if let Some(spki) = spki.filter(|_| verdict.decision == Decision::Accepted) {
        let claims = claims(arguments, &verdict, spki, at)?;
        let public = key.public();
        let issued = Credential::issue(&claims, public.as_bytes(), |message| key.sign(message));
        let issued = issued.map_err(|error| match error {
            CredentialError::Claims(_) => Fault::usage("credential.claims", with_causes(&error)),
            _ => Fault::internal(with_causes(&error)),
        })?;
        file::write(&arguments.file, issued.as_bytes(), Existing::Keep)?;
        Some(issued)
    } else {
        None
    };
    if console.json() {
        let issued = credential
            .as_ref()
            .map(|issued| object(issued.claims(), issued.issuer()));
        console.object(&json!({
            "schema": ISSUED_SCHEMA,
            "credential": issued,
            "file": credential.as_ref().map(|_| arguments.file.display().to_string()),
            "evidence": verdict,
        }))?;
        return Ok(verdict.decision.exit_code());
    }
    let subject = Subject {
        name: &name,
        accepted: "ACCEPTED",
        consequence: "no credential was issued",
        elapsed: None,
        verbose: console.verbose(),
    };
    let mut text = verdict_view::render(&verdict, &subject, console.out());
    if let Some(issued) = &credential {
        let title = format!("credential   {}", console.out().good("ISSUED"));
        text.push_str(&tree(title, issued.claims(), issued.issuer()).render());
    }
    console.data(&text)?;
    if credential.is_some() {
        console.note(&escape::line(&format!(
            "wrote {}; give it to the enclave whose key it names",
            arguments.file.display()
        )));
    }
    Ok(verdict.decision.exit_code())
}

/// Who is to be admitted.
struct Candidate {
    /// For people.
    name: String,
    verdict: Verdict,
    /// Its key on links; none of one that was refused.
    spki: Option<SpkiDigest>,
}

/// Has the enclave prove itself, or judges what was kept of it.
///
/// # Errors
/// [`Fault`] if there is nothing to judge, or no key to name. Evidence that is
/// refused is no fault.
fn candidate(
    arguments: &IssueArguments,
    policy: Policy,
    at: UnixTime,
    console: &Console,
) -> Result<Candidate, Fault> {
    let allow_simulated = arguments.policy.allow_simulated;
    if let Some(file) = &arguments.evidence {
        return Ok(Candidate {
            name: file.display().to_string(),
            verdict: recorded::envelope(file)?.judge(&Verifier::new(policy), at, allow_simulated),
            spki: arguments.spki,
        });
    }
    let node = arguments
        .node
        .as_ref()
        .ok_or_else(|| Fault::usage("usage", "expected --node or --evidence"))?;
    // Nothing of anybody is sent: which stages a head has behind it doesn't matter.
    let gate = Gate::new(policy, allow_simulated).showing_stages();
    block_on(async {
        let what = format!("waiting for {node} to prove itself");
        let name = node.to_string();
        match progress::shown(console, &what, gate.connect(node)).await {
            Ok(mut connection) => {
                let (capacity, _) = capacity::ask(&mut connection).await?;
                let key = capacity.link_key.as_deref().and_then(|key| key.parse().ok());
                let key = key.ok_or_else(|| {
                    Fault::rejected(
                        "credential.no_link_key",
                        format!("{node} names no key for links: it is no stage of a pipeline"),
                    )
                    .with_remedy("start it as a stage; its credential can be given to it afterwards")
                })?;
                Ok(Candidate {
                    name,
                    verdict: Verdict::clone(&connection.result().verdict),
                    spki: Some(key),
                })
            }
            Err(refusal) => Ok(Candidate {
                name,
                verdict: *refusal.verdict,
                spki: None,
            }),
        }
    })
}

/// What is stated: of the guest, what its accepted evidence says of it.
fn claims(
    arguments: &IssueArguments,
    verdict: &Verdict,
    spki: SpkiDigest,
    at: UnixTime,
) -> Result<CredentialClaims, Fault> {
    let missing = |what: &str| {
        Fault::rejected(
            "credential.no_guest",
            format!("the accepted evidence names no {what}, so that no credential can be for its guest"),
        )
        .with_remedy("use evidence of a session, as `verify --save-evidence` keeps it")
    };
    let snp = verdict.snp.as_ref().and_then(|facts| facts.get("report_id"));
    let report_id: ReportId = snp
        .and_then(|text| text.parse().ok())
        .filter(|id: &ReportId| !id.is_zero())
        .ok_or_else(|| missing("REPORT_ID"))?;
    let session = verdict.session.as_ref().and_then(|facts| facts.get("model"));
    let model = session
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| missing("model"))?;
    let Stages(stages) = arguments.stage;
    Ok(CredentialClaims {
        not_before: UnixTime::from_secs(at.as_secs().saturating_sub(SKEW_S)),
        expires: UnixTime::from_secs(at.as_secs().saturating_add(u64::from(arguments.days) * DAY_S)),
        spki,
        report_id,
        pipeline: arguments.pipeline,
        stages,
        model,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    file::read(path, MAX_CREDENTIAL_FILE_BYTES)
}

fn refused(code: &'static str, message: String) -> Fault {
    let fault = Fault::rejected(code, message);
    match advice::of(code) {
        Some(advice) => fault.with_remedy(advice.remedy),
        None => fault,
    }
}

fn unreadable(error: &CredentialError) -> Fault {
    match error {
        CredentialError::Signature => refused("credential.signature", with_causes(error)),
        CredentialError::Issuer { .. } => refused("credential.issuer", with_causes(error)),
        _ => Fault::malformed("credential.malformed", with_causes(error)),
    }
}

fn show(path: &Path, console: &Console) -> Result<u8, Fault> {
    let (claims, issuer) = Credential::inspect(&read(path)?).map_err(|error| unreadable(&error))?;
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA, "verified": false, "credential": object(&claims, &issuer),
        }))?;
    } else {
        let title = format!(
            "credential   {}   no signature was looked at; `credential verify` does that",
            console.out().warn("UNVERIFIED")
        );
        console.data(&tree(title, &claims, &issuer).render())?;
    }
    Ok(exit::ACCEPTED)
}

fn verify(arguments: &VerifyArguments, console: &Console) -> Result<u8, Fault> {
    let mut issuers = Vec::new();
    for named in &arguments.issuer {
        issuers.extend(key_file::public_keys(named)?.iter().map(|key| *key.as_bytes()));
    }
    let credential =
        Credential::verify(&read(&arguments.file)?, &issuers).map_err(|error| unreadable(&error))?;
    let claims = credential.claims();
    let [first, _] = claims.stages;
    let context = LinkContext {
        pipeline: arguments.pipeline.unwrap_or(claims.pipeline),
        stage: arguments.stage.unwrap_or(first),
        model: arguments.model.unwrap_or(claims.model),
    };
    let spki = arguments.spki.unwrap_or(claims.spki);
    let report_id = arguments.report_id.unwrap_or(claims.report_id);
    let at = arguments.at.unwrap_or_else(clock::now);
    claims
        .admits(&context, &spki, &report_id, at)
        .map_err(|fault| refused(code_of(&fault), with_causes(&fault)))?;
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA, "verified": true, "credential": object(claims, credential.issuer()),
        }))?;
    } else {
        let title = format!(
            "credential   {}   issued by a key that you named, and counts now",
            console.out().good("VERIFIED")
        );
        console.data(&tree(title, claims, credential.issuer()).render())?;
    }
    Ok(exit::ACCEPTED)
}

const fn code_of(fault: &CredentialFault) -> &'static str {
    match fault {
        CredentialFault::NotYet { .. } | CredentialFault::Expired { .. } => "credential.time",
        _ => "credential.other",
    }
}

/// Names and values in a stable order.
fn facts(claims: &CredentialClaims, issuer: &KeyThumbprint) -> Vec<(&'static str, String)> {
    vec![
        ("pipeline", claims.pipeline.to_string()),
        ("stages", range(claims.stages)),
        ("model", claims.model.to_string()),
        ("report_id", claims.report_id.to_string()),
        ("spki", claims.spki.to_string()),
        ("not_before", claims.not_before.to_string()),
        ("expires", claims.expires.to_string()),
        ("issuer", issuer.to_string()),
    ]
}

fn range([first, last]: [u16; 2]) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn object(claims: &CredentialClaims, issuer: &KeyThumbprint) -> Value {
    let mut members: serde_json::Map<_, _> = facts(claims, issuer)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    members.insert("stages".to_owned(), json!(claims.stages));
    members.into()
}

fn tree(title: String, claims: &CredentialClaims, issuer: &KeyThumbprint) -> Tree {
    let leaves = facts(claims, issuer)
        .iter()
        .map(|(name, value)| Tree::leaf(format!("{name:<10}  {}", brief(value))))
        .collect();
    Tree::new(title, leaves)
}
