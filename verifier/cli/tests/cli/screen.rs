//! Help, usage errors, colour, policies: what can be seen without evidence.

use crate::process::{bastide, finish, run};

#[test]
fn help_is_on_stdout_short_and_has_examples_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for wanted in [
        "Usage: bastide",
        "verify",
        "proxy",
        "Examples:",
        "Exit codes:",
        "10  rejected",
    ] {
        assert!(help.stdout.contains(wanted), "{wanted} in {}", help.stdout);
    }
    assert!(help.stdout.lines().count() < 70, "{}", help.stdout);
    for command in [
        "verify",
        "appraise",
        "chat",
        "proxy",
        "receipt",
        "inspect",
        "policy",
        "key",
        "result",
        "explain",
        "measure",
        "endorsements",
    ] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.stdout.contains("Example"), "{}", help.stdout);
    }
    assert!(run(&["--version"]).stdout.starts_with("bastide "));
}

#[test]
fn a_wrong_command_line_is_usage_and_suggests_the_near_name() {
    for (arguments, wanted) in [
        (&["verfy", "https://x"] as &[&str], "'verify'"),
        (&["verify", "https://x", "--polcy", "p"], "'--policy'"),
        (&["verify", "http://node.example"], "https://"),
        (&["verify", "https://node.example/path"], "`/path`"),
        (&["appraise"], "--snp-report"),
        (&["appraise", "--evidence", "e", "--at", "yesterday"], "RFC 3339"),
        (&["proxy", "https://x", "--listen", "somewhere"], "--listen"),
        (
            &["receipt", "verify", "r", "--evidence", "e", "--salt", "00"],
            "--salt",
        ),
        (&["policy", "init", "--profile", "strict"], "production"),
    ] {
        let run = run(arguments);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (2, ""),
            "{arguments:?} {}",
            run.stderr
        );
        assert!(run.stderr.contains(wanted), "{wanted} in {}", run.stderr);
    }
    let nothing = run::<&str>(&[]);
    assert_eq!(nothing.code, 2);
}

#[test]
fn faults_have_code_and_remedy_and_are_json_where_that_is_asked_for() {
    let arguments = ["verify", "https://127.0.0.1:1", "--policy", "prodction"];
    let human = run(&arguments);
    assert_eq!((human.code, human.stdout.as_str()), (2, ""));
    assert!(
        human.stderr.starts_with("error policy.not_found  "),
        "{}",
        human.stderr
    );
    assert!(
        human.stderr.contains("  do  did you mean `production`?"),
        "{}",
        human.stderr
    );
    let json = run(&[&arguments[..], &["--output", "json"]].concat());
    let fault: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(
        (&fault["schema"], &fault["code"]),
        (&"bastide.error/v1".into(), &"policy.not_found".into())
    );
    assert_eq!((json.code, json.stdout.as_str()), (2, ""));
}

#[test]
fn a_node_that_is_not_there_is_undecided_and_nothing_is_sent() {
    let arguments = ["verify", "https://127.0.0.1:1", "--policy", "development"];
    let human = run(&arguments);
    assert_eq!(human.code, 40, "{human:?}");
    assert!(
        human
            .stdout
            .starts_with("https://127.0.0.1:1   UNDECIDED   policy development@sha256:"),
        "{human:?}"
    );
    assert!(human.stdout.contains("BLOCKED  session.tcp  "), "{human:?}");
    assert!(human.stdout.contains("; nothing was sent\n"), "{human:?}");
    let json = run(&[&arguments[..], &["--output", "json"]].concat());
    assert_eq!((json.code, json.stderr.as_str()), (40, ""));
    let verdict = json.json();
    assert_eq!(verdict["schema"], "bastide.verdict/v1");
    assert_eq!(
        (&verdict["verdict"], &verdict["code"]),
        (&"undecided".into(), &"session.tcp".into())
    );
    let chat = run(&["chat", "https://127.0.0.1:1", "--policy", "development", "CANARY"]);
    assert_eq!((chat.code, chat.stdout.as_str()), (40, ""), "{chat:?}");
    assert!(
        chat.stderr.contains("BLOCKED  session.tcp") && !chat.stderr.contains("CANARY"),
        "{chat:?}"
    );
}

#[test]
fn colour_is_off_without_a_terminal_and_on_only_when_asked_for() {
    let verify = ["verify", "https://127.0.0.1:1", "--policy", "development"];
    assert!(!run(&verify).stdout.contains('\u{1b}'));
    let always = run(&[&verify[..], &["--color", "always"]].concat());
    assert!(
        always.stdout.contains("\u{1b}[1;31mUNDECIDED\u{1b}[0m"),
        "{always:?}"
    );
    let vetoed = finish(bastide().args(verify).env("NO_COLOR", "1").output().unwrap());
    assert!(!vetoed.stdout.contains('\u{1b}'));
}

#[test]
fn policies_round_trip_through_a_file_and_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for profile in ["production", "development"] {
        let printed = run(&["policy", "init", "--profile", profile]);
        assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
        let path = folder.path().join(profile).display().to_string();
        let written = run(&["policy", "init", "--profile", profile, "-o", &path]);
        assert_eq!((written.code, written.stdout.as_str()), (0, ""));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), printed.stdout);
        let again = run(&["policy", "init", "-o", &path]);
        assert_eq!(again.code, 2, "{again:?}");
        assert!(again.stderr.contains("output.exists"), "{again:?}");
        // A written policy is usable as it is.
        let used = run(&["verify", "https://127.0.0.1:1", "--policy", &path]);
        assert_eq!(used.code, 40, "{used:?}");
        let inspected = run(&["inspect", &path, "--output", "json"]).json();
        assert_eq!(
            (&inspected["kind"], &inspected["fields"]["name"]),
            (&"policy".into(), &profile.into())
        );
    }
}

#[test]
fn a_policy_with_a_typo_is_malformed_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("typo.toml");
    let text = run(&["policy", "init"])
        .stdout
        .replace("allow_simulated", "alow_simulated");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    let refused = run(&["verify", "https://127.0.0.1:1", "--policy", &path]);
    assert_eq!(refused.code, 30, "{refused:?}");
    assert!(
        refused.stderr.contains("alow_simulated") && refused.stderr.contains("line"),
        "{refused:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_quiet_and_keeps_the_exit_code() {
    use std::process::Stdio;
    let mut child = bastide()
        .args(["verify", "https://127.0.0.1:1", "--policy", "development"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(40), b"".as_slice())
    );
}
