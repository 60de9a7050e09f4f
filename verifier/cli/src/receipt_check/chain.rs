//! Receipts one after the other: each of a boot has the number after the one
//! before, and its digest. A client holds only its own, so that there are gaps;
//! what a gap hides is said to be skipped, never passed.

use bastide_attestation::{Check, Receipt};

use super::check;

/// Holds a receipt against the one before it in the order given, if there is one.
pub(crate) fn link(receipt: &Receipt, before: Option<&Receipt>) -> [Check; 2] {
    let claims = receipt.claims();
    let sequence = "receipt.sequence";
    let previous = "receipt.previous";
    let got = claims.sequence.to_string();
    let Some(before) = before.filter(|before| before.key() == receipt.key()) else {
        return [
            check(sequence, None, "the number after the one before", got),
            first(receipt),
        ];
    };
    let expected = before.claims().sequence.saturating_add(1);
    let rises = claims.sequence >= expected;
    [
        check(
            sequence,
            Some(rises),
            format!(
                "{expected} or more: the one before is {}",
                before.claims().sequence
            ),
            got,
        ),
        if claims.sequence == expected {
            check(
                previous,
                Some(claims.previous == before.digest()),
                hex::encode(before.digest()),
                hex::encode(claims.previous),
            )
        } else {
            let missing = claims.sequence.saturating_sub(expected);
            check(
                previous,
                None,
                "the digest of the receipt before",
                if rises {
                    format!("{missing} receipt(s) between the two are not here")
                } else {
                    "they are not in their order".to_owned()
                },
            )
        },
    ]
}

/// A receipt without the one before: only the first of a boot shows that there is none.
fn first(receipt: &Receipt) -> Check {
    let claims = receipt.claims();
    if claims.sequence == 0 {
        return check(
            "receipt.previous",
            Some(claims.previous == [0; 32]),
            "all zero: it is the first of its boot",
            hex::encode(claims.previous),
        );
    }
    check(
        "receipt.previous",
        None,
        "the digest of the receipt before",
        "the receipt before is not here",
    )
}
