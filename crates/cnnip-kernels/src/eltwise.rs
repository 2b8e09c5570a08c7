//! Element-wise functions of two maps.
//!
//! ```text
//! a' = a.scale((a - a.zero) << pre_shift)      b' likewise
//! v  = a' function b'
//! out = clamp(out.scale(v) + out.zero)
//! ```

mod linear;
mod lines;

pub(crate) use linear::LOW_BITS;
pub use linear::Linear8;

use crate::channel::{check_scale, within};
use crate::operand::low8;
use crate::{Backend, Declined, Kernels, Map, Output8, Source8};
use cnnip_numerics::eltwise::{Function, Input, MAX_PRE_SHIFT, Output};
use cnnip_numerics::{ChannelRecord, Eltwise, RoundingMode, Scale};

/// Scale of one stage: multiplier (or the bits of a float scale) and shift, as registers hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How the product is rounded.
    pub mode: RoundingMode,
    /// Integer multiplier, or float scale bits.
    pub multiplier: u32,
    /// Positive shifts left.
    pub shift: i32,
}

impl Stage {
    /// The stage that changes nothing.
    pub const NONE: Self = Self { mode: RoundingMode::None, multiplier: 0, shift: 0 };

    fn record(self) -> ChannelRecord {
        ChannelRecord { bias: 0, multiplier: self.multiplier, shift: self.shift }
    }

    fn scale(self) -> Result<Scale, Declined> {
        Ok(self.record().scale(self.mode)?)
    }
}

/// An element-wise operation's operands.
///
/// A source broadcasts through zero strides; its map has the output's size, except that a source with one channel serves
/// every output channel.
#[derive(Clone, Copy, Debug)]
pub struct Eltwise8<'a> {
    /// What is computed.
    pub function: Function,
    /// Left shift of (x - zero) before the input stages.
    pub pre_shift: u32,
    /// First input.
    pub a: Source8<'a>,
    /// Scale of the first input.
    pub a_stage: Stage,
    /// Second input; `Function::Pass` does not look at it.
    pub b: Source8<'a>,
    /// Scale of the second input.
    pub b_stage: Stage,
    /// Multiplier of the output stage; its mode is the output's.
    pub multiplier: u32,
    /// Shift of the output stage.
    pub shift: i32,
}

impl Kernels {
    /// Computes `op` for every element of the output.
    ///
    /// # Errors
    /// [`Declined`], with nothing written: also where a value between stages may leave 31 bits.
    pub fn eltwise8(&self, op: &Eltwise8<'_>, out: &mut [u8], map: Map, output: Output8) -> Result<(), Declined> {
        let plan = Plan::new(op, out, map, output)?;
        if self.backend() == Backend::Scalar {
            plan.run(out);
        } else {
            self.vectorize_with_tables(lines::Job { plan: &plan, out });
        }
        Ok(())
    }
}

/// A checked element-wise operation.
struct Plan<'a> {
    op: Eltwise8<'a>,
    arithmetic: Eltwise,
    map: Map,
    output: Output8,
}

impl<'a> Plan<'a> {
    fn new(op: &Eltwise8<'a>, out: &[u8], map: Map, output: Output8) -> Result<Self, Declined> {
        output.check()?;
        map.check_destination(out.len())?;
        op.check_source(&op.a, map)?;
        if op.function != Function::Pass {
            op.check_source(&op.b, map)?;
        }
        op.check_bounds(output.mode)?;
        Ok(Self { op: *op, arithmetic: op.arithmetic(output)?, map, output })
    }

    /// The slow twin.
    fn run(&self, out: &mut [u8]) {
        for y in 0..self.map.h {
            for x in 0..self.map.w {
                for c in 0..self.map.c {
                    out[self.map.at(y, x) + c] = low8(self.element(y, x, c));
                }
            }
        }
    }

    fn element(&self, y: usize, x: usize, c: usize) -> i32 {
        let value = |source: &Source8<'_>| {
            let c = if source.map.c == 1 { 0 } else { c };
            source.element.value(source.bytes[source.map.at(y, x) + c])
        };
        let b = if self.op.function == Function::Pass { 0 } else { value(&self.op.b) };
        self.arithmetic.apply(value(&self.op.a), b).unwrap_or(0) // bounds were checked
    }
}

impl Eltwise8<'_> {
    fn check_source(&self, source: &Source8<'_>, map: Map) -> Result<(), Declined> {
        source.check()?;
        let fits = (source.map.h, source.map.w) == (map.h, map.w) && [1, map.c].contains(&source.map.c);
        if fits { Ok(()) } else { Err(Declined::Shape { what: "element-wise sizes" }) }
    }

    fn arithmetic(&self, output: Output8) -> Result<Eltwise, Declined> {
        let input = |source: &Source8<'_>, stage: Stage| Ok(Input { zero_point: source.zero, scale: stage.scale()? });
        let b_stage = if self.function == Function::Pass { Stage::NONE } else { self.b_stage };
        let last = Stage { mode: output.mode, multiplier: self.multiplier, shift: self.shift };
        let output = Output { scale: last.scale()?, zero_point: output.zero, min: output.min, max: output.max };
        let inputs: Result<_, Declined> = input(&self.a, self.a_stage).and_then(|a| Ok((a, input(&self.b, b_stage)?)));
        let (a, b) = inputs?;
        Ok(Eltwise::new(self.function, self.pre_shift, a, b, output)?)
    }

    /// Proves that every value before, between and after stages stays within the limit.
    fn check_bounds(&self, mode: RoundingMode) -> Result<(), Declined> {
        let a = self.stage_bound(&self.a, self.a_stage)?;
        let value = match self.function {
            Function::Pass => a,
            Function::Add | Function::Sub => a + self.stage_bound(&self.b, self.b_stage)?,
            Function::Mul => a.saturating_mul(self.stage_bound(&self.b, self.b_stage)?),
            Function::Min | Function::Max => a.max(self.stage_bound(&self.b, self.b_stage)?),
        };
        let last = Stage { mode, multiplier: self.multiplier, shift: self.shift };
        last.bound(within(value)?).map(|_| ())
    }

    /// What a scaled input stays within.
    fn stage_bound(&self, source: &Source8<'_>, stage: Stage) -> Result<u64, Declined> {
        if self.pre_shift > MAX_PRE_SHIFT {
            return Err(Declined::Shape { what: "pre-shift" });
        }
        stage.bound(within(source.magnitude() << self.pre_shift)?)
    }
}

impl Stage {
    /// What values within `bound` are scaled to, at most; both within the limit.
    fn bound(self, bound: u64) -> Result<u64, Declined> {
        check_scale(&self.record(), self.mode, bound)?;
        match self.mode {
            RoundingMode::None => Ok(bound),
            RoundingMode::Double | RoundingMode::Single => within(bound << self.shift.max(0)),
            _ => within(float_bound(bound, f32::from_bits(self.multiplier))),
        }
    }
}

/// What values within `bound` times `scale`, rounded, stay within; both factors round up a little.
fn float_bound(bound: u64, scale: f32) -> u64 {
    let powers = (0..32_u8).find(|&power| scale.abs() <= f32::from(power).exp2());
    powers.map_or(u64::MAX, |power| (bound + (bound >> 20)) << power)
}

#[cfg(test)]
mod tests;
