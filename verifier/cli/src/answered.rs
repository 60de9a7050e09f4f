//! What stands behind an answer, however its node was reached: a receipt that
//! holds, which goes into the ledger, and the answer where it is to be kept.

use std::path::{Path, PathBuf};

use bastide_attestation::{AttestationResult, Nonce, Receipt, Salt};
use bastide_attested_tls::NodeAddress;

use crate::fault::Fault;
use crate::ledger::Recorder;
use crate::receipt_check::{self, Bodies, ReceiptFault};
use crate::saved::{self, Kept};

/// What an answer's receipt has to agree with.
pub(crate) struct Grounds<'a> {
    pub(crate) node: &'a NodeAddress,
    pub(crate) result: &'a AttestationResult,
    /// The evidence that the result is of, as it came.
    pub(crate) evidence: &'a [u8],
    /// What the receipt must name.
    pub(crate) nonce: &'a Nonce,
}

/// A receipt and the exact bytes that it is of.
pub(crate) struct Answer<'a> {
    pub(crate) receipt: Receipt,
    pub(crate) salt: Salt,
    pub(crate) request: &'a [u8],
    pub(crate) response: &'a [u8],
}

impl Answer<'_> {
    /// Verifies the receipt.
    ///
    /// # Errors
    /// [`ReceiptFault`].
    pub(crate) fn verify(&self, grounds: &Grounds<'_>) -> Result<(), ReceiptFault> {
        let bodies = Bodies {
            salt: &self.salt,
            request: self.request,
            response: self.response,
        };
        receipt_check::require(&self.receipt, grounds.result, grounds.nonce, &bodies)
    }

    /// Enters the receipt in the ledger, and keeps the answer where that was asked
    /// for: then gives its folder. To be called of an answer that counts, and not
    /// before: of a pipeline's, the ledger then has the evidence of every stage.
    ///
    /// # Errors
    /// [`Fault`] if the answer could not be kept; it counts all the same.
    pub(crate) fn enter(
        &self,
        grounds: &Grounds<'_>,
        ledger: &Recorder,
        save: Option<&Path>,
    ) -> Result<Option<PathBuf>, Fault> {
        let (verdict, evidence) = (&grounds.result.verdict, grounds.evidence);
        ledger.receipt(grounds.node, &self.receipt, &self.salt, verdict, evidence);
        let kept = Kept {
            evidence,
            receipt: &self.receipt,
            salt: &self.salt,
            request: self.request,
            response: self.response,
        };
        save.map(|folder| saved::keep(folder, &kept)).transpose()
    }
}
