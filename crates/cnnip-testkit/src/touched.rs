//! The bytes an operation touches, one by one, as `order.md` defines footprints.

use std::collections::BTreeSet;

use cnnip_isa::operation::{
    Accumulators, Coding, Conv, ConvKind, Decode, DmaPattern, Eltwise, FeatureMap, Location, Operation, Reduce, Space,
    Stage, Table,
};
use cnnip_isa::{ElementType, TableKind};

/// The bytes of one operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The memory.
    pub space: Space,
    /// True if the operand is written.
    pub write: bool,
    /// Addresses or offsets.
    pub bytes: BTreeSet<u64>,
}

impl Touched {
    /// A byte that both have, if one of them is written.
    pub fn conflict(&self, other: &Self) -> Option<u64> {
        let possible = self.space == other.space && (self.write || other.write);
        if possible { self.bytes.intersection(&other.bytes).next().copied() } else { None }
    }
}

/// Every operand of an operation.
pub fn touched(operation: &Operation) -> Vec<Touched> {
    match operation {
        Operation::Conv(conv) => conv_operands(conv),
        Operation::Pool(pool) => vec![read(map(&pool.input)), write(map(&pool.output))],
        Operation::Eltwise(eltwise) => eltwise_operands(eltwise),
        Operation::Lookup(lookup) => {
            vec![read(map(&lookup.input)), read(table(lookup.table)), write(map(&lookup.output))]
        }
        Operation::Resize(resize) => vec![read(map(&resize.input)), write(map(&resize.output))],
        Operation::Reduce(reduce) => reduce_operands(reduce),
        Operation::ArgMax(argmax) => vec![read(map(&argmax.input)), write(map(&argmax.output))],
        Operation::Copy(copy) => vec![
            strided(copy.source, &copy.pattern, &copy.source_steps, false),
            strided(copy.destination, &copy.pattern, &copy.destination_steps, true),
        ],
        Operation::Fill(fill) => vec![strided(fill.destination, &fill.pattern, &fill.destination_steps, true)],
        Operation::Decode(decode) => decode_operands(decode),
    }
}

fn read(bytes: BTreeSet<u64>) -> Touched {
    Touched { space: Space::Sram, write: false, bytes }
}

fn write(bytes: BTreeSet<u64>) -> Touched {
    Touched { space: Space::Sram, write: true, bytes }
}

fn run(address: u32, bytes: u64) -> BTreeSet<u64> {
    (u64::from(address)..u64::from(address) + bytes).collect()
}

fn width(element: ElementType) -> u64 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 | ElementType::Uint8 => 1,
        ElementType::Int16 => 2,
        ElementType::Int32 => 4,
    }
}

fn map(map: &FeatureMap) -> BTreeSet<u64> {
    let mut bytes = BTreeSet::new();
    for row in 0..map.height {
        for column in 0..map.width {
            let pixel = u64::from(row) * u64::from(map.row) + u64::from(column) * u64::from(map.pixel);
            let first = u64::from(map.address) + pixel;
            bytes.extend(first..first + u64::from(map.channels) * width(map.element));
        }
    }
    bytes
}

fn table(table: Table) -> BTreeSet<u64> {
    let bytes = match table.kind {
        TableKind::None => 0,
        TableKind::Int8_256 => 256,
        TableKind::Int16_513 => 2 * 513,
        TableKind::Int16Sigmoid | TableKind::Int16Tanh => 2 * 256,
    };
    run(table.address, bytes)
}

fn spills(accumulators: &Accumulators, outputs: u64) -> Vec<Touched> {
    let loads = accumulators.load.map(|base| read(run(base, 8 * outputs)));
    let stores = accumulators.store.map(|base| write(run(base, 8 * outputs)));
    loads.into_iter().chain(stores).collect()
}

fn weight_bytes(conv: &Conv) -> u64 {
    let taps = u64::from(conv.window.kernel_h) * u64::from(conv.window.kernel_w);
    let element = width(conv.weights.element);
    match conv.kind {
        ConvKind::Grouped { groups } => {
            let inputs = u64::from(conv.input.channels / groups);
            let outputs = u64::from(conv.output.channels / groups);
            // 16 output channels times 4 bytes of input channels.
            u64::from(groups) * outputs.div_ceil(16) * taps * (inputs * element).div_ceil(4) * 64
        }
        ConvKind::Depthwise { .. } => u64::from(conv.output.channels).div_ceil(16) * taps * 16 * element,
    }
}

fn conv_operands(conv: &Conv) -> Vec<Touched> {
    let out = &conv.output;
    let outputs = u64::from(out.height) * u64::from(out.width) * u64::from(out.channels);
    let stored = conv.weights.sparse.map_or(weight_bytes(conv), |sparse| 64 * u64::from(sparse.stored));
    let mut operands = vec![read(map(&conv.input))];
    if stored > 0 {
        operands.push(read(run(conv.weights.address, stored)));
    }
    operands.extend(conv.weights.sparse.map(|sparse| read(run(sparse.bitmap, (weight_bytes(conv) / 64).div_ceil(8)))));
    let stored = conv.accumulators.store.is_some();
    if conv.accumulators.bias || !stored {
        operands.push(read(run(conv.records, 16 * u64::from(out.channels))));
    }
    operands.extend(conv.activation.table.map(|t| read(table(t))));
    operands.extend(spills(&conv.accumulators, outputs));
    if !stored {
        operands.push(write(map(out)));
    }
    operands
}

fn stage(stage: &Stage) -> Touched {
    let channels = if stage.broadcast { 1 } else { stage.map.channels };
    read(map(&FeatureMap { channels, ..stage.map }))
}

fn eltwise_operands(eltwise: &Eltwise) -> Vec<Touched> {
    let inputs = [Some(&eltwise.first), eltwise.second.as_ref()];
    let mut operands: Vec<Touched> = inputs.into_iter().flatten().map(stage).collect();
    operands.extend(eltwise.activation.table.map(|t| read(table(t))));
    operands.push(write(map(&eltwise.output)));
    operands
}

fn reduce_operands(reduce: &Reduce) -> Vec<Touched> {
    let channels = if reduce.channels { 1 } else { u64::from(reduce.input.channels) };
    let mut operands = vec![read(map(&reduce.input))];
    operands.extend(spills(&reduce.accumulators, channels));
    if reduce.accumulators.store.is_none() {
        operands.push(write(run(reduce.output.address, channels * width(reduce.output.element))));
    }
    operands
}

fn decode_operands(decode: &Decode) -> Vec<Touched> {
    let (blocks, space) = (u64::from(decode.blocks), decode.stream.space);
    let source =
        |address: u64, bytes: u64| Touched { space, write: false, bytes: (address..address + bytes).collect() };
    let offsets = u64::from(decode.offsets) + 4 * u64::from(decode.first);
    let mut operands = vec![
        source(u64::from(decode.stream.address), u64::from(decode.stream_bytes)),
        source(offsets, 4 * (blocks + 1)),
    ];
    if let Coding::Cluster(book) = decode.coding {
        let bytes = u64::from(book.kernels) * u64::from(book.taps) * u64::from(book.element_bytes);
        operands.push(source(u64::from(book.address), bytes));
    }
    let written = run(decode.destination.address, blocks * u64::from(decode.block_bytes));
    operands.push(Touched { space: decode.destination.space, write: true, bytes: written });
    operands
}

fn strided(at: Location, pattern: &DmaPattern, steps: &[u32; 4], write: bool) -> Touched {
    let mut starts = vec![u64::from(at.address)];
    for (&count, &step) in pattern.counts.iter().zip(steps) {
        let moves = (0..count).map(|i| u64::from(i) * u64::from(step));
        starts = moves.flat_map(|by| starts.iter().map(move |start| start + by)).collect();
    }
    let bytes = starts.into_iter().flat_map(|start| start..start + u64::from(pattern.run)).collect();
    Touched { space: at.space, write, bytes }
}
