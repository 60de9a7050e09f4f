//! The protocol as it is, each of its parts with a switch to leave it out, and
//! what its attacker is given. Formulas are those of docs/spec/attested-tls.md.

use super::terms::{Boot, Function, Knowledge, Name, Role, SessionId, Shape, Term, Terms};

/// What is in force. Everything is, but in a test that shows what a part is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// Binders are keyed by the TLS exporter. Without: evidence as it is put into
    /// certificates, bound to nonce and key.
    pub(crate) exporter: bool,
    pub(crate) nonce: bool,
    /// The exporter label differs by role.
    pub(crate) role_label: bool,
    pub(crate) role_byte: bool,
    /// Leaves of clients and of servers are of different types.
    pub(crate) leaf_type: bool,
    /// Both ends' keys are in the binder.
    pub(crate) spki: bool,
    pub(crate) context: bool,
    /// Statements say how deep their tree is.
    pub(crate) depth: bool,
    /// Leaves and nodes are hashed with different prefixes and labels.
    pub(crate) prefixes: bool,
    /// The enclave draws the salt. Without: it takes the challenge for one.
    pub(crate) own_salt: bool,
    /// Lane K only after this client has seen the key in lane M.
    pub(crate) lane_k_after_m: bool,
    /// Lane K at most 300 s after that.
    pub(crate) lane_k_age: bool,
    /// Lane K's signature is over the session's binder.
    pub(crate) lane_k_binder: bool,
    /// The sealed mode's key is in the binder.
    pub(crate) sealed_in_binder: bool,
    /// And its digest in the statement.
    pub(crate) sealed_in_statement: bool,
    /// Links require a chip of the hardware set.
    pub(crate) hardware_set: bool,
    /// Credentials name the key that may use them.
    pub(crate) credential_key: bool,
}

impl Protocol {
    pub(crate) const WHOLE: Self = Self {
        exporter: true,
        nonce: true,
        role_label: true,
        role_byte: true,
        leaf_type: true,
        spki: true,
        context: true,
        depth: true,
        prefixes: true,
        own_salt: true,
        lane_k_after_m: true,
        lane_k_age: true,
        lane_k_binder: true,
        sealed_in_binder: true,
        sealed_in_statement: true,
        hardware_set: true,
        credential_key: true,
    };
}

/// What the attacker has besides the network, the host and an enclave of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attacker {
    /// TLS private keys of every enclave.
    pub(crate) tls_keys: bool,
    /// It can give two sessions that it stands between one exporter value, as
    /// was possible before TLS 1.3. What TLS 1.3 promises is that it can't.
    pub(crate) equal_exporters: bool,
    /// Lane K's keys, while they are in use.
    pub(crate) session_keys: bool,
}

impl Attacker {
    /// The one that the protocol is made against.
    pub(crate) const WITH_TLS_KEYS: Self = Self {
        tls_keys: true,
        equal_exporters: false,
        session_keys: false,
    };
    pub(crate) const WITHOUT_KEYS: Self = Self {
        tls_keys: false,
        ..Self::WITH_TLS_KEYS
    };
    /// No leaked key, and a TLS that binds less than it should.
    pub(crate) const WITH_WEAK_TLS: Self = Self {
        equal_exporters: true,
        ..Self::WITHOUT_KEYS
    };
}

pub(crate) const NIL: u8 = 0;
const SERVER: u8 = 1;
const CLIENT: u8 = 2;
pub(crate) const LEAF_SERVER: u8 = 3;
const LEAF_CLIENT: u8 = 4;
pub(crate) const LEAF_SEALED: u8 = 5;
const DEPTH_0: u8 = 10;

/// The two ends as a binder names them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) role: Role,
    pub(crate) attester: Name,
    pub(crate) peer: Option<Name>,
    /// Number of the link's context.
    pub(crate) context: Option<u8>,
}

/// An answer in lane M.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answer {
    pub(crate) statement: Term,
    pub(crate) report: Term,
    pub(crate) salt: Term,
    /// Siblings from the leaf up; whether each stands on the right.
    pub(crate) path: Vec<(bool, Term)>,
}

/// What a statement says, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) boot_id: Term,
    pub(crate) depth: Term,
    pub(crate) root: Term,
    pub(crate) sealed_key: Term,
}

pub(crate) fn binder(
    terms: &Terms,
    protocol: &Protocol,
    session: SessionId,
    nonce: Term,
    ends: &Ends,
) -> Term {
    let nil = terms.public(NIL);
    let key = if protocol.exporter {
        let label = if protocol.role_label {
            ends.role
        } else {
            Role::Server
        };
        let secret = terms.name(Name::SessionSecret(session));
        terms.apply(Function::Exporter(label), &[secret])
    } else {
        nil
    };
    let role = match ends.role {
        _ if !protocol.role_byte => nil,
        Role::Server => terms.public(SERVER),
        Role::Client => terms.public(CLIENT),
    };
    let name = |name: Option<Name>| match name {
        Some(name) if protocol.spki => terms.name(name),
        _ => nil,
    };
    let context = ends
        .context
        .filter(|_| protocol.context)
        .map_or(nil, |context| terms.public(context));
    let nonce = if protocol.nonce { nonce } else { nil };
    terms.apply(
        Function::Mac,
        &[
            key,
            role,
            nonce,
            name(Some(ends.attester)),
            name(ends.peer),
            context,
        ],
    )
}

pub(crate) fn sealed_binder(terms: &Terms, protocol: &Protocol, config: Term, nonce: Term) -> Term {
    let nil = terms.public(NIL);
    terms.apply(
        Function::SealedBinder,
        &[
            if protocol.sealed_in_binder { config } else { nil },
            if protocol.nonce { nonce } else { nil },
        ],
    )
}

/// Type of the leaf of one end of a TLS session.
pub(crate) const fn leaf_type(protocol: &Protocol, role: Role) -> u8 {
    match role {
        Role::Client if protocol.leaf_type => LEAF_CLIENT,
        _ => LEAF_SERVER,
    }
}

pub(crate) fn leaf(terms: &Terms, protocol: &Protocol, kind: u8, salt: Term, binder: Term) -> Term {
    if protocol.prefixes {
        terms.apply(Function::Leaf, &[terms.public(kind), salt, binder])
    } else {
        terms.apply(Function::Pair, &[salt, binder])
    }
}

fn node(terms: &Terms, protocol: &Protocol, left: Term, right: Term) -> Term {
    let function = if protocol.prefixes {
        Function::Node
    } else {
        Function::Pair
    };
    terms.apply(function, &[left, right])
}

/// An epoch of `boot` over one or two leaves: its answers in the leaves' order.
pub(crate) fn epoch(terms: &Terms, protocol: &Protocol, boot: Boot, leaves: &[(Term, Term)]) -> Vec<Answer> {
    let (depth, root) = match leaves {
        [(_, one)] => (DEPTH_0, *one),
        [(_, left), (_, right)] => (DEPTH_0 + 1, node(terms, protocol, *left, *right)),
        _ => unreachable!("epochs of one or two leaves"),
    };
    let nil = terms.public(NIL);
    let statement = terms.apply(
        Function::Tuple,
        &[
            terms.name(Name::BootId(boot)),
            if protocol.depth { terms.public(depth) } else { nil },
            root,
            terms.apply(Function::PublicKey, &[terms.name(Name::SessionKey(boot))]),
            if protocol.sealed_in_statement {
                key_config(terms, Name::SealedKey(boot))
            } else {
                nil
            },
        ],
    );
    let report = terms.apply(
        Function::Sign,
        &[
            terms.name(Name::Chip(boot.enclave)),
            terms.apply(Function::ReportData, &[statement]),
        ],
    );
    let siblings = |at: usize| match leaves {
        [(_, left), (_, right)] => vec![if at == 0 { (true, *right) } else { (false, *left) }],
        _ => Vec::new(),
    };
    leaves
        .iter()
        .enumerate()
        .map(|(at, (salt, _))| Answer {
            statement,
            report,
            salt: *salt,
            path: siblings(at),
        })
        .collect()
}

pub(crate) fn key_config(terms: &Terms, key: Name) -> Term {
    terms.apply(Function::KeyConfig, &[terms.name(key)])
}

pub(crate) fn read(terms: &Terms, statement: Term) -> Option<Statement> {
    let parts = terms.arguments(statement, Function::Tuple)?;
    let [boot_id, depth, root, _, sealed_key] = *<&[Term; 5]>::try_from(&parts[..]).ok()?;
    Some(Statement {
        boot_id,
        depth,
        root,
        sealed_key,
    })
}

/// The verifier: whose report this is, if the leaf of `binder` is under it.
pub(crate) fn accepts(
    terms: &Terms,
    protocol: &Protocol,
    kind: u8,
    binder: Term,
    answer: &Answer,
) -> Option<Boot> {
    let statement = read(terms, answer.statement)?;
    let signed = terms.arguments(answer.report, Function::Sign)?;
    if signed[1] != terms.apply(Function::ReportData, &[answer.statement]) {
        return None;
    }
    let Shape::Name(Name::Chip(chip)) = terms.shape(signed[0]) else {
        return None;
    };
    let Shape::Name(Name::BootId(boot)) = terms.shape(statement.boot_id) else {
        return None;
    };
    let length = u8::try_from(answer.path.len()).ok()?;
    if protocol.depth && statement.depth != terms.public(DEPTH_0 + length) {
        return None;
    }
    let own = leaf(terms, protocol, kind, answer.salt, binder);
    let top = answer
        .path
        .iter()
        .fold(own, |below, (on_the_right, sibling)| match on_the_right {
            true => node(terms, protocol, below, *sibling),
            false => node(terms, protocol, *sibling, below),
        });
    // Genuine enclaves alone make statements that genuine chips sign.
    (top == statement.root && boot.enclave == chip).then_some(boot)
}

/// Every answer that the attacker can make and that a verifier of `binder` takes.
pub(crate) fn forgeries(
    terms: &Terms,
    protocol: &Protocol,
    knowledge: &Knowledge,
    kind: u8,
    binder: Term,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    // Chips' keys are never known, so every report is one that a chip made.
    for report in knowledge.iter() {
        let Some(signed) = terms.arguments(report, Function::Sign) else {
            continue;
        };
        let Some(made_of) = terms.arguments(signed[1], Function::ReportData) else {
            continue;
        };
        let Some(statement) = read(terms, made_of[0]) else {
            continue;
        };
        let mut open = vec![(statement.root, Vec::new())];
        while let Some((at, path)) = open.pop() {
            if let Some(salt) = salt_for(terms, protocol, knowledge, kind, binder, at) {
                let answer = Answer {
                    statement: made_of[0],
                    report,
                    salt,
                    path: path.iter().rev().copied().collect(),
                };
                if accepts(terms, protocol, kind, binder, &answer).is_some() {
                    answers.push(answer);
                }
            }
            let children = terms
                .arguments(at, Function::Node)
                .or_else(|| terms.arguments(at, Function::Pair));
            let Some(children) = children else { continue };
            for (below, on_the_right, sibling) in [
                (children[0], true, children[1]),
                (children[1], false, children[0]),
            ] {
                if knowledge.derives(terms, sibling) {
                    let longer = path.iter().copied().chain([(on_the_right, sibling)]).collect();
                    open.push((below, longer));
                }
            }
        }
    }
    answers
}

/// A salt that the attacker knows and that makes `binder`'s leaf the hash at hand.
fn salt_for(
    terms: &Terms,
    protocol: &Protocol,
    knowledge: &Knowledge,
    kind: u8,
    binder: Term,
    hash: Term,
) -> Option<Term> {
    let salt = if protocol.prefixes {
        terms.arguments(hash, Function::Leaf)?[1]
    } else {
        terms.arguments(hash, Function::Pair)?[0]
    };
    (leaf(terms, protocol, kind, salt, binder) == hash && knowledge.derives(terms, salt)).then_some(salt)
}

/// Lane K's signature.
pub(crate) fn session_signature(
    terms: &Terms,
    protocol: &Protocol,
    boot: Boot,
    binder: Term,
    statement: Term,
) -> Term {
    let nil = terms.public(NIL);
    let bound = if protocol.lane_k_binder { binder } else { nil };
    let digest = terms.apply(Function::Hash, &[statement]);
    let message = terms.apply(Function::SessionMessage, &[bound, digest]);
    terms.apply(Function::Sign, &[terms.name(Name::SessionKey(boot)), message])
}
