use super::*;
use crate::crypto::provider;
use crate::nvidia::tests::pki::{Holder, Template, ecdsa_sha384, oid, time, tlv};

const NOW: u64 = 1_500_000_000;
const DAY: u64 = 24 * 60 * 60;

/// A list by `issuer`, signed by `signer`, of one entry if there is a reason.
fn list(issuer: &Holder, signer: &Holder, entry: Option<(u8, Option<u8>)>, window: (u64, u64)) -> Vec<u8> {
    let entries = entry.map(|(serial, reason)| {
        let reason = reason.map(|reason| {
            let value = tlv(4, &[&[0x0a, 1, reason]]);
            tlv(0x30, &[&tlv(0x30, &[&oid(&[0x55, 0x1d, 0x15]), &value])])
        });
        let entry = tlv(
            0x30,
            &[&tlv(2, &[&[serial]]), &time(NOW - 5), &reason.unwrap_or_default()],
        );
        tlv(0x30, &[&entry])
    });
    let tbs = tlv(
        0x30,
        &[
            &[2, 1, 1],
            &ecdsa_sha384(),
            &issuer.name,
            &time(window.0),
            &time(window.1),
            &entries.unwrap_or_default(),
        ],
    );
    signer.sign_structure(&tbs, &[])
}

#[test]
fn an_issuers_list_decides_about_its_own_certificates() {
    let [root, issuer, subject] =
        [(1, "Root"), (2, "Issuer"), (3, "Subject")].map(|(seed, name)| Holder::new(seed, name));
    let issuer_der = Template::AUTHORITY.issue(&issuer, &root);
    let subject_der = Template {
        serial: 7,
        ..Template::SIGNER
    }
    .issue(&subject, &issuer);
    let issuer_certificate = Certificate::parse(&issuer_der).unwrap();
    let certificate = Certificate::parse(&subject_der).unwrap();
    let asked = Subject::new(&certificate, &issuer_certificate).unwrap();
    let freshness = Freshness {
        now: UnixTime::from_secs(NOW),
        max_age: 60 * DAY,
        skew: 0,
    };
    let check = |list: &[u8]| check_crl(list, &asked, provider(), &freshness);
    let current = (NOW - DAY, NOW + DAY);

    let good = check(&list(&issuer, &issuer, None, current)).unwrap();
    assert_eq!(good.next_update, Some(UnixTime::from_secs(NOW + DAY)));
    assert!(check(&list(&issuer, &issuer, Some((8, Some(1))), current)).is_ok());
    let at = UnixTime::from_secs(NOW - 5);
    for window in [current, (NOW - 9 * DAY, NOW - DAY)] {
        for (reason, expected) in [
            (None, RevocationFault::Revoked { reason: None, at }),
            (Some(1), RevocationFault::Revoked { reason: Some(1), at }),
            (Some(6), RevocationFault::OnHold { at }),
        ] {
            assert_eq!(
                check(&list(&issuer, &issuer, Some((7, reason)), window)),
                Err(expected)
            );
        }
    }
    let since = UnixTime::from_secs(NOW - 1);
    let stale = list(&issuer, &issuer, None, (NOW - DAY, NOW - 1));
    assert_eq!(check(&stale), Err(RevocationFault::Stale { since }));
    let old = list(&issuer, &issuer, None, (NOW - 60 * DAY - 1, NOW + DAY));
    assert_eq!(check(&old), Err(RevocationFault::Stale { since }));
    let from = UnixTime::from_secs(NOW + 1);
    let early = list(&issuer, &issuer, None, (NOW + 1, NOW + DAY));
    assert_eq!(check(&early), Err(RevocationFault::NotYetValid { from }));

    assert_eq!(
        check(&list(&issuer, &root, None, current)),
        Err(RevocationFault::Signature)
    );
    let other = list(&root, &root, None, current);
    assert_eq!(check(&other), Err(RevocationFault::CertIdMismatch("issuer")));
    let right = list(&issuer, &issuer, Some((8, Some(6))), current);
    for index in 0..right.len() {
        let mut changed = right.clone();
        changed[index] ^= 1 << (index % 8);
        assert!(check(&changed).is_err(), "{index}");
    }
    // A reason that does not exist is no list at all.
    assert!(matches!(
        check(&list(&issuer, &issuer, Some((8, Some(7))), current)),
        Err(RevocationFault::Malformed(_))
    ));
}

#[test]
fn a_certificate_of_another_issuer_is_not_asked_about() {
    let [root, issuer] = [(1, "Root"), (2, "Issuer")].map(|(seed, name)| Holder::new(seed, name));
    let root_der = Template::AUTHORITY.issue(&root, &root);
    let issuer_der = Template::AUTHORITY.issue(&issuer, &root);
    let root = Certificate::parse(&root_der).unwrap();
    let issuer = Certificate::parse(&issuer_der).unwrap();
    assert!(Subject::new(&issuer, &root).is_ok());
    assert!(matches!(
        Subject::new(&root, &issuer),
        Err(RevocationFault::Malformed(_))
    ));
}
