//! Whom this stage links with: the head and the stage before come in, the
//! stage behind is connected to; each is judged by the plan's policy for
//! exactly that stage, and admitted by the plan's rules.

use std::path::PathBuf;
use std::sync::Arc;

use bastide_attestation::pipeline::Plan;
use bastide_attested_tls::{
    LaneM, LinkCredential, LinkEndpoint, LinkIdentity, LinkPeers, LinkPolicy, LinkTerms, LinkTimes,
};
use bastide_verifier::{Policy, Verifier};

use super::place::{PipelineSettings, PlaceError};
use crate::bounded_file;
use crate::telemetry::ops;

/// Most bytes of a credential's file.
const MAX_CREDENTIAL_BYTES: usize = 4 * 1024;

/// This stage's end of its links; it attests by `lane`.
///
/// # Errors
/// [`PlaceError::Policy`] if a policy in the plan can't be used.
pub(crate) fn endpoint(
    settings: &PipelineSettings,
    identity: LinkIdentity,
    lane: LaneM,
) -> Result<LinkEndpoint, PlaceError> {
    let plan = settings.plan.plan();
    let stages = neighbours(settings.stage, plan.stages().len());
    let terms = LinkTerms {
        own: settings.context()?,
        peers: policies(plan, &stages)?,
        credential: settings
            .credential
            .clone()
            .map_or_else(LinkCredential::default, credential),
        capabilities: Vec::new(),
        times: LinkTimes::default(),
    };
    Ok(LinkEndpoint::new(identity, lane, terms))
}

/// The membership credential in a file, as it is when a link is opened. Without
/// it this end shows none, and peers that want one say so.
fn credential(file: PathBuf) -> LinkCredential {
    LinkCredential::looked_up(move || match bounded_file::read(&file, MAX_CREDENTIAL_BYTES) {
        Ok(credential) => Some(credential.to_vec()),
        Err(error) => {
            let cause = error.to_string();
            ops!(WARN, "pipeline.no_credential", cause = cause.as_str());
            None
        }
    })
}

/// The stages that this one has links with: those that link in, then those that
/// are linked to.
fn neighbours(stage: u16, stages: usize) -> Vec<u16> {
    let exists = |candidate: &u16| usize::from(*candidate) < stages;
    if stage == 0 {
        return (1..16).filter(exists).collect();
    }
    let mut neighbours = vec![0];
    neighbours.extend(stage.checked_sub(1).filter(|before| *before > 0));
    neighbours.extend(stage.checked_add(1).filter(exists));
    neighbours
}

fn policies(plan: &Plan, stages: &[u16]) -> Result<LinkPeers, PlaceError> {
    let policy = |stage: u16| {
        let fault = |reason: String| PlaceError::Policy { stage, reason };
        let text = plan.policy_of(stage).unwrap_or_default();
        let policy = Policy::parse(text).map_err(|error| fault(error.to_string()))?;
        let policy = LinkPolicy {
            appraiser: Arc::new(Verifier::new(policy)),
            rules: plan.rules().peer_rules().clone(),
        };
        Ok((stage, policy))
    };
    let policies: Result<Vec<_>, PlaceError> = stages.iter().map(|stage| policy(*stage)).collect();
    Ok(LinkPeers::new(policies?))
}

#[cfg(test)]
mod tests {
    use super::neighbours;

    #[test]
    fn a_stage_has_the_head_and_its_neighbours_and_nobody_else() {
        assert!(neighbours(0, 1).is_empty());
        assert_eq!(neighbours(0, 4), [1, 2, 3]);
        assert_eq!(neighbours(1, 2), [0]);
        assert_eq!(neighbours(1, 4), [0, 2]);
        assert_eq!(neighbours(2, 4), [0, 1, 3]);
        assert_eq!(neighbours(3, 4), [0, 2]);
    }
}
