//! Convolutions.

use super::super::call::{Call, extent};
use super::quantized::{Format, emit_as};
use crate::graph::TensorId;
use crate::infer::{InferError, dilated};
use crate::op::{Activation, Conv2d, DepthwiseConv2d, Hw, Op, Padding, TransposeConv2d};
use crate::problem::Rule;

/// How a window walks over a feature map.
pub(super) struct Window {
    pub(super) kernel: Hw,
    pub(super) stride: Hw,
    pub(super) dilation: Hw,
    pub(super) padding: Padding,
}

/// A feature map of one or two directions in space, as one of two; and how many it had.
pub(super) fn planar(call: &mut Call<'_>, id: TensorId, what: &'static str) -> Result<(TensorId, usize), Rule> {
    match call.shape(id).dims() {
        &[n, c, w] => Ok((call.reshape(id, &[n, c, 1, w])?, 1)),
        [_, _, _, _] => Ok((id, 2)),
        _ => Err(InferError::Rank { what, want: 4, found: call.shape(id) }.into()),
    }
}

/// Undoes [`planar`].
pub(super) fn unplanar(call: &mut Call<'_>, id: TensorId, directions: usize) -> Result<TensorId, Rule> {
    match (directions, call.shape(id).dims()) {
        (1, &[n, c, _, w]) => call.reshape(id, &[n, c, w]),
        _ => Ok(id),
    }
}

/// The window of a node on a channels-first input of four axes. `directions` is how many the node knows.
pub(super) fn window(call: &Call<'_>, input: Hw, kernel: Hw, directions: usize) -> Result<Window, Rule> {
    let stride = steps(call, "strides", directions)?;
    let dilation = steps(call, "dilations", directions)?;
    let extent = Hw::new(dilated(kernel.h, dilation.h), dilated(kernel.w, dilation.w));
    let padding = padding(call, input, extent, stride, directions)?;
    Ok(Window { kernel, stride, dilation, padding })
}

/// An attribute with a number per direction; 1 if it is left out.
pub(super) fn steps(call: &Call<'_>, name: &'static str, directions: usize) -> Result<Hw, Rule> {
    let Some(list) = call.ints(name)? else { return Ok(Hw::ONE) };
    let value = |value: i64| extent(name, value);
    match (directions, list) {
        (1, &[w]) => Ok(Hw::new(1, value(w)?)),
        (2, &[h, w]) => Ok(Hw::new(value(h)?, value(w)?)),
        _ => Err(length(name, list)),
    }
}

/// A list of the wrong length.
fn length(name: &'static str, list: &[i64]) -> Rule {
    Rule::Attribute { name, value: i64::try_from(list.len()).unwrap_or(i64::MAX) }
}

fn padding(call: &Call<'_>, input: Hw, window: Hw, stride: Hw, directions: usize) -> Result<Padding, Rule> {
    match call.text("auto_pad", "NOTSET").as_str() {
        "NOTSET" => explicit(call, directions),
        "VALID" => Ok(Padding::NONE),
        "SAME_UPPER" => Ok(Padding::same(input, window, stride)),
        "SAME_LOWER" => {
            let Padding { top, bottom, left, right } = Padding::same(input, window, stride);
            Ok(Padding { top: bottom, bottom: top, left: right, right: left })
        }
        other => Err(Rule::TextAttribute { name: "auto_pad", value: other.to_owned() }),
    }
}

fn explicit(call: &Call<'_>, directions: usize) -> Result<Padding, Rule> {
    let Some(list) = call.ints("pads")? else { return Ok(Padding::NONE) };
    let value = |value: i64| extent("pads", value);
    match (directions, list) {
        (1, &[left, right]) => Ok(Padding { left: value(left)?, right: value(right)?, ..Padding::NONE }),
        (2, &[top, left, bottom, right]) => {
            Ok(Padding { top: value(top)?, bottom: value(bottom)?, left: value(left)?, right: value(right)? })
        }
        _ => Err(length("pads", list)),
    }
}

pub(super) fn conv(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let (x, weights) = (call.real(0, "input")?, call.real(1, "weights")?);
    convolution(call, x, weights, call.optional(2), None).map(|id| vec![id])
}

/// A convolution of channels-first operands, channels first again; the output has the format of the
/// input unless another is given.
pub(super) fn convolution(
    call: &mut Call<'_>,
    x: TensorId,
    weights: TensorId,
    bias: Option<TensorId>,
    format: Option<&Format>,
) -> Result<TensorId, Rule> {
    let (x, directions) = planar(call, x, "input")?;
    let (weights, other) = planar(call, weights, "weights")?;
    let (map, kernels) = (call.shape(x), call.shape(weights));
    let (&[_, channels, h, w], &[outputs, depth, kh, kw]) = (map.dims(), kernels.dims()) else {
        return Err(InferError::Rank { what: "input", want: 4, found: map }.into());
    };
    let stated = call.ints("kernel_shape")?.map_or(Ok(Hw::new(kh, kw)), |_| steps(call, "kernel_shape", directions))?;
    if directions != other || stated != Hw::new(kh, kw) {
        return Err(InferError::Rank { what: "weights", want: directions + 2, found: kernels }.into());
    }
    let Window { stride, dilation, padding, .. } = window(call, Hw::new(h, w), Hw::new(kh, kw), directions)?;
    let groups = extent("group", call.int("group", 1))?;
    let depthwise = groups > 1 && groups == channels && depth == 1 && outputs.is_multiple_of(channels);
    let activation = Activation::None;
    let (op, perm) = if depthwise {
        let multiplier = outputs / channels;
        (Op::DepthwiseConv2d(DepthwiseConv2d { stride, dilation, padding, multiplier, activation }), [1, 2, 3, 0])
    } else {
        (Op::Conv2d(Conv2d { stride, dilation, padding, groups, activation }), [0, 2, 3, 1])
    };
    let weights = call.transpose(weights, &perm)?;
    let name = call.name.clone();
    let x = call.build.nhwc(&name, x)?;
    let inputs: Vec<TensorId> = [x, weights].into_iter().chain(bias).collect();
    let made = emitted(call, op, &inputs, format)?;
    let made = call.build.nchw(&name, made)?;
    unplanar(call, made, directions)
}

/// A transposed convolution of channels-first operands. Weights are `[c, o / groups, kh, kw]`.
pub(super) fn transposed(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let (x, weights) = (call.real(0, "input")?, call.real(1, "weights")?);
    let (x, directions) = planar(call, x, "input")?;
    let (weights, _) = planar(call, weights, "weights")?;
    let (map, kernels) = (call.shape(x), call.shape(weights));
    let (&[_, channels, h, w], &[depth, outputs, kh, kw]) = (map.dims(), kernels.dims()) else {
        return Err(InferError::Rank { what: "input", want: 4, found: map }.into());
    };
    let groups = extent("group", call.int("group", 1))?;
    if groups == 0 || depth != channels || !channels.is_multiple_of(groups) {
        return Err(InferError::Channels { weights: kernels, channels, groups }.into());
    }
    let (stride, dilation) = (steps(call, "strides", directions)?, steps(call, "dilations", directions)?);
    let (crop, output) = uncropped(call, Hw::new(h, w), Hw::new(kh, kw), stride, dilation, directions)?;
    // Within a group: from input, output channel to output, input channel.
    let (inner, all) = (channels / groups, outputs.saturating_mul(groups));
    let weights = call.reshape(weights, &[groups, inner, outputs, kh * kw])?;
    let weights = call.transpose(weights, &[0, 2, 3, 1])?;
    let weights = call.reshape(weights, &[all, kh, kw, inner])?;
    let name = call.name.clone();
    let x = call.build.nhwc(&name, x)?;
    let inputs: Vec<TensorId> = [x, weights].into_iter().chain(call.optional(2)).collect();
    let activation = Activation::None;
    let op = Op::TransposeConv2d(TransposeConv2d { stride, dilation, crop, output, groups, activation });
    let made = call.emit(op, &inputs)?;
    let made = call.build.nchw(&name, made)?;
    Ok(vec![unplanar(call, made, directions)?])
}

/// Rows and columns cut off in front, and the extent of the output.
fn uncropped(
    call: &Call<'_>,
    input: Hw,
    kernel: Hw,
    stride: Hw,
    dilation: Hw,
    directions: usize,
) -> Result<(Hw, Hw), Rule> {
    let more = match call.ints("output_padding")? {
        None => Hw::new(0, 0),
        Some(_) => steps(call, "output_padding", directions)?,
    };
    let along = |input: usize, kernel: usize, stride: usize, dilation: usize, more: usize| {
        stride.saturating_mul(input.saturating_sub(1)).saturating_add(more).saturating_add(dilated(kernel, dilation))
    };
    let full = Hw::new(
        along(input.h, kernel.h, stride.h, dilation.h, more.h),
        along(input.w, kernel.w, stride.w, dilation.w, more.w),
    );
    let mode = call.text("auto_pad", "NOTSET");
    let stated = match call.ints("output_shape")? {
        None => None,
        Some(_) => Some(steps(call, "output_shape", directions)?),
    };
    let wanted = match (stated, mode.as_str()) {
        (Some(stated), _) => stated,
        (None, "SAME_UPPER" | "SAME_LOWER") => {
            Hw::new(input.h.saturating_mul(stride.h), input.w.saturating_mul(stride.w))
        }
        (None, "NOTSET" | "VALID") => {
            let Padding { top, bottom, left, right } = padding(call, input, kernel, stride, directions)?;
            let less = |full: usize, cut: usize| full.saturating_sub(cut);
            let output = Hw::new(less(full.h, top.saturating_add(bottom)), less(full.w, left.saturating_add(right)));
            return Ok((Hw::new(top, left), output));
        }
        (None, other) => return Err(Rule::TextAttribute { name: "auto_pad", value: other.to_owned() }),
    };
    // An odd amount is cut off more at the end with `SAME_UPPER`, else more in front.
    let crop = |full: usize, wanted: usize| {
        let total = full.saturating_sub(wanted);
        if mode == "SAME_UPPER" { total / 2 } else { total - total / 2 }
    };
    Ok((Hw::new(crop(full.h, wanted.h), crop(full.w, wanted.w)), wanted))
}

/// Adds a node in this format, or that of its first input.
pub(super) fn emitted(
    call: &mut Call<'_>,
    op: Op,
    inputs: &[TensorId],
    format: Option<&Format>,
) -> Result<TensorId, Rule> {
    match format {
        Some(format) => emit_as(call, op, inputs, format),
        None => call.emit(op, inputs),
    }
}
