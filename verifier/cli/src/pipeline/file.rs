//! A pipeline's plan as its owner writes it: TOML, with policies by the names
//! of their files. Becomes a [`Plan`], or a message that names what is wrong.
//! Policies are read byte for byte, and each must be one that this program
//! understands: nobody should sign what enclaves will refuse.

use std::path::{Path, PathBuf};

use bastide_attestation::link::{HardwareRules, Required};
use bastide_attestation::pipeline::{
    LayerRange, MAX_POLICY_BYTES, Plan, PlanContents, PlanError, PlanRules, StagePlan,
};
use bastide_attestation::{ChipId, ManifestDigest, PipelineId};
use bastide_verifier::shipped;
use serde::Deserialize;

use crate::fault::{Fault, with_causes};
use crate::{file, key_file, policy_source};

/// First line of a plan.
pub(crate) const SCHEMA: &str = "bastide.pipeline-plan/v1";
const MAX_FILE_BYTES: usize = 256 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    pipeline: String,
    model: String,
    draft: Option<String>,
    layers: u16,
    #[serde(rename = "stage")]
    stages: Vec<Stage>,
    admit: Admit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    layers: [u16; 2],
    weights: String,
    policy: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Admit {
    #[serde(default)]
    issuers: Vec<String>,
    #[serde(default)]
    chips: Vec<String>,
    #[serde(default)]
    csp_ids: Vec<String>,
    #[serde(default)]
    required: Requirement,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Requirement {
    #[default]
    Either,
    Both,
}

fn wrong(path: &Path, what: &str) -> Fault {
    Fault::malformed("pipeline.file", format!("`{}`: {what}", path.display()))
        .with_remedy("`bastide pipeline plan` writes a plan with every key, and says what each is for")
}

/// Reads a plan and the policies that it names, from the plan's own folder.
///
/// # Errors
/// [`Fault`] of malformed input if it can't be read as a plan, of usage if no
/// plan can say what it says.
pub(crate) fn read(path: &Path) -> Result<Plan, Fault> {
    let bytes = file::read(path, MAX_FILE_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(path, "expected UTF-8 text"))?;
    let document: Document =
        toml::from_str(text).map_err(|error| wrong(path, error.to_string().trim_end()))?;
    if document.schema != SCHEMA {
        return Err(wrong(
            path,
            &format!("schema: expected `{SCHEMA}`, got `{}`", document.schema),
        ));
    }
    let hex =
        |key: &str, text: &str| wrong(path, &format!("{key}: expected hexadecimal digits, got `{text}`"));
    let pipeline: PipelineId = document
        .pipeline
        .parse()
        .map_err(|_| hex("pipeline", &document.pipeline))?;
    let manifest = |key: &str, text: &str| text.parse::<ManifestDigest>().map_err(|_| hex(key, text));
    let (stages, policies) = stages(path, &document)?;
    let contents = PlanContents {
        pipeline,
        model: manifest("model", &document.model)?,
        draft: document
            .draft
            .as_deref()
            .map(|draft| manifest("draft", draft))
            .transpose()?,
        stages,
        policies,
        rules: rules(path, &document.admit)?,
    };
    let plan = Plan::new(contents).map_err(|error| cannot(path, &error))?;
    if plan.layers() != document.layers {
        let error = PlanError::End {
            expected: document.layers.into(),
            got: plan.layers(),
        };
        return Err(cannot(path, &error));
    }
    Ok(plan)
}

fn cannot(path: &Path, error: &PlanError) -> Fault {
    Fault::usage(
        "pipeline.plan",
        format!("`{}`: {}", path.display(), with_causes(error)),
    )
    .with_remedy("correct what the message names; stages are numbered from 0, layers, too")
}

/// The stages, and the policies that they name, each once.
fn stages(path: &Path, document: &Document) -> Result<(Vec<StagePlan>, Vec<Vec<u8>>), Fault> {
    let mut policies: Vec<Vec<u8>> = Vec::new();
    let mut stages = Vec::new();
    for (number, stage) in document.stages.iter().enumerate() {
        let policy = policy(path, &stage.policy)?;
        let index = policies
            .iter()
            .position(|known| *known == policy)
            .unwrap_or_else(|| {
                policies.push(policy);
                policies.len() - 1
            });
        let [first, end] = stage.layers;
        if stage.weights.is_empty() {
            return Err(Fault::usage(
                "pipeline.weights",
                format!("`{}`: stage {number} has no digest of its weights", path.display()),
            )
            .with_remedy(format!(
                "have it computed where the model is, `bastide-enclave manifest --ranges {first}-{end}`, and plan again with --digests FILE"
            )));
        }
        stages.push(StagePlan {
            layers: LayerRange::new(first, end)
                .ok_or_else(|| cannot(path, &PlanError::Range { stage: number }))?,
            weights: hex::decode(&stage.weights)
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| {
                    wrong(
                        path,
                        &format!("stage {number}, weights: expected 64 hexadecimal digits"),
                    )
                })?,
            // More policies than stages there can't be; `Plan` says how many stages.
            policy: u8::try_from(index).unwrap_or(u8::MAX),
        });
    }
    Ok((stages, policies))
}

/// The exact bytes of a policy file beside the plan, or of a shipped policy.
fn policy(plan: &Path, named: &str) -> Result<Vec<u8>, Fault> {
    let bytes = if let Some(text) = shipped::by_name(named) {
        text.as_bytes().to_vec()
    } else {
        let beside: PathBuf = plan.parent().unwrap_or_else(|| Path::new("")).join(named);
        policy_source::read(&beside.display().to_string())?
    };
    policy_source::parse(&bytes, named)?;
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(Fault::usage(
            "pipeline.plan",
            format!("policy `{named}` has more than {MAX_POLICY_BYTES} bytes"),
        )
        .with_remedy("shorten it: a plan carries its policies whole"));
    }
    Ok(bytes)
}

fn rules(path: &Path, admit: &Admit) -> Result<PlanRules, Fault> {
    let mut issuers = Vec::new();
    for named in &admit.issuers {
        issuers.extend(key_file::public_keys(named)?.iter().map(|key| *key.as_bytes()));
    }
    let chips = admit.chips.iter().map(|text| {
        text.parse::<ChipId>().map_err(|_| {
            wrong(
                path,
                &format!("admit.chips: expected a CHIP_ID of 128 hexadecimal digits, got `{text}`"),
            )
        })
    });
    let hardware = HardwareRules {
        chips: chips.collect::<Result<_, _>>()?,
        csp_ids: admit.csp_ids.iter().cloned().collect(),
    };
    let required = match admit.required {
        Requirement::Either => Required::Either,
        Requirement::Both => Required::Both,
    };
    PlanRules::new(&issuers, hardware, required).map_err(|error| cannot(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: &str = "1111111111111111111111111111111111111111111111111111111111111111";

    fn plan(change: impl Fn(String) -> String) -> Result<Plan, Fault> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"schema = "bastide.pipeline-plan/v1"
pipeline = "{}"
model = "{}"
layers = 6

[[stage]]
layers = [0, 2]
weights = "{WEIGHTS}"
policy = "ours.toml"

[[stage]]
layers = [2, 6]
weights = "{WEIGHTS}"
policy = "development"

[admit]
chips = ["{}"]
"#,
            "66".repeat(16),
            "77".repeat(32),
            "07".repeat(64)
        );
        std::fs::write(
            folder.path().join("ours.toml"),
            shipped::by_name("production").unwrap(),
        )
        .unwrap();
        std::fs::write(folder.path().join("bad.toml"), "x = 1").unwrap();
        let path = folder.path().join("plan.toml");
        std::fs::write(&path, change(text)).unwrap();
        read(&path)
    }

    #[test]
    fn a_plan_has_its_policies_byte_for_byte_and_each_once() {
        let read = plan(|text| text).unwrap();
        assert_eq!(read.policies().len(), 2);
        assert_eq!(
            read.policy_of(1),
            shipped::by_name("development").map(str::as_bytes)
        );
        let same = plan(|text| text.replace("\"development\"", "\"ours.toml\"")).unwrap();
        assert_eq!(same.policies().len(), 1);
        assert_eq!(same.policy_of(0), same.policy_of(1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(&str, &str, &str, &str); 10] = [
            ("layers = 6", "layers = 7", "pipeline.plan", "the model at 7"),
            (
                "[2, 6]",
                "[3, 6]",
                "pipeline.plan",
                "stage 1 must begin at layer 2",
            ),
            ("[2, 6]", "[2, 2]", "pipeline.plan", "stage 1"),
            ("[2, 6]", "[2]", "pipeline.file", "array"),
            (WEIGHTS, "", "pipeline.weights", "stage 0"),
            (WEIGHTS, "11", "pipeline.file", "stage 0, weights"),
            ("plan/v1", "plan/v2", "pipeline.file", "schema"),
            ("[admit]", "extra = 1\n[admit]", "pipeline.file", "extra"),
            ("ours.toml", "bad.toml", "policy.malformed", "bad.toml"),
            ("0707", "0000", "pipeline.plan", "CHIP_ID"),
        ];
        for (from, to, code, said) in cases {
            // The chip is all one digit: every pair of it is replaced.
            let fault = plan(|text| text.replace(from, to)).unwrap_err();
            assert_eq!(fault.code, code, "{from} {fault}");
            assert!(fault.message.contains(said), "{said} in {fault}");
        }
    }
}
