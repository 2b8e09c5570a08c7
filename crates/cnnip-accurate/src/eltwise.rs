//! Element-wise functions and tables.

use std::ops::Range;

use cnnip_isa::{ElementType, EltwiseFunction};
use cnnip_kernels::{Eltwise8, Kernels, Linear8, Map, Output8, Source8, Stage};
use cnnip_lowered::Table;
use cnnip_numerics::eltwise::{Affine, Function, Input, Output};
use cnnip_numerics::quantize::{Curve, half_table};
use cnnip_numerics::{Scale, table};

use crate::element::{index, read, source, write};
use crate::error::Why;
use crate::numbers::{function, output8, scale, stage};
use crate::split::{self, spans};
use crate::step::{Operands, Overflow, Tools};
use crate::workers::Workers;

/// Elements of a sum that a fast kernel computes in a nanosecond, about.
const ELEMENTS_PER_NANOSECOND: usize = 4;

/// An element-wise layer ready to run.
#[derive(Debug)]
pub(crate) struct Eltwise {
    axes: Axes,
    inputs: Vec<ElementType>,
    output: ElementType,
    /// Of every input, for kernels.
    zeros: [i32; 2],
    stages: [Stage; 2],
    function: Function,
    pre_shift: u32,
    last: Stage,
    output8: Output8,
    arithmetic: Arithmetic,
    /// The same function of two bytes, if there is one that is faster.
    linear: Option<Linear8>,
}

/// What is done with one element of each input.
#[derive(Debug)]
enum Arithmetic {
    Stages(cnnip_numerics::Eltwise),
    Affine(Affine),
    Bytes { table: Box<[i8; 256]>, bytes: Box<[u8; 256]> },
    Words(Box<[i16; 513]>),
    Half { curve: Curve, table: Box<[u16; 256]>, multiplier: u32, shift: u32 },
}

impl Eltwise {
    pub(crate) fn new(
        layer: &cnnip_lowered::Eltwise,
        inputs: &[ElementType],
        output: ElementType,
        kernels: Kernels,
    ) -> Result<Self, Why> {
        let function = function(layer.function).unwrap_or(Function::Pass);
        let of = |at: usize| layer.inputs.get(at);
        let mut eltwise = Self {
            axes: Axes::new(layer),
            inputs: inputs.to_vec(),
            output,
            zeros: [0, 1].map(|at| of(at).map_or(0, |input| input.zero)),
            stages: [0, 1].map(|at| of(at).map_or(Stage::NONE, |input| stage(&input.stage))),
            function,
            pre_shift: layer.pre_shift,
            last: stage(&layer.stage),
            output8: output8(&layer.activation, layer.stage.mode),
            arithmetic: Arithmetic::new(layer, function)?,
            linear: None,
        };
        eltwise.linear = eltwise.linear(kernels);
        Ok(eltwise)
    }

    /// A faster function of two bytes that lie in the same place, if the layer has one.
    fn linear(&self, kernels: Kernels) -> Option<Linear8> {
        let are_together = self.axes.inner[..2] == [1; 2] && [0, 1].iter().all(|&at| self.axes.steps[at][2] == 1);
        if !are_together || self.output != ElementType::Int8 || !matches!(self.arithmetic, Arithmetic::Stages(_)) {
            return None;
        }
        let [a, b] = [0, 1].map(|at| self.source([1; 3], at, &[]));
        kernels.linear8(&self.op(a?, b?), self.output8)
    }

    fn op<'a>(&self, a: Source8<'a>, b: Source8<'a>) -> Eltwise8<'a> {
        let [a_stage, b_stage] = self.stages;
        let Stage { multiplier, shift, .. } = self.last;
        Eltwise8 { function: self.function, pre_shift: self.pre_shift, a, a_stage, b, b_stage, multiplier, shift }
    }

    pub(crate) fn run(&self, workers: &mut Workers, operands: Operands<'_>) -> Result<(), Overflow> {
        let Operands { inputs, output } = operands;
        let bytes = self.output.bytes();
        let whole = self.axes.inner();
        // Threads share the longest of the inner axes that goes on without a gap in the output.
        let count = workers.parts(whole / ELEMENTS_PER_NANOSECOND);
        let axis = self.axes.inner.iter().position(|&extent| extent > 1).unwrap_or(0);
        let spans: Vec<_> = spans(self.axes.inner[axis], count).collect();
        let step = whole / self.axes.inner[axis].max(1);
        for (at, output) in output.chunks_exact_mut((whole * bytes).max(1)).enumerate() {
            let starts = self.axes.starts(at);
            let pieces = split::cut(output, spans.iter().map(|span| span.len() * step * bytes));
            let work = |tools: &mut Tools, (span, output): (&Range<usize>, &mut [u8])| {
                let parts = [0, 1].map(|input| {
                    let bytes = self.inputs.get(input).map_or(0, |element| element.bytes());
                    let start = starts[input] + span.start * self.axes.steps[input][axis];
                    inputs[input].get(start * bytes..).unwrap_or_default()
                });
                let mut inner = self.axes.inner;
                inner[axis] = span.len();
                if self.kernel(tools, inner, parts, output) {
                    return Ok(());
                }
                let first = at * whole + span.start * step;
                self.plain(inner, parts, output).map_err(|overflow| self.place(overflow, first))
            };
            workers.run(spans.iter().zip(pieces), work)?;
        }
        Ok(())
    }

    /// Does the whole part, or nothing.
    fn kernel<'a>(&self, tools: &mut Tools, inner: [usize; 3], parts: [&'a [u8]; 2], output: &mut [u8]) -> bool {
        // The bytes of a table may be called uint8.
        let relabels = self.output == ElementType::Uint8 && matches!(self.arithmetic, Arithmetic::Bytes { .. });
        if self.output != ElementType::Int8 && !relabels {
            return false;
        }
        let [rows, columns, channels] = inner;
        let map = Map::dense(rows, columns, channels);
        let first = self.source(inner, 0, parts[0]);
        match (&self.arithmetic, first, self.source(inner, 1, parts[1])) {
            (Arithmetic::Bytes { bytes, .. }, Some(first), _) => {
                tools.kernels.table8(first.bytes, first.map, bytes, output, map).is_ok()
            }
            (Arithmetic::Stages(_), Some(a), Some(b)) if self.linear.is_some() => {
                let of = |source: Source8<'a>| source.bytes.get(..channels).unwrap_or_default();
                self.linear.is_some_and(|linear| tools.kernels.sum8(&linear, of(a), of(b), output).is_ok())
            }
            (Arithmetic::Stages(_), Some(a), b) if b.is_some() || self.inputs.len() == 1 => {
                tools.kernels.eltwise8(&self.op(a, b.unwrap_or(a)), output, map, self.output8).is_ok()
            }
            _ => false,
        }
    }

    fn source<'a>(&self, inner: [usize; 3], input: usize, bytes: &'a [u8]) -> Option<Source8<'a>> {
        source(bytes, self.axes.map(inner, input), *self.inputs.get(input)?, self.zeros[input])
    }

    /// The slow twin.
    fn plain(&self, inner: [usize; 3], parts: [&[u8]; 2], output: &mut [u8]) -> Result<(), Overflow> {
        let [rows, columns, channels] = inner;
        let places = (0..rows).flat_map(|y| (0..columns).flat_map(move |x| (0..channels).map(move |c| [y, x, c])));
        for (at, place) in places.enumerate() {
            let element = |input: usize| {
                let position = self.axes.position(input, place);
                self.inputs.get(input).map_or(0, |&element| read(parts[input], position, element))
            };
            let value = self.arithmetic.apply(element(0), element(1));
            let value = value.map_err(|overflow| Overflow::new(overflow, u32::try_from(at).unwrap_or(u32::MAX)))?;
            write(output, at, self.output, value);
        }
        Ok(())
    }

    /// The index of an element in the layer's axes, from its number within a part and that of the part's first.
    fn place(&self, overflow: Overflow, first: usize) -> Overflow {
        let mut at = first + overflow.element().first().map_or(0, |&at| index(at));
        let mut places = self.axes.extents.iter().rev().map(|&extent| {
            let extent = index(extent.max(1));
            let here = at % extent;
            at /= extent;
            u32::try_from(here).unwrap_or(u32::MAX)
        });
        let innermost = places.next().unwrap_or(0);
        let (value, width) = (overflow.value, overflow.width);
        let found = Overflow::new(cnnip_numerics::AccumulatorOverflow { value, width }, innermost);
        places.fold(found, Overflow::within)
    }
}

impl Arithmetic {
    fn new(layer: &cnnip_lowered::Eltwise, function: Function) -> Result<Self, Why> {
        Ok(match &layer.table {
            None if layer.function == EltwiseFunction::Affine => Self::Affine(affine(layer)),
            None => Self::Stages(stages(layer, function)?),
            Some(Table::Bytes(entries)) => {
                Self::Bytes { bytes: Box::new(entries.map(i8::cast_unsigned)), table: entries.clone() }
            }
            Some(Table::Words(entries)) => Self::Words(entries.clone()),
            Some(Table::Half { curve, multiplier, shift }) => {
                Self::Half { curve: *curve, table: Box::new(half_table()), multiplier: *multiplier, shift: *shift }
            }
        })
    }

    fn apply(&self, a: i32, b: i32) -> Result<i32, cnnip_numerics::AccumulatorOverflow> {
        let word = i16::try_from(a).unwrap_or(i16::MAX);
        Ok(match self {
            Self::Stages(stages) => stages.apply(a, b)?,
            Self::Affine(affine) => affine.apply(a, b),
            Self::Bytes { table, .. } => table::lookup_256(table, i8::try_from(a).unwrap_or(i8::MAX)).into(),
            Self::Words(entries) => table::lookup_513(entries, word).into(),
            Self::Half { curve, table, multiplier, shift } => {
                let input = table::half_table_input(word, *multiplier, *shift);
                match curve {
                    Curve::Sigmoid => table::sigmoid_i16(table, input).into(),
                    Curve::Tanh => table::tanh_i16(table, input).into(),
                }
            }
        })
    }
}

/// The numbers of the function `affine`.
fn affine(layer: &cnnip_lowered::Eltwise) -> Affine {
    let of = |at: usize| layer.inputs.get(at);
    let factor = |at: usize| of(at).map_or(0.0, |input| f32::from_bits(input.stage.multiplier));
    Affine {
        scales: [factor(0), factor(1)],
        zero_points: [0, 1].map(|at| of(at).map_or(0, |input| input.zero)),
        offset: f32::from_bits(layer.stage.multiplier),
        zero_point: layer.activation.zero,
        min: layer.activation.min,
        max: layer.activation.max,
    }
}

fn stages(layer: &cnnip_lowered::Eltwise, function: Function) -> Result<cnnip_numerics::Eltwise, Why> {
    let input = |at: usize| match layer.inputs.get(at) {
        Some(input) => Ok(Input { zero_point: input.zero, scale: scale(&input.stage)? }),
        None => Ok(Input { zero_point: 0, scale: Scale::NONE }),
    };
    let activation = &layer.activation;
    let output =
        Output { scale: scale(&layer.stage)?, zero_point: activation.zero, min: activation.min, max: activation.max };
    Ok(cnnip_numerics::Eltwise::new(
        function,
        layer.pre_shift,
        input(0).map_err(Why::Scale)?,
        input(1).map_err(Why::Scale)?,
        output,
    )?)
}

/// The axes of a layer, merged where all operands go on without a gap: outer loops around rows, columns and channels.
#[derive(Debug)]
struct Axes {
    /// As the layer has them.
    extents: Vec<u32>,
    /// Loops around the inner three, outermost first: times, and elements that each input moves.
    outer: Vec<(usize, [usize; 2])>,
    /// Rows, columns, channels.
    inner: [usize; 3],
    /// Elements that each input moves along them.
    steps: [[usize; 3]; 2],
}

impl Axes {
    fn new(layer: &cnnip_lowered::Eltwise) -> Self {
        let steps = |axis: usize| {
            [0, 1].map(|at| layer.inputs.get(at).and_then(|input| input.steps.get(axis)).map_or(0, |&step| index(step)))
        };
        let mut merged: Vec<(usize, [usize; 2])> = Vec::new();
        for (axis, &extent) in layer.extents.iter().enumerate().filter(|&(_, &extent)| extent != 1) {
            let (extent, steps) = (index(extent), steps(axis));
            match merged.last_mut() {
                Some((count, before)) if (0..2).all(|at| before[at] == steps[at] * extent) => {
                    (*count, *before) = (*count * extent, steps);
                }
                _ => merged.push((extent, steps)),
            }
        }
        // Kernels take channels that are adjacent or all the same.
        if merged.last().is_some_and(|(_, steps)| steps.iter().any(|&step| step > 1)) {
            merged.push((1, [1; 2]));
        }
        let mut inner: [(usize, [usize; 2]); 3] = [(1, [0; 2]); 3];
        for axis in inner.iter_mut().rev() {
            *axis = merged.pop().unwrap_or((1, [0; 2]));
        }
        Self {
            extents: layer.extents.clone(),
            outer: merged,
            inner: inner.map(|(extent, _)| extent),
            steps: [0, 1].map(|at| inner.map(|(_, steps)| steps[at])),
        }
    }

    /// Elements of the inner axes.
    fn inner(&self) -> usize {
        self.inner.iter().product()
    }

    /// First element of each input at an index over the outer loops.
    fn starts(&self, mut at: usize) -> [usize; 2] {
        self.outer.iter().rev().fold([0; 2], |[a, b], &(count, steps)| {
            let turn = at % count.max(1);
            at /= count.max(1);
            [a + turn * steps[0], b + turn * steps[1]]
        })
    }

    /// Element of an input that belongs to a place in the inner axes.
    fn position(&self, input: usize, place: [usize; 3]) -> usize {
        place.iter().zip(self.steps[input]).map(|(at, step)| at * step).sum()
    }

    /// An 8-bit input of a part; one channel stands for all where it repeats.
    fn map(&self, [h, w, channels]: [usize; 3], input: usize) -> Map {
        let [row, pix, step] = self.steps[input];
        Map { h, w, c: if step == 0 { 1 } else { channels }, row, pix }
    }
}
