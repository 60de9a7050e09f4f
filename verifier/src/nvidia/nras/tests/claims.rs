//! Claims that are missing, of another kind, or say something else.

use super::*;

/// The same change in the overall token and in a device's.
fn both(change: impl Fn(&mut Value), expected: impl Fn(&str, NrasFault)) {
    let mut made = Made::of("3.0", 2);
    change(&mut made.overall);
    expected("JWT", made.verdict().unwrap_err());
    let mut made = Made::of("3.0", 2);
    change(made.devices.get_mut("GPU-1").unwrap());
    expected("GPU-1", made.verdict().unwrap_err());
}

/// The first claim of the only device that is not as expected.
fn not_passed(version: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut made = Made::of(version, 1);
    change(made.first());
    match made.verdict() {
        Err(NrasFault::NotPassed { device, claim }) if device == "GPU-0" => claim,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_s_nonce_that_differs_is_refused_though_the_overall_one_is_right() {
    let mut made = Made::of("3.0", 8);
    made.devices.get_mut("GPU-5").unwrap()["eat_nonce"] = hex::encode([0x11; 32]).into();
    let fault = NrasFault::NonceMismatch {
        token: "GPU-5".to_owned(),
        got: hex::encode([0x11; 32]),
    };
    assert_eq!(made.verdict(), Err(fault));
    // Nor does it help that the nonce is right, but not what the GPU answered.
    let claim = "x-nvidia-gpu-attestation-report-nonce-match";
    assert_eq!(not_passed("3.0", |claims| claims[claim] = false.into()), claim);
}

#[test]
fn a_token_of_another_nonce_is_refused() {
    for nonce in [
        hex::encode([0x4e; 32]),
        hex::encode([0x4d; 31]),
        hex::encode([0x4d; 33]),
        String::new(),
        "4d".repeat(31) + "4g",
    ] {
        both(
            |claims| claims["eat_nonce"] = nonce.clone().into(),
            |token, fault| {
                let (token, got) = (token.to_owned(), nonce.clone());
                assert_eq!(fault, NrasFault::NonceMismatch { token, got });
            },
        );
    }
    both(
        |claims| claims["eat_nonce"] = json!([hex::encode(NONCE)]),
        |_, fault| assert!(matches!(fault, NrasFault::Claim { .. }), "{fault}"),
    );
    // Bytes are compared, not text.
    let mut made = Made::of("3.0", 1);
    made.overall["eat_nonce"] = hex::encode_upper(NONCE).into();
    made.verdict().unwrap();
}

#[test]
fn tokens_are_valid_from_their_first_second_to_their_last_within_the_skew() {
    let bundle = Made::of("3.0", 1).bundle();
    let jwks = jwks().to_string();
    let at = |now| check_with(&bundle, jwks.as_bytes(), now, 1);
    for now in [NOW - 60, NOW, NOW + 3_600, NOW + 3_659] {
        at(now).unwrap();
    }
    let token = || "JWT".to_owned();
    let early = NrasFault::NotYetValid {
        token: token(),
        from: UnixTime::from_secs(NOW),
        now: UnixTime::from_secs(NOW - 61),
    };
    assert_eq!(at(NOW - 61), Err(early));
    let late = NrasFault::Expired {
        token: token(),
        at: UnixTime::from_secs(NOW + 3_600),
        now: UnixTime::from_secs(NOW + 3_660),
    };
    assert_eq!(at(NOW + 3_660), Err(late));
}

#[test]
fn each_token_has_its_own_times() {
    for claim in ["iat", "nbf"] {
        both(
            |claims| claims[claim] = (NOW + 61).into(),
            |token, fault| {
                assert!(
                    matches!(&fault, NrasFault::NotYetValid { token: t, .. } if t == token),
                    "{fault}"
                );
            },
        );
    }
    both(
        |claims| claims["exp"] = (NOW - 60).into(),
        |token, fault| {
            assert!(
                matches!(&fault, NrasFault::Expired { token: t, .. } if t == token),
                "{fault}"
            );
        },
    );
    for claim in ["iat", "nbf", "exp"] {
        for value in [json!("1756168926"), json!(-1), json!(1.5), json!(null), json!([])] {
            both(
                |claims| claims[claim] = value.clone(),
                |_, fault| {
                    assert!(
                        matches!(&fault, NrasFault::Claim { claim: c, .. } if c == claim),
                        "{fault}"
                    );
                },
            );
        }
    }
    // The end of time overflows nothing.
    let mut made = Made::of("3.0", 1);
    made.overall["exp"] = u64::MAX.into();
    made.verdict().unwrap();
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    for issuer in [
        "LOCAL_GPU_VERIFIER",
        "https://nras.attestation.nvidia.com/",
        "https://nras.attestation.nvidia.com.example",
        "",
    ] {
        both(
            |claims| claims["iss"] = issuer.into(),
            |token, fault| {
                let (token, got) = (token.to_owned(), issuer.to_owned());
                assert_eq!(fault, NrasFault::Issuer { token, got });
            },
        );
    }
    both(
        |claims| {
            claims.as_object_mut().unwrap().remove("iss");
        },
        |_, fault| assert!(matches!(fault, NrasFault::Claim { .. }), "{fault}"),
    );
}

#[test]
fn a_token_about_something_else_is_refused() {
    for subject in ["NVIDIA-GPU-ATTESTATION", "", "nvidia-platform-attestation"] {
        let mut made = Made::of("3.0", 1);
        made.overall["sub"] = subject.into();
        let (token, got) = ("JWT".to_owned(), subject.to_owned());
        assert_eq!(made.verdict(), Err(NrasFault::Subject { token, got }));
    }
    let mut made = Made::of("3.0", 1);
    made.first()["sub"] = "NVIDIA-GPU-ATTESTATION".into();
    made.verdict().unwrap();
    for (claim, value) in [
        ("sub", "NVIDIA-PLATFORM-ATTESTATION"),
        ("x-nvidia-device-type", "nvswitch"),
    ] {
        made.first()[claim] = value.into();
        let (token, got) = ("GPU-0".to_owned(), value.to_owned());
        assert_eq!(made.verdict(), Err(NrasFault::Subject { token, got }));
        made.first().as_object_mut().unwrap().remove("sub");
    }
    // The overall token can't stand for a device, whatever else it claims.
    let mut made = Made::of("3.0", 1);
    let overall = made.overall.clone();
    merge(made.first(), overall);
    assert!(matches!(made.verdict(), Err(NrasFault::Subject { .. })));
}

#[test]
fn every_check_of_the_service_must_have_passed() {
    for version in ["2.0", "3.0"] {
        let claims = device(version, 0);
        let mut checks = 0;
        for (claim, _) in claims
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, v)| **v == json!(true))
        {
            for value in [json!(false), json!("true"), json!(null), json!(1)] {
                assert_eq!(not_passed(version, |claims| claims[claim] = value), *claim);
            }
            let gone = not_passed(version, |claims| {
                claims.as_object_mut().unwrap().remove(claim);
            });
            assert_eq!(gone, *claim);
            checks += 1;
        }
        assert_eq!(checks, 14 + 3);
    }
}

#[test]
fn measurements_that_do_not_match_are_refused() {
    for (version, value) in [
        ("2.0", "comparison-failed"),
        ("2.0", "fail"),
        ("3.0", "fail"),
        ("3.0", "comparison-successful"),
        ("3.0", "Success"),
        ("3.0", ""),
    ] {
        let claim = not_passed(version, |claims| claims["measres"] = value.into());
        assert_eq!(claim, "measres");
    }
    let mut made = Made::of("2.0", 1);
    made.first()["measres"] = "comparison-successful".into();
    made.verdict().unwrap();
    assert_eq!(
        not_passed("3.0", |claims| claims["measres"] = true.into()),
        "measres"
    );
    for status in ["enabled", "Disabled", ""] {
        let claim = not_passed("3.0", |claims| claims["dbgstat"] = status.into());
        assert_eq!(claim, "dbgstat");
    }
    for claim in ["x-nvidia-error-details", "x-nvidia-mismatch-measurement-records"] {
        for value in [json!([{ "index": 9 }]), json!({}), json!("4003"), json!(4003)] {
            assert_eq!(not_passed("3.0", |claims| claims[claim] = value), claim);
        }
        let mut made = Made::of("3.0", 1);
        made.first()[claim] = json!([]);
        made.verdict().unwrap();
    }
}

#[test]
fn certificates_that_are_not_valid_or_not_good_are_refused() {
    for chain in ["attestation-report", "driver-rim", "vbios-rim"] {
        let chain = format!("x-nvidia-gpu-{chain}-cert-chain");
        for (claim, values) in [
            ("x-nvidia-cert-status", ["expired", "invalid", "revoked", ""]),
            ("x-nvidia-cert-ocsp-status", ["revoked", "unknown", "Good", ""]),
        ] {
            for value in values {
                let got = not_passed("3.0", |claims| claims[&chain][claim] = value.into());
                assert_eq!(got, format!("{chain}.{claim}"));
            }
        }
        let got = not_passed("3.0", |claims| claims[&chain] = true.into());
        assert_eq!(got, format!("{chain}.x-nvidia-cert-status"));
    }
}

#[test]
fn a_version_of_claims_that_is_not_known_is_refused() {
    for version in ["1.0", "4.0", "3", "3.0.0", ""] {
        let mut made = Made::of("3.0", 1);
        made.first()["x-nvidia-gpu-claims-version"] = version.into();
        let (token, got) = ("GPU-0".to_owned(), version.to_owned());
        assert_eq!(made.verdict(), Err(NrasFault::ClaimsVersion { token, got }));
        let mut made = Made::of("2.0", 1);
        made.overall["x-nvidia-ver"] = version.into();
        let (token, got) = ("JWT".to_owned(), version.to_owned());
        assert_eq!(made.verdict(), Err(NrasFault::ClaimsVersion { token, got }));
    }
    // The coarse claims are not enough where the fine ones are announced.
    let mut made = Made::of("2.0", 1);
    made.overall["x-nvidia-ver"] = "3.0".into();
    assert!(matches!(made.verdict(), Err(NrasFault::NotPassed { .. })));
}

#[test]
fn what_is_passed_on_is_short_printable_text() {
    for claim in [
        "ueid",
        "hwmodel",
        "x-nvidia-gpu-driver-version",
        "x-nvidia-gpu-vbios-version",
    ] {
        for value in [
            json!(""),
            json!("x".repeat(129)),
            json!("a\nb"),
            json!("é"),
            json!(7),
            json!(null),
        ] {
            let mut made = Made::of("3.0", 1);
            made.first()[claim] = value;
            let fault = made.verdict().unwrap_err();
            assert!(
                matches!(&fault, NrasFault::Claim { claim: c, .. } if c == claim),
                "{fault}"
            );
        }
    }
    // What a fault repeats is cut and filtered.
    let mut made = Made::of("3.0", 1);
    made.overall["iss"] = format!("\u{1b}[2J{}", "é".repeat(500)).into();
    let fault = made.verdict().unwrap_err().to_string();
    assert!(
        fault.len() < 120 && fault.is_ascii() && !fault.contains('\u{1b}'),
        "{fault}"
    );
}
