//! The end of a convolution: from sums of products in vectors to the target.

use crate::accumulators::Accumulator;
use crate::channel::{BLOCK, Channel16};
use crate::simd::{AnyScaler, Finish, Lanes, Scaler, Simd, store_bytes};
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

/// Stores accumulators from `first` on. Whole blocks have a loop of constant length, which the compiler turns into vectors.
#[inline(always)]
fn store(bytes: &mut [u8], load: Load<'_>, first: usize, sums: &[i32], bias: &Lanes) {
    let out = accumulators::slice_mut(bytes, first, sums.len());
    match (sums.first_chunk::<BLOCK>(), out.first_chunk_mut::<BLOCK>()) {
        (Some(sums), Some(out)) => store_lanes(out, load, first, sums, bias),
        _ => store_lanes(out, load, first, sums, bias),
    }
}

#[inline(always)]
fn store_lanes(out: &mut [Accumulator], load: Load<'_>, first: usize, sums: &[i32], bias: &Lanes) {
    let sums = sums.iter().zip(bias).map(|(&sum, &bias)| i64::from(sum.wrapping_add(bias)));
    match load {
        Load::Zero => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum.to_le_bytes()),
        Load::InPlace => {
            out.iter_mut()
                .zip(sums)
                .for_each(|(out, sum)| *out = i64::from_le_bytes(*out).wrapping_add(sum).to_le_bytes());
        }
        Load::From(load) => {
            let starts = accumulators::slice(load, first, out.len()).iter().map(|&start| i64::from_le_bytes(start));
            out.iter_mut()
                .zip(starts.zip(sums))
                .for_each(|(out, (start, sum))| *out = start.wrapping_add(sum).to_le_bytes());
        }
    }
}

/// Adds spilled accumulators, which were checked to be small.
#[inline(always)]
fn add_loaded(load: &[u8], map: Map, at: Cursor, channels: Channels, sums: &mut [Lanes]) {
    let first = (at.y * map.w + at.x) * map.c + channels.first;
    for (pixel, sums) in sums.iter_mut().enumerate() {
        let loaded = accumulators::slice(load, first + pixel * map.c, channels.count);
        match loaded.first_chunk::<BLOCK>() {
            Some(whole) => add_lanes(whole, sums),
            None => add_lanes(loaded, sums),
        }
    }
}

#[inline(always)]
fn add_lanes(loaded: &[Accumulator], sums: &mut Lanes) {
    for (sum, &[a, b, c, d, ..]) in sums.iter_mut().zip(loaded) {
        *sum = sum.wrapping_add(i32::from_le_bytes([a, b, c, d]));
    }
}

/// Scales and stores one block of channels of consecutive pixels.
#[inline(always)]
fn requantize<S: Simd>(s: S, out: Rows<'_>, finish: &Finish, block: &Channel16, sums: &[Lanes]) {
    match finish.scaler(s, block) {
        AnyScaler::Plain(scaler) => out.store(s, &scaler, finish, &block.bias, sums),
        AnyScaler::Double(scaler) => out.store(s, &scaler, finish, &block.bias, sums),
        AnyScaler::Single(scaler) => out.store(s, &scaler, finish, &block.bias, sums),
        AnyScaler::Float(scaler) => out.store(s, &scaler, finish, &block.bias, sums),
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
    fn store<S: Simd>(mut self, s: S, scaler: &impl Scaler<S>, finish: &Finish, bias: &Lanes, sums: &[Lanes]) {
        let bias = s.load(bias);
        let (fours, mut rest) = sums.as_chunks::<4>();
        if S::NARROWS_FOUR && self.channels.count == BLOCK {
            for [a, b, c, d] in fours {
                let a = scaler.scale(s, s.add(s.load(a), bias));
                let b = scaler.scale(s, s.add(s.load(b), bias));
                let c = scaler.scale(s, s.add(s.load(c), bias));
                let d = scaler.scale(s, s.add(s.load(d), bias));
                for bytes in &s.narrow_in_order([a, b, c, d], finish) {
                    self.pixel(bytes);
                }
            }
        } else {
            rest = sums;
        }
        let clamp = finish.clamp(s);
        for sums in rest {
            let scaled = scaler.scale(s, s.add(s.load(sums), bias));
            self.pixel(&clamp.bytes(s, scaled));
        }
    }

    /// Stores the next pixel.
    #[inline(always)]
    fn pixel(&mut self, bytes: &[u8; BLOCK]) {
        let first = self.map.at(self.at.y, self.at.x) + self.channels.first;
        store_bytes(&mut self.bytes[first..first + self.channels.count], bytes);
        self.at.step(self.map.w);
    }
}
