//! What one engine accessed in one page of memory.

use std::ops::Range;

use cnnip_isa::operation::{Footprint, Operand};

use super::live::Access;
use crate::memory::index;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// Accesses that a page lists; looking through more takes longer than looking at its bytes. Tests go over to bytes early.
const FEW: usize = if cfg!(test) { 6 } else { 64 };

/// The accesses of a page that no later one makes superfluous.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Page {
    /// Their positions, ascending. Their footprints are nested.
    Few(Vec<u32>),
    /// For every byte its last write and its last read.
    Bytes(Box<LastOfBytes>),
}

impl Default for Page {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

/// One more than the position of the last access of each byte, 0 where there is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LastOfBytes {
    writes: Vec<u32>,
    reads: Vec<u32>,
}

/// The bytes of the page with this number.
pub(super) fn bytes_of(number: u64) -> Range<u64> {
    number * PAGE..(number + 1) * PAGE
}

impl Page {
    /// Adds a nested access to the list of a page, and takes out what it makes superfluous: every access that races with an
    /// older one races with it too.
    pub(super) fn add(&mut self, number: u64, position: u32, accesses: &[Access]) {
        let Self::Few(list) = self else { return };
        let access = |position: u32| &accesses[index(u64::from(position))];
        let (new, page) = (access(position), bytes_of(number));
        if new.role.is_write() && new.bytes.is_dense() && contains(&new.bytes.extent(), &page) {
            list.clear();
        } else {
            list.retain(|&old| !replaces(new, access(old), &page));
        }
        list.push(position);
        if list.len() > FEW {
            self.by_bytes(number, accesses);
        }
    }

    /// Goes over from a list of accesses to the last of each byte.
    pub(super) fn by_bytes(&mut self, number: u64, accesses: &[Access]) {
        let Self::Few(list) = self else { return };
        let size = index(PAGE);
        let mut bytes = LastOfBytes { writes: vec![0; size], reads: vec![0; size] };
        for &position in list.iter() {
            let access = &accesses[index(u64::from(position))];
            access.bytes.for_each_run_in(&bytes_of(number), |run| bytes.set(number, run, access, position));
        }
        *self = Self::Bytes(Box::new(bytes));
    }

    /// Gives every access its new position, or forgets it where there is none.
    pub(super) fn renumber(&mut self, new_position: impl Fn(u32) -> Option<u32>) {
        match self {
            Self::Few(list) => *list = list.iter().filter_map(|&position| new_position(position)).collect(),
            Self::Bytes(bytes) => {
                for last in bytes.writes.iter_mut().chain(&mut bytes.reads).filter(|last| **last > 0) {
                    *last = new_position(*last - 1).map_or(0, |position| position + 1);
                }
                if bytes.writes.iter().chain(&bytes.reads).all(|&last| last == 0) {
                    *self = Self::default();
                }
            }
        }
    }

    /// Calls `visit` with the position of every access that the page names.
    pub(super) fn for_each(&self, mut visit: impl FnMut(u32)) {
        match self {
            Self::Few(list) => list.iter().copied().for_each(visit),
            Self::Bytes(bytes) => {
                bytes.writes.iter().chain(&bytes.reads).filter_map(|last| last.checked_sub(1)).for_each(&mut visit);
            }
        }
    }
}

impl LastOfBytes {
    /// Notes an access to the bytes of `run`, all in page `number`.
    pub(super) fn set(&mut self, number: u64, run: Range<u64>, access: &Access, position: u32) {
        let lasts = if access.role.is_write() { &mut self.writes } else { &mut self.reads };
        let start = number * PAGE;
        lasts[index(run.start - start)..index(run.end - start)].fill(position + 1);
    }

    /// Position and byte of an access to a byte of `run`, from position `first` on, that conflicts with an operand.
    pub(super) fn find(&self, number: u64, run: &Range<u64>, operand: &Operand, first: u32) -> Option<(u32, u64)> {
        let start = number * PAGE;
        let within = |lasts: &[u32]| {
            let run = &lasts[index(run.start - start)..index(run.end - start)];
            let offset = run.iter().position(|&last| last > first)?;
            Some((run[offset] - 1, offset))
        };
        let read = || if operand.role.is_write() { within(&self.reads) } else { None };
        let (position, offset) = within(&self.writes).or_else(read)?;
        Some((position, run.start + u64::try_from(offset).ok()?))
    }
}

/// True if whatever conflicts with `old` within `page` conflicts with `new` too.
fn replaces(new: &Access, old: &Access, page: &Range<u64>) -> bool {
    (new.role.is_write() || !old.role.is_write()) && covers(&new.bytes, &old.bytes, page)
}

fn covers(new: &Footprint, old: &Footprint, page: &Range<u64>) -> bool {
    let old_extent = old.extent();
    let part = old_extent.start.max(page.start)..old_extent.end.min(page.end);
    new == old || new.is_dense() && contains(&new.extent(), &part)
}

fn contains(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
