//! `[gpu]` sections and roots of GPUs: what is refused, with which code, on
//! which line, with which hint; and what the shipped ones decide.

use bastide_verifier::{Policy, PolicyError, PolicyFault, shipped};

use crate::support::gpu_policies;

const DEVICE: &str = "{ ueid = \"4711\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"t\" }";
const RIM: &str = "{ sha256 = \"abababababababababababababababababababababababababababababababab\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"t\" }";
const MINIMUM: &str = "drivers = [{ minimum = \"580.159.03\", reason = \"t\" }]";
const VBIOS: &str = "vbioses = [{ minimum = \"96.00.9F.00.01\", reason = \"t\" }]";

/// The tests' policy, changed at one place, and the line that has `at` in it.
fn refused(from: &str, to: &str, at: Option<&str>) -> (PolicyError, Option<usize>) {
    let text = gpu_policies::text();
    assert!(text.contains(from), "`{from}` is not in the policy");
    let text = text.replacen(from, to, 1);
    let line = at.map(|at| {
        let mut lines = text.lines();
        1 + lines
            .position(|line| line.contains(at))
            .unwrap_or_else(|| panic!("`{at}` is not in the policy"))
    });
    let error = Policy::parse(text.as_bytes()).expect_err(&text);
    (error, line)
}

/// What to replace, by what, the fault, a text on its line, and a hint.
type Case<'a> = (&'a str, String, PolicyFault, Option<&'a str>, &'a str);

fn check(cases: &[Case<'_>]) {
    for (from, to, fault, at, words) in cases {
        let (error, line) = refused(from, to, *at);
        let context = format!("`{from}` -> `{to}`: {error}");
        assert_eq!(error.fault(), *fault, "{context}");
        assert_eq!(error.line(), line, "{context}");
        assert!(error.to_string().contains(words), "{context}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused_on_their_line() {
    use PolicyFault::{Duplicate, Syntax, Value};
    let s = str::to_owned;
    check(&[
        ("count = 1", s("count = 0"), Value, Some("count ="), "1 to 16"),
        ("count = 1", s("count = 17"), Value, Some("count ="), "1 to 16"),
        ("count = 1", s("count = \"1\""), Syntax, Some("count ="), "u32"),
        ("[\"hopper\"]", s("[]"), Value, Some("families ="), "at least one"),
        (
            "[\"hopper\"]",
            s("[\"hoper\"]"),
            Value,
            Some("families ="),
            "did you mean `hopper`?",
        ),
        (
            "[\"hopper\"]",
            s("[\"hopper\", \"hopper\"]"),
            Duplicate,
            Some("families ="),
            "already",
        ),
        ("[\"spt\"]", s("[]"), Value, Some("modes ="), "at least one"),
        (
            "[\"spt\"]",
            s("[\"off\"]"),
            Value,
            Some("modes ="),
            "`spt`, `ppcie`, `mpt`",
        ),
        (
            "\"strict\"",
            s("\"never\""),
            Value,
            Some("rim_expiry ="),
            "`strict`, `grace`, `pinned`",
        ),
        (
            "\"hard\"",
            s("\"yes\""),
            Value,
            Some("revocation ="),
            "`off`, `soft`, `hard`",
        ),
        (
            "hours = 24",
            s("hours = 0"),
            Value,
            Some("hours = 0"),
            "1 to 2160",
        ),
        (
            "hours = 24",
            s("hours = 2161"),
            Value,
            Some("hours = 2161"),
            "1 to 2160",
        ),
        (
            "\"580.159.03\"",
            s("\"580\""),
            Value,
            Some("drivers ="),
            "a driver version",
        ),
        (
            "\"580.159.03\"",
            s("\"580.+1\""),
            Value,
            Some("drivers ="),
            "a driver version",
        ),
        (
            "\"96.00.9F.00.01\"",
            s("\"96.00.9F.00\""),
            Value,
            Some("vbioses ="),
            "a VBIOS version",
        ),
        (
            MINIMUM,
            s("drivers = [{ minimum = \"580.1\", reason = \" \" }]"),
            Value,
            Some("drivers ="),
            "the reason",
        ),
        (
            MINIMUM,
            s("drivers = [{ minimum = \"580.1\", reason = \"t\" }, { minimum = \"580.2\", reason = \"t\" }]"),
            Duplicate,
            Some("drivers ="),
            "already",
        ),
        (
            VBIOS,
            s(
                "vbioses = [{ minimum = \"96.00.9F.00.01\", reason = \"t\" }, { minimum = \"96.00.00.00.00\", reason = \"t\" }]",
            ),
            Duplicate,
            Some("vbioses ="),
            "already",
        ),
        (
            MINIMUM,
            format!("{MINIMUM}\ndeny_drivers = [\"580.1\", \"580.01\"]"),
            Duplicate,
            Some("deny_drivers"),
            "already",
        ),
        (
            MINIMUM,
            s("drivers = [{ minimum = \"580.1\" }]"),
            Syntax,
            Some("drivers ="),
            "reason",
        ),
        (
            "modes = ",
            s("mode = "),
            Syntax,
            Some("mode ="),
            "did you mean `modes`?",
        ),
        ("modes = [\"spt\"]\n", s(""), Syntax, Some("[gpu]"), "modes"),
        (
            "simulated = true\n\n[[roots.gpu_extra]]",
            s("\n[[roots.gpu_extra]]"),
            Syntax,
            Some("[[roots.gpu_extra]]"),
            "simulated",
        ),
    ]);
}

#[test]
fn a_decision_that_is_missing_is_asked_for() {
    use PolicyFault::Missing;
    let s = str::to_owned;
    check(&[
        (MINIMUM, s(""), Missing, None, "gpu.driver"),
        (VBIOS, s(""), Missing, None, "gpu.vbios"),
        ("\"gpu.device\", ", s(""), Missing, None, "gpu.devices"),
        (
            "\"strict\"",
            s("\"grace\""),
            Missing,
            Some("rim_expiry ="),
            "rim_grace_days",
        ),
        (
            "\"strict\"",
            s("\"pinned\""),
            Missing,
            Some("rim_expiry ="),
            "gpu.rims",
        ),
        (
            "revocation_max_age_hours = 24\n",
            s(""),
            Missing,
            Some("revocation ="),
            "revocation_max_age_hours",
        ),
    ]);
}

#[test]
fn decisions_that_contradict_each_other_are_refused_where_they_do() {
    use PolicyFault::Contradiction;
    let s = str::to_owned;
    check(&[
        (
            "\"strict\"",
            s("\"strict\"\nrim_grace_days = 9"),
            Contradiction,
            Some("rim_grace_days"),
            "grace",
        ),
        (
            "\"strict\"",
            format!("\"grace\"\nrim_grace_days = 9\nrims = [{RIM}]"),
            Contradiction,
            Some("rims ="),
            "pinned",
        ),
        (
            "\"strict\"",
            format!("\"pinned\"\nrims = [{RIM}]\nrim_grace_days = 9"),
            Contradiction,
            Some("rim_grace_days"),
            "grace",
        ),
        (
            "\"hard\"",
            s("\"off\""),
            Contradiction,
            Some("revocation_max_age_hours"),
            "off",
        ),
        (
            "count = 1",
            format!("count = 1\ndevices = [{DEVICE}]"),
            Contradiction,
            Some("devices ="),
            "`ignore` names `gpu.device`",
        ),
        (
            "\"gpu.device\", ",
            s("\"gpu.device\", \"gpu.driver\", "),
            Contradiction,
            Some("drivers ="),
            "`ignore` names `gpu.driver`",
        ),
        (
            "\"gpu.device\", ",
            s("\"gpu.device\", \"gpu.vbios\", "),
            Contradiction,
            Some("vbioses ="),
            "`ignore` names `gpu.vbios`",
        ),
    ]);
    // A list of what is denied counts beside a minimum alone.
    for (minimum, denied, check) in [
        (MINIMUM, "deny_drivers = [\"580.1\"]", "gpu.driver"),
        (VBIOS, "deny_vbioses = [\"96.00.00.00.00\"]", "gpu.vbios"),
    ] {
        let text = gpu_policies::text()
            .replace(minimum, denied)
            .replace("\"gpu.device\", ", &format!("\"gpu.device\", \"{check}\", "));
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.fault(), Contradiction, "{error}");
        let line = text.lines().position(|line| line == denied).unwrap();
        assert_eq!(error.line(), Some(line + 1), "{error}");
        // Without it, the check is left out by name.
        let text = text.replace(denied, "");
        let policy = Policy::parse(text.as_bytes()).unwrap();
        assert!(policy.ignored().iter().any(|ignored| ignored == check));
    }
}

#[test]
fn roots_of_gpus_are_named_once_and_are_what_they_say() {
    use PolicyFault::{Contradiction, Duplicate, Value};
    let manifests = "279b4a6470a787066d058071089875b16618b0e7daa0a1d025c55614b115700b";
    let unused = "77".repeat(32);
    let fault = |from: &str, to: &str| {
        let text = gpu_policies::text();
        assert!(text.contains(from), "{from}");
        Policy::parse(text.replacen(from, to, 1).as_bytes())
            .unwrap_err()
            .fault()
    };
    assert_eq!(
        fault("name = \"made-up\"", "name = \"gpu-simulation\""),
        Duplicate
    );
    assert_eq!(fault("name = \"made-up\"", "name = \"Made up\""), Value);
    assert_eq!(fault(&unused, manifests), Duplicate);
    assert_eq!(fault(&unused, &"00".repeat(32)), Value);
    // One key for devices and for manifests.
    let text = gpu_policies::text();
    let (_, made) = text.rsplit_once("device_spki = \"").unwrap();
    assert_eq!(fault(&unused, &made[..64]), Duplicate);
    // The simulation's keys are public, and must be called so.
    let real = text.replacen(
        &format!("rim_spki = \"{manifests}\"\nsimulated = true"),
        &format!("rim_spki = \"{manifests}\"\nsimulated = false"),
        1,
    );
    assert_ne!(real, text);
    let error = Policy::parse(real.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), Contradiction, "{error}");
    assert!(error.to_string().contains("public"), "{error}");
}

#[test]
fn a_section_needs_a_root_and_roots_need_a_section() {
    let text = gpu_policies::text();
    let (before, rest) = text.split_once("[[roots.gpu_extra]]").unwrap();
    let (roots, gpu) = rest.split_once("[gpu]").unwrap();
    let rootless = format!("{before}[gpu]{gpu}");
    let error = Policy::parse(rootless.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), PolicyFault::Contradiction, "{error}");
    assert!(error.to_string().contains("roots.nvidia"), "{error}");
    let nvidia = rootless.replace("amd = []", "amd = []\nnvidia = true");
    assert_eq!(gpus_of(&nvidia), Some(1));
    let refused = rootless.replace("amd = []", "amd = []\nnvidia = false");
    assert!(Policy::parse(refused.as_bytes()).is_err());

    let before = before.replace("\"gpu.device\", ", "");
    let sectionless = format!("{before}[[roots.gpu_extra]]{roots}");
    let error = Policy::parse(sectionless.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), PolicyFault::Contradiction, "{error}");
    assert!(error.to_string().contains("[gpu]"), "{error}");
    let nvidia = before.replace("amd = []", "amd = []\nnvidia = true");
    let error = Policy::parse(nvidia.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), PolicyFault::Contradiction, "{error}");
    // What nobody checks can't be left out.
    let ignored = before.replace("ignore = [", "ignore = [\"gpu.device\", ");
    let error = Policy::parse(ignored.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), PolicyFault::Contradiction, "{error}");
    assert_eq!(gpus_of(&before), None);
}

fn gpus_of(text: &str) -> Option<u8> {
    Policy::parse(text.as_bytes()).unwrap().gpu_count()
}

#[test]
fn pinned_gpus_and_manifests_can_be_listed() {
    let text = gpu_policies::text()
        .replace("\"gpu.device\", ", "")
        .replace("count = 1", &format!("count = 1\ndevices = [{DEVICE}]"))
        .replace("\"strict\"", &format!("\"pinned\"\nrims = [{RIM}]"));
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let pins = policy.pins();
    let value = |check: &str| {
        let pin = pins.iter().find(|pin| pin.check == check).unwrap();
        pin.value.clone()
    };
    assert_eq!(value("gpu.device"), "4711");
    assert_eq!(value("gpu.rim.validity"), "ab".repeat(32));
    assert_eq!(policy.rim_expiry(), Some("pinned"));
    for (from, to) in [
        ("ueid = \"4711\"", "ueid = \"0\""),
        ("ueid = \"4711\"", "ueid = \"04711\""),
        ("ueid = \"4711\"", "ueid = \"x\""),
        ("sha256 = \"ab", "sha256 = \""),
    ] {
        let text = text.replacen(from, to, 1);
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.fault(), PolicyFault::Value, "{error}");
    }
}

#[test]
fn shipped_policies_ask_for_one_gpu_and_for_current_word_of_nvidia() {
    for (name, text) in shipped::POLICIES {
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let expected = match name {
            "baseline" => (Some(1), Some("strict"), Some("soft")),
            "production" | "regulated" | "development" => (Some(1), Some("strict"), Some("hard")),
            _ => (None, None, None),
        };
        let got = (policy.gpu_count(), policy.rim_expiry(), policy.gpu_revocation());
        assert_eq!(got, expected, "{name}");
        let ignores = policy.ignored().iter().any(|check| check == "gpu.device");
        let any = matches!(name, "baseline" | "production" | "development");
        assert_eq!(ignores, any, "{name}");
    }
}
