//! Which policy a command uses: a file, or one shipped with this program by
//! its name. There is no other source and no fallback.

use std::path::Path;

use bastide_verifier::{Policy, shipped};
use clap::Args;

use crate::fault::{Fault, with_causes};
use crate::file;

const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// Options of every command that judges.
#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyArgs {
    /// Policy file, or the name of a shipped policy: production, development
    #[arg(long, value_name = "FILE|NAME", default_value = "production")]
    pub(crate) policy: String,
    /// Accept simulated hardware where the policy lists its roots; nothing is confidential then
    #[arg(long)]
    pub(crate) allow_simulated: bool,
}

/// Reads and parses a policy.
///
/// # Errors
/// [`Fault`] of usage if there is no such policy, of malformed input naming
/// the line if it is none.
pub(crate) fn load(named: &str) -> Result<Policy, Fault> {
    match shipped::by_name(named) {
        Some(text) => parse(text.as_bytes(), named),
        None => parse(&read(named)?, named),
    }
}

fn parse(bytes: &[u8], named: &str) -> Result<Policy, Fault> {
    Policy::parse(bytes).map_err(|error| {
        Fault::malformed(
            "policy.malformed",
            format!("policy `{named}`: {}", with_causes(&error)),
        )
        .with_remedy("`bastide policy init` prints a commented policy with every key")
    })
}

fn read(named: &str) -> Result<Vec<u8>, Fault> {
    file::read(Path::new(named), MAX_POLICY_BYTES).map_err(|fault| {
        if fault.code != "input.unreadable" || Path::new(named).exists() {
            return fault;
        }
        let near = shipped::NAMES.iter().find(|name| is_near(name, named));
        let fault = Fault::usage(
            "policy.not_found",
            format!(
                "there is neither a file nor a shipped policy `{named}`; shipped are {}",
                shipped::NAMES.join(", ")
            ),
        );
        match near {
            Some(near) => fault.with_remedy(format!("did you mean `{near}`?")),
            None => fault,
        }
    })
}

/// Whether one text becomes the other by at most two edits.
fn is_near(one: &str, other: &str) -> bool {
    let other: Vec<char> = other.chars().collect();
    if other.len() > 64 {
        return false;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            let best = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().is_some_and(|distance| *distance <= 2)
}

#[cfg(test)]
mod tests {
    use super::{is_near, load};

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert!(is_near("production", "prodction"));
        assert!(is_near("production", "productoin"));
        assert!(!is_near("production", "strict"));
        let fault = load("develpment").unwrap_err();
        assert_eq!((fault.exit, fault.code), (2, "policy.not_found"));
        assert!(fault.remedy.unwrap().contains("`development`"));
    }

    #[test]
    fn shipped_policies_parse() {
        for name in bastide_verifier::shipped::NAMES {
            load(name).unwrap();
        }
    }
}
