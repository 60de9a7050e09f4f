//! Chunked encapsulation (draft-ietf-ohai-chunked-ohttp) without I/O: a request
//! sealed and opened whole, an answer sealed and opened chunk by chunk. The last
//! chunk's additional data says `final`: without it nothing is whole.

use aws_lc_rs::digest;
use bastide_attestation::sealed::{
    Aead, Framed, KeyConfig, MAX_CHUNK_BYTES, RequestHeader, SealedFormatError, Unframer, frame, frame_last,
};
use zeroize::Zeroizing;

use super::hpke::{ChunkKey, Context, Failed, ReceiverKey, expand, extract};
use crate::provider::fill_random;

const REQUEST_LABEL: &[u8] = b"message/bhttp chunked request";
const RESPONSE_LABEL: &[u8] = b"message/bhttp chunked response";
const FINAL: &[u8] = b"final";
/// The longest of what an AEAD here needs: ChaCha20-Poly1305's key.
const MAX_ENTROPY: usize = 32;

/// Why sealed bytes could not be opened. No content is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The bytes are not in the format.
    #[error(transparent)]
    Format(#[from] SealedFormatError),
    /// The key that the request names is not this enclave's, or no longer.
    #[error("no key with this identifier; ask for the key configuration again")]
    UnknownKey,
    /// A chunk is not what the other end sealed, or not in its place.
    #[error("a chunk could not be opened: it was changed, moved, or sealed for another key")]
    Seal,
    /// More content than is allowed.
    #[error("at most {limit} bytes of content are allowed")]
    TooLarge {
        /// The most that may come, bytes.
        limit: usize,
    },
}

impl From<Failed> for OpenError {
    fn from(Failed: Failed) -> Self {
        Self::Seal
    }
}

/// How many random bytes an answer begins with: max(Nn, Nk).
const fn entropy(aead: Aead) -> usize {
    match aead {
        Aead::Aes128Gcm => 16,
        Aead::ChaCha20Poly1305 => MAX_ENTROPY,
    }
}

fn info(header: &RequestHeader) -> Vec<u8> {
    [REQUEST_LABEL, &[0], &header.encode()].concat()
}

/// What the keys of an answer are made of, on either end.
struct AnswerSecret {
    aead: Aead,
    secret: Zeroizing<Vec<u8>>,
    encapsulated: Vec<u8>,
}

impl AnswerSecret {
    fn new(context: &Context, header: &RequestHeader, encapsulated: &[u8]) -> Self {
        let mut secret = Zeroizing::new(vec![0; entropy(header.aead)]);
        context.export(RESPONSE_LABEL, &mut secret);
        Self {
            aead: header.aead,
            secret,
            encapsulated: encapsulated.to_vec(),
        }
    }

    fn key(&self, nonce: &[u8]) -> Result<ChunkKey, Failed> {
        let prk = extract(&[&self.encapsulated, nonce].concat(), &self.secret);
        let mut key = Zeroizing::new(vec![0; self.aead.key_bytes()]);
        expand(&prk, &[b"key"], &mut key);
        let mut base = [0; 12];
        expand(&prk, &[b"nonce"], &mut base);
        ChunkKey::new(self.aead, &key, base)
    }
}

/// SHA-256 of an encapsulated key: what a request is known by.
pub(super) fn digest_of(encapsulated: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let hash = digest::digest(&digest::SHA256, encapsulated);
    out.iter_mut()
        .zip(hash.as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}

/// A sealed request, and what opens its answer.
pub(super) struct Sealed {
    /// The encapsulated request.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of its encapsulated key.
    pub(super) id: [u8; 32],
    /// Opens the answer.
    pub(super) answer: AnswerOpener,
}

/// Seals a request for the first AEAD that a key configuration names.
pub(super) fn seal(config: &KeyConfig, request: &[u8]) -> Result<Sealed, Failed> {
    let aead = *config.aeads.first().ok_or(Failed)?;
    let header = RequestHeader {
        key: config.id,
        kem: config.kem,
        aead,
    };
    let (mut context, encapsulated) = Context::sender(&header, &config.public_key, &info(&header))?;
    let mut bytes = [&header.encode()[..], &encapsulated].concat();
    let mut chunks = request.chunks(MAX_CHUNK_BYTES).peekable();
    loop {
        // Ciphertext takes the place of what it was made of.
        let mut chunk = chunks.next().unwrap_or_default().to_vec();
        if chunks.peek().is_none() {
            context.chunks.seal(FINAL, &mut chunk)?;
            bytes.extend_from_slice(&frame_last(&chunk));
            break;
        }
        context.chunks.seal(b"", &mut chunk)?;
        bytes.extend_from_slice(&frame(&chunk));
    }
    Ok(Sealed {
        bytes,
        id: digest_of(&encapsulated),
        answer: AnswerOpener {
            secret: AnswerSecret::new(&context, &header, &encapsulated),
            nonce: Vec::new(),
            key: None,
            unframer: Unframer::new(),
        },
    })
}

/// A request that was opened, and what seals its answer.
#[derive(Debug)]
pub struct Opened {
    /// SHA-256 of the encapsulated key. A request that comes with one that came
    /// before is a replay.
    pub id: [u8; 32],
    /// Binary HTTP. Zeroed when dropped.
    pub request: Zeroizing<Vec<u8>>,
    /// Seals the answer.
    pub answer: AnswerSealer,
}

/// Opens a request with the key that `key` finds, if it holds at most `limit`
/// bytes of content.
pub(super) fn open<'a>(
    bytes: &[u8],
    limit: usize,
    key: impl FnOnce(&RequestHeader) -> Option<&'a ReceiverKey>,
) -> Result<Opened, OpenError> {
    let (header, encapsulated, chunks) = RequestHeader::split(bytes)?;
    let key = key(&header).ok_or(OpenError::UnknownKey)?;
    let mut context = Context::receiver(&header, key, encapsulated, &info(&header))?;
    // Never grown, so that no copy of it stays behind.
    let mut request = Zeroizing::new(Vec::with_capacity(limit.min(chunks.len())));
    let mut unframer = Unframer::new();
    unframer.push(chunks);
    let mut take = |chunk: &[u8]| {
        if chunk.len() > limit.saturating_sub(request.len()) {
            return Err(OpenError::TooLarge { limit });
        }
        request.extend_from_slice(chunk);
        Ok(())
    };
    while let Framed::Chunk(chunk) = unframer.next_chunk()? {
        take(&context.chunks.open(b"", chunk)?)?;
    }
    take(&context.chunks.open(FINAL, unframer.finish()?)?)?;
    let answer = AnswerSealer::new(&AnswerSecret::new(&context, &header, encapsulated))?;
    Ok(Opened {
        id: digest_of(encapsulated),
        request,
        answer,
    })
}

/// Seals one answer, chunk by chunk.
pub struct AnswerSealer {
    nonce: Vec<u8>,
    key: ChunkKey,
}

impl core::fmt::Debug for AnswerSealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AnswerSealer(..)")
    }
}

impl AnswerSealer {
    fn new(secret: &AnswerSecret) -> Result<Self, Failed> {
        let mut nonce = vec![0; entropy(secret.aead)];
        fill_random(&mut nonce).map_err(|_| Failed)?;
        Ok(Self {
            key: secret.key(&nonce)?,
            nonce,
        })
    }

    /// What the answer begins with.
    #[must_use]
    pub fn begin(&self) -> &[u8] {
        &self.nonce
    }

    /// Some content; as many chunks as it needs. Nothing for no content.
    ///
    /// # Errors
    /// [`OpenError::Seal`] if it could not be sealed; the answer must then be cut.
    pub fn content(&mut self, content: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut sealed = Vec::new();
        for chunk in content.chunks(MAX_CHUNK_BYTES) {
            let mut chunk = chunk.to_vec();
            self.key.seal(b"", &mut chunk)?;
            sealed.extend_from_slice(&frame(&chunk));
        }
        Ok(sealed)
    }

    /// The last content, of at most 16 KiB, marked as such.
    ///
    /// # Errors
    /// [`OpenError::Seal`] if it could not be sealed; the answer must then be cut.
    pub fn finish(mut self, content: &[u8]) -> Result<Vec<u8>, OpenError> {
        if content.len() > MAX_CHUNK_BYTES {
            return Err(SealedFormatError::ChunkTooLarge.into());
        }
        let mut chunk = content.to_vec();
        self.key.seal(FINAL, &mut chunk)?;
        Ok(frame_last(&chunk))
    }
}

/// Opens one answer as its bytes come.
pub(super) struct AnswerOpener {
    secret: AnswerSecret,
    nonce: Vec<u8>,
    key: Option<ChunkKey>,
    unframer: Unframer,
}

impl AnswerOpener {
    /// Takes bytes and gives the content of the chunks that are complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut content = Zeroizing::new(Vec::new());
        if self.key.is_none() {
            let wanted = entropy(self.secret.aead).saturating_sub(self.nonce.len());
            let (nonce, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            self.nonce.extend_from_slice(nonce);
            bytes = rest;
            if self.nonce.len() < entropy(self.secret.aead) {
                return Ok(content);
            }
            self.key = Some(self.secret.key(&self.nonce)?);
        }
        self.unframer.push(bytes);
        if let Some(key) = &mut self.key {
            while let Framed::Chunk(chunk) = self.unframer.next_chunk()? {
                content.extend_from_slice(&key.open(b"", chunk)?);
            }
        }
        Ok(content)
    }

    /// The bytes have ended: the content of the final chunk.
    pub(super) fn finish(self) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut key = self.key.ok_or(SealedFormatError::Truncated)?;
        Ok(key.open(FINAL, self.unframer.finish()?)?)
    }
}
