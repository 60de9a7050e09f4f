//! ID blocks: reads the owner's keys, signs, and writes what QEMU takes as
//! `id-block` and `id-auth`.

use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_measure::{ID_AUTH_BYTES, ID_BLOCK_BYTES, IdBlock, IdPublicKey, Signer, id_authentication};
use zeroize::Zeroizing;

use super::{IdBlockArguments, Shape};
use crate::fault::Fault;
use crate::file::{self, Existing};

const MAX_KEY_BYTES: usize = 64 * 1024;
const PKCS8: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";
const REMEDY: &str =
    "make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out id.pem`";

/// Parses 16 bytes in hex.
///
/// # Errors
/// A sentence for clap.
pub(super) fn identity(text: &str) -> Result<[u8; 16], String> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "expected 32 hexadecimal digits".to_owned())
}

/// A private key and its public half.
struct Key {
    pair: EcdsaKeyPair,
    public: IdPublicKey,
}

/// The owner's keys.
pub(super) struct Keys {
    id: Key,
    author: Option<Key>,
}

/// Signed blocks, and the digests that reports will have of their keys.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    pub(super) id_key_digest: [u8; 48],
    pub(super) author_key_digest: Option<[u8; 48]>,
}

/// A block for one shape.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) shape: String,
    /// Names of its files.
    pub(super) files: [String; 2],
    block: [u8; ID_BLOCK_BYTES],
    auth: [u8; ID_AUTH_BYTES],
}

impl Key {
    fn read(path: &Path) -> Result<Self, Fault> {
        let text = Zeroizing::new(file::read(path, MAX_KEY_BYTES)?);
        Self::parse(&text).map_err(|what| {
            let message = format!(
                "`{}`: expected a P-384 private key in PEM, {what}",
                path.display()
            );
            Fault::usage("measure.id_block.key", message).with_remedy(REMEDY)
        })
    }

    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(text).map_err(|_| "got bytes that are no text")?;
        if text.contains("-----BEGIN ENCRYPTED ") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("got one that is encrypted; decrypt it first");
        }
        // `openssl ecparam -genkey` puts the curve's parameters in front of the key.
        let begin = [PKCS8, SEC1]
            .iter()
            .find_map(|label| text.find(&format!("-----BEGIN {label}-----")));
        let block = begin.and_then(|begin| text.get(begin..)).ok_or("got none")?;
        let (label, der) =
            der::pem::decode_vec(block.as_bytes()).map_err(|_| "got PEM that can't be decoded")?;
        let der = Zeroizing::new(der);
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pair = if label == SEC1 {
            EcdsaKeyPair::from_private_key_der(algorithm, &der)
        } else {
            EcdsaKeyPair::from_pkcs8(algorithm, &der)
        };
        let pair = pair.map_err(|_| "got a key of another kind or curve, or one that contradicts itself")?;
        let public = IdPublicKey::from_point(pair.public_key().as_ref())
            .map_err(|_| "got one without an uncompressed point")?;
        Ok(Self { pair, public })
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 96], Fault> {
        let failed = || Fault::internal("the signature could not be made");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }
}

impl Keys {
    /// Reads the keys that are named.
    ///
    /// # Errors
    /// [`Fault`] of usage if one can't be read or isn't a P-384 private key.
    pub(super) fn read(arguments: &IdBlockArguments) -> Result<Option<Self>, Fault> {
        let Some(id) = &arguments.id_key else {
            return Ok(None);
        };
        Ok(Some(Self {
            id: Key::read(id)?,
            author: arguments.author_key.as_deref().map(Key::read).transpose()?,
        }))
    }

    /// What a policy pins of them: table and digest.
    pub(super) fn digests(&self) -> Vec<(&'static str, [u8; 48])> {
        let author = self.author.as_ref();
        let author = author.map(|key| ("snp.author_keys", key.public.digest()));
        std::iter::once(("snp.id_keys", self.id.public.digest()))
            .chain(author)
            .collect()
    }

    /// Signs a block for every digest.
    ///
    /// # Errors
    /// [`Fault`] of usage if the guest policy is none.
    pub(super) fn sign(&self, arguments: &IdBlockArguments, shapes: &[Shape]) -> Result<Blocks, Fault> {
        let blocks = shapes.iter().map(|shape| {
            let block = IdBlock::new(shape.measurement, arguments.guest_policy)
                .map_err(|error| Fault::usage(error.code(), error.to_string()))?
                .with_ids(
                    arguments.family_id.unwrap_or_default(),
                    arguments.image_id.unwrap_or_default(),
                )
                .with_guest_svn(arguments.guest_svn);
            let mut by_id = |message: &[u8]| self.id.sign(message);
            let id = Signer {
                key: self.id.public,
                sign: &mut by_id,
            };
            let auth = match &self.author {
                None => id_authentication(&block, id, None)?,
                Some(author) => {
                    let mut by_author = |message: &[u8]| author.sign(message);
                    let author = Signer {
                        key: author.public,
                        sign: &mut by_author,
                    };
                    id_authentication(&block, id, Some(author))?
                }
            };
            let shape = shape.name();
            let files = match shapes.len() {
                1 => ["id-block.b64".to_owned(), "id-auth.b64".to_owned()],
                _ => [format!("id-block-{shape}.b64"), format!("id-auth-{shape}.b64")],
            };
            Ok(Block {
                shape,
                files,
                block: block.to_bytes(),
                auth,
            })
        });
        Ok(Blocks {
            blocks: blocks.collect::<Result<_, Fault>>()?,
            id_key_digest: self.id.public.digest(),
            author_key_digest: self.author.as_ref().map(|key| key.public.digest()),
        })
    }
}

impl Blocks {
    /// Writes every block's two files, in base64, without a newline, as QEMU reads them.
    ///
    /// # Errors
    /// [`Fault`] of usage if one exists or can't be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Fault> {
        for block in &self.blocks {
            let [block_file, auth_file] = &block.files;
            let contents: [(PathBuf, &[u8]); 2] = [
                (folder.join(block_file), &block.block),
                (folder.join(auth_file), &block.auth),
            ];
            for (path, bytes) in contents {
                file::write(&path, STANDARD.encode(bytes).as_bytes(), Existing::Keep)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        der::pem::encode_string(label, der::pem::LineEnding::LF, der).unwrap()
    }

    #[test]
    fn pkcs8_and_sec1_keys_are_read_and_others_are_refused() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let key = Key::parse(pem(PKCS8, pkcs8.as_ref()).as_bytes()).unwrap();
        assert_eq!(
            key.public,
            IdPublicKey::from_point(pair.public_key().as_ref()).unwrap()
        );
        // RFC 5915: version 1, the private key, [0] the curve, [1] the point.
        let private =
            aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(
                &pair.private_key(),
            )
            .unwrap();
        let mut sec1 = vec![0x30, 0x81, 0xa4, 2, 1, 1, 4, 48];
        sec1.extend_from_slice(private.as_ref());
        sec1.extend_from_slice(&[0xa0, 7, 6, 5, 0x2b, 0x81, 4, 0, 0x22, 0xa1, 0x64, 3, 0x62, 0]);
        sec1.extend_from_slice(pair.public_key().as_ref());
        let parameters = pem("EC PARAMETERS", &[6, 5, 0x2b, 0x81, 4, 0, 0x22]);
        let text = format!("{parameters}{}", pem(SEC1, &sec1));
        assert_eq!(Key::parse(text.as_bytes()).unwrap().public, key.public);
        let other = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        for refused in [
            String::new(),
            pem("CERTIFICATE", b"x"),
            pem(PKCS8, b"x"),
            pem(PKCS8, other.to_pkcs8v1().unwrap().as_ref()),
            pem("ENCRYPTED PRIVATE KEY", pkcs8.as_ref()),
            pem(PKCS8, pkcs8.as_ref()).replace("-----END", "-----EN"),
        ] {
            assert!(Key::parse(refused.as_bytes()).is_err(), "{refused}");
        }
        assert!(Key::parse(&[0xff]).is_err());
    }

    #[test]
    fn identities_are_sixteen_bytes() {
        assert_eq!(identity(&"0a".repeat(16)), Ok([10; 16]));
        assert!(identity("0a").is_err() && identity(&"zz".repeat(16)).is_err());
    }
}
