//! A policy's text, so that every fault can name its line, and how values of
//! the small types are read from it: names, numbers, digests, sets, decisions.

use core::fmt::Display;
use core::ops::{Range, RangeInclusive};
use core::str::FromStr;

use bastide_attestation::snp::Product;
use toml::Spanned;

use super::error::nearest;
use super::schema::List;
use super::{PolicyError, PolicyFault};

/// Most entries of a list.
pub(super) const MAX_LIST: usize = 1024;
/// Most characters of a name.
const MAX_NAME: usize = 64;
/// Most characters of a description or a reason.
const MAX_TEXT: usize = 2048;

/// The text.
#[derive(Clone, Copy)]
pub(super) struct Source<'t>(pub(super) &'t str);

pub(super) type Outcome<T> = Result<T, PolicyError>;

impl Source<'_> {
    pub(super) fn fault<T>(
        &self,
        fault: PolicyFault,
        at: &Spanned<T>,
        message: impl Into<String>,
    ) -> PolicyError {
        self.fault_at(fault, at.span(), message)
    }

    fn fault_at(&self, fault: PolicyFault, span: Range<usize>, message: impl Into<String>) -> PolicyError {
        PolicyError::at(fault, self.0, Some(span), message)
    }

    pub(super) fn unexpected(&self, value: &Spanned<String>, allowed: &[&str]) -> PolicyError {
        let quoted: Vec<_> = allowed.iter().map(|name| format!("`{name}`")).collect();
        let hint = nearest(value.get_ref(), allowed)
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        self.fault(
            PolicyFault::Value,
            value,
            format!(
                "expected {}, got `{}`{hint}",
                quoted.join(", "),
                value.get_ref().escape_debug()
            ),
        )
    }

    pub(super) fn one_of<'n>(&self, value: &Spanned<String>, allowed: &[&'n str]) -> Outcome<&'n str> {
        allowed
            .iter()
            .find(|name| **name == value.get_ref().as_str())
            .copied()
            .ok_or_else(|| self.unexpected(value, allowed))
    }

    /// A list without repetitions, each entry read by `read`.
    pub(super) fn set<T, U: PartialEq>(
        &self,
        entries: &[Spanned<T>],
        read: impl Fn(&Spanned<T>) -> Outcome<U>,
    ) -> Outcome<Vec<U>> {
        self.distinct(entries, read, |one, other| one == other)
    }

    /// The same, with a notion of sameness of its own.
    pub(super) fn distinct<T, U>(
        &self,
        entries: &[Spanned<T>],
        read: impl Fn(&Spanned<T>) -> Outcome<U>,
        same: impl Fn(&U, &U) -> bool,
    ) -> Outcome<Vec<U>> {
        let mut out: Vec<U> = Vec::with_capacity(entries.len().min(MAX_LIST));
        for entry in entries {
            if out.len() == MAX_LIST {
                let message = format!("at most {MAX_LIST} entries were expected");
                return Err(self.fault(PolicyFault::TooLarge, entry, message));
            }
            let value = read(entry)?;
            if out.iter().any(|other| same(other, &value)) {
                let message = "this entry is in the list already";
                return Err(self.fault(PolicyFault::Duplicate, entry, message));
            }
            out.push(value);
        }
        Ok(out)
    }

    /// A set with at least one entry: an empty one would refuse everything.
    pub(super) fn filled_set<T, U: PartialEq>(
        &self,
        entries: &List<T>,
        read: impl Fn(&Spanned<T>) -> Outcome<U>,
    ) -> Outcome<Vec<U>> {
        if entries.get_ref().is_empty() {
            return Err(self.fault(PolicyFault::Value, entries, "at least one entry was expected"));
        }
        self.set(entries.get_ref(), read)
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&self, value: &Spanned<String>) -> Outcome<T> {
        value
            .get_ref()
            .parse()
            .map_err(|error: T::Err| self.fault(PolicyFault::Value, value, error.to_string()))
    }

    /// A digest that pins something.
    pub(super) fn digest<T: FromStr<Err: Display> + AsRef<[u8]>>(
        &self,
        value: &Spanned<String>,
    ) -> Outcome<T> {
        let digest: T = self.parse(value)?;
        if digest.as_ref().iter().all(|byte| *byte == 0) {
            return Err(self.fault(PolicyFault::Value, value, "an all-zero digest pins nothing"));
        }
        Ok(digest)
    }

    /// Names go into HTTP headers and file names.
    pub(super) fn require_name(&self, name: &Spanned<String>) -> Outcome<()> {
        let text = name.get_ref();
        let fits = !text.is_empty()
            && text.len() <= MAX_NAME
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits {
            return Ok(());
        }
        let message = format!("expected a name of 1 to {MAX_NAME} lower-case letters, digits and hyphens");
        Err(self.fault(PolicyFault::Value, name, message))
    }

    /// Text for people, which may be empty.
    pub(super) fn require_text(&self, text: &Spanned<String>) -> Outcome<()> {
        let fits = text.get_ref().chars().count() <= MAX_TEXT
            && !text
                .get_ref()
                .chars()
                .any(|character| character.is_control() && character != '\n');
        if fits {
            return Ok(());
        }
        let message = format!("expected at most {MAX_TEXT} characters without control characters");
        Err(self.fault(PolicyFault::Value, text, message))
    }

    /// Text for people that must say something.
    pub(super) fn sentence(&self, text: &Spanned<String>, what: &str) -> Outcome<String> {
        self.require_text(text)?;
        if text.get_ref().trim().is_empty() {
            let message = format!("expected {what}, got nothing");
            return Err(self.fault(PolicyFault::Value, text, message));
        }
        Ok(text.get_ref().clone())
    }

    pub(super) fn product(&self, value: &Spanned<String>) -> Outcome<Product> {
        let names = Product::ALL.map(Product::name);
        let name = self.one_of(value, &names)?;
        Product::ALL
            .into_iter()
            .find(|product| product.name() == name)
            .ok_or_else(|| self.unexpected(value, &names))
    }

    pub(super) fn number(
        &self,
        value: &Spanned<u32>,
        range: RangeInclusive<u32>,
        what: &str,
    ) -> Outcome<u32> {
        if range.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let message = format!("expected {what}, got {}", value.get_ref());
        Err(self.fault(PolicyFault::Value, value, message))
    }
}

/// The checks that a policy leaves out by name.
#[derive(Clone, Copy)]
pub(super) struct Ignored<'i>(pub(super) &'i [String]);

impl Ignored<'_> {
    pub(super) fn names(&self, check: &str) -> bool {
        self.0.iter().any(|entry| entry == check)
    }

    /// A decision is made or ignored: neither is a gap, both a contradiction.
    pub(super) fn decision<'d, T>(
        &self,
        source: &Source<'_>,
        check: &'static str,
        key: &str,
        made: Option<&'d Spanned<T>>,
    ) -> Outcome<Option<&'d Spanned<T>>> {
        match (made, self.names(check)) {
            (Some(made), true) => Err(source.fault(
                PolicyFault::Contradiction,
                made,
                format!("`{key}` is decided here, but `ignore` names `{check}`; remove one of the two"),
            )),
            (None, false) => Err(PolicyError::whole(
                PolicyFault::Missing,
                format!("`{key}` is missing; decide it, or add \"{check}\" to `ignore` to leave it out"),
            )),
            (made, _) => Ok(made),
        }
    }
}
