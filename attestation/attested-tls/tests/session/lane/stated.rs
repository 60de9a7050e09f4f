//! What is stated: changes and who says so, lane K's key, the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::{AttestRequest, GpuFreshness, Lane, ManifestDigest, Nonce, StatementDigest};
use bastide_attested_tls::{LaneLimits, SessionKey};

use super::gpus::{Gpus, with_gpus};
use super::scripted::{Act, Scripted, binder, epoch_of, in_background, until};

/// A client's request that knows this statement.
pub(super) fn knowing(lane: Lane, known: StatementDigest) -> AttestRequest {
    AttestRequest {
        nonce: Nonce::new([1; 32]),
        lane,
        max_age_s: 300,
        gpu: GpuFreshness::Current,
        known: Some(known),
    }
}

#[tokio::test]
async fn the_session_key_signs_for_a_statement_that_a_report_came_for() {
    let lane = Scripted::new(&[]).lane(LaneLimits::default());
    let attested = lane.attest(binder(1)).await.unwrap();
    let known = attested.statement_digest;
    let signed = lane.sign(&knowing(Lane::K, known), &binder(2)).unwrap();
    let key = epoch_of(&attested).session_key;
    assert!(signed.signature.verifies(&key, &binder(2), &known));
    assert!(!signed.signature.verifies(&key, &binder(1), &known));
    assert_eq!(
        (signed.statement_digest, signed.standing),
        (known, attested.standing)
    );
    assert!(signed.until <= Instant::now() + Duration::from_secs(300));
    assert!(lane.sign(&knowing(Lane::Auto, known), &binder(2)).is_some());
    assert_eq!((lane.counters().signatures, lane.counters().epochs), (2, 1));
}

#[tokio::test]
async fn the_session_key_signs_for_nothing_else() {
    let attester = Scripted::new(&[Act::Report, Act::Unusable]);
    let lane = attester.lane(LaneLimits::default());
    let attested = lane.attest(binder(1)).await.unwrap();
    let known = attested.statement_digest;
    let fine = knowing(Lane::Auto, known);
    let refused = [
        AttestRequest {
            lane: Lane::M,
            ..fine
        },
        AttestRequest {
            gpu: GpuFreshness::Strict,
            ..fine
        },
        AttestRequest { max_age_s: 0, ..fine },
        AttestRequest { known: None, ..fine },
        knowing(Lane::K, StatementDigest::new([9; 32])),
    ];
    for request in refused {
        assert_eq!(lane.sign(&request, &binder(2)), None, "{request:?}");
    }
    // A statement that no report came for.
    assert!(lane.attest(binder(3)).await.is_err());
    let unreported = attester.statements.lock().unwrap()[1].digest();
    assert_eq!(lane.sign(&knowing(Lane::K, unreported), &binder(2)), None);
    // One that a report came for in another boot.
    let other = Scripted::new(&[]).lane(LaneLimits::default());
    assert_eq!(other.sign(&fine, &binder(2)), None);
    // One that is older than the client takes.
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_eq!(
        lane.sign(&AttestRequest { max_age_s: 1, ..fine }, &binder(2)),
        None
    );
    assert!(lane.sign(&fine, &binder(2)).is_some());
}

#[tokio::test]
async fn a_change_of_what_is_stated_ends_the_session_key_s_word_for_older_statements() {
    type Change = fn(&mut bastide_attested_tls::EnclaveFacts);
    let changes: [Change; 4] = [
        |facts| facts.session_key = SessionKey::generate().unwrap(),
        |facts| facts.model = ManifestDigest::new([0x66; 32]),
        |facts| facts.configuration = bastide_attestation::PolicyDigest::new([0x66; 32]),
        |facts| facts.sealed_key = Some([0x66; 32]),
    ];
    for change in changes {
        let attester = Scripted::new(&[]);
        let lane = attester.lane(LaneLimits::default());
        let before = lane.attest(binder(1)).await.unwrap();
        let request = knowing(Lane::K, before.statement_digest);
        let changes = lane.changes();
        assert!(lane.sign(&request, &binder(2)).is_some());
        assert_eq!(lane.restate(|_| ()), 0);
        assert!(!changes.has_changed().unwrap());
        assert_eq!(lane.restate(change), 1);
        assert!(changes.has_changed().unwrap());
        assert_eq!(lane.sign(&request, &binder(2)), None);
        // It is stated at once, though nobody waits.
        until(|| lane.counters().epochs == 2).await;
        let stated = attester.stated();
        assert_eq!((stated[1].depth, lane.counters().sessions), (0, 1));
        let after = lane.attest(binder(3)).await.unwrap();
        let key = epoch_of(&after).session_key;
        assert_eq!(key, *lane.facts().session_key.public());
        let signed = lane
            .sign(&knowing(Lane::K, after.statement_digest), &binder(4))
            .unwrap();
        assert!(
            signed
                .signature
                .verifies(&key, &binder(4), &after.statement_digest)
        );
        let keys_alone = epoch_of(&before).model == epoch_of(&after).model
            && epoch_of(&before).configuration == epoch_of(&after).configuration;
        assert_eq!(lane.answers(&before.standing), keys_alone);
        assert!(!lane.holds(&before.standing) && lane.holds(&after.standing));
        let changed = epoch_of(&before);
        let now = epoch_of(&after);
        assert_ne!(
            (
                changed.session_key,
                changed.model,
                changed.configuration,
                changed.sealed_key
            ),
            (now.session_key, now.model, now.configuration, now.sealed_key)
        );
    }
}

#[tokio::test]
async fn no_boot_takes_another_s_identity() {
    let lane = Scripted::new(&[]).lane(LaneLimits::default());
    let boot = lane.facts().boot_id;
    assert_eq!(
        lane.restate(|facts| facts.boot_id = bastide_attestation::BootId::new([0x77; 16])),
        0
    );
    assert_eq!(lane.facts().boot_id, boot);
}

/// T13: who waits while the facts change is given those that hold now.
#[tokio::test]
async fn t13_a_report_over_facts_that_changed_meanwhile_is_nobody_s_evidence() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits::default());
    let waiting = in_background(&lane, 1).await;
    attester.asked(1).await;
    let model = ManifestDigest::new([0x66; 32]);
    assert_eq!(lane.restate(|facts| facts.model = model), 1);
    attester.let_go();
    let attested = waiting.await.unwrap().unwrap();
    assert_eq!((epoch_of(&attested).epoch, epoch_of(&attested).model), (1, model));
    assert_eq!(attested.standing.generation, 1);
    // Nor does the session key sign for the one that nobody got.
    let first = attester.statements.lock().unwrap()[0].digest();
    assert_eq!(lane.sign(&knowing(Lane::K, first), &binder(2)), None);
}

#[tokio::test]
async fn the_log_has_every_statement_in_one_chain_and_says_which_no_report_came_for() {
    let attester = Scripted::new(&[Act::Report, Act::Transient]);
    let lane = attester.lane(LaneLimits::default());
    let first = lane.attest(binder(1)).await.unwrap();
    let second = lane.attest(binder(2)).await.unwrap();
    lane.restate(|facts| facts.model = ManifestDigest::new([0x66; 32]));
    let third = lane.attest(binder(3)).await.unwrap();
    let page = lane.epochs(0, usize::MAX);
    let verified = page.verify(None).unwrap().unwrap();
    for attested in [&first, &second, &third] {
        assert!(verified.contains(&attested.statement_digest));
    }
    assert_eq!((verified.first(), verified.unreported()), (0, &[1_u64][..]));
    assert_eq!(verified.changes().len(), 1);
    assert!(verified.changes()[0].model && !verified.changes()[0].session_key);
    assert_eq!(verified.head(), Some(&third.statement_digest));
    let report = bastide_attestation::EpochLogEntry::report_digest(&first.evidence().platform);
    assert_eq!(page.entries[0].report, Some(report));
    let rest = lane.epochs(1, 2);
    assert_eq!(rest.entries, page.entries[1..3]);
}

/// The lane states a change by itself, however often that fails, and holds nobody
/// up who comes meanwhile.
#[tokio::test]
async fn a_change_whose_report_failed_is_stated_again_though_nobody_asks() {
    let began = Instant::now();
    let attester = Scripted::new(&[Act::Transient, Act::Unusable]);
    let lane = attester.lane(LaneLimits::default());
    let model = ManifestDigest::new([0x66; 32]);
    lane.restate(|facts| facts.model = model);
    until(|| lane.counters().epochs == 1).await;
    // Twice, later each time: half a second, and then a whole one.
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    let stated = attester.stated();
    assert!(stated.iter().all(|statement| statement.model == model));
    assert_eq!((stated.len(), lane.counters().failures), (3, 2));
    assert_eq!(lane.counters().sessions, 0);
    let verified = lane.epochs(0, usize::MAX).verify(None).unwrap().unwrap();
    assert_eq!(verified.unreported(), [0, 1]);
    // Once stated, it is not stated again.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(attester.stated().len(), 3);
}

#[tokio::test]
async fn a_session_that_comes_while_a_change_waits_to_be_stated_again_states_it() {
    let (attester, gpus) = (Scripted::new(&[Act::Transient]), Arc::new(Gpus::default()));
    let lane = with_gpus(&attester, &gpus, LaneLimits::default());
    lane.signal().interrupted();
    until(|| lane.counters().failures == 1).await;
    let began = Instant::now();
    let attested = lane.attest(binder(1)).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(attested.standing.generation, 1);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(attester.stated().len(), 2);
}

/// A newer change is stated at once, whatever became of the one before it.
#[tokio::test]
async fn a_change_does_not_wait_for_the_one_before_it() {
    let attester = Scripted::new(&[Act::Transient, Act::Transient, Act::Transient]);
    let lane = attester.lane(LaneLimits::default());
    lane.restate(|facts| facts.sealed_key = Some([1; 32]));
    // The third would be made a second and a half after the first.
    until(|| lane.counters().failures == 2).await;
    let began = Instant::now();
    lane.restate(|facts| facts.sealed_key = Some([2; 32]));
    until(|| lane.counters().failures == 3).await;
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    until(|| lane.counters().epochs == 1).await;
    assert_eq!(attester.stated()[3].sealed_key, Some([2; 32]));
}
