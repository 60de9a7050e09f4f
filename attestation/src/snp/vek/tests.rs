//! Requests as AMD documents them, and certificates of just the parts that are read.

use super::*;
use proptest::prelude::*;

const GENOA_TCB: TcbVersion = TcbVersion {
    fmc: None,
    boot_loader: 10,
    tee: 0,
    snp: 27,
    microcode: 219,
};
const TURIN_TCB: TcbVersion = TcbVersion {
    fmc: Some(1),
    boot_loader: 2,
    tee: 3,
    snp: 4,
    microcode: 5,
};

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(long) => out.extend([0x81, long]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// A certificate of nothing but AMD's extensions.
fn certificate(hwid: &[u8], levels: &[(u8, &[u8])]) -> Vec<u8> {
    let base = [0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1];
    let extension = |arc: &[u8], value: &[u8]| {
        let oid = tlv(6, &[base.as_slice(), arc].concat());
        tlv(0x30, &[oid, tlv(4, value)].concat())
    };
    let mut list: Vec<u8> = levels
        .iter()
        .flat_map(|(arc, value)| extension(&[3, *arc], value))
        .collect();
    list.extend(extension(&[4], hwid));
    tlv(0x30, &tlv(0x30, &tlv(0xa3, &tlv(0x30, &list))))
}

fn turin_levels() -> Vec<(u8, &'static [u8])> {
    vec![
        (9, &[2, 1, 1]),
        (1, &[2, 1, 2]),
        (2, &[2, 1, 3]),
        (3, &[2, 1, 4]),
        (8, &[2, 1, 5]),
    ]
}

fn turin() -> VekId {
    VekId::Vcek(VcekId::new(Generation::Turin, &[9; 8], TURIN_TCB).unwrap())
}

#[test]
fn both_forms_of_the_address_are_amds() {
    let genoa = VcekId::new(Generation::Genoa, &[0xab; 64], GENOA_TCB).unwrap();
    let expected = format!(
        "/vcek/v1/Genoa/{}?blSPL=10&teeSPL=00&snpSPL=27&ucodeSPL=219",
        "ab".repeat(64)
    );
    assert_eq!(genoa.kds_path(), expected);
    let expected = "https://kdsintf.amd.com/vcek/v1/Turin/0909090909090909\
                    ?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=05";
    assert_eq!(turin().kds_address().unwrap(), expected);
    let vlek = VekId::Vlek {
        generation: Generation::Milan,
        tcb: GENOA_TCB,
    };
    assert_eq!(vlek.kds_address(), None);
}

#[test]
fn ids_of_wrong_length_no_chip_and_stray_fmc_are_refused() {
    let new = |generation, hwid: &[u8], tcb| VcekId::new(generation, hwid, tcb).err();
    let mut padded = [0; 64];
    padded[..8].fill(9);
    assert_eq!(
        VcekId::new(Generation::Turin, &padded, TURIN_TCB).map(VekId::Vcek),
        Ok(turin())
    );
    padded[63] = 1;
    for (generation, hwid, tcb, expected, got) in [
        (Generation::Turin, &padded[..], TURIN_TCB, 8, 64),
        (Generation::Turin, &padded[..16], TURIN_TCB, 8, 16),
        (Generation::Turin, &[9; 7], TURIN_TCB, 8, 7),
        (Generation::Genoa, &[9; 8], GENOA_TCB, 64, 8),
    ] {
        assert_eq!(
            new(generation, hwid, tcb),
            Some(VekIdError::Hwid { expected, got })
        );
    }
    assert_eq!(
        new(Generation::Turin, &[0; 8], TURIN_TCB),
        Some(VekIdError::NoChip)
    );
    assert_eq!(new(Generation::Turin, &[9; 8], GENOA_TCB), Some(VekIdError::Fmc));
    assert_eq!(new(Generation::Genoa, &[9; 64], TURIN_TCB), Some(VekIdError::Fmc));
}

#[test]
fn a_certificate_for_another_chip_or_level_says_which() {
    let levels = turin_levels();
    assert_eq!(turin().check(&certificate(&[9; 8], &levels)), Ok(()));
    // Historic certificates wrap the id.
    assert_eq!(turin().check(&certificate(&tlv(4, &[9; 8]), &levels)), Ok(()));
    assert_eq!(
        turin().check(&certificate(&[8; 8], &levels)),
        Err(VekMismatch::Chip)
    );
    let vlek = VekId::Vlek {
        generation: Generation::Turin,
        tcb: TURIN_TCB,
    };
    assert_eq!(vlek.check(&certificate(&[8; 8], &levels)), Ok(()));
    let mut old = levels.clone();
    old[3] = (3, &[2, 1, 3]);
    let error = turin().check(&certificate(&[9; 8], &old)).unwrap_err();
    assert!(error.to_string().ends_with("expected snp 4, got 3"), "{error}");
    let error = turin().check(&certificate(&[9; 8], &levels[1..])).unwrap_err();
    assert!(error.to_string().ends_with("expected fmc 1, got none"), "{error}");
}

#[test]
fn repeated_extensions_trailing_bytes_and_other_integers_are_no_certificate() {
    let levels = turin_levels();
    let good = certificate(&[9; 8], &levels);
    let twice = [levels.clone(), vec![levels[0]]].concat();
    let padded = [levels[..4].to_vec(), vec![(8, &[2, 2, 0, 5][..])]].concat();
    let mut critical = good.clone();
    let at = critical.len() - 10;
    critical[at] = 1;
    for bad in [
        certificate(&[9; 8], &twice),
        certificate(&[9; 8], &padded),
        [good.as_slice(), &[0]].concat(),
        good[..good.len() - 1].to_vec(),
        critical,
        tlv(0x30, &[]),
        Vec::new(),
    ] {
        assert_eq!(turin().check(&bad), Err(VekMismatch::Form), "{bad:02x?}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_flips_in_what_is_read_are_seen(bytes: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
        let _ = turin().check(&bytes);
        let good = certificate(&[9; 8], &turin_levels());
        let mut flipped = good.clone();
        flipped[at.index(good.len())] ^= 1 << bit;
        prop_assert!(turin().check(&flipped).is_err());
        prop_assert!(turin().check(&good[..at.index(good.len())]).is_err());
    }

    #[test]
    fn paths_differ_where_ids_do(one: [u8; 4], other: [u8; 4]) {
        let path = |[boot_loader, tee, snp, microcode]: [u8; 4]| {
            let tcb = TcbVersion { fmc: None, boot_loader, tee, snp, microcode };
            VcekId::new(Generation::Milan, &[7; 64], tcb).unwrap().kds_path()
        };
        prop_assert_eq!(path(one) == path(other), one == other);
    }
}
