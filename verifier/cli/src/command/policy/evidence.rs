//! Options of the commands that replay recorded evidence.

use std::path::PathBuf;

use clap::Args;

use crate::fault::Fault;
use crate::policy_cases::{self, Case};
use crate::recorded::Collateral;

/// Where recorded evidence is.
#[derive(Debug, Args)]
pub(super) struct EvidenceArgs {
    /// Envelopes, or folders of evidence; may be repeated
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    evidence: Vec<PathBuf>,
    /// Certificates above the leaves (ASK or ASVK, and ARK), PEM or DER, for folders without
    /// a chain.pem; several products may be among them; may be repeated
    #[arg(long, value_name = "FILE", requires = "evidence")]
    chain: Vec<PathBuf>,
    /// Revocation list for folders without a crl.der or crl.pem
    #[arg(long, value_name = "FILE", requires = "evidence")]
    crl: Option<PathBuf>,
    /// Accept simulated evidence where the policy lists its roots
    #[arg(long, requires = "evidence")]
    allow_simulated: bool,
}

impl EvidenceArgs {
    /// The evidence as tests.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read, or a path holds none.
    pub(super) fn cases(&self) -> Result<Vec<Case>, Fault> {
        if self.evidence.is_empty() {
            return Ok(Vec::new());
        }
        let collateral = Collateral::read(&self.chain, self.crl.as_deref())?;
        policy_cases::of_evidence(&self.evidence, &collateral, self.allow_simulated)
    }
}
