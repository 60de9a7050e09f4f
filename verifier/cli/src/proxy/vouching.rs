//! What stands behind an answer, however its node was reached: a receipt that
//! holds, which goes into the ledger, and the answer where it is to be kept.

use std::path::Path;

use bastide_attestation::{AttestationResult, Nonce, Receipt, Salt};
use bastide_attested_tls::NodeAddress;

use crate::fault::Fault;
use crate::ledger::Recorder;
use crate::receipt_check::{self, Bodies, ReceiptFault};
use crate::saved::{self, Kept};

/// What an answer's receipt has to agree with.
pub(super) struct Grounds<'a> {
    pub(super) node: &'a NodeAddress,
    pub(super) result: &'a AttestationResult,
    /// The evidence that the result is of, as it came.
    pub(super) evidence: &'a [u8],
    /// What the receipt must name.
    pub(super) nonce: &'a Nonce,
}

/// A receipt and the exact bytes that it is of.
pub(super) struct Answer<'a> {
    pub(super) receipt: Receipt,
    pub(super) salt: Salt,
    pub(super) request: &'a [u8],
    pub(super) response: &'a [u8],
}

impl Answer<'_> {
    /// Verifies the receipt.
    pub(super) fn verify(&self, grounds: &Grounds<'_>) -> Result<(), ReceiptFault> {
        let bodies = Bodies {
            salt: &self.salt,
            request: self.request,
            response: self.response,
        };
        receipt_check::require(&self.receipt, grounds.result, grounds.nonce, &bodies)
    }

    /// Enters the receipt in the ledger, and keeps the answer where that was asked
    /// for. To be called of an answer that counts, and not before: of a pipeline's,
    /// the ledger then has the evidence of every stage. An answer counts though it
    /// could not be kept: that is the result, and must be seen.
    pub(super) fn enter(
        &self,
        grounds: &Grounds<'_>,
        ledger: &Recorder,
        save: Option<&Path>,
    ) -> Result<(), Fault> {
        let (verdict, evidence) = (&grounds.result.verdict, grounds.evidence);
        ledger.receipt(grounds.node, &self.receipt, &self.salt, verdict, evidence);
        let kept = Kept {
            evidence,
            receipt: &self.receipt,
            salt: &self.salt,
            request: self.request,
            response: self.response,
        };
        save.map_or(Ok(()), |folder| saved::keep(folder, &kept).map(drop))
    }
}
