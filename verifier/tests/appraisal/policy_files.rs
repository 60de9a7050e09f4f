//! Policy files: what is refused, with which code, on which line, with which hint.

use bastide_verifier::{Policy, PolicyError, PolicyFault};

use crate::support::policies;

fn error(changes: &[(&str, &str)]) -> PolicyError {
    let mut text = policies::text();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the policy");
        text = text.replacen(from, to, 1);
    }
    Policy::parse(text.as_bytes()).expect_err(&text)
}

#[test]
fn faults_name_their_line_and_what_was_meant() {
    type Case = (
        &'static str,
        &'static str,
        PolicyFault,
        Option<usize>,
        &'static str,
    );
    let cases: [Case; 31] = [
        (
            "schema = \"bastide.policy/v1\"",
            "schema = \"bastide.policy/v2\"",
            PolicyFault::Value,
            Some(1),
            "bastide.policy/v1",
        ),
        (
            "name = \"test\"",
            "name = \"Te st\"",
            PolicyFault::Value,
            Some(2),
            "hyphens",
        ),
        (
            "allow_simulated = true\n",
            "",
            PolicyFault::Syntax,
            Some(1),
            "allow_simulated",
        ),
        (
            "allow_simulated = true",
            "allow_simulated = \"yes\"",
            PolicyFault::Syntax,
            Some(4),
            "boolean",
        ),
        (
            "allow_simulated = true",
            "allow_simulated = false",
            PolicyFault::Contradiction,
            Some(10),
            "simulated",
        ),
        (
            "products",
            "product",
            PolicyFault::Syntax,
            Some(19),
            "did you mean `products`?",
        ),
        (
            "debug = false",
            "debgu = false",
            PolicyFault::Syntax,
            Some(22),
            "did you mean `debug`?",
        ),
        ("debug = false\n", "", PolicyFault::Syntax, Some(18), "debug"),
        (
            "debug = false",
            "debug = false\ndebug = true",
            PolicyFault::Syntax,
            Some(23),
            "duplicate key",
        ),
        (
            "[snp.launch]",
            "[snp.lunch]",
            PolicyFault::Syntax,
            Some(33),
            "did you mean `launch`?",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "\"genoa\", \"genua\"",
            PolicyFault::Value,
            Some(19),
            "did you mean `genoa`?",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "\"genoa\", \"genoa\"",
            PolicyFault::Duplicate,
            Some(19),
            "already",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "",
            PolicyFault::Value,
            Some(19),
            "at least one",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "\"genoa\"",
            PolicyFault::Contradiction,
            Some(31),
            "bergamo",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "\"genoa\", \"bergamo\", \"turin\"",
            PolicyFault::Missing,
            Some(29),
            "turin",
        ),
        ("[3, 5]", "[3, 6]", PolicyFault::Value, Some(20), "from 2 to 5"),
        (
            "vmpl = [0]",
            "vmpl = [4]",
            PolicyFault::Value,
            Some(21),
            "from 0 to 3",
        ),
        ("vmpl = [0]\n", "", PolicyFault::Missing, None, "snp.vmpl"),
        (
            "ignore = []",
            "ignore = [\"snp.vmpl\"]",
            PolicyFault::Contradiction,
            Some(21),
            "snp.vmpl",
        ),
        (
            "ignore = []",
            "ignore = [\"snp.policy.debug\"]",
            PolicyFault::Value,
            Some(5),
            "snp.vmpl",
        ),
        (
            "ignore = []",
            "ignore = [\"snp.vmlp\"]",
            PolicyFault::Value,
            Some(5),
            "did you mean `snp.vmpl`?",
        ),
        (
            "key = \"vcek\"",
            "key = \"vlek\"",
            PolicyFault::Missing,
            Some(25),
            "vlek_providers",
        ),
        (
            "key = \"vcek\"",
            "key = \"vcek\"\nvlek_providers = [\"x\"]",
            PolicyFault::Contradiction,
            Some(26),
            "vcek",
        ),
        (
            "crl = \"soft\"",
            "crl = \"off\"",
            PolicyFault::Value,
            Some(27),
            "`hard`, `soft`",
        ),
        (
            "genoa = { boot_loader = 10",
            "genoa = { fmc = 1, boot_loader = 10",
            PolicyFault::Contradiction,
            Some(30),
            "fmc",
        ),
        (
            "microcode = 84",
            "microcode = 256",
            PolicyFault::Syntax,
            Some(30),
            "256",
        ),
        (
            "generation = \"genoa\"",
            "generation = \"bergamo\"",
            PolicyFault::Value,
            Some(12),
            "genoa",
        ),
        (
            "measurements = [\"b1",
            "measurements = [\"",
            PolicyFault::Value,
            Some(34),
            "expected 48 bytes, got 47",
        ),
        (
            "measurements = [\"b1",
            "measurements = [\"zz",
            PolicyFault::Value,
            Some(34),
            "hexadecimal",
        ),
        ("[model]\n", "", PolicyFault::Syntax, Some(36), "manifests"),
        (
            "name = \"test-root\"",
            "name = \"test-root\"\nanchors = 1",
            PolicyFault::Syntax,
            Some(12),
            "anchors",
        ),
    ];
    for (from, to, fault, line, words) in cases {
        let error = error(&[(from, to)]);
        let context = format!("`{from}` -> `{to}`: {error}");
        assert_eq!(error.fault(), fault, "{context}");
        assert_eq!(error.line(), line, "{context}");
        assert!(error.to_string().contains(words), "{context}");
        assert!(error.code().starts_with("policy."), "{context}");
    }
}

#[test]
fn pins_are_made_once_and_mean_something() {
    let zeros = "00".repeat(48);
    let measurement = "b1".repeat(48);
    let error_for = |to: &str| error(&[(&format!("\"{measurement}\""), to)]);
    assert_eq!(error_for(&format!("\"{zeros}\"")).fault(), PolicyFault::Value);
    let twice = format!("\"{measurement}\",\n\"{}\"", measurement.to_uppercase());
    let duplicate = error_for(&twice);
    assert_eq!(
        (duplicate.fault(), duplicate.line()),
        (PolicyFault::Duplicate, Some(35))
    );
    let many: Vec<_> = (0..1025).map(|number| format!("\"{number:096x}\"")).collect();
    let many = many.join(",").replace(&format!("\"{zeros}\","), "") + &format!(",\"{measurement}\"");
    assert_eq!(error_for(&many).fault(), PolicyFault::TooLarge);
}

#[test]
fn roots_are_named_once_and_every_product_has_one() {
    let text = policies::text();
    let root = text
        .split("[[roots.extra]]")
        .nth(1)
        .and_then(|rest| rest.split("[snp]").next())
        .unwrap();
    let again = root.replace("test-root", "other-name");
    let duplicate = error(&[("[snp]", &format!("[[roots.extra]]{again}[snp]"))]);
    assert_eq!(duplicate.fault(), PolicyFault::Duplicate);

    // AMD's own key, given as a key alone, would lose the pin on its certificate.
    let ark = bastide_attestation::SpkiDigest::new(bastide_verifier::anchors::GENOA.ark.spki).to_string();
    let text_ark = root
        .split("ark_spki = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    assert_eq!(error(&[(text_ark, &ark)]).fault(), PolicyFault::Duplicate);

    let rootless = error(&[("generation = \"genoa\"", "generation = \"turin\"")]);
    assert_eq!(
        (rootless.fault(), rootless.line()),
        (PolicyFault::Contradiction, None)
    );
    assert!(rootless.to_string().contains("roots.amd"), "{rootless}");
}

#[test]
fn the_simulators_keys_are_never_taken_for_real_ones() {
    let text = bastide_verifier::shipped::DEVELOPMENT.replace("simulated = true\n", "simulated = false\n");
    // `allow_simulated = true` ends like the line that is replaced.
    let text = text.replace("allow_simulated = false", "allow_simulated = true");
    let error = Policy::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error.fault(), PolicyFault::Contradiction, "{error}");
    assert!(error.to_string().contains("public"), "{error}");
}

#[test]
fn files_that_are_too_large_or_no_text_are_refused() {
    let large = vec![b'#'; 256 * 1024 + 1];
    assert_eq!(Policy::parse(&large).unwrap_err().fault(), PolicyFault::TooLarge);
    assert_eq!(
        Policy::parse(&[0xff, 0xfe]).unwrap_err().fault(),
        PolicyFault::NotText
    );
    assert_eq!(Policy::parse(b"").unwrap_err().fault(), PolicyFault::Syntax);
}

#[test]
fn the_digest_is_of_the_exact_bytes() {
    let text = policies::text();
    let policy = policies::parse(&text);
    assert_eq!(
        policy.digest().as_bytes(),
        &bastide_attestation::sha256(&[text.as_bytes()])
    );
    let commented = policies::parse(&format!("{text}\n# a comment\n"));
    assert_ne!(policy.digest(), commented.digest());
}
