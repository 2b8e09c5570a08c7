//! Functions of one or two inputs, element by element, and softmax.

use cnnip_graph::{Activation, Op};
use cnnip_kernels::Declined;
use cnnip_kernels::float::{Binary, Finish};
use cnnip_numerics::quantize::gelu;

use super::layer::{At, Call, Layer};
use crate::FloatError;

/// The input, finished: clamps, quantization, and reshapes.
pub(super) struct Clamp {
    pub(super) finish: Finish,
}

impl Layer for Clamp {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        call.output.copy_from_slice(call.inputs.get(0)?);
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

/// A function of one input.
pub(super) struct Unary {
    pub(super) function: Box<dyn Fn(f32) -> f32 + Send + Sync>,
    pub(super) finish: Finish,
}

impl Layer for Unary {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let input = call.inputs.get(0)?;
        call.output.iter_mut().zip(input).for_each(|(output, &x)| *output = (self.function)(x));
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

/// The function of an operator with one input.
pub(super) fn single(op: &Op) -> Option<Box<dyn Fn(f32) -> f32 + Send + Sync>> {
    Some(match *op {
        Op::LeakyRelu { alpha } => Box::new(move |x| leaky(x, alpha)),
        Op::HardSwish => Box::new(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        Op::HardSigmoid { alpha, beta } => Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0)),
        Op::Logistic => Box::new(|x| 1.0 / (1.0 + (-x).exp())),
        Op::Tanh => Box::new(f32::tanh),
        Op::Exp => Box::new(f32::exp),
        Op::Log => Box::new(f32::ln),
        Op::Sqrt => Box::new(f32::sqrt),
        Op::Rsqrt => Box::new(|x| 1.0 / x.sqrt()),
        Op::Abs => Box::new(f32::abs),
        Op::Neg => Box::new(|x| -x),
        Op::Elu => Box::new(|x| if x < 0.0 { x.exp_m1() } else { x }),
        Op::Gelu { approximate } => Box::new(move |x| gelu(x, approximate)),
        _ => return None,
    })
}

fn leaky(x: f32, slope: f32) -> f32 {
    if x >= 0.0 { x } else { x * slope }
}

/// A function of two inputs: one that vectors have, or any.
#[derive(Clone, Copy)]
pub(super) enum Pair {
    Vector(Binary),
    Scalar(fn(f32, f32) -> f32),
}

/// The function and activation of an operator with two inputs.
pub(super) fn pair(op: &Op) -> Option<(Pair, Activation)> {
    let plain = Activation::None;
    Some(match *op {
        Op::Add { activation } => (Pair::Vector(Binary::Add), activation),
        Op::Sub { activation } => (Pair::Vector(Binary::Sub), activation),
        Op::Mul { activation } => (Pair::Vector(Binary::Mul), activation),
        Op::Maximum => (Pair::Vector(Binary::Max), plain),
        Op::Minimum => (Pair::Vector(Binary::Min), plain),
        Op::Div { activation } => (Pair::Scalar(|a, b| a / b), activation),
        Op::Pow => (Pair::Scalar(f32::powf), plain),
        Op::SquaredDifference => (Pair::Scalar(|a, b| (a - b) * (a - b)), plain),
        Op::Prelu => (Pair::Scalar(leaky), plain),
        _ => return None,
    })
}

/// Inputs of which the second repeats as a whole.
struct Repeating {
    function: Binary,
    /// Whether the operator's second input is the first here.
    swapped: bool,
    finish: Finish,
}

impl Layer for Repeating {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let (a, b) = (call.inputs.get(usize::from(self.swapped))?, call.inputs.get(usize::from(!self.swapped))?);
        call.kernels.binary_f32(self.function, a, b, &self.finish, call.output)
    }
}

/// Inputs broadcast in any way: for every element of the output, its index in both.
struct Broadcast {
    function: fn(f32, f32) -> f32,
    indices: Vec<[u32; 2]>,
    finish: Finish,
}

impl Layer for Broadcast {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let (a, b) = (call.inputs.get(0)?, call.inputs.get(1)?);
        let element = |values: &[f32], index: u32| usize::try_from(index).map_or(0.0, |index| values[index]);
        for (output, &[at, bt]) in call.output.iter_mut().zip(&self.indices) {
            *output = (self.function)(element(a, at), element(b, bt));
        }
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

/// The step of a function of two inputs.
pub(super) fn binary(at: At<'_>, function: Pair, clamp: Finish) -> Result<Box<dyn Layer>, FloatError> {
    let (Some(a), Some(b)) = (at.tensor(0), at.tensor(1)) else { return Err(at.malformed()) };
    let (a, b, whole) = (a.shape.dims(), b.shape.dims(), at.output().shape.dims());
    let finish = at.finish(clamp)?;
    let function = match function {
        Pair::Vector(function) if repeats(a, b, whole) => {
            return Ok(Box::new(Repeating { function, swapped: false, finish }));
        }
        Pair::Vector(function) if function != Binary::Sub && repeats(b, a, whole) => {
            return Ok(Box::new(Repeating { function, swapped: true, finish }));
        }
        Pair::Vector(function) => scalar(function),
        Pair::Scalar(function) => function,
    };
    let index = |place: &[usize], dims: &[usize]| u32::try_from(repeated(place, dims)).unwrap_or(u32::MAX);
    let mut indices = Vec::with_capacity(at.output().shape.elements());
    each_place(whole, |place| indices.push([index(place, a), index(place, b)]));
    Ok(Box::new(Broadcast { function, indices, finish }))
}

fn scalar(function: Binary) -> fn(f32, f32) -> f32 {
    match function {
        Binary::Add => |a, b| a + b,
        Binary::Sub => |a, b| a - b,
        Binary::Mul => |a, b| a * b,
        Binary::Max => f32::max,
        Binary::Min => f32::min,
    }
}

/// Whether `a` is the whole shape and `b`, without leading ones, its last axes; and long enough to be worth vectors.
fn repeats(a: &[usize], b: &[usize], whole: &[usize]) -> bool {
    let ones = b.iter().take_while(|&&dim| dim == 1).count();
    a == whole && whole.ends_with(&b[ones..]) && b.iter().product::<usize>() > 1
}

/// Calls `visit` with all places of a shape in row-major order.
pub(super) fn each_place(dims: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut place = vec![0; dims.len()];
    for _ in 0..dims.iter().product() {
        visit(&place);
        for (at, &dim) in place.iter_mut().zip(dims).rev() {
            *at += 1;
            if *at < dim {
                break;
            }
            *at = 0;
        }
    }
}

/// The index in `dims`, aligned at the last axis, of what is repeated to a place.
pub(super) fn repeated(place: &[usize], dims: &[usize]) -> usize {
    let aligned = place.iter().skip(place.len().saturating_sub(dims.len()));
    aligned.zip(dims).fold(0, |index, (&at, &dim)| index * dim + if dim == 1 { 0 } else { at })
}

/// `exp(beta * x)` along the last axis, divided by its sum.
struct Softmax {
    beta: f32,
    row: usize,
    finish: Finish,
}

impl Layer for Softmax {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        call.output.copy_from_slice(call.inputs.get(0)?);
        for row in call.output.chunks_exact_mut(self.row) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = (self.beta * (*x - largest)).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum);
        }
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

pub(super) fn softmax(at: At<'_>, beta: f32) -> Result<Box<dyn Layer>, FloatError> {
    let row = at.output().shape.dims().last().copied().unwrap_or(1).max(1);
    Ok(Box::new(Softmax { beta, row, finish: at.finish(Finish::NONE)? }))
}
