//! The runtime data of an HCL report: the paravisor's JSON with the public
//! halves of the vTPM's keys. Takes the attestation key out of it and refuses
//! a document that could be read in two ways.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::key::{RsaKeyError, RsaPublicKey};
use crate::json::Json;

/// Name of the attestation key in `keys`.
const AK: &str = "HCLAkPub";
/// Most keys of a document. Azure's have two.
const MAX_KEYS: usize = 16;

/// Why runtime data can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeDataError {
    /// Not JSON, or JSON that repeats a key.
    #[error("the runtime data is not strict JSON: {reason}")]
    Json {
        /// What the reader says, with line and column.
        reason: String,
    },
    /// A member that must be there is missing or of another kind.
    #[error("the runtime data has no usable `{member}`; expected {expected}")]
    Member {
        /// Which.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// No attestation key, or more than one.
    #[error("the runtime data names {got} keys `{AK}`; expected exactly one")]
    Keys {
        /// How many.
        got: usize,
    },
    /// The attestation key is no usable RSA key.
    #[error("the attestation key `{AK}`: {0}")]
    Key(#[from] RsaKeyError),
}

/// What the paravisor says about this VM, as far as the verifier needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeData {
    /// Public half of the vTPM's attestation key.
    pub attestation_key: RsaPublicKey,
    /// `vm-configuration.secure-boot`, if it is there.
    pub secure_boot: Option<bool>,
    /// `vm-configuration.console-enabled`, if it is there.
    pub console_enabled: Option<bool>,
}

impl RuntimeData {
    /// Reads runtime data. Members that are not needed may be there, once.
    ///
    /// # Errors
    /// [`RuntimeDataError`] names the first fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, RuntimeDataError> {
        let document = Json::parse(bytes).map_err(|error| RuntimeDataError::Json { reason: error.reason })?;
        let keys = document
            .as_object()
            .and_then(|members| members.get("keys"))
            .and_then(Json::as_list)
            .filter(|keys| keys.len() <= MAX_KEYS)
            .ok_or(RuntimeDataError::Member {
                member: "keys",
                expected: "a short array of keys in an object",
            })?;
        let mut named = Vec::new();
        for key in keys {
            let kid = text(key, "kid").ok_or(RuntimeDataError::Member {
                member: "kid",
                expected: "a text in each key",
            })?;
            if kid == AK {
                named.push(key);
            }
        }
        let [key] = named.as_slice() else {
            return Err(RuntimeDataError::Keys { got: named.len() });
        };
        let flag = |name: &str| {
            let configuration = document.as_object()?.get("vm-configuration")?;
            configuration.as_object()?.get(name)?.as_bool()
        };
        Ok(Self {
            attestation_key: attestation_key(key)?,
            secure_boot: flag("secure-boot"),
            console_enabled: flag("console-enabled"),
        })
    }
}

fn text<'a>(key: &'a Json, member: &str) -> Option<&'a str> {
    key.as_object()?.get(member)?.as_text()
}

/// An RSA key as a JWK \[RFC 7517, RFC 7518 §6.3.1\] that is for signing.
fn attestation_key(key: &Json) -> Result<RsaPublicKey, RuntimeDataError> {
    let wrong = |member, expected| RuntimeDataError::Member { member, expected };
    if text(key, "kty") != Some("RSA") {
        return Err(wrong("kty", "\"RSA\""));
    }
    let uses = key
        .as_object()
        .and_then(|members| members.get("key_ops"))
        .and_then(Json::as_list);
    if !matches!(uses, Some([only]) if only.as_text() == Some("sign")) {
        return Err(wrong("key_ops", "[\"sign\"]"));
    }
    let number = |member| {
        text(key, member)
            .and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or_else(|| wrong(member, "base64url without padding"))
    };
    Ok(RsaPublicKey::new(&number("n")?, &number("e")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A document as Azure writes it, around a key that nobody has.
    fn document() -> String {
        let mut modulus = vec![0xa5; 256];
        modulus[255] = 0x01;
        let n = BASE64_URL_SAFE_NO_PAD.encode(modulus);
        format!(
            r#"{{"keys":[{{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{n}"}},{{"kid":"HCLEkPub","key_ops":["encrypt"],"kty":"RSA","e":"AQAB","n":"{n}"}}],"vm-configuration":{{"console-enabled":true,"secure-boot":false,"tpm-enabled":true,"vmUniqueId":"911B0EF8"}},"user-data":"{}"}}"#,
            "00".repeat(64)
        )
    }

    fn changed(from: &str, to: &str) -> Result<RuntimeData, RuntimeDataError> {
        let text = document();
        assert!(text.contains(from), "{from}");
        RuntimeData::parse(text.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn the_attestation_key_is_read_and_what_else_is_there_is_passed_over() {
        let data = RuntimeData::parse(document().as_bytes()).unwrap();
        assert_eq!(data.attestation_key.modulus_len(), 256);
        assert_eq!(
            (data.secure_boot, data.console_enabled),
            (Some(false), Some(true))
        );
        let data = changed("\"secure-boot\":false", "\"secure-boot\":\"yes\"").unwrap();
        assert_eq!(data.secure_boot, None);
        assert!(changed("\"user-data\"", "\"more\":[1,null,2.5],\"user-data\"").is_ok());
    }

    #[test]
    fn no_key_two_keys_and_keys_of_other_kinds_are_refused() {
        assert_eq!(
            changed("HCLAkPub", "HCLOther").unwrap_err(),
            RuntimeDataError::Keys { got: 0 }
        );
        assert_eq!(
            changed("HCLEkPub", "HCLAkPub").unwrap_err(),
            RuntimeDataError::Keys { got: 2 }
        );
        for (from, to, member) in [
            ("\"kty\":\"RSA\"", "\"kty\":\"EC\"", "kty"),
            ("[\"sign\"]", "[\"sign\",\"encrypt\"]", "key_ops"),
            ("[\"sign\"]", "[\"encrypt\"]", "key_ops"),
            ("[\"sign\"]", "[]", "key_ops"),
            ("[\"sign\"]", "\"sign\"", "key_ops"),
            ("\"e\":\"AQAB\"", "\"e\":\"AQA=\"", "e"),
            ("\"e\":\"AQAB\"", "\"e\":65537", "e"),
            ("\"n\":\"pa", "\"n\":\"+a", "n"),
            ("\"n\":\"pa", "\"m\":\"pa", "n"),
            ("\"kid\":\"HCLEkPub\"", "\"kid\":7", "kid"),
            ("\"keys\":[", "\"kexs\":[", "keys"),
        ] {
            let fault = changed(from, to).unwrap_err();
            assert!(
                matches!(&fault, RuntimeDataError::Member { member: named, .. } if *named == member),
                "{to}: {fault}"
            );
        }
        assert!(matches!(changed("AQAB", "Aw"), Err(RuntimeDataError::Key(_))));
        assert!(matches!(
            RuntimeData::parse(b"[]"),
            Err(RuntimeDataError::Member { .. })
        ));
        let many = format!("{{\"keys\":[{}{{}}]}}", "{},".repeat(MAX_KEYS));
        assert!(RuntimeData::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn a_document_that_can_be_read_in_two_ways_is_refused() {
        for (from, to) in [
            ("\"keys\"", "\"keys\":[],\"keys\""),
            ("\"e\":\"AQAB\"", "\"e\":\"AQAB\",\"e\":\"Aw\""),
            ("\"secure-boot\"", "\"secure-boot\":true,\"secure-boot\""),
            ("\"user-data\"", "\"vm-configuration\":{},\"user-data\""),
        ] {
            let fault = changed(from, to).unwrap_err();
            assert!(
                matches!(&fault, RuntimeDataError::Json { reason } if reason.contains("twice")),
                "{to}: {fault}"
            );
        }
        let mut trailing = document().into_bytes();
        trailing.push(0);
        assert!(matches!(
            RuntimeData::parse(&trailing),
            Err(RuntimeDataError::Json { .. })
        ));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>, at: prop::sample::Index, character: char) {
            let _ = RuntimeData::parse(&bytes);
            let mut altered: Vec<char> = document().chars().collect();
            let at = at.index(altered.len());
            altered[at] = character;
            let altered: String = altered.into_iter().collect();
            let _ = RuntimeData::parse(altered.as_bytes());
            let _ = RuntimeData::parse(&altered.as_bytes()[..at]);
        }
    }
}
