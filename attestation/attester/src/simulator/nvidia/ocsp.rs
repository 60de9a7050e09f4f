//! Answers about one certificate each, as NVIDIA's OCSP responders sign them
//! \[RFC 6960 §4.2.1\]: by a responder that the certificate's issuer delegated,
//! named by its key, for a day.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::error::Unspecified;
use bastide_attestation::{UnixTime, sha384};
use der::asn1::ObjectIdentifier;

use super::certificate::{Purpose, issue, named};
use super::roots::Authority;
use super::signer::Signer;
use crate::simulator::asn1::{
    enumerated, explicit, generalized_time, implicit, octet_string, oid, sequence, unsigned,
};
use crate::simulator::certificate::Validity;

const OCSP_BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const ID_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SUCCESSFUL: u8 = 0;
const KEY_COMPROMISE: u8 = 1;
const DAY: u64 = 86_400;
/// An answer is as old as that when it is given: clocks differ.
const AGE: u64 = 60;

/// A responder, and the authority that delegated it.
pub(super) struct Responder {
    authority: Authority,
    issuer: Signer,
    signer: Signer,
    certificate: Vec<u8>,
}

impl Responder {
    /// A responder with a new key.
    pub(super) fn new(authority: Authority) -> Result<Self, Unspecified> {
        let issuer = authority.signer()?;
        let signer = Signer::generate(named(&format!("NVIDIA OCSP Responder for {authority:?}")))?;
        let [first, rest @ ..] = authority.serial();
        // Far from the serial numbers of authorities.
        let serial = [&[first | 0x20], rest.as_slice()].concat();
        let validity = Validity::AUTHORITY;
        let certificate = issue(&issuer, &signer, &serial, validity, &Purpose::OcspResponder)?;
        Ok(Self {
            authority,
            issuer,
            signer,
            certificate,
        })
    }

    /// For whose certificates it answers.
    pub(super) const fn authority(&self) -> Authority {
        self.authority
    }

    /// That the authority's certificate with this serial number is good, or
    /// was revoked an hour before `now`.
    pub(super) fn answer(&self, serial: &[u8], revoked: bool, now: UnixTime) -> Result<Vec<u8>, Unspecified> {
        let at = |seconds: u64| generalized_time(UnixTime::from_secs(seconds));
        let produced = now.as_secs().saturating_sub(AGE);
        let certificate_id = sequence(&[
            &sequence(&[&oid(ID_SHA384)]),
            &octet_string(&sha384(&[&self.issuer.name])),
            &octet_string(&sha384(&[self.issuer.point()])),
            &unsigned(serial),
        ]);
        let status = if revoked {
            let since = at(now.as_secs().saturating_sub(3_600));
            let reason = explicit(0, &enumerated(KEY_COMPROMISE));
            explicit(1, &[since, reason].concat())
        } else {
            implicit(0, &[])
        };
        let single = sequence(&[
            &certificate_id,
            &status,
            &at(produced),
            &explicit(0, &at(produced.saturating_add(DAY))),
        ]);
        let key_hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.signer.point());
        let data = sequence(&[
            &explicit(2, &octet_string(key_hash.as_ref())),
            &at(produced),
            &sequence(&[&single]),
        ]);
        let certificates = explicit(0, &sequence(&[&self.certificate]));
        let basic = self.signer.sign_structure(&data, &certificates)?;
        let bytes = sequence(&[&oid(OCSP_BASIC), &octet_string(&basic)]);
        Ok(sequence(&[&enumerated(SUCCESSFUL), &explicit(0, &bytes)]))
    }
}
