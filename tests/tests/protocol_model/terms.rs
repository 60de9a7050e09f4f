//! Messages as terms, and what an attacker can make of those it knows
//! (Dolev and Yao): functions are perfect, and a signature or a MAC is to be
//! had only from its key.

use std::cell::RefCell;
use std::collections::HashMap;

/// Which end of a connection evidence is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Server,
    Client,
}

/// Who opens sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// An honest client.
    Client(u8),
    /// A genuine enclave that opens a link.
    Enclave(u8),
    /// The host.
    Attacker,
}

/// One TLS session: who opened it, and which of theirs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) Owner, pub(crate) u8);

/// One boot of a genuine enclave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Boot {
    pub(crate) enclave: u8,
    pub(crate) number: u8,
}

/// What is not made of anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    /// Known to everyone: labels, numbers, contexts, depths.
    Public(u8),
    /// SubjectPublicKeyInfo of a boot's TLS key.
    Spki(Boot),
    /// That of a key of the attacker's own.
    SpkiOfAttacker,
    /// A nonce that the attacker draws.
    NonceOfAttacker,
    /// A boot's identity.
    BootId(Boot),
    /// What only the two ends of a TLS session know.
    SessionSecret(SessionId),
    /// An honest challenge.
    Nonce(SessionId),
    /// A leaf's salt.
    Salt(SessionId),
    /// The signing key of an enclave's chip.
    Chip(u8),
    /// Lane K's key.
    SessionKey(Boot),
    /// The sealed mode's key.
    SealedKey(Boot),
    /// A sealed-mode key of the attacker's own.
    SealedKeyOfAttacker,
}

impl Name {
    const fn is_public(self) -> bool {
        matches!(
            self,
            Self::Public(_)
                | Self::Spki(_)
                | Self::SpkiOfAttacker
                | Self::NonceOfAttacker
                | Self::BootId(_)
                | Self::SealedKeyOfAttacker
        )
    }
}

/// A function that everyone can compute, and nobody can invert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Function {
    /// Several terms together; the one function that can be taken apart.
    Tuple,
    /// TLS exporter of a session's secret.
    Exporter(Role),
    Mac,
    Hash,
    ReportData,
    /// A leaf and a node, with their prefixes.
    Leaf,
    Node,
    /// Either, without: SHA-256 of two values.
    Pair,
    /// `[key, message]`.
    Sign,
    /// The public half of a key, known to everyone.
    PublicKey,
    KeyConfig,
    SealedBinder,
    SessionMessage,
}

/// A term, by its number in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term(u32);

/// What a term is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Name(Name),
    Apply(Function, Vec<Term>),
}

/// Every term of an exploration, each once.
#[derive(Debug, Default)]
pub(crate) struct Terms(RefCell<Table>);

#[derive(Debug, Default)]
struct Table {
    shapes: Vec<Shape>,
    numbers: HashMap<Shape, Term>,
}

impl Terms {
    fn intern(&self, shape: Shape) -> Term {
        let mut table = self.0.borrow_mut();
        if let Some(term) = table.numbers.get(&shape) {
            return *term;
        }
        let term = Term(u32::try_from(table.shapes.len()).expect("few terms"));
        table.shapes.push(shape.clone());
        table.numbers.insert(shape, term);
        term
    }

    pub(crate) fn name(&self, name: Name) -> Term {
        self.intern(Shape::Name(name))
    }

    pub(crate) fn public(&self, number: u8) -> Term {
        self.name(Name::Public(number))
    }

    pub(crate) fn apply(&self, function: Function, arguments: &[Term]) -> Term {
        self.intern(Shape::Apply(function, arguments.to_vec()))
    }

    pub(crate) fn shape(&self, term: Term) -> Shape {
        self.0.borrow().shapes[usize::try_from(term.0).expect("a number of this table")].clone()
    }

    /// The arguments, if the term is made by `function`.
    pub(crate) fn arguments(&self, term: Term, function: Function) -> Option<Vec<Term>> {
        match self.shape(term) {
            Shape::Apply(made_by, arguments) if made_by == function => Some(arguments),
            _ => None,
        }
    }
}

/// What the attacker was given, taken apart and sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Knowledge(Vec<Term>);

impl Knowledge {
    pub(crate) fn learn(&mut self, terms: &Terms, term: Term) {
        if let Some(parts) = terms.arguments(term, Function::Tuple) {
            for part in parts {
                self.learn(terms, part);
            }
        }
        if let Some(signed) = terms.arguments(term, Function::Sign) {
            // A signature doesn't hide what it is over.
            self.learn(terms, signed[1]);
        }
        if let Err(at) = self.0.binary_search(&term) {
            self.0.insert(at, term);
        }
    }

    /// Whether the attacker has the term or can make it.
    pub(crate) fn derives(&self, terms: &Terms, term: Term) -> bool {
        if self.0.binary_search(&term).is_ok() {
            return true;
        }
        match terms.shape(term) {
            Shape::Name(name) => name.is_public(),
            Shape::Apply(Function::PublicKey | Function::KeyConfig, _) => true,
            Shape::Apply(_, arguments) => arguments.iter().all(|part| self.derives(terms, *part)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Term> {
        self.0.iter().copied()
    }
}
