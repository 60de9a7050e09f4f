//! Signatures, headers and keys.

use super::*;

/// A bundle whose device token is this one, the overall token speaking of it.
fn with_token(token: &str) -> Result<NrasResult, NrasFault> {
    let tokens = [("GPU-0".to_owned(), token.to_owned())].into();
    check(&bundle(&Made::of("3.0", 1).about(&tokens), &tokens), 1)
}

/// A device's token with this header, signed with the right key all the same.
fn with_header(header: &str) -> Result<NrasResult, NrasFault> {
    with_token(&sign_text(1, header, &device("3.0", 0).to_string()))
}

fn with_keys(jwks: &Value) -> Result<NrasResult, NrasFault> {
    check_with(&Made::of("3.0", 1).bundle(), jwks.to_string().as_bytes(), NOW, 1)
}

#[test]
fn every_algorithm_but_es384_is_refused() {
    for algorithm in [
        "none", "None", "", "HS256", "HS384", "ES256", "ES512", "PS384", "es384", "ES384 ",
    ] {
        let header = json!({ "kid": "kid-1", "alg": algorithm }).to_string();
        let fault = NrasFault::Algorithm {
            token: "GPU-0".to_owned(),
            got: algorithm.to_owned(),
        };
        assert_eq!(with_header(&header), Err(fault));
    }
    for header in [
        json!({ "kid": "kid-1" }),
        json!({ "kid": "kid-1", "alg": ["ES384"] }),
    ] {
        let fault = with_header(&header.to_string()).unwrap_err();
        assert!(matches!(fault, NrasFault::Algorithm { .. }), "{fault}");
    }
    // Of the overall token, too, and without a signature.
    let made = Made::of("3.0", 1);
    let claims = encode(made.about(&made.tokens()).split('.').nth(1).unwrap());
    let unsigned = format!("{}.{claims}.", encode(r#"{"kid":"kid-1","alg":"none"}"#));
    let fault = check(&bundle(&unsigned, &made.tokens()), 1).unwrap_err();
    let token = "JWT".to_owned();
    let got = "none".to_owned();
    assert_eq!(fault, NrasFault::Algorithm { token, got });
}

#[test]
fn a_header_with_anything_else_is_refused() {
    with_header(r#"{"typ":"JWT","alg":"ES384","kid":"kid-1"}"#).unwrap();
    for member in [
        r#""crit":["exp"]"#,
        r#""b64":false"#,
        r#""jku":"https://example.com""#,
        r#""x5c":[]"#,
    ] {
        let fault = with_header(&format!(r#"{{"kid":"kid-1","alg":"ES384",{member}}}"#));
        assert!(
            matches!(fault, Err(NrasFault::Token { .. })),
            "{member}: {fault:?}"
        );
    }
    let own = json!({ "kid": "kid-1", "alg": "ES384", "jwk": jwk(1, "kid-1") });
    assert!(matches!(
        with_header(&own.to_string()),
        Err(NrasFault::Token { .. })
    ));
    for header in [
        "[]",
        "\"ES384\"",
        r#"{"alg":"ES384"}"#,
        r#"{"alg":"ES384","kid":1}"#,
    ] {
        let fault = with_header(header);
        assert!(
            matches!(fault, Err(NrasFault::Token { .. })),
            "{header}: {fault:?}"
        );
    }
    let twice = with_header(r#"{"kid":"kid-1","alg":"none","alg":"ES384"}"#);
    assert!(matches!(twice, Err(NrasFault::TokenJson { .. })), "{twice:?}");
}

#[test]
fn a_claim_twice_is_refused_though_it_is_signed() {
    let twice = |claims: Value, member: &str| {
        let text = claims.to_string();
        let text = format!("{},{member}}}", text.strip_suffix('}').unwrap());
        sign_text(1, &header().to_string(), &text)
    };
    let fault = with_token(&twice(device("3.0", 0), r#""measres":"success""#)).unwrap_err();
    assert!(fault.to_string().contains("twice"), "{fault}");
    // A key is the same however it is spelt.
    let fault = with_token(&twice(device("3.0", 0), r#""me\u0061sres":"fail""#)).unwrap_err();
    assert!(fault.to_string().contains("twice"), "{fault}");

    let mut made = Made::of("3.0", 1);
    let tokens = made.tokens();
    made.overall["submods"] = json!({ "GPU-0": submod("SHA-256", &tokens["GPU-0"]) });
    let overall = twice(made.overall, r#""x-nvidia-overall-att-result":true"#);
    let fault = check(&bundle(&overall, &tokens), 1).unwrap_err();
    assert!(fault.to_string().starts_with("JWT: "), "{fault}");
    assert!(fault.to_string().contains("twice"), "{fault}");
}

#[test]
fn bytes_after_the_claims_and_deep_claims_are_refused() {
    let text = device("3.0", 0).to_string();
    for tail in ["{}", "\0", "]"] {
        let token = sign_text(1, &header().to_string(), &format!("{text}{tail}"));
        let fault = with_token(&token);
        assert!(matches!(fault, Err(NrasFault::TokenJson { .. })), "{fault:?}");
    }
    let deep = format!("{}1{}", "[".repeat(4_000), "]".repeat(4_000));
    let fault = with_token(&sign_text(1, &header().to_string(), &deep)).unwrap_err();
    assert!(fault.to_string().contains("deep"), "{fault}");
}

#[test]
fn a_token_has_three_parts_in_one_spelling() {
    let good = sign(&device("3.0", 0));
    with_token(&good).unwrap();
    let [header, claims, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}AA"),
        format!("{header}.{claims}.{signature}\n"),
        format!("{header}.{claims}. {signature}"),
        format!("{header}.{claims}.{}", encode([0; 95])),
    ] {
        let fault = with_token(&token);
        assert!(
            matches!(fault, Err(NrasFault::Token { .. } | NrasFault::TokenJson { .. })),
            "{token}: {fault:?}"
        );
    }
    // The signature as certificates have it, and of zeros.
    let signed = format!("{header}.{claims}");
    let der: p384::ecdsa::Signature = key(1).sign(signed.as_bytes());
    let fault = with_token(&format!("{signed}.{}", encode(der.to_der().as_bytes())));
    assert!(matches!(fault, Err(NrasFault::Token { .. })), "{fault:?}");
    let token = "GPU-0".to_owned();
    let fault = with_token(&format!("{signed}.{}", encode([0; 96])));
    assert_eq!(fault, Err(NrasFault::Signature { token }));
}

#[test]
fn a_token_that_another_key_signed_is_refused() {
    let claims = device("3.0", 0).to_string();
    let token = || "GPU-0".to_owned();
    // By a key that nobody knows, and by the other key of the set.
    for number in [2, 9] {
        let fault = with_token(&sign_text(number, &header().to_string(), &claims));
        assert_eq!(fault, Err(NrasFault::Signature { token: token() }));
    }
    with_token(&sign_text(2, r#"{"kid":"kid-2","alg":"ES384"}"#, &claims)).unwrap();
    // The overall token, too.
    let made = Made::of("3.0", 1);
    let tokens = made.tokens();
    let overall = made.about(&tokens);
    let payload = overall.split('.').nth(1).unwrap();
    let text = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
    let forged = sign_text(9, &header().to_string(), &String::from_utf8(text).unwrap());
    let fault = check(&bundle(&forged, &tokens), 1);
    let token = "JWT".to_owned();
    assert_eq!(fault, Err(NrasFault::Signature { token }));
}

#[test]
fn a_token_whose_key_is_not_in_the_set_is_refused() {
    let claims = device("3.0", 0).to_string();
    for kid in ["kid-3", "", "KID-1", "kid-1 "] {
        let header = json!({ "kid": kid, "alg": "ES384" }).to_string();
        let fault = NrasFault::KidUnknown {
            token: "GPU-0".to_owned(),
            kid: kid.to_owned(),
        };
        assert_eq!(with_token(&sign_text(1, &header, &claims)), Err(fault));
    }
    let none = with_keys(&json!({ "keys": [] }));
    assert!(matches!(none, Err(NrasFault::KidUnknown { .. })), "{none:?}");
}

#[test]
fn a_key_that_is_not_for_es384_verifies_nothing() {
    let unusable = |change: &dyn Fn(&mut Value)| {
        let mut key = jwk(1, "kid-1");
        change(&mut key);
        let fault = with_keys(&json!({ "keys": [key] })).unwrap_err();
        assert!(matches!(fault, NrasFault::KeyUnusable { .. }), "{key}: {fault}");
    };
    for (member, value) in [
        ("kty", json!("RSA")),
        ("kty", json!("oct")),
        ("crv", json!("P-256")),
        ("crv", json!(null)),
        ("alg", json!("ES256")),
        ("alg", json!(null)),
        ("use", json!("enc")),
        ("x", json!(encode([1; 47]))),
        ("x", json!(encode([0; 49]))),
        ("y", json!("")),
        ("y", json!(7)),
    ] {
        unusable(&|key| key[member] = value.clone());
    }
    for member in ["kty", "crv", "x", "y"] {
        unusable(&|key| {
            key.as_object_mut().unwrap().remove(member);
        });
    }
    // What may be absent, and a point that is on no curve.
    let mut bare = jwk(1, "kid-1");
    for member in ["alg", "use", "x5c"] {
        bare.as_object_mut().unwrap().remove(member);
    }
    with_keys(&json!({ "keys": [bare] })).unwrap();
    let mut off = jwk(1, "kid-1");
    off["y"] = off["x"].clone();
    let fault = with_keys(&json!({ "keys": [off] }));
    assert!(matches!(fault, Err(NrasFault::Signature { .. })), "{fault:?}");
}

#[test]
fn a_key_set_with_one_name_twice_is_refused() {
    let fault = with_keys(&json!({ "keys": [jwk(1, "kid-1"), jwk(2, "kid-2"), jwk(1, "kid-1")] }));
    let kid = "kid-1".to_owned();
    assert_eq!(fault, Err(NrasFault::DuplicateKid { kid }));
    // Even where one of them is of another kind.
    let mut other = jwk(1, "kid-1");
    other["kty"] = "oct".into();
    let fault = with_keys(&json!({ "keys": [other, jwk(1, "kid-1")] }));
    assert!(matches!(fault, Err(NrasFault::DuplicateKid { .. })), "{fault:?}");
}

#[test]
fn what_is_no_key_set_is_refused() {
    let many: Vec<_> = (0..257)
        .map(|number| json!({ "kid": number.to_string() }))
        .collect();
    for jwks in [
        json!([]),
        json!({}),
        json!({ "keys": {} }),
        json!({ "keys": [1] }),
        json!({ "keys": [{ "kty": "EC" }] }),
        json!({ "keys": [{ "kid": 1 }] }),
        json!({ "keys": many }),
    ] {
        let fault = with_keys(&jwks).unwrap_err();
        assert!(matches!(fault, NrasFault::Jwks { .. }), "{fault}");
    }
    let text = jwks().to_string();
    let twice = text.replacen("\"kid\"", "\"kid\":\"kid-0\",\"kid\"", 1);
    for text in [format!("{text}x"), twice] {
        let bundle = Made::of("3.0", 1).bundle();
        let fault = check_with(&bundle, text.as_bytes(), NOW, 1).unwrap_err();
        assert!(matches!(fault, NrasFault::JwksJson(_)), "{fault}");
    }
}
