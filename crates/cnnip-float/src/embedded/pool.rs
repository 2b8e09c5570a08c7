//! One number from many: windows and axes.

use cnnip_graph::{ArgExtremum, Hw, Mean, Pool2d};
use cnnip_kernels::Declined;
use cnnip_kernels::float::Finish;

use super::layer::{At, Call, Layer, clamp};
use super::pointwise::each_place;
use crate::FloatError;
use crate::elements::nearest;

/// What a window gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Largest,
    Average,
}

struct Pool {
    kind: Kind,
    op: Pool2d,
    /// Images, rows, columns, channels.
    input: [usize; 4],
    size: Hw,
    finish: Finish,
}

/// Positions of a window along one axis that lie inside.
fn inside(output: usize, stride: usize, before: usize, window: usize, input: usize) -> std::ops::Range<usize> {
    let first = output * stride;
    first.saturating_sub(before)..(first + window).saturating_sub(before).min(input)
}

impl Layer for Pool {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let [images, h, w, c] = self.input;
        let x = call.inputs.get(0)?;
        let pixels =
            (0..images).flat_map(|n| (0..self.size.h).flat_map(move |y| (0..self.size.w).map(move |x| (n, y, x))));
        for ((n, y, column), output) in pixels.zip(call.output.chunks_exact_mut(c)) {
            let Pool2d { window, stride, padding, .. } = &self.op;
            let rows = inside(y, stride.h, padding.top, window.h, h);
            let columns = inside(column, stride.w, padding.left, window.w, w);
            let positions = rows.len() * columns.len();
            let taps = rows.flat_map(|row| columns.clone().map(move |column| ((n * h + row) * w + column) * c));
            match self.kind {
                Kind::Largest => largest(taps.map(|at| &x[at..at + c]), output),
                Kind::Average => average(taps.map(|at| &x[at..at + c]), positions, output),
            }
        }
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

fn largest<'a>(taps: impl Iterator<Item = &'a [f32]>, output: &mut [f32]) {
    output.fill(f32::NEG_INFINITY);
    for tap in taps {
        output.iter_mut().zip(tap).for_each(|(output, &x)| *output = if x > *output { x } else { *output });
    }
}

fn average<'a>(taps: impl Iterator<Item = &'a [f32]>, count: usize, output: &mut [f32]) {
    output.fill(0.0);
    for tap in taps {
        output.iter_mut().zip(tap).for_each(|(output, &x)| *output += x);
    }
    let count = real(count);
    output.iter_mut().for_each(|output| *output = nearest(f64::from(*output) / count));
}

/// A number of elements.
fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from) // a tensor has less than 2^31
}

pub(super) fn pool(at: At<'_>, op: &Pool2d, kind: Kind) -> Result<Box<dyn Layer>, FloatError> {
    let (Some(input), Some([_, h, w, _])) = (at.tensor(0).and_then(|x| x.shape.nhwc()), at.output().shape.nhwc())
    else {
        return Err(at.malformed());
    };
    let clamp = clamp(op.activation);
    let finish = if kind == Kind::Largest { at.finish_elements(clamp)? } else { at.finish(clamp)? };
    Ok(Box::new(Pool { kind, op: op.clone(), input, size: Hw::new(h, w), finish }))
}

/// What a reduction gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    Mean,
    Sum,
    Largest,
    Smallest,
}

struct Reduce {
    reduction: Reduction,
    /// For every run of the last axis, where it goes.
    targets: Vec<usize>,
    run: usize,
    /// Whether the last axis is reduced.
    last: bool,
    /// Elements per result.
    count: usize,
    finish: Finish,
}

impl Layer for Reduce {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let sums = &mut call.scratch.sums;
        sums.clear();
        sums.resize(call.output.len(), self.start());
        for (run, &target) in call.inputs.get(0)?.chunks_exact(self.run).zip(&self.targets) {
            let step = usize::from(!self.last);
            for (i, &x) in run.iter().enumerate() {
                let sum = &mut sums[target + i * step];
                *sum = self.combine(*sum, f64::from(x));
            }
        }
        let count = if self.reduction == Reduction::Mean { real(self.count) } else { 1.0 };
        call.output.iter_mut().zip(sums).for_each(|(output, sum)| *output = nearest(*sum / count));
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

impl Reduce {
    fn start(&self) -> f64 {
        match self.reduction {
            Reduction::Mean | Reduction::Sum => 0.0,
            Reduction::Largest => f64::NEG_INFINITY,
            Reduction::Smallest => f64::INFINITY,
        }
    }

    fn combine(&self, a: f64, b: f64) -> f64 {
        match self.reduction {
            Reduction::Mean | Reduction::Sum => a + b,
            Reduction::Largest => a.max(b),
            Reduction::Smallest => a.min(b),
        }
    }
}

pub(super) fn reduce(at: At<'_>, op: &Mean, reduction: Reduction) -> Result<Box<dyn Layer>, FloatError> {
    let dims = at.tensor(0).ok_or_else(|| at.malformed())?.shape.dims();
    let (outer, run) = dims.split_last().map_or((&[][..], 1), |(&last, outer)| (outer, last));
    let last = !dims.is_empty() && op.axes.contains(&(dims.len() - 1));
    let kept = |axis: usize| !op.axes.contains(&axis);
    let mut targets = vec![];
    each_place(outer, |place| {
        let outer_index =
            (0..outer.len()).filter(|&axis| kept(axis)).fold(0, |index, axis| index * outer[axis] + place[axis]);
        targets.push(if last { outer_index } else { outer_index * run });
    });
    let count = op.axes.iter().filter_map(|&axis| dims.get(axis)).product();
    let exact = matches!(reduction, Reduction::Largest | Reduction::Smallest);
    let finish = if exact { at.finish_elements(Finish::NONE)? } else { at.finish(Finish::NONE)? };
    Ok(Box::new(Reduce { reduction, targets, run, last, count, finish }))
}

/// Indices of extrema: whole numbers, exact below 2^24.
struct ArgReduce {
    better: fn(f32, f32) -> bool,
    /// Extent of the axis, and elements behind it.
    extent: usize,
    inner: usize,
}

impl Layer for ArgReduce {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let x = call.inputs.get(0)?;
        for (block, output) in x.chunks_exact(self.extent * self.inner).zip(call.output.chunks_exact_mut(self.inner)) {
            for (i, output) in output.iter_mut().enumerate() {
                let value = |index: usize| block[index * self.inner + i];
                let step = |best, index| if (self.better)(value(index), value(best)) { index } else { best };
                *output = nearest(real((1..self.extent).fold(0, step)));
            }
        }
        Ok(())
    }
}

pub(super) fn arg_extremum(
    at: At<'_>,
    op: &ArgExtremum,
    better: fn(f32, f32) -> bool,
) -> Result<Box<dyn Layer>, FloatError> {
    let dims = at.tensor(0).ok_or_else(|| at.malformed())?.shape.dims();
    let Some((&extent, behind)) = dims.get(op.axis..).and_then(|dims| dims.split_first()) else {
        return Err(at.malformed());
    };
    Ok(Box::new(ArgReduce { better, extent, inner: behind.iter().product() }))
}
