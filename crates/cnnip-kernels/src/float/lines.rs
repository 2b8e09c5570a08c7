//! Element by element.

use super::simd::{Simd, Task};
use super::{BLOCK, Finish, Finisher, Lanes};
use crate::{Declined, Kernels};

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

impl Kernels {
    /// Finishes values in place.
    pub fn finish_f32(&self, values: &mut [f32], finish: &Finish) {
        if *finish != Finish::NONE {
            self.with_floats(InPlace { values, finish });
        }
    }

    /// `output[i] = finish(function(a[i], b[i % b.len()]))`.
    ///
    /// # Errors
    /// [`Declined::Extent`] if `a` and `output` differ in length, [`Declined::Shape`] if `b` does not divide them.
    pub fn binary_f32(
        &self,
        function: Binary,
        a: &[f32],
        b: &[f32],
        finish: &Finish,
        output: &mut [f32],
    ) -> Result<(), Declined> {
        if a.len() != output.len() {
            return Err(Declined::Extent { what: "output", have: output.len(), need: a.len() });
        }
        if b.is_empty() || !a.len().is_multiple_of(b.len()) {
            return Err(Declined::Shape { what: "second operand" });
        }
        for (a, output) in a.chunks_exact(b.len()).zip(output.chunks_exact_mut(b.len())) {
            self.with_floats(Pairs { function, a, b, finish, output });
        }
        Ok(())
    }
}

struct InPlace<'a> {
    values: &'a mut [f32],
    finish: &'a Finish,
}

impl Task for InPlace<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let finisher = Finisher::new(s, self.finish);
        let (blocks, rest) = self.values.as_chunks_mut::<BLOCK>();
        for block in blocks {
            s.store(finisher.apply(s, s.load(block)), block);
        }
        let mut last = padded(rest);
        s.store(finisher.apply(s, s.load(&last)), &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

struct Pairs<'a> {
    function: Binary,
    a: &'a [f32],
    b: &'a [f32],
    finish: &'a Finish,
    output: &'a mut [f32],
}

impl Task for Pairs<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let finisher = Finisher::new(s, self.finish);
        let (a, rest_a) = self.a.as_chunks::<BLOCK>();
        let (b, rest_b) = self.b.as_chunks::<BLOCK>();
        let (output, rest) = self.output.as_chunks_mut::<BLOCK>();
        for ((a, b), output) in a.iter().zip(b).zip(output) {
            s.store(finisher.apply(s, pair(s, self.function, s.load(a), s.load(b))), output);
        }
        let mut last = padded(rest_a);
        let result = pair(s, self.function, s.load(&last), s.load(&padded(rest_b)));
        s.store(finisher.apply(s, result), &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[inline(always)]
fn pair<S: Simd>(s: S, function: Binary, a: S::Vector, b: S::Vector) -> S::Vector {
    match function {
        Binary::Add => s.add(a, b),
        Binary::Sub => s.sub(a, b),
        Binary::Mul => s.mul(a, b),
        Binary::Max => s.max(a, b),
        Binary::Min => s.min(a, b),
    }
}

/// Fewer than sixteen elements, and zeros.
#[inline(always)]
pub(super) fn padded(values: &[f32]) -> Lanes {
    let mut lanes = [0.0; BLOCK];
    for (lane, &value) in lanes.iter_mut().zip(values) {
        *lane = value;
    }
    lanes
}
