//! What differs between two appraisals of a node, by what it means: other code,
//! other firmware, another chip, model, configuration, keys, GPUs, roots, or
//! another policy of ours. What every epoch changes is no difference.

use std::collections::{BTreeMap, BTreeSet};

use bastide_attestation::EpochStatement;
use serde::Serialize;
use serde_json::Value;

/// What a fact is about, in the order shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Topic {
    /// The decision and its reason.
    Verdict,
    /// What was launched, and who signed it.
    Code,
    /// Versions of firmware.
    Tcb,
    /// Which processor, and by which key.
    Chip,
    /// What the machine lets the host do.
    Platform,
    /// The model.
    Model,
    /// The enclave's configuration.
    Configuration,
    /// GPUs, their firmware and driver.
    Gpus,
    /// Trust anchors.
    Roots,
    /// The policy that judged.
    Policy,
    /// Which boot.
    Boot,
    /// The enclave's keys, which are new with every boot.
    Keys,
}

impl Topic {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Code => "code",
            Self::Tcb => "tcb",
            Self::Chip => "chip",
            Self::Platform => "platform",
            Self::Model => "model",
            Self::Configuration => "configuration",
            Self::Gpus => "gpus",
            Self::Roots => "roots",
            Self::Policy => "policy",
            Self::Boot => "boot",
            Self::Keys => "keys",
        }
    }

    /// What it is of a fact of the report; `None` for what every report changes.
    fn of_report(name: &str) -> Option<Self> {
        Some(match name {
            "measurement" | "id_key_digest" | "author_key_digest" | "family_id" | "image_id"
            | "guest_svn" | "vmpl" => Self::Code,
            "reported_tcb"
            | "committed_tcb"
            | "current_tcb"
            | "launch_tcb"
            | "firmware"
            | "provisional_firmware"
            | "launch_mit_vector"
            | "current_mit_vector"
            | "version" => Self::Tcb,
            "chip_id" | "product" | "signing_key" | "provider" => Self::Chip,
            "anchor" => Self::Roots,
            "report_id" => Self::Boot,
            "report_digest" | "report_data" => return None,
            _ => Self::Platform,
        })
    }

    /// What it is of a fact of the statement; likewise.
    fn of_statement(name: &str) -> Option<Self> {
        Some(match name {
            "boot_id" => Self::Boot,
            "configuration" => Self::Configuration,
            "model" => Self::Model,
            "receipt_key" => Self::Keys,
            "time_source" => Self::Platform,
            _ => return None,
        })
    }

    /// What it is of a fact of a paravisor and its vTPM; likewise.
    fn of_azure(name: &str) -> Option<Self> {
        Some(match name {
            "attestation_key" => Self::Keys,
            "quote_nonce" | "vtpm_clock_ms" => return None,
            "vtpm_resets" | "vtpm_restarts" => Self::Boot,
            "vtpm_firmware" | "hcl_version" => Self::Tcb,
            name if name.starts_with("pcr") => Self::Code,
            _ => Self::Platform,
        })
    }
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Change {
    /// What it is about.
    pub(crate) topic: Topic,
    /// The fact.
    pub(crate) name: String,
    /// What it was; `None` if it was not there.
    pub(crate) before: Option<String>,
    /// What it is.
    pub(crate) after: Option<String>,
}

type Facts = BTreeMap<(Topic, String), String>;

/// What an appraisal says: its verdict as kept, and the statement, which counts
/// only where the verdict has facts of it, that is, where hardware vouched for it.
#[derive(Debug, Clone)]
pub(crate) struct Said<'a> {
    /// The verdict's JSON.
    pub(crate) verdict: &'a Value,
    /// The statement in the evidence.
    pub(crate) statement: Option<&'a EpochStatement>,
}

/// Whether an appraisal got as far as facts of a report.
pub(crate) fn has_facts(verdict: &Value) -> bool {
    verdict["snp"].is_object()
}

/// Everything that differs, by topic.
pub(crate) fn between(before: &Said<'_>, after: &Said<'_>) -> Vec<Change> {
    let (before, after) = (facts(before), facts(after));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(name) != after.get(name))
        .map(|name| Change {
            topic: name.0,
            name: name.1.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn facts(said: &Said<'_>) -> Facts {
    let verdict = said.verdict;
    let mut facts = Facts::new();
    let mut put = |topic, name: &str, value: String| {
        facts.insert((topic, name.to_owned()), value);
    };
    for (topic, member, name) in [
        (Topic::Verdict, "verdict", "decision"),
        (Topic::Verdict, "code", "code"),
        (Topic::Roots, "roots", "roots"),
        (Topic::Roots, "simulated", "simulated"),
        (Topic::Tcb, "uncovered", "uncovered_advisories"),
        (Topic::Platform, "platform", "kind"),
        (Topic::Policy, "policy", "name"),
        (Topic::Policy, "policy_digest", "digest"),
        (Topic::Policy, "ignored", "ignored"),
    ] {
        let value = &verdict[member];
        if !value.is_null() {
            put(topic, name, text(value));
        }
    }
    type TopicOf = fn(&str) -> Option<Topic>;
    let of: [(&str, TopicOf); 3] = [
        ("snp", Topic::of_report),
        ("session", Topic::of_statement),
        ("azure", Topic::of_azure),
    ];
    for (member, topic_of) in of {
        for (name, value) in verdict[member].as_object().into_iter().flatten() {
            if let Some(topic) = topic_of(name) {
                put(topic, name, text(value));
            }
        }
    }
    for gpu in verdict["gpus"].as_array().into_iter().flatten() {
        // Devices by their identity: their order says nothing.
        let device = gpu["ueid"].as_str().unwrap_or("unknown");
        for (name, value) in gpu.as_object().into_iter().flatten() {
            if !matches!(name.as_str(), "nonce" | "report_digest") {
                put(Topic::Gpus, &format!("{device} {name}"), text(value));
            }
        }
    }
    if let Some(statement) = said.statement.filter(|_| verdict["session"].is_object()) {
        put(Topic::Keys, "session_key", hex::encode(statement.session_key));
        let sealed = statement
            .sealed_key
            .map_or_else(|| "none".to_owned(), hex::encode);
        put(Topic::Keys, "sealed_key", sealed);
    }
    facts
}
