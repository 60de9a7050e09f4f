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
    let cases: [Case; 57] = [
        (
            "key_exchange = \"any\"\n",
            "",
            PolicyFault::Syntax,
            Some(65),
            "key_exchange",
        ),
        (
            "key_exchange = \"any\"",
            "key_exchange = \"post_quantun\"",
            PolicyFault::Value,
            Some(66),
            "did you mean `post_quantum`?",
        ),
        (
            "certificate = \"any\"",
            "certificate = \"none\"",
            PolicyFault::Value,
            Some(67),
            "web_pki",
        ),
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
            "debug = \"clear\"",
            "debgu = \"clear\"",
            PolicyFault::Syntax,
            Some(33),
            "did you mean `debug`?",
        ),
        ("debug = \"clear\"\n", "", PolicyFault::Syntax, Some(30), "debug"),
        (
            "debug = \"clear\"",
            "debug = \"cleared\"",
            PolicyFault::Value,
            Some(33),
            "did you mean `clear`?",
        ),
        (
            "debug = \"clear\"",
            "debug = false",
            PolicyFault::Syntax,
            Some(33),
            "string",
        ),
        (
            "debug = \"clear\"",
            "debug = \"clear\"\ndebug = \"any\"",
            PolicyFault::Syntax,
            Some(34),
            "duplicate key",
        ),
        ("tio = \"any\"\n", "", PolicyFault::Syntax, Some(41), "tio"),
        (
            "[[snp.launch]]",
            "[[snp.lunch]]",
            PolicyFault::Syntax,
            Some(51),
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
            Some(28),
            "bergamo",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "\"genoa\", \"bergamo\", \"turin\"",
            PolicyFault::Missing,
            Some(26),
            "turin",
        ),
        (
            "\"genoa\", \"bergamo\"",
            "\"genoa\", \"bergamo\", \"milan\"",
            PolicyFault::Missing,
            Some(19),
            "CHIP_IDs",
        ),
        ("[3, 5]", "[3, 6]", PolicyFault::Value, Some(20), "from 2 to 5"),
        ("[3, 5]", "[2, 3]", PolicyFault::Missing, Some(20), "v2_product"),
        (
            "[3, 5]",
            "[2, 3]\nv2_product = \"turin\"",
            PolicyFault::Contradiction,
            Some(21),
            "version 2",
        ),
        (
            "[3, 5]",
            "[3, 5]\nv2_product = \"genoa\"",
            PolicyFault::Contradiction,
            Some(21),
            "does not list 2",
        ),
        (
            "vmpl = [0]",
            "vmpl = [4]",
            PolicyFault::Value,
            Some(21),
            "from 0 to 3",
        ),
        ("vmpl = [0]\n", "", PolicyFault::Missing, None, "snp.vmpl"),
        (
            "ignore = [",
            "ignore = [\"snp.vmpl\", ",
            PolicyFault::Contradiction,
            Some(21),
            "snp.vmpl",
        ),
        (
            "ignore = [",
            "ignore = [\"snp.policy.debug\", ",
            PolicyFault::Value,
            Some(5),
            "snp.vmpl",
        ),
        (
            "ignore = [",
            "ignore = [\"snp.vmlp\", ",
            PolicyFault::Value,
            Some(5),
            "did you mean `snp.vmpl`?",
        ),
        ("\"snp.chip_id\", ", "", PolicyFault::Missing, None, "snp.chips"),
        (
            ", \"snp.host_data\"",
            "",
            PolicyFault::Missing,
            None,
            "snp.host_data",
        ),
        (
            "key = \"vcek\"",
            "key = \"vlek\"",
            PolicyFault::Missing,
            Some(22),
            "vlek_providers",
        ),
        (
            "key = \"vcek\"",
            "key = \"vcek\"\nvlek_providers = [\"x\"]",
            PolicyFault::Contradiction,
            Some(23),
            "vcek",
        ),
        (
            "key = \"vcek\"",
            "key = \"vcek\"\nchips = []",
            PolicyFault::Contradiction,
            Some(23),
            "snp.chip_id",
        ),
        (
            "crl = \"soft\"",
            "crl = \"none\"",
            PolicyFault::Value,
            Some(24),
            "`hard`, `soft`, `off`",
        ),
        (
            "id_block = \"forbid\"",
            "id_block = \"any\"",
            PolicyFault::Value,
            Some(23),
            "`forbid`, `pinned`",
        ),
        (
            "id_block = \"forbid\"\n",
            "",
            PolicyFault::Missing,
            None,
            "snp.id_block",
        ),
        (
            "id_block = \"forbid\"",
            "id_block = \"pinned\"",
            PolicyFault::Missing,
            None,
            "snp.id_keys",
        ),
        (
            "id_block = \"forbid\"",
            "id_block = \"forbid\"\nid_keys = [{ digest = \"111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"x\" }]",
            PolicyFault::Contradiction,
            Some(24),
            "not \"pinned\"",
        ),
        (
            "id_block = \"forbid\"",
            "id_block = \"forbid\"\nauthor_keys = [{ digest = \"111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"x\" }]",
            PolicyFault::Contradiction,
            Some(24),
            "not \"pinned\"",
        ),
        (
            "genoa = { boot_loader = 10",
            "genoa = { fmc = 1, boot_loader = 10",
            PolicyFault::Contradiction,
            Some(27),
            "fmc",
        ),
        (
            "microcode = 84",
            "microcode = 256",
            PolicyFault::Syntax,
            Some(27),
            "256",
        ),
        (
            "crl = \"soft\"",
            "crl = \"soft\"\ntcb_profile = \"amd-2027-01\"",
            PolicyFault::Value,
            Some(25),
            "`amd-2026-02`",
        ),
        (
            "boot_loader = 10, tee = 0, snp = 27, microcode = 84 }\nbergamo",
            "boot_loader = 9, tee = 0, snp = 27, microcode = 84 }\nbergamo",
            PolicyFault::Contradiction,
            Some(28),
            "amd-2026-02",
        ),
        (
            "generation = \"genoa\"",
            "generation = \"bergamo\"",
            PolicyFault::Value,
            Some(12),
            "genoa",
        ),
        (
            "measurement = \"b1",
            "measurement = \"",
            PolicyFault::Value,
            Some(52),
            "expected 48 bytes, got 47",
        ),
        (
            "measurement = \"b1",
            "measurement = \"zz",
            PolicyFault::Value,
            Some(52),
            "hexadecimal",
        ),
        (
            "reason = \"the tests' release\"\n",
            "",
            PolicyFault::Syntax,
            Some(51),
            "reason",
        ),
        (
            "reason = \"the tests' release\"",
            "reason = \" \"",
            PolicyFault::Value,
            Some(57),
            "reason",
        ),
        (
            "not_before = 2026-01-01\n",
            "",
            PolicyFault::Syntax,
            Some(51),
            "not_before",
        ),
        (
            "not_before = 2026-01-01",
            "not_before = \"2026-01-01\"",
            PolicyFault::Syntax,
            Some(55),
            "datetime",
        ),
        (
            "not_before = 2026-01-01",
            "not_before = 2026-01-01T00:00:00",
            PolicyFault::Value,
            Some(55),
            "offset",
        ),
        (
            "not_before = 2026-01-01",
            "not_before = 2027-01-01",
            PolicyFault::Contradiction,
            Some(56),
            "ends at",
        ),
        (
            "release = \"v0\"",
            "version = \"v0\"",
            PolicyFault::Syntax,
            Some(53),
            "unknown",
        ),
        (
            "name = \"test-root\"",
            "name = \"test-root\"\nanchors = 1",
            PolicyFault::Syntax,
            Some(12),
            "anchors",
        ),
    ];
    for (from, to, fault, line, words) in cases {
        let profile = ("crl = \"soft\"", "crl = \"soft\"\ntcb_profile = \"amd-2026-02\"");
        let error = if words == "amd-2026-02" {
            error(&[profile, (from, to)])
        } else {
            error(&[(from, to)])
        };
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
    let zero = error(&[(&measurement, &zeros)]);
    assert_eq!((zero.fault(), zero.line()), (PolicyFault::Value, Some(52)));

    let entry = |measurement: &str| {
        format!(
            "[[snp.launch]]\nmeasurement = \"{measurement}\"\nnot_before = 2026-01-01\n\
             not_after = 2026-12-31T12:00:00Z\nreason = \"again\"\n\n"
        )
    };
    let twice = error(&[(
        "[[model.manifests]]",
        &format!("{}[[model.manifests]]", entry(&measurement.to_uppercase())),
    )]);
    assert_eq!((twice.fault(), twice.line()), (PolicyFault::Duplicate, Some(59)));
    let many: String = (1..1025).map(|number| entry(&format!("{number:096x}"))).collect();
    let many = error(&[("[[model.manifests]]", &format!("{many}[[model.manifests]]"))]);
    assert_eq!(many.fault(), PolicyFault::TooLarge);
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
