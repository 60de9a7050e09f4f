//! What an appraisal allocates: in steady state, with the chain and the leaf
//! remembered, nothing but the verdict that it returns. A global allocator
//! counts; when something is freed before the verdict is there, the test says
//! which lines had allocated it.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "evidence has more parts than this test needs")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};

use bastide_attestation::{Appraiser, Decision};
use bastide_verifier::Verifier;

use support::pki::{CrlSpec, Kind};
use support::{Case, Made, NOW, expectation, policies};

/// The system's allocator, watched where a thread asks for it.
struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

thread_local! {
    /// Whether this thread's allocations are counted.
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocated: 0, grown: 0, freed: 0 }) };
    /// Living allocations and who made them, where that is asked for.
    static LIVING: RefCell<Option<Vec<(usize, Backtrace)>>> = const { RefCell::new(None) };
    static FREED: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

/// What happened while it was counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    allocated: usize,
    grown: usize,
    freed: usize,
}

/// Counts one event, and runs `note` without counting what that allocates.
fn count(event: fn(&mut Counts), note: impl FnOnce()) {
    // A thread that is ending has nothing left to count with.
    let _ = COUNTING.try_with(|counting| {
        if counting.replace(false) {
            let mut counts = COUNTS.get();
            event(&mut counts);
            COUNTS.set(counts);
            note();
            counting.set(true);
        }
    });
}

fn born(address: usize) {
    LIVING.with_borrow_mut(|living| {
        if let Some(living) = living {
            living.push((address, Backtrace::force_capture()));
        }
    });
}

fn died(address: usize) {
    LIVING.with_borrow_mut(|living| {
        let Some(living) = living else { return };
        if let Some(at) = living.iter().position(|(known, _)| *known == address) {
            let (_, maker) = living.swap_remove(at);
            FREED.with_borrow_mut(|freed| freed.push(maker));
        }
    });
}

// SAFETY: every call goes to the system's allocator with the arguments that
// came; counting touches no memory but this thread's own cells.
#[expect(unsafe_code, reason = "an allocator can't be written otherwise")]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the system's conditions.
        let pointer = unsafe { System.alloc(layout) };
        count(|counts| counts.allocated += 1, || born(pointer.addr()));
        pointer
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are the system's conditions.
        let grown = unsafe { System.realloc(pointer, layout, size) };
        count(
            |counts| counts.grown += 1,
            || {
                LIVING.with_borrow_mut(|living| {
                    for (known, _) in living.iter_mut().flatten() {
                        if *known == pointer.addr() {
                            *known = grown.addr();
                        }
                    }
                });
            },
        );
        grown
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(|counts| counts.freed += 1, || died(pointer.addr()));
        // SAFETY: the caller's promises are the system's conditions.
        unsafe { System.dealloc(pointer, layout) };
    }
}

/// Runs `work` and gives its result and what it allocated.
fn counted<T>(work: impl FnOnce() -> T) -> (T, Counts) {
    COUNTS.set(Counts::default());
    COUNTING.set(true);
    let result = work();
    COUNTING.set(false);
    (result, COUNTS.get())
}

/// The lines of this crate and of `bastide-attestation` that allocated what
/// `work` freed again.
fn culprits<T>(work: impl FnOnce() -> T) -> String {
    LIVING.set(Some(Vec::with_capacity(1024)));
    let _kept = counted(work);
    LIVING.set(None);
    let mut lines: Vec<String> = FREED
        .take()
        .iter()
        .map(|maker| {
            let text = maker.to_string();
            let place = text
                .lines()
                .map(|line| line.trim_start().trim_start_matches("at "))
                // Backtraces shorten what lies below the folder of the test.
                .find(|line| line.starts_with("./src/") || line.contains("/attestation/src/"));
            place.unwrap_or(&text).to_owned()
        })
        .collect();
    lines.sort();
    lines.join("\n  ")
}

#[test]
fn an_allocation_that_is_freed_again_is_seen_and_its_line_named() {
    let (kept, counts) = counted(|| {
        drop(std::hint::black_box(vec![1_u8; 64]));
        vec![2_u8; 64]
    });
    assert_eq!((counts.allocated, counts.freed), (2, 1), "{kept:?}");
    let lines = culprits(|| drop(std::hint::black_box(policies::with(&[]))));
    assert!(lines.contains("src/policy/load.rs:"), "{lines}");
}

/// Evidence with every part, and a verifier that has seen it.
fn remembered() -> (Made, Verifier) {
    let mut case = Case::new(Kind::Genoa);
    case.crl = Some(CrlSpec::new(Kind::Genoa));
    let made = case.make();
    let verifier = Verifier::new(policies::with(&[]));
    let first = verifier.appraise_recorded(&made.recorded(), NOW);
    assert_eq!(first.decision, Decision::Accepted, "{first:#?}");
    (made, verifier)
}

#[test]
fn reading_evidence_and_verifying_its_signatures_allocates_nothing() {
    let readers = [
        "./src/certificate.rs",
        "./src/crl.rs",
        "./src/crypto",
        "./src/der.rs",
        "./src/pss.rs",
        "./src/snp/chain.rs",
        "./src/snp/vek.rs",
        "/attestation/src/snp/",
    ];
    let (made, verifier) = remembered();
    let lines = culprits(|| verifier.appraise_recorded(&made.recorded(), NOW));
    for line in lines.lines() {
        assert!(!readers.iter().any(|reader| line.contains(reader)), "{line}");
    }
}

#[test]
fn an_appraisal_allocates_nothing_but_the_verdict_it_returns() {
    let (made, verifier) = remembered();
    let recorded = || verifier.appraise_recorded(&made.recorded(), NOW);
    let (verdict, counts) = counted(recorded);
    assert_eq!(verdict.decision, Decision::Accepted);
    assert_eq!(
        counts.freed,
        0,
        "freed before the verdict:\n  {}",
        culprits(recorded)
    );

    // A statement is decoded as CBOR: that allocates a list of what is in a map.
    let evidence = made.evidence();
    let lines = culprits(|| verifier.appraise(&evidence, &expectation(), NOW));
    let others: Vec<_> = lines
        .lines()
        .filter(|line| !line.contains("/attestation/src/codec"))
        .collect();
    assert!(
        others.is_empty(),
        "freed before the verdict:\n  {}",
        others.join("\n")
    );
}
