//! Signed tokens in the compact form \[RFC 7515 §3.1\], of one profile: ES384,
//! and a header of `alg`, `kid` and perhaps `typ`. What a token claims is not
//! readable before its signature holds.

use std::collections::BTreeMap;

use bastide_attestation::Json;

use crate::crypto::Crypto;
use crate::nvidia::rim::base64;

use super::MAX_TOKEN_BYTES;
use super::fault::{NrasFault, shown};
use super::jwks::KeySet;

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub(super) struct Token<'a> {
    name: &'a str,
    kid: String,
    /// Header and payload as they came, with the dot between them.
    signed: &'a str,
    payload: &'a str,
    signature: [u8; 96],
}

impl<'a> Token<'a> {
    /// Takes a token apart; `name` is what faults call it.
    pub(super) fn parse(name: &'a str, text: &'a str) -> Result<Self, NrasFault> {
        let token = || name.to_owned();
        let wrong = |expected| NrasFault::Token {
            token: token(),
            expected,
        };
        if text.len() > MAX_TOKEN_BYTES {
            return Err(NrasFault::TokenTooLarge {
                token: token(),
                got: text.len(),
            });
        }
        let parts = "three parts in base64url without padding";
        let (signed, signature) = text.rsplit_once('.').ok_or_else(|| wrong(parts))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| wrong(parts))?;
        if payload.contains('.') {
            return Err(wrong(parts));
        }
        let header = object(name, header)?.ok_or_else(|| wrong(parts))?;
        // Nothing else has a meaning here; `crit`, `b64` or a key of the
        // token's own would change what the signature says.
        let known = |member: &String| matches!(member.as_str(), "alg" | "kid" | "typ");
        if !header.keys().all(known) {
            return Err(wrong("a header of `alg`, `kid` and `typ` alone"));
        }
        match header.get("alg").and_then(Json::as_text) {
            Some("ES384") => {}
            other => {
                let (token, got) = (token(), shown(other.unwrap_or_default()));
                return Err(NrasFault::Algorithm { token, got });
            }
        }
        let kid = header.get("kid").and_then(Json::as_text);
        let kid = kid.ok_or_else(|| wrong("a text `kid`"))?.to_owned();
        let signature = base64url(signature, 96).and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            name,
            kid,
            signed,
            payload,
            signature: signature.ok_or_else(|| wrong("a signature of 96 bytes"))?,
        })
    }

    /// Its claims, if the key that it names signed it.
    pub(super) fn verify(
        &self,
        keys: &KeySet,
        crypto: &dyn Crypto,
    ) -> Result<BTreeMap<String, Json>, NrasFault> {
        let point = keys.get(self.name, &self.kid)?;
        if !crypto.p384_sha384_verify(point, self.signed.as_bytes(), &self.signature) {
            return Err(NrasFault::Signature {
                token: self.name.to_owned(),
            });
        }
        object(self.name, self.payload)?.ok_or_else(|| NrasFault::Token {
            token: self.name.to_owned(),
            expected: "claims in base64url without padding",
        })
    }
}

/// The members of a JSON object in base64url; `None` if it is not base64url.
fn object(token: &str, text: &str) -> Result<Option<BTreeMap<String, Json>>, NrasFault> {
    let Some(bytes) = base64url(text, MAX_TOKEN_BYTES) else {
        return Ok(None);
    };
    match Json::parse(&bytes) {
        Ok(Json::Object(members)) => Ok(Some(members)),
        Ok(_) => Err(NrasFault::Token {
            token: token.to_owned(),
            expected: "a JSON object",
        }),
        Err(fault) => Err(NrasFault::TokenJson {
            token: token.to_owned(),
            fault,
        }),
    }
}

/// Base64url without padding \[RFC 7515 §2\], one text for each value, of at
/// most `limit` bytes.
pub(super) fn base64url(text: &str, limit: usize) -> Option<Vec<u8>> {
    let padding = match text.len() % 4 {
        0 => "",
        2 => "==",
        3 => "=",
        _ => return None,
    };
    let digits = text.chars().map(|digit| match digit {
        '-' => Some('+'),
        '_' => Some('/'),
        'A'..='Z' | 'a'..='z' | '0'..='9' => Some(digit),
        _ => None,
    });
    let digits: String = digits.chain(padding.chars().map(Some)).collect::<Option<_>>()?;
    base64::decode(&digits, limit)
}

#[cfg(test)]
mod tests {
    use super::base64url;
    use ::base64::Engine as _;
    use ::base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_decoded_is_what_the_library_decodes(text in "[A-Za-z0-9_-]{0,40}|[A-Za-z0-9+/=_\n-]{0,12}") {
            prop_assert_eq!(base64url(&text, 64), BASE64_URL_SAFE_NO_PAD.decode(&text).ok());
        }

        #[test]
        fn every_value_survives_and_no_more_than_allowed(bytes: Vec<u8>) {
            let text = BASE64_URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert_eq!(base64url(&text, bytes.len()), Some(bytes.clone()));
            if let Some(less) = bytes.len().checked_sub(1) {
                prop_assert_eq!(base64url(&text, less), None);
            }
        }
    }
}
