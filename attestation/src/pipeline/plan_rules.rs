//! Who a plan admits: the peer rules of links, in one order and within limits,
//! so that the same rules have the same bytes.

use std::collections::BTreeSet;

use crate::codec::{Fields, MapBuilder};
use crate::digest::ChipId;
use crate::link::{HardwareRules, PeerRules, Required};

use super::plan::PlanError;

/// Most issuers of credentials that a plan names.
pub const MAX_ISSUERS: usize = 64;
/// Most CHIP_IDs that a plan names.
pub const MAX_CHIPS: usize = 1_024;
/// Most CSP_IDs that a plan names.
pub const MAX_CSP_IDS: usize = 64;
/// Most bytes of one CSP_ID.
pub const MAX_CSP_ID_BYTES: usize = 256;

/// Peer rules as a plan may state them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRules(PeerRules);

impl PlanRules {
    /// Rules with these issuers of credentials (Ed25519 public keys, in any
    /// order) and this hardware.
    ///
    /// # Errors
    /// [`PlanError::Rules`] if the rules admit nobody or contain a zero,
    /// [`PlanError::RulesForm`] if they name too much.
    pub fn new(issuers: &[[u8; 32]], hardware: HardwareRules, required: Required) -> Result<Self, PlanError> {
        let issuers: Vec<[u8; 32]> = issuers
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if issuers.len() > MAX_ISSUERS {
            return Err(PlanError::RulesForm("at most 64 issuers of credentials"));
        }
        if hardware.chips.len() > MAX_CHIPS {
            return Err(PlanError::RulesForm("at most 1,024 CHIP_IDs"));
        }
        let long = |id: &String| id.len() > MAX_CSP_ID_BYTES;
        if hardware.csp_ids.len() > MAX_CSP_IDS || hardware.csp_ids.iter().any(long) {
            return Err(PlanError::RulesForm("at most 64 CSP_IDs of at most 256 bytes"));
        }
        Ok(Self(PeerRules::new(issuers, hardware, required)?))
    }

    /// The rules that links hold to.
    #[must_use]
    pub const fn peer_rules(&self) -> &PeerRules {
        &self.0
    }

    pub(super) fn encode(&self) -> MapBuilder {
        let chips: Vec<u8> = self
            .0
            .hardware()
            .chips
            .iter()
            .flat_map(|chip| *chip.as_bytes())
            .collect();
        let csp_ids: Vec<&str> = self.0.hardware().csp_ids.iter().map(String::as_str).collect();
        MapBuilder::new()
            .hashes(1, self.0.issuers())
            .bytes(2, &chips)
            .texts(3, &csp_ids)
            .uint(
                4,
                match self.0.required() {
                    Required::Either => 0,
                    Required::Both => 1,
                },
            )
    }

    pub(super) fn decode(mut fields: Fields<'_>) -> Result<Self, PlanError> {
        let issuers = fields.hashes(1, MAX_ISSUERS)?;
        let chips = fields.bytes(2)?;
        let csp_ids = fields.texts(3, MAX_CSP_IDS)?;
        let required = match fields.uint(4)? {
            0 => Required::Either,
            1 => Required::Both,
            _ => return Err(PlanError::RulesForm("key 4: 0 for either, 1 for both")),
        };
        fields.finish()?;
        let chunks = chips.chunks_exact(ChipId::LEN);
        if !chunks.remainder().is_empty() {
            return Err(PlanError::RulesForm("key 2: CHIP_IDs of 64 bytes each"));
        }
        let chips: Vec<ChipId> = chunks
            .map(ChipId::try_from)
            .collect::<Result<_, _>>()
            .map_err(|_| PlanError::RulesForm("key 2: CHIP_IDs of 64 bytes each"))?;
        // A set has no order; its bytes do, or two plans would say the same.
        if !ascending(&issuers) || !ascending(&chips) || !ascending(&csp_ids) {
            return Err(PlanError::RulesForm(
                "issuers, CHIP_IDs and CSP_IDs ascend, and none comes twice",
            ));
        }
        let hardware = HardwareRules {
            chips: chips.into_iter().collect(),
            csp_ids: csp_ids.into_iter().collect(),
        };
        Self::new(&issuers, hardware, required)
    }
}

fn ascending<T: Ord>(items: &[T]) -> bool {
    items.is_sorted_by(|one, next| one < next)
}
