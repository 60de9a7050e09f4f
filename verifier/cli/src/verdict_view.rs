//! A verdict for people: a tree with a line for each check, failures first,
//! then what it rests on. Every text in it is escaped, long digests are cut.

use std::time::Duration;

use bastide_attestation::{Basis, Check, Decision, Status, Verdict};

use crate::advice;
use crate::escape::{brief, line};
use crate::paint::Paint;
use crate::tree::Tree;

/// Shown above everything that rests on simulated hardware.
pub(crate) const SIMULATED: &str =
    "SIMULATED  the hardware is simulated: nothing here is confidential, anyone can make such evidence";

/// What a verdict is about, and how much to show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// A node's address or a file.
    pub(crate) name: &'a str,
    /// The word for acceptance.
    pub(crate) accepted: &'a str,
    /// What follows from a refusal, for example `nothing was sent`.
    pub(crate) consequence: &'a str,
    /// How long it took.
    pub(crate) elapsed: Option<Duration>,
    /// Show checks that were not reached, what each rests on, and all facts.
    pub(crate) verbose: bool,
}

/// The whole text.
pub(crate) fn render(verdict: &Verdict, subject: &Subject<'_>, paint: Paint) -> String {
    let mut out = String::new();
    if verdict.simulated {
        out.push_str(&format!("{}\n", paint.warn(SIMULATED)));
    }
    let mut branches = branches(&verdict.checks, subject.verbose, paint);
    if subject.verbose {
        branches.extend(facts(verdict));
    }
    out.push_str(&Tree::new(headline(verdict, subject, paint), branches).render());
    out.push_str(&closing(verdict));
    if verdict.decision != Decision::Accepted {
        out.push_str(&blocked(verdict, subject, paint));
    }
    out
}

fn headline(verdict: &Verdict, subject: &Subject<'_>, paint: Paint) -> String {
    let word = match (verdict.decision, verdict.simulated) {
        (Decision::Accepted, true) => paint.warn("SIMULATED"),
        (Decision::Accepted, false) => paint.good(subject.accepted),
        (Decision::Rejected, _) => paint.bad("REFUSED"),
        (Decision::Unsupported, _) => paint.bad("UNSUPPORTED"),
        (Decision::Malformed, _) => paint.bad("MALFORMED"),
        (Decision::Undecided, _) => paint.bad("UNDECIDED"),
    };
    let mut text = format!("{}   {word}", paint.strong(&brief(subject.name)));
    if !verdict.policy.is_empty() {
        text.push_str(&format!("   policy {}", policy(verdict)));
    }
    text.push_str(&format!("   {}", tally(&verdict.checks)));
    if let Some(elapsed) = subject.elapsed {
        text.push_str(&format!("   {:.1} s", elapsed.as_secs_f32()));
    }
    text
}

fn policy(verdict: &Verdict) -> String {
    brief(&format!("{}@sha256:{}", verdict.policy, verdict.policy_digest))
}

/// Checks one under the other, without the first component of their names.
pub(crate) fn leaves(checks: &[Check], verbose: bool, paint: Paint) -> Vec<Tree> {
    checks
        .iter()
        .map(|check| {
            let label = check.id.split_once('.').map_or(check.id, |(_, rest)| rest);
            leaf(check, label, verbose, paint)
        })
        .collect()
}

/// How many checks ended how: `21 pass, 0 fail, 2 skip`.
pub(crate) fn tally(checks: &[Check]) -> String {
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let mut text = format!("{} pass, {} fail", count(Status::Pass), count(Status::Fail));
    for (status, word) in [
        (Status::Skip, "skip"),
        (Status::Unknown, "unknown"),
        (Status::NotProvable, "not provable"),
    ] {
        match count(status) {
            0 => {}
            some => text.push_str(&format!(", {some} {word}")),
        }
    }
    text
}

/// One branch for each first component of the ids; branches with failures first.
pub(crate) fn branches(checks: &[Check], verbose: bool, paint: Paint) -> Vec<Tree> {
    let mut groups: Vec<(&str, Vec<&Check>)> = Vec::new();
    for check in checks {
        let name = check.id.split('.').next().unwrap_or(check.id);
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, members)) => members.push(check),
            None => groups.push((name, vec![check])),
        }
    }
    groups.sort_by_key(|(_, members)| worst(members));
    groups
        .into_iter()
        .map(|(name, members)| {
            let under = sub_branches(name, &members, verbose, paint);
            Tree::new(paint.strong(&line(name)), under)
        })
        .collect()
}

/// Checks that share a second component get a branch of their own.
fn sub_branches(group: &str, members: &[&Check], verbose: bool, paint: Paint) -> Vec<Tree> {
    let rest = |check: &Check| {
        let id = check.id;
        id.strip_prefix(group)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(id)
            .to_owned()
    };
    let second = |check: &Check| rest(check).split_once('.').map(|(second, _)| second.to_owned());
    let mut parts: Vec<(Option<String>, Vec<&Check>)> = Vec::new();
    for check in members {
        let name = second(check);
        match parts.iter_mut().find(|(part, _)| name.is_some() && *part == name) {
            Some((_, checks)) => checks.push(check),
            None => parts.push((name, vec![check])),
        }
    }
    parts.sort_by_key(|(_, checks)| worst(checks));
    let mut trees = Vec::new();
    let mut unreached = 0;
    for (name, mut checks) in parts {
        checks.sort_by_key(|check| rank(check.status));
        if !verbose {
            let before = checks.len();
            checks.retain(|check| !is_unreached(check));
            unreached += before - checks.len();
        }
        match (name, checks.as_slice()) {
            (_, []) => {}
            (Some(name), [_, _, ..]) => {
                let prefix = format!("{name}.");
                let leaves = checks
                    .iter()
                    .map(|check| leaf(check, rest(check).trim_start_matches(&prefix), verbose, paint))
                    .collect();
                trees.push(Tree::new(line(&name), leaves));
            }
            (_, single) => {
                trees.extend(
                    single
                        .iter()
                        .map(|check| leaf(check, &rest(check), verbose, paint)),
                );
            }
        }
    }
    if unreached > 0 {
        trees.push(Tree::leaf(paint.faint(&format!(
            "? unknown       {unreached} more not reached (-v lists them)"
        ))));
    }
    trees
}

fn is_unreached(check: &Check) -> bool {
    check.status == Status::Unknown && check.got == "not reached"
}

fn worst(checks: &[&Check]) -> u8 {
    checks
        .iter()
        .map(|check| rank(check.status))
        .min()
        .unwrap_or(u8::MAX)
}

const fn rank(status: Status) -> u8 {
    match status {
        Status::Fail => 0,
        Status::Unknown => 1,
        Status::NotProvable => 2,
        Status::Pass | Status::Skip => 3,
    }
}

fn leaf(check: &Check, label: &str, verbose: bool, paint: Paint) -> Tree {
    // Glyph and word: neither colour nor the glyph alone says how it ended.
    let sign = match check.status {
        Status::Pass => paint.good("✔ pass"),
        Status::Fail => paint.bad("✘ FAIL"),
        Status::Skip => paint.faint("– skip"),
        Status::Unknown => paint.warn("? unknown"),
        Status::NotProvable => paint.warn("? not provable"),
    };
    let came = if check.got.is_empty() {
        &check.expected
    } else {
        &check.got
    };
    let mut text = format!("{sign}  {}", line(label));
    let mut under = Vec::new();
    match check.status {
        Status::Fail | Status::NotProvable => {
            under.push(Tree::leaf(format!("expected  {}", brief(&check.expected))));
            under.push(Tree::leaf(format!("got       {}", brief(&check.got))));
        }
        Status::Pass | Status::Skip | Status::Unknown => {
            text.push_str(&format!("  {}", brief(came)));
        }
    }
    if verbose {
        text.push_str(&paint.faint(match check.basis {
            Basis::HardwareProven => "  [hardware-proven]",
            Basis::Derived => "  [derived]",
            Basis::Asserted => "  [asserted]",
        }));
    }
    Tree::new(text, under)
}

/// What the evidence says, for `--verbose`. The verifier gives only facts that it authenticated.
fn facts(verdict: &Verdict) -> Vec<Tree> {
    let named = |name: &str, facts: &std::collections::BTreeMap<&'static str, String>| {
        let leaves = facts
            .iter()
            .map(|(name, value)| Tree::leaf(format!("{name}  {}", brief(value))))
            .collect();
        Tree::new(name, leaves)
    };
    let snp = verdict
        .snp
        .iter()
        .map(|facts| named("facts of the report", facts));
    let azure = verdict
        .azure
        .iter()
        .map(|facts| named("facts of the paravisor and its vTPM", facts));
    let session = verdict
        .session
        .iter()
        .map(|facts| named("facts of the statement", facts));
    let gpus = verdict
        .gpus
        .iter()
        .enumerate()
        .map(|(index, facts)| named(&format!("facts of device {index}"), facts));
    snp.chain(azure).chain(session).chain(gpus).collect()
}

/// What the verdict rests on and what it leaves out.
fn closing(verdict: &Verdict) -> String {
    let mut out = String::new();
    if !verdict.ignored.is_empty() {
        let ignored: Vec<_> = verdict.ignored.iter().map(|id| brief(id)).collect();
        out.push_str(&format!("Left out by the policy: {}\n", ignored.join(", ")));
    }
    if !verdict.uncovered.is_empty() {
        let open: Vec<_> = verdict.uncovered.iter().map(|advisory| line(advisory)).collect();
        out.push_str(&format!(
            "Not ruled out by the policy's TCB floor: {}\n",
            open.join("; ")
        ));
    }
    if !verdict.roots.is_empty() {
        let roots: Vec<_> = verdict.roots.iter().map(|root| brief(root)).collect();
        let relied = match verdict.decision {
            Decision::Accepted => "You are trusting",
            _ => "Judged against",
        };
        out.push_str(&format!(
            "{relied}: {}; policy {}; this program; time {}\n",
            roots.join(", "),
            policy(verdict),
            line(&verdict.at)
        ));
    }
    out
}

/// The block of a refusal: code, expected, got, likely, do.
fn blocked(verdict: &Verdict, subject: &Subject<'_>, paint: Paint) -> String {
    let code = verdict.code.unwrap_or("internal");
    let advice = advice::of(code);
    let mut rows = Vec::new();
    let failed = verdict.checks.iter().find(|check| check.status == Status::Fail);
    let headline = match (failed, advice, &verdict.reason) {
        // The reason repeats expected and got, which have rows of their own.
        (Some(_), Some(advice), _) => advice.likely.to_owned(),
        (_, _, Some(reason)) => reason.clone(),
        (_, Some(advice), None) => advice.likely.to_owned(),
        (_, None, None) => "not accepted".to_owned(),
    };
    if let Some(check) = failed {
        rows.push(("expected", &*check.expected));
        rows.push(("got", &*check.got));
        if let Some(reason) = verdict.reason.as_ref().filter(|_| advice.is_none()) {
            rows.push(("why", reason));
        }
    }
    if let Some(advice) = advice {
        if failed.is_none() && advice.likely != headline {
            rows.push(("likely", advice.likely));
        }
        rows.push(("do", advice.remedy));
    }
    let mut out = format!(
        "{}  {}  {}; {}\n",
        paint.bad("BLOCKED"),
        paint.strong(&line(code)),
        brief(&headline),
        subject.consequence
    );
    for (name, value) in rows {
        out.push_str(&format!("  {name:<8}  {}\n", brief(value)));
    }
    out
}

#[cfg(test)]
mod tests;
