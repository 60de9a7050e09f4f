//! What makes a receipt count: an attested key signed it, over this statement
//! and model, and it commits to exactly these bodies. Whether the statement is
//! attested was decided before: an [`AttestationResult`] is asked for.

mod chain;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::{
    AttestationResult, Basis, Check, Commitment, EpochStatement, Nonce, Receipt, ReceiptError, Salt,
    StatementDigest, Status,
};
use bastide_verifier::RecordedAppraisal;

pub(crate) use self::chain::link;

/// The bodies of one exchange, byte for byte, and the salt of their commitments.
#[derive(Clone, Copy)]
pub(crate) struct Bodies<'a> {
    /// Keeps short bodies from being guessed.
    pub(crate) salt: &'a Salt,
    /// Request body as sent.
    pub(crate) request: &'a [u8],
    /// Response body as received, for streams up to and including `data: [DONE]`.
    pub(crate) response: &'a [u8],
}

/// Why an answer has no receipt that counts. No body is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReceiptFault {
    /// There is none.
    #[error("the answer has no receipt")]
    Missing,
    /// The header or event isn't what its format says.
    #[error("the receipt or its salt is not in the form that was expected")]
    Encoding,
    /// The receipt isn't one, or its signature doesn't verify.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A check failed.
    #[error("the receipt's check `{code}` failed: expected {expected}, got {got}")]
    Check {
        /// The check's id, which is its code.
        code: &'static str,
        /// What would have passed.
        expected: Cow<'static, str>,
        /// What came.
        got: Cow<'static, str>,
    },
}

impl ReceiptFault {
    /// Stable dotted code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "receipt.missing",
            Self::Receipt(ReceiptError::Signature) => "receipt.signature",
            Self::Encoding | Self::Receipt(_) => "receipt.malformed",
            Self::Check { code, .. } => code,
        }
    }
}

/// Decodes what a header or an event carries.
///
/// # Errors
/// [`ReceiptFault`] if it is no receipt or its signature doesn't verify.
pub(crate) fn decode(receipt: &str, salt: &str) -> Result<(Receipt, Salt), ReceiptFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(receipt)
        .map_err(|_| ReceiptFault::Encoding)?;
    let salt = salt.parse().map_err(|_| ReceiptFault::Encoding)?;
    Ok((Receipt::verify(&bytes)?, salt))
}

/// What the hardware vouches for, of a session or of evidence that was kept.
#[derive(Clone, Copy)]
pub(crate) struct Attested<'a> {
    /// The statement.
    pub(crate) statement: &'a EpochStatement,
    /// SHA-256 of its bytes.
    pub(crate) digest: &'a StatementDigest,
}

impl<'a> From<&'a AttestationResult> for Attested<'a> {
    fn from(result: &'a AttestationResult) -> Self {
        Self {
            statement: &result.statement,
            digest: &result.statement_digest,
        }
    }
}

impl<'a> From<&'a RecordedAppraisal> for Attested<'a> {
    fn from(kept: &'a RecordedAppraisal) -> Self {
        Self {
            statement: kept.statement(),
            digest: kept.statement_digest(),
        }
    }
}

/// Makes every check; what can't be made for want of input is skipped and says so.
pub(crate) fn checks(
    receipt: &Receipt,
    attested: Attested<'_>,
    nonce: Option<&Nonce>,
    bodies: Option<&Bodies<'_>>,
) -> Vec<Check> {
    let claims = receipt.claims();
    let Attested { statement, digest } = attested;
    let mut checks = vec![
        // A `Receipt` exists only if its signature verified.
        check(
            "receipt.signature",
            Some(true),
            "an Ed25519 signature by the key it names",
            receipt.key().to_string(),
        ),
        check(
            "receipt.key",
            Some(receipt.signed_by(&statement.receipt_key).is_ok()),
            statement.receipt_key.to_string(),
            receipt.key().to_string(),
        ),
        check(
            "receipt.statement",
            Some(claims.statement == *digest),
            digest.to_string(),
            claims.statement.to_string(),
        ),
        check(
            "receipt.model",
            Some(claims.model == statement.model),
            statement.model.to_string(),
            claims.model.to_string(),
        ),
    ];
    checks.push(match nonce {
        Some(nonce) => check(
            "receipt.nonce",
            Some(claims.nonce == *nonce),
            nonce.to_string(),
            claims.nonce.to_string(),
        ),
        None => check(
            "receipt.nonce",
            None,
            "the challenge of the connection",
            "known to its client alone",
        ),
    });
    match bodies {
        Some(bodies) => {
            let request = Commitment::request(bodies.salt, bodies.request);
            let mut response = Commitment::response(bodies.salt);
            response.update(bodies.response);
            checks.push(commitment("receipt.request", &request, &claims.request));
            checks.push(commitment(
                "receipt.response",
                &response.finish(),
                &claims.response,
            ));
        }
        None => {
            for id in ["receipt.request", "receipt.response"] {
                checks.push(check(
                    id,
                    None,
                    "a commitment to the body",
                    "neither salt nor bodies were given",
                ));
            }
        }
    }
    checks
}

fn commitment(id: &'static str, computed: &Commitment, claimed: &Commitment) -> Check {
    check(
        id,
        Some(computed == claimed),
        hex::encode(computed.as_bytes()),
        hex::encode(claimed.as_bytes()),
    )
}

fn check(
    id: &'static str,
    holds: Option<bool>,
    expected: impl Into<Cow<'static, str>>,
    got: impl Into<Cow<'static, str>>,
) -> Check {
    Check {
        id,
        status: match holds {
            Some(true) => Status::Pass,
            Some(false) => Status::Fail,
            None => Status::Skip,
        },
        expected: expected.into(),
        got: got.into(),
        basis: Basis::Derived,
    }
}

/// Requires every check of an exchange that this client was itself part of.
///
/// # Errors
/// [`ReceiptFault::Check`] names the first that failed.
pub(crate) fn require(
    receipt: &Receipt,
    result: &AttestationResult,
    nonce: &Nonce,
    bodies: &Bodies<'_>,
) -> Result<(), ReceiptFault> {
    let failed = checks(receipt, result.into(), Some(nonce), Some(bodies))
        .into_iter()
        .find(|check| check.status != Status::Pass);
    match failed {
        None => Ok(()),
        Some(check) => Err(ReceiptFault::Check {
            code: check.id,
            expected: check.expected,
            got: check.got,
        }),
    }
}

/// The claims for JSON: counts are numbers, digests whole.
pub(crate) fn object(receipt: &Receipt) -> serde_json::Value {
    let claims = receipt.claims();
    let [prompt, completion] = claims.usage;
    let mut members: serde_json::Map<_, _> = facts(receipt)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    for (name, count) in [
        ("sequence", claims.sequence),
        ("prompt_tokens", prompt),
        ("completion_tokens", completion),
    ] {
        members.insert(name.to_owned(), count.into());
    }
    members.into()
}

/// The claims as text, in a stable order.
pub(crate) fn facts(receipt: &Receipt) -> Vec<(&'static str, String)> {
    let claims = receipt.claims();
    let [prompt, completion] = claims.usage;
    vec![
        (
            "issued_at",
            bastide_attestation::UnixTime::from_secs(claims.issued_at).to_string(),
        ),
        ("key", receipt.key().to_string()),
        ("statement", claims.statement.to_string()),
        ("model", claims.model.to_string()),
        ("nonce", claims.nonce.to_string()),
        ("request", hex::encode(claims.request.as_bytes())),
        ("response", hex::encode(claims.response.as_bytes())),
        ("sequence", claims.sequence.to_string()),
        ("finish", claims.finish.as_str().to_owned()),
        ("sampling", hex::encode(claims.sampling)),
        ("prompt_tokens", prompt.to_string()),
        ("completion_tokens", completion.to_string()),
        ("previous", hex::encode(claims.previous)),
    ]
}

#[cfg(test)]
mod tests;
