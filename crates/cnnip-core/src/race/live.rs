//! What one engine accessed and may still race.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Range;

use cnnip_isa::operation::{Footprint, Operand, Role, Space};

use super::page::{PAGE, Page, bytes_of};
use crate::CommandId;
use crate::memory::index;

/// An access of an engine.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Access {
    /// Number of its command.
    pub(super) epoch: u64,
    pub(super) role: Role,
    pub(super) bytes: Footprint,
    pub(super) at: CommandId,
}

/// One engine's accesses: compared one by one while few of them are unordered, else found by the pages they touch.
///
/// A page lists the few accesses that no later one makes superfluous, and each is compared by its strides. Where there are many,
/// or strides are at odds, the page keeps the last accesses of every byte instead. So the time that a check takes is bounded by
/// the bytes of the operation itself, however many accesses there were before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Live {
    /// In the order of their starts.
    accesses: Vec<Access>,
    /// How many of them, the oldest, are in pages.
    paged: usize,
    /// Pages by number.
    memories: BTreeMap<Space, Vec<Page>>,
    /// Length at which `accesses` is pruned.
    due: usize,
}

/// Below this many accesses pruning is not worth it.
const FEW: usize = 64;

/// Unordered accesses that are compared one by one; their extents differ, mostly. Tests go over to pages early.
const NEAR: usize = if cfg!(test) { 4 } else { 64 };

/// What looking for a race came to.
enum Found {
    Nothing,
    Race(u32, u64),
    /// Strides at odds: pages must be kept by bytes.
    Hard,
}

impl Live {
    /// An access with a number above `seen` that conflicts with an operand, and a byte of both.
    pub(super) fn find(&mut self, operand: &Operand, seen: u64) -> Option<(&Access, u64)> {
        let first = self.accesses.partition_point(|access| access.epoch <= seen);
        if first == self.accesses.len() {
            return None;
        }
        let is_near = self.accesses.len() - first <= NEAR;
        let mut found = if is_near { self.compare_all(operand, first) } else { Found::Hard };
        if matches!(found, Found::Hard) {
            found = self.find_by_page(operand, first);
        }
        match found {
            Found::Race(position, byte) => Some((&self.accesses[index(u64::from(position))], byte)),
            Found::Nothing | Found::Hard => None,
        }
    }

    /// Compares every access from position `first` on.
    fn compare_all(&self, operand: &Operand, first: usize) -> Found {
        for position in first..self.accesses.len() {
            match self.compare(operand, u32::try_from(position).unwrap_or(u32::MAX)) {
                Found::Nothing => {}
                found => return found,
            }
        }
        Found::Nothing
    }

    fn find_by_page(&mut self, operand: &Operand, first: usize) -> Found {
        self.page_all();
        let (first, pages) = (u32::try_from(first).unwrap_or(u32::MAX), touched_pages(&operand.bytes));
        match self.look_up(operand, &pages, first) {
            Found::Hard => {
                self.keep_by_bytes(operand.bytes.space(), &pages);
                self.look_up(operand, &pages, first)
            }
            found => found,
        }
    }

    fn look_up(&self, operand: &Operand, pages: &[u64], first: u32) -> Found {
        let Some(memory) = self.memories.get(&operand.bytes.space()) else { return Found::Nothing };
        let mut before: &[u32] = &[];
        let mut by_bytes = false;
        for page in pages.iter().map_while(|&number| memory.get(index(number))) {
            let Page::Few(list) = page else {
                by_bytes = true;
                continue;
            };
            let unordered = &list[list.partition_point(|&position| position < first)..];
            // What reaches from page to page is compared once.
            for position in unordered.iter().copied().filter(|position| before.binary_search(position).is_err()) {
                match self.compare(operand, position) {
                    Found::Nothing => {}
                    found => return found,
                }
            }
            before = unordered;
        }
        if by_bytes { look_at_bytes(memory, operand, first) } else { Found::Nothing }
    }

    fn compare(&self, operand: &Operand, position: u32) -> Found {
        let other = &self.accesses[index(u64::from(position))];
        if !operand.role.is_write() && !other.role.is_write() {
            return Found::Nothing;
        }
        match operand.bytes.meets(&other.bytes) {
            None => Found::Hard,
            Some(false) => Found::Nothing,
            Some(true) => {
                operand.bytes.first_common_byte(&other.bytes).map_or(Found::Nothing, |byte| Found::Race(position, byte))
            }
        }
    }

    fn keep_by_bytes(&mut self, space: Space, pages: &[u64]) {
        let Some(memory) = self.memories.get_mut(&space) else { return };
        for &number in pages {
            if let Some(page) = memory.get_mut(index(number)) {
                page.by_bytes(number, &self.accesses);
            }
        }
    }

    /// Adds an access.
    pub(super) fn record(&mut self, access: Access) {
        self.accesses.push(access);
    }

    /// Puts those accesses into pages that are in none yet.
    fn page_all(&mut self) {
        for position in self.paged..self.accesses.len() {
            self.put_into_pages(u32::try_from(position).unwrap_or(u32::MAX));
        }
        self.paged = self.accesses.len();
    }

    fn put_into_pages(&mut self, position: u32) {
        let access = &self.accesses[index(u64::from(position))];
        let pages = touched_pages(&access.bytes);
        let Some(&last) = pages.last() else { return };
        let memory = self.memories.entry(access.bytes.space()).or_default();
        if memory.len() <= index(last) {
            memory.resize(index(last) + 1, Page::default());
        }
        let mut by_bytes = false;
        for &number in &pages {
            let page = &mut memory[index(number)];
            if access.bytes.is_nested() {
                by_bytes |= matches!(page, Page::Bytes(_));
                page.add(number, position, &self.accesses);
            } else {
                page.by_bytes(number, &self.accesses);
                by_bytes = true;
            }
        }
        if by_bytes {
            note_bytes(memory, access, position);
        }
    }

    /// True when there are twice as many accesses as were left by the last pruning, or enough to pay for looking at all pages.
    pub(super) fn is_due(&self) -> bool {
        self.accesses.len() >= self.due.max(FEW)
    }

    /// Forgets accesses that all others have seen; where many are left, also those that no page names any more.
    pub(super) fn prune(&mut self, seen_by_all: u64) {
        let mut first = self.accesses.partition_point(|access| access.epoch <= seen_by_all);
        if self.paged <= first {
            self.accesses.drain(..first);
            self.memories.clear();
            (first, self.paged) = (0, 0);
            if self.accesses.len() <= NEAR {
                self.due = 2 * NEAR;
                return;
            }
        }
        self.page_all();
        let mut needed = vec![false; self.accesses.len()];
        let pages = || self.memories.values().flatten();
        pages().for_each(|page| page.for_each(|position| needed[index(u64::from(position))] = true));
        needed[..first].fill(false);
        let new_positions = new_positions(&needed);
        let new_position = |position: u32| new_positions[index(u64::from(position))];
        self.memories.values_mut().flatten().for_each(|page| page.renumber(new_position));
        let mut kept = needed.iter();
        self.accesses.retain(|_| kept.next() == Some(&true));
        self.paged = self.accesses.len();
        let cost: usize = self.memories.values().flatten().map(cost).sum();
        self.due = 2 * self.accesses.len() + FEW + cost / 64;
    }
}

/// Something like the nanoseconds that pruning a page takes.
fn cost(page: &Page) -> usize {
    match page {
        Page::Few(list) => 2 + list.len(),
        Page::Bytes(_) => index(4 * PAGE),
    }
}

/// Where each needed access goes when the others leave.
fn new_positions(needed: &[bool]) -> Vec<Option<u32>> {
    let mut next = 0;
    let mut place = |&needed: &bool| {
        let position = needed.then_some(next);
        next += u32::from(needed);
        position
    };
    needed.iter().map(&mut place).collect()
}

/// Calls `visit` with the part of every run in every page that is kept by bytes, and the page's number.
fn for_each_part<E>(bytes: &Footprint, mut visit: impl FnMut(u64, Range<u64>) -> Result<(), E>) -> Result<(), E> {
    bytes.try_for_each_run(|run| {
        for number in run.start / PAGE..=(run.end - 1) / PAGE {
            let page = bytes_of(number);
            visit(number, run.start.max(page.start)..run.end.min(page.end))?;
        }
        Ok(())
    })
}

fn look_at_bytes(memory: &[Page], operand: &Operand, first: u32) -> Found {
    let found = for_each_part(&operand.bytes, |number, part| {
        let Some(Page::Bytes(bytes)) = memory.get(index(number)) else { return Ok(()) };
        bytes.find(number, &part, operand, first).map_or(Ok(()), Err)
    });
    found.map_or_else(|(position, byte)| Found::Race(position, byte), |()| Found::Nothing)
}

fn note_bytes(memory: &mut [Page], access: &Access, position: u32) {
    let Ok(()) = for_each_part::<Infallible>(&access.bytes, |number, part| {
        if let Some(Page::Bytes(bytes)) = memory.get_mut(index(number)) {
            bytes.set(number, part, access, position);
        }
        Ok(())
    });
}

/// Numbers of the pages that a footprint touches, ascending.
fn touched_pages(bytes: &Footprint) -> Vec<u64> {
    let Range { start, end } = bytes.extent();
    if bytes.is_dense() {
        return (start / PAGE..end.div_ceil(PAGE)).collect();
    }
    if bytes.is_nested() {
        let next = |from: u64| bytes.first_in(&(from..end)).map(|byte| byte / PAGE);
        return std::iter::successors(next(start), |page| next((page + 1) * PAGE)).collect();
    }
    let mut pages = BTreeSet::new();
    let Ok(()) = for_each_part::<Infallible>(bytes, |number, _| {
        pages.insert(number);
        Ok(())
    });
    pages.into_iter().collect()
}
