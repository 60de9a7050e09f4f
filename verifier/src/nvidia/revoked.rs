//! Which certificates must be known not to be revoked, and what came that says
//! so: answers are tried on every certificate, since nothing outside them says
//! whose they are. The leaf of a device is nobody's to revoke, and roots are
//! pinned.

use std::collections::BTreeMap;

use crate::certificate::Certificate;
use crate::crypto::Crypto;
use crate::ledger::{CheckId, Ledger, sentence};
use crate::policy::CrlMode;
use crate::rejection::Rejection;

use super::device::AuthenticDevice;
use super::ocsp::check_ocsp;
use super::revocation::{Freshness, Good, RevocationFault, Subject, check_crl};
use super::rim::AuthenticRim;

/// Most answers that are looked at.
const MAX_ANSWERS: usize = 96;

/// What came about revocation, and how current it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answers<'a> {
    /// OCSP responses, DER.
    pub(crate) ocsp: &'a [Vec<u8>],
    /// Revocation lists, DER.
    pub(crate) crls: &'a [Vec<u8>],
    pub(crate) mode: CrlMode,
    pub(crate) freshness: Freshness,
    pub(crate) crypto: &'static dyn Crypto,
}

/// Why it isn't known that a certificate was not revoked.
enum Unknown {
    Missing,
    Fault(RevocationFault),
}

impl Answers<'_> {
    /// Records whether any certificate of a device was revoked.
    pub(crate) fn evaluate_devices(&self, devices: &[AuthenticDevice<'_, '_>], ledger: &mut Ledger) {
        // Devices share authorities: one certificate is asked about once.
        let mut subjects = BTreeMap::new();
        for (index, device) in devices.iter().enumerate() {
            for certificate in device.revocable() {
                subjects
                    .entry((&certificate.issuer_spki, &certificate.serial))
                    .or_insert((index, certificate));
            }
        }
        let asked = subjects.values().map(|(device, certificate)| {
            let name = sentence(format_args!("device {device}, certificate {}", certificate.index));
            (name, certificate.subject())
        });
        self.evaluate(CheckId::GpuRevocation, asked, ledger);
    }

    /// Records whether any certificate of a manifest was revoked.
    pub(crate) fn evaluate_rims(&self, rims: &[AuthenticRim], ledger: &mut Ledger) {
        let chains: Vec<Vec<Certificate<'_>>> = rims
            .iter()
            .map(|rim| {
                // INVARIANT: they were read before, when the manifest was authenticated.
                rim.certificates()
                    .iter()
                    .filter_map(|der| Certificate::parse(der).ok())
                    .collect()
            })
            .collect();
        let mut subjects = BTreeMap::new();
        for (manifest, chain) in chains.iter().enumerate() {
            for (place, pair) in chain.windows(2).enumerate() {
                if let [certificate, issuer] = pair {
                    subjects
                        .entry((issuer.spki, certificate.serial))
                        .or_insert_with(|| (manifest, place, Subject::new(certificate, issuer)));
                }
            }
        }
        let asked = subjects.into_values().map(|(manifest, place, subject)| {
            let name = sentence(format_args!("manifest {manifest}, certificate {place}"));
            (name, subject)
        });
        self.evaluate(CheckId::RimRevocation, asked, ledger);
    }

    fn evaluate<'s>(
        &self,
        id: CheckId,
        asked: impl Iterator<Item = (String, Result<Subject<'s>, RevocationFault>)>,
        ledger: &mut Ledger,
    ) {
        if self.mode == CrlMode::Off {
            ledger.skip(id, "the policy says revocation = \"off\"");
            return;
        }
        let (mut count, mut earliest, mut overlooked) = (0_usize, None, None);
        for (name, subject) in asked {
            count += 1;
            match subject
                .map_err(Unknown::Fault)
                .and_then(|subject| self.ask(&subject))
            {
                Ok(good) => {
                    let until = good.until();
                    earliest =
                        Some(earliest.map_or(until, |other: bastide_attestation::UnixTime| other.min(until)));
                }
                Err(unknown) => {
                    let (rejection, got) = match &unknown {
                        Unknown::Missing => (Rejection::GpuRevocationMissing, "no answer".to_owned()),
                        Unknown::Fault(fault) => (rejection_of(fault), fault.to_string()),
                    };
                    let got = sentence(format_args!("{name}: {got}"));
                    let may_lack = matches!(
                        rejection,
                        Rejection::GpuRevocationMissing | Rejection::GpuRevocationStale
                    );
                    if self.mode == CrlMode::Soft && may_lack {
                        overlooked.get_or_insert(got);
                        continue;
                    }
                    let _ = ledger.fail(id, rejection, id.expected(), got);
                    return;
                }
            }
        }
        match (overlooked, earliest) {
            (Some(got), _) => {
                ledger.skip(
                    id,
                    sentence(format_args!("{got}; the policy says revocation = \"soft\"")),
                );
            }
            (None, Some(until)) => {
                ledger.pass(
                    id,
                    sentence(format_args!("{count} certificate(s), answers hold until {until}")),
                );
            }
            (None, None) => ledger.skip(id, "no certificate to ask about"),
        }
    }

    /// What the answers say of one certificate: that it was revoked counts
    /// whatever else does, then that it was not.
    fn ask(&self, subject: &Subject<'_>) -> Result<Good, Unknown> {
        let ocsp = self.ocsp.iter().take(MAX_ANSWERS);
        let crls = self.crls.iter().take(MAX_ANSWERS);
        let answers = ocsp
            .map(|der| check_ocsp(der, subject, self.crypto, &self.freshness))
            .chain(crls.map(|der| check_crl(der, subject, self.crypto, &self.freshness)));
        let (mut good, mut fault) = (None, None);
        for answer in answers {
            match answer {
                Ok(answer) => {
                    good.get_or_insert(answer);
                }
                Err(RevocationFault::CertIdMismatch(_)) => {}
                Err(revoked @ (RevocationFault::Revoked { .. } | RevocationFault::OnHold { .. })) => {
                    return Err(Unknown::Fault(revoked));
                }
                Err(other) => {
                    fault.get_or_insert(other);
                }
            }
        }
        good.ok_or_else(|| fault.map_or(Unknown::Missing, Unknown::Fault))
    }
}

const fn rejection_of(fault: &RevocationFault) -> Rejection {
    match fault {
        RevocationFault::Malformed(_) => Rejection::GpuRevocationMalformed,
        // Whoever asks once more may get an answer.
        RevocationFault::Unsuccessful(_) | RevocationFault::Unknown | RevocationFault::CertIdMismatch(_) => {
            Rejection::GpuRevocationMissing
        }
        RevocationFault::ResponderNotDelegated(_) | RevocationFault::Signature => {
            Rejection::GpuRevocationSignature
        }
        RevocationFault::NotYetValid { .. } | RevocationFault::Stale { .. } => Rejection::GpuRevocationStale,
        RevocationFault::Revoked { .. } => Rejection::GpuRevoked,
        RevocationFault::OnHold { .. } => Rejection::GpuOnHold,
    }
}
