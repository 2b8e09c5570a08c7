//! Random operations and command lists, the same for the same seed.

mod array;
mod corrupt;
mod elements;
mod lists;
mod motion;
mod sampling;
mod scene;
mod sparse;
mod stream;

pub use corrupt::corrupt;
pub use lists::{ListOptions, Lists, Sync, lists};
pub use scene::{Scene, Zone};
pub use sparse::sparse_conv;
pub use stream::{Stream, stream};

use cnnip_isa::operation::Operation;
use cnnip_isa::{Command, EngineKind, RegisterFile, encode, registers_of};

use crate::touched::{Touched, touched};

/// How many random operations are tried before one is legal; in practice a few.
const TRIES: usize = 10_000;

/// A legal random operation of the CNN engine whose operands lie in the scene's zone.
///
/// # Panics
/// If the zone is too small for any operation.
pub fn cnn_operation(scene: &mut Scene<'_>) -> Operation {
    legal(scene, EngineKind::Cnn, |scene| match scene.rng.within(0..=11) {
        0..=2 => array::conv(scene),
        3 => array::depthwise(scene),
        4 => array::pool(scene),
        5..=7 => elements::eltwise(scene),
        8 => elements::lookup(scene),
        9 => elements::reduce(scene),
        10 => sampling::resize(scene),
        _ => sampling::argmax(scene),
    })
}

/// A legal random operation of the CNN engine that works on accumulators step by step.
///
/// # Panics
/// If the zone is too small for any operation.
pub fn array_operation(scene: &mut Scene<'_>) -> Operation {
    legal(scene, EngineKind::Cnn, |scene| match scene.rng.within(0..=9) {
        0..=4 => array::conv(scene),
        5..=6 => array::depthwise(scene),
        7..=8 => array::pool(scene),
        _ => elements::reduce(scene),
    })
}

/// A legal random operation of a DMA engine.
///
/// # Panics
/// If the zone is too small for any operation.
pub fn dma_operation(scene: &mut Scene<'_>) -> Operation {
    legal(scene, EngineKind::Dma, |scene| if scene.rng.chance(75) { motion::copy(scene) } else { motion::fill(scene) })
}

fn legal(scene: &mut Scene<'_>, engine: EngineKind, make: impl Fn(&mut Scene<'_>) -> Option<Operation>) -> Operation {
    let mut made = (0..TRIES).filter_map(|_| make(scene).filter(|op| is_legal(op, engine, scene)));
    made.next().expect("a zone with room for operations")
}

/// A list that sets the registers of an operation one by one, runs it and ends; and the start cycle of the `RUN`.
///
/// # Panics
/// Never: the commands it makes can be encoded.
pub fn single(operation: &Operation) -> (Vec<u32>, u64) {
    let engine = operation.code().engine();
    let mut registers = RegisterFile::new(engine);
    operation.store(&mut registers);
    let mut words = Vec::new();
    let mut put = |command: &Command<'_>| encode(command, &mut words).expect("fields within their ranges");
    for spec in registers_of(engine) {
        let values = [registers.get(spec.index).unwrap_or_default()];
        put(&Command::Set { first: spec.index, values: &values });
    }
    put(&Command::Run(operation.code()));
    put(&Command::End);
    let start = u64::try_from(words.len()).unwrap_or(u64::MAX) - 2;
    (words, start)
}

/// What the specification allows: parameters that read back, and operands that do not clash.
fn is_legal(operation: &Operation, engine: EngineKind, scene: &Scene<'_>) -> bool {
    let mut registers = RegisterFile::new(engine);
    operation.store(&mut registers);
    Operation::read(operation.code(), &registers, scene.target).is_ok_and(|read| read == *operation)
        && is_acceptable(operation, scene)
}

/// Operands in their places, and no written one over one that is read, in place excepted.
fn is_acceptable(operation: &Operation, scene: &Scene<'_>) -> bool {
    scene.holds(operation) && !overlaps(operation)
}

fn overlaps(operation: &Operation) -> bool {
    let operands = touched(operation);
    let (writes, reads): (Vec<_>, Vec<_>) = operands.iter().partition(|operand| operand.write);
    let in_place = is_in_place(operation);
    let clash = |write, read: &Touched| read.conflict(write).is_some() && !(in_place && read.bytes == write.bytes);
    writes.iter().any(|write| reads.iter().any(|read| clash(write, read)))
}

/// True where an input, or the spilled accumulators, are exactly where the output is, element for element.
fn is_in_place(operation: &Operation) -> bool {
    match operation {
        Operation::Eltwise(op) => {
            let at_output = |map: &cnnip_isa::operation::FeatureMap| {
                (map.address, map.row, map.pixel) == (op.output.address, op.output.row, op.output.pixel)
            };
            at_output(&op.first.map) || op.second.is_some_and(|second| at_output(&second.map))
        }
        Operation::Lookup(op) => op.input == op.output,
        Operation::Conv(conv) => conv.accumulators.load == conv.accumulators.store,
        Operation::Reduce(reduce) => reduce.accumulators.load == reduce.accumulators.store,
        Operation::Pool(_)
        | Operation::Resize(_)
        | Operation::ArgMax(_)
        | Operation::Copy(_)
        | Operation::Fill(_)
        | Operation::Decode(_) => false,
    }
}
