//! The chain of receipts of this boot: one for every answer, each with the
//! digest of the one before. An answer without a receipt is never sent.

use std::sync::{Arc, Mutex};

use bastide_attestation::pipeline::PipelineClaims;
use bastide_attestation::{
    Commitment, FinishReason, ManifestDigest, Nonce, Receipt, ReceiptClaims, ReceiptError, StatementDigest,
    UnixTime,
};

use crate::identity::ReceiptKey;

/// What a receipt says about one answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Commitment to the request's exact body.
    pub(crate) request: Commitment,
    /// Commitment to the response's exact bytes.
    pub(crate) response: Commitment,
    /// The nonce of the connection's latest attestation.
    pub(crate) nonce: Nonce,
    /// The statement of that attestation.
    pub(crate) statement: StatementDigest,
    /// Why the answer ended.
    pub(crate) finish: FinishReason,
    /// Digest of the effective sampling parameters.
    pub(crate) sampling: [u8; 32],
    /// Prompt tokens and completion tokens.
    pub(crate) usage: [u64; 2],
    /// What the stages of a pipeline signed, where one answered.
    pub(crate) pipeline: Option<PipelineClaims>,
}

/// Signs receipts in sequence.
#[derive(Debug)]
pub(crate) struct Ledger {
    key: Arc<ReceiptKey>,
    model: ManifestDigest,
    chain: Mutex<Chain>,
}

#[derive(Debug)]
struct Chain {
    sequence: u64,
    previous: [u8; 32],
}

impl Ledger {
    pub(crate) const fn new(key: Arc<ReceiptKey>, model: ManifestDigest) -> Self {
        Self {
            key,
            model,
            chain: Mutex::new(Chain {
                sequence: 0,
                previous: [0; 32],
            }),
        }
    }

    /// Signs the next receipt. The chain moves on only if signing succeeded,
    /// so that a failure leaves no gap.
    ///
    /// # Errors
    /// [`ReceiptError::Signing`]; the answer must then not be finished.
    pub(crate) fn issue(&self, answer: Answer, now: UnixTime) -> Result<Receipt, ReceiptError> {
        let mut chain = self.chain.lock().map_err(|_| ReceiptError::Signing)?;
        let next = chain.sequence.checked_add(1).ok_or(ReceiptError::Signing)?;
        let claims = ReceiptClaims {
            issued_at: now.as_secs(),
            nonce: answer.nonce,
            request: answer.request,
            response: answer.response,
            model: self.model,
            statement: answer.statement,
            sequence: chain.sequence,
            finish: answer.finish,
            sampling: answer.sampling,
            usage: answer.usage,
            previous: chain.previous,
            pipeline: answer.pipeline,
        };
        let receipt = Receipt::sign(claims, self.key.public(), |message| self.key.sign(message))?;
        *chain = Chain {
            sequence: next,
            previous: receipt.digest(),
        };
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Ledger};
    use crate::identity::ReceiptKey;
    use std::sync::Arc;

    use bastide_attestation::{
        Commitment, FinishReason, ManifestDigest, Nonce, Receipt, Salt, StatementDigest, UnixTime,
    };

    #[test]
    fn receipts_form_a_chain_signed_by_the_attested_key() {
        let key = ReceiptKey::generate().unwrap();
        let thumbprint = key.thumbprint();
        let ledger = Ledger::new(Arc::new(key), ManifestDigest::new([7; 32]));
        let salt = Salt::new([1; 32]);
        let answer = Answer {
            request: Commitment::request(&salt, b"request"),
            response: Commitment::response(&salt).finish(),
            nonce: Nonce::new([2; 32]),
            statement: StatementDigest::new([3; 32]),
            finish: FinishReason::Stop,
            sampling: [4; 32],
            usage: [5, 6],
            pipeline: None,
        };
        let mut previous = [0; 32];
        for sequence in 0..3 {
            let receipt = ledger.issue(answer.clone(), UnixTime::from_secs(9)).unwrap();
            let verified = Receipt::verify(receipt.as_bytes()).unwrap();
            verified.signed_by(&thumbprint).unwrap();
            assert_eq!(verified.claims().sequence, sequence);
            assert_eq!(verified.claims().previous, previous);
            assert_eq!(verified.claims().model, ManifestDigest::new([7; 32]));
            previous = verified.digest();
        }
    }
}
