//! Whom an end links with: for each stage that a peer may be, who appraises its
//! evidence and whom the pipeline admits. A stage that isn't listed is refused
//! by its HELLO; one that is listed is judged by exactly its own policy, at the
//! beginning and at each renewal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bastide_attestation::link::{Hello, PeerRules};
use bastide_attestation::{Appraiser, SpkiDigest};

/// What a peer at one stage must meet.
#[derive(Clone)]
pub struct LinkPolicy {
    /// Judges its evidence.
    pub appraiser: Arc<dyn Appraiser>,
    /// Which peers are admitted once their evidence was accepted.
    pub rules: PeerRules,
}

impl fmt::Debug for LinkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkPolicy")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The peers of an end, by their stage. An end without any links with nobody.
#[derive(Debug, Clone, Default)]
pub struct LinkPeers(Arc<BTreeMap<u16, LinkPolicy>>);

impl LinkPeers {
    /// Each stage that a peer may be, and what it must meet there. Of a stage
    /// that is given twice, the last counts.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = (u16, LinkPolicy)>) -> Self {
        Self(Arc::new(peers.into_iter().collect()))
    }

    /// What a peer at this stage must meet; `None` if this end links with none.
    #[must_use]
    pub fn policy(&self, stage: u16) -> Option<&LinkPolicy> {
        self.0.get(&stage)
    }

    /// The same without any other stages.
    #[must_use]
    pub fn only(&self, stages: &[u16]) -> Self {
        let kept = self.0.iter().filter(|(stage, _)| stages.contains(stage));
        Self::new(kept.map(|(stage, policy)| (*stage, policy.clone())))
    }

    /// The stages, in order.
    pub fn stages(&self) -> impl Iterator<Item = u16> {
        self.0.keys().copied()
    }

    pub(super) fn stage_set(&self) -> BTreeSet<u16> {
        self.stages().collect()
    }
}

/// Says by a peer's HELLO and key whether the place that it asks for is free.
/// It proves nothing, and can only refuse: before evidence goes either way.
#[derive(Clone, Default)]
pub(super) struct LinkGate(Option<Arc<Gate>>);

type Gate = dyn Fn(&Hello, &SpkiDigest) -> bool + Send + Sync;

impl LinkGate {
    pub(super) fn new(gate: impl Fn(&Hello, &SpkiDigest) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(gate)))
    }

    pub(super) fn lets_in(&self, hello: &Hello, spki: &SpkiDigest) -> bool {
        self.0.as_ref().is_none_or(|gate| gate(hello, spki))
    }
}

impl fmt::Debug for LinkGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkGate").field(&self.0.is_some()).finish()
    }
}
