//! Operations of the MAC array: convolutions and pools.

use cnnip_isa::operation::{
    Accumulators, Activation, Conv, ConvKind, FeatureMap, Operation, OutputStage, Pool, PoolKind, Table, Weights,
    Window,
};
use cnnip_isa::{ElementType, RoundingMode, TableKind};

use super::scene::{RECORDS, Scene, element_bytes, scale};
use crate::Rng;

/// Output bytes up to which random accumulators are kept.
const MAX_SPILLED: u32 = 1024;

pub(super) fn conv(scene: &mut Scene<'_>) -> Option<Operation> {
    let groups = scene.rng.pick(&[1, 1, 1, 2, 3]);
    let deepest = scene.rng.pick(&[9, 9, 9, 48]);
    let inputs = scene.rng.within(1..=deepest);
    let outputs = scene.rng.within(1..=if groups == 1 { 40 } else { 18 });
    convolution(scene, ConvKind::Grouped { groups }, groups * inputs, groups * outputs)
}

pub(super) fn depthwise(scene: &mut Scene<'_>) -> Option<Operation> {
    let (channels, multiplier) = (scene.rng.within(1..=20), scene.rng.pick(&[1, 1, 2, 3]));
    convolution(scene, ConvKind::Depthwise { multiplier }, channels, channels * multiplier)
}

/// Element types of input, weights and output, and the mode.
fn types(scene: &mut Scene<'_>) -> (ElementType, ElementType, ElementType, RoundingMode) {
    use ElementType::{Int8, Int16, Uint8};
    use RoundingMode::{Double, Float, Reduced, Single};
    let narrow = scene.rng.pick(&[Int8, Int8, Uint8]);
    match scene.rng.within(0..=9) {
        0..=5 => (narrow, Int8, Int8, scene.rng.pick(&[Double, Single, Float])),
        6 => (Int8, Int8, Int16, scene.rng.pick(&[Double, Single])),
        // Products of 16-bit numbers soon leave 32 bits.
        7 if scene.overflows => (Int16, Int8, Int16, scene.rng.pick(&[Double, Single])),
        _ => (Int16, scene.rng.pick(&[Int8, Int16]), Int16, Reduced),
    }
}

fn convolution(scene: &mut Scene<'_>, kind: ConvKind, input_channels: u32, output_channels: u32) -> Option<Operation> {
    let (input_element, weight_element, output_element, mode) = types(scene);
    let window = window(scene);
    let size = [scene.rng.within(1..=scene.max_side), scene.rng.within(1..=scene.max_side)];
    let limits = [scene.target.max_pad_y, scene.target.max_pad_x];
    let [height, width] = output_size(size, &window, limits, scene.rng)?;
    let output_size = [height, width, output_channels];
    let accumulators = accumulators(scene, output_size)?;
    let stored = accumulators.store.is_some();
    if output_channels > RECORDS {
        return None;
    }
    let output = if stored { sizes_only(output_size) } else { scene.destination(output_size, output_element)? };
    let requant = if stored { RoundingMode::None } else { mode };
    let input = scene.source([size[0], size[1], input_channels], input_element)?;
    Some(Operation::Conv(Conv {
        kind,
        input,
        input_zero: zero_point(input_element, scene.rng),
        pad_value: value(input_element, scene.rng),
        output,
        window,
        weights: Weights {
            address: scene.place(64, 64)?,
            element: weight_element,
            zero: if scene.rng.chance(30) { zero_point(weight_element, scene.rng) } else { 0 },
            sparse: None,
        },
        records: scene.zone.records(requant),
        accumulators,
        requant,
        activation: if stored { NO_ACTIVATION } else { activation(scene, output_element, true)? },
    }))
}

const NO_ACTIVATION: Activation = Activation { zero: 0, min: 0, max: 0, table: None };

/// The output of a command that stores accumulators: its size only.
fn sizes_only([height, width, channels]: [u32; 3]) -> FeatureMap {
    FeatureMap { address: 0, width, height, channels, row: 0, pixel: 0, element: ElementType::None }
}

fn accumulators(scene: &mut Scene<'_>, [height, width, channels]: [u32; 3]) -> Option<Accumulators> {
    let elements = height * width * channels;
    let spilled = elements <= MAX_SPILLED;
    let load = (spilled && scene.rng.chance(25)).then_some(scene.zone.spills());
    let store = if spilled && scene.rng.chance(20) { Some(scene.place(8 * u64::from(elements), 8)?) } else { None };
    Some(Accumulators { load, store, bias: scene.rng.chance(70) })
}

fn window(scene: &mut Scene<'_>) -> Window {
    let (target, rng) = (scene.target, &mut *scene.rng);
    let mut axis = |max_pad: u32| {
        let kernel = rng.within(1..=target.max_kernel);
        let stride = rng.within(1..=target.max_stride);
        let dilation = if rng.chance(60) { 1 } else { rng.within(1..=target.max_dilation) };
        (kernel, stride, dilation, if rng.chance(50) { 0 } else { rng.within(0..=max_pad.min(5)) })
    };
    let (kernel_h, stride_y, dilation_y, top) = axis(target.max_pad_y);
    let (kernel_w, stride_x, dilation_x, left) = axis(target.max_pad_x);
    Window { kernel_h, kernel_w, stride_y, stride_x, dilation_y, dilation_x, top, left }
}

/// Output height and width with a random padding at the bottom and right.
fn output_size([height, width]: [u32; 2], w: &Window, limits: [u32; 2], rng: &mut Rng) -> Option<[u32; 2]> {
    let mut axis = |size: u32, kernel: u32, stride: u32, dilation: u32, before: u32, limit: u32| {
        let after = if rng.chance(50) { 0 } else { rng.within(0..=limit.min(5)) };
        let room = (size + before + after).checked_sub((kernel - 1) * dilation + 1)?;
        Some(room / stride + 1)
    };
    let rows = axis(height, w.kernel_h, w.stride_y, w.dilation_y, w.top, limits[0])?;
    Some([rows, axis(width, w.kernel_w, w.stride_x, w.dilation_x, w.left, limits[1])?])
}

pub(super) fn pool(scene: &mut Scene<'_>) -> Option<Operation> {
    let element = scene.rng.pick(&[ElementType::Int8, ElementType::Int8, ElementType::Int16]);
    let max = scene.target.max_pool_window;
    let rng = &mut *scene.rng;
    let (kernel_h, kernel_w) = (rng.within(1..=max), rng.within(1..=max));
    let window = Window {
        kernel_h,
        kernel_w,
        stride_y: rng.within(1..=scene.target.max_stride),
        stride_x: rng.within(1..=scene.target.max_stride),
        top: rng.within(0..=kernel_h - 1),
        left: rng.within(0..=kernel_w - 1),
        ..Window::UNIT
    };
    let size = [rng.within(1..=scene.max_side), rng.within(1..=scene.max_side)];
    let [height, width] = output_size(size, &window, [kernel_h - 1, kernel_w - 1], rng)?;
    let channels = rng.within(1..=40);
    let average = rng.chance(50);
    let input = scene.source([size[0], size[1], channels], element)?;
    let output = scene.destination([height, width, channels], element)?;
    let activation = activation(scene, element, false)?;
    Some(Operation::Pool(Pool {
        kind: if average { pool_average(element, scene.rng) } else { PoolKind::Max },
        input,
        output,
        window,
        activation: if average { activation } else { Activation { zero: 0, ..activation } },
    }))
}

fn pool_average(element: ElementType, rng: &mut Rng) -> PoolKind {
    let modes =
        [RoundingMode::None, RoundingMode::None, RoundingMode::Double, RoundingMode::Single, RoundingMode::Float];
    let mode = rng.pick(&modes);
    let stage: OutputStage = scale(mode, rng);
    PoolKind::Average { input_zero: zero_point(element, rng), count_pad: rng.chance(30), stage }
}

/// The values of a type.
pub(super) fn limits(element: ElementType) -> (i32, i32) {
    match element {
        ElementType::None => (0, 0),
        ElementType::Int8 => (-128, 127),
        ElementType::Uint8 => (0, 255),
        ElementType::Int16 => (-32_768, 32_767),
        ElementType::Int32 => (i32::MIN, i32::MAX),
    }
}

pub(super) fn value(element: ElementType, rng: &mut Rng) -> i32 {
    let (low, high) = limits(element);
    rng.signed(low..=high)
}

/// A zero point: 16 bit is symmetric.
pub(super) fn zero_point(element: ElementType, rng: &mut Rng) -> i32 {
    if element == ElementType::Int16 { 0 } else { value(element, rng) }
}

/// Zero point, clamp and, where allowed, a table.
pub(super) fn activation(scene: &mut Scene<'_>, element: ElementType, table: bool) -> Option<Activation> {
    let (low, high) = limits(element);
    let zero = zero_point(element, scene.rng);
    let (a, b) = (value(element, scene.rng), value(element, scene.rng));
    let (min, max) = if scene.rng.chance(70) { (low, high) } else { (a.min(b), a.max(b)) };
    let table = if table && scene.rng.chance(20) { Some(self::table(scene, element)?) } else { None };
    Some(Activation { zero, min, max, table })
}

/// A table at a random place: any bytes are a table.
pub(super) fn table(scene: &mut Scene<'_>, element: ElementType) -> Option<Table> {
    let (kind, bytes) =
        if element == ElementType::Int16 { (TableKind::Int16_513, 1026) } else { (TableKind::Int8_256, 256) };
    Some(Table { kind, address: scene.place(bytes, element_bytes(element))? })
}
