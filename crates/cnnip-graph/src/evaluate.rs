//! Values of operators whose inputs are all constants: the one place where this crate computes.
//!
//! Movements work on any element type. Arithmetic is in 64-bit integers for integer types and in
//! binary32 for floats, one rounding per operation, as the operators are defined.

use crate::op::{Gather, Mean, Op, Pad, PadValue, Slice};
use crate::tensor::{Data, ElementType, Quantization, Shape, Tensor};

/// The elements of the output of `op`, of shape `shape`, if it is one of the operators that are
/// computed here; `None` for the others and where a result does not fit its type.
pub(crate) fn evaluate(op: &Op, inputs: &[&Tensor], shape: &Shape) -> Option<Data> {
    let x = *inputs.first()?;
    let data = x.data.as_ref()?;
    match op {
        Op::Reshape { .. } => Some(data.clone()),
        Op::Transpose { perm } => {
            let strides = strides(&x.shape);
            let steps: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
            moved(x, shape.dims(), |index| dot(index, &steps))
        }
        Op::Slice(slice) => sliced(x, slice),
        Op::Gather(gather) => gathered(x, gather, shape),
        Op::Concat { axis } => joined(inputs, *axis),
        Op::Pack { axis } => {
            let inner = |tensor: &&Tensor| tensor.shape.dims()[*axis..].iter().product::<usize>();
            interleaved(inputs, &inputs.iter().map(inner).collect::<Vec<_>>())
        }
        Op::Pad(pad) => padded(x, pad, shape),
        Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Div { .. } | Op::Pow | Op::Maximum | Op::Minimum => {
            binary(op, x, inputs.get(1)?, shape)
        }
        Op::Sqrt => floats(x, f32::sqrt),
        Op::Exp => floats(x, f32::exp),
        Op::Relu => floats(x, |value| value.max(0.0)),
        Op::Clamp { min, max } => floats(x, |value| value.max(*min).min(*max)),
        Op::Sum(mean) => reduced(x, mean, shape),
        Op::Dequantize => dequantized(x),
        _ => None,
    }
}

/// Elements between neighbours along each axis.
fn strides(shape: &Shape) -> Vec<usize> {
    let mut strides = vec![1; shape.rank()];
    for axis in (1..shape.rank()).rev() {
        strides[axis - 1] = strides[axis] * shape.dims()[axis];
    }
    strides
}

fn dot(index: &[usize], steps: &[usize]) -> usize {
    index.iter().zip(steps).map(|(index, step)| index * step).sum()
}

/// Advances a row-major index; false after the last.
fn next(index: &mut [usize], dims: &[usize]) -> bool {
    for axis in (0..dims.len()).rev() {
        index[axis] += 1;
        if index[axis] < dims[axis] {
            return true;
        }
        index[axis] = 0;
    }
    false
}

/// Calls `visit` with every index of a shape, in row-major order.
fn each(dims: &[usize], mut visit: impl FnMut(&[usize])) {
    if dims.contains(&0) {
        return;
    }
    let mut index = vec![0; dims.len()];
    loop {
        visit(&index);
        if !next(&mut index, dims) {
            return;
        }
    }
}

/// The elements at positions that `from` gives for every index of the output.
fn moved(x: &Tensor, dims: &[usize], from: impl Fn(&[usize]) -> usize) -> Option<Data> {
    let size = x.element.size();
    let bytes = x.data.as_ref()?.bytes();
    let mut out = Vec::with_capacity(dims.iter().product::<usize>() * size);
    let mut complete = true;
    each(dims, |index| match bytes.get(from(index) * size..).and_then(|rest| rest.get(..size)) {
        Some(element) => out.extend_from_slice(element),
        None => complete = false,
    });
    complete.then(|| Data::from(out))
}

fn sliced(x: &Tensor, slice: &Slice) -> Option<Data> {
    let strides = strides(&x.shape);
    let first = dot(&slice.begin, &strides);
    let steps: Vec<usize> = slice.stride.iter().zip(&strides).map(|(step, stride)| step * stride).collect();
    moved(x, &slice.count, |index| first + dot(index, &steps))
}

fn gathered(x: &Tensor, gather: &Gather, shape: &Shape) -> Option<Data> {
    let axis = gather.axis;
    let rank = gather.shape.rank();
    let (whole, inner) = (strides(&x.shape), strides(&gather.shape));
    moved(x, shape.dims(), |index| {
        let picked = gather.indices[dot(&index[axis..axis + rank], &inner)];
        dot(&index[..axis], &whole) + picked * whole[axis] + dot(&index[axis + rank..], &whole[axis + 1..])
    })
}

fn joined(inputs: &[&Tensor], axis: usize) -> Option<Data> {
    let inner = |tensor: &&Tensor| tensor.shape.dims()[axis..].iter().product::<usize>();
    interleaved(inputs, &inputs.iter().map(inner).collect::<Vec<_>>())
}

/// Runs of so many elements, from each input in turn.
fn interleaved(inputs: &[&Tensor], runs: &[usize]) -> Option<Data> {
    let element = inputs.first()?.element;
    if inputs.iter().any(|tensor| tensor.element != element) {
        return None;
    }
    let sources = inputs.iter().map(|tensor| Some(tensor.data.as_ref()?.bytes())).collect::<Option<Vec<_>>>()?;
    let mut out = Vec::with_capacity(sources.iter().map(|source| source.len()).sum());
    let turns =
        sources.iter().zip(runs).find(|(_, run)| **run > 0).map_or(0, |(s, run)| s.len() / (run * element.size()));
    for turn in 0..turns {
        for (source, run) in sources.iter().zip(runs) {
            let run = run * element.size();
            out.extend_from_slice(source.get(turn * run..(turn + 1) * run)?);
        }
    }
    Some(out.into())
}

fn padded(x: &Tensor, pad: &Pad, shape: &Shape) -> Option<Data> {
    let zero_point = match &x.quantization {
        Some(Quantization::PerTensor { zero_point, .. }) => *zero_point,
        Some(Quantization::PerChannel { .. }) => return None,
        None => 0,
    };
    let fill = match pad.value {
        PadValue::Float(value) if x.element == ElementType::F32 => value.to_le_bytes().to_vec(),
        PadValue::Zero if x.element == ElementType::F32 => 0.0_f32.to_le_bytes().to_vec(),
        PadValue::Zero => integer_bytes(zero_point, x.element)?,
        PadValue::Integer(value) => integer_bytes(value, x.element)?,
        PadValue::Float(_) => return None,
    };
    let bytes = x.data.as_ref()?.bytes();
    let strides = strides(&x.shape);
    let mut out = Vec::with_capacity(shape.elements() * fill.len());
    each(shape.dims(), |index| {
        let inside = index.iter().zip(&pad.before).zip(x.shape.dims());
        let inside: Option<Vec<usize>> =
            inside.map(|((at, before), extent)| at.checked_sub(*before).filter(|at| at < extent)).collect();
        let at = inside.map(|inside| dot(&inside, &strides) * fill.len());
        let element = at.and_then(|at| bytes.get(at..at + fill.len())).unwrap_or(&fill);
        out.extend_from_slice(element);
    });
    Some(out.into())
}

/// The little-endian bytes of an integer; `None` if the type cannot hold it.
pub(crate) fn integer_bytes(value: i64, element: ElementType) -> Option<Vec<u8>> {
    let fits = match element.range() {
        Some((least, greatest)) => (least..=greatest).contains(&value),
        None => element == ElementType::Bool && (0..=1).contains(&value),
    };
    fits.then(|| value.to_le_bytes()[..element.size()].to_vec())
}

/// All elements of an integer or truth constant.
pub(crate) fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    let data = tensor.data.as_ref()?;
    match tensor.element {
        ElementType::Bool => Some(data.bytes().iter().map(|&byte| i64::from(byte != 0)).collect()),
        element => data.integers(element),
    }
}

/// All elements of a binary32 constant.
pub(crate) fn floats_of(tensor: &Tensor) -> Option<Vec<f32>> {
    if tensor.element != ElementType::F32 {
        return None;
    }
    Some(tensor.data.as_ref()?.bytes().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// Elements as the bytes of a constant.
pub(crate) fn float_data(values: impl IntoIterator<Item = f32>) -> Data {
    values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()
}

/// Integers as the bytes of a constant; `None` if one does not fit the type.
pub(crate) fn integer_data(values: impl IntoIterator<Item = i64>, element: ElementType) -> Option<Data> {
    let mut out = Vec::new();
    for value in values {
        out.extend(integer_bytes(value, element)?);
    }
    Some(out.into())
}

fn floats(x: &Tensor, function: impl Fn(f32) -> f32) -> Option<Data> {
    Some(float_data(floats_of(x)?.into_iter().map(function)))
}

fn binary(op: &Op, a: &Tensor, b: &Tensor, shape: &Shape) -> Option<Data> {
    if a.element != b.element || a.quantization.is_some() || b.quantization.is_some() {
        return None;
    }
    if a.element == ElementType::F32 {
        let (x, y) = (floats_of(a)?, floats_of(b)?);
        let values = paired(a, b, shape, |i, j| float_result(op, x[i], y[j]))?;
        return Some(float_data(values));
    }
    let (x, y) = (integers(a)?, integers(b)?);
    integer_data(paired(a, b, shape, |i, j| integer_result(op, x[i], y[j]))?, a.element)
}

/// `function` of the positions in both inputs, for every position of their broadcast.
pub(crate) fn paired<T>(
    a: &Tensor,
    b: &Tensor,
    shape: &Shape,
    mut function: impl FnMut(usize, usize) -> Option<T>,
) -> Option<Vec<T>> {
    let (steps_a, steps_b) = (repeated(&a.shape, shape.rank()), repeated(&b.shape, shape.rank()));
    let mut values = Vec::with_capacity(shape.elements());
    each(shape.dims(), |index| values.push(function(dot(index, &steps_a), dot(index, &steps_b))));
    values.into_iter().collect()
}

/// The strides of a shape seen as one of `rank` axes; 0 along axes that repeat.
fn repeated(shape: &Shape, rank: usize) -> Vec<usize> {
    let mut steps = vec![0; rank.saturating_sub(shape.rank())];
    steps.extend(strides(shape).into_iter().zip(shape.dims()).map(|(step, &dim)| if dim == 1 { 0 } else { step }));
    steps
}

fn float_result(op: &Op, x: f32, y: f32) -> Option<f32> {
    let (value, activation) = match op {
        Op::Add { activation } => (x + y, *activation),
        Op::Sub { activation } => (x - y, *activation),
        Op::Mul { activation } => (x * y, *activation),
        Op::Div { activation } => (x / y, *activation),
        Op::Pow => (x.powf(y), Default::default()),
        Op::Maximum => (x.max(y), Default::default()),
        Op::Minimum => (x.min(y), Default::default()),
        _ => return None,
    };
    let (least, greatest) = activation.bounds();
    Some(value.max(least.unwrap_or(f32::NEG_INFINITY)).min(greatest.unwrap_or(f32::INFINITY)))
}

fn integer_result(op: &Op, x: i64, y: i64) -> Option<i64> {
    match op {
        Op::Add { .. } => x.checked_add(y),
        Op::Sub { .. } => x.checked_sub(y),
        Op::Mul { .. } => x.checked_mul(y),
        Op::Div { .. } => x.checked_div(y),
        Op::Pow => x.checked_pow(u32::try_from(y).ok()?),
        Op::Maximum => Some(x.max(y)),
        Op::Minimum => Some(x.min(y)),
        _ => None,
    }
}

/// Scale times distance from the zero point, in binary32 as the operator has it.
fn dequantized(x: &Tensor) -> Option<Data> {
    let quantization = x.quantization.as_ref()?;
    let inner: usize = quantization.axis().map_or(1, |axis| x.shape.dims()[axis + 1..].iter().product());
    let (scales, zero_points) = (quantization.scales(), quantization.zero_points());
    let real = |(at, value): (usize, i64)| {
        let channel = at / inner.max(1) % scales.len();
        nearest(value - zero_points[channel]) * scales[channel]
    };
    Some(float_data(integers(x)?.into_iter().enumerate().map(real)))
}

#[expect(clippy::cast_precision_loss, reason = "the nearest binary32 number, as the operator converts")]
fn nearest(value: i64) -> f32 {
    value as f32
}

fn reduced(x: &Tensor, mean: &Mean, shape: &Shape) -> Option<Data> {
    let kept: Vec<usize> = (0..x.shape.rank()).filter(|axis| !mean.axes.contains(axis)).collect();
    let dims: Vec<usize> = kept.iter().map(|&axis| x.shape.dims()[axis]).collect();
    let flat = Shape::new(dims).ok()?;
    let steps = strides(&flat);
    let place = |index: &[usize]| kept.iter().zip(&steps).map(|(&axis, step)| index[axis] * step).sum::<usize>();
    let values = floats_of(x)?;
    let mut sums = vec![0.0_f32; shape.elements()];
    let mut elements = values.iter();
    each(x.shape.dims(), |index| sums[place(index)] += elements.next().copied().unwrap_or(0.0));
    Some(float_data(sums))
}

/// The quantization of the output of a movement of a constant; `None` if the axis of its scales goes.
pub(crate) fn moved_quantization(op: &Op, x: &Tensor) -> Option<Option<Quantization>> {
    let Some(Quantization::PerChannel { axis, scales, zero_points }) = &x.quantization else {
        return Some(x.quantization.clone());
    };
    let axis = match op {
        Op::Transpose { perm } => perm.iter().position(|from| from == axis)?,
        Op::Reshape { shape } => {
            let before: usize = x.shape.dims()[..*axis].iter().product();
            let mut outer = 1;
            shape.dims().iter().position(|&dim| {
                let found = outer == before && dim == scales.len();
                outer *= dim;
                found
            })?
        }
        _ => return None,
    };
    Some(Some(Quantization::PerChannel { axis, scales: scales.clone(), zero_points: zero_points.clone() }))
}
