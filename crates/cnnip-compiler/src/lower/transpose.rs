//! Transpositions through the scratchpad: whole runs in and out, and cnn in between.
//!
//! DMA takes a cycle for every run, however short, so a transposition of single bytes by DMA alone takes a cycle per byte. cnn
//! reads a map with any steps between its pixels and writes as many elements per cycle as it has lanes. So a matrix of cells
//! `[b][a]` is loaded in rows of `a`, passed on with its axes exchanged, and stored in rows of `b`.

use std::ops::Range;

use cnnip_isa::operation::{Activation, Eltwise, FeatureMap, Location, Operation, OutputStage, Space, Stage};
use cnnip_isa::{ElementType, EltwiseFunction, Target};
use cnnip_timing::Cost;

use super::region::{len, offset};
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Scratchpad, Turns};
use crate::size::{aligned, even, pieces, shrink, wide};
use crate::strided::{copies, merged_loops};
use crate::tile::boxes::most;
use cnnip_lowered::{Stride, Transfer};

/// Cycles of the commands of a job, about.
const JOB_CYCLES: u64 = 60;

/// More matrices than this are small ones, which DMA alone moves as well.
const MAX_MATRICES: u64 = 1 << 12;

/// A transfer as matrices whose axes are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Matrices {
    /// Bytes of a cell, which stay together.
    cell: u32,
    /// The axis whose cells are neighbours in the source.
    a: Stride,
    /// The axis whose cells are neighbours in the destination.
    b: Stride,
    /// Where each matrix begins, in the source and in the destination.
    starts: Vec<(u32, u32)>,
}

/// How matrices are cut: cells along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    a: u32,
    b: u32,
    turns: u32,
}

/// Where a transfer goes from and to, and what it may use.
#[derive(Clone, Copy, Debug)]
struct Ways {
    target: &'static Target,
    /// Bytes of scratchpad for buffers.
    room: u64,
    source: Location,
    destination: Location,
}

/// The jobs from `places.0` to `places.1`, if the transfer is a transposition and they take fewer than `cycles`.
pub(super) fn lower(
    site: &mut Site<'_>,
    transfer: &Transfer,
    places: (Location, Location),
    cycles: u64,
) -> Result<Option<Lowered>, Rule> {
    let matrices = Matrices::of(transfer.run, &transfer.strides, site.target);
    let Some(matrices) = matrices.filter(|_| transfer.fill.is_none()) else { return Ok(None) };
    let ways = Ways { target: site.target, room: site.room(), source: places.0, destination: places.1 };
    let Some(cut) = matrices.best(&ways, cycles) else { return Ok(None) };
    site.reserve(matrices.jobs(cut).saturating_mul(3))?;
    Ok(Some(Lowering::new(site, &matrices, cut, ways).lower()))
}

impl Matrices {
    fn of(run: u32, strides: &[Stride], target: &Target) -> Option<Self> {
        let (cell, loops) = merged_loops(run, strides);
        let a = *loops.iter().find(|one| one.from == cell)?;
        let b = *loops.iter().find(|one| one.to == cell)?;
        let outer: Vec<Stride> = loops.into_iter().filter(|&one| one != a && one != b).collect();
        let many = outer.iter().fold(1, |count: u64, one| count.saturating_mul(one.count.into())) > MAX_MATRICES;
        if a == b || cell > target.max_channels || many {
            return None;
        }
        let mut starts = vec![(0, 0)];
        for outer in outer {
            let at = |i: u32| starts.iter().map(move |&(from, to)| (from + i * outer.from, to + i * outer.to));
            starts = (0..outer.count).flat_map(at).collect();
        }
        Some(Self { cell, a, b, starts })
    }

    fn jobs(&self, cut: Cut) -> u64 {
        let pieces = |one: &Stride, step: u32| u64::from(one.count.div_ceil(step));
        wide(self.starts.len()).saturating_mul(pieces(&self.a, cut.a) * pieces(&self.b, cut.b))
    }

    /// The cut that takes fewest cycles, if they are fewer than `cycles`.
    fn best(&self, ways: &Ways, cycles: u64) -> Option<Cut> {
        let limit = |one: &Stride| one.count.min(ways.target.max_extent);
        let cuts = [2, 1].into_iter().flat_map(|turns| {
            shrink(limit(&self.b), 16, u32::MAX).into_iter().filter_map(move |b| {
                let fits = |a: u32| self.scratchpad(Cut { a, b, turns }, ways) <= ways.room;
                let a = even(self.a.count, most(limit(&self.a), fits)?);
                Some(Cut { a, b: even(self.b.count, b), turns })
            })
        });
        let (least, cut) = cuts.map(|cut| (self.cycles(cut, ways), cut)).min_by_key(|&(cycles, _)| cycles)?;
        (least < cycles).then_some(cut)
    }

    /// Bytes of the buffers of a piece, input and output; 0 for what is worked on where it lies.
    fn bytes(&self, cut: Cut, ways: &Ways) -> [u64; 2] {
        let bytes = u64::from(self.cell) * u64::from(cut.a) * u64::from(cut.b);
        [ways.source, ways.destination].map(|place| if place.space == Space::Sram { 0 } else { bytes })
    }

    fn scratchpad(&self, cut: Cut, ways: &Ways) -> u64 {
        let turning: u64 = self.bytes(cut, ways).iter().map(|&bytes| aligned(bytes, BUFFER_ALIGNMENT)).sum();
        turning * u64::from(cut.turns)
    }

    /// Estimated cycles: the slowest engine, and what the others do before and after it.
    fn cycles(&self, cut: Cut, ways: &Ways) -> u64 {
        let job = self.job(ways, (0, 0), (&(0..cut.a), &(0..cut.b)), (|| 0, || 0));
        let sum =
            |operations: &[Operation]| operations.iter().map(|one| Cost::of(one, ways.target).cycles).sum::<u64>();
        let parts = [sum(&job.loads), sum(&job.computes), sum(&job.stores)];
        let all: u64 = parts.iter().sum::<u64>() + JOB_CYCLES;
        let slowest = if cut.turns == 1 { all } else { parts.into_iter().max().unwrap_or(0) + JOB_CYCLES };
        slowest.saturating_mul(self.jobs(cut) - 1).saturating_add(all)
    }

    /// The job for a part of the matrix whose places in source and destination are `from` and `to`.
    fn job(
        &self,
        ways: &Ways,
        (from, to): (u32, u32),
        (a, b): (&Range<u32>, &Range<u32>),
        (input, output): (impl FnOnce() -> u32, impl FnOnce() -> u32),
    ) -> Job {
        let mut job = Job::default();
        let limit = ways.target.max_extent;
        let source = offset(ways.source, from + a.start * self.a.from + b.start * self.b.from);
        let mut from = Rows { address: source.address, step: self.b.from };
        if source.space != Space::Sram {
            from = Rows { address: input(), step: len(a) * self.cell };
            let rows = [Stride { count: len(b), from: self.b.from, to: from.step }];
            job.loads = copies(source, Location::sram(from.address), from.step, &rows, limit);
        }
        let destination = offset(ways.destination, to + a.start * self.a.to + b.start * self.b.to);
        let mut to = Rows { address: destination.address, step: self.a.to };
        if destination.space != Space::Sram {
            to = Rows { address: output(), step: len(b) * self.cell };
            let rows = [Stride { count: len(a), from: to.step, to: self.a.to }];
            job.stores = copies(Location::sram(to.address), destination, to.step, &rows, limit);
        }
        job.computes = vec![self.exchange(from, to, (len(a), len(b)))];
        job
    }

    /// From cells `[b][a]` to cells `[a][b]`.
    fn exchange(&self, from: Rows, to: Rows, (rows, columns): (u32, u32)) -> Operation {
        let output =
            FeatureMap { row: to.step, ..FeatureMap::dense(to.address, [rows, columns, self.cell], ElementType::Int8) };
        let map = FeatureMap { address: from.address, row: self.cell, pixel: from.step, ..output };
        Operation::Eltwise(Eltwise {
            function: EltwiseFunction::Pass,
            pre_shift: 0,
            first: Stage { map, broadcast: false, zero: 0, scale: OutputStage::NONE },
            second: None,
            output,
            stage: OutputStage::NONE,
            activation: Activation { zero: 0, min: i8::MIN.into(), max: i8::MAX.into(), table: None },
        })
    }
}

/// Rows of cells in the scratchpad.
#[derive(Clone, Copy, Debug)]
struct Rows {
    address: u32,
    /// Bytes from one row to the next.
    step: u32,
}

struct Lowering<'a> {
    ways: Ways,
    matrices: &'a Matrices,
    cut: Cut,
    pad: Scratchpad,
    inputs: Turns<usize>,
    outputs: Turns<usize>,
}

impl<'a> Lowering<'a> {
    fn new(site: &mut Site<'_>, matrices: &'a Matrices, cut: Cut, ways: Ways) -> Self {
        let mut pad = site.scratchpad(matrices.scratchpad(cut, &ways));
        let [input, output] = matrices.bytes(cut, &ways);
        let inputs = Turns::take(&mut pad, "input", input, cut.turns);
        let outputs = Turns::take(&mut pad, "output", output, cut.turns);
        Self { ways, matrices, cut, pad, inputs, outputs }
    }

    fn lower(mut self) -> Lowered {
        let Cut { a: rows, b: columns, turns } = self.cut;
        let matrices = self.matrices;
        let mut jobs = vec![];
        for &start in &matrices.starts {
            for a in pieces(matrices.a.count, rows) {
                for b in pieces(matrices.b.count, columns) {
                    let number = jobs.len();
                    let input = || self.pad.address(self.inputs.next(number).buffer);
                    let output = || self.pad.address(self.outputs.next(number).buffer);
                    jobs.push(matrices.job(&self.ways, start, (&a, &b), (input, output)));
                }
            }
        }
        let plan = format!("transpose {rows} by {columns} cells of {} turns {turns}", matrices.cell);
        Lowered { plan, pad: self.pad, jobs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrices(run: u32, strides: &[(u32, u32, u32)]) -> Option<Matrices> {
        let strides: Vec<Stride> = strides.iter().map(|&(count, from, to)| Stride { count, from, to }).collect();
        Matrices::of(run, &strides, Target::by_name("v4h").unwrap())
    }

    #[test]
    fn two_axes_are_exchanged_and_the_others_are_many_matrices() {
        // [2][3][5 x 7][4] to [2][5 x 7][3][4]
        let found = matrices(1, &[(4, 1, 1), (3, 140, 4), (7, 4, 12), (5, 28, 84), (2, 420, 420)]).unwrap();
        let (a, b) = (Stride { count: 35, from: 4, to: 12 }, Stride { count: 3, from: 140, to: 4 });
        assert_eq!(found, Matrices { cell: 4, a, b, starts: vec![(0, 0), (420, 420)] });
        assert_eq!(matrices(8, &[(3, 16, 8)]), None, "a slice");
        assert_eq!(matrices(1, &[(3, 1, 1), (4, 3, 3)]), None, "a copy");
    }
}
