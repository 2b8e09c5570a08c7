//! Transpositions through the scratchpad: whole runs in and out, and cnn in between.
//!
//! DMA takes a cycle for every run, however short, so a transposition of single bytes by DMA alone takes a cycle per byte. cnn
//! reads a map with any steps between its pixels and writes as many elements per cycle as it has lanes. So a matrix of cells
//! `[b][a]` is loaded in rows of `a`, passed on with its axes exchanged, and stored in rows of `b`.

use std::ops::Range;

use cnnip_isa::operation::{Activation, Eltwise, FeatureMap, Location, Operation, OutputStage, Stage};
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

/// The jobs from `places.0` to `places.1`, if the transfer is a transposition and they take fewer than `cycles`.
pub(super) fn lower(
    site: &mut Site<'_>,
    transfer: &Transfer,
    places: (Location, Location),
    cycles: u64,
) -> Result<Option<Lowered>, Rule> {
    let matrices = Matrices::of(transfer.run, &transfer.strides, site.target);
    let Some(matrices) = matrices.filter(|_| transfer.fill.is_none()) else { return Ok(None) };
    let Some(cut) = matrices.best(site.target, cycles) else { return Ok(None) };
    site.reserve(matrices.jobs(cut).saturating_mul(3))?;
    Ok(Some(Lowering::new(site, &matrices, cut, places).lower()))
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
    fn best(&self, target: &Target, cycles: u64) -> Option<Cut> {
        let limit = |one: &Stride| one.count.min(target.max_extent);
        let cuts = [2, 1].into_iter().flat_map(|turns| {
            shrink(limit(&self.b), 16, u32::MAX).into_iter().filter_map(move |b| {
                let fits = |a: u32| self.scratchpad(Cut { a, b, turns }) <= target.sram_bytes.into();
                let a = even(self.a.count, most(limit(&self.a), fits)?);
                Some(Cut { a, b: even(self.b.count, b), turns })
            })
        });
        let (least, cut) = cuts.map(|cut| (self.cycles(cut, target), cut)).min_by_key(|&(cycles, _)| cycles)?;
        (least < cycles).then_some(cut)
    }

    fn bytes(&self, cut: Cut) -> u64 {
        u64::from(self.cell) * u64::from(cut.a) * u64::from(cut.b)
    }

    fn scratchpad(&self, cut: Cut) -> u64 {
        2 * aligned(self.bytes(cut), BUFFER_ALIGNMENT) * u64::from(cut.turns)
    }

    /// Estimated cycles: the slowest engine, and what the others do before and after it.
    fn cycles(&self, cut: Cut, target: &Target) -> u64 {
        let place = Location::dram(0, 0);
        let (a, b) = (0..cut.a, 0..cut.b);
        let sum = |operations: Vec<Operation>| operations.iter().map(|one| Cost::of(one, target).cycles).sum::<u64>();
        let parts = [
            sum(self.load(place, 0, (&a, &b), target)),
            sum(vec![self.exchange(0, 0, (&a, &b))]),
            sum(self.store(place, 0, (&a, &b), target)),
        ];
        let all: u64 = parts.iter().sum::<u64>() + JOB_CYCLES;
        let slowest = if cut.turns == 1 { all } else { parts.into_iter().max().unwrap_or(0) + JOB_CYCLES };
        slowest.saturating_mul(self.jobs(cut) - 1).saturating_add(all)
    }

    /// Cells `[b][a]`, dense in the scratchpad.
    fn load(
        &self,
        source: Location,
        address: u32,
        (a, b): (&Range<u32>, &Range<u32>),
        target: &Target,
    ) -> Vec<Operation> {
        let first = offset(source, a.start * self.a.from + b.start * self.b.from);
        let row = len(a) * self.cell;
        let strides = [Stride { count: len(b), from: self.b.from, to: row }];
        copies(first, Location::sram(address), row, &strides, target.max_extent)
    }

    /// From cells `[b][a]` to cells `[a][b]`.
    fn exchange(&self, from: u32, to: u32, (a, b): (&Range<u32>, &Range<u32>)) -> Operation {
        let (rows, columns) = (len(a), len(b));
        let output = FeatureMap::dense(to, [rows, columns, self.cell], ElementType::Int8);
        let map = FeatureMap { address: from, row: self.cell, pixel: rows * self.cell, ..output };
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

    /// Cells `[a][b]` to their places.
    fn store(
        &self,
        destination: Location,
        address: u32,
        (a, b): (&Range<u32>, &Range<u32>),
        target: &Target,
    ) -> Vec<Operation> {
        let first = offset(destination, a.start * self.a.to + b.start * self.b.to);
        let row = len(b) * self.cell;
        let strides = [Stride { count: len(a), from: row, to: self.a.to }];
        copies(Location::sram(address), first, row, &strides, target.max_extent)
    }
}

struct Lowering<'a> {
    target: &'static Target,
    matrices: &'a Matrices,
    cut: Cut,
    source: Location,
    destination: Location,
    pad: Scratchpad,
    inputs: Turns<usize>,
    outputs: Turns<usize>,
    jobs: Vec<Job>,
}

impl<'a> Lowering<'a> {
    fn new(site: &Site<'_>, matrices: &'a Matrices, cut: Cut, (source, destination): (Location, Location)) -> Self {
        let mut pad = Scratchpad::default();
        let inputs = Turns::take(&mut pad, "input", matrices.bytes(cut), cut.turns);
        let outputs = Turns::take(&mut pad, "output", matrices.bytes(cut), cut.turns);
        Self { target: site.target, matrices, cut, source, destination, pad, inputs, outputs, jobs: vec![] }
    }

    fn lower(mut self) -> Lowered {
        let Cut { a: rows, b: columns, turns } = self.cut;
        let matrices = self.matrices;
        for &start in &matrices.starts {
            for a in pieces(matrices.a.count, rows) {
                for b in pieces(matrices.b.count, columns) {
                    self.job(start, (&a, &b));
                }
            }
        }
        let plan = format!("transpose {rows} by {columns} cells of {} turns {turns}", matrices.cell);
        Lowered { plan, pad: self.pad, jobs: self.jobs }
    }

    fn job(&mut self, (from, to): (u32, u32), part: (&Range<u32>, &Range<u32>)) {
        let count = self.jobs.len();
        let buffers = vec![self.inputs.next(count).buffer, self.outputs.next(count).buffer];
        let (input, output) = (self.pad.address(buffers[0]), self.pad.address(buffers[1]));
        self.jobs.push(Job {
            loads: self.matrices.load(offset(self.source, from), input, part, self.target),
            computes: vec![self.matrices.exchange(input, output, part)],
            stores: self.matrices.store(offset(self.destination, to), output, part, self.target),
            claims: buffers.clone(),
            uses: buffers,
        });
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
