//! What must hold of a manifest whatever its bytes; for `tests/fuzz` alone.

use bastide_attestation::UnixTime;

use super::canonical::canonical;
use super::model::read_unverified;
use super::signature::Signature;
use super::xml::{Document, MAX_BYTES};
use super::{Expiry, RimAnchor, RimMemo, RimTrust, authenticate_rim};
use crate::crypto::provider;

/// See [`crate::fuzzing::rim_xml`].
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(document) = Document::parse(bytes) else {
        return;
    };
    let once = canonical(document.root(), None);
    if once.len() <= MAX_BYTES {
        let again = Document::parse(&once).map(|document| canonical(document.root(), None));
        assert_eq!(again.as_deref(), Ok(&once[..]));
    }
    if Signature::read(&document, provider()).is_ok() {
        read_unverified(&document);
    }
    let trust = RimTrust {
        anchors: &[RimAnchor::nvidia()],
        expiry: &Expiry::Grace { days: u16::MAX },
        crypto: provider(),
        memo: &RimMemo::default(),
        now: UnixTime::from_secs(1_748_736_000),
    };
    assert!(authenticate_rim(bytes, &trust).is_err());
}
