//! What other verifiers of SNP reports got wrong, each as a sweep over all the
//! values that the case has: every level, every version, every bit, every edge.

use bastide_attestation::{Decision, UnixTime, Verdict};
use bastide_verifier::Verifier;

use crate::support::der::integer;
use crate::support::pki::{CrlSpec, Kind, amd};
use crate::support::report::TCB_OFFSETS;
use crate::support::{Case, Made, policies};

fn code(case: Case) -> Option<&'static str> {
    case.make().verdict(&policies::with(&[])).code
}

fn genoa(change: impl FnOnce(&mut Case)) -> Case {
    Case::new(Kind::Genoa).with(change)
}

fn at(made: &Made, seconds: u64) -> Verdict {
    Verifier::new(policies::with(&[])).appraise_recorded(&made.recorded(), UnixTime::from_secs(seconds))
}

#[test]
fn a_leaf_for_any_other_level_than_reported_is_refused() {
    // (extension, its level in the tests' evidence)
    let genoa_levels = [(1, 10_u8), (2, 0), (3, 27), (8, 84)];
    for (number, level) in genoa_levels {
        let others = [u8::checked_sub(level, 1), u8::checked_add(level, 1)]
            .into_iter()
            .flatten();
        for other in others {
            let case = genoa(|c| c.leaf.set(&amd(&[3, number]), integer(other)));
            assert_eq!(code(case), Some("snp.vek.tcb_mismatch"), "{number}: {other}");
        }
    }
    for (number, level) in [(9, 1), (1, 1), (2, 1), (3, 4), (8, 81)] {
        for other in [level - 1, level + 1] {
            let verdict = Case::new(Kind::Turin)
                .with(|c| c.leaf.set(&amd(&[3, number]), integer(other)))
                .make()
                .verdict(&policies::turin());
            assert_eq!(verdict.code, Some("snp.vek.tcb_mismatch"), "{number}: {other}");
        }
    }
}

#[test]
fn a_floor_holds_in_every_component_of_every_tcb_version() {
    for offset in TCB_OFFSETS {
        for (byte, floor) in [(0, 10_u8), (6, 27), (7, 84)] {
            let case = genoa(|c| {
                c.report.bytes[offset + byte] = floor - 1;
                if offset == 0x180 {
                    let number = [1, 0, 0, 0, 0, 0, 3, 8][byte];
                    c.leaf.set(&amd(&[3, number]), integer(floor - 1));
                }
            });
            assert_eq!(code(case), Some("snp.tcb.below_floor"), "0x{offset:x} + {byte}");
        }
    }
}

#[test]
fn levels_of_one_layout_are_never_read_in_the_other() {
    // Turin's bytes read as Milan's or Genoa's would be boot loader 1 and SNP 0.
    let turin_tcb = [1, 1, 1, 4, 0, 0, 0, 81];
    let case = genoa(|c| {
        for offset in TCB_OFFSETS {
            c.report.put(offset, &turin_tcb);
        }
    });
    assert_eq!(code(case), Some("snp.tcb.reserved"));
    // Genoa's bytes as Turin's: SNP and microcode lie elsewhere.
    let genoa_tcb = [10, 0, 0, 0, 0, 0, 27, 84];
    let verdict = Case::new(Kind::Turin)
        .with(|c| {
            for offset in TCB_OFFSETS {
                c.report.put(offset, &genoa_tcb);
            }
        })
        .make()
        .verdict(&policies::turin());
    assert_eq!(verdict.code, Some("snp.tcb.reserved"));
}

#[test]
fn a_chip_that_differs_in_any_byte_is_another_chip() {
    for byte in [0, 7, 8, 31, 62, 63] {
        let case = genoa(|c| c.report.bytes[0x1a0 + byte] ^= 1);
        assert_eq!(code(case), Some("snp.vcek.hwid_mismatch"), "{byte}");
    }
    for byte in 0..64 {
        let verdict = Case::new(Kind::Turin)
            .with(|c| c.report.bytes[0x1a0 + byte] ^= 1)
            .make()
            .verdict(&policies::turin());
        assert_eq!(verdict.code, Some("snp.vcek.hwid_mismatch"), "{byte}");
    }
}

#[test]
fn versions_that_are_not_known_are_unsupported() {
    for version in (0..=1).chain(6..=16).chain([0x100, 0x300, 0x0500_0000, u32::MAX]) {
        let verdict = genoa(|c| c.report.put(0, &version.to_le_bytes()))
            .make()
            .verdict(&policies::with(&[]));
        assert_eq!(verdict.code, Some("snp.report.version"), "{version}");
        assert_eq!(verdict.decision.exit_code(), 20);
    }
}

#[test]
fn every_reserved_byte_of_every_version_must_be_zero() {
    let always = [0x04c..0x050, 0x1eb..0x1ec, 0x1ef..0x1f0];
    let by_version = [
        (2_u8, vec![0x188..0x1a0, 0x1f8..0x2a0]),
        (3, vec![0x18b..0x1a0, 0x1f8..0x2a0]),
        (4, vec![0x18b..0x1a0, 0x1f8..0x2a0]),
        (5, vec![0x18b..0x1a0, 0x208..0x2a0]),
    ];
    for (version, ranges) in by_version {
        for byte in always.iter().cloned().chain(ranges).flatten() {
            let case = genoa(|c| {
                c.report.bytes[0] = version;
                if version == 2 {
                    c.report.put(0x188, &[0; 3]);
                }
                c.report.bytes[byte] = 1;
            });
            assert_eq!(code(case), Some("snp.report.reserved"), "v{version} 0x{byte:03x}");
        }
    }
    // Padding of R and S, and what follows them, is not signed and must be zero too.
    let good = genoa(|_| ()).make();
    for byte in (0x2d0..0x2e8).chain(0x318..0x4a0) {
        let mut made = good.clone();
        made.report[byte] = 1;
        let verdict = made.verdict(&policies::with(&[]));
        assert_eq!(verdict.code, Some("snp.report.reserved"), "0x{byte:03x}");
    }
}

#[test]
fn every_value_of_key_info_has_its_code() {
    for key in 1..8_u32 {
        let expected = match key {
            // The chain that came is for VCEKs.
            1 => "snp.intermediate.unknown",
            _ => "snp.key_info.signing_key",
        };
        let case = genoa(|c| c.report.put(0x48, &(key << 2).to_le_bytes()));
        assert_eq!(code(case), Some(expected), "SIGNING_KEY {key}");
    }
    for bit in 5..32 {
        let case = genoa(|c| c.report.put(0x48, &(1_u32 << bit).to_le_bytes()));
        assert_eq!(code(case), Some("snp.key_info.reserved"), "bit {bit}");
    }
    let masked_and_zero = genoa(|c| {
        c.report.bytes[0x48] = 0b10;
        c.report.put(0x1a0, &[0; 64]);
    });
    assert_eq!(code(masked_and_zero), Some("snp.key_info.masked"));
}

#[test]
fn every_undefined_bit_of_the_guest_policy_and_of_platform_info_is_refused() {
    for bit in 26..64 {
        let case = genoa(|c| {
            c.report.bytes[0x008 + bit / 8] |= 1 << (bit % 8);
        });
        assert_eq!(code(case), Some("snp.policy.reserved"), "POLICY bit {bit}");
    }
    for bit in 8..64 {
        let case = || {
            genoa(|c| {
                c.report.bytes[0x040 + bit / 8] |= 1 << (bit % 8);
            })
        };
        assert_eq!(
            code(case()),
            Some("snp.platform.unknown_bits"),
            "PLATFORM_INFO bit {bit}"
        );
        // The one check of the two that a policy may leave out, and then lists.
        let lenient = policies::with(&[("ignore = [", "ignore = [\"snp.platform.known\", ")]);
        let verdict = case().make().verdict(&lenient);
        assert_eq!(verdict.decision, Decision::Accepted);
        assert_eq!(verdict.ignored[0], "snp.platform.known");
    }
}

#[test]
fn the_clock_decides_at_every_edge() {
    const DAY: u64 = 86_400;
    // 2026-01-01T00:00:00Z, where the leaf, the list and the pins begin.
    const NEW_YEAR: u64 = 1_767_225_600;
    let made = genoa(|_| ()).make();
    assert_eq!(at(&made, NEW_YEAR - 1).code, Some("snp.vek.not_yet_valid"));
    assert_eq!(at(&made, NEW_YEAR).code, None);
    // The pins end with 2026.
    assert_eq!(at(&made, NEW_YEAR + 365 * DAY - 1).code, None);
    assert_eq!(
        at(&made, NEW_YEAR + 365 * DAY).code,
        Some("policy.pin_not_current")
    );
    // 2033-01-01T00:00:00Z, the leaf's last second.
    assert_ne!(at(&made, 1_988_150_400).code, Some("snp.vek.expired"));
    assert_eq!(at(&made, 1_988_150_401).code, Some("snp.vek.expired"));

    let list = genoa(|c| c.crl = Some(CrlSpec::new(Kind::Genoa))).make();
    let hard = Verifier::new(policies::with(&[("\"soft\"", "\"hard\"")]));
    let listed = |seconds| {
        hard.appraise_recorded(&list.recorded(), UnixTime::from_secs(seconds))
            .code
    };
    assert_eq!(listed(NEW_YEAR), None);
    assert_eq!(listed(NEW_YEAR - 1), Some("snp.crl.stale"));
    // 2027-01-01T00:00:00Z is the list's last second.
    assert_eq!(listed(NEW_YEAR + 365 * DAY), Some("policy.pin_not_current"));
    assert_eq!(listed(NEW_YEAR + 365 * DAY + 1), Some("snp.crl.stale"));
}

#[test]
fn revocation_lists_can_be_demanded_wished_for_or_left_alone() {
    let forged = CrlSpec {
        signer: crate::support::keys::RsaKey::StrangerArk,
        ..CrlSpec::new(Kind::Genoa)
    };
    let revoking = CrlSpec {
        revoked: vec![vec![2, 0, 2]],
        ..CrlSpec::new(Kind::Genoa)
    };
    let cases = [
        (None, [None, None, Some("snp.crl.missing")]),
        (Some(CrlSpec::new(Kind::Genoa)), [None, None, None]),
        (
            Some(forged),
            [None, Some("snp.crl.signature"), Some("snp.crl.signature")],
        ),
        (
            Some(revoking),
            [None, Some("snp.crl.revoked"), Some("snp.crl.revoked")],
        ),
    ];
    for (crl, expected) in cases {
        let made = genoa(|c| c.crl = crl).make();
        for (mode, code) in ["off", "soft", "hard"].into_iter().zip(expected) {
            let policy = policies::with(&[("crl = \"soft\"", &format!("crl = \"{mode}\""))]);
            assert_eq!(made.verdict(&policy).code, code, "{mode}");
        }
    }
}

#[test]
fn levels_of_128_and_more_take_two_bytes_and_are_read_so() {
    for level in [127_u8, 128, 219, 255] {
        let content: &[u8] = if level < 128 { &[level] } else { &[0, level] };
        let mut value = vec![0x02, u8::try_from(content.len()).unwrap()];
        value.extend_from_slice(content);
        let case = genoa(|c| {
            c.leaf.set(&amd(&[3, 8]), value);
            for offset in TCB_OFFSETS {
                c.report.bytes[offset + 7] = level;
            }
        });
        let verdict = case.make().verdict(&policies::with(&[]));
        assert_eq!(verdict.decision, Decision::Accepted, "{level}: {verdict:#?}");
    }
}
