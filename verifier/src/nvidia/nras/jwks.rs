//! A JSON Web Key Set \[RFC 7517, RFC 7518 §6.2\]: public keys on P-384, by name.
//! Keys of other kinds may be in it; no token can use them.

use std::collections::BTreeMap;

use bastide_attestation::Json;

use super::fault::{NrasFault, shown};
use super::jws::base64url;

/// Most bytes of a key set. NVIDIA's has 81 KiB, certificates included.
pub(crate) const MAX_JWKS_BYTES: usize = 512 * 1024;
/// Most keys of one. NVIDIA's has 32.
const MAX_KEYS: usize = 256;
/// Bytes of a coordinate on P-384.
const COORDINATE: usize = 48;

/// An uncompressed point on P-384, which nobody has looked at yet: whoever
/// verifies with it does.
pub(super) type Point = [u8; 1 + 2 * COORDINATE];

/// Keys by name, each name once; `None` is a key that is not for ES384.
#[derive(Debug)]
pub(super) struct KeySet(BTreeMap<String, Option<Point>>);

impl KeySet {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NrasFault> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(NrasFault::JwksTooLarge { got: bytes.len() });
        }
        let document = Json::parse(bytes).map_err(NrasFault::JwksJson)?;
        let keys = document
            .as_object()
            .and_then(|members| members.get("keys"))
            .and_then(Json::as_list)
            .filter(|keys| keys.len() <= MAX_KEYS)
            .ok_or(NrasFault::Jwks {
                expected: "an object with an array of at most 256 `keys`",
            })?;
        let mut named = BTreeMap::new();
        for key in keys {
            let members = key.as_object();
            let kid = members.and_then(|members| members.get("kid")?.as_text());
            let (Some(members), Some(kid)) = (members, kid) else {
                let expected = "objects with a text `kid` as keys";
                return Err(NrasFault::Jwks { expected });
            };
            if named.insert(kid.to_owned(), point(members)).is_some() {
                return Err(NrasFault::DuplicateKid { kid: shown(kid) });
            }
        }
        Ok(Self(named))
    }

    /// The key that a token names.
    pub(super) fn get(&self, token: &str, kid: &str) -> Result<&Point, NrasFault> {
        let (token, name) = (token.to_owned(), || shown(kid));
        match self.0.get(kid) {
            Some(Some(point)) => Ok(point),
            Some(None) => Err(NrasFault::KeyUnusable { token, kid: name() }),
            None => Err(NrasFault::KidUnknown { token, kid: name() }),
        }
    }
}

/// The point of a key that may verify ES384.
fn point(members: &BTreeMap<String, Json>) -> Option<Point> {
    let absent_or = |name, wanted| !members.contains_key(name) || text(members, name) == Some(wanted);
    let usable = text(members, "kty") == Some("EC")
        && text(members, "crv") == Some("P-384")
        && absent_or("alg", "ES384")
        && absent_or("use", "sig");
    let coordinate =
        |name| base64url(text(members, name)?, COORDINATE).filter(|bytes| bytes.len() == COORDINATE);
    if !usable {
        return None;
    }
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    Point::try_from(point).ok()
}

fn text<'m>(members: &'m BTreeMap<String, Json>, name: &str) -> Option<&'m str> {
    members.get(name)?.as_text()
}
