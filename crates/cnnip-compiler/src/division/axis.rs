//! Layers cut along an axis: which elements a part of one reads and writes, and the part as a layer of its own.

use std::ops::Range;

use cnnip_graph::Data;

use super::slice::{Slice, View};
use crate::lower::samples;
use crate::size::{index, small, wide};
use cnnip_lowered::{ArgMax, ConvLayer, Eltwise, Network, Pool, Resize, Sampling, Sum, Sweep, ValueId, Work};

/// What the cores share out among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Rows of the output; maps of a batch, or the pixels of a single row.
    Rows,
    /// Channels of the output.
    Channels,
}

impl Axis {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Channels => "channels",
        }
    }
}

/// Channels are cut at multiples of this: a weight block is never cut.
const LANES: u32 = 16;

/// A layer that can be cut along an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    network: &'a Network,
    work: &'a Work,
    axis: Axis,
    /// Indices of the output along the axis.
    pub(crate) extent: u32,
    /// Indices that stay together.
    pub(crate) unit: u32,
}

/// The axis of a stack of maps that has more than one index, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Batch,
    Rows,
    Columns,
}

/// A stack of maps: `[batch][rows][columns][channels]`.
#[derive(Clone, Copy, Debug)]
struct Maps {
    batch: u32,
    rows: u32,
    columns: u32,
    channels: u32,
}

impl Maps {
    /// Elements of an index of a level.
    fn step(&self, level: Level) -> u64 {
        let column = u64::from(self.channels);
        let row = column * u64::from(self.columns);
        match level {
            Level::Columns => column,
            Level::Rows => row,
            Level::Batch => row * u64::from(self.rows),
        }
    }

    fn band(&self, level: Level, range: &Range<u32>) -> Slice {
        let step = self.step(level);
        Slice::Band(u64::from(range.start) * step..u64::from(range.end) * step)
    }

    fn pixels(&self) -> u64 {
        u64::from(self.batch) * u64::from(self.rows) * u64::from(self.columns)
    }
}

/// What is read and written by work on stacks of maps; `None` for other work.
fn maps(work: &Work) -> Option<[Maps; 2]> {
    let of = |batch, rows: [u32; 2], columns: [u32; 2], channels: [u32; 2]| {
        [0, 1].map(|at| Maps { batch, rows: rows[at], columns: columns[at], channels: channels[at] })
    };
    let sweep = |sweep: &Sweep| [sweep.input, sweep.output];
    let sampling = |axis: &Sampling| [axis.input, axis.output];
    match work {
        Work::Conv(conv) => {
            let channels = [conv.groups * conv.depth, conv.groups * conv.outputs];
            Some(of(conv.batch, sweep(&conv.vertical), sweep(&conv.horizontal), channels))
        }
        Work::Pool(pool) => Some(of(pool.batch, sweep(&pool.vertical), sweep(&pool.horizontal), [pool.channels; 2])),
        Work::Resize(resize) => {
            let (rows, columns) = (sampling(&resize.vertical), sampling(&resize.horizontal));
            Some(of(resize.batch, rows, columns, [resize.channels; 2]))
        }
        Work::Sum(sum) => Some(of(sum.outer, [1; 2], [sum.count, 1], [sum.channels; 2])),
        Work::ArgMax(argmax) => Some(of(1, [1; 2], [argmax.pixels; 2], [argmax.channels, 1])),
        Work::Eltwise(_) | Work::Transfer(_) | Work::Host(_) => None,
    }
}

/// The outermost axis of more than one index; columns only where a row of the output is a row of the input.
fn level([from, to]: &[Maps; 2]) -> Option<Level> {
    match to {
        Maps { batch: 2.., .. } => Some(Level::Batch),
        Maps { rows: 2.., .. } => Some(Level::Rows),
        Maps { columns: 2.., .. } if from.rows == 1 => Some(Level::Columns),
        _ => None,
    }
}

impl<'a> Cut<'a> {
    /// How a layer is cut along an axis; `None` if it cannot be.
    pub(crate) fn new(network: &'a Network, work: &'a Work, axis: Axis) -> Option<Self> {
        let (extent, unit) = match axis {
            Axis::Rows => (rows(work)?, 1),
            Axis::Channels => channels(work)?,
        };
        (extent > unit).then_some(Self { network, work, axis, extent, unit })
    }

    /// All elements of a value.
    fn all(&self, value: ValueId) -> Slice {
        let shape = &self.network.values[value.0].shape;
        Slice::Band(0..shape.iter().map(|&extent| u64::from(extent)).product())
    }

    /// What a part writes.
    pub(crate) fn writes(&self, range: &Range<u32>) -> Slice {
        match (self.work, self.axis) {
            (Work::Eltwise(eltwise), axis) => Elements(eltwise).writes(axis, range),
            (work, Axis::Rows) => match maps(work).map(|maps| (level(&maps), maps)) {
                Some((Some(level), [_, to])) => to.band(level, range),
                _ => self.all(work.writes()),
            },
            (work, Axis::Channels) => {
                let per_index =
                    if let Work::Conv(ConvLayer { groups: 2.., outputs, .. }) = work { *outputs } else { 1 };
                let range = range.start * per_index..range.end * per_index;
                maps(work).map_or_else(|| self.all(work.writes()), |[_, to]| of_channels(&to, range))
            }
        }
    }

    /// What a part reads of each value that the layer reads; `None` if it is nothing, or cannot be said.
    pub(crate) fn reads(&self, range: &Range<u32>) -> Option<Vec<Slice>> {
        match (self.work, self.axis) {
            (Work::Eltwise(eltwise), axis) => {
                let inputs = (0..eltwise.inputs.len()).map(|input| self.element_reads(eltwise, axis, input, range));
                inputs.collect()
            }
            (work, Axis::Rows) => {
                let maps = maps(work)?;
                let level = level(&maps)?;
                Some(vec![maps[0].band(level, &positions(work, level, range)?)])
            }
            (work, Axis::Channels) => {
                let [from, _] = maps(work)?;
                Some(vec![match work {
                    Work::Conv(ConvLayer { groups: 0 | 1, .. }) => self.all(work.reads()[0]),
                    Work::Conv(ConvLayer { depth, .. }) => of_channels(&from, range.start * depth..range.end * depth),
                    _ => of_channels(&from, range.clone()),
                }])
            }
        }
    }

    fn element_reads(&self, eltwise: &Eltwise, axis: Axis, input: usize, range: &Range<u32>) -> Option<Slice> {
        let Slice::Band(all) = self.all(eltwise.inputs[input].value) else { return None };
        Elements(eltwise).reads(axis, input, range, all.end)
    }

    /// The indices whose part writes at least `slice`.
    pub(crate) fn around(&self, slice: &Slice) -> Option<Range<u32>> {
        let (start, end, step) = match (slice, self.writes(&(0..self.unit))) {
            (Slice::Band(band), Slice::Band(unit)) => (band.start, band.end, unit.end),
            (Slice::Channels { range, .. }, Slice::Channels { range: unit, .. }) => {
                (range.start.into(), range.end.into(), unit.end.into())
            }
            (Slice::Band(band), Slice::Channels { .. }) if *band == self.whole_band() => return Some(0..self.extent),
            _ => return None,
        };
        let unit = u64::from(self.unit);
        Some(small(start / step * unit)..small(end.div_ceil(step) * unit).min(self.extent))
    }

    fn whole_band(&self) -> Range<u64> {
        match self.all(self.work.writes()) {
            Slice::Band(all) => all,
            Slice::Channels { .. } => 0..0,
        }
    }

    /// The part as a layer that reads and writes values with just its elements, laid out as `views` says.
    pub(crate) fn part(&self, range: &Range<u32>, views: &[View]) -> Option<Work> {
        match (self.work, self.axis) {
            (Work::Eltwise(eltwise), axis) => Some(Work::Eltwise(Elements(eltwise).part(axis, range, views))),
            (work, Axis::Rows) => some_rows(work, level(&maps(work)?)?, range),
            (work, Axis::Channels) => some_channels(work, range),
        }
    }
}

fn rows(work: &Work) -> Option<u32> {
    if let Work::Eltwise(eltwise) = work {
        return Some(eltwise.extents[Elements(eltwise).outermost()?]);
    }
    let maps = maps(work)?;
    let to = maps[1];
    Some(match level(&maps)? {
        Level::Batch => to.batch,
        Level::Rows => to.rows,
        Level::Columns => to.columns,
    })
}

/// Indices along the channels, and how many stay together.
fn channels(work: &Work) -> Option<(u32, u32)> {
    match work {
        Work::Conv(ConvLayer { groups: 0 | 1, outputs, .. }) => Some((*outputs, LANES)),
        Work::Conv(ConvLayer { groups, .. }) => Some((*groups, LANES)),
        Work::Pool(Pool { channels, .. }) | Work::Sum(Sum { channels, .. }) | Work::Resize(Resize { channels, .. }) => {
            Some((*channels, LANES))
        }
        Work::Eltwise(eltwise) => Some((*eltwise.extents.last()?, LANES)),
        Work::ArgMax(_) | Work::Transfer(_) | Work::Host(_) => None,
    }
}

fn of_channels(maps: &Maps, range: Range<u32>) -> Slice {
    Slice::channels(range, maps.channels, maps.pixels())
}

fn len(range: &Range<u32>) -> u32 {
    range.end - range.start
}

/// Input positions that windows over some outputs touch, and how the windows move over these; `None` if they touch none.
fn swept(sweep: &Sweep, range: &Range<u32>) -> Option<(Range<u32>, Sweep)> {
    let start = sweep.start(range.start);
    let first = start.max(0);
    let end = sweep.start(range.end - 1) + i64::try_from(sweep.reach()).ok()?;
    let end = end.min(sweep.input.into());
    if first >= end {
        return None;
    }
    let part = Sweep { input: small(end - first), output: len(range), before: small(first - start), ..*sweep };
    Some((small(first)..small(end), part))
}

/// Input positions that samples of some outputs lie between, and where they lie among these.
fn sampled(axis: &Sampling, fraction: u32, range: &Range<u32>) -> (Range<u32>, Sampling) {
    let (positions, at) = samples(axis, fraction, range);
    let part = Sampling { input: len(&positions), output: len(range), origin: at.origin, step: at.step };
    (positions, part)
}

/// The input positions along a level that some outputs need.
fn positions(work: &Work, level: Level, range: &Range<u32>) -> Option<Range<u32>> {
    let (vertical, horizontal) = match work {
        _ if level == Level::Batch => return Some(range.clone()),
        Work::Conv(ConvLayer { vertical, horizontal, .. }) | Work::Pool(Pool { vertical, horizontal, .. }) => {
            (vertical, horizontal)
        }
        Work::Resize(resize) => {
            let axis = if level == Level::Rows { &resize.vertical } else { &resize.horizontal };
            return Some(sampled(axis, resize.fraction, range).0);
        }
        _ => return Some(range.clone()),
    };
    let sweep = if level == Level::Rows { vertical } else { horizontal };
    swept(sweep, range).map(|(positions, _)| positions)
}

/// The work on the input positions that some outputs along a level need.
fn some_rows(work: &Work, level: Level, range: &Range<u32>) -> Option<Work> {
    Some(match work {
        Work::Conv(conv) => {
            let mut part = conv.clone();
            narrow(level, range, &mut part.batch, [&mut part.vertical, &mut part.horizontal])?;
            Work::Conv(part)
        }
        Work::Pool(pool) => {
            let mut part = pool.clone();
            narrow(level, range, &mut part.batch, [&mut part.vertical, &mut part.horizontal])?;
            Work::Pool(part)
        }
        Work::Resize(resize) => {
            let mut part = resize.clone();
            match level {
                Level::Batch => part.batch = len(range),
                Level::Rows => part.vertical = sampled(&part.vertical, resize.fraction, range).1,
                Level::Columns => part.horizontal = sampled(&part.horizontal, resize.fraction, range).1,
            }
            Work::Resize(part)
        }
        Work::Sum(sum) => Work::Sum(Sum { outer: len(range), ..sum.clone() }),
        Work::ArgMax(argmax) => Work::ArgMax(ArgMax { pixels: len(range), ..argmax.clone() }),
        Work::Eltwise(_) | Work::Transfer(_) | Work::Host(_) => return None,
    })
}

/// Narrows windows to those of some outputs; `None` if they touch nothing of the input.
fn narrow(level: Level, range: &Range<u32>, batch: &mut u32, [vertical, horizontal]: [&mut Sweep; 2]) -> Option<()> {
    let sweep = match level {
        Level::Batch => {
            *batch = len(range);
            return Some(());
        }
        Level::Rows => vertical,
        Level::Columns => horizontal,
    };
    *sweep = swept(sweep, range)?.1;
    Some(())
}

/// The work on some channels.
fn some_channels(work: &Work, range: &Range<u32>) -> Option<Work> {
    let channels = len(range);
    Some(match work {
        Work::Conv(conv) => Work::Conv(some_outputs(conv, range)?),
        Work::Pool(pool) => Work::Pool(Pool { channels, ..pool.clone() }),
        Work::Sum(sum) => Work::Sum(Sum { channels, ..sum.clone() }),
        Work::Resize(resize) => Work::Resize(Resize { channels, ..resize.clone() }),
        Work::Eltwise(_) | Work::ArgMax(_) | Work::Transfer(_) | Work::Host(_) => return None,
    })
}

/// A convolution's groups, or outputs of its only group.
fn some_outputs(conv: &ConvLayer, range: &Range<u32>) -> Option<ConvLayer> {
    let mut part = conv.clone();
    let per_index = if conv.groups > 1 {
        part.groups = len(range);
        conv.outputs
    } else {
        part.outputs = len(range);
        1
    };
    let outputs = index(range.start * per_index)..index(range.end * per_index);
    part.records = conv.records.get(outputs.clone())?.to_vec();
    part.weights.data = some_weights(conv, &outputs)?;
    Some(part)
}

/// The weights of some outputs: `[output][..]`, or `[..][output]` of a depthwise layer.
fn some_weights(conv: &ConvLayer, outputs: &Range<usize>) -> Option<Data> {
    let all = index(conv.groups) * index(conv.outputs);
    let (bytes, element) = (conv.weights.data.bytes(), conv.weights.element.bytes());
    let row = if conv.depthwise { all * element } else { bytes.len() };
    let output = row / all.max(1);
    let rows = bytes.chunks_exact(row.max(1));
    let parts = rows.map(|row| row.get(outputs.start * output..outputs.end * output));
    Some(parts.collect::<Option<Vec<&[u8]>>>()?.concat().into())
}

/// An element-wise layer.
struct Elements<'a>(&'a Eltwise);

impl Elements<'_> {
    /// The outermost axis of more than one index.
    fn outermost(&self) -> Option<usize> {
        self.0.extents.iter().position(|&extent| extent > 1)
    }

    fn last(&self) -> usize {
        self.0.extents.len() - 1
    }

    fn cut_at(&self, axis: Axis) -> usize {
        match axis {
            Axis::Rows => self.outermost().unwrap_or(0),
            Axis::Channels => self.last(),
        }
    }

    /// Elements of the output that an index of an axis has.
    fn inner(&self, axis: usize) -> u64 {
        self.0.extents[axis + 1..].iter().map(|&extent| u64::from(extent)).product()
    }

    fn writes(&self, axis: Axis, range: &Range<u32>) -> Slice {
        let inner = self.inner(self.cut_at(axis));
        match axis {
            Axis::Rows => Slice::Band(u64::from(range.start) * inner..u64::from(range.end) * inner),
            Axis::Channels => {
                let (&of, outer) = self.0.extents.split_last().unwrap_or((&1, &[]));
                Slice::channels(range.clone(), of, outer.iter().map(|&extent| u64::from(extent)).product())
            }
        }
    }

    /// What is read of an input that has `elements`.
    fn reads(&self, axis: Axis, input: usize, range: &Range<u32>, elements: u64) -> Option<Slice> {
        let at = self.cut_at(axis);
        let steps = &self.0.inputs[input].steps;
        let step = u64::from(steps[at]);
        match axis {
            _ if step == 0 => Some(Slice::Band(0..elements)),
            Axis::Rows => {
                let inner = self.0.extents[at + 1..].iter().zip(&steps[at + 1..]);
                let reach: u64 = inner.map(|(&extent, &step)| u64::from(extent - 1) * u64::from(step)).sum();
                Some(Slice::Band(u64::from(range.start) * step..u64::from(range.end - 1) * step + reach + 1))
            }
            Axis::Channels => {
                let of = self.0.extents[at];
                let pixels = steps[..at].iter().all(|step| step.is_multiple_of(of));
                let whole = elements.is_multiple_of(of.into());
                (step == 1 && pixels && whole).then(|| Slice::channels(range.clone(), of, elements / u64::from(of)))
            }
        }
    }

    fn part(&self, axis: Axis, range: &Range<u32>, views: &[View]) -> Eltwise {
        let at = self.cut_at(axis);
        let mut part = self.0.clone();
        part.extents[at] = len(range);
        let of = self.0.extents[at];
        for (input, view) in part.inputs.iter_mut().zip(views) {
            // Steps over pixels are those of the place.
            if let Some(pixel) = view.pixel {
                input.steps[..at].iter_mut().for_each(|step| *step = *step / of * pixel);
            }
        }
        part
    }
}

/// Cycles of the CNN engine for the whole of a layer, about.
pub(crate) fn cycles(work: &Work, network: &Network, target: &cnnip_isa::Target) -> u64 {
    let cut = |extent: u64, by: u32| extent.div_ceil(by.max(1).into());
    let elements = || {
        let Slice::Band(all) = (Cut { network, work, axis: Axis::Rows, extent: 1, unit: 1 }).all(work.writes()) else {
            return 0;
        };
        all.end
    };
    let pixels = |batch: u32, rows: u32, columns: u32| {
        u64::from(batch) * u64::from(rows) * cut(columns.into(), target.mac_pixels)
    };
    match work {
        Work::Conv(conv) => {
            let taps = u64::from(conv.vertical.kernel) * u64::from(conv.horizontal.kernel);
            let (groups, outputs, depth) = if conv.depthwise {
                (1, u64::from(conv.groups) * u64::from(conv.outputs), 1)
            } else {
                (u64::from(conv.groups), conv.outputs.into(), u64::from(conv.depth))
            };
            let blocks = groups * cut(outputs, target.mac_channels);
            blocks
                * pixels(conv.batch, conv.vertical.output, conv.horizontal.output)
                * cut(taps * depth, target.mac_depth)
        }
        Work::Pool(pool) => {
            let taps = u64::from(pool.vertical.kernel) * u64::from(pool.horizontal.kernel);
            let blocks = cut(pool.channels.into(), target.mac_channels);
            blocks * pixels(pool.batch, pool.vertical.output, pool.horizontal.output) * cut(taps, target.mac_depth)
        }
        Work::Sum(sum) => {
            u64::from(sum.outer)
                * cut(sum.channels.into(), target.mac_channels)
                * cut(sum.count.into(), target.mac_pixels)
        }
        Work::ArgMax(argmax) => cut(argmax.pixels.into(), target.mac_pixels) * u64::from(argmax.channels),
        Work::Resize(_) => 4 * cut(elements(), target.vector_elements),
        Work::Eltwise(_) => cut(elements(), target.vector_elements),
        Work::Transfer(_) | Work::Host(_) => 0,
    }
}

/// Bytes of weights and records that a layer has in external memory.
pub(crate) fn weight_bytes(work: &Work) -> u64 {
    let Work::Conv(conv) = work else { return 0 };
    let records = wide(conv.records.len()) * u64::from(cnnip_isa::operation::RECORD_BYTES);
    wide(conv.weights.data.bytes().len()) + records
}
