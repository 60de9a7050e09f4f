//! The JSON Schema and the verifier say the same about the form of a policy:
//! the same keys in every table, the same of them required, every shipped
//! policy valid. The keys are asked of the verifier by giving it one that it
//! can't know.

use std::collections::BTreeSet;

use bastide_verifier::{Policy, PolicyFault, shipped};
use serde_json::Value;
use toml::Value as Toml;

use crate::process::run;

fn schema() -> Value {
    let printed = run(&["policy", "schema"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    serde_json::from_str(&printed.stdout).unwrap()
}

/// A policy with every table there is. It contradicts itself, which is found
/// only after its form.
fn full() -> Toml {
    let pin = |key: &str, digits: usize| {
        format!(
            "{key} = \"{}\"\nnot_before = 2026-01-01\nnot_after = 2027-01-01T00:00:00Z\nreason = \"r\"\n",
            "ab".repeat(digits / 2)
        )
    };
    let mut text = shipped::PRODUCTION
        .replace(
            "launch = []\n",
            "v2_product = \"genoa\"\nvlek_providers = [\"p\"]\n",
        )
        .replace("[model]\nmanifests = []\n", "")
        .replace(
            "rim_expiry = \"strict\"\n",
            "rim_expiry = \"strict\"\nrim_grace_days = 30\ndeny_drivers = [\"550.1\"]\ndeny_vbioses = [\"96.00.5e.00.01\"]\n",
        );
    text.push_str(&format!(
        "\n[snp.tcb_floor]\nmilan = {{ boot_loader = 1, tee = 1, snp = 1, microcode = 1 }}\n\
         genoa = {{ boot_loader = 1, tee = 1, snp = 1, microcode = 1 }}\n\
         bergamo = {{ boot_loader = 1, tee = 1, snp = 1, microcode = 1 }}\n\
         turin = {{ fmc = 1, boot_loader = 1, tee = 1, snp = 1, microcode = 1 }}\n\
         [[snp.launch]]\nrelease = \"v\"\nshape = \"s\"\n{}[[snp.chips]]\n{}[[snp.id_keys]]\n{}[[snp.author_keys]]\n{}\
         [[snp.host_data]]\n{}[[model.manifests]]\n{}\
         [[azure.pcrs]]\nindex = 4\nsha256 = [\"{}\"]\nnot_before = 2026-01-01\nnot_after = 2027-01-01\nreason = \"r\"\n\
         [[roots.extra]]\nname = \"x\"\ngeneration = \"genoa\"\nark_spki = \"{}\"\nask_spki = \"{}\"\nasvk_spki = \"{}\"\nsimulated = false\n\
         [[roots.gpu_extra]]\nname = \"x\"\ndevice_spki = \"{}\"\nrim_spki = \"{}\"\nsimulated = false\n\
         [[gpu.vbioses]]\nproject = \"1010\"\nminimum = \"96.00.9f.00.01\"\nreason = \"r\"\n\
         [[gpu.rims]]\n{}[[gpu.devices]]\nueid = \"1\"\nnot_before = 2026-01-01\nnot_after = 2027-01-01\nreason = \"r\"\n",
        pin("measurement", 96),
        pin("chip_id", 128),
        pin("digest", 96),
        pin("digest", 96),
        pin("value", 64),
        pin("manifest", 64),
        "ab".repeat(32),
        "ab".repeat(32),
        "ab".repeat(32),
        "ab".repeat(32),
        "ab".repeat(32),
        "ab".repeat(32),
        pin("sha256", 64),
    ));
    text.parse::<toml::Table>().map(Toml::Table).unwrap()
}

fn resolved<'s>(schema: &'s Value, node: &'s Value) -> &'s Value {
    match node["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    }
}

/// Every table of `policy`: its path, and what the schema says of it.
fn tables<'s>(
    schema: &'s Value,
    node: &'s Value,
    policy: &Toml,
    path: &str,
    out: &mut Vec<(String, &'s Value)>,
) {
    let node = resolved(schema, node);
    match policy {
        Toml::Table(table) => {
            out.push((path.to_owned(), node));
            for (key, value) in table {
                tables(
                    schema,
                    &node["properties"][key],
                    value,
                    &format!("{path}/{key}"),
                    out,
                );
            }
        }
        Toml::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                tables(schema, &node["items"], item, &format!("{path}/{index}"), out);
            }
        }
        _ => {}
    }
}

fn at<'p>(policy: &'p mut Toml, path: &str) -> &'p mut toml::Table {
    let mut value = policy;
    for part in path.split('/').skip(1) {
        value = match value {
            Toml::Table(table) => table.get_mut(part).unwrap(),
            Toml::Array(items) => &mut items[part.parse::<usize>().unwrap()],
            _ => panic!("{path}"),
        };
    }
    value.as_table_mut().unwrap()
}

fn parse(policy: &Toml) -> Result<Policy, bastide_verifier::PolicyError> {
    Policy::parse(toml::to_string(policy).unwrap().as_bytes())
}

#[test]
fn every_table_has_the_same_keys_and_the_same_of_them_required() {
    let schema = schema();
    let mut all = Vec::new();
    tables(&schema, &schema, &full(), "", &mut all);
    assert!(all.len() > 28, "only {} tables", all.len());
    for (path, node) in all {
        assert_eq!(node["additionalProperties"], false, "{path} takes any key");
        let properties: BTreeSet<&str> = node["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut odd = full();
        at(&mut odd, &path).insert("zzzzzzzz".to_owned(), Toml::Boolean(true));
        let error = parse(&odd).unwrap_err().to_string();
        // ``unknown field `zzzzzzzz`, expected one of `a`, `b` ``
        let (_, expected) = error
            .split_once("`zzzzzzzz`, expected ")
            .unwrap_or_else(|| panic!("{path}: {error}"));
        let expected = expected.split(';').next().unwrap();
        let known: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert_eq!(properties, known, "{path}");

        let required: BTreeSet<&str> = node["required"]
            .as_array()
            .map(|names| names.iter().map(|name| name.as_str().unwrap()).collect())
            .unwrap_or_default();
        let keys: Vec<String> = at(&mut full(), &path).keys().cloned().collect();
        for key in keys {
            let mut short = full();
            at(&mut short, &path).remove(&key);
            let missing = parse(&short)
                .err()
                .filter(|error| error.fault() == PolicyFault::Syntax)
                .is_some_and(|error| error.to_string().contains("missing field"));
            assert_eq!(missing, required.contains(key.as_str()), "{path}/{key}");
        }
    }
}

/// JSON as a tool for TOML would see it: dates are texts.
fn json(value: &Toml) -> Value {
    match value {
        Toml::String(text) => text.clone().into(),
        Toml::Integer(number) => (*number).into(),
        Toml::Float(number) => (*number).into(),
        Toml::Boolean(bit) => (*bit).into(),
        Toml::Datetime(time) => time.to_string().into(),
        Toml::Array(items) => items.iter().map(json).collect(),
        Toml::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.clone(), json(value)))
                .collect(),
        ),
    }
}

/// Faults of `value` by the keywords that the schema uses; any other keyword fails the test.
fn faults(schema: &Value, node: &Value, value: &Value, path: &str, out: &mut Vec<String>) {
    let node = resolved(schema, node);
    for (keyword, rule) in node.as_object().unwrap() {
        let length = value.as_str().map(|text| text.chars().count() as u64);
        let count = value.as_array().map(|items| items.len() as u64);
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other}"),
            },
            "pattern" => value
                .as_str()
                .is_some_and(|text| matches(rule.as_str().unwrap(), text)),
            "minLength" => length >= rule.as_u64(),
            "maxLength" => length <= rule.as_u64(),
            "minItems" => count >= rule.as_u64(),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "uniqueItems" => value.as_array().is_some_and(|items| {
                items
                    .iter()
                    .enumerate()
                    .all(|(at, item)| !items[..at].contains(item))
            }),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|key| value.get(key.as_str().unwrap()).is_some()),
            "additionalProperties" => value
                .as_object()
                .is_some_and(|members| members.keys().all(|key| node["properties"].get(key).is_some())),
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(key) {
                        faults(schema, rule, member, &format!("{path}/{key}"), out);
                    }
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(schema, rule, item, &format!("{path}/{index}"), out);
                }
                true
            }
            other => panic!("the schema uses `{other}`, which this test doesn't know"),
        };
        if !holds {
            out.push(format!("{path}: {keyword} {rule}, got {value}"));
        }
    }
}

/// The patterns of the schema: one class of characters, so or so many of them,
/// or several such with dots between.
fn matches(pattern: &str, text: &str) -> bool {
    let hex = |lengths: &[usize]| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match pattern {
        "^[a-z0-9-]{1,64}$" => {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        }
        "^[0-9a-fA-F]{64}$" => hex(&[64]),
        "^[0-9a-fA-F]{96}$" => hex(&[96]),
        "^([0-9a-fA-F]{16}|[0-9a-fA-F]{128})$" => hex(&[16, 128]),
        "^[1-9][0-9]{0,48}$" => {
            (1..=49).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && !text.starts_with('0')
        }
        r"^[0-9]{1,5}(\.[0-9]{1,5}){1,3}$" => {
            let numbers: Vec<_> = text.split('.').collect();
            (2..=4).contains(&numbers.len())
                && numbers.iter().all(|number| {
                    (1..=5).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
                })
        }
        r"^[0-9a-fA-F]{2}(\.[0-9a-fA-F]{2}){4}$" => {
            let pairs: Vec<_> = text.split('.').collect();
            pairs.len() == 5
                && pairs
                    .iter()
                    .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
        }
        other => panic!("the schema uses the pattern `{other}`, which this test doesn't know"),
    }
}

fn faults_of(policy: &Toml) -> Vec<String> {
    let schema = schema();
    let mut out = Vec::new();
    faults(&schema, &schema, &json(policy), "", &mut out);
    out
}

#[test]
fn every_shipped_policy_is_valid_and_what_the_verifier_refuses_by_form_is_not() {
    for (name, text) in shipped::POLICIES {
        let policy = Toml::Table(text.parse().unwrap());
        assert_eq!(faults_of(&policy), Vec::<String>::new(), "{name}");
    }
    assert_eq!(faults_of(&full()), Vec::<String>::new());
    for (path, key, wrong) in [
        ("", "name", Toml::from("Capital")),
        ("", "name", Toml::from(3)),
        ("", "ignore", Toml::from(vec!["snp.policy.debug"])),
        ("", "ignore", Toml::from(vec!["snp.vmpl", "snp.vmpl"])),
        ("/roots", "amd", Toml::from(vec!["rome"])),
        ("/snp", "products", Toml::from(Vec::<String>::new())),
        ("/snp", "report_versions", Toml::from(vec![1])),
        ("/snp", "vmpl", Toml::from(vec![4])),
        ("/snp", "key", Toml::from("vcak")),
        ("/snp", "tcb_profile", Toml::from("amd-2020-01")),
        ("/snp/guest_policy", "debug", Toml::from(true)),
        ("/snp/tcb_floor/genoa", "snp", Toml::from(256)),
        ("/snp/launch/0", "measurement", Toml::from("ab")),
        ("/snp/launch/0", "reason", Toml::from("")),
        ("/snp/chips/0", "chip_id", Toml::from("ab".repeat(32))),
        ("/azure/pcrs/0", "index", Toml::from(24)),
        ("/gpu", "count", Toml::from(0)),
        ("/gpu", "count", Toml::from(17)),
        ("/gpu", "families", Toml::from(Vec::<String>::new())),
        ("/gpu", "families", Toml::from(vec!["ampere"])),
        ("/gpu", "modes", Toml::from(vec!["spt", "spt"])),
        ("/gpu", "modes", Toml::from(vec!["off"])),
        ("/gpu", "rim_expiry", Toml::from("ignore")),
        ("/gpu", "rim_grace_days", Toml::from(731)),
        ("/gpu", "revocation", Toml::from("maybe")),
        ("/gpu", "revocation_max_age_hours", Toml::from(2161)),
        ("/gpu", "deny_drivers", Toml::from(vec!["550"])),
        ("/gpu", "deny_drivers", Toml::from(vec!["550.1.1.1.1"])),
        ("/gpu", "deny_vbioses", Toml::from(vec!["96.00.9F.00"])),
        ("/gpu/drivers/0", "minimum", Toml::from("+550.90")),
        ("/gpu/drivers/0", "reason", Toml::from("")),
        ("/gpu/vbioses/0", "minimum", Toml::from("96.00.9F.00.1")),
        ("/gpu/devices/0", "ueid", Toml::from("01")),
        ("/gpu/devices/0", "ueid", Toml::from("1".repeat(50))),
        ("/gpu/rims/0", "sha256", Toml::from("ab")),
        ("/roots", "nvidia", Toml::from("yes")),
        ("/roots/gpu_extra/0", "name", Toml::from("X")),
        ("/roots/gpu_extra/0", "rim_spki", Toml::from("ab")),
    ] {
        let mut policy = full();
        at(&mut policy, path).insert(key.to_owned(), wrong.clone());
        let faults = faults_of(&policy);
        let place = format!("{path}/{key}");
        assert!(!faults.is_empty(), "{place} = {wrong} is valid");
        assert!(faults.iter().all(|fault| fault.starts_with(&place)), "{faults:?}");
        assert!(parse(&policy).is_err(), "{path}/{key} = {wrong}");
    }
}

#[test]
fn profiles_of_the_schema_are_those_of_the_verifier() {
    let schema = schema();
    let named: Vec<_> = schema["properties"]["snp"]["properties"]["tcb_profile"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let known: Vec<_> = bastide_verifier::tcb_profile::PROFILES
        .iter()
        .map(|profile| profile.name)
        .collect();
    assert_eq!(named, known);
}
