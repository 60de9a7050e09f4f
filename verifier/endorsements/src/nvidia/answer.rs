//! What a RIM service answers: a manifest in base64 within JSON, with its id,
//! its format and its digest, which is over the manifest and not over its base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::nvidia::MAX_RIM_BYTES;
use bastide_attestation::sha256;
use serde::Deserialize;

use super::endorsement::Endorsement;
use super::name::{Name, RimId};
use crate::endorsement::{FormError, shown};

/// Most bytes of an answer: the largest manifest in base64, and what is around it.
pub(super) const MAX_ANSWER_BYTES: usize = MAX_RIM_BYTES.div_ceil(3) * 4 + 4096;
const TCG: &str = "TCG";

/// Members that are read; the service may have others.
#[derive(Deserialize)]
struct Answer {
    id: String,
    rim: String,
    sha256: String,
    rim_format: String,
}

/// Reads the manifest that was asked for.
///
/// # Errors
/// [`FormError`] says what was expected and what came.
pub(super) fn read(id: &RimId, body: &[u8]) -> Result<Endorsement, FormError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| match FormError::not("a manifest in JSON", body) {
            page @ FormError::WebPage { .. } => page,
            _ => FormError::Json,
        })?;
    if answer.id != id.as_str() {
        return Err(FormError::OtherRim {
            expected: id.to_string(),
            got: shown(&answer.id),
        });
    }
    if answer.rim_format != TCG {
        return Err(FormError::RimFormat {
            got: shown(&answer.rim_format),
        });
    }
    let rim = STANDARD.decode(&answer.rim).map_err(|_| FormError::RimBase64)?;
    let digest = sha256(&[&rim]);
    if hex::decode(&answer.sha256).ok().as_deref() != Some(&digest[..]) {
        return Err(FormError::RimDigest {
            expected: shown(&answer.sha256),
            got: hex::encode(digest),
        });
    }
    Endorsement::read(Name::Rim(id.clone()), &rim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvidia::made;
    use proptest::prelude::*;

    const ID: &str = "NV_GPU_DRIVER_GH100_550.90.07";

    fn read_text(body: &str) -> Result<Endorsement, FormError> {
        read(&ID.parse().unwrap(), body.as_bytes())
    }

    #[test]
    fn a_manifest_comes_out_as_it_was_published() {
        let rim = made::rim(1, made::ISSUED);
        let answer = read_text(&made::rim_answer(ID, &rim)).unwrap();
        assert_eq!((answer.bytes(), answer.sha256()), (&rim[..], sha256(&[&rim])));
    }

    #[test]
    fn another_id_format_digest_or_encoding_and_members_that_miss_or_come_twice_are_refused() {
        let rim = made::rim(1, made::ISSUED);
        let good = made::rim_answer(ID, &rim);
        let digest = hex::encode(sha256(&[&rim]));
        let code = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            read_text(&good.replace(from, to)).unwrap_err()
        };
        assert!(matches!(
            code("550.90.07", "550.90.08"),
            FormError::OtherRim { .. }
        ));
        assert!(matches!(
            code("\"TCG\"", "\"CORIM\""),
            FormError::RimFormat { .. }
        ));
        assert!(matches!(
            code(&digest, &"0".repeat(64)),
            FormError::RimDigest { .. }
        ));
        assert!(matches!(code(&digest, ""), FormError::RimDigest { .. }));
        assert!(matches!(
            code("\"rim\":\"", "\"rim\":\"\\n"),
            FormError::RimBase64
        ));
        assert!(matches!(code("\"rim\":\"", "\"rum\":\""), FormError::Json));
        assert!(matches!(
            code("{", &format!("{{\"id\":\"{ID}\",")),
            FormError::Json
        ));
        assert!(matches!(code("}", ""), FormError::Json));
        assert!(matches!(read_text("<html>"), Err(FormError::WebPage { .. })));
        let other = made::rim_answer(ID, b"<SoftwareIdentity ></SoftwareIdentity>");
        assert!(matches!(read_text(&other), Err(FormError::Encoding { .. })));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body: Vec<u8>) {
            let _ = read(&ID.parse().unwrap(), &body);
        }
    }
}
