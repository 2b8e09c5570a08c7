//! Operations of the DMA engines.

use cnnip_isa::operation::{Copy, DmaPattern, Fill, Location, Operation};

use super::scene::Scene;

/// Bytes that one operation moves at most.
const MAX_BYTES: u64 = 4096;

fn pattern(scene: &mut Scene<'_>, multiple: u32) -> DmaPattern {
    let longest = if scene.rng.chance(50) { 12 } else { 150 };
    let run = scene.rng.within(1..=longest) * multiple;
    let mut counts = [1; 4];
    for count in &mut counts {
        *count = if scene.rng.chance(50) { 1 } else { scene.rng.within(1..=4) };
    }
    DmaPattern { run, counts }
}

/// Steps under which no byte coincides, the loops in random order of size.
fn destination_steps(pattern: &DmaPattern, scene: &mut Scene<'_>) -> [u32; 4] {
    let mut order = [0, 1, 2, 3];
    for i in 1..order.len() {
        order.swap(i, scene.rng.index(i + 1));
    }
    let mut steps = [0; 4];
    let mut reach = pattern.run;
    for i in order.into_iter().filter(|&i| pattern.counts[i] > 1) {
        steps[i] = reach + if scene.rng.chance(50) { 0 } else { scene.rng.within(0..=40) };
        reach += (pattern.counts[i] - 1) * steps[i];
    }
    steps
}

/// Any steps: zero repeats, small ones overlap.
fn source_steps(pattern: &DmaPattern, scene: &mut Scene<'_>) -> [u32; 4] {
    if scene.rng.chance(40) {
        return destination_steps(pattern, scene);
    }
    let mut steps = [0; 4];
    for (step, &count) in steps.iter_mut().zip(&pattern.counts) {
        *step = if count > 1 { scene.rng.within(0..=200) } else { 0 };
    }
    steps
}

fn span(pattern: &DmaPattern, steps: &[u32; 4]) -> u64 {
    let moves = pattern.counts.iter().zip(steps).map(|(&count, &step)| u64::from(count - 1) * u64::from(step));
    moves.sum::<u64>() + u64::from(pattern.run)
}

/// A place for `bytes` bytes in the scratchpad or in one of `regions`.
pub(super) fn location(scene: &mut Scene<'_>, bytes: u64, regions: &[u8]) -> Option<Location> {
    if scene.rng.chance(50) {
        return Some(Location::sram(scene.place(bytes, 1)?));
    }
    let room = u64::from(scene.region_bytes).checked_sub(bytes)?;
    let offset = scene.rng.within(0..=u32::try_from(room).ok()?);
    Some(Location::dram(scene.rng.pick(regions), offset))
}

pub(super) fn copy(scene: &mut Scene<'_>) -> Option<Operation> {
    let pattern = pattern(scene, 1);
    let (source_steps, destination_steps) = (source_steps(&pattern, scene), destination_steps(&pattern, scene));
    let source = location(scene, span(&pattern, &source_steps), &[0, 1, 2])?;
    let destination = location(scene, span(&pattern, &destination_steps), &[2, 3])?;
    let copy = Copy { source, destination, pattern, source_steps, destination_steps };
    (pattern.bytes() <= MAX_BYTES).then_some(Operation::Copy(copy))
}

pub(super) fn fill(scene: &mut Scene<'_>) -> Option<Operation> {
    let value_bytes = scene.rng.pick(&[1, 2, 4]);
    let pattern = pattern(scene, value_bytes);
    let destination_steps = destination_steps(&pattern, scene);
    let destination = location(scene, span(&pattern, &destination_steps), &[2, 3])?;
    let fill = Fill { destination, pattern, destination_steps, value: scene.rng.word(), value_bytes };
    (pattern.bytes() <= MAX_BYTES).then_some(Operation::Fill(fill))
}
