//! Keys that people sign policies and results with: Ed25519 in PKCS#8 PEM as
//! `openssl genpkey` writes it, and public keys as hex or PEM. Secret bytes are
//! wiped when done with, never printed, and written for their owner only.

use std::path::Path;

use bastide_attestation::{KeyThumbprint, ed25519_thumbprint};
use bastide_verifier::PolicySigner;
use der::pem::{self, LineEnding};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::file;

const MAX_KEY_BYTES: usize = 16 * 1024;
const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// PKCS#8 v1 of an Ed25519 seed, up to the seed \[RFC 8410 §7\].
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// SubjectPublicKeyInfo of an Ed25519 key, up to the key \[RFC 8410 §4\].
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A secret key.
pub(crate) struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// Makes one, and its PEM.
    ///
    /// # Errors
    /// [`Fault`] if the machine gives no random numbers.
    pub(crate) fn generate() -> Result<(Self, Zeroizing<String>), Fault> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(seed.as_mut_slice())
            .map_err(|_| Fault::internal("this machine gives no random numbers"))?;
        let der = Zeroizing::new([PKCS8_PREFIX.as_slice(), seed.as_slice()].concat());
        let pem = pem::encode_string(PRIVATE_LABEL, LineEnding::LF, &der)
            .map_err(|error| Fault::internal(format!("no PEM: {error}")))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|_| Fault::internal("the new key is unusable"))?;
        Ok((Self(pair), Zeroizing::new(pem)))
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Fault`] of usage if the file can't be read, of malformed input if it
    /// is no Ed25519 key in PKCS#8 PEM.
    pub(crate) fn read(path: &Path) -> Result<Self, Fault> {
        let text = Zeroizing::new(file::read(path, MAX_KEY_BYTES)?);
        let wrong = || {
            Fault::malformed(
                "key.malformed",
                format!(
                    "`{}` is no Ed25519 secret key in PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`, not encrypted)",
                    path.display()
                ),
            )
            .with_remedy("make one with `bastide key new`, or with `openssl genpkey -algorithm ed25519`")
        };
        let (label, der) = pem::decode_vec(&text).map_err(|_| wrong())?;
        let der = Zeroizing::new(der);
        if label != PRIVATE_LABEL {
            return Err(wrong());
        }
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(Self)
            .map_err(|_| wrong())
    }

    /// Its public key.
    pub(crate) fn public(&self) -> PolicySigner {
        let mut bytes = [0; 32];
        // An Ed25519 public key has 32 bytes.
        bytes
            .iter_mut()
            .zip(self.0.public_key().as_ref())
            .for_each(|(to, from)| *to = *from);
        PolicySigner::new(bytes)
    }

    /// Signs.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<[u8; 64]> {
        self.0.sign(message).as_ref().try_into().ok()
    }
}

/// The COSE thumbprint by which results and receipts name a key.
pub(crate) fn id(key: &PolicySigner) -> KeyThumbprint {
    ed25519_thumbprint(key.as_bytes())
}

/// Public keys that somebody named: one in hex, or a file of them.
///
/// # Errors
/// [`Fault`] of usage if it is neither hex nor a file that can be read, of
/// malformed input if the file has no key in it.
pub(crate) fn public_keys(named: &str) -> Result<Vec<PolicySigner>, Fault> {
    if let Ok(key) = named.parse() {
        return Ok(vec![key]);
    }
    let path = Path::new(named);
    if !path.exists() {
        return Err(Fault::usage(
            "key.not_found",
            format!("`{named}` is neither a public key of 64 lower-case hexadecimal digits nor a file"),
        )
        .with_remedy("`bastide key show FILE` prints the public key of a key file"));
    }
    let bytes = Zeroizing::new(file::read(path, MAX_KEY_BYTES)?);
    let wrong = |line: Option<usize>| {
        let place = line.map_or_else(String::new, |line| format!(", line {line}"));
        Fault::malformed(
            "key.malformed",
            format!(
                "`{}`{place}: expected Ed25519 public keys, one a line in 64 lower-case hexadecimal digits, or one `-----BEGIN PUBLIC KEY-----`",
                path.display()
            ),
        )
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(None))?;
    if text.contains("-----BEGIN ") {
        return public_pem(text).map(|key| vec![key]).ok_or_else(|| wrong(None));
    }
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            keys.push(line.parse().map_err(|_| wrong(Some(index + 1)))?);
        }
    }
    if keys.is_empty() {
        return Err(wrong(None));
    }
    Ok(keys)
}

fn public_pem(text: &str) -> Option<PolicySigner> {
    let (label, der) = pem::decode_vec(text.as_bytes()).ok()?;
    let key = der.strip_prefix(&SPKI_PREFIX)?;
    (label == PUBLIC_LABEL)
        .then(|| key.try_into().ok().map(PolicySigner::new))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_and_signs_as_its_public_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let (key, pem) = SigningKey::generate().unwrap();
        std::fs::write(&path, pem.as_bytes()).unwrap();
        let read = SigningKey::read(&path).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(read.sign(b"x"), key.sign(b"x"));
        assert_ne!(SigningKey::generate().unwrap().0.public(), key.public());
        assert!(!format!("{key:?}").contains(pem.lines().nth(1).unwrap()));
    }

    #[test]
    fn keys_of_openssl_are_read() {
        // RFC 8032's first test key, as `openssl pkey` writes it.
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret.pem");
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        std::fs::write(&secret, pem).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(SigningKey::read(&secret).unwrap().public().to_string(), public);
        let file = folder.path().join("public.pem");
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        std::fs::write(&file, pem).unwrap();
        let read = public_keys(&file.display().to_string()).unwrap();
        assert_eq!(read, [public.parse().unwrap()]);
        assert_eq!(
            public_keys(&secret.display().to_string()).unwrap_err().code,
            "key.malformed"
        );
    }

    #[test]
    fn lists_of_public_keys_have_comments_and_name_a_wrong_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let (one, two) = ("ab".repeat(32), "cd".repeat(32));
        std::fs::write(&file, format!("# ours\n{one}  # alice\n\n{two}\n")).unwrap();
        let named = file.display().to_string();
        assert_eq!(public_keys(&named).unwrap().len(), 2);
        assert_eq!(public_keys(&one).unwrap().len(), 1);
        std::fs::write(&file, format!("{one}\nxyz\n")).unwrap();
        let fault = public_keys(&named).unwrap_err();
        assert!(fault.message.contains("line 2"), "{fault}");
        for bytes in [
            b"".as_slice(),
            b"# nothing\n",
            b"\xff\xfe",
            b"-----BEGIN PUBLIC KEY-----\n",
        ] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(public_keys(&named).unwrap_err().code, "key.malformed");
            assert_eq!(SigningKey::read(&file).unwrap_err().code, "key.malformed");
        }
        assert_eq!(public_keys("ABCD").unwrap_err().code, "key.not_found");
    }
}
