//! Decoding allocates nothing once it runs.
//!
//! Owns the count of allocations of the whole process; hence the only test in its file.

mod random_model;

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use bastide_engine::{Input, LoadOptions, Model, Rows, Scratch};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "a global allocator is an unsafe trait")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn decoding_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &random_model::SMALL, 2);
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).unwrap();
        let model = Model::load(
            dir.path(),
            &LoadOptions {
                threads,
                ..LoadOptions::default()
            },
        )
        .unwrap();
        let (mut cache, mut scratch) = (model.new_cache(96), Scratch::new());
        let mut decode = |from: usize, to: usize| {
            for pos in from..to {
                model
                    .forward_rows(Input::Ids(&[7]), pos, Rows::Last, &mut cache, &mut scratch)
                    .unwrap();
            }
        };
        // The longest scores, so that buffers have their size, and often, so that every thread took part.
        decode(0, 96);
        for _ in 0..20 {
            decode(60, 96);
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        decode(0, 96);
        assert_eq!(
            ALLOCATIONS.load(Ordering::Relaxed) - before,
            0,
            "{threads} threads"
        );
    }
}
