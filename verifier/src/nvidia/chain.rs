//! From the five certificates of a device to the pinned root: what each must
//! be, and that the next one's key signed it. Starts at the root, so that
//! nothing is verified with a key that isn't trusted yet.

use bastide_attestation::UnixTime;
use bastide_attestation::nvidia::Family;

use crate::anchors::Pin;
use crate::certificate::{Certificate, KEY_USAGE, PublicKey};
use crate::crypto::Crypto;
use crate::ecdsa::{fixed_width, require_ecdsa_sha384};
use crate::memo::{Digests, Memo};

use super::anchors::DeviceAnchor;
use super::fault::DeviceFault;
use super::names::family_of;
use super::revocation::{RevocationFault, Subject};

/// Certificates of a chain: leaf, the device's boot ROM, provisioner, family, root.
pub(super) const CHAIN_LENGTH: usize = 5;
/// Those above it are shared by many devices, and so worth remembering.
const BOOT_ROM: usize = 1;
const ROOT: usize = CHAIN_LENGTH - 1;
/// Most bytes of a serial number \[RFC 5280 §4.1.2.2\].
const MAX_SERIAL_BYTES: usize = 20;

/// KeyUsage with digitalSignature alone.
const DIGITAL_SIGNATURE: &[u8] = &[0x03, 0x02, 0x07, 0x80];
/// KeyUsage with keyCertSign alone.
const CERT_SIGN: &[u8] = &[0x03, 0x02, 0x02, 0x04];
/// KeyUsage with keyCertSign and cRLSign.
const CERT_AND_CRL_SIGN: &[u8] = &[0x03, 0x02, 0x01, 0x06];

/// What devices are authenticated against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeviceTrust<'t> {
    /// Roots that are relied on.
    pub(crate) anchors: &'t [DeviceAnchor],
    /// Signature verification.
    pub(crate) crypto: &'t dyn Crypto,
    /// The time of the appraisal.
    pub(crate) now: UnixTime,
    /// Signatures of authorities that were verified before.
    pub(crate) memo: &'t Memo,
}

/// A certificate of an authentic device's chain, and its issuer, as revocation
/// lists and responders need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainCertificate {
    /// Its place in the chain; the leaf is 0.
    pub(crate) index: usize,
    /// The whole certificate.
    pub(crate) der: Vec<u8>,
    /// Its serial number, without leading zeros.
    pub(crate) serial: Vec<u8>,
    /// The issuer's name, with its header.
    pub(crate) issuer_name: Vec<u8>,
    /// The issuer's SubjectPublicKeyInfo, with its header.
    pub(crate) issuer_spki: Vec<u8>,
    /// The issuer's key: an uncompressed point on P-384.
    pub(crate) issuer_point: Vec<u8>,
}

impl ChainCertificate {
    /// What is asked about it.
    pub(crate) fn subject(&self) -> Result<Subject<'_>, RevocationFault> {
        Subject::of_parts(&self.der, &self.issuer_name, &self.issuer_point)
    }
}

/// A chain that ends in a pin, every signature verified.
#[derive(Debug)]
pub(crate) struct Chain<'t, 'c> {
    pub(crate) anchor: &'t DeviceAnchor,
    pub(crate) family: Family,
    certificates: [Link<'c>; CHAIN_LENGTH],
}

impl<'c> Chain<'_, 'c> {
    pub(crate) const fn leaf(&self) -> &Link<'c> {
        let [leaf, ..] = &self.certificates;
        leaf
    }

    pub(super) const fn boot_rom(&self) -> &Link<'c> {
        let [_, boot_rom, ..] = &self.certificates;
        boot_rom
    }

    /// Certificates 1 to 3: what NVIDIA can revoke. Nobody answers for the
    /// leaf, which the device itself issues, and the root is pinned.
    pub(crate) fn revocable(&self) -> [ChainCertificate; 3] {
        let [_, boot_rom, provisioner, family, root] = &self.certificates;
        [
            (1, boot_rom, provisioner),
            (2, provisioner, family),
            (3, family, root),
        ]
        .map(|(index, subject, issuer)| ChainCertificate {
            index,
            der: subject.certificate.der.to_vec(),
            serial: subject.certificate.serial.to_vec(),
            issuer_name: issuer.certificate.subject.to_vec(),
            issuer_spki: issuer.certificate.spki.to_vec(),
            issuer_point: issuer.point.to_vec(),
        })
    }
}

/// A certificate with the key it is for.
#[derive(Debug)]
pub(crate) struct Link<'c> {
    pub(crate) certificate: Certificate<'c>,
    /// Uncompressed point on P-384.
    pub(crate) point: &'c [u8],
}

/// Verifies five certificates, leaf first.
pub(crate) fn verify_chain<'t, 'c>(
    ders: &'c [Vec<u8>],
    trust: &DeviceTrust<'t>,
) -> Result<Chain<'t, 'c>, DeviceFault> {
    let got = ders.len();
    let length = DeviceFault::ChainLength { got };
    if got != CHAIN_LENGTH {
        return Err(length);
    }
    let certificates: [Link<'c>; CHAIN_LENGTH] = ders
        .iter()
        .enumerate()
        .map(|(index, der)| read(index, der))
        .collect::<Result<Vec<_>, _>>()?
        .try_into()
        .map_err(|_| length)?;

    let [.., root] = &certificates;
    let digests = trust.memo.digests_of(&root.certificate);
    let anchor = trust
        .anchors
        .iter()
        .find(|anchor| is_pinned(&anchor.root, &digests))
        .ok_or(DeviceFault::RootNotPinned { spki: digests.spki })?;
    let family = family_of(certificates.each_ref().map(|link| link.certificate.subject))?;

    // The root's issuer is itself.
    let issuers = certificates.iter().skip(1).chain([root]);
    let mut links: Vec<_> = certificates.iter().zip(issuers).enumerate().collect();
    links.reverse();
    for (index, (subject, issuer)) in links {
        require_fit(index, &subject.certificate, &issuer.certificate, trust.now)?;
        require_signed(index, subject, issuer, trust)?;
    }
    Ok(Chain {
        anchor,
        family,
        certificates,
    })
}

fn is_pinned(pin: &Pin, digests: &Digests) -> bool {
    digests.spki == pin.spki && pin.certificate.is_none_or(|pinned| pinned == digests.certificate)
}

fn read(index: usize, der: &[u8]) -> Result<Link<'_>, DeviceFault> {
    let malformed = |expected: &'static str| DeviceFault::Certificate { index, expected };
    let certificate = Certificate::parse(der).map_err(|fault| match fault.0 {
        expected if expected.ends_with("without unused bits") => {
            DeviceFault::BitStringUnusedBits { index, expected }
        }
        expected => malformed(expected),
    })?;
    if certificate.duplicate_extension {
        return Err(malformed("no extension twice"));
    }
    if !(1..=MAX_SERIAL_BYTES).contains(&certificate.serial.len()) {
        return Err(malformed("a serial number of 1 to 20 bytes"));
    }
    let algorithm = |expected| DeviceFault::CertificateAlgorithm { index, expected };
    require_ecdsa_sha384(certificate.algorithm).map_err(|fault| algorithm(fault.0))?;
    let PublicKey::P384(point) = certificate.key else {
        return Err(algorithm("an uncompressed key on P-384"));
    };
    Ok(Link { certificate, point })
}

/// What a certificate must be at its place, short of its signature.
fn require_fit(
    index: usize,
    certificate: &Certificate<'_>,
    issuer: &Certificate<'_>,
    now: UnixTime,
) -> Result<(), DeviceFault> {
    if certificate.issuer != issuer.subject {
        return Err(DeviceFault::ChainIssuer { index });
    }
    let usages: (&[&[u8]], _) = match index {
        0 => (&[DIGITAL_SIGNATURE], "keyUsage with digitalSignature alone"),
        _ => (
            &[CERT_SIGN, CERT_AND_CRL_SIGN],
            "keyUsage with keyCertSign, and with cRLSign at most",
        ),
    };
    let usage = certificate.extension(KEY_USAGE).map(|extension| extension.value);
    if !usage.is_some_and(|usage| usages.0.contains(&usage)) {
        let expected = usages.1;
        return Err(DeviceFault::KeyUsage { index, expected });
    }
    match index {
        0 => certificate.require_end_entity(),
        _ => certificate.require_authority(),
    }
    .map_err(|fault| DeviceFault::NotAuthority {
        index,
        expected: fault.0,
    })?;
    require_path_length(index, certificate)?;
    if !certificate.is_valid_at(now) {
        return Err(DeviceFault::CertificateTime {
            index,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            now,
        });
    }
    Ok(())
}

/// Below certificate `index` there are `index − 1` authorities. NVIDIA's
/// certificates set no limit; one that is set is kept to.
fn require_path_length(index: usize, certificate: &Certificate<'_>) -> Result<(), DeviceFault> {
    let allowed = certificate
        .path_length()
        .map_err(|fault| DeviceFault::NotAuthority {
            index,
            expected: fault.0,
        })?;
    let got = index.saturating_sub(1);
    match allowed {
        Some(allowed) if usize::from(allowed) < got => Err(DeviceFault::PathLength { index, allowed, got }),
        _ => Ok(()),
    }
}

fn require_signed(
    index: usize,
    subject: &Link<'_>,
    issuer: &Link<'_>,
    trust: &DeviceTrust<'_>,
) -> Result<(), DeviceFault> {
    let certificate = &subject.certificate;
    let issuer_spki = trust.memo.digests_of(&issuer.certificate).spki;
    // `der` contains what is signed and the signature, and so stands for both.
    if trust.memo.knows(&issuer_spki, certificate.der) {
        return Ok(());
    }
    let signature = fixed_width(certificate.signature).map_err(|fault| DeviceFault::Certificate {
        index,
        expected: fault.0,
    })?;
    if !trust
        .crypto
        .p384_sha384_verify(issuer.point, certificate.tbs, &signature)
    {
        return Err(DeviceFault::ChainSignature { index });
    }
    // A machine's own certificates would push out those that all share.
    if (BOOT_ROM + 1..=ROOT).contains(&index) {
        let digests = trust.memo.digests_of(certificate);
        trust.memo.remember(issuer_spki, certificate.der, Some(digests));
    }
    Ok(())
}
