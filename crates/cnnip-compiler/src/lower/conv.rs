//! Convolutions: a job per piece of output, input channels and taps.

use std::ops::Range;

use cnnip_isa::operation::{
    Accumulators, Activation, BLOCK_BYTES, Codebook, Coding, Conv, ConvKind, Decode, FeatureMap, Location, Operation,
    Sparse, Weights, Window,
};
use cnnip_isa::{ElementType, RoundingMode};

use super::columns;
use super::region::{Frame, MapBox, Span, len};
use super::{Lowered, Setting, Site};
use crate::codec::{Blocked, SparseBlocks, Stored, Stream, stored};
use crate::error::Rule;
use crate::job::{Job, Scratchpad, Turns};
use crate::memory::Role;
use crate::size::{pieces, small, width};
use crate::strided::copies;
use crate::tile::conv::{ConvPlan, ConvShape, Room};
use crate::tile::taps::{Chunk, Taps};
use cnnip_lowered::weights::{WeightPiece, blocks, records};
use cnnip_lowered::{ConvLayer, Sweep};

/// Bytes moved to and from external memory, if a plan fits.
pub(super) fn traffic(setting: &Setting<'_>, layer: &ConvLayer) -> Option<u64> {
    let together = together(setting, layer);
    let shape = shape(setting, together.as_ref().unwrap_or(layer));
    setting.plans.plan(setting.layer, &shape, setting.choice().plan).ok().map(|plan| shape.traffic(&plan))
}

/// The layer with columns taken together, where that helps and its input lies as if the columns were channels.
fn together(setting: &Setting<'_>, layer: &ConvLayer) -> Option<ConvLayer> {
    let is_whole = setting.division.view(layer.input).pixel.is_none();
    if is_whole { columns::taken_together(layer, setting.target) } else { None }
}

fn shape<'a>(setting: &Setting<'_>, layer: &'a ConvLayer) -> ConvShape<'a> {
    let room = Room {
        bytes: setting.room(),
        input: setting.is_resident(layer.input),
        output: setting.is_resident(layer.output),
    };
    ConvShape::new(layer, [layer.input, layer.output].map(|value| setting.element(value)), setting.target, room)
}

pub(super) fn lower(site: &mut Site<'_>, layer: &ConvLayer) -> Result<Lowered, Rule> {
    let together = together(&site.setting, layer);
    let shape = shape(&site.setting, together.as_ref().unwrap_or(layer));
    let Setting { plans, layer: index, .. } = site.setting;
    let plan = plans.plan(index, &shape, site.setting.choice().plan).map_err(|bytes| site.too_small(bytes))?;
    site.reserve(shape.jobs(&plan))?;
    let mut lowering = Lowering::new(site, &shape, plan, together.is_none());
    for (pixels, channels) in lowering.order() {
        lowering.tile(&pixels, &channels);
    }
    Ok(Lowered { plan: plan.to_string(), pad: lowering.pad, jobs: lowering.jobs })
}

/// A piece of the output's pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pixels {
    batch: u32,
    rows: Range<u32>,
    columns: Range<u32>,
}

/// A piece of the output's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Channels {
    number: usize,
    groups: Range<u32>,
    outputs: Range<u32>,
}

/// One operation on a piece of output: some input channels, some taps.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phase {
    number: usize,
    depth: Range<u32>,
    vertical: Chunk,
    horizontal: Chunk,
}

/// What an input buffer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InputKey {
    batch: u32,
    frame: Frame,
    channels: Range<u32>,
}

/// A piece of weights in the constant region, and what brings it into a buffer; addresses count from the buffer's start.
#[derive(Clone, Copy, Debug)]
struct Blob {
    decode: Option<Decode>,
    /// Bytes that are copied as they are, records among them.
    copy: Option<Part>,
    records: u32,
    sparse: Option<Sparse>,
}

/// Bytes of the constant region, and where they go.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    to: u32,
    bytes: u32,
}

/// Weights and records in a buffer.
#[derive(Clone, Copy, Debug)]
struct LoadedWeights {
    address: u32,
    records: u32,
    sparse: Option<Sparse>,
}

/// Output channels of a weight block.
const LANES: u32 = 16;

struct Lowering<'a, 's> {
    site: &'a mut Site<'s>,
    shape: &'a ConvShape<'a>,
    plan: ConvPlan,
    /// A piece of the weights is one of the model's.
    as_in_model: bool,
    phases: Vec<Phase>,
    pad: Scratchpad,
    inputs: Turns<InputKey>,
    weights: Turns<(usize, usize)>,
    outputs: Turns<usize>,
    accumulators: u32,
    /// By number of channels and phase.
    blobs: Vec<Option<Blob>>,
    jobs: Vec<Job>,
}

impl<'a, 's> Lowering<'a, 's> {
    fn new(site: &'a mut Site<'s>, shape: &'a ConvShape<'a>, plan: ConvPlan, as_in_model: bool) -> Self {
        let bytes = shape.bytes(&plan);
        let mut pad = site.scratchpad(shape.scratchpad(&plan));
        let inputs = Turns::take(&mut pad, "input", bytes.input, plan.turns);
        let weights = Turns::take(&mut pad, "weights", bytes.weights, plan.weight_turns);
        let outputs = Turns::take(&mut pad, "output", bytes.output, plan.turns);
        let accumulators =
            if bytes.accumulators > 0 { Some(pad.take("accumulators", bytes.accumulators)) } else { None };
        let accumulators = accumulators.map_or(0, |buffer| pad.address(buffer));
        let phases = phases(shape, &plan);
        Self {
            site,
            shape,
            plan,
            as_in_model,
            phases,
            pad,
            inputs,
            weights,
            outputs,
            accumulators,
            blobs: vec![],
            jobs: vec![],
        }
    }

    fn layer(&self) -> &'a ConvLayer {
        self.shape.layer
    }

    /// All pieces of the output in the plan's order.
    fn order(&self) -> Vec<(Pixels, Channels)> {
        let (pixels, channels) = (self.pixels(), self.channels());
        let pairs = |p: &Pixels, c: &Channels| (p.clone(), c.clone());
        if self.plan.weights_stay {
            channels.iter().flat_map(|c| pixels.iter().map(move |p| pairs(p, c))).collect()
        } else {
            pixels.iter().flat_map(|p| channels.iter().map(move |c| pairs(p, c))).collect()
        }
    }

    fn pixels(&self) -> Vec<Pixels> {
        let layer = self.layer();
        let maps = (0..layer.batch).flat_map(|batch| {
            let rows = pieces(layer.vertical.output, self.plan.rows);
            rows.flat_map(move |rows| {
                let columns = pieces(layer.horizontal.output, self.plan.columns);
                columns.map(move |columns| Pixels { batch, rows: rows.clone(), columns })
            })
        });
        maps.collect()
    }

    fn channels(&self) -> Vec<Channels> {
        let layer = self.layer();
        let groups = pieces(layer.groups, self.plan.groups);
        let parts = groups.flat_map(|groups| {
            let outputs = pieces(layer.outputs, self.plan.outputs);
            outputs.map(move |outputs| (groups.clone(), outputs))
        });
        parts.enumerate().map(|(number, (groups, outputs))| Channels { number, groups, outputs }).collect()
    }

    /// All jobs of one piece of output.
    fn tile(&mut self, pixels: &Pixels, channels: &Channels) {
        for number in 0..self.phases.len() {
            let phase = self.phases[number].clone();
            let job = self.job(pixels, channels, &phase);
            self.jobs.push(job);
        }
    }

    fn job(&mut self, pixels: &Pixels, channels: &Channels, phase: &Phase) -> Job {
        let mut job = Job::default();
        let (input, frame) = self.input(&mut job, pixels, channels, phase);
        let LoadedWeights { address, records, sparse } = self.load_weights(&mut job, channels, phase);
        let last = phase.number + 1 == self.phases.len();
        let output = self.output(&mut job, pixels, channels, last);
        let conv = Conv {
            kind: self.kind(channels),
            input: self.view(input, pixels, phase),
            input_zero: self.layer().input_zero,
            pad_value: self.layer().input_zero,
            output,
            window: self.window(&frame, pixels, phase),
            weights: Weights {
                address,
                element: self.layer().weights.element,
                zero: self.layer().weights.zero,
                sparse,
            },
            records: if last { records } else { 0 },
            accumulators: Accumulators {
                load: (phase.number > 0).then_some(self.accumulators),
                store: (!last).then_some(self.accumulators),
                bias: last,
            },
            requant: if last { self.layer().requant } else { RoundingMode::None },
            activation: if last { self.layer().activation } else { NO_ACTIVATION },
        };
        job.computes.push(Operation::Conv(conv));
        job
    }

    fn kind(&self, channels: &Channels) -> ConvKind {
        if self.layer().depthwise {
            ConvKind::Depthwise { multiplier: len(&channels.outputs) }
        } else {
            ConvKind::Grouped { groups: len(&channels.groups) }
        }
    }

    /// Input channels of a phase, counted over all groups.
    fn input_channels(&self, channels: &Channels, phase: &Phase) -> Range<u32> {
        let depth = self.layer().depth;
        if len(&channels.groups) > 1 {
            return channels.groups.start * depth..channels.groups.end * depth;
        }
        let base = channels.groups.start * depth;
        base + phase.depth.start..base + phase.depth.end
    }

    /// Has the input of a phase in the scratchpad; returns it with the rows and columns it holds.
    fn input(&mut self, job: &mut Job, pixels: &Pixels, channels: &Channels, phase: &Phase) -> (FeatureMap, Frame) {
        let layer = self.layer();
        let frame = self.frame(pixels, phase);
        let range = self.input_channels(channels, phase);
        let channels = layer.groups * layer.depth;
        let map = self.site.map(layer.input, layer.horizontal.input, channels, width(self.shape.input));
        let map = map.nth(pixels.batch, layer.vertical.input);
        if let Some(view) = frame.view(&map, layer.vertical.input, &range, self.shape.input) {
            return (view, frame);
        }
        let turn = self.inputs.next(InputKey { batch: pixels.batch, frame, channels: range.clone() });
        let address = self.pad.address(turn.buffer);
        if !turn.hit {
            let fill = (layer.input_zero, self.site.target.max_extent);
            job.loads.extend(frame.load(&map, layer.vertical.input, &range, address, fill));
        }
        let size = [frame.rows.count, frame.columns.count, len(&range)];
        (FeatureMap::dense(address, size, self.shape.input), frame)
    }

    /// Rows and columns of the input that a phase has in its buffer.
    fn frame(&self, pixels: &Pixels, phase: &Phase) -> Frame {
        let layer = self.layer();
        let span = |taps: &Taps, sweep: &Sweep, outputs: &Range<u32>, chunk: Chunk| {
            let start = sweep.start(outputs.start);
            if self.plan.split_taps {
                let first = i64::from(chunk.first) * i64::from(sweep.dilation);
                let count = small(taps.chunk_extent(sweep, len(outputs), chunk));
                return Span { start: start + first, count, step: if taps.thin { sweep.stride } else { 1 } };
            }
            let whole = Span { start, count: small(Taps::whole_extent(sweep, len(outputs))), step: 1 };
            if self.shape.filled { whole } else { whole.cut(sweep.input) }
        };
        Frame {
            rows: span(&self.shape.vertical, &layer.vertical, &pixels.rows, phase.vertical),
            columns: span(&self.shape.horizontal, &layer.horizontal, &pixels.columns, phase.horizontal),
        }
    }

    /// The input as the operation of a phase sees it.
    fn view(&self, whole: FeatureMap, pixels: &Pixels, phase: &Phase) -> FeatureMap {
        if self.plan.split_taps || !self.shape.filled {
            return whole;
        }
        let layer = self.layer();
        let first = |sweep: &Sweep, chunk: Chunk| chunk.first * sweep.dilation;
        let step = |taps: &Taps, sweep: &Sweep| if taps.thin { sweep.stride } else { 1 };
        let (vertical, horizontal) = (&self.shape.vertical, &self.shape.horizontal);
        let y = first(&layer.vertical, phase.vertical) * whole.row;
        let x = first(&layer.horizontal, phase.horizontal) * whole.pixel;
        FeatureMap {
            address: whole.address + y + x,
            height: small(vertical.chunk_extent(&layer.vertical, len(&pixels.rows), phase.vertical)),
            width: small(horizontal.chunk_extent(&layer.horizontal, len(&pixels.columns), phase.horizontal)),
            row: whole.row * step(vertical, &layer.vertical),
            pixel: whole.pixel * step(horizontal, &layer.horizontal),
            ..whole
        }
    }

    fn window(&self, frame: &Frame, pixels: &Pixels, phase: &Phase) -> Window {
        let layer = self.layer();
        let stride = |taps: &Taps, sweep: &Sweep| if taps.thin { 1 } else { sweep.stride };
        let dilation = |sweep: &Sweep, chunk: Chunk| if chunk.len > 1 { sweep.dilation } else { 1 };
        Window {
            kernel_h: phase.vertical.len,
            kernel_w: phase.horizontal.len,
            stride_y: stride(&self.shape.vertical, &layer.vertical),
            stride_x: stride(&self.shape.horizontal, &layer.horizontal),
            dilation_y: dilation(&layer.vertical, phase.vertical),
            dilation_x: dilation(&layer.horizontal, phase.horizontal),
            top: self.padding(&layer.vertical, &pixels.rows, frame.rows),
            left: self.padding(&layer.horizontal, &pixels.columns, frame.columns),
        }
    }

    /// Positions before the buffer that the first window reads; none where padding was filled in.
    fn padding(&self, sweep: &Sweep, outputs: &Range<u32>, span: Span) -> u32 {
        if self.shape.filled { 0 } else { small(span.start - sweep.start(outputs.start)) }
    }

    /// Has weights and records in a buffer.
    fn load_weights(&mut self, job: &mut Job, channels: &Channels, phase: &Phase) -> LoadedWeights {
        let blob = self.blob(channels, phase);
        let turn = self.weights.next((channels.number, phase.number));
        let address = self.pad.address(turn.buffer);
        if !turn.hit {
            let to = |bytes: u32| Location::sram(address + bytes);
            let decode = blob.decode.map(|decode| Operation::Decode(Decode { destination: to(0), ..decode }));
            job.loads.extend(decode);
            if let Some(part) = blob.copy {
                let source = self.site.memory.locate(Role::Constant, part.offset);
                job.loads.extend(copies(source, to(part.to), part.bytes, &[], self.site.target.max_extent));
            }
        }
        let sparse = blob.sparse.map(|sparse| Sparse { bitmap: address + sparse.bitmap, ..sparse });
        LoadedWeights { address, records: address + blob.records, sparse }
    }

    /// The weights of a phase in the constant region; the last phase has the records behind them.
    fn blob(&mut self, channels: &Channels, phase: &Phase) -> Blob {
        let at = channels.number * self.phases.len() + phase.number;
        if self.blobs.len() <= at {
            self.blobs.resize(at + 1, None);
        }
        if let Some(blob) = self.blobs[at] {
            return blob;
        }
        let taps = |chunk: Chunk| chunk.first..chunk.first + chunk.len;
        let piece = WeightPiece {
            groups: channels.groups.clone(),
            outputs: channels.outputs.clone(),
            depth: phase.depth.clone(),
            rows: taps(phase.vertical),
            columns: taps(phase.horizontal),
        };
        let weights = blocks(self.layer(), &piece);
        let last = phase.number + 1 == self.phases.len();
        let records = last.then(|| records(self.layer(), &piece));
        let blocked = self.blocked(&weights, &piece);
        let blob = match stored(self.site.weights, &blocked) {
            Stored::Raw => {
                let bytes = small(weights.len() + records.as_ref().map_or(0, Vec::len));
                let offset = if self.as_in_model {
                    self.site.constants.push_weights(piece, &weights, records.as_deref())
                } else {
                    self.site.constants.push(&[&*weights, records.as_deref().unwrap_or_default()].concat())
                };
                let copy = Some(Part { offset, to: 0, bytes });
                Blob { decode: None, copy, records: small(weights.len()), sparse: None }
            }
            Stored::Sparse(sparse) => self.sparse_blob(sparse, &records.unwrap_or_default()),
            Stored::Stream(stream) => self.stream_blob(&stream, &blocked, &records.unwrap_or_default()),
        };
        self.blobs[at] = Some(blob);
        blob
    }

    fn blocked<'b>(&self, bytes: &'b [u8], piece: &WeightPiece) -> Blocked<'b> {
        let layer = self.layer();
        let (taps, element) = (len(&piece.rows) * len(&piece.columns), width(layer.weights.element));
        let (positions, depth) = if layer.depthwise {
            (1, 0)
        } else {
            (len(&piece.depth).next_multiple_of(4 / element), taps * len(&piece.depth))
        };
        Blocked { bytes, row: taps * positions * LANES * element, taps, element, zero: layer.weights.zero, depth }
    }

    /// Stored blocks, records and the bitmap, in one copy.
    fn sparse_blob(&mut self, mut sparse: SparseBlocks, records: &[u8]) -> Blob {
        let stored = small(sparse.bytes.len()) / small(BLOCK_BYTES);
        let at = small(sparse.bytes.len());
        sparse.bytes.extend_from_slice(records);
        let bitmap = small(sparse.bytes.len());
        sparse.bytes.append(&mut sparse.bitmap);
        let copy = Part { offset: self.site.constants.push(&sparse.bytes), to: 0, bytes: small(sparse.bytes.len()) };
        let sparse = Sparse { bitmap, stored, longest: sparse.longest };
        Blob { decode: None, copy: Some(copy), records: at, sparse: Some(sparse) }
    }

    /// A stream with its tables, and records that are copied behind what it decodes to.
    fn stream_blob(&mut self, stream: &Stream, blocked: &Blocked<'_>, records: &[u8]) -> Blob {
        let (bytes, [codebook, start]) = stream.joined();
        let offset = self.site.constants.push(&bytes);
        let at = self.site.memory.locate(Role::Constant, offset);
        let coding = match &stream.codebook {
            None => Coding::ZeroRun,
            Some((kernels, index_bits)) => Coding::Cluster(Codebook {
                address: at.address + codebook,
                kernels: small(kernels.len()) / (blocked.taps * blocked.element),
                taps: blocked.taps,
                element_bytes: blocked.element,
                index_bits: *index_bits,
            }),
        };
        let decode = Decode {
            stream: Location { address: at.address + start, ..at },
            stream_bytes: small(stream.bytes.len()),
            offsets: at.address,
            destination: Location::sram(0),
            coding,
            first: 0,
            blocks: small(stream.offsets.len() - 1),
            block_bytes: blocked.row,
        };
        let to = small(blocked.bytes.len());
        let copy = (!records.is_empty()).then(|| Part {
            offset: self.site.constants.push(records),
            to,
            bytes: small(records.len()),
        });
        Blob { decode: Some(decode), copy, records: to, sparse: None }
    }

    /// The output of a phase: where accumulators are stored only its size counts, the last one writes it.
    fn output(&mut self, job: &mut Job, pixels: &Pixels, channels: &Channels, last: bool) -> FeatureMap {
        let layer = self.layer();
        let first = channels.groups.start * layer.outputs + channels.outputs.start;
        let count = len(&channels.groups) * len(&channels.outputs);
        let size = [len(&pixels.rows), len(&pixels.columns), count];
        if !last {
            let dense = FeatureMap::dense(0, size, self.shape.output);
            return FeatureMap { row: 0, pixel: 0, element: ElementType::None, ..dense };
        }
        let channels = layer.groups * layer.outputs;
        let map = self.site.map(layer.output, layer.horizontal.output, channels, width(self.shape.output));
        let map = map.nth(pixels.batch, layer.vertical.output);
        let part =
            MapBox { rows: pixels.rows.clone(), columns: pixels.columns.clone(), channels: first..first + count };
        let buffer = || self.pad.address(self.outputs.next(self.jobs.len()).buffer);
        let (output, stores) = part.output(&map, (self.shape.output, self.site.target.max_extent), buffer);
        job.stores = stores;
        output
    }
}

/// The activation of an operation that stores accumulators.
const NO_ACTIVATION: Activation = Activation { zero: 0, min: 0, max: 0, table: None };

/// The operations of a piece of output: taps innermost, so that an input with all taps serves them in a row.
fn phases(shape: &ConvShape<'_>, plan: &ConvPlan) -> Vec<Phase> {
    let mut phases = vec![];
    for depth in pieces(shape.layer.depth, plan.depth) {
        for &vertical in &shape.vertical.chunks {
            for &horizontal in &shape.horizontal.chunks {
                phases.push(Phase { number: phases.len(), depth: depth.clone(), vertical, horizontal });
            }
        }
    }
    phases
}
