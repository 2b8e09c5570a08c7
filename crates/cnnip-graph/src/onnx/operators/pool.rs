//! Pooling windows.

use super::super::call::{Call, extent};
use super::conv::{Window, emitted, planar, steps, unplanar, window};
use super::quantized::Format;
use crate::graph::TensorId;
use crate::infer::InferError;
use crate::op::{Activation, Hw, Op, Pad, PadValue, Padding, Pool2d};
use crate::problem::Rule;

pub(super) fn max(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    call.only("storage_order", 0)?;
    let x = call.input(0)?;
    pool(call, x, Op::MaxPool2d, None, false).map(|id| vec![id])
}

pub(super) fn average(call: &mut Call<'_>) -> Result<Vec<TensorId>, Rule> {
    let x = call.real(0, "input")?;
    average_of(call, x, None).map(|id| vec![id])
}

/// An average of `x`, in the format given or that of `x`.
pub(super) fn average_of(call: &mut Call<'_>, x: TensorId, format: Option<&Format>) -> Result<TensorId, Rule> {
    let count_pad = call.int("count_include_pad", 0);
    if !(0..=1).contains(&count_pad) {
        return Err(Rule::Attribute { name: "count_include_pad", value: count_pad });
    }
    pool(call, x, Op::AveragePool2d, format, count_pad == 1)
}

/// A pool of a channels-first map. Padding that counts becomes elements of 0.
fn pool(
    call: &mut Call<'_>,
    x: TensorId,
    op: fn(Pool2d) -> Op,
    format: Option<&Format>,
    count_pad: bool,
) -> Result<TensorId, Rule> {
    let (x, directions) = planar(call, x, "input")?;
    let map = call.shape(x);
    let &[_, _, h, w] = map.dims() else {
        return Err(InferError::Rank { what: "input", want: 4, found: map }.into());
    };
    if call.ints("kernel_shape")?.is_none() {
        return Err(Rule::Attribute { name: "kernel_shape", value: 0 });
    }
    let kernel = steps(call, "kernel_shape", directions)?;
    let mut window = window(call, Hw::new(h, w), kernel, directions)?;
    if window.dilation != Hw::ONE {
        let value = i64::try_from(window.dilation.h.max(window.dilation.w)).unwrap_or(i64::MAX);
        return Err(Rule::Attribute { name: "dilations", value });
    }
    let name = call.name.clone();
    let mut x = call.build.nhwc(&name, x)?;
    // Windows start within the input and the padding in front of it, whether that counts or not.
    let Padding { top, left, .. } = window.padding;
    let limit = Hw::new(h.saturating_add(top), w.saturating_add(left));
    let mut input = Hw::new(h, w);
    if count_pad && window.padding != Padding::NONE {
        x = call.emit(zeros(window.padding), &[x])?;
        let Padding { top, bottom, left, right } = std::mem::take(&mut window.padding);
        input = Hw::new(h.saturating_add(top + bottom), w.saturating_add(left + right));
    }
    if extent("ceil_mode", call.int("ceil_mode", 0))? != 0 {
        rounded_up(&mut window, input, limit);
    }
    let Window { kernel: window, stride, padding, .. } = window;
    let op = op(Pool2d { window, stride, padding, activation: Activation::None });
    let made = emitted(call, op, &[x], format)?;
    let made = call.build.nchw(&name, made)?;
    unplanar(call, made, directions)
}

fn zeros(padding: Padding) -> Op {
    let Padding { top, bottom, left, right } = padding;
    Op::Pad(Pad { before: vec![0, top, left, 0], after: vec![0, bottom, right, 0], value: PadValue::Zero })
}

/// Pads below and to the right so that the last windows, which reach beyond the padded input, are
/// there too; but none that starts at `limit` or behind it.
fn rounded_up(window: &mut Window, input: Hw, limit: Hw) {
    let Window { kernel, stride, padding, .. } = window;
    padding.bottom = behind(input.h, kernel.h, stride.h, (padding.top, padding.bottom), limit.h);
    padding.right = behind(input.w, kernel.w, stride.w, (padding.left, padding.right), limit.w);
}

fn behind(input: usize, kernel: usize, stride: usize, (before, after): (usize, usize), limit: usize) -> usize {
    let padded = input.saturating_add(before).saturating_add(after);
    if stride == 0 || padded < kernel {
        return after;
    }
    let mut positions = (padded - kernel).div_ceil(stride) + 1;
    if (positions - 1).saturating_mul(stride) >= limit {
        positions -= 1;
    }
    let reach = (positions.max(1) - 1).saturating_mul(stride).saturating_add(kernel);
    reach.saturating_sub(input.saturating_add(before))
}
