//! HELLO: the first frame of each end. It claims and challenges; what it claims
//! counts only once evidence is bound to it.

use crate::binding::Role;
use crate::codec::{CodecError, Fields, MapBuilder};
use crate::credential::MAX_CREDENTIAL_BYTES;
use crate::digest::{ManifestDigest, Nonce, PipelineId};
use crate::link::LinkContext;

/// Most bytes of a HELLO's body.
pub(crate) const MAX_HELLO_BYTES: usize = 4096;
/// Most capabilities of one end.
pub const MAX_CAPABILITIES: usize = 16;
/// Most bytes of a capability's name.
pub const MAX_CAPABILITY_BYTES: usize = 32;
const VERSION: u64 = 1;

/// Why a HELLO can't be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Not strict CBOR of the defined shape.
    #[error("HELLO: {0}")]
    Codec(#[from] CodecError),
    /// Another version of the protocol.
    #[error("HELLO: expected version {VERSION} of the link protocol, got {got}")]
    Version {
        /// What came.
        got: u64,
    },
    /// A credential that is too large to be one.
    #[error("HELLO: a membership credential has 1 to {MAX_CREDENTIAL_BYTES} bytes, got {got}")]
    CredentialLength {
        /// Its bytes.
        got: usize,
    },
    /// Too many capabilities, or one that is no name.
    #[error(
        "HELLO: expected at most {MAX_CAPABILITIES} capabilities, each once and in ascending order, of 1 to {MAX_CAPABILITY_BYTES} characters a-z, 0-9, `-`, `/` and `.`"
    )]
    Capabilities,
}

/// What an end says about itself, and its challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Which end of the TLS connection sends it.
    pub role: Role,
    /// The sender's challenge: the other end's evidence is for it.
    pub nonce: Nonce,
    /// Membership credential, as issued: see [`crate::Credential`].
    pub credential: Option<Vec<u8>>,
    /// Where the sender says it stands.
    pub context: LinkContext,
    /// Extensions that the sender knows, in ascending order. What the other end
    /// doesn't know it ignores.
    pub capabilities: Vec<String>,
}

impl Hello {
    /// Deterministic CBOR: `{1: version, 2: role, 3: nonce, 4: credential or null,
    /// 5: pipeline, 6: stage, 7: model, 8: capabilities}`.
    ///
    /// # Errors
    /// [`HelloError`] if credential or capabilities are out of bounds.
    pub fn encode(&self) -> Result<Vec<u8>, HelloError> {
        self.check()?;
        let capabilities: Vec<&str> = self.capabilities.iter().map(String::as_str).collect();
        Ok(MapBuilder::new()
            .uint(1, VERSION)
            .uint(2, u64::from(self.role.byte()))
            .bytes(3, self.nonce.as_bytes())
            .bytes_or_null(4, self.credential.as_deref())
            .bytes(5, self.context.pipeline.as_bytes())
            .uint(6, u64::from(self.context.stage))
            .bytes(7, self.context.model.as_bytes())
            .texts(8, &capabilities)
            .encode())
    }

    /// Reads a HELLO strictly.
    ///
    /// # Errors
    /// [`HelloError`] names the first fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let mut fields = Fields::decode(bytes, MAX_HELLO_BYTES)?;
        // First: of another version nothing else is known.
        let version = fields.uint(1)?;
        if version != VERSION {
            return Err(HelloError::Version { got: version });
        }
        let hello = Self {
            role: match fields.uint(2)? {
                0 => Role::Server,
                1 => Role::Client,
                _ => return Err(value(2, "role 0 (server) or 1 (client)").into()),
            },
            nonce: Nonce::new(fields.array(3)?),
            credential: fields.bytes_or_null(4)?,
            context: LinkContext {
                pipeline: PipelineId::new(fields.array(5)?),
                stage: u16::try_from(fields.uint(6)?).map_err(|_| value(6, "a stage of at most 65535"))?,
                model: ManifestDigest::new(fields.array(7)?),
            },
            capabilities: fields.texts(8, MAX_CAPABILITIES)?,
        };
        fields.finish()?;
        hello.check()?;
        Ok(hello)
    }

    fn check(&self) -> Result<(), HelloError> {
        if let Some(credential) = &self.credential
            && !(1..=MAX_CREDENTIAL_BYTES).contains(&credential.len())
        {
            return Err(HelloError::CredentialLength {
                got: credential.len(),
            });
        }
        let ascending = self.capabilities.is_sorted_by(|one, next| one < next);
        if self.capabilities.len() > MAX_CAPABILITIES || !ascending {
            return Err(HelloError::Capabilities);
        }
        if self.capabilities.iter().all(|name| is_name(name)) {
            Ok(())
        } else {
            Err(HelloError::Capabilities)
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_CAPABILITY_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-/.".contains(&byte))
}

fn value(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            role: Role::Client,
            nonce: Nonce::new([1; 32]),
            credential: Some(vec![2; 300]),
            context: LinkContext {
                pipeline: PipelineId::new([3; 16]),
                stage: 4,
                model: ManifestDigest::new([5; 32]),
            },
            capabilities: vec!["bf16".to_owned(), "zstd/1.5".to_owned()],
        }
    }

    #[test]
    fn hellos_round_trip_and_the_largest_fits() {
        for credential in [None, Some(vec![9; MAX_CREDENTIAL_BYTES])] {
            let mut capabilities: Vec<_> = (0..MAX_CAPABILITIES)
                .map(|number| format!("{number:032}"))
                .collect();
            capabilities.sort();
            let hello = Hello {
                credential,
                capabilities,
                ..hello()
            };
            let bytes = hello.encode().unwrap();
            assert_eq!(Hello::decode(&bytes), Ok(hello));
        }
    }

    /// Written out by other code.
    #[test]
    fn known_answer_of_a_hello() {
        let hello = Hello {
            role: Role::Client,
            nonce: Nonce::new([0x11; 32]),
            credential: None,
            context: LinkContext {
                pipeline: PipelineId::new([0x66; 16]),
                stage: 3,
                model: ManifestDigest::new([0x77; 32]),
            },
            capabilities: vec!["bf16".to_owned()],
        };
        let expected = [
            "a8010102010358201111111111111111111111111111111111111111111111111111111111111111",
            "04f60550666666666666666666666666666666660603075820777777777777777777777777777777",
            "777777777777777777777777777777777708816462663136",
        ];
        assert_eq!(hex::encode(hello.encode().unwrap()), expected.concat());
    }

    #[test]
    fn what_is_out_of_bounds_is_neither_made_nor_read() {
        let names = |names: &[&str]| Hello {
            capabilities: names.iter().map(|name| (*name).to_owned()).collect(),
            ..hello()
        };
        let long = "x".repeat(MAX_CAPABILITY_BYTES + 1);
        for bad in [
            names(&["b", "a"]),
            names(&["a", "a"]),
            names(&["A"]),
            names(&[""]),
            names(&["a b"]),
            names(&[&long]),
        ] {
            assert_eq!(bad.encode(), Err(HelloError::Capabilities), "{bad:?}");
        }
        for length in [0, MAX_CREDENTIAL_BYTES + 1] {
            let credential = Some(vec![0; length]);
            let hello = Hello {
                credential,
                ..hello()
            };
            assert_eq!(hello.encode(), Err(HelloError::CredentialLength { got: length }));
        }
    }

    #[test]
    fn another_version_is_named_and_an_extra_key_is_refused() {
        let bytes = hello().encode().unwrap();
        let mut newer = bytes.clone();
        newer[2] = 2;
        assert_eq!(Hello::decode(&newer), Err(HelloError::Version { got: 2 }));
        let mut more = bytes;
        more[0] += 1;
        more.extend_from_slice(&[9, 0]);
        assert_eq!(
            Hello::decode(&more),
            Err(HelloError::Codec(CodecError::Unknown { key: 9.into() }))
        );
    }

    proptest! {
        #[test]
        fn what_decodes_is_its_own_encoding(at: prop::sample::Index, bit in 0_u8..8, bytes: Vec<u8>) {
            let _ = Hello::decode(&bytes);
            let mut flipped = hello().encode().unwrap();
            let at = at.index(flipped.len());
            prop_assert!(Hello::decode(&flipped[..at]).is_err());
            flipped[at] ^= 1 << bit;
            if let Ok(decoded) = Hello::decode(&flipped) {
                prop_assert_eq!(decoded.encode().unwrap(), flipped);
                prop_assert_ne!(decoded, hello());
            }
        }
    }
}
