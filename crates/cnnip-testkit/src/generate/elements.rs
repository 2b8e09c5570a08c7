//! Element-wise operations, tables and reductions.

use cnnip_isa::operation::{
    Accumulators, Activation, Eltwise, FeatureMap, Lookup, Operation, OutputStage, Reduce, ReduceOutput, Stage, Table,
    TableScale,
};
use cnnip_isa::{ElementType, EltwiseFunction, ReduceFunction, RoundingMode, TableKind};

use super::array::{activation, table, zero_point};
use super::scene::{Scene, element_bytes, scale};
use crate::Rng;

const FUNCTIONS: [EltwiseFunction; 6] = [
    EltwiseFunction::Add,
    EltwiseFunction::Sub,
    EltwiseFunction::Mul,
    EltwiseFunction::Min,
    EltwiseFunction::Max,
    EltwiseFunction::Pass,
];

fn size(scene: &mut Scene<'_>) -> [u32; 3] {
    let side = scene.max_side;
    [scene.rng.within(1..=side), scene.rng.within(1..=side), scene.rng.within(1..=24)]
}

fn element(rng: &mut Rng) -> ElementType {
    rng.pick(&[ElementType::Int8, ElementType::Int8, ElementType::Int16])
}

/// Pre-shift, modes of the inputs and mode of the output that keep every stage in range.
fn stages(function: EltwiseFunction, wide: bool, rng: &mut Rng) -> (u32, RoundingMode, RoundingMode) {
    use RoundingMode::{Double, Float, FloatZero, None, Single};
    let product = function == EltwiseFunction::Mul;
    if !product && rng.chance(50) {
        return (if wide { 13 } else { 20 }, rng.pick(&[Double, Single]), rng.pick(&[Double, Single]));
    }
    let pre_shift = if product { 0 } else { rng.within(0..=4) };
    (pre_shift, None, rng.pick(&[None, Double, Single, Float, FloatZero]))
}

/// A scale below 1, so that a later stage stays in range.
fn shrinking(mode: RoundingMode, rng: &mut Rng) -> OutputStage {
    if mode == RoundingMode::None {
        return OutputStage::NONE;
    }
    OutputStage { mode, multiplier: rng.within(1 << 30..=(1 << 31) - 1), shift: rng.signed(-3..=0) }
}

pub(super) fn eltwise(scene: &mut Scene<'_>) -> Option<Operation> {
    if scene.rng.chance(15) {
        return affine(scene);
    }
    let size = size(scene);
    let (input, output) = (element(scene.rng), element(scene.rng));
    let first = if input == ElementType::Int8 { scene.rng.pick(&[input, input, ElementType::Uint8]) } else { input };
    let function = scene.rng.pick(&FUNCTIONS);
    let (pre_shift, input_mode, output_mode) = stages(function, input == ElementType::Int16, scene.rng);
    let pre_shift = if scene.overflows && scene.rng.chance(10) { 22 } else { pre_shift };
    let output = scene.destination(size, output)?;
    let second = match function {
        EltwiseFunction::Pass => None,
        _ => Some(stage(scene, &output, input, input_mode)?),
    };
    Some(Operation::Eltwise(Eltwise {
        function,
        pre_shift,
        first: stage(scene, &output, first, input_mode)?,
        second,
        output,
        stage: scale(output_mode, scene.rng),
        activation: activation(scene, output.element, true)?,
    }))
}

/// The sum in binary32, of 8 bits.
fn affine(scene: &mut Scene<'_>) -> Option<Operation> {
    let size = size(scene);
    let output = scene.destination(size, ElementType::Int8)?;
    let input = |scene: &mut Scene<'_>, element| {
        let input = stage(scene, &output, element, RoundingMode::None)?;
        Some(Stage { scale: scale(RoundingMode::Float, scene.rng), ..input })
    };
    let element = scene.rng.pick(&[ElementType::Int8, ElementType::Uint8]);
    Some(Operation::Eltwise(Eltwise {
        function: EltwiseFunction::Affine,
        pre_shift: 0,
        first: input(scene, element)?,
        second: Some(input(scene, ElementType::Int8)?),
        output,
        stage: scale(RoundingMode::Float, scene.rng),
        activation: activation(scene, ElementType::Int8, true)?,
    }))
}

/// An input: anywhere, in place, or broadcast.
fn stage(scene: &mut Scene<'_>, output: &FeatureMap, element: ElementType, mode: RoundingMode) -> Option<Stage> {
    let in_place = element_bytes(element) == element_bytes(output.element) && scene.rng.chance(20);
    let broadcast = !in_place && scene.rng.chance(20);
    let size = [output.height, output.width, output.channels];
    let map = if in_place { FeatureMap { element, ..*output } } else { scene.source(size, element)? };
    Some(Stage { map, broadcast, zero: zero_point(element, scene.rng), scale: shrinking(mode, scene.rng) })
}

pub(super) fn lookup(scene: &mut Scene<'_>) -> Option<Operation> {
    let (size, element) = (size(scene), element(scene.rng));
    let output = scene.destination(size, element)?;
    let input = if scene.rng.chance(30) { output } else { scene.source(size, element)? };
    let table =
        if element == ElementType::Int16 && scene.rng.chance(50) { half_table(scene)? } else { table(scene, element)? };
    let scale = table
        .is_half()
        .then(|| TableScale { multiplier: scene.rng.within(0..=65_535), shift: scene.rng.within(0..=31) });
    Some(Operation::Lookup(Lookup { input, output, table, scale }))
}

/// A half table at a random place: any 512 bytes are one.
fn half_table(scene: &mut Scene<'_>) -> Option<Table> {
    let kind = scene.rng.pick(&[TableKind::Int16Sigmoid, TableKind::Int16Tanh]);
    Some(Table { kind, address: scene.place(512, 2)? })
}

pub(super) fn reduce(scene: &mut Scene<'_>) -> Option<Operation> {
    let element = element(scene.rng);
    let size = [size(scene)[0], size(scene)[1], scene.rng.within(1..=50)];
    let input = scene.source(size, element)?;
    let function =
        scene.rng.pick(&[ReduceFunction::Sum, ReduceFunction::Sum, ReduceFunction::Min, ReduceFunction::Max]);
    let sum = function == ReduceFunction::Sum;
    let channels = scene.rng.chance(25);
    let results = if channels { 1 } else { size[2] };
    let accumulators = if sum { accumulators(scene, results)? } else { Accumulators::default() };
    let output = match accumulators.store {
        Some(_) => NOTHING,
        None => reduce_output(scene, element, results, sum)?,
    };
    let input_zero = if sum { zero_point(element, scene.rng) } else { 0 };
    Some(Operation::Reduce(Reduce { function, input, input_zero, channels, accumulators, output }))
}

const NOTHING: ReduceOutput = ReduceOutput {
    address: 0,
    element: ElementType::None,
    stage: OutputStage::NONE,
    divisor: 1,
    activation: Activation { zero: 0, min: 0, max: 0, table: None },
};

fn accumulators(scene: &mut Scene<'_>, results: u32) -> Option<Accumulators> {
    let load = scene.rng.chance(25).then_some(scene.zone.spills());
    let store = if scene.rng.chance(20) { Some(scene.place(8 * u64::from(results), 8)?) } else { None };
    Some(Accumulators { load, store, bias: false })
}

fn reduce_output(scene: &mut Scene<'_>, element: ElementType, results: u32, sum: bool) -> Option<ReduceOutput> {
    let bytes = element_bytes(element);
    let address = scene.place(u64::from(results * bytes), bytes)?;
    let activation = activation(scene, element, false)?;
    if !sum {
        return Some(ReduceOutput { address, element, activation: Activation { zero: 0, ..activation }, ..NOTHING });
    }
    let modes = [RoundingMode::None, RoundingMode::Double, RoundingMode::Single, RoundingMode::Float];
    let mode = scene.rng.pick(&modes);
    let divisor = if scene.rng.chance(50) { 1 } else { scene.rng.within(1..=100) };
    Some(ReduceOutput { address, element, stage: scale(mode, scene.rng), divisor, activation })
}
