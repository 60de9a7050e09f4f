//! Manifests from bytes to verdict: the real ones, and what becomes of them
//! when they are changed.

mod mutation;
mod synthetic;
mod wrapping;

use super::*;
use crate::crypto::provider;
use crate::nvidia::tests::files::{DRIVER, SWITCH, VBIOS, file};
use bastide_attestation::UnixTime;

/// 2025-06-01T00:00:00Z
pub(in crate::nvidia) const AT_T1: u64 = 1_748_736_000;
/// 2026-11-26T00:00:00Z
pub(in crate::nvidia) const AT_T2: u64 = 1_795_651_200;

/// With NVIDIA's root, nothing remembered, and expired signers refused.
pub(in crate::nvidia) fn authenticate(bytes: &[u8], now: u64) -> Result<AuthenticRim, RimFault> {
    authenticate_with(
        bytes,
        &[RimAnchor::nvidia()],
        now,
        &Expiry::Strict,
        &RimMemo::default(),
    )
}

fn authenticate_with(
    bytes: &[u8],
    anchors: &[RimAnchor],
    now: u64,
    expiry: &Expiry,
    memo: &RimMemo,
) -> Result<AuthenticRim, RimFault> {
    let trust = RimTrust {
        anchors,
        expiry,
        crypto: provider(),
        memo,
        now: UnixTime::from_secs(now),
    };
    authenticate_rim(bytes, &trust)
}

const DRIVER_144: &str = "rim/NV_GPU_DRIVER_GH100_550.144.03.xml";

#[test]
fn every_real_manifest_has_its_verdict_at_two_times() {
    let expired = |since| {
        Err(RimFault::SignerExpired {
            index: 0,
            since: UnixTime::from_secs(since),
        })
    };
    let early = |from| {
        Err(RimFault::NotYetValid {
            index: 0,
            from: UnixTime::from_secs(from),
        })
    };
    let length = || Err(RimFault::Chain(ChainFault::Length(2)));
    for (name, at_t1, at_t2) in [
        (DRIVER, Ok(21), expired(1_780_279_709)),
        (VBIOS, Ok(12), expired(1_771_802_278)),
        (DRIVER_144, Ok(21), Ok(21)),
        (SWITCH, early(1_779_314_571), Ok(31)),
        (
            "rim/incorrect_signature_driver_rim.xml",
            Err(RimFault::Signature),
            Err(RimFault::Signature),
        ),
        ("rim/incorrect_cert_chain_driver_rim.xml", length(), length()),
    ] {
        let Some(bytes) = file(name) else { return };
        for (now, expected) in [(AT_T1, at_t1), (AT_T2, at_t2)] {
            let got = authenticate(&bytes, now).map(|rim| rim.golden().len());
            assert_eq!(got, expected, "{name} at {now}");
        }
    }
}

#[test]
fn a_manifest_says_what_it_is_for() {
    let Some(bytes) = file(VBIOS) else { return };
    let rim = authenticate(&bytes, AT_T1).unwrap();
    assert_eq!((rim.product(), rim.edition()), ("GH100", Edition::Gpu));
    assert_eq!((rim.name(), rim.version()), ("GH100", "96.00.9F.00.01"));
    assert!(rim.tag_id().starts_with("9e1cfb016be42b16"));
    assert_eq!(*rim.sha256(), bastide_attestation::sha256(&[&bytes]));
    assert_eq!(rim.anchor(), &RimAnchor::nvidia());
    assert_eq!((rim.certificates().len(), rim.validity().len()), (4, 4));
    let until = UnixTime::from_secs(1_771_802_278);
    assert_eq!(rim.standing(), Standing::Valid { until });
    let indices: Vec<_> = rim.golden().iter().map(|golden| golden.index).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]);
    assert_eq!(rim.golden()[11].alternatives.len(), 4);
}

#[test]
fn a_manifest_of_another_device_is_not_selected() {
    let Some(bytes) = file(VBIOS) else { return };
    let rim = authenticate(&bytes, AT_T1).unwrap();
    let select = |product, edition, version| rim.require_for(product, edition, version);
    let lower = Version::Vbios("96.00.9f.00.01");
    assert_eq!(select("GH100", Edition::Gpu, lower), Ok(()));
    assert!(matches!(
        select("GB100", Edition::Gpu, lower),
        Err(SelectionFault::Product { .. })
    ));
    assert!(matches!(
        select("gh100", Edition::Gpu, lower),
        Err(SelectionFault::Product { .. })
    ));
    assert!(matches!(
        select("GH100", Edition::Switch, lower),
        Err(SelectionFault::Edition { .. })
    ));
    for version in [
        Version::Vbios("96.00.9F.00.02"),
        Version::Vbios("96.00.9F.00.0"),
        Version::Driver("96.00.9f.00.01"),
        Version::Driver("550.90.07"),
    ] {
        let fault = select("GH100", Edition::Gpu, version);
        assert!(
            matches!(fault, Err(SelectionFault::Version { .. })),
            "{version:?}"
        );
    }
    let Some(bytes) = file(SWITCH) else { return };
    let rim = authenticate(&bytes, AT_T2).unwrap();
    assert_eq!(
        rim.require_for("LS10", Edition::Switch, Version::Vbios("96.10.55.00.01")),
        Ok(())
    );
}

#[test]
fn an_expired_manifest_needs_grace_or_a_pin() {
    let Some(bytes) = file(DRIVER) else { return };
    let expired = UnixTime::from_secs(1_780_279_709);
    let decide = |expiry: &Expiry| {
        authenticate_with(&bytes, &[RimAnchor::nvidia()], AT_T2, expiry, &RimMemo::default())
            .map(|rim| rim.standing())
    };
    assert_eq!(
        decide(&Expiry::Grace { days: 178 }),
        Ok(Standing::Grace { expired })
    );
    assert!(matches!(
        decide(&Expiry::Grace { days: 177 }),
        Err(RimFault::SignerExpired { .. })
    ));
    let sha256 = vec![bastide_attestation::sha256(&[&bytes])];
    assert_eq!(
        decide(&Expiry::Pinned { sha256 }),
        Ok(Standing::Pinned { expired })
    );
    assert!(
        decide(&Expiry::Pinned {
            sha256: vec![[0; 32]]
        })
        .is_err()
    );
}

#[test]
fn no_root_but_a_pinned_one_vouches_for_a_manifest() {
    let Some(bytes) = file(DRIVER) else { return };
    let mut other = RimAnchor::nvidia();
    other.root.spki = bastide_attestation::SpkiDigest::new([1; 32]);
    let mut same_key = RimAnchor::nvidia();
    same_key.root.certificate = Some([1; 32]);
    for anchors in [&[][..], &[other][..], &[same_key][..]] {
        let fault = authenticate_with(&bytes, anchors, AT_T1, &Expiry::Strict, &RimMemo::default());
        assert!(matches!(
            fault,
            Err(RimFault::Chain(ChainFault::RootNotPinned { .. }))
        ));
    }
}

/// Counts, and answers as the provider does.
#[derive(Debug, Default)]
struct Counting(core::sync::atomic::AtomicUsize);

impl crate::crypto::Crypto for Counting {
    fn rsa_pss_sha384_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false
    }
    fn rsa_pkcs1_sha256_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false
    }
    fn p384_sha384_verify(&self, point: &[u8], message: &[u8], signature: &[u8; 96]) -> bool {
        self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        provider().p384_sha384_verify(point, message, signature)
    }
}

#[test]
fn a_manifest_seen_before_costs_no_signature_and_is_judged_anew() {
    let Some(bytes) = file(DRIVER) else { return };
    let (crypto, memo) = (Counting::default(), RimMemo::default());
    let anchors = [RimAnchor::nvidia()];
    let at = |bytes: &[u8], anchors: &[RimAnchor], now| {
        let now = UnixTime::from_secs(now);
        let trust = RimTrust {
            anchors,
            expiry: &Expiry::Strict,
            crypto: &crypto,
            memo: &memo,
            now,
        };
        authenticate_rim(bytes, &trust)
    };
    let count = || crypto.0.load(core::sync::atomic::Ordering::Relaxed);
    assert!(at(&bytes, &anchors, AT_T1).is_ok());
    // Four certificates and the manifest.
    assert_eq!((count(), memo.len()), (5, 1));
    assert_eq!(at(&bytes, &anchors, AT_T1).unwrap().golden().len(), 21);
    assert!(matches!(
        at(&bytes, &anchors, AT_T2),
        Err(RimFault::SignerExpired { .. })
    ));
    assert!(matches!(
        at(&bytes, &[], AT_T1),
        Err(RimFault::Chain(ChainFault::RootNotPinned { .. }))
    ));
    assert_eq!(count(), 5);
    // Other bytes are another file, whatever it says; and only what verified is kept.
    let changed = String::from_utf8(bytes)
        .unwrap()
        .replace("Measurement_7\"", "Measurement_8\"");
    assert_eq!(
        at(changed.as_bytes(), &anchors, AT_T1).unwrap_err(),
        RimFault::Digest
    );
    assert_eq!(memo.len(), 1);
}
