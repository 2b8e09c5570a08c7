//! Sums of products of 8-bit integers, where inputs, weights and outputs have a grid of 8 bits each.
//!
//! The sums are exact, and one rounding takes them to the output's grid: `round(sum * (input scale * weight scale / output scale))`, in
//! binary32, ties to even. That is what products in binary32 come to, but for how they err. Between such steps tensors stay
//! bytes, as long as nobody wants to see their real numbers.

use cnnip_graph::{ElementType, Op, Tensor};
use cnnip_kernels::float::{Finish, Grid8};
use cnnip_kernels::{
    Backend, Conv8, Declined, Depthwise8, Element8, Kernels, Map, Output8, Scratch, Source8, Target8, Window,
};
use cnnip_numerics::{ChannelRecord, RoundingMode};

use super::layer::{At, Call, Layer};
use super::product::After;
use crate::{Elements, Grid};

/// Output channels per block of weights.
const BLOCK: usize = 16;
/// Input channels per block of weights.
const DEPTH: usize = 4;

/// A convolution or fully connected layer of 8-bit integers.
pub(super) struct Whole {
    weights: Vec<u8>,
    records: Vec<u8>,
    form: Form,
    window: Window,
    /// Images, rows, columns, channels.
    input: [usize; 4],
    input_grid: Grid8,
    /// Rows, columns, channels.
    output: [usize; 3],
    output_grid: Grid8,
    /// Least and greatest code.
    range: (i32, i32),
    /// Position among the inputs of what is added then, and the finish of that sum.
    residual: Option<(usize, Finish)>,
}

#[derive(Clone, Copy)]
enum Form {
    Groups(usize),
    Depthwise { multiplier: usize },
}

impl Layer for Whole {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let Call { kernels, inputs, output, scratch, codes } = call;
        let mut made = std::mem::take(&mut scratch.made);
        let mut taken = std::mem::take(&mut scratch.taken);
        let input = match codes.input {
            Some(input) => input,
            None => {
                let x = inputs.get(0)?;
                taken.resize(x.len(), 0);
                kernels.encode_f32(x, self.input_grid, &mut taken)?;
                &taken
            }
        };
        let place = match codes.output {
            Some(place) => place,
            None => {
                made.resize(output.len(), 0);
                &mut made
            }
        };
        self.convolve(kernels, &mut scratch.kernels, input, place)?;
        if codes.real {
            kernels.decode_f32(place, self.output_grid, output)?;
        }
        if let Some((other, finish)) = self.residual {
            let other = inputs.get(other)?;
            output.iter_mut().zip(other).for_each(|(output, &other)| *output += other);
            kernels.finish_f32(output, &finish);
        }
        (scratch.made, scratch.taken) = (made, taken);
        Ok(())
    }

    fn takes_codes(&self) -> bool {
        true
    }

    fn gives_codes(&self) -> bool {
        self.residual.is_none()
    }
}

impl Whole {
    /// The step of a node whose result, with what is fused behind it, is `output`; `None` where tensors are not of 8 bits, or sums might
    /// leave 31 bits.
    pub(super) fn new(at: At<'_>, after: After, output: &Tensor, kernels: Kernels) -> Option<Self> {
        if kernels.backend() == Backend::Scalar {
            return None;
        }
        let (x, w) = (at.tensor(0)?, at.tensor(1)?);
        let input_grid = grid8(x)?;
        let shape = Placed::of(at)?;
        let weights = codes(w)?;
        let channels = shape.output[2];
        let (step, least, greatest) = after.finish.steps()?;
        let zero = if after.residual.is_some() { -128 - least } else { grid8(output)?.zero };
        let output_grid = Grid8 { scale: step, zero, element: Element8::Int8 };
        let range = (least + zero, greatest + zero);
        let fits = (-128..=127).contains(&range.0) && (-128..=127).contains(&range.1) && (-128..=127).contains(&zero);
        // Codes of the output must be those of its tensor, for steps that take them.
        if !fits || after.residual.is_none() && output.element != ElementType::I8 {
            return None;
        }
        let records = records(at, input_grid.scale, step, channels)?;
        let Placed { form, window, input, output } = shape;
        let weights = match form {
            Form::Groups(groups) => dense(&weights, channels, window.kh * window.kw, groups)?,
            Form::Depthwise { .. } => depthwise(&weights, channels),
        };
        let whole = Self {
            weights,
            records,
            form,
            window,
            input,
            input_grid,
            output,
            output_grid,
            range,
            residual: after.residual,
        };
        // Whether kernels take it depends on the operands alone, so once is enough to know.
        let mut place = vec![0; whole.input[0] * whole.output.iter().product::<usize>()];
        let zeros = vec![0; whole.input.iter().product()];
        if place.is_empty() || zeros.is_empty() {
            return None;
        }
        whole.convolve(kernels, &mut Scratch::new(), &zeros, &mut place).ok()?;
        Some(whole)
    }

    /// All images, from codes to codes.
    fn convolve(
        &self,
        kernels: Kernels,
        scratch: &mut Scratch,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Declined> {
        let Self { window, weights, records, .. } = self;
        let ([images, h, w, c], [rows, columns, channels]) = (self.input, self.output);
        let Grid8 { zero, element, .. } = self.input_grid;
        let stage =
            Output8 { zero: self.output_grid.zero, min: self.range.0, max: self.range.1, mode: RoundingMode::Float };
        let images = images.max(1);
        let pairs = input.chunks_exact(input.len() / images).zip(output.chunks_exact_mut(output.len() / images));
        for (bytes, output) in pairs {
            let input = Source8 { bytes, map: Map::dense(h, w, c), element, zero };
            let map = Map::dense(rows, columns, channels);
            let target = Target8::Output { bytes: output, map, output: stage, load: None };
            let (window, pad_value, use_bias, w_zero) = (*window, zero, true, 0);
            match self.form {
                Form::Groups(groups) => {
                    let conv = Conv8 { input, pad_value, window, groups, weights, w_zero, records, use_bias };
                    kernels.conv8(scratch, &conv, target)?;
                }
                Form::Depthwise { multiplier } => {
                    let conv = Depthwise8 { input, pad_value, window, multiplier, weights, w_zero, records, use_bias };
                    kernels.depthwise8(scratch, &conv, target)?;
                }
            }
        }
        Ok(())
    }
}

/// Where windows lie, and what channels they read.
struct Placed {
    form: Form,
    window: Window,
    input: [usize; 4],
    output: [usize; 3],
}

impl Placed {
    fn of(at: At<'_>) -> Option<Self> {
        let (x, w) = (at.tensor(0)?, at.tensor(1)?);
        if let Op::FullyConnected(_) = &at.node.op {
            let &[outputs, depth] = w.shape.dims() else { return None };
            let rows = x.shape.elements().checked_div(depth)?;
            let (input, output) = ([1, rows, 1, depth], [rows, 1, outputs]);
            return Some(Self { form: Form::Groups(1), window: Window::POINT, input, output });
        }
        let ([_, kh, kw, _], [_, h, columns, channels]) = (w.shape.nhwc()?, at.output().shape.nhwc()?);
        let (form, stride, dilation, padding) = match &at.node.op {
            Op::Conv2d(op) => (Form::Groups(op.groups), op.stride, op.dilation, op.padding),
            Op::DepthwiseConv2d(op) => {
                (Form::Depthwise { multiplier: op.multiplier }, op.stride, op.dilation, op.padding)
            }
            _ => return None,
        };
        let window = Window {
            kh,
            kw,
            stride_y: stride.h,
            stride_x: stride.w,
            dilation_y: dilation.h,
            dilation_x: dilation.w,
            top: padding.top,
            left: padding.left,
        };
        Some(Self { form, window, input: x.shape.nhwc()?, output: [h, columns, channels] })
    }
}

/// The grid of a tensor of 8 bits.
fn grid8(tensor: &Tensor) -> Option<Grid8> {
    let element = match tensor.element {
        ElementType::I8 => Element8::Int8,
        ElementType::U8 => Element8::Uint8,
        _ => return None,
    };
    let (scale, zero) = Grid::of(tensor)?.per_tensor()?;
    Some(Grid8 { scale, zero: i32::try_from(zero).ok()?, element })
}

/// The bytes of int8 weights whose zero point is 0.
fn codes(tensor: &Tensor) -> Option<Vec<u8>> {
    let quantization = tensor.quantization.as_ref()?;
    let symmetric = quantization.zero_points().iter().all(|&zero| zero == 0);
    (tensor.element == ElementType::I8 && symmetric).then(|| tensor.data.as_ref().map(|data| data.bytes().to_vec()))?
}

/// Bias in steps of the sums, and the factor from sums to output, per channel.
fn records(at: At<'_>, input_scale: f32, output_scale: f32, channels: usize) -> Option<Vec<u8>> {
    let scales = at.tensor(1)?.quantization.as_ref()?.scales();
    let bias = match at.tensor(2) {
        None => vec![0; channels],
        Some(tensor) => match Elements::constant(tensor)? {
            Elements::Integer(bias) => bias,
            Elements::Real(_) => return None,
        },
    };
    let step = |channel: usize| scales.get(if scales.len() == 1 { 0 } else { channel }).copied();
    let bias_scale = at.tensor(2).and_then(|tensor| tensor.quantization.as_ref()).map(|found| found.scales());
    let mut records = vec![];
    for channel in 0..channels {
        let sum_step = f64::from(input_scale) * f64::from(step(channel)?);
        // A bias in other steps is no whole number of these.
        let bias_step = bias_scale.and_then(|scales| scales.get(if scales.len() == 1 { 0 } else { channel }));
        if bias_step.is_some_and(|&bias| (f64::from(bias) / sum_step - 1.0).abs() > 1e-5) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the nearest binary32 number is meant")]
        let factor = (sum_step / f64::from(output_scale)) as f32;
        let record = ChannelRecord { bias: *bias.get(channel)?, multiplier: factor.to_bits(), shift: 0 };
        records.extend(record.to_le_bytes());
    }
    Some(records)
}

/// `[oc][taps][ic]` as `[group][oc/16][taps][ic/4][16][4]`; what is missing of a block is 0.
fn dense(weights: &[u8], channels: usize, taps: usize, groups: usize) -> Option<Vec<u8>> {
    let depth = weights.len().checked_div(channels)?.checked_div(taps)?;
    let per_group = channels.checked_div(groups)?;
    let (oc_blocks, ic_blocks) = (per_group.div_ceil(BLOCK), depth.div_ceil(DEPTH));
    let mut packed = vec![0; groups * oc_blocks * taps * ic_blocks * BLOCK * DEPTH];
    for (channel, kernel) in weights.chunks_exact(taps * depth).enumerate() {
        let (group, oc) = (channel / per_group, channel % per_group);
        for (tap, inputs) in kernel.chunks_exact(depth).enumerate() {
            for (ic, &weight) in inputs.iter().enumerate() {
                let block = ((group * oc_blocks + oc / BLOCK) * taps + tap) * ic_blocks + ic / DEPTH;
                packed[(block * BLOCK + oc % BLOCK) * DEPTH + ic % DEPTH] = weight;
            }
        }
    }
    Some(packed)
}

/// `[taps][c]` as `[c/16][taps][16]`.
fn depthwise(weights: &[u8], channels: usize) -> Vec<u8> {
    let taps = weights.len() / channels.max(1);
    let mut packed = vec![0; channels.div_ceil(BLOCK) * taps * BLOCK];
    for (tap, row) in weights.chunks_exact(channels.max(1)).enumerate() {
        for (channel, &weight) in row.iter().enumerate() {
            packed[(channel / BLOCK * taps + tap) * BLOCK + channel % BLOCK] = weight;
        }
    }
    packed
}
