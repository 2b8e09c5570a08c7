//! Data movement.

use cnnip_kernels::Runs;
use cnnip_lowered::Stride;

use crate::element::index;
use crate::step::{Operands, Tools};

/// Loops that the kernel has.
const LOOPS: usize = 4;

/// A transfer ready to run.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Bytes of one element that all of the destination holds first.
    fill: Option<[u8; 4]>,
    element: usize,
    start: usize,
    offset: usize,
    inner: Runs,
    /// Loops around those of the kernel, innermost first.
    outer: Vec<Stride>,
}

impl Transfer {
    /// `element` is the size of an element of the destination.
    pub(crate) fn new(layer: &cnnip_lowered::Transfer, element: usize) -> Self {
        let (inner, outer) = layer.strides.split_at(layer.strides.len().min(LOOPS));
        let of = |at: usize, get: fn(&Stride) -> u32, none| inner.get(at).map_or(none, |stride| index(get(stride)));
        Self {
            fill: layer.fill.map(i32::to_le_bytes),
            element: element.min(4),
            start: index(layer.start),
            offset: index(layer.offset),
            inner: Runs {
                bytes: index(layer.run),
                counts: std::array::from_fn(|at| of(at, |stride| stride.count, 1)),
                source: std::array::from_fn(|at| of(at, |stride| stride.from, 0)),
                destination: std::array::from_fn(|at| of(at, |stride| stride.to, 0)),
            },
            outer: outer.to_vec(),
        }
    }

    pub(crate) fn run(&self, tools: &mut Tools, operands: Operands<'_>) {
        let Operands { inputs: [input, ..], output } = operands;
        if let Some(fill) = self.fill {
            output.chunks_exact_mut(self.element).for_each(|place| place.copy_from_slice(&fill[..self.element]));
        }
        let count: u64 = self.outer.iter().map(|stride| u64::from(stride.count)).product();
        for at in 0..count {
            let (from, to) = self.place(at);
            let (Some(input), Some(output)) = (input.get(from..), output.get_mut(to..)) else { continue };
            if tools.kernels.copy_strided(input, output, &self.inner).is_err() {
                self.plain(input, output);
            }
        }
    }

    /// Where run 0 of the kernel's loops is, at an index over the outer loops.
    fn place(&self, mut at: u64) -> (usize, usize) {
        self.outer.iter().fold((self.start, self.offset), |(from, to), stride| {
            let count = u64::from(stride.count.max(1));
            let turn = index(at % count);
            at /= count;
            (from + turn * index(stride.from), to + turn * index(stride.to))
        })
    }

    /// The slow twin.
    fn plain(&self, input: &[u8], output: &mut [u8]) {
        let Runs { bytes, counts: [a, b, c, d], source, destination } = self.inner;
        for turns in (0..d).flat_map(|d| (0..c).map(move |c| (c, d))).flat_map(|(c, d)| (0..b).map(move |b| [b, c, d]))
        {
            for first in 0..a {
                let turns = [first, turns[0], turns[1], turns[2]];
                let at = |steps: [usize; LOOPS]| turns.iter().zip(steps).map(|(turn, step)| turn * step).sum::<usize>();
                let (from, to) = (at(source), at(destination));
                if let (Some(from), Some(to)) = (input.get(from..from + bytes), output.get_mut(to..to + bytes)) {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}
