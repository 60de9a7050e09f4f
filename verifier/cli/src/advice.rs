//! What a code means and what to do about it: the verifier's own words for its
//! rejections, and ours for what can happen before and after an appraisal.

mod codes;
mod documents;
mod fetched;
mod keys;
mod links;
mod pipelines;
mod records;
mod sessions;

use bastide_verifier::{CheckId, Rejection};
use serde::Serialize;

use crate::exit;

/// A code of this command or of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    code: &'static str,
    exit: u8,
    means: &'static str,
    likely: &'static str,
    remedy: &'static str,
}

/// A code in words, for a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What it means, or what is most likely behind it.
    pub(crate) likely: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
}

/// Advice for a code, if the code is known.
pub(crate) fn of(code: &str) -> Option<Advice> {
    explain(code).map(|explanation| Advice {
        likely: explanation.likely.unwrap_or(explanation.means),
        remedy: explanation.remedy.unwrap_or_default(),
    })
}

/// Everything there is to say about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// The code.
    pub(crate) code: &'static str,
    /// Exit code of a command that ends with it.
    pub(crate) exit: u8,
    /// The decision that it leads to, in a word.
    pub(crate) decision: &'static str,
    /// What it means.
    pub(crate) means: &'static str,
    /// What is most likely behind it, where its meaning doesn't say so.
    pub(crate) likely: Option<&'static str>,
    /// What to do.
    pub(crate) remedy: Option<&'static str>,
    /// Keys of a policy that govern it; none if no policy can change it.
    pub(crate) policy_keys: &'static [&'static str],
}

/// A check of a verdict in words. Checks share their names with no code but
/// where both are about one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct CheckExplanation {
    /// The check's name.
    pub(crate) check: &'static str,
    /// What passes.
    pub(crate) passes: &'static str,
    /// What it rests on.
    pub(crate) basis: bastide_attestation::Basis,
}

const fn decision(exit: u8) -> &'static str {
    match exit {
        exit::ACCEPTED => "accepted",
        exit::USAGE => "usage: nothing was judged",
        exit::REJECTED => "rejected",
        exit::UNSUPPORTED => "unsupported",
        exit::MALFORMED => "malformed",
        exit::UNAVAILABLE => "undecided",
        _ => "internal error: nothing was judged",
    }
}

/// What there is to say about a code, if it is known.
pub(crate) fn explain(code: &str) -> Option<Explanation> {
    let of_family = || {
        codes::FAMILIES.iter().find(|family| {
            code.strip_prefix(family.code)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    all()
        .find(|explanation| explanation.code == code)
        .or_else(|| of_family().map(ours))
}

/// What there is to say about a check of a verdict, if there is such a check.
pub(crate) fn explain_check(name: &str) -> Option<CheckExplanation> {
    CheckId::ALL
        .iter()
        .find(|check| check.name() == name)
        .map(|check| CheckExplanation {
            check: check.name(),
            passes: check.expected(),
            basis: check.basis(),
        })
}

/// Every code: first the verifier's in its order, then ours. Families of codes
/// that share an explanation are not in it.
pub(crate) fn all() -> impl Iterator<Item = Explanation> {
    let verifier = Rejection::ALL.iter().map(|rejection| {
        let exit = rejection.decision().exit_code();
        Explanation {
            code: rejection.code(),
            exit,
            decision: decision(exit),
            means: rejection.explanation(),
            likely: None,
            remedy: Some(rejection.remedy()),
            policy_keys: keys::of(rejection.code()),
        }
    });
    let all = [
        sessions::SESSIONS,
        documents::DOCUMENTS,
        fetched::FETCHED,
        codes::OURS,
        links::LINKS,
        pipelines::PIPELINES,
        pipelines::PARTS,
        records::RECORDS,
    ];
    verifier.chain(all.into_iter().flatten().map(ours))
}

fn ours(known: &Known) -> Explanation {
    Explanation {
        code: known.code,
        exit: known.exit,
        decision: decision(known.exit),
        means: known.means,
        likely: Some(known.likely).filter(|likely| *likely != known.means),
        remedy: Some(known.remedy),
        policy_keys: keys::of(known.code),
    }
}

#[cfg(test)]
mod tests;
