//! Coded weight streams.

use std::ops::RangeInclusive;

use cnnip_isa::operation::{Codebook, Coding, Decode, Location};

use super::scene::Scene;
use crate::Rng;

/// A decode and the bytes that its source needs.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The operation; it reads region 0 or 1 or the scratchpad and writes elsewhere.
    pub decode: Decode,
    /// What must stand where in the stream's memory: stream, offsets, codebook.
    pub contents: Vec<(u32, Vec<u8>)>,
}

/// Attempts to place the parts without overlap.
const TRIES: usize = 10_000;

/// A random weight stream that decodes.
///
/// # Panics
/// If the scene's memory has no room for one.
pub fn stream(scene: &mut Scene<'_>) -> Stream {
    (0..TRIES).find_map(|_| attempt(scene)).expect("room for a stream")
}

fn attempt(scene: &mut Scene<'_>) -> Option<Stream> {
    let (taps, element_bytes) = (scene.rng.within(1..=9), scene.rng.within(1..=2));
    let block_bytes = taps * element_bytes * scene.rng.within(1..=40);
    let stored = scene.rng.within(1..=6);
    let first = scene.rng.within(0..=stored - 1);
    let blocks = scene.rng.within(1..=stored - first);
    let coding = match scene.rng.within(0..=3) {
        0 => Coding::Raw,
        1 => Coding::ZeroRun,
        _ => {
            let index_bits = scene.rng.within(1..=16);
            let kernels = scene.rng.within(1..=(1 << index_bits).min(30));
            Coding::Cluster(Codebook { address: 0, kernels, taps, element_bytes, index_bits })
        }
    };
    // Offsets need not begin at 0: what lies between the blocks that are decoded and the ends is not looked at.
    let mut bytes = padding(scene.rng, 0..=3);
    let mut offsets = vec![bytes.len()];
    for _ in 0..stored {
        bytes.extend(block(scene.rng, &coding, block_bytes));
        offsets.push(bytes.len());
    }
    bytes.extend(padding(scene.rng, 0..=3));
    let table: Vec<u8> = offsets.iter().flat_map(|&offset| u32::try_from(offset).unwrap_or(0).to_le_bytes()).collect();
    let kernels = scene.rng.bytes(usize::try_from(coding.codebook_bytes()).ok()?);
    place(
        scene,
        Decode {
            stream: Location::sram(0),
            stream_bytes: u32::try_from(bytes.len()).ok().filter(|&bytes| bytes > 0)?,
            offsets: 0,
            destination: Location::sram(0),
            coding,
            first,
            blocks,
            block_bytes,
        },
        [bytes, table, kernels],
    )
}

fn padding(rng: &mut Rng, count: RangeInclusive<u32>) -> Vec<u8> {
    let count = rng.within(count);
    rng.bytes(usize::try_from(count).unwrap_or(0))
}

/// The coded bytes of one block.
fn block(rng: &mut Rng, coding: &Coding, block_bytes: u32) -> Vec<u8> {
    match coding {
        Coding::Raw => padding(rng, block_bytes..=block_bytes),
        Coding::ZeroRun => runs(rng, block_bytes),
        Coding::Cluster(codebook) => indices(rng, codebook, block_bytes / (codebook.taps * codebook.element_bytes)),
    }
}

fn runs(rng: &mut Rng, block_bytes: u32) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut left = block_bytes;
    while left > 0 {
        if rng.chance(60) {
            coded.push(u8::try_from(rng.within(1..=255)).unwrap_or(1));
            left -= 1;
        } else {
            let zeros = rng.within(1..=left.min(256));
            coded.extend([0, u8::try_from(zeros - 1).unwrap_or(0)]);
            left -= zeros;
        }
    }
    coded
}

fn indices(rng: &mut Rng, codebook: &Codebook, positions: u32) -> Vec<u8> {
    let mut bits = Vec::new();
    for _ in 0..positions {
        let kernel = rng.within(0..=codebook.kernels - 1);
        bits.extend((0..codebook.index_bits).map(|bit| u8::from(kernel >> bit & 1 == 1)));
    }
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, bit| value << 1 | bit)).collect()
}

/// Puts stream, offsets and codebook anywhere in one memory, and the destination anywhere else.
fn place(scene: &mut Scene<'_>, decode: Decode, [bytes, table, kernels]: [Vec<u8>; 3]) -> Option<Stream> {
    let inside = scene.rng.chance(50);
    let region = scene.rng.pick(&[0, 1]);
    let mut put = |bytes: &[u8], alignment: u32| {
        let length = u64::try_from(bytes.len()).ok()?;
        if inside {
            return scene.place(length, alignment);
        }
        let room = scene.region_bytes.checked_sub(u32::try_from(length).ok()?)?;
        Some(scene.rng.within(0..=room / alignment) * alignment)
    };
    let (stream, offsets, codebook) = (put(&bytes, 1)?, put(&table, 4)?, put(&kernels, 1)?);
    let at = |address: u32| if inside { Location::sram(address) } else { Location::dram(region, address) };
    let coding = match decode.coding {
        Coding::Cluster(book) => Coding::Cluster(Codebook { address: codebook, ..book }),
        other => other,
    };
    let destination = super::motion::location(scene, decode.bytes(), &[2, 3])?;
    let decode = Decode { stream: at(stream), offsets, coding, destination, ..decode };
    let contents = vec![(stream, bytes), (offsets, table), (codebook, kernels)];
    let stream = Stream { decode, contents };
    stream.is_legal(scene).then_some(stream)
}

impl Stream {
    /// Parts that do not overlap, and an operation that the specification allows.
    fn is_legal(&self, scene: &Scene<'_>) -> bool {
        let end = |(start, bytes): &(u32, Vec<u8>)| u64::from(*start) + u64::try_from(bytes.len()).unwrap_or(0);
        let apart = |a, b: &(u32, Vec<u8>)| end(a) <= u64::from(b.0) || end(b) <= u64::from(a.0);
        let [a, b, c] = self.contents.as_slice() else { return false };
        let operation = cnnip_isa::operation::Operation::Decode(self.decode);
        apart(a, b) && apart(b, c) && apart(a, c) && super::is_legal(&operation, cnnip_isa::EngineKind::Dma, scene)
    }
}
