//! Convolutions of which only some weight blocks are stored.

use cnnip_isa::operation::{Conv, ConvKind, Operation, Sparse, Weights};
use cnnip_isa::{ElementType, EngineKind};

use super::scene::Scene;

/// Attempts to place the bitmap.
const TRIES: usize = 10_000;

/// A random convolution with a bitmap, and the bitmap's bytes, which must stand at its address.
///
/// # Panics
/// If the scene's zone is too small.
pub fn sparse_conv(scene: &mut Scene<'_>) -> (Conv, Vec<u8>) {
    (0..TRIES).find_map(|_| attempt(scene)).expect("room for a convolution")
}

fn attempt(scene: &mut Scene<'_>) -> Option<(Conv, Vec<u8>)> {
    let Operation::Conv(conv) = super::array::conv(scene)? else { return None };
    let ConvKind::Grouped { groups } = conv.kind else { return None };
    let per = if conv.weights.element == ElementType::Int16 { 2 } else { 4 };
    let rows = groups * (conv.output.channels / groups).div_ceil(16);
    let blocks = conv.window.kernel_h * conv.window.kernel_w * (conv.input.channels / groups).div_ceil(per);
    let percent = scene.rng.pick(&[0, 20, 50, 90, 100]);
    let bits: Vec<bool> = (0..rows * blocks).map(|_| scene.rng.chance(percent)).collect();
    let count = |bits: &[bool]| u32::try_from(bits.iter().filter(|&&bit| bit).count()).ok();
    let most = bits.chunks(usize::try_from(blocks).ok()?).filter_map(count).max()?;
    let longest = if scene.rng.chance(80) { most } else { scene.rng.within(most..=blocks) };
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |value, &bit| value << 1 | u8::from(bit));
    let bitmap: Vec<u8> = bits.chunks(8).map(byte).collect();
    let stored = count(&bits)?;
    let sparse = Sparse { bitmap: scene.place(u64::try_from(bitmap.len()).ok()?, 1)?, stored, longest };
    let address = scene.place(64 * u64::from(stored), 64)?;
    let conv = Conv { weights: Weights { address, sparse: Some(sparse), ..conv.weights }, ..conv };
    super::is_legal(&Operation::Conv(conv), EngineKind::Cnn, scene).then_some((conv, bitmap))
}
