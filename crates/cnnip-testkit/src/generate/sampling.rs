//! Resizes and arg-max.

use cnnip_isa::operation::{ArgMax, FeatureMap, Operation, Resize, ResizeAxis};
use cnnip_isa::{ElementType, ResizeMode};

use super::scene::Scene;

fn element(scene: &mut Scene<'_>) -> ElementType {
    scene.rng.pick(&[ElementType::Int8, ElementType::Int8, ElementType::Int16])
}

fn sides(scene: &mut Scene<'_>) -> [u32; 2] {
    let side = scene.max_side;
    [scene.rng.within(1..=side), scene.rng.within(1..=side)]
}

pub(super) fn resize(scene: &mut Scene<'_>) -> Option<Operation> {
    let mode = scene.rng.pick(&[ResizeMode::Nearest, ResizeMode::Bilinear]);
    let (element, channels) = (element(scene), scene.rng.within(1..=24));
    let ([height, width], [rows, columns]) = (sides(scene), sides(scene));
    let fraction = scene.rng.pick(&[0, 1, 7, 10, 10, 10, 16]);
    let rows_axis = axis(scene, mode, fraction, [height, rows]);
    let columns_axis = axis(scene, mode, fraction, [width, columns]);
    Some(Operation::Resize(Resize {
        mode,
        input: scene.source([height, width, channels], element)?,
        output: scene.destination([rows, columns, channels], element)?,
        fraction,
        rows: rows_axis,
        columns: columns_axis,
    }))
}

/// Mostly positions that spread over the whole input, now and then any.
fn axis(scene: &mut Scene<'_>, mode: ResizeMode, fraction: u32, [from, to]: [u32; 2]) -> ResizeAxis {
    if scene.rng.chance(10) {
        return ResizeAxis { origin: scene.rng.word().cast_signed(), step: scene.rng.word() };
    }
    let one = 1 << fraction;
    let least = one / scene.target.max_scale(mode);
    let origin = scene.rng.signed(-(one.cast_signed())..=one.cast_signed());
    ResizeAxis { origin, step: (from * one / to).max(least) }
}

pub(super) fn argmax(scene: &mut Scene<'_>) -> Option<Operation> {
    let ([height, width], element) = (sides(scene), element(scene));
    let channels = scene.rng.within(1..=scene.target.max_argmax_channels);
    let index = scene.rng.pick(&[ElementType::Int8, ElementType::Int16, ElementType::Int32]);
    let output = scene.destination([height, width, 1], index)?;
    let input = scene.source([height, width, channels], element)?;
    Some(Operation::ArgMax(ArgMax { input, output: FeatureMap { channels: 1, ..output } }))
}
