//! `bastide policy pin`: adds values to the sets of a policy, from the command
//! line, from a file of entries, or from evidence that was verified and shown.
//! The policy is read again before it is written; its comments stay.

use std::path::{Path, PathBuf};

use bastide_attestation::nvidia::MAX_RIM_BYTES;
use bastide_attestation::{UnixTime, Verdict, sha256};
use bastide_verifier::{Policy, Verifier};
use clap::{Args, ValueEnum};
use serde_json::json;
use toml_edit::Datetime;

use crate::console::Console;
use crate::escape::{brief, line};
use crate::fault::Fault;
use crate::policy_document::{PolicyDocument, SETS, Set};
use crate::policy_edit::{self, NewPin, Terms};
use crate::recorded::{self, Collateral};
use crate::{clock, exit, file, policy_source, text_diff};

const SCHEMA: &str = "bastide.policy-pinned/v1";
const MAX_PINS_BYTES: usize = 256 * 1024;

/// Pin values in a policy
#[derive(Debug, Args)]
#[command(after_help = format!("\
Every pin has a window and a reason. Entries of --from may bring their own; what they leave open,
the options say. The policy is checked before it is written: the same value twice, or a set that
`ignore` leaves out, is refused. A signed policy has to be signed again.

With --evidence, what the evidence proves is shown first, and nothing is written without --yes:
pinning what a machine says of itself is trusting it.

Examples:
  bastide policy pin ours.toml --from pins.toml
  bastide policy pin ours.toml --launch \"$MEASUREMENT\" --release v0.3.1 \\
      --not-before 2026-12-01 --not-after 2027-06-30 --reason 'reviewed, ticket 4711' --dry-run
  bastide policy pin ours.toml --evidence evidence.cmw --what launch,manifest,chip,gpu \\
      --not-before 2026-12-01 --not-after 2027-06-30 --reason 'our own node' --yes
  bastide policy pin ours.toml --rim NV_GPU_DRIVER_GH100_550.90.07.xml \\
      --not-before 2026-12-01 --not-after 2027-02-28 --reason 'not signed again yet, ticket 4712'

{}", exit::HELP))]
pub(super) struct Arguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// File of entries like [[snp.launch]], as `bastide measure` writes them; may be repeated
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Launch measurement, 96 hexadecimal digits; may be repeated
    #[arg(long, value_name = "HEX")]
    launch: Vec<String>,
    /// Model manifest digest, 64 hexadecimal digits; may be repeated
    #[arg(long, value_name = "HEX")]
    manifest: Vec<String>,
    /// CHIP_ID, 128 hexadecimal digits, on Turin also 16; may be repeated
    #[arg(long, value_name = "HEX")]
    chip: Vec<String>,
    /// HOST_DATA, 64 hexadecimal digits; may be repeated
    #[arg(long, value_name = "HEX")]
    host_data: Vec<String>,
    /// Digest of an ID key, 96 hexadecimal digits; may be repeated
    #[arg(long, value_name = "HEX")]
    id_key: Vec<String>,
    /// Digest of an author key, 96 hexadecimal digits; may be repeated
    #[arg(long, value_name = "HEX")]
    author_key: Vec<String>,
    /// A GPU or NVSwitch by its ueid, in decimal digits; may be repeated
    #[arg(long, value_name = "UEID")]
    gpu: Vec<String>,
    /// A GPU's reference manifest: the file, or its SHA-256 as 64 hexadecimal digits; may be repeated
    #[arg(long, value_name = "FILE|HEX")]
    rim: Vec<String>,
    /// Evidence to pin: an envelope, or a folder with report.bin and vcek.der or vlek.der
    #[arg(long, value_name = "FILE|DIR")]
    evidence: Option<PathBuf>,
    /// What of the evidence to pin
    #[arg(
        long,
        value_name = "SETS",
        value_delimiter = ',',
        requires = "evidence",
        default_value = "launch"
    )]
    what: Vec<What>,
    /// Certificates above the evidence's leaf, PEM or DER; may be repeated
    #[arg(long, value_name = "FILE", requires = "evidence")]
    chain: Vec<PathBuf>,
    /// Judge the evidence as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse, requires = "evidence")]
    at: Option<UnixTime>,
    /// Write what the evidence says without asking further
    #[arg(long, requires = "evidence")]
    yes: bool,
    /// Release that the measurements belong to
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Machine shape that the measurements belong to
    #[arg(long, value_name = "NAME")]
    shape: Option<String>,
    /// First day or time: 2026-12-01, or 2026-12-01T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = moment)]
    not_before: Option<Datetime>,
    /// Last day, to its end, or last time
    #[arg(long, value_name = "DATE", value_parser = moment)]
    not_after: Option<Datetime>,
    /// Why: who reviewed it, which ticket
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show the change and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The launch measurement.
    Launch,
    /// The model manifest, which the statement names.
    Manifest,
    /// The chip.
    Chip,
    /// What the host attached at launch.
    HostData,
    /// The key that signed the ID block.
    IdKey,
    /// Every GPU and NVSwitch.
    Gpu,
}

impl What {
    fn set(self) -> Option<Set> {
        let name = match self {
            Self::Launch => "launch",
            Self::Manifest => "manifests",
            Self::Chip => "chips",
            Self::HostData => "host_data",
            Self::IdKey => "id_keys",
            Self::Gpu => "devices",
        };
        SETS.into_iter().find(|set| set.name == name)
    }

    /// The values in a verdict's authenticated facts; none if it has no such fact.
    fn of(self, verdict: &Verdict) -> Vec<String> {
        let of_report = |fact| verdict.snp.as_ref().and_then(|snp| snp.get(fact));
        let one = match self {
            Self::Launch => of_report("measurement"),
            Self::Chip => of_report("chip_id"),
            Self::HostData => of_report("host_data"),
            Self::IdKey => of_report("id_key_digest"),
            Self::Manifest => verdict.session.as_ref().and_then(|session| session.get("model")),
            Self::Gpu => {
                let gpus = verdict.gpus.iter();
                return gpus.filter_map(|gpu| gpu.get("ueid").cloned()).collect();
            }
        };
        one.cloned().into_iter().collect()
    }

    /// Why a verdict on authentic evidence has no such fact.
    const fn lacking(self) -> (&'static str, &'static str) {
        match self {
            Self::Gpu => (
                "the evidence is of no GPU, or of none that is authentic",
                "leave `gpu` out of --what; or give evidence of a machine with GPUs, and a policy with a [gpu] section",
            ),
            _ => (
                "the evidence has no statement that its report vouches for, so it names no model",
                "leave `manifest` out of --what, or give the envelope instead of the report",
            ),
        }
    }
}

/// Parses a date, or a time with its offset.
fn moment(text: &str) -> Result<Datetime, String> {
    let wanted = "expected a date like 2026-12-01, or a time with its offset like 2026-12-01T12:00:00Z";
    let time: Datetime = text.parse().map_err(|_| wanted.to_owned())?;
    if time.date.is_some() && time.time.is_some() == time.offset.is_some() {
        Ok(time)
    } else {
        Err(wanted.to_owned())
    }
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the pins or the policy with them have a fault, or the evidence
/// isn't authentic.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let named = arguments.policy.display().to_string();
    let before = PolicyDocument::parse(policy_source::read(&named)?, &named)?;
    let terms = Terms {
        release: arguments.release.clone(),
        shape: arguments.shape.clone(),
        not_before: arguments.not_before,
        not_after: arguments.not_after,
        reason: arguments.reason.clone(),
    };
    let mut pins = typed(arguments, &terms)?;
    for path in &arguments.from {
        let text = file::read(path, MAX_PINS_BYTES)?;
        let named = path.display().to_string();
        pins.extend(policy_edit::read(
            &String::from_utf8_lossy(&text),
            &named,
            &terms,
        )?);
    }
    if let Some(path) = &arguments.evidence {
        pins.extend(of_evidence(arguments, path, &before.policy, &terms, console)?);
    }
    if pins.is_empty() && arguments.evidence.is_some() {
        console.note("nothing is left to pin");
        return Ok(exit::ACCEPTED);
    }
    if pins.is_empty() {
        return Err(Fault::usage("usage", "nothing to pin was named").with_remedy(
            "say --from, --launch, --manifest, --chip, --host-data, --id-key, --gpu, --rim or --evidence",
        ));
    }
    let text = policy_edit::add(before.text(), &pins)?;
    // Whatever can't be a policy is never written.
    let after = PolicyDocument::parse(text.clone().into_bytes(), &named).map_err(|fault| Fault {
        message: format!("with these pins, {}", fault.message),
        remedy: Some(
            "nothing was written; leave out what is pinned already or what `ignore` leaves out".to_owned(),
        ),
        ..fault
    })?;
    let written = !arguments.dry_run && (arguments.evidence.is_none() || arguments.yes);
    if written {
        file::replace(&arguments.policy, text.as_bytes())?;
    }
    report(&before, &after, &pins, written, arguments, console)?;
    Ok(exit::ACCEPTED)
}

fn typed(arguments: &Arguments, terms: &Terms) -> Result<Vec<NewPin>, Fault> {
    let rims: Vec<String> = arguments
        .rim
        .iter()
        .map(|named| rim(named))
        .collect::<Result<_, _>>()?;
    let mut pins = Vec::new();
    for (name, values) in [
        ("launch", &arguments.launch),
        ("manifests", &arguments.manifest),
        ("chips", &arguments.chip),
        ("host_data", &arguments.host_data),
        ("id_keys", &arguments.id_key),
        ("author_keys", &arguments.author_key),
        ("devices", &arguments.gpu),
        ("rims", &rims),
    ] {
        for set in SETS.into_iter().filter(|set| set.name == name) {
            for value in values {
                pins.push(terms.pin(set, value.clone())?);
            }
        }
    }
    Ok(pins)
}

/// The digest of a manifest: what was given if it is one, or of the file.
fn rim(named: &str) -> Result<String, Fault> {
    if named.len() == 64 && named.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(named.to_owned());
    }
    let bytes = file::read(Path::new(named), MAX_RIM_BYTES)?;
    Ok(hex::encode(sha256(&[&bytes])))
}

/// What authentic evidence says of itself, shown before anything else is done.
fn of_evidence(
    arguments: &Arguments,
    path: &Path,
    policy: &Policy,
    terms: &Terms,
    console: &Console,
) -> Result<Vec<NewPin>, Fault> {
    let collateral = Collateral::read(&arguments.chain, None)?;
    let found = recorded::find(&[path.to_owned()], &collateral)?;
    let [evidence] = found.as_slice() else {
        return Err(Fault::usage(
            "usage",
            format!(
                "`{}` holds {} pieces of evidence; name one",
                path.display(),
                found.len()
            ),
        ));
    };
    let at = arguments.at.unwrap_or_else(clock::now);
    // Simulated evidence is as authentic as its root: the policy lists that root or doesn't.
    let verdict = evidence.judge(&Verifier::new(policy.clone()), at, true);
    let pins = pins_of(&verdict, &arguments.what, terms)?;
    if verdict.simulated {
        console.warn(crate::verdict_view::SIMULATED);
    }
    let known = policy.pins();
    let (pinned, new): (Vec<_>, Vec<_>) = pins.into_iter().partition(|pin| {
        known
            .iter()
            .any(|known| known.check == pin.set.check && known.value == pin.value)
    });
    for (pins, more) in [(&new, ""), (&pinned, " (pinned already)")] {
        for pin in pins {
            console.warn(&line(&format!(
                "the evidence proves {}: {}{more}",
                pin.set.what, pin.value
            )));
        }
    }
    Ok(new)
}

/// Pins of what a verdict established.
///
/// # Errors
/// [`Fault`] of rejection if the evidence isn't authentic, or says nothing of
/// what is to be pinned.
fn pins_of(verdict: &Verdict, what: &[What], terms: &Terms) -> Result<Vec<NewPin>, Fault> {
    if verdict.snp.is_none() {
        let code = verdict.code.unwrap_or("internal");
        let reason = verdict.reason.clone().unwrap_or_default();
        return Err(Fault::rejected(
            code,
            format!("nothing is pinned of evidence that isn't authentic: {reason}"),
        ));
    }
    let mut pins = Vec::new();
    for what in what {
        let values = what.of(verdict);
        let Some(set) = what.set().filter(|_| !values.is_empty()) else {
            let (why, remedy) = what.lacking();
            return Err(Fault::usage("policy.pin_evidence", why).with_remedy(remedy));
        };
        for value in values {
            pins.push(terms.pin(set, value)?);
        }
    }
    Ok(pins)
}

fn report(
    before: &PolicyDocument,
    after: &PolicyDocument,
    pins: &[NewPin],
    written: bool,
    arguments: &Arguments,
    console: &Console,
) -> Result<(), Fault> {
    if console.json() {
        let pins: Vec<_> = pins
            .iter()
            .map(|pin| json!({ "set": pin.set.path(), "value": pin.value, "reason": pin.reason }))
            .collect();
        return console.object(&json!({
            "schema": SCHEMA,
            "policy": after.policy.name(),
            "old_digest": before.policy.digest().to_string(),
            "new_digest": after.policy.digest().to_string(),
            "pins": pins,
            "written": written,
        }));
    }
    let paint = console.out();
    let mut text = String::new();
    for change in text_diff::diff(before.text(), after.text()) {
        let change = line(&change);
        let change = match change.as_bytes().first() {
            Some(b'+') => paint.good(&change),
            Some(b'-') => paint.bad(&change),
            _ => change,
        };
        text.push_str(&format!("{change}\n"));
    }
    console.data(&text)?;
    let path = brief(&arguments.policy.display().to_string());
    if !written {
        let why = if arguments.dry_run {
            ""
        } else {
            "; say --yes to write it"
        };
        console.note(&format!("{path} is unchanged{why}"));
        return Ok(());
    }
    console.note(&format!("wrote {path}, now sha256:{}", after.policy.digest()));
    if policy_source::signatures_of(&arguments.policy).exists() {
        console.warn("its signatures no longer count: have it signed again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Terms, What, moment, pins_of};
    use bastide_attestation::{Decision, UnixTime};

    #[test]
    fn every_device_of_a_verdict_is_pinned_and_none_is_an_error() {
        let mut verdict =
            crate::gate::without_evidence(Decision::Accepted, "x", String::new(), UnixTime::from_secs(0));
        verdict.snp = Some([("chip_id", "ab".to_owned())].into());
        let terms = Terms {
            not_before: "2026-12-01".parse().ok(),
            not_after: "2027-06-30".parse().ok(),
            reason: Some("ticket 4711".to_owned()),
            ..Terms::default()
        };
        let fault = pins_of(&verdict, &[What::Gpu], &terms).unwrap_err();
        assert_eq!(fault.code, "policy.pin_evidence");
        verdict.gpus = ["4711", "4712"]
            .map(|ueid| [("ueid", ueid.to_owned())].into())
            .to_vec();
        let pins = pins_of(&verdict, &[What::Chip, What::Gpu], &terms).unwrap();
        let pins: Vec<_> = pins
            .iter()
            .map(|pin| (pin.set.path(), pin.value.as_str()))
            .collect();
        let path = |path: &str| path.to_owned();
        assert_eq!(
            pins,
            [
                (path("snp.chips"), "ab"),
                (path("gpu.devices"), "4711"),
                (path("gpu.devices"), "4712")
            ]
        );
    }

    #[test]
    fn a_time_without_its_offset_is_no_moment() {
        assert!(moment("2026-12-01").is_ok() && moment("2026-12-01T12:00:00Z").is_ok());
        for text in ["2026-12-01T12:00:00", "12:00:00", "tomorrow", "2026-13-01"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
