//! A small file never makes the reader allocate much, whatever its counts say.
//!
//! The test counts what the allocator hands out, which takes an allocator of its own: hence a test file for itself, with the
//! only `unsafe` outside of the mapping module.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cnnip_package::Package;
use common::{reseal, sample};

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, with a count of this thread's bytes.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells that allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().wrapping_add(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here and there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: as above, for `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Most bytes that reading held at one time.
fn peak(bytes: &[u8]) -> usize {
    HELD.set(0);
    PEAK.set(0);
    drop(Package::read(bytes));
    PEAK.get()
}

/// What a file's bytes justify: tables in memory are a few times larger than in the file, and problems are limited.
fn bound(bytes: &[u8]) -> usize {
    16 * bytes.len() + 64 * 1024
}

#[test]
fn no_count_makes_the_reader_allocate_beyond_its_file() {
    let bytes = sample().to_bytes();
    for at in 0..bytes.len() - 4 {
        for count in [u32::MAX, i32::MAX as u32, 0x0100_0000, 0x0001_0000, bytes.len() as u32] {
            let mut hostile = bytes.clone();
            hostile[at..at + 4].copy_from_slice(&count.to_le_bytes());
            reseal(&mut hostile);
            let peak = peak(&hostile);
            assert!(peak <= bound(&hostile), "{peak} bytes for count {count:#x} at {at:#x}");
        }
    }
}

#[test]
fn a_large_table_takes_a_few_times_its_bytes() {
    let mut package = sample();
    package.layers[0].sources = vec![String::new(); 100_000];
    let bytes = package.to_bytes();
    let peak = peak(&bytes);
    assert!((100_000..=bound(&bytes)).contains(&peak), "{peak} bytes for a file of {}", bytes.len());
}
