//! Questions as NVIDIA's tools ask them, and answers to others.

use super::*;
use crate::nvidia::{made, vectors};
use proptest::prelude::*;

fn question() -> OcspQuestion {
    made::device_questions().remove(0)
}

#[test]
fn a_question_is_this_der_and_has_no_nonce() {
    let question = question();
    let issuer = made::device_chain().remove(2);
    let issuer = Fields::read(&issuer).unwrap();
    let [name, key] = [issuer.subject, issuer.key].map(|part| sha384(&[part]));
    let mut expected = vec![0x30, 0x7e, 0x30, 0x7c, 0x30, 0x7a, 0x30, 0x78, 0x30, 0x76];
    expected.extend([
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
    ]);
    expected.extend([&[0x04, 0x30], &name[..], &[0x04, 0x30], &key[..]].concat());
    expected.extend([0x02, 0x01, 12]);
    assert_eq!(question.encode(), expected);
}

#[test]
fn a_certificate_that_the_other_did_not_issue_is_no_question() {
    let chain = made::device_chain();
    let about = OcspQuestion::about(&chain[1], &chain[3]);
    assert_eq!(about, Err(FormError::Issuer));
    for (certificate, issuer) in [(&chain[1][..5], &chain[2][..]), (&chain[1], b"")] {
        let about = OcspQuestion::about(certificate, issuer);
        assert!(matches!(about, Err(FormError::Encoding { .. })));
    }
}

#[test]
fn an_answer_about_another_certificate_is_refused() {
    let questions = made::device_questions();
    let answer = made::ocsp(questions[0].id(), made::ISSUED);
    let window = read_answer(&answer, questions[0].id()).unwrap();
    assert_eq!(window.this_update, made::ISSUED);
    let day = window.next_update.unwrap().as_secs() - made::ISSUED.as_secs();
    assert_eq!(day, 86_400);
    let other = read_answer(&answer, questions[1].id());
    assert_eq!(other, Err(FormError::OtherCertificate));
    let serial = CertificateId::new(*questions[0].id().issuer_key(), &[9]).unwrap();
    assert_eq!(read_answer(&answer, &serial), Err(FormError::OtherCertificate));
}

#[test]
fn a_responder_without_an_answer_is_said_by_its_status() {
    let refused = read_answer(&[0x30, 3, 0x0a, 1, 6], question().id()).unwrap_err();
    assert_eq!(refused, FormError::OcspStatus { status: 6 });
    assert!(refused.to_string().contains("unauthorized"), "{refused}");
    for bytes in [&b""[..], &[0x30, 0], &[0x30, 3, 0x0a, 1, 0], &[0x0a, 1, 6]] {
        let refused = read_answer(bytes, question().id());
        assert!(matches!(refused, Err(FormError::Encoding { .. })), "{bytes:02x?}");
    }
    let page = read_answer(b"<html>", question().id());
    assert!(matches!(page, Err(FormError::WebPage { .. })));
}

#[test]
fn real_answers_are_about_the_certificates_of_the_real_chain() {
    use bastide_attestation::encoding::{Kind, objects};
    let Some(folder) = vectors::h100() else { return };
    let chain = objects(&vectors::read(&folder, "chain.pem"), Kind::Certificate).unwrap();
    for (at, file) in [
        (1, "ocsp/gpu_certificate_l4.der"),
        (2, "ocsp/gpu_certificate_l3.der"),
        (3, "ocsp/gpu_certificate_l2.der"),
    ] {
        let question = OcspQuestion::about(&chain[at], &chain[at + 1]).unwrap();
        let answer = vectors::read(&folder, file);
        let window = read_answer(&answer, question.id()).unwrap();
        let next = window.next_update.unwrap();
        assert_eq!(next.as_secs() - window.this_update.as_secs(), 86_400, "{file}");
        // The answer repeats the question's CertID, the issuer's name included.
        let asked = question.encode();
        let algorithm = asked
            .windows(5)
            .position(|bytes| bytes == [0x30, 0x0d, 0x06, 0x09, 0x60]);
        let certificate_id = &asked[algorithm.unwrap()..];
        assert!(certificate_id.len() > 115);
        assert!(
            answer
                .windows(certificate_id.len())
                .any(|window| window == certificate_id),
            "{file}"
        );
        let other = OcspQuestion::about(&chain[at - 1], &chain[at]).unwrap();
        assert_eq!(read_answer(&answer, other.id()), Err(FormError::OtherCertificate));
    }
}

proptest! {
    #[test]
    fn reading_never_panics(bytes: Vec<u8>) {
        let _ = read_answer(&bytes, question().id());
    }

    #[test]
    fn a_changed_answer_never_panics(at in 0..400_usize, bit in 0..8_u8) {
        let mut answer = made::ocsp(question().id(), made::ISSUED);
        let at = at % answer.len();
        answer[at] ^= 1 << bit;
        let _ = read_answer(&answer, question().id());
        let _ = read_answer(&answer[..at], question().id());
    }
}
