//! What a policy that can be read decides: its pins, its floors and what they
//! leave open, and Milan.

use bastide_attestation::snp::Product;
use bastide_verifier::{Policy, PolicyFault};

use crate::support::policies;

#[test]
fn what_a_policy_pins_can_be_listed() {
    let chip = format!(
        "key = \"vcek\"\nchips = [{{ chip_id = \"{}\", not_before = 2026-01-01, \
         not_after = 2026-06-30, reason = \"rack 7\" }}]",
        "0102030405060708"
    );
    let policy = policies::with(&[("key = \"vcek\"", &chip), ("\"snp.chip_id\", ", "")]);
    let pins = policy.pins();
    let found: Vec<_> = pins.iter().map(|pin| (pin.check, pin.reason.as_str())).collect();
    assert_eq!(
        found,
        [
            ("snp.launch_measurement", "the tests' release"),
            ("snp.chip_id", "rack 7"),
            ("model.manifest", "the tests' model")
        ]
    );
    assert_eq!(pins[1].value, format!("0102030405060708{}", "0".repeat(112)));
    assert_eq!(pins[1].window.not_after.to_string(), "2026-06-30T23:59:59Z");
    assert_eq!(
        (pins[0].release.as_deref(), pins[0].shape.as_deref()),
        (Some("v0"), Some("4vcpu"))
    );
}

#[test]
fn a_profile_gives_floors_that_a_policy_may_raise_and_says_what_it_leaves_open() {
    let floors = policies::text();
    let (before, rest) = floors.split_once("[snp.tcb_floor]").unwrap();
    let (_, after) = rest.split_once("[snp.guest_policy]").unwrap();
    let before = before.replace("crl = \"soft\"", "crl = \"soft\"\ntcb_profile = \"amd-2025-02\"");
    let plain = policies::parse(&format!("{before}[snp.guest_policy]{after}"));
    assert_eq!(plain.tcb_profile().unwrap().name, "amd-2025-02");
    assert_eq!(plain.tcb_floor(Product::Genoa).unwrap().snp, 23);
    assert_eq!(plain.tcb_floor(Product::Turin), None);
    let open: Vec<_> = plain
        .uncovered_advisories(Product::Genoa)
        .map(|advisory| advisory.id)
        .collect();
    assert_eq!(
        open,
        [
            "AMD-SB-3020, CVE-2025-0033",
            "AMD-SB-3023, CVE-2025-48514",
            "AMD-SB-3034, CVE-2025-54510"
        ]
    );
    let raised = policies::parse(&format!(
        "{before}[snp.tcb_floor]\ngenoa = {{ boot_loader = 10, tee = 0, snp = 27, microcode = 84 }}\n\
         [snp.guest_policy]{after}"
    ));
    assert_eq!(raised.tcb_floor(Product::Genoa).unwrap().snp, 27);
    assert_eq!(raised.tcb_floor(Product::Bergamo).unwrap().snp, 23);
    assert_eq!(raised.uncovered_advisories(Product::Genoa).count(), 1);
}

#[test]
fn milan_is_accepted_only_by_chip() {
    let milan = |chips: &str, key: &str| {
        let text = policies::text()
            .replace("\"genoa\", \"bergamo\"", "\"genoa\", \"bergamo\", \"milan\"")
            .replace("amd = []", "amd = [\"milan\"]")
            .replace("\"snp.chip_id\", ", "")
            .replace("key = \"vcek\"", &format!("{key}\nchips = [{chips}]"))
            .replace(
                "[snp.tcb_floor]",
                "[snp.tcb_floor]\nmilan = { boot_loader = 3, tee = 0, snp = 27, microcode = 219 }",
            );
        Policy::parse(text.as_bytes())
    };
    let chip = format!(
        "{{ chip_id = \"{}\", not_before = 2026-01-01, not_after = 2026-06-30, reason = \"ours\" }}",
        "ab".repeat(64)
    );
    assert!(milan(&chip, "key = \"vcek\"").is_ok());
    assert_eq!(
        milan("", "key = \"vcek\"").unwrap_err().fault(),
        PolicyFault::Missing
    );
    let any = "key = \"any\"\nvlek_providers = [\"CN=x\"]";
    assert_eq!(milan(&chip, any).unwrap_err().fault(), PolicyFault::Missing);
}
