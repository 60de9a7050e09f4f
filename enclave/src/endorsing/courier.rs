//! The task that asks AMD's key server: for certificates that the attester
//! missed, one after the other, and beside that for chains and revocation
//! lists, which are fetched anew every day.

use std::sync::Arc;
use std::time::Instant;

use bastide_attestation::snp::VcekId;
use bastide_endorsements::Name;
use bastide_endorsements::kds::{Kds, KdsError, SystemPace, Wait};
use tokio::sync::mpsc;

use super::{Endorser, Family, Rhythm};
use crate::telemetry::ops;

/// Fetches for an [`Endorser`] as long as it runs.
pub struct Courier {
    endorser: Arc<Endorser>,
    kds: Kds<SystemPace<fn(&Wait<'_>)>>,
    orders: mpsc::Receiver<VcekId>,
    rhythm: Rhythm,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier")
            .field("address", self.kds.address())
            .finish_non_exhaustive()
    }
}

impl Courier {
    pub(super) const fn new(
        endorser: Arc<Endorser>,
        kds: Kds<SystemPace<fn(&Wait<'_>)>>,
        orders: mpsc::Receiver<VcekId>,
        rhythm: Rhythm,
    ) -> Self {
        Self {
            endorser,
            kds,
            orders,
            rhythm,
        }
    }

    /// Runs errands; ends with the runtime.
    pub async fn run(self) {
        let Self {
            endorser,
            kds,
            orders,
            rhythm,
        } = self;
        tokio::join!(
            certificates(&endorser, &kds, orders),
            lists(&endorser, &kds, rhythm)
        );
    }
}

type Server = Kds<SystemPace<fn(&Wait<'_>)>>;

async fn certificates(endorser: &Endorser, kds: &Server, mut orders: mpsc::Receiver<VcekId>) {
    while let Some(id) = orders.recv().await {
        let outcome = kds.fetch(&Name::Vcek(id)).await;
        match &outcome {
            Ok(_) => ops!(INFO, "endorsements.fetched", phase = "vcek"),
            Err(error) => say(error),
        }
        endorser.settle(&id, outcome.map_err(|error| error.to_string()));
    }
}

async fn lists(endorser: &Endorser, kds: &Server, rhythm: Rhythm) {
    let Some(errands) = &endorser.errands else { return };
    // When each family's list was last had.
    let mut renewed: Vec<(Family, Instant)> = Vec::new();
    loop {
        // Either way all families are looked at.
        let _ = tokio::time::timeout(rhythm.look, errands.family.notified()).await;
        let families = endorser.state().families.clone();
        for family in families {
            let (generation, key) = family;
            let chain = Name::Chain(generation, key);
            if endorser.find(&chain).is_none() {
                bring(endorser, kds, &chain).await;
            }
            let fresh = |(of, at): &(Family, Instant)| *of == family && at.elapsed() < rhythm.renew;
            if !renewed.iter().any(fresh) && bring(endorser, kds, &Name::Crl(generation, key)).await {
                renewed.retain(|(of, _)| *of != family);
                renewed.push((family, Instant::now()));
            }
        }
    }
}

/// Fetches and keeps; whether it came.
async fn bring(endorser: &Endorser, kds: &Server, name: &Name) -> bool {
    match kds.fetch(name).await {
        Ok(endorsement) => {
            ops!(INFO, "endorsements.fetched", phase = kind(name));
            endorser.keep(endorsement);
            true
        }
        Err(error) => {
            say(&error);
            false
        }
    }
}

const fn kind(name: &Name) -> &'static str {
    match name {
        Name::Vcek(_) => "vcek",
        Name::Chain(..) => "chain",
        Name::Crl(..) => "crl",
    }
}

/// Nothing in these words came from a client: they are about our own download.
fn say(error: &KdsError) {
    ops!(
        WARN,
        "endorsements.not_fetched",
        code = error.code(),
        cause = error.to_string().as_str()
    );
}
