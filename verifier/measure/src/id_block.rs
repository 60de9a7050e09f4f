//! ID block and ID authentication information: how a guest's owner has the
//! security processor refuse another launch digest, and put the owner's keys
//! into every report \[SNP ABI 56860, SNP_LAUNCH_FINISH\]. Lays out bytes; keys
//! and signing are the caller's.

use bastide_attestation::{LaunchMeasurement, sha384};

use crate::page::PAGE_BYTES;

/// Bytes of an ID block.
pub const ID_BLOCK_BYTES: usize = 96;
/// Bytes of the ID authentication information: one page.
pub const ID_AUTH_BYTES: usize = PAGE_BYTES;
/// Bytes of a public key in AMD's form.
pub const PUBLIC_KEY_BYTES: usize = 0x404;
/// The guest policy that is usual where nothing else is wanted: SMT allowed,
/// no debugging, no migration agent.
pub const DEFAULT_GUEST_POLICY: u64 = 0x3_0000;

const VERSION: u32 = 1;
/// ECDSA P-384 with SHA-384 \[SNP ABI 56860, algorithm encodings\].
const ALGORITHM: u32 = 1;
/// P-384 \[SNP ABI 56860, curve encodings\].
const CURVE: u32 = 2;
/// A coordinate or half of a signature: little-endian, zeros above.
const SCALAR_BYTES: usize = 48;
const FIELD_BYTES: usize = 72;
const SIGNATURE_BYTES: usize = 0x200;
/// This bit of a guest policy must be one.
const POLICY_RESERVED_ONE: u64 = 1 << 17;

/// Why an ID block can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdBlockError {
    /// Not an uncompressed point of 384-bit coordinates.
    #[error(
        "an uncompressed P-384 point was expected, 97 bytes that begin with 04; got {got} bytes; make a key with \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384`"
    )]
    Key {
        /// Bytes that came.
        got: usize,
    },
    /// A guest policy that no launch can have.
    #[error(
        "guest policy {policy:#x} lacks bit 17, which must be one: expected for example {DEFAULT_GUEST_POLICY:#x}"
    )]
    Policy {
        /// What came.
        policy: u64,
    },
}

impl IdBlockError {
    /// Stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Key { .. } => "measure.id_block.key",
            Self::Policy { .. } => "measure.id_block.policy",
        }
    }
}

/// What an owner demands of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdBlock {
    measurement: LaunchMeasurement,
    family_id: [u8; 16],
    image_id: [u8; 16],
    guest_svn: u32,
    policy: u64,
}

impl IdBlock {
    /// For one launch digest and one guest policy, with identities and security
    /// version zero.
    ///
    /// # Errors
    /// [`IdBlockError::Policy`] if the firmware would refuse the policy whatever the launch.
    pub const fn new(measurement: LaunchMeasurement, policy: u64) -> Result<Self, IdBlockError> {
        if policy & POLICY_RESERVED_ONE == 0 {
            return Err(IdBlockError::Policy { policy });
        }
        Ok(Self {
            measurement,
            family_id: [0; 16],
            image_id: [0; 16],
            guest_svn: 0,
            policy,
        })
    }

    /// Names the family and the image; the firmware copies both into reports.
    #[must_use]
    pub const fn with_ids(mut self, family_id: [u8; 16], image_id: [u8; 16]) -> Self {
        self.family_id = family_id;
        self.image_id = image_id;
        self
    }

    /// Sets the owner's security version number; the firmware copies it into reports.
    #[must_use]
    pub const fn with_guest_svn(mut self, guest_svn: u32) -> Self {
        self.guest_svn = guest_svn;
        self
    }

    /// The 96 bytes that are signed.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ID_BLOCK_BYTES] {
        fixed(&[
            self.measurement.as_bytes(),
            &self.family_id,
            &self.image_id,
            &VERSION.to_le_bytes(),
            &self.guest_svn.to_le_bytes(),
            &self.policy.to_le_bytes(),
        ])
    }
}

/// A P-384 public key of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPublicKey {
    x: [u8; SCALAR_BYTES],
    y: [u8; SCALAR_BYTES],
}

impl IdPublicKey {
    /// Takes an uncompressed point \[SEC 1, 2.3.3\]. Whether it is on the curve
    /// is for whoever made the key to know.
    ///
    /// # Errors
    /// [`IdBlockError::Key`] if it isn't 04 and two coordinates of 48 bytes.
    pub fn from_point(point: &[u8]) -> Result<Self, IdBlockError> {
        let coordinates = match point {
            [4, coordinates @ ..] => coordinates.split_first_chunk::<SCALAR_BYTES>(),
            _ => None,
        };
        coordinates
            .and_then(|(x, y)| Some((*x, y.try_into().ok()?)))
            .map(|(x, y)| Self { x, y })
            .ok_or(IdBlockError::Key { got: point.len() })
    }

    /// AMD's form \[SNP ABI 56860, ECDSA public key\]: curve, both coordinates, zeros.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_BYTES] {
        fixed(&[&CURVE.to_le_bytes(), &field(&self.x), &field(&self.y)])
    }

    /// What reports have as ID_KEY_DIGEST or AUTHOR_KEY_DIGEST: SHA-384 of [`Self::to_bytes`].
    #[must_use]
    pub fn digest(&self) -> [u8; 48] {
        sha384(&[&self.to_bytes()])
    }
}

/// ECDSA with SHA-384 over a message, which gives r and s, big-endian, 48 bytes each.
pub type Sign<'s, E> = dyn FnMut(&[u8]) -> Result<[u8; 2 * SCALAR_BYTES], E> + 's;

/// A key that signs.
pub struct Signer<'s, E> {
    /// The public half.
    pub key: IdPublicKey,
    /// Signs a message.
    pub sign: &'s mut Sign<'s, E>,
}

impl<E> core::fmt::Debug for Signer<'_, E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signer")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<E> Signer<'_, E> {
    fn signature(&mut self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], E> {
        let signature = (self.sign)(message)?;
        let (r, s) = signature.split_at(SCALAR_BYTES);
        Ok(fixed(&[&field(r), &field(s)]))
    }
}

/// The ID authentication information for a block: the ID key's signature over
/// it and, if there is an author key, that key's signature over the ID key.
/// Without one, its fields are zero, and a launch must not enable it.
///
/// # Errors
/// Whatever signing gives.
pub fn id_authentication<E>(
    block: &IdBlock,
    mut id: Signer<'_, E>,
    author: Option<Signer<'_, E>>,
) -> Result<[u8; ID_AUTH_BYTES], E> {
    let id_key = id.key.to_bytes();
    let block_signature = id.signature(&block.to_bytes())?;
    let mut author_algorithm = [0; 4];
    let mut key_signature = [0; SIGNATURE_BYTES];
    let mut author_key = [0; PUBLIC_KEY_BYTES];
    if let Some(mut author) = author {
        author_algorithm = ALGORITHM.to_le_bytes();
        key_signature = author.signature(&id_key)?;
        author_key = author.key.to_bytes();
    }
    Ok(fixed(&[
        &ALGORITHM.to_le_bytes(),
        &author_algorithm,
        &[0; 0x040 - 0x008],
        &block_signature,
        &id_key,
        &[0; 0x680 - 0x644],
        &key_signature,
        &author_key,
    ]))
}

/// A big-endian number as AMD has it: little-endian, with zeros above.
fn field(big_endian: &[u8]) -> [u8; FIELD_BYTES] {
    let mut out = [0; FIELD_BYTES];
    out.iter_mut()
        .zip(big_endian.iter().rev())
        .for_each(|(to, from)| *to = *from);
    out
}

/// Parts one after another, and zeros to the end.
fn fixed<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let bytes = parts.iter().copied().flatten();
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;

    fn key(fill: u8) -> IdPublicKey {
        let mut point = [fill; 97];
        point[0] = 4;
        point[1] = 0xa0;
        point[49] = 0xb0;
        IdPublicKey::from_point(&point).unwrap()
    }

    #[test]
    fn an_id_block_has_every_field_at_its_offset() {
        let block = IdBlock::new(LaunchMeasurement::new([1; 48]), 0x3_0000).unwrap();
        let bytes = block
            .with_ids([2; 16], [3; 16])
            .with_guest_svn(0x0a0b_0c0d)
            .to_bytes();
        assert_eq!(bytes[..48], [1; 48]);
        assert_eq!(bytes[48..64], [2; 16]);
        assert_eq!(bytes[64..80], [3; 16]);
        assert_eq!(bytes[80..84], [1, 0, 0, 0]);
        assert_eq!(bytes[84..88], [0x0d, 0x0c, 0x0b, 0x0a]);
        assert_eq!(bytes[88..], [0, 0, 3, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_policy_that_no_launch_can_have_is_refused() {
        let error = IdBlock::new(LaunchMeasurement::new([1; 48]), 0x1_0000).unwrap_err();
        assert_eq!(error.code(), "measure.id_block.policy");
    }

    #[test]
    fn only_an_uncompressed_point_of_48_byte_coordinates_is_a_key() {
        for point in [
            vec![],
            vec![4],
            [vec![4], vec![1; 95]].concat(),
            [vec![4], vec![1; 97]].concat(),
            [vec![3], vec![1; 96]].concat(),
            // An uncompressed P-256 point.
            [vec![4], vec![1; 64]].concat(),
        ] {
            let error = IdPublicKey::from_point(&point).unwrap_err();
            assert_eq!(error, IdBlockError::Key { got: point.len() });
        }
    }

    #[test]
    fn a_public_key_is_little_endian_in_fields_of_72_bytes() {
        let bytes = key(7).to_bytes();
        assert_eq!(bytes[..4], [2, 0, 0, 0]);
        assert_eq!((bytes[4], bytes[4 + 47], bytes[4 + 48]), (7, 0xa0, 0));
        assert_eq!((bytes[76], bytes[76 + 47], bytes[76 + 48]), (7, 0xb0, 0));
        assert!(bytes[148..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn each_signature_is_over_what_it_vouches_for_and_at_its_offset() {
        let block = IdBlock::new(LaunchMeasurement::new([1; 48]), 0x3_0000).unwrap();
        let mut signed = Vec::new();
        let mut sign = |message: &[u8]| {
            signed.push(message.to_vec());
            let mut signature = [0x11; 96];
            signature[47] = 0x22;
            signature[95] = 0x33;
            Ok::<_, Infallible>(signature)
        };
        let mut vouch = |message: &[u8]| {
            assert_eq!(message, key(5).to_bytes());
            Ok::<_, Infallible>([0x44; 96])
        };
        let id = Signer {
            key: key(5),
            sign: &mut sign,
        };
        let author = Signer {
            key: key(6),
            sign: &mut vouch,
        };
        let Ok(auth) = id_authentication(&block, id, Some(author));
        assert_eq!(signed, [block.to_bytes()]);
        assert_eq!(auth[..8], [1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!((auth[0x40], auth[0x40 + 48], auth[0x40 + 72]), (0x22, 0, 0x33));
        assert_eq!(auth[0x240..0x644], key(5).to_bytes());
        assert_eq!((auth[0x680], auth[0x680 + 48]), (0x44, 0));
        assert_eq!(auth[0x880..0xc84], key(6).to_bytes());
        for reserved in [
            0x008..0x040,
            0x0d0..0x240,
            0x644..0x680,
            0x710..0x880,
            0xc84..0x1000,
        ] {
            assert!(
                auth[reserved.clone()].iter().all(|byte| *byte == 0),
                "{reserved:?}"
            );
        }
    }

    #[test]
    fn without_an_author_its_fields_are_zero() {
        let block = IdBlock::new(LaunchMeasurement::new([1; 48]), 0x3_0000).unwrap();
        let mut sign = |_: &[u8]| Ok::<_, Infallible>([0x11; 96]);
        let Ok(auth) = id_authentication(
            &block,
            Signer {
                key: key(5),
                sign: &mut sign,
            },
            None,
        );
        assert_eq!(auth[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(auth[0x680..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_failure_to_sign_is_passed_on() {
        let block = IdBlock::new(LaunchMeasurement::new([1; 48]), 0x3_0000).unwrap();
        let mut sign = |_: &[u8]| Err("no");
        let id = Signer {
            key: key(5),
            sign: &mut sign,
        };
        assert_eq!(id_authentication(&block, id, None), Err("no"));
    }
}
