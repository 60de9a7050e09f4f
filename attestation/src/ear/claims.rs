//! The claims of a signed result and their codec: those that the draft defines
//! under its keys, ours under private ones. Strict both ways, and refuses
//! claims that contradict each other.

use super::trust::{TrustTier, TrustVector, TrustworthinessClaim};
use super::{EarError, MAX_EAR_BYTES};
use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::PolicyDigest;
use crate::hash::sha256;
use crate::result::{Decision, Verdict};

/// EAT profile of a result: the claims and encodings of draft-ietf-rats-ear-03.
pub const EAR_PROFILE: &str = "tag:ietf.org,2026:rats/ear#03";
/// Who made the software that appraised.
const DEVELOPER: &str = "Bastide";
/// The one submodule: an SEV-SNP guest.
const SUBMODULE: &str = "snp";
const MAX_TEXT: usize = 200;

/// CWT, EAT and EAR claim keys, then private ones.
mod claim {
    pub(super) const IAT: i64 = 6;
    pub(super) const CNF: i64 = 8;
    pub(super) const EAT_NONCE: i64 = 10;
    pub(super) const EAT_PROFILE: i64 = 265;
    pub(super) const SUBMODS: i64 = 266;
    pub(super) const STATUS: i64 = 1000;
    pub(super) const VECTOR: i64 = 1001;
    pub(super) const POLICY_IDS: i64 = 1003;
    pub(super) const VERIFIER: i64 = 1004;
    pub(super) const VERDICT: i64 = -75_101;
    pub(super) const POLICY: i64 = -75_102;
    pub(super) const DECISION: i64 = -75_103;
    pub(super) const CODE: i64 = -75_104;
    pub(super) const APPRAISED_AT: i64 = -75_105;
    pub(super) const SIMULATED: i64 = -75_106;
    pub(super) const EVIDENCE: i64 = -75_107;
}

/// What a result states besides the verdict.
#[derive(Debug, Clone, Copy)]
pub struct EarContext<'a> {
    /// The verdict as JSON, byte for byte as it was given out.
    pub verdict_json: &'a [u8],
    /// The time of signing, seconds since the Unix epoch.
    pub issued_at: u64,
    /// The time that the evidence was appraised for, seconds since the Unix epoch.
    pub appraised_at: u64,
    /// Name and version of the program that appraised.
    pub build: &'a str,
    /// A nonce of whoever asked for the result, 8 to 64 bytes.
    pub nonce: Option<&'a [u8]>,
    /// SHA-256 of the evidence as it came, if there was any.
    pub evidence: Option<[u8; 32]>,
}

/// What a signed result states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarClaims {
    issued_at: u64,
    appraised_at: u64,
    build: String,
    nonce: Option<Vec<u8>>,
    status: TrustTier,
    vector: TrustVector,
    policy_id: String,
    policy: PolicyDigest,
    verdict: [u8; 32],
    decision: Decision,
    code: Option<String>,
    simulated: bool,
    evidence: Option<[u8; 32]>,
}

impl EarClaims {
    /// What a verdict amounts to.
    ///
    /// # Errors
    /// [`EarError::Verdict`] if it was made without a policy, or something in
    /// it or in the context is longer than a result may hold.
    pub fn new(verdict: &Verdict, context: &EarContext<'_>) -> Result<Self, EarError> {
        let policy: PolicyDigest = verdict
            .policy_digest
            .parse()
            .map_err(|_| EarError::Verdict("the verdict names no policy"))?;
        let vector = TrustVector::of(verdict);
        let claims = Self {
            issued_at: context.issued_at,
            appraised_at: context.appraised_at,
            build: context.build.to_owned(),
            nonce: context.nonce.map(<[u8]>::to_vec),
            status: vector.status(verdict.decision),
            vector,
            policy_id: format!("{}@sha256:{policy}", verdict.policy),
            policy,
            verdict: sha256(&[context.verdict_json]),
            decision: verdict.decision,
            code: verdict.code.map(str::to_owned),
            simulated: verdict.simulated,
            evidence: context.evidence,
        };
        if !fits(&claims.build) || !fits(&claims.policy_id) {
            return Err(EarError::Verdict("a name is empty or too long"));
        }
        if claims.nonce.as_ref().is_some_and(|nonce| !is_nonce(nonce)) {
            return Err(EarError::Verdict("a nonce has 8 to 64 bytes"));
        }
        claims.is_consistent().map(|()| claims)
    }

    /// A result must not say more than its own parts do.
    fn is_consistent(&self) -> Result<(), EarError> {
        if self.status != self.vector.status(self.decision) {
            return Err(EarError::Contradiction(
                "the status is not what decision and trustworthiness vector amount to",
            ));
        }
        if (self.decision == Decision::Accepted) != self.code.is_none() {
            return Err(EarError::Contradiction(
                "a refusal has a code, and an acceptance none",
            ));
        }
        if self.simulated && self.status != TrustTier::Contraindicated {
            return Err(EarError::Contradiction("simulated hardware is never affirmed"));
        }
        if !self.policy_id.ends_with(&format!("@sha256:{}", self.policy)) {
            return Err(EarError::Contradiction(
                "the policy's identifier and digest are of different policies",
            ));
        }
        Ok(())
    }

    /// Seconds since the Unix epoch, by the clock of whoever signed.
    #[must_use]
    pub const fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// The time that the evidence was appraised for, seconds since the Unix epoch.
    #[must_use]
    pub const fn appraised_at(&self) -> u64 {
        self.appraised_at
    }

    /// Name and version of the program that appraised.
    #[must_use]
    pub fn build(&self) -> &str {
        &self.build
    }

    /// The nonce of whoever asked for the result.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }

    /// The overall tier.
    #[must_use]
    pub const fn status(&self) -> TrustTier {
        self.status
    }

    /// The trustworthiness vector.
    #[must_use]
    pub const fn vector(&self) -> &TrustVector {
        &self.vector
    }

    /// Name and digest of the policy, `NAME@sha256:HEX`.
    #[must_use]
    pub fn policy_id(&self) -> &str {
        &self.policy_id
    }

    /// SHA-256 of the policy's exact bytes.
    #[must_use]
    pub const fn policy(&self) -> PolicyDigest {
        self.policy
    }

    /// SHA-256 of the verdict's JSON.
    #[must_use]
    pub const fn verdict(&self) -> &[u8; 32] {
        &self.verdict
    }

    /// What was decided.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The rejection code, unless accepted.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether it rests on simulated hardware.
    #[must_use]
    pub const fn simulated(&self) -> bool {
        self.simulated
    }

    /// SHA-256 of the evidence, if there was any.
    #[must_use]
    pub const fn evidence(&self) -> Option<&[u8; 32]> {
        self.evidence.as_ref()
    }

    pub(super) fn encode(&self, public_key: &[u8; 32]) -> Vec<u8> {
        let vector = self
            .vector
            .claims()
            .into_iter()
            .fold(MapBuilder::new(), |map, (key, _, claim)| {
                map.uint(key, claim.value().into())
            });
        let appraisal = MapBuilder::new()
            .uint(claim::STATUS, self.status.value().into())
            .map(claim::VECTOR, vector)
            .texts(claim::POLICY_IDS, &[&self.policy_id]);
        let mut map = MapBuilder::new()
            .uint(claim::IAT, self.issued_at)
            .map(
                claim::CNF,
                MapBuilder::new().map(1, MapBuilder::new().int(1, 1).int(-1, 6).bytes(-2, public_key)),
            )
            .text(claim::EAT_PROFILE, EAR_PROFILE)
            .map(claim::SUBMODS, MapBuilder::new().map(SUBMODULE, appraisal))
            .uint(claim::STATUS, self.status.value().into())
            .map(
                claim::VERIFIER,
                MapBuilder::new().text(0, DEVELOPER).text(1, &self.build),
            )
            .bytes(claim::VERDICT, &self.verdict)
            .bytes(claim::POLICY, self.policy.as_bytes())
            .text(claim::DECISION, decision_name(self.decision))
            .uint(claim::APPRAISED_AT, self.appraised_at)
            .uint(claim::SIMULATED, self.simulated.into());
        if let Some(nonce) = &self.nonce {
            map = map.bytes(claim::EAT_NONCE, nonce);
        }
        if let Some(code) = &self.code {
            map = map.text(claim::CODE, code);
        }
        if let Some(evidence) = &self.evidence {
            map = map.bytes(claim::EVIDENCE, evidence);
        }
        map.encode()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, [u8; 32]), EarError> {
        let (claims, public_key) = Self::read(bytes)?;
        claims.is_consistent()?;
        Ok((claims, public_key))
    }

    fn read(bytes: &[u8]) -> Result<(Self, [u8; 32]), CodecError> {
        let mut fields = Fields::decode(bytes, MAX_EAR_BYTES)?;
        if fields.text(claim::EAT_PROFILE)? != EAR_PROFILE {
            return Err(wrong(claim::EAT_PROFILE, EAR_PROFILE));
        }
        let public_key = key(&mut fields)?;
        let mut verifier = fields.map(claim::VERIFIER)?;
        if verifier.text(0)? != DEVELOPER {
            return Err(wrong(claim::VERIFIER, "developer `Bastide`"));
        }
        let build = short(&mut verifier, 1)?;
        verifier.finish()?;

        let mut submodules = fields.map(claim::SUBMODS)?;
        let mut appraisal = submodules.map(SUBMODULE)?;
        submodules.finish()?;
        let overall = tier(&mut fields)?;
        let status = tier(&mut appraisal)?;
        if overall != status {
            return Err(wrong(claim::STATUS, "the status of the one submodule"));
        }
        let vector = vector(&mut appraisal)?;
        let mut policies = appraisal.texts(claim::POLICY_IDS, 1)?;
        appraisal.finish()?;
        let policy_id = policies
            .pop()
            .filter(|id| fits(id))
            .ok_or_else(|| wrong(claim::POLICY_IDS, "one short identifier"))?;

        let claims = Self {
            issued_at: fields.uint(claim::IAT)?,
            appraised_at: fields.uint(claim::APPRAISED_AT)?,
            build,
            nonce: if fields.has(claim::EAT_NONCE) {
                let nonce = fields.bytes(claim::EAT_NONCE)?;
                if !is_nonce(&nonce) {
                    return Err(wrong(claim::EAT_NONCE, "8 to 64 bytes"));
                }
                Some(nonce)
            } else {
                None
            },
            status,
            vector,
            policy_id,
            policy: PolicyDigest::new(fields.array(claim::POLICY)?),
            verdict: fields.array(claim::VERDICT)?,
            decision: decision_of(&fields.text(claim::DECISION)?)
                .ok_or_else(|| wrong(claim::DECISION, "a decision"))?,
            code: if fields.has(claim::CODE) {
                Some(short(&mut fields, claim::CODE)?)
            } else {
                None
            },
            simulated: match fields.uint(claim::SIMULATED)? {
                0 => false,
                1 => true,
                _ => return Err(wrong(claim::SIMULATED, "0 or 1")),
            },
            evidence: if fields.has(claim::EVIDENCE) {
                Some(fields.array(claim::EVIDENCE)?)
            } else {
                None
            },
        };
        fields.finish()?;
        Ok((claims, public_key))
    }
}

fn wrong(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

fn fits(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT
}

const fn is_nonce(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes.len() <= 64
}

fn short(fields: &mut Fields<'_>, key: i64) -> Result<String, CodecError> {
    let text = fields.text(key)?;
    if fits(&text) {
        Ok(text)
    } else {
        Err(wrong(key, "a short text"))
    }
}

fn key(fields: &mut Fields<'_>) -> Result<[u8; 32], CodecError> {
    let mut confirmation = fields.map(claim::CNF)?;
    let mut key = confirmation.map(1)?;
    confirmation.finish()?;
    let public_key = key.array(-2)?;
    if key.uint(1)? != 1 || key.uint(-1)? != 6 {
        return Err(wrong(claim::CNF, "an Ed25519 COSE key"));
    }
    key.finish()?;
    Ok(public_key)
}

fn tier(fields: &mut Fields<'_>) -> Result<TrustTier, CodecError> {
    TrustTier::of_value(fields.uint(claim::STATUS)?)
        .ok_or_else(|| wrong(claim::STATUS, "a trustworthiness tier"))
}

fn vector(appraisal: &mut Fields<'_>) -> Result<TrustVector, CodecError> {
    let mut map = appraisal.map(claim::VECTOR)?;
    let mut value = |key| {
        TrustworthinessClaim::of_value(map.uint(key)?)
            .ok_or_else(|| wrong(claim::VECTOR, "trustworthiness claims from 0 to 127"))
    };
    let vector = TrustVector {
        instance_identity: value(0)?,
        configuration: value(1)?,
        executables: value(2)?,
        file_system: value(3)?,
        hardware: value(4)?,
        runtime_opaque: value(5)?,
    };
    map.finish()?;
    Ok(vector)
}

const DECISIONS: [Decision; 5] = [
    Decision::Accepted,
    Decision::Rejected,
    Decision::Unsupported,
    Decision::Malformed,
    Decision::Undecided,
];

/// The word in the claim and in a verdict's JSON.
const fn decision_name(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Rejected => "rejected",
        Decision::Unsupported => "unsupported",
        Decision::Malformed => "malformed",
        Decision::Undecided => "undecided",
    }
}

fn decision_of(text: &str) -> Option<Decision> {
    DECISIONS
        .into_iter()
        .find(|decision| decision_name(*decision) == text)
}
