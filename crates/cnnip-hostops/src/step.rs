//! A step of a package with its parameters worked out: the one place that knows which arithmetic an operator of a package is.

use cnnip_package::{ElementType, HostOperator, Quantization};

use crate::boxes::{Rows, detect, suppress};
use crate::select::extremum;
use crate::{Affine, HostError, Softmax, Ties, WideSoftmax, softmax_int8, softmax_int16};

/// Quantization of every int8 softmax output.
const PROBABILITY: Quantization = Quantization { scale: 1.0 / 256.0, zero_point: -128 };
/// Quantization of every int16 softmax output.
const WIDE_PROBABILITY: Quantization = Quantization { scale: 1.0 / 32768.0, zero_point: 0 };

/// What a step knows of a tensor. Its bytes are dense, row-major and little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operand<'a> {
    /// Type of an element.
    pub element: ElementType,
    /// Extents, outermost first.
    pub shape: &'a [u32],
    /// Scale and zero point.
    pub quantization: Option<Quantization>,
}

/// Which tensor of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One that it reads, by its position.
    Input(usize),
    /// The one it writes.
    Output,
}

/// Why a step cannot be carried out, whatever the elements.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// An operator without arithmetic.
    #[error("the host has no operator `{operator}`")]
    Operator {
        /// Its name.
        operator: &'static str,
    },
    /// A tensor that the operator does not take.
    #[error("{operator} needs {needs}")]
    Operand {
        /// Name of the operator.
        operator: &'static str,
        /// Which tensor.
        end: End,
        /// What it needs to be.
        needs: &'static str,
    },
    /// Parameters outside of the operator's arithmetic.
    #[error(transparent)]
    Arithmetic(#[from] HostError),
}

/// A step ready to run.
///
/// ```
/// use cnnip_hostops::{Operand, Step};
/// use cnnip_package::{ElementType, HostOperator};
/// let of = |element, shape| Operand { element, shape, quantization: None };
/// let (rows, indices) = (of(ElementType::Int8, &[2, 3][..]), of(ElementType::Int64, &[2][..]));
/// let step = Step::new(HostOperator::ArgMax { axis: 1 }, &[rows], indices)?;
/// let mut output = [0; 16];
/// step.run(&[&[1, 9, 9, 0xff, 0x80, 0]], &mut output)?;
/// assert_eq!((output[0], output[8]), (1, 2));
/// # Ok::<(), cnnip_hostops::StepError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Step(Work);

#[derive(Clone, Debug)]
enum Work {
    Softmax { parameters: Softmax, depth: usize },
    WideSoftmax { parameters: WideSoftmax, depth: usize },
    Quantize(Affine, ElementType, Ties),
    Dequantize(Affine, ElementType),
    Extremum(Extremum),
    Boxes(Boxes),
}

/// The search for the largest, or smallest, along the middle axis of `[.., count, inner]`.
#[derive(Clone, Copy, Debug)]
struct Extremum {
    smallest: bool,
    element: ElementType,
    /// Whether an index is int64, else int32.
    wide: bool,
    count: usize,
    inner: usize,
}

impl Step {
    /// Checks the tensors of an operator.
    ///
    /// # Errors
    /// If there is no such arithmetic, or not for these tensors.
    pub fn new(operator: HostOperator, inputs: &[Operand<'_>], output: Operand<'_>) -> Result<Self, StepError> {
        let &[input, ..] = inputs else { return Err(operand(operator, End::Input(0), "an input")) };
        Ok(Self(match operator {
            HostOperator::Softmax { beta } => softmax(beta, input, output)?,
            HostOperator::Quantize | HostOperator::QuantizeEven => {
                has(operator, (End::Input(0), input), ElementType::Float32, "float32 elements")?;
                Work::Quantize(affine(operator, (End::Output, output))?, output.element, ties(operator))
            }
            HostOperator::Dequantize => {
                has(operator, (End::Output, output), ElementType::Float32, "float32 elements")?;
                Work::Dequantize(affine(operator, (End::Input(0), input))?, input.element)
            }
            HostOperator::ArgMax { axis } => Work::Extremum(Extremum::new(operator, axis, input, output)?),
            HostOperator::ArgMin { axis } => {
                Work::Extremum(Extremum { smallest: true, ..Extremum::new(operator, axis, input, output)? })
            }
            HostOperator::NonMaxSuppression(_) | HostOperator::Detections(_) => {
                Work::Boxes(Boxes::new(operator, inputs, output)?)
            }
            _ => return Err(StepError::Operator { operator: operator.name() }),
        }))
    }

    /// Computes all bytes of the output.
    ///
    /// # Errors
    /// [`HostError`] if the slices do not have the bytes of the tensors.
    pub fn run(&self, inputs: &[&[u8]], output: &mut [u8]) -> Result<(), HostError> {
        let input = inputs.first().copied().unwrap_or_default();
        match &self.0 {
            Work::Boxes(boxes) => boxes.run(inputs, output),
            Work::Softmax { parameters, depth } => {
                mapped(input, output, i8::from_le_bytes, i8::to_le_bytes, |from, to| {
                    softmax_int8(from, *depth, parameters, to)
                })
            }
            Work::WideSoftmax { parameters, depth } => {
                mapped(input, output, i16::from_le_bytes, i16::to_le_bytes, |from, to| {
                    softmax_int16(from, *depth, parameters, to)
                })
            }
            Work::Quantize(affine, element, ties) => quantize((*affine, *element), *ties, input, output),
            Work::Dequantize(affine, element) => dequantize(*affine, *element, input, output),
            Work::Extremum(extremum) => extremum.run(input, output),
        }
    }
}

fn operand(operator: HostOperator, end: End, needs: &'static str) -> StepError {
    StepError::Operand { operator: operator.name(), end, needs }
}

fn has(
    operator: HostOperator,
    (end, found): (End, Operand<'_>),
    element: ElementType,
    needs: &'static str,
) -> Result<(), StepError> {
    if found.element == element { Ok(()) } else { Err(operand(operator, end, needs)) }
}

/// A scale as the models have it, in binary32: packages hold it wider.
#[expect(clippy::cast_possible_truncation, reason = "the nearest binary32 number is meant")]
fn narrow(scale: f64) -> f32 {
    scale as f32
}

fn softmax(beta: f32, input: Operand<'_>, output: Operand<'_>) -> Result<Work, StepError> {
    let operator = HostOperator::Softmax { beta };
    let wide = input.element == ElementType::Int16;
    let Some(quantization) = input.quantization.filter(|_| wide || input.element == ElementType::Int8) else {
        return Err(operand(operator, End::Input(0), "int8 or int16 elements with a scale"));
    };
    let depth = input.shape.last().map_or(1, |&depth| index(depth));
    let (quantized, max, needs) = if wide {
        (WIDE_PROBABILITY, WideSoftmax::MAX_DEPTH, "int16 elements with scale 1/32768 and zero point 0")
    } else {
        (PROBABILITY, Softmax::MAX_DEPTH, "int8 elements with scale 1/256 and zero point -128")
    };
    if (output.element, output.quantization) != (input.element, Some(quantized)) {
        return Err(operand(operator, End::Output, needs));
    }
    if depth > max {
        return Err(HostError::Depth { depth, max }.into());
    }
    let scale = narrow(quantization.scale);
    if wide {
        return Ok(Work::WideSoftmax { parameters: WideSoftmax::new(beta, scale)?, depth });
    }
    Ok(Work::Softmax { parameters: Softmax::new(beta, scale)?, depth })
}

/// The affine map of an integer tensor that an operator converts to or from.
fn affine(operator: HostOperator, (end, tensor): (End, Operand<'_>)) -> Result<Affine, StepError> {
    let Quantization { scale, zero_point } = tensor.quantization.ok_or_else(|| operand(operator, end, "a scale"))?;
    let scale = narrow(scale);
    Ok(match tensor.element {
        ElementType::Int8 => Affine::new::<i8>(scale, zero_point)?,
        ElementType::Uint8 => Affine::new::<u8>(scale, zero_point)?,
        ElementType::Int16 => Affine::new::<i16>(scale, zero_point)?,
        _ => return Err(operand(operator, end, "int8, uint8 or int16 elements")),
    })
}

/// Operators that find boxes.
#[derive(Clone, Debug)]
struct Boxes {
    operator: HostOperator,
    inputs: Vec<(Vec<u32>, Reals)>,
}

/// How elements stand for real numbers.
#[derive(Clone, Copy, Debug)]
enum Reals {
    Plain,
    Affine(Affine, ElementType),
}

impl Reals {
    fn of(&self, bytes: &[u8]) -> Result<Vec<f32>, HostError> {
        match self {
            Self::Plain => Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
            Self::Affine(affine, element) => {
                let width = if *element == ElementType::Int16 { 2 } else { 1 };
                let mut real = vec![0; (bytes.len() / width).saturating_mul(4)];
                dequantize(*affine, *element, bytes, &mut real)?;
                Self::Plain.of(&real)
            }
        }
    }
}

impl Boxes {
    fn new(operator: HostOperator, inputs: &[Operand<'_>], output: Operand<'_>) -> Result<Self, StepError> {
        let shapes: Vec<&[u32]> = inputs.iter().map(|input| input.shape).collect();
        let found = operator.found(&shapes).map_err(|needs| operand(operator, End::Input(0), needs))?;
        let element = match operator {
            HostOperator::NonMaxSuppression(_) => ElementType::Int64,
            _ => ElementType::Float32,
        };
        has(operator, (End::Output, output), element, "int64 indices, or float32 numbers of detections")?;
        if found != output.shape {
            return Err(operand(operator, End::Output, "the shape that its inputs give"));
        }
        let reals = inputs.iter().enumerate().map(|(at, input)| {
            let reals = match input.element {
                ElementType::Float32 => Reals::Plain,
                element => Reals::Affine(affine(operator, (End::Input(at), *input))?, element),
            };
            Ok((input.shape.to_vec(), reals))
        });
        Ok(Self { operator, inputs: reals.collect::<Result<_, StepError>>()? })
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8]) -> Result<(), HostError> {
        let reals = self.inputs.iter().zip(inputs).map(|((_, reals), bytes)| reals.of(bytes));
        let reals: Vec<Vec<f32>> = reals.collect::<Result<_, _>>()?;
        match (self.operator, &reals[..], &self.inputs[..]) {
            (HostOperator::NonMaxSuppression(rule), [boxes, scores], [_, (shape, _)]) => {
                let extent = |axis: usize| shape.get(axis).map_or(0, |&extent| index(extent));
                let found = suppress(boxes, scores, (extent(1), extent(2)), &rule);
                put_list(&found, output);
            }
            (HostOperator::Detections(rule), [codes, scores, anchors], [(code, _), (score, _), _]) => {
                let last = |shape: &[u32]| shape.last().map_or(0, |&extent| index(extent));
                let codes = Rows { numbers: codes, length: last(code) };
                let found = detect(codes, Rows { numbers: scores, length: last(score) }, anchors, &rule);
                output.fill(0);
                let places = output.as_chunks_mut().0;
                for (at, number) in found.numbers(rule.result) {
                    if let Some(place) = places.get_mut(at) {
                        *place = number.to_le_bytes();
                    }
                }
            }
            (_, found, _) => return Err(HostError::Length { input: found.len(), output: self.inputs.len() }),
        }
        Ok(())
    }
}

/// A list as bytes: its rows, then rows of -1.
fn put_list(rows: &[[usize; 3]], output: &mut [u8]) {
    let numbers = rows.as_flattened().iter().map(|&number| i64::try_from(number).unwrap_or(i64::MAX));
    let places = output.as_chunks_mut().0.iter_mut();
    places.zip(numbers.chain(std::iter::repeat(-1))).for_each(|(place, number)| *place = number.to_le_bytes());
}

/// How many rows of a list of indices, `int64` in rows of `length`, mean something: those before the first that begins with a negative
/// number.
///
/// ```
/// let list: Vec<u8> = [0_i64, 7, 0, 9, -1, -1].into_iter().flat_map(i64::to_le_bytes).collect();
/// assert_eq!(cnnip_hostops::rows_of_list(&list, 2), 2);
/// ```
#[must_use]
pub fn rows_of_list(bytes: &[u8], length: usize) -> usize {
    let rows = bytes.as_chunks::<8>().0.chunks_exact(length.max(1));
    rows.take_while(|row| row.first().is_some_and(|&first| i64::from_le_bytes(first) >= 0)).count()
}

impl Extremum {
    fn new(operator: HostOperator, axis: u32, input: Operand<'_>, output: Operand<'_>) -> Result<Self, StepError> {
        let axis = index(axis);
        let Some(&count) = input.shape.get(axis) else {
            return Err(operand(operator, End::Input(0), "more axes"));
        };
        if !matches!(input.element, ElementType::Int8 | ElementType::Uint8 | ElementType::Int16) {
            return Err(operand(operator, End::Input(0), "int8, uint8 or int16 elements"));
        }
        if !matches!(output.element, ElementType::Int32 | ElementType::Int64) {
            return Err(operand(operator, End::Output, "int32 or int64 elements"));
        }
        let after = input.shape.iter().skip(axis.saturating_add(1));
        let inner = after.fold(1, |product: usize, &extent| product.saturating_mul(index(extent)));
        let wide = output.element == ElementType::Int64;
        Ok(Self { smallest: false, element: input.element, wide, count: index(count), inner })
    }

    fn run(&self, input: &[u8], output: &mut [u8]) -> Result<(), HostError> {
        match self.element {
            ElementType::Int8 => self.find(input, output, i8::from_le_bytes),
            ElementType::Uint8 => self.find(input, output, u8::from_le_bytes),
            _ => self.find(input, output, i16::from_le_bytes),
        }
    }

    fn find<T: Ord + Copy, const N: usize>(
        &self,
        input: &[u8],
        output: &mut [u8],
        from: fn([u8; N]) -> T,
    ) -> Result<(), HostError> {
        let values: Vec<T> = input.as_chunks().0.iter().map(|&bytes| from(bytes)).collect();
        let block = self.count.saturating_mul(self.inner).max(1);
        let starts =
            (0..values.len()).step_by(block).flat_map(|start| (0..self.inner).map(move |at| start.saturating_add(at)));
        let along = |start: usize| values.iter().skip(start).step_by(self.inner.max(1)).take(self.count).copied();
        let found = starts.map(|start| extremum(along(start), self.smallest).unwrap_or(0));
        if self.wide { store(output, found, i64::to_le_bytes) } else { store(output, found, i32::to_le_bytes) }
    }
}

/// Writes indices; as many as the output has places for.
fn store<T: TryFrom<usize> + Default, const N: usize>(
    output: &mut [u8],
    indices: impl Iterator<Item = usize>,
    to: fn(T) -> [u8; N],
) -> Result<(), HostError> {
    let (places, _) = output.as_chunks_mut();
    let wanted = places.len();
    let mut given = 0_usize;
    let mut places = places.iter_mut();
    for index in indices {
        given = given.saturating_add(1);
        if let Some(place) = places.next() {
            *place = to(T::try_from(index).unwrap_or_default()); // an index is below the number of elements
        }
    }
    if given == wanted { Ok(()) } else { Err(HostError::Length { input: given, output: wanted }) }
}

/// Hands the elements of the input to `work`, and takes those of the output from it.
fn mapped<A: Copy, B: Copy + Default, const N: usize, const M: usize>(
    input: &[u8],
    output: &mut [u8],
    from: fn([u8; N]) -> A,
    to: fn(B) -> [u8; M],
    work: impl FnOnce(&[A], &mut [B]) -> Result<(), HostError>,
) -> Result<(), HostError> {
    let elements: Vec<A> = input.as_chunks().0.iter().map(|&bytes| from(bytes)).collect();
    let (places, _) = output.as_chunks_mut();
    let mut results = vec![B::default(); places.len()];
    work(&elements, &mut results)?;
    places.iter_mut().zip(results).for_each(|(place, result)| *place = to(result));
    Ok(())
}

/// Where halves go: TFLite's QUANTIZE rounds them away from zero, ONNX's `QuantizeLinear` to even.
fn ties(operator: HostOperator) -> Ties {
    if operator == HostOperator::QuantizeEven { Ties::Even } else { Ties::Away }
}

/// Real numbers as integers of a type.
fn quantize(
    (affine, element): (Affine, ElementType),
    ties: Ties,
    input: &[u8],
    output: &mut [u8],
) -> Result<(), HostError> {
    let real = f32::from_le_bytes;
    match element {
        ElementType::Int16 => mapped(input, output, real, i16::to_le_bytes, |from, to| affine.quantize(from, ties, to)),
        ElementType::Uint8 => mapped(input, output, real, u8::to_le_bytes, |from, to| affine.quantize(from, ties, to)),
        _ => mapped(input, output, real, i8::to_le_bytes, |from, to| affine.quantize(from, ties, to)),
    }
}

fn dequantize(affine: Affine, element: ElementType, input: &[u8], output: &mut [u8]) -> Result<(), HostError> {
    let real = f32::to_le_bytes;
    match element {
        ElementType::Int16 => mapped(input, output, i16::from_le_bytes, real, |from, to| affine.dequantize(from, to)),
        ElementType::Uint8 => mapped(input, output, u8::from_le_bytes, real, |from, to| affine.dequantize(from, to)),
        _ => mapped(input, output, i8::from_le_bytes, real, |from, to| affine.dequantize(from, to)),
    }
}

fn index(extent: u32) -> usize {
    usize::try_from(extent).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tensor(element: ElementType, shape: &[u32], scale: f64, zero_point: i32) -> Operand<'_> {
        Operand { element, shape, quantization: Some(Quantization { scale, zero_point }) }
    }

    #[test]
    fn a_step_says_which_tensor_it_cannot_take() {
        let x = tensor(ElementType::Int8, &[2], 0.1, 0);
        let wrong = |operator, input, output| Step::new(operator, &[input], output).unwrap_err();
        let needs = wrong(HostOperator::Softmax { beta: 1.0 }, x, x);
        assert_eq!(needs.to_string(), "softmax needs int8 elements with scale 1/256 and zero point -128");
        assert!(matches!(needs, StepError::Operand { end: End::Output, .. }));
        let real = Operand { element: ElementType::Float32, quantization: None, ..x };
        assert!(matches!(wrong(HostOperator::Quantize, x, x), StepError::Operand { end: End::Input(0), .. }));
        assert!(matches!(wrong(HostOperator::Quantize, real, real), StepError::Operand { end: End::Output, .. }));
        assert!(matches!(wrong(HostOperator::ArgMax { axis: 1 }, x, x), StepError::Operand { end: End::Input(0), .. }));
        assert!(matches!(wrong(HostOperator::ArgMin { axis: 0 }, x, x), StepError::Operand { end: End::Output, .. }));
    }

    #[test]
    fn conversions_know_their_types() {
        let real = Operand { element: ElementType::Float32, shape: &[2], quantization: None };
        let mut output = [0; 4];
        let bytes: Vec<u8> = [0.25_f32, -1.0].into_iter().flat_map(f32::to_le_bytes).collect();
        for (operator, half) in [(HostOperator::Quantize, 1), (HostOperator::QuantizeEven, 0)] {
            let step = Step::new(operator, &[real], tensor(ElementType::Int16, &[2], 0.5, 0)).unwrap();
            step.run(&[&bytes], &mut output).unwrap();
            assert_eq!(output, [half, 0, 0xfe, 0xff]);
        }
        let step = Step::new(HostOperator::Dequantize, &[tensor(ElementType::Uint8, &[1], 0.5, 128)], real).unwrap();
        step.run(&[&[130]], &mut output).unwrap();
        assert_eq!(f32::from_le_bytes(output), 1.0);
        assert!(step.run(&[&[130]], &mut [0; 8]).is_err());
    }

    proptest! {
        /// Every index by looking at all elements that come before and after it along the axis.
        #[test]
        fn extrema_equal_their_slow_twin(
            dims in prop::array::uniform3(1_u32..6), axis in 0_u32..3, smallest: bool, seed in prop::collection::vec(-3_i8..3, 216),
        ) {
            let elements: usize = dims.iter().map(|&extent| index(extent)).product();
            let values = &seed[..elements];
            let mut rest = dims.to_vec();
            let count = index(rest.remove(index(axis)));
            let operator = if smallest { HostOperator::ArgMin { axis } } else { HostOperator::ArgMax { axis } };
            let output = Operand { element: ElementType::Int32, shape: &rest, quantization: None };
            let step = Step::new(operator, &[tensor(ElementType::Int8, &dims, 1.0, 0)], output).unwrap();
            let bytes: Vec<u8> = values.iter().map(|value| value.cast_unsigned()).collect();
            let mut found = vec![0; elements / count * 4];
            step.run(&[&bytes], &mut found).unwrap();
            let inner: usize = dims[index(axis) + 1..].iter().map(|&extent| index(extent)).product();
            for (at, bytes) in found.as_chunks().0.iter().enumerate() {
                let best = index(u32::from_le_bytes(*bytes));
                let value = |k: usize| i32::from(values[(at / inner * count + k) * inner + at % inner]) * if smallest { -1 } else { 1 };
                for k in 0..count {
                    prop_assert!(value(k) < value(best) || value(k) == value(best) && k >= best);
                }
            }
        }
    }
}
