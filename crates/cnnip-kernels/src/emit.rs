//! The end of a convolution: from sums of products in vectors to the target.

use crate::channel::Channel16;
use crate::simd::{AnyScaler, Clamp, Finish, Lanes, Scaler, Simd, store_bytes};
use crate::{Load, Map, Target8, accumulators};

/// A walk over output pixels in memory order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) y: usize,
    pub(crate) x: usize,
}

impl Cursor {
    /// The next of `w` columns, or the next row.
    #[inline(always)]
    pub(crate) fn step(&mut self, w: usize) {
        self.x += 1;
        if self.x == w {
            *self = Self { y: self.y + 1, x: 0 };
        }
    }
}

/// Which channels of the output a block is: `count` of them from `first`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Delivers one block of channels of consecutive pixels from `at` on; `sums` still lack the block's bias.
#[inline(always)]
pub(crate) fn emit<S: Simd>(
    s: S,
    target: &mut Target8<'_>,
    at: Cursor,
    channels: Channels,
    block: &Channel16,
    sums: &mut [Lanes],
) {
    match target {
        Target8::Output { bytes, map, output, load } => {
            if let Some(load) = load {
                add_loaded(load, *map, at, channels, sums);
            }
            requantize(s, Rows { bytes, map: *map, at, channels }, &Finish::new(output), block, sums);
        }
        Target8::Accumulators { bytes, size: [_, w, c], load } => {
            let (mut first, step) = ((at.y * *w + at.x) * *c + channels.first, *c);
            for sums in sums {
                store(bytes, *load, first, &sums[..channels.count], &block.bias);
                first += step;
            }
        }
    }
}

/// Stores accumulators from `first` on.
#[inline(always)]
fn store(bytes: &mut [u8], load: Load<'_>, first: usize, sums: &[i32], bias: &Lanes) {
    for (lane, (&sum, &bias)) in sums.iter().zip(bias).enumerate() {
        let value = start(bytes, load, first + lane).wrapping_add(i64::from(sum.wrapping_add(bias)));
        accumulators::write(bytes, first + lane, value);
    }
}

/// What a spilled accumulator starts from.
#[inline(always)]
fn start(bytes: &[u8], load: Load<'_>, index: usize) -> i64 {
    match load {
        Load::Zero => 0,
        Load::From(load) => accumulators::read(load, index),
        Load::InPlace => accumulators::read(bytes, index),
    }
}

/// Adds spilled accumulators, which were checked to be small.
#[inline(always)]
fn add_loaded(load: &[u8], map: Map, at: Cursor, channels: Channels, sums: &mut [Lanes]) {
    let first = (at.y * map.w + at.x) * map.c + channels.first;
    for (pixel, sums) in sums.iter_mut().enumerate() {
        for (lane, sum) in sums.iter_mut().enumerate().take(channels.count) {
            let loaded = accumulators::read(load, first + pixel * map.c + lane);
            *sum = sum.wrapping_add(i32::try_from(loaded).unwrap_or(0));
        }
    }
}

/// Scales and stores one block of channels of consecutive pixels.
#[inline(always)]
fn requantize<S: Simd>(s: S, out: Rows<'_>, finish: &Finish, block: &Channel16, sums: &[Lanes]) {
    let clamp = finish.clamp(s);
    match finish.scaler(s, block) {
        AnyScaler::Plain(scaler) => out.store(s, &scaler, clamp, &block.bias, sums),
        AnyScaler::Double(scaler) => out.store(s, &scaler, clamp, &block.bias, sums),
        AnyScaler::Single(scaler) => out.store(s, &scaler, clamp, &block.bias, sums),
        AnyScaler::Float(scaler) => out.store(s, &scaler, clamp, &block.bias, sums),
    }
}

/// Where consecutive pixels of one block of channels go.
struct Rows<'a> {
    bytes: &'a mut [u8],
    map: Map,
    at: Cursor,
    channels: Channels,
}

impl Rows<'_> {
    #[inline(always)]
    fn store<S: Simd>(mut self, s: S, scaler: &impl Scaler<S>, clamp: Clamp<S>, bias: &Lanes, sums: &[Lanes]) {
        let bias = s.load(bias);
        for sums in sums {
            let scaled = scaler.scale(s, s.add(s.load(sums), bias));
            let first = self.map.at(self.at.y, self.at.x) + self.channels.first;
            store_bytes(&mut self.bytes[first..first + self.channels.count], &clamp.bytes(s, scaled));
            self.at.step(self.map.w);
        }
    }
}
