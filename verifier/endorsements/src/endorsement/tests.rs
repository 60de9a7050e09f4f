//! Simulated endorsements, and real ones where they are recorded.

use bastide_attestation::snp::{SnpReport, VcekId};
use bastide_attester::simulator::Generation as Simulated;
use proptest::prelude::*;

use super::*;
use crate::simulated::{NOW, guest, guest_at, issued};

#[test]
fn a_guests_endorsements_are_read_and_written_back() {
    for generation in Simulated::ALL {
        let guest = guest(generation);
        let vcek = Endorsement::read(guest.name(), &guest.vcek).unwrap();
        assert_eq!(vcek.encode(), guest.vcek);
        let chain = Endorsement::read(guest.chain_name(), &guest.chain).unwrap();
        assert_eq!((chain.encode(), chain.objects().len()), (guest.chain.clone(), 2));
        let crl = Endorsement::read(guest.crl_name(), &guest.crl).unwrap();
        assert_eq!((crl.encode(), crl.issued()), (guest.crl.clone(), issued(NOW)));
    }
}

#[test]
fn another_chip_level_product_or_kind_is_named() {
    let (genoa, turin) = (guest(Simulated::Genoa), guest(Simulated::Turin));
    let other = guest_at(Simulated::Genoa, 7, NOW, None);
    assert_eq!(
        Endorsement::read(genoa.name(), &other.vcek),
        Err(VekMismatch::Chip.into())
    );
    let older = VcekId::new(
        genoa.id.generation(),
        genoa.id.hwid(),
        bastide_attestation::snp::TcbVersion {
            microcode: 1,
            ..*genoa.id.tcb()
        },
    );
    let error = Endorsement::read(Name::Vcek(older.unwrap()), &genoa.vcek).unwrap_err();
    assert!(
        error.to_string().ends_with("expected microcode 1, got 84"),
        "{error}"
    );
    let error = Endorsement::read(genoa.chain_name(), &turin.chain).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected ASK or ASVK `SEV-Genoa`, got `SEV-Turin`"
    );
    let vlek = Name::Chain(genoa.id.generation(), SigningKey::Vlek);
    let error = Endorsement::read(vlek, &genoa.chain).unwrap_err();
    assert!(error.to_string().contains("`SEV-VLEK-Genoa`"), "{error}");
    let error = Endorsement::read(genoa.crl_name(), &turin.crl).unwrap_err();
    assert_eq!(error.to_string(), "expected issuer `ARK-Genoa`, got `ARK-Turin`");
    // A certificate is no list, a list no certificate, a chain neither.
    for (name, bytes) in [
        (genoa.crl_name(), &genoa.vcek),
        (genoa.name(), &genoa.crl),
        (genoa.name(), &genoa.chain),
        (genoa.chain_name(), &genoa.vcek),
        (genoa.chain_name(), &genoa.crl),
    ] {
        assert!(Endorsement::read(name, bytes).is_err(), "{name}");
    }
}

#[test]
fn a_swapped_chain_a_lone_certificate_and_a_third_are_refused() {
    let genoa = guest(Simulated::Genoa);
    let text = String::from_utf8(genoa.chain.clone()).unwrap();
    let end = text.find("-----END CERTIFICATE-----\n").unwrap() + 26;
    let (ask, ark) = text.split_at(end);
    let read = |text: String| Endorsement::read(genoa.chain_name(), text.as_bytes());
    assert!(matches!(
        read(format!("{ark}{ask}")),
        Err(FormError::CommonName { .. })
    ));
    assert_eq!(read(ask.to_owned()), Err(FormError::ChainLength { got: 1 }));
    assert_eq!(
        read(format!("{ask}{ark}{ark}")),
        Err(FormError::ChainLength { got: 3 })
    );
    assert!(matches!(read(ask.replace("END", "FIN")), Err(FormError::Pem(_))));
}

#[test]
fn web_pages_trailing_bytes_cuts_and_long_answers_are_refused() {
    let genoa = guest(Simulated::Genoa);
    let page = b"\n<!DOCTYPE html><html>sign in</html>";
    for (name, good) in [
        (genoa.name(), &genoa.vcek),
        (genoa.chain_name(), &genoa.chain),
        (genoa.crl_name(), &genoa.crl),
    ] {
        let read = |bytes: &[u8]| Endorsement::read(name, bytes).unwrap_err();
        assert!(matches!(read(page), FormError::WebPage { .. }), "{name}");
        let long = [good.clone(), vec![b'\n'; name.max_bytes()]].concat();
        assert_eq!(
            read(&long),
            FormError::TooLarge {
                limit: name.max_bytes()
            }
        );
        read(&good[..good.len() - 40]);
        read(b"");
        if !matches!(name, Name::Chain(..)) {
            read(&[good.as_slice(), &[0]].concat());
            read(&good.repeat(2));
        }
    }
}

/// Real certificates, chains and lists are what their names say.
#[test]
fn recorded_endorsements_are_read() {
    let folder = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        std::path::PathBuf::from,
    );
    let read = |path: &str| std::fs::read(folder.join("snp").join(path));
    if read("genoa-v3/report.bin").is_err() {
        println!("ignored: no vectors");
        return;
    }
    for folder in ["genoa-v3", "genoa-v5", "turin-v5"] {
        let report = SnpReport::parse(&read(&format!("{folder}/report.bin")).unwrap()).unwrap();
        let names = Name::all_for(&VekId::of(&report).unwrap());
        let vcek = read(&format!("{folder}/vcek.der")).unwrap();
        Endorsement::read(names[0], &vcek).unwrap();
    }
    for (file, name) in [
        ("ask-ark-genoa.pem", "vcek-genoa-chain.pem"),
        ("ask-ark-milan.pem", "vcek-milan-chain.pem"),
        ("ask-ark-turin.pem", "vcek-turin-chain.pem"),
        ("asvk-ark-genoa.pem", "vlek-genoa-chain.pem"),
        ("asvk-ark-milan.pem", "vlek-milan-chain.pem"),
        ("asvk-ark-turin.pem", "vlek-turin-chain.pem"),
    ] {
        let bytes = read(&format!("endorsements/{file}")).unwrap();
        let chain = Endorsement::read(name.parse().unwrap(), &bytes).unwrap();
        let again = Endorsement::read(*chain.name(), &chain.encode()).unwrap();
        assert_eq!(again, chain, "{name}");
    }
    for (file, name) in [
        ("crl-genoa.pem", "vcek-genoa-crl.der"),
        ("crl-milan.pem", "vlek-milan-crl.der"),
    ] {
        let pem = read(&format!("endorsements/{file}")).unwrap();
        let list = objects(&pem, Kind::RevocationList).unwrap();
        Endorsement::read(name.parse().unwrap(), &list[0]).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reading_never_panics(bytes: Vec<u8>, name in crate::name::tests::any_name()) {
        let _ = Endorsement::read(name, &bytes);
        let _ = Endorsement::read(name, &[&[0x30, 0x03], bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_endorsements_never_panic_nor_equal(at: prop::sample::Index, bit in 0_u8..8) {
        static GUEST: std::sync::LazyLock<crate::simulated::Guest> = std::sync::LazyLock::new(|| guest(Simulated::Genoa));
        let genoa = &*GUEST;
        for (name, good) in [(genoa.name(), &genoa.vcek), (genoa.chain_name(), &genoa.chain), (genoa.crl_name(), &genoa.crl)] {
            let mut flipped = good.clone();
            let at = at.index(flipped.len());
            flipped[at] ^= 1 << bit;
            if let Ok(read) = Endorsement::read(name, &flipped) {
                prop_assert_ne!(read, Endorsement::read(name, good).unwrap());
            }
            prop_assert!(Endorsement::read(name, &good[..at]).is_err());
        }
    }
}
