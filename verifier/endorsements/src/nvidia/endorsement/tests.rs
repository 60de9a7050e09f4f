//! What is taken for a manifest, an answer and a list, and for how long.

use super::*;
use crate::nvidia::name::{CrlPath, RimId};
use crate::nvidia::{made, vectors};

const HOUR: u64 = 3600;

fn at(hours: u64) -> UnixTime {
    UnixTime::from_secs(made::ISSUED.as_secs() + hours * HOUR)
}

fn rim_name() -> Name {
    Name::Rim(made::RIM_IDS[0].parse::<RimId>().unwrap())
}

fn crl_name() -> Name {
    Name::Crl(CrlPath::of_url("http://crl.ndis.nvidia.com/crl/l1-root.crl").unwrap())
}

#[test]
fn each_kind_is_kept_as_it_came_and_says_when_it_was_issued() {
    let id = made::device_questions()[0].id().clone();
    let answer = made::ocsp(&id, at(1));
    for (name, bytes, issued) in [
        (rim_name(), made::rim(1, at(2)), at(2)),
        (Name::Ocsp(id), answer, at(1)),
        (crl_name(), made::crl(at(3)), at(3)),
    ] {
        let read = Endorsement::read(name.clone(), &bytes).unwrap();
        assert_eq!(
            (read.name(), read.bytes(), read.issued()),
            (&name, &bytes[..], issued)
        );
    }
}

#[test]
fn answers_and_lists_are_due_after_half_their_time_and_manifests_never() {
    let id = made::device_questions()[0].id().clone();
    let answer = Endorsement::read(Name::Ocsp(id.clone()), &made::ocsp(&id, at(0))).unwrap();
    assert!(!answer.is_due(at(11)) && answer.is_due(at(12)));
    let list = Endorsement::read(crl_name(), &made::crl(at(0))).unwrap();
    assert!(!list.is_due(at(30 * 24 - 1)) && list.is_due(at(30 * 24)));
    let rim = Endorsement::read(rim_name(), &made::rim(1, at(0))).unwrap();
    assert!(!rim.is_due(at(100_000)));
}

#[test]
fn pages_cuts_other_kinds_and_too_many_bytes_are_refused() {
    let rim = made::rim(1, at(0));
    let text = String::from_utf8(rim.clone()).unwrap();
    let id = made::device_questions()[0].id().clone();
    let answer = made::ocsp(&id, at(0));
    let encoding = |name: &Name, bytes: &[u8]| {
        let refused = Endorsement::read(name.clone(), bytes).unwrap_err();
        assert!(matches!(refused, FormError::Encoding { .. }), "{name}: {refused}");
    };
    encoding(&rim_name(), &rim[..rim.len() - 4]);
    encoding(&rim_name(), b"");
    encoding(&rim_name(), &answer);
    encoding(&rim_name(), &[&rim[..], &[0xff]].concat());
    encoding(&rim_name(), text.replace("X509Certificate>", "X509>").as_bytes());
    encoding(&Name::Ocsp(id.clone()), &answer[..answer.len() - 1]);
    encoding(&Name::Ocsp(id.clone()), &made::crl(at(0)));
    encoding(&crl_name(), &answer);
    for name in [rim_name(), Name::Ocsp(id), crl_name()] {
        let page = Endorsement::read(name.clone(), b"<!DOCTYPE html><html></html>");
        assert!(matches!(page, Err(FormError::WebPage { .. })), "{name}");
        let long = Endorsement::read(name.clone(), &vec![b'<'; name.max_bytes() + 1]);
        assert!(matches!(long, Err(FormError::TooLarge { .. })), "{name}");
    }
}

#[test]
fn real_manifests_have_four_certificates_and_are_dated_by_their_signer() {
    let Some(folder) = vectors::h100() else { return };
    for (id, issued) in made::RIM_IDS.into_iter().zip(["2024-06-01", "2024-02-2"]) {
        let bytes = vectors::read(&folder, &format!("{id}.xml"));
        let rim = Endorsement::read(Name::Rim(id.parse().unwrap()), &bytes).unwrap();
        assert_eq!(rim.chain().len(), rim::CHAIN_LENGTH);
        assert_eq!(rim.bytes(), bytes);
        assert!(rim.issued().to_string().starts_with(issued), "{}", rim.issued());
    }
}
