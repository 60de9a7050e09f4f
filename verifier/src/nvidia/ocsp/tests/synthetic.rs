//! Responses and responders of a PKI made for the test, in every way they can be wrong.

use super::*;
use crate::nvidia::tests::pki::{self, Holder, Template, ecdsa_sha384, oid, time, tlv};
use proptest::prelude::*;

const NOW: u64 = 1_500_000_000;

/// A response that is right, and what may be wrong with it.
#[derive(Clone)]
struct Maker<'a> {
    issuer: &'a Holder,
    serial: u8,
    /// OID and digest of the CertID.
    hash: (&'static [u8], &'static Algorithm),
    status: Vec<u8>,
    this_update: u64,
    next_update: Option<u64>,
    produced: u64,
    extensions: Vec<u8>,
    /// Who signs, and the certificate that comes along.
    signer: &'a Holder,
    certificate: Option<Vec<u8>>,
    by_name: bool,
}

impl Maker<'_> {
    fn single(&self) -> Vec<u8> {
        let hash = |bytes: &[u8]| tlv(4, &[digest(self.hash.1, bytes).as_ref()]);
        let id = tlv(
            0x30,
            &[
                &tlv(0x30, &[&oid(self.hash.0), &[5, 0]]),
                &hash(&self.issuer.name),
                &hash(&self.issuer.point),
                &tlv(2, &[&[self.serial]]),
            ],
        );
        let next = self
            .next_update
            .map(|next| tlv(0xa0, &[&time(next)]))
            .unwrap_or_default();
        tlv(0x30, &[&id, &self.status, &time(self.this_update), &next])
    }

    fn make_of(&self, responses: &[u8]) -> Vec<u8> {
        let key = digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.signer.point);
        let responder = match self.by_name {
            true => tlv(0xa1, &[&self.signer.name]),
            false => tlv(0xa2, &[&tlv(4, &[key.as_ref()])]),
        };
        let tbs = tlv(
            0x30,
            &[
                &responder,
                &time(self.produced),
                &tlv(0x30, &[responses]),
                &self.extensions,
            ],
        );
        let certificates = self
            .certificate
            .as_ref()
            .map(|one| tlv(0xa0, &[&tlv(0x30, &[one])]));
        successful(
            &self
                .signer
                .sign_structure(&tbs, &certificates.unwrap_or_default()),
        )
    }

    fn make(&self) -> Vec<u8> {
        self.make_of(&self.single())
    }
}

fn successful(basic: &[u8]) -> Vec<u8> {
    let bytes = tlv(0x30, &[&oid(response::OCSP_BASIC), &tlv(4, &[basic])]);
    tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&bytes])])
}

/// Issuer, subject and responder of a test.
struct Pki {
    root: Holder,
    issuer: Holder,
    subject: Holder,
    responder: Holder,
    issuer_certificate: Vec<u8>,
    certificate: Vec<u8>,
}

const DELEGATED: Template<'static> = Template {
    serial: 9,
    purposes: &[pki::OCSP_SIGNING],
    no_check: true,
    validity: (NOW - DAY, NOW + DAY),
    ..Template::SIGNER
};

impl Pki {
    fn new() -> Self {
        let [root, issuer, subject, responder] =
            [(1, "Root"), (2, "Issuer"), (3, "Subject"), (4, "Responder")]
                .map(|(seed, name)| Holder::new(seed, name));
        let issuer_certificate = Template::AUTHORITY.issue(&issuer, &root);
        // A device's own CA: the subject that has most to gain.
        let certificate = Template {
            serial: 7,
            ..Template::AUTHORITY
        }
        .issue(&subject, &issuer);
        Self {
            root,
            issuer,
            subject,
            responder,
            issuer_certificate,
            certificate,
        }
    }

    fn maker(&self) -> Maker<'_> {
        Maker {
            issuer: &self.issuer,
            serial: 7,
            hash: (ID_SHA384, &SHA384),
            status: vec![0x80, 0],
            this_update: NOW - 60,
            next_update: Some(NOW + DAY - 60),
            produced: NOW - 60,
            extensions: Vec::new(),
            signer: &self.responder,
            certificate: Some(DELEGATED.issue(&self.responder, &self.issuer)),
            by_name: false,
        }
    }

    fn check(&self, response: &[u8]) -> Result<Good, RevocationFault> {
        check_der(response, &self.certificate, &self.issuer_certificate, NOW)
    }

    fn refused(&self, maker: &Maker<'_>) -> RevocationFault {
        self.check(&maker.make()).unwrap_err()
    }
}

#[test]
fn the_issuer_and_its_delegate_may_answer_by_name_or_key_with_any_known_digest() {
    let pki = Pki::new();
    for hash in [
        (ID_SHA1, &SHA1_FOR_LEGACY_USE_ONLY),
        (ID_SHA256, &SHA256),
        (ID_SHA384, &SHA384),
    ] {
        for by_name in [false, true] {
            let delegated = Maker {
                hash,
                by_name,
                ..pki.maker()
            };
            let itself = Maker {
                signer: &pki.issuer,
                certificate: None,
                ..delegated.clone()
            };
            assert!(pki.check(&delegated.make()).is_ok());
            assert!(pki.check(&itself.make()).is_ok());
        }
    }
    // As NVIDIA's device responders have it: nocheck among the purposes.
    let purposes: &[&[u8]] = &[pki::OCSP_SIGNING, pki::NO_CHECK];
    let template = Template {
        purposes,
        no_check: false,
        ..DELEGATED
    };
    let maker = Maker {
        certificate: Some(template.issue(&pki.responder, &pki.issuer)),
        ..pki.maker()
    };
    assert!(pki.check(&maker.make()).is_ok());
}

#[test]
fn an_answer_by_a_responder_of_another_time_is_old_and_what_it_revokes_stays_revoked() {
    let pki = Pki::new();
    let by = |validity| Maker {
        certificate: Some(
            Template {
                validity,
                ..DELEGATED
            }
            .issue(&pki.responder, &pki.issuer),
        ),
        ..pki.maker()
    };
    let since = UnixTime::from_secs(NOW - 1);
    assert_eq!(
        pki.refused(&by((NOW - DAY, NOW - 1))),
        RevocationFault::Stale { since }
    );
    let from = UnixTime::from_secs(NOW + 1);
    assert_eq!(
        pki.refused(&by((NOW + 1, NOW + DAY))),
        RevocationFault::NotYetValid { from }
    );
}

#[test]
fn a_responder_that_the_issuer_did_not_delegate_is_refused() {
    let pki = Pki::new();
    let not_delegated = |certificate: Vec<u8>, signer: &Holder, expected: &'static str| {
        let maker = Maker {
            certificate: Some(certificate),
            signer,
            ..pki.maker()
        };
        let fault = RevocationFault::ResponderNotDelegated(expected);
        assert_eq!(pki.refused(&maker), fault);
    };
    let (responder, issuer) = (&pki.responder, &pki.issuer);
    let wrong = |template: Template<'_>, expected| {
        not_delegated(template.issue(responder, issuer), responder, expected);
    };
    wrong(
        Template {
            purposes: &[],
            ..DELEGATED
        },
        "no extKeyUsage with OCSPSigning",
    );
    wrong(
        Template {
            purposes: &[pki::NO_CHECK],
            ..DELEGATED
        },
        "no extKeyUsage with OCSPSigning",
    );
    wrong(
        Template {
            no_check: false,
            ..DELEGATED
        },
        "no ocsp-nocheck",
    );
    wrong(
        Template {
            authority: Some(None),
            ..DELEGATED
        },
        "a certificate authority",
    );
    wrong(
        Template {
            usage: 0x06,
            ..DELEGATED
        },
        "no keyUsage with digitalSignature",
    );
    // Issued by the root, by the subject itself, and by nobody.
    not_delegated(DELEGATED.issue(responder, &pki.root), responder, "another issuer");
    not_delegated(
        DELEGATED.issue(responder, &pki.subject),
        responder,
        "another issuer",
    );
    let forged = Holder {
        name: issuer.name.clone(),
        ..pki.subject.clone()
    };
    not_delegated(
        DELEGATED.issue(responder, &forged),
        responder,
        "the issuer did not sign its certificate",
    );
    // The subject as its own responder, with its certificate or with one more.
    let itself = "it is the certificate itself";
    not_delegated(pki.certificate.clone(), &pki.subject, itself);
    not_delegated(DELEGATED.issue(&pki.subject, issuer), &pki.subject, itself);
    let alone = Maker {
        certificate: None,
        signer: &pki.subject,
        ..pki.maker()
    };
    let another = RevocationFault::ResponderNotDelegated("another responder is named");
    assert_eq!(pki.refused(&alone), another);
    // A delegate's certificate along with another's answer.
    let mixed = Maker {
        signer: &pki.root,
        ..pki.maker()
    };
    assert_eq!(pki.refused(&mixed), another);
    let forged = Holder {
        name: responder.name.clone(),
        ..pki.root.clone()
    };
    let mixed = Maker {
        signer: &forged,
        by_name: true,
        ..pki.maker()
    };
    assert_eq!(pki.refused(&mixed), RevocationFault::Signature);
}

#[test]
fn revoked_held_and_unknown_certificates_are_not_good() {
    let pki = Pki::new();
    let revoked = |reason: &[u8]| tlv(0xa1, &[&time(NOW - 99), reason]);
    let because = |reason| tlv(0xa0, &[&[0x0a, 1, reason]]);
    let at = UnixTime::from_secs(NOW - 99);
    for (status, expected) in [
        (revoked(&[]), RevocationFault::Revoked { reason: None, at }),
        (
            revoked(&because(1)),
            RevocationFault::Revoked { reason: Some(1), at },
        ),
        (revoked(&because(6)), RevocationFault::OnHold { at }),
        (vec![0x82, 0], RevocationFault::Unknown),
    ] {
        let maker = Maker {
            status,
            ..pki.maker()
        };
        assert_eq!(pki.refused(&maker), expected);
        // Stale or not.
        let stale = Maker {
            next_update: Some(NOW - 1),
            ..maker
        };
        assert_eq!(pki.refused(&stale), expected);
    }
    for status in [
        revoked(&because(7)),
        revoked(&because(11)),
        vec![0x80, 1, 0],
        vec![0xa0, 0],
        vec![0x83, 0],
    ] {
        let maker = Maker {
            status,
            ..pki.maker()
        };
        assert!(matches!(pki.refused(&maker), RevocationFault::Malformed(_)));
    }
}

#[test]
fn an_answer_holds_between_its_times_and_never_longer_than_allowed() {
    let pki = Pki::new();
    let stale = |since| RevocationFault::Stale {
        since: UnixTime::from_secs(since),
    };
    let early = |from| RevocationFault::NotYetValid {
        from: UnixTime::from_secs(from),
    };
    let maker = |this_update, next_update| Maker {
        this_update,
        produced: this_update,
        next_update,
        ..pki.maker()
    };
    assert_eq!(pki.refused(&maker(NOW - 60, Some(NOW - 1))), stale(NOW - 1));
    // A week, says the responder; a day, says whoever asks.
    assert_eq!(
        pki.refused(&maker(NOW - DAY - 1, Some(NOW + 6 * DAY))),
        stale(NOW - 1)
    );
    assert!(pki.check(&maker(NOW - DAY, None).make()).is_ok());
    assert_eq!(pki.refused(&maker(NOW - DAY - 1, None)), stale(NOW - 1));
    assert_eq!(pki.refused(&maker(NOW + 1, None)), early(NOW + 1));
    let signed_tomorrow = Maker {
        produced: NOW + DAY,
        ..pki.maker()
    };
    assert_eq!(pki.refused(&signed_tomorrow), early(NOW + DAY));

    let certificate = Certificate::parse(&pki.certificate).unwrap();
    let issuer = Certificate::parse(&pki.issuer_certificate).unwrap();
    let subject = Subject::new(&certificate, &issuer).unwrap();
    let ahead = maker(NOW + 30, None).make();
    let check = |freshness| check_ocsp(&ahead, &subject, provider(), &freshness);
    assert!(check(Freshness { skew: 30, ..at(NOW) }).is_ok());
    assert!(check(Freshness { skew: 29, ..at(NOW) }).is_err());
    // Without nextUpdate a day is all, however much whoever asks allows.
    let old = maker(NOW - DAY - 1, None).make();
    let lenient = Freshness {
        max_age: 9 * DAY,
        ..at(NOW)
    };
    assert_eq!(
        check_ocsp(&old, &subject, provider(), &lenient),
        Err(stale(NOW - 1))
    );
}

#[test]
fn a_response_about_something_else_or_of_another_form_is_refused() {
    let pki = Pki::new();
    let other = Maker {
        serial: 8,
        ..pki.maker()
    };
    assert_eq!(
        pki.refused(&other),
        RevocationFault::CertIdMismatch("serial number")
    );
    let other = Maker {
        issuer: &pki.root,
        ..pki.maker()
    };
    assert_eq!(
        pki.refused(&other),
        RevocationFault::CertIdMismatch("issuer's name")
    );
    let namesake = Holder {
        name: pki.issuer.name.clone(),
        ..pki.root.clone()
    };
    let other = Maker {
        issuer: &namesake,
        ..pki.maker()
    };
    assert_eq!(
        pki.refused(&other),
        RevocationFault::CertIdMismatch("issuer's key")
    );
    let confused = Maker {
        hash: (ID_SHA256, &SHA384),
        ..pki.maker()
    };
    assert!(matches!(
        pki.refused(&confused),
        RevocationFault::CertIdMismatch(_)
    ));
    let unknown = Maker {
        hash: (&[0x55, 4, 3], &SHA384),
        ..pki.maker()
    };
    assert_eq!(
        pki.refused(&unknown),
        RevocationFault::CertIdMismatch("hash algorithm")
    );

    let maker = pki.maker();
    let two = [maker.single(), maker.single()].concat();
    assert_eq!(
        pki.check(&maker.make_of(&two)),
        Err(RevocationFault::Malformed("one response"))
    );
    assert!(matches!(
        pki.check(&maker.make_of(&[])),
        Err(RevocationFault::Malformed(_))
    ));
    let twice = maker
        .certificate
        .iter()
        .chain(&maker.certificate)
        .flatten()
        .copied()
        .collect();
    let maker = Maker {
        certificate: Some(twice),
        ..pki.maker()
    };
    assert_eq!(pki.refused(&maker), RevocationFault::Malformed("one certificate"));
    // Status 6, unauthorized: what NVIDIA answers for a device's leaf.
    let unauthorized = tlv(0x30, &[&[0x0a, 1, 6]]);
    assert_eq!(pki.check(&unauthorized), Err(RevocationFault::Unsuccessful(6)));
    let extension = |critical: &[u8]| {
        let one = tlv(
            0x30,
            &[
                &oid(&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2]),
                critical,
                &tlv(4, &[&[4, 1, 9]]),
            ],
        );
        tlv(0xa1, &[&tlv(0x30, &[&one])])
    };
    let nonce = Maker {
        extensions: extension(&[]),
        ..pki.maker()
    };
    assert!(pki.check(&nonce.make()).is_ok());
    let critical = Maker {
        extensions: extension(&[1, 1, 0xff]),
        ..pki.maker()
    };
    assert!(matches!(pki.refused(&critical), RevocationFault::Malformed(_)));
    // An algorithm that is not ECDSA with SHA-384.
    let sha256 = tlv(0x30, &[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])]);
    let right = pki.maker().make();
    let place = right
        .windows(12)
        .position(|window| window == ecdsa_sha384())
        .unwrap();
    let changed = [&right[..place], &sha256, &right[place + 12..]].concat();
    assert!(matches!(pki.check(&changed), Err(RevocationFault::Malformed(_))));
}

proptest! {
    #[test]
    fn no_bytes_in_the_place_of_an_answer_are_good(bytes: Vec<u8>) {
        let pki = Pki::new();
        prop_assert!(pki.check(&bytes).is_err());
        prop_assert!(pki.check(&successful(&bytes)).is_err());
        prop_assert!(pki.check(&pki.maker().make_of(&bytes)).is_err());
    }
}
