//! Sums of two bytes as one linear form: `(a * A + b * B + C) >> shift`, clamped.
//!
//! The arithmetic of a sum has three stages with a rounding each, but only 65,536 arguments. So a form of one rounding that gives
//! the same for every one of them is the same function, and a fourth of the work. [`Kernels::linear8`] looks for it and tries all
//! arguments; where there is none, because many sums lie half way between two results, the stages remain.

use super::Eltwise8;
use crate::operand::low8;
use crate::simd::{Block, Simd, Task};
use crate::{Declined, Element8, Kernels, Map, Output8, Source8, Stage};
use cnnip_numerics::RoundingMode;
use cnnip_numerics::eltwise::Function;

/// A sum of two 8-bit elements as a linear form, found to be equal for all arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear8 {
    pub(crate) elements: [Element8; 2],
    /// The factors of both inputs, low bits and the others: `low + (high << LOW_BITS)`.
    pub(crate) low: [i16; 2],
    pub(crate) high: [i16; 2],
    /// What the sums of low and of high parts start from.
    pub(crate) start: [i32; 2],
    /// Fraction bits of what is left when the low ones are dropped.
    pub(crate) shift: u32,
    pub(crate) min: i8,
    pub(crate) max: i8,
}

/// Bits of a factor's low part: so many that it is a positive 16-bit number.
pub(crate) const LOW_BITS: u32 = 15;

/// Bits of a factor without its sign.
const FACTOR_BITS: u32 = 30;

/// Times that another start is tried. The offset between two tries halves, from [`OFFSET`] down to less than stages lose.
const TRIES: u32 = 12;

/// The largest offset of the start, as a power of two of a step of the output: some times what rounding between stages loses.
const OFFSET: u32 = 12;

/// Numbers of a byte.
const BYTES: usize = 256;

/// A linear form before it is known to fit.
struct Form {
    elements: [Element8; 2],
    factors: [i64; 2],
    start: i64,
    shift: u32,
    output: Output8,
}

impl Kernels {
    /// A linear form that gives what [`eltwise8`](Self::eltwise8) does for every two bytes; where the maps of `op` lie does not
    /// matter. `None` if there is none, or this backend has no fast way to compute it.
    #[must_use]
    pub fn linear8(&self, op: &Eltwise8<'_>, output: Output8) -> Option<Linear8> {
        if !self.has_linear() {
            return None;
        }
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let (each, repeated) =
            (Map { row: 1, ..Map::dense(BYTES, 1, 1) }, Map { row: 0, ..Map::dense(BYTES, 1, BYTES) });
        let (a, b) = (Source8 { bytes: &all, map: each, ..op.a }, Source8 { bytes: &all, map: repeated, ..op.b });
        let mut want = vec![0; BYTES * BYTES];
        self.eltwise8(&Eltwise8 { a, b, ..*op }, &mut want, Map::dense(BYTES, 1, BYTES), output).ok()?;
        let form = Form::new(op, output)?;
        let (mut below, mut above) = (-(1_i64 << form.shift >> OFFSET), 1_i64 << form.shift >> OFFSET);
        let (mut offset, mut found) = (0, vec![0; BYTES]);
        for _ in 0..TRIES {
            let linear = form.linear(offset)?;
            match self.compare(&linear, &all, &want, &mut found) {
                [false, false] => return Some(linear),
                [true, true] => return None,
                [too_low, _] => {
                    *(if too_low { &mut below } else { &mut above }) = offset;
                    offset = i64::midpoint(below, above);
                }
            }
        }
        None
    }

    /// Computes a form for every two elements.
    ///
    /// # Errors
    /// [`Declined`], with nothing written, if the slices differ in length or this backend does not have it.
    pub fn sum8(&self, linear: &Linear8, a: &[u8], b: &[u8], out: &mut [u8]) -> Result<(), Declined> {
        if !self.has_linear() || [a.len(), b.len()] != [out.len(); 2] {
            return Err(Declined::Shape { what: "sums" });
        }
        self.vectorize(Job { linear, a, b, out });
        Ok(())
    }

    /// Whether the form gives less, and more, than is wanted anywhere.
    fn compare(&self, linear: &Linear8, all: &[u8], want: &[u8], found: &mut [u8]) -> [bool; 2] {
        let mut differs = [false; 2];
        for (&a, want) in all.iter().zip(want.chunks_exact(BYTES)) {
            self.vectorize(Job { linear, a: &[a; BYTES], b: all, out: found });
            for (found, want) in found.iter().zip(want) {
                let [found, want] = [found, want].map(|byte| byte.cast_signed());
                differs = [differs[0] | (found < want), differs[1] | (found > want)];
            }
        }
        differs
    }
}

impl Form {
    /// The form with the factors that the scales of all stages give together.
    fn new(op: &Eltwise8<'_>, output: Output8) -> Option<Self> {
        let sign = match op.function {
            Function::Add => 1.0,
            Function::Sub => -1.0,
            _ => return None,
        };
        let last = Stage { mode: output.mode, multiplier: op.multiplier, shift: op.shift }.factor()?;
        let before = f64::from(1_u32 << op.pre_shift) * last;
        let factors = [op.a_stage.factor()? * before, sign * op.b_stage.factor()? * before];
        let largest = factors[0].abs().max(factors[1].abs());
        let shift = (LOW_BITS + 1..=FACTOR_BITS).rev().find(|&shift| largest * power(shift) < power(FACTOR_BITS))?;
        #[allow(clippy::cast_possible_truncation, reason = "smaller than two to the power of FACTOR_BITS")]
        let factors = factors.map(|factor| (factor * power(shift)).round() as i64);
        let zeros = factors[0] * i64::from(op.a.zero) + factors[1] * i64::from(op.b.zero);
        let start = (i64::from(output.zero) << shift) + (1 << (shift - 1)) - zeros;
        Some(Self { elements: [op.a.element, op.b.element], factors, start, shift, output })
    }

    fn linear(&self, offset: i64) -> Option<Linear8> {
        let low = (1 << LOW_BITS) - 1;
        let half = |value: i64| i16::try_from(value).ok();
        let [a, b] = self.factors;
        let start = self.start + offset;
        Some(Linear8 {
            elements: self.elements,
            low: [half(a & low)?, half(b & low)?],
            high: [half(a >> LOW_BITS)?, half(b >> LOW_BITS)?],
            start: [i32::try_from(start & low).ok()?, i32::try_from(start >> LOW_BITS).ok()?],
            shift: self.shift - LOW_BITS,
            min: i8::try_from(self.output.min).ok()?,
            max: i8::try_from(self.output.max).ok()?,
        })
    }
}

impl Stage {
    /// What it multiplies by, rounding aside.
    fn factor(self) -> Option<f64> {
        match self.mode {
            RoundingMode::None => Some(1.0),
            RoundingMode::Double | RoundingMode::Single => {
                Some(f64::from(self.multiplier.cast_signed()) * f64::from(self.shift - 31).exp2())
            }
            RoundingMode::Float | RoundingMode::FloatZero => Some(f64::from(f32::from_bits(self.multiplier))),
            RoundingMode::Reduced => None,
        }
    }
}

fn power(exponent: u32) -> f64 {
    f64::from(exponent).exp2()
}

impl Linear8 {
    /// The slow twin.
    fn apply(&self, bytes: [u8; 2]) -> u8 {
        let x = [0, 1].map(|at| self.elements[at].value(bytes[at]));
        let sum = |factors: [i16; 2]| x[0] * i32::from(factors[0]) + x[1] * i32::from(factors[1]);
        let value = (((sum(self.low) + self.start[0]) >> LOW_BITS) + sum(self.high) + self.start[1]) >> self.shift;
        low8(value.clamp(-128, 127).max(self.min.into()).min(self.max.into()))
    }
}

/// Sums of slices of the same length.
struct Job<'j> {
    linear: &'j Linear8,
    a: &'j [u8],
    b: &'j [u8],
    out: &'j mut [u8],
}

impl Task for Job<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { linear, a, b, out } = self;
        let by = s.prepare_linear(linear);
        let (blocks, rest) = out.as_chunks_mut();
        let (a, a_rest) = a.as_chunks::<{ size_of::<Block>() }>();
        let (b, b_rest) = b.as_chunks::<{ size_of::<Block>() }>();
        for ((a, b), out) in a.iter().zip(b).zip(blocks) {
            *out = s.linear(a, b, &by);
        }
        for ((&a, &b), out) in a_rest.iter().zip(b_rest).zip(rest) {
            *out = linear.apply([a, b]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bytes, output, vector_kernels};
    use proptest::prelude::*;

    fn source(zero: i32, element: Element8) -> Source8<'static> {
        Source8 { bytes: &[], map: Map::dense(1, 1, 1), element, zero }
    }

    proptest! {
        /// Scales as quantized networks have them, and others.
        #[test]
        fn a_form_that_is_found_equals_the_slow_twin(
            seed: u64, multipliers in (1_u32 << 30..1 << 31, 1_u32 << 30..1 << 31, 1_u32 << 30..1 << 31),
            shifts in (-4..=0_i32, -4..=0_i32, -20..=-16_i32), zeros in (-128..128, 0..256), output in output(), function in 0..2_u8,
        ) {
            let stage = |multiplier, shift| Stage { mode: RoundingMode::Double, multiplier, shift };
            let op = Eltwise8 {
                function: if function == 0 { Function::Add } else { Function::Sub },
                pre_shift: 20,
                a: source(zeros.0, Element8::Int8),
                a_stage: stage(multipliers.0, shifts.0),
                b: source(zeros.1, Element8::Uint8),
                b_stage: stage(multipliers.1, shifts.1),
                multiplier: multipliers.2,
                shift: shifts.2,
            };
            let output = Output8 { mode: RoundingMode::Double, ..output };
            let (a, b) = (bytes(seed, 1000), bytes(seed ^ 1, 1000));
            let map = Map::dense(1, 1, 1000);
            let op = Eltwise8 { a: Source8 { bytes: &a, map, ..op.a }, b: Source8 { bytes: &b, map, ..op.b }, ..op };
            let mut want = vec![0; 1000];
            Kernels::scalar().eltwise8(&op, &mut want, map, output).unwrap();
            for kernels in vector_kernels() {
                let Some(linear) = kernels.linear8(&op, output) else { continue };
                let mut found = vec![0; 1000];
                kernels.sum8(&linear, &a, &b, &mut found).unwrap();
                prop_assert_eq!(&found, &want);
                let slow: Vec<u8> = a.iter().zip(&b).map(|(&a, &b)| linear.apply([a, b])).collect();
                prop_assert_eq!(&slow, &want);
            }
        }
    }

    #[test]
    fn sums_that_lie_half_way_have_no_form_and_others_have() {
        let stage = |multiplier, shift| Stage { mode: RoundingMode::Double, multiplier, shift };
        let op = |multiplier, shift| Eltwise8 {
            function: Function::Add,
            pre_shift: 20,
            a: source(0, Element8::Int8),
            a_stage: stage(1 << 30, 0),
            b: source(0, Element8::Int8),
            b_stage: stage(1 << 30, 0),
            multiplier,
            shift,
        };
        let output = Output8 { zero: 0, min: -128, max: 127, mode: RoundingMode::Double };
        for kernels in vector_kernels().filter(Kernels::has_linear) {
            // (a + b) / 4: halves go away from zero, which no single rounding does.
            assert_eq!(kernels.linear8(&op(1 << 30, -20), output), None);
            assert!(kernels.linear8(&op(1_518_500_250, -19), output).is_some());
            let linear = kernels.linear8(&op(1_518_500_250, -19), output).unwrap();
            assert!(kernels.sum8(&linear, &[0; 3], &[0; 4], &mut [0; 4]).is_err());
        }
    }
}
