use super::*;
use crate::nvidia::rim::tests::{AT_T1, authenticate};
use crate::nvidia::tests::files::{DRIVER, REPORT, VBIOS, file};

fn golden(index: u8, values: &[u8]) -> Golden {
    let alternatives = values.iter().map(|value| [*value; 48]).collect();
    Golden { index, alternatives }
}

/// Compares with measurements of this byte, repeated, by index.
fn compare_bytes(
    measured: &[(u8, u8)],
    nvdec0_disabled: bool,
    driver: &[Golden],
    vbios: &[Golden],
) -> Result<Matched, GoldenFault> {
    let look = |index| {
        let found = measured.iter().find(|(at, _)| *at == index);
        found.map(|(_, byte)| [*byte; 48])
    };
    let manifests = [(Source::Driver, driver), (Source::Vbios, vbios)];
    compare(&look, nvdec0_disabled, manifests)
}

#[test]
fn any_alternative_matches_and_nothing_else() {
    let driver = [golden(7, &[1, 2, 3])];
    let vbios = [golden(0, &[4])];
    for byte in 1..=3 {
        let matched = compare_bytes(&[(7, byte), (0, 4)], false, &driver, &vbios).unwrap();
        assert_eq!((matched.driver, matched.vbios), (1, 1));
    }
    let Err(GoldenFault::Mismatch(all)) = compare_bytes(&[(7, 4), (0, 1)], false, &driver, &vbios) else {
        panic!("two mismatches were expected");
    };
    let seen: Vec<_> = all
        .iter()
        .map(|one| (one.index, one.source, one.alternatives))
        .collect();
    assert_eq!(seen, [(7, Source::Driver, 3), (0, Source::Vbios, 1)]);
}

#[test]
fn an_index_active_in_both_manifests_is_a_conflict_even_if_it_matches() {
    let same = [golden(9, &[1])];
    let fault = compare_bytes(&[(9, 1)], false, &same, &same);
    assert_eq!(fault, Err(GoldenFault::Conflict { index: 9 }));
}

#[test]
fn a_disabled_nvdec0_excuses_index_35_alone() {
    let driver = [golden(34, &[1]), golden(35, &[1])];
    let matched = compare_bytes(&[(34, 1), (35, 9)], true, &driver, &[]).unwrap();
    assert_eq!((matched.driver, matched.nvdec0_passed_over), (1, true));
    let matched = compare_bytes(&[(34, 1), (35, 1)], true, &driver, &[]).unwrap();
    assert_eq!((matched.driver, matched.nvdec0_passed_over), (2, false));
    assert!(compare_bytes(&[(34, 1), (35, 9)], false, &driver, &[]).is_err());
    assert!(compare_bytes(&[(34, 9), (35, 1)], true, &driver, &[]).is_err());
}

#[test]
fn a_measurement_that_is_missing_is_a_mismatch() {
    for nvdec0_disabled in [false, true] {
        let Err(GoldenFault::Mismatch(all)) = compare_bytes(&[], nvdec0_disabled, &[golden(35, &[1])], &[])
        else {
            panic!("a mismatch was expected");
        };
        assert_eq!(all[0].measured, None);
    }
}

/// Blocks of a real report: 64 of 55 bytes, whose digests are the last 48.
fn block(report: &[u8], index: u8) -> Option<[u8; 48]> {
    let at = 45 + 55 * usize::from(index) + 7;
    (index < 64).then(|| report[at..at + 48].try_into().unwrap())
}

#[test]
fn the_real_report_matches_its_two_manifests_in_all_33() {
    let (Some(driver), Some(vbios), Some(report)) = (file(DRIVER), file(VBIOS), file(REPORT)) else {
        return;
    };
    let (driver, vbios) = (
        authenticate(&driver, AT_T1).unwrap(),
        authenticate(&vbios, AT_T1).unwrap(),
    );
    for nvdec0_disabled in [true, false] {
        let matched = compare_gpu(&|index| block(&report, index), nvdec0_disabled, &driver, &vbios);
        let expected = Matched {
            driver: 21,
            vbios: 12,
            nvdec0_passed_over: false,
        };
        assert_eq!(matched, Ok(expected));
    }
    // Every active index is looked at: a change of any is found, 35 if NVDEC0 is enabled.
    for golden in driver.golden().iter().chain(vbios.golden()) {
        let changed = |index| {
            let mut digest = block(&report, index)?;
            digest[47] ^= u8::from(index == golden.index);
            Some(digest)
        };
        let Err(GoldenFault::Mismatch(all)) = compare_gpu(&changed, false, &driver, &vbios) else {
            panic!("a change of {} was not found", golden.index);
        };
        assert_eq!(
            all.iter().map(|one| one.index).collect::<Vec<_>>(),
            [golden.index]
        );
        assert_eq!(
            compare_gpu(&changed, true, &driver, &vbios).is_ok(),
            golden.index == 35
        );
    }
    // The manifests of one device are not each other's.
    let swapped = compare_gpu(&|index| block(&report, index), true, &driver, &driver);
    assert_eq!(swapped, Err(GoldenFault::Conflict { index: 7 }));
}

#[test]
fn a_switch_is_compared_with_its_one_manifest() {
    use crate::nvidia::rim::tests::AT_T2;
    use crate::nvidia::tests::files::SWITCH;
    let Some(bios) = file(SWITCH) else { return };
    let bios = authenticate(&bios, AT_T2).unwrap();
    let first = |index: u8| {
        let golden = bios.golden().iter().find(|golden| golden.index == index);
        golden.map(|golden| *golden.alternatives.last().unwrap())
    };
    let expected = Matched {
        driver: 0,
        vbios: 31,
        nvdec0_passed_over: false,
    };
    assert_eq!(compare_switch(&first, &bios), Ok(expected));
    let Err(GoldenFault::Mismatch(all)) = compare_switch(&|_| Some([0xee; 48]), &bios) else {
        panic!("31 mismatches were expected");
    };
    assert_eq!(all.len(), 31);
    assert!(all.iter().all(|one| one.source == Source::SwitchBios));
}
