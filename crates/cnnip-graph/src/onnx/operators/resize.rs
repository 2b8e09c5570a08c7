//! Resizes.

use super::super::call::{Call, axis, extent};
use crate::graph::TensorId;
use crate::infer::InferError;
use crate::op::{Grid, Hw, Op, ResizeBilinear, ResizeNearest};
use crate::problem::Rule;

type Outputs = Result<Vec<TensorId>, Rule>;

/// Operands: scales, or sizes.
struct Target {
    /// Extents of the output.
    dims: Vec<usize>,
    /// Output extent over input extent, per axis.
    scales: Vec<f64>,
}

/// How positions and samples correspond.
struct Sampling {
    transformation: String,
    mode: String,
    nearest: String,
}

pub(super) fn upsample(call: &mut Call<'_>) -> Outputs {
    let scales = match call.float_list("scales") {
        Some(scales) => scales.to_vec(),
        None => call.numbers(1, "scales")?.unwrap_or_default(),
    };
    resize_by(call, &scales)
}

/// Up to operator set 10 there are only scales, and positions correspond as in `asymmetric`.
fn resize_by(call: &mut Call<'_>, scales: &[f32]) -> Outputs {
    let dims = call.dims(0)?;
    let target = by_scales(&dims, scales)?;
    let sampling = Sampling {
        transformation: "asymmetric".to_owned(),
        mode: call.text("mode", "nearest"),
        nearest: "floor".to_owned(),
    };
    resized(call, &target, &sampling)
}

pub(super) fn resize(call: &mut Call<'_>) -> Outputs {
    if call.opset < 11 {
        let scales = call.numbers(1, "scales")?.unwrap_or_default();
        return resize_by(call, &scales);
    }
    call.only("antialias", 0)?;
    call.only("exclude_outside", 0)?;
    let policy = call.text("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        return Err(Rule::TextAttribute { name: "keep_aspect_ratio_policy", value: policy });
    }
    let dims = call.dims(0)?;
    let axes = match call.ints("axes")? {
        Some(list) => list.iter().map(|&value| axis("axes", value, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).collect(),
    };
    let scales = call.numbers(2, "scales")?.filter(|list| !list.is_empty());
    let target = match (scales, call.integers(3, "sizes")?) {
        (Some(scales), _) if scales.len() == axes.len() => {
            let mut all = vec![1.0; dims.len()];
            axes.iter().zip(scales).for_each(|(&axis, scale)| all[axis] = scale);
            by_scales(&dims, &all)?
        }
        (None, Some(sizes)) if sizes.len() == axes.len() => {
            let mut all = dims.clone();
            for (&axis, size) in axes.iter().zip(sizes) {
                all[axis] = extent("sizes", size)?;
            }
            let scales = all.iter().zip(&dims).map(|(&to, &from)| ratio(to, from)).collect();
            Target { dims: all, scales }
        }
        _ => return Err(Rule::Attribute { name: "sizes", value: 0 }),
    };
    let sampling = Sampling {
        transformation: call.text("coordinate_transformation_mode", "half_pixel"),
        mode: call.text("mode", "nearest"),
        nearest: call.text("nearest_mode", "round_prefer_floor"),
    };
    resized(call, &target, &sampling)
}

fn by_scales(dims: &[usize], scales: &[f32]) -> Result<Target, Rule> {
    if scales.len() != dims.len() {
        return Err(Rule::Attribute { name: "scales", value: i64::try_from(scales.len()).unwrap_or(i64::MAX) });
    }
    let mut to = Vec::new();
    for (&dim, &scale) in dims.iter().zip(scales) {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Rule::FloatAttribute { name: "scales", value: scale });
        }
        to.push(floor(wide(dim) * f64::from(scale)).ok_or(Rule::FloatAttribute { name: "scales", value: scale })?);
    }
    Ok(Target { dims: to, scales: scales.iter().map(|&scale| scale.into()).collect() })
}

#[expect(clippy::cast_precision_loss, reason = "extents are below 2^31")]
fn wide(value: usize) -> f64 {
    value as f64
}

fn ratio(to: usize, from: usize) -> f64 {
    wide(to) / wide(from)
}

/// The whole part; `None` below 0 and beyond what an extent can be.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is whole and in range")]
fn floor(value: f64) -> Option<usize> {
    (0.0..2_147_483_648.0).contains(&value).then_some(value as usize)
}

fn resized(call: &mut Call<'_>, target: &Target, sampling: &Sampling) -> Outputs {
    let x = call.input(0)?;
    let shape = call.shape(x);
    if target.dims == shape.dims() {
        return Ok(vec![x]);
    }
    let (&[n, c, h, w], &[to_n, to_c, to_h, to_w]) = (shape.dims(), target.dims.as_slice()) else {
        return Err(InferError::Rank { what: "input", want: 4, found: shape }.into());
    };
    if (n, c) != (to_n, to_c) {
        return Err(Rule::Attribute { name: "sizes", value: i64::try_from(to_c).unwrap_or(i64::MAX) });
    }
    // Indices are kept for every row and column.
    call.build.budget.spend(to_h.saturating_add(to_w).saturating_mul(size_of::<usize>()))?;
    let (from, to, scales) = (Hw::new(h, w), Hw::new(to_h, to_w), (target.scales[2], target.scales[3]));
    let op = match sampling.mode.as_str() {
        "nearest" => Op::ResizeNearest(ResizeNearest {
            rows: indices(sampling, from.h, to.h, scales.0)?,
            columns: indices(sampling, from.w, to.w, scales.1)?,
        }),
        "linear" | "bilinear" => bilinear(sampling, from, to, scales)?,
        other => return Err(Rule::TextAttribute { name: "mode", value: other.to_owned() }),
    };
    let name = call.name.clone();
    let x = call.build.nhwc(&name, x)?;
    let made = call.emit(op, &[x])?;
    Ok(vec![call.build.nchw(&name, made)?])
}

/// Where position `k` of the output lies on the input's axis.
fn place(transformation: &str, k: usize, from: usize, to: usize, scale: f64) -> Result<f64, Rule> {
    Ok(match transformation {
        "half_pixel" => (wide(k) + 0.5) / scale - 0.5,
        "half_pixel_symmetric" => {
            // The output as it would be without rounding its extent lies in the middle of the input.
            let adjustment = wide(to) / (scale * wide(from));
            wide(from) / 2.0 * (1.0 - adjustment) + (wide(k) + 0.5) / scale - 0.5
        }
        "pytorch_half_pixel" if to > 1 => (wide(k) + 0.5) / scale - 0.5,
        "pytorch_half_pixel" => 0.0,
        // The last position by the scale, not by the whole extent it is cut to.
        "align_corners" if to > 1 => wide(k) * (wide(from) - 1.0) / (wide(from) * scale - 1.0),
        "align_corners" => 0.0,
        "asymmetric" => wide(k) / scale,
        other => {
            return Err(Rule::TextAttribute { name: "coordinate_transformation_mode", value: other.to_owned() });
        }
    })
}

/// The sample for every position of the output.
fn indices(sampling: &Sampling, from: usize, to: usize, scale: f64) -> Result<Vec<usize>, Rule> {
    let nearest = |at: f64| match sampling.nearest.as_str() {
        "round_prefer_floor" => Ok((at - 0.5).ceil()),
        "round_prefer_ceil" => Ok((at + 0.5).floor()),
        "floor" => Ok(at.floor()),
        "ceil" => Ok(at.ceil()),
        other => Err(Rule::TextAttribute { name: "nearest_mode", value: other.to_owned() }),
    };
    let last = wide(from.saturating_sub(1));
    let index = |k| {
        let at = nearest(place(&sampling.transformation, k, from, to, scale)?)?;
        Ok(floor(at.clamp(0.0, last)).unwrap_or(0))
    };
    (0..to).map(index).collect()
}

/// The grid on which positions lie as this sampling has them.
fn bilinear(sampling: &Sampling, from: Hw, to: Hw, scales: (f64, f64)) -> Result<Op, Rule> {
    let mode = sampling.transformation.as_str();
    let grid = match mode {
        "half_pixel" | "half_pixel_symmetric" => Grid::HalfPixel,
        "pytorch_half_pixel" if to.h > 1 && to.w > 1 => Grid::HalfPixel,
        "align_corners" => Grid::AlignCorners,
        "asymmetric" => Grid::Asymmetric,
        other => {
            return Err(Rule::TextAttribute { name: "coordinate_transformation_mode", value: other.to_owned() });
        }
    };
    // The grids go by the extents; scales that say otherwise have no operator.
    let exact = (scales.0 - ratio(to.h, from.h)).abs() < 1e-6 && (scales.1 - ratio(to.w, from.w)).abs() < 1e-6;
    if !exact {
        let (_, value) = if (scales.0 - ratio(to.h, from.h)).abs() < 1e-6 { scales } else { (0.0, scales.0) };
        return Err(Rule::FloatAttribute { name: "scales", value: narrow(value) });
    }
    Ok(Op::ResizeBilinear(ResizeBilinear { output: to, grid }))
}

#[expect(clippy::cast_possible_truncation, reason = "for a message")]
fn narrow(value: f64) -> f32 {
    value as f32
}
