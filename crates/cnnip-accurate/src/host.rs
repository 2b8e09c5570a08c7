//! Steps of the host.

use cnnip_graph::ElementType;
use cnnip_hostops::{Affine, Softmax, Ties, WideSoftmax, softmax_int8, softmax_int16};
use cnnip_lowered::{HostLayer, Network, Value};
use cnnip_package::HostOperator;

use crate::element::index;
use crate::error::Why;
use crate::step::Operands;

/// A host step ready to run, with buffers for its elements.
#[derive(Debug)]
pub(crate) struct Host {
    work: Work,
    bytes: [Vec<i8>; 2],
    words: [Vec<i16>; 2],
    real: Vec<f32>,
}

#[derive(Debug)]
enum Work {
    Softmax { parameters: Softmax, depth: usize },
    WideSoftmax { parameters: WideSoftmax, depth: usize },
    Quantize(Affine, ElementType),
    Dequantize(Affine, ElementType),
}

impl Host {
    pub(crate) fn new(network: &Network, layer: &HostLayer) -> Result<Self, Why> {
        let operator = layer.operator.name();
        let (Some(input), Some(output)) = (network.value(layer.input), network.value(layer.output)) else {
            return Err(Why::Kind { what: operator });
        };
        let work = match layer.operator {
            HostOperator::Softmax { beta } => {
                has("the output", output, input.element)?;
                softmax(beta, input)?
            }
            HostOperator::Quantize => {
                has("the input", input, ElementType::F32)?;
                Work::Quantize(affine("the output", output)?, output.element)
            }
            HostOperator::Dequantize => {
                has("the output", output, ElementType::F32)?;
                Work::Dequantize(affine("the input", input)?, input.element)
            }
            _ => return Err(Why::Kind { what: operator }),
        };
        let elements = index(output.bytes()) / output.element.size();
        let (bytes, words) = ([vec![0; elements], vec![0; elements]], [vec![0; elements], vec![0; elements]]);
        let real = vec![0.0; elements];
        Ok(Self { work, bytes, words, real })
    }

    pub(crate) fn run(&mut self, operands: Operands<'_>) {
        let Operands { inputs: [input, _], output } = operands;
        let Self { work, bytes: [from, to], words: [wide_from, words], real } = self;
        // Lengths and parameters were checked when the step was made, so nothing is left to fail.
        match work {
            Work::Softmax { parameters, depth } => {
                load(from, input, i8::from_le_bytes);
                let _ = softmax_int8(from, *depth, parameters, to);
                store(output, to, i8::to_le_bytes);
            }
            Work::WideSoftmax { parameters, depth } => {
                load(wide_from, input, i16::from_le_bytes);
                let _ = softmax_int16(wide_from, *depth, parameters, words);
                store(output, words, i16::to_le_bytes);
            }
            Work::Quantize(affine, element) => {
                load(real, input, f32::from_le_bytes);
                match element {
                    ElementType::I16 => {
                        let _ = affine.quantize(real, Ties::Away, words);
                        store(output, words, i16::to_le_bytes);
                    }
                    ElementType::U8 => {
                        let _ = affine.quantize(real, Ties::Away, output);
                    }
                    _ => {
                        let _ = affine.quantize(real, Ties::Away, to);
                        store(output, to, i8::to_le_bytes);
                    }
                }
            }
            Work::Dequantize(affine, element) => {
                match element {
                    ElementType::I16 => {
                        load(words, input, i16::from_le_bytes);
                        let _ = affine.dequantize(words, real);
                    }
                    ElementType::U8 => {
                        let _ = affine.dequantize(input, real);
                    }
                    _ => {
                        load(from, input, i8::from_le_bytes);
                        let _ = affine.dequantize(from, real);
                    }
                }
                store(output, real, f32::to_le_bytes);
            }
        }
    }
}

fn softmax(beta: f32, input: &Value) -> Result<Work, Why> {
    let wide = input.element == ElementType::I16;
    let Some((scale, _)) = input.quantization.filter(|_| wide || input.element == ElementType::I8) else {
        return Err(element("the input", input));
    };
    let depth = input.shape.last().map_or(1, |&depth| index(depth));
    let max = if wide { WideSoftmax::MAX_DEPTH } else { Softmax::MAX_DEPTH };
    if depth > max {
        return Err(cnnip_hostops::HostError::Depth { depth, max }.into());
    }
    if wide {
        return Ok(Work::WideSoftmax { parameters: WideSoftmax::new(beta, scale)?, depth });
    }
    Ok(Work::Softmax { parameters: Softmax::new(beta, scale)?, depth })
}

fn has(what: &'static str, value: &Value, wanted: ElementType) -> Result<(), Why> {
    if value.element == wanted { Ok(()) } else { Err(element(what, value)) }
}

/// The affine map of an integer tensor.
fn affine(what: &'static str, value: &Value) -> Result<Affine, Why> {
    let Some((scale, zero)) = value.quantization else { return Err(element(what, value)) };
    Ok(match value.element {
        ElementType::I8 => Affine::new::<i8>(scale, zero)?,
        ElementType::U8 => Affine::new::<u8>(scale, zero)?,
        ElementType::I16 => Affine::new::<i16>(scale, zero)?,
        _ => return Err(element(what, value)),
    })
}

fn element(what: &'static str, value: &Value) -> Why {
    Why::Element { what, tensor: value.name.clone(), found: value.element.to_string() }
}

fn load<T, const N: usize>(elements: &mut [T], bytes: &[u8], from: fn([u8; N]) -> T) {
    elements.iter_mut().zip(bytes.as_chunks().0).for_each(|(element, &bytes)| *element = from(bytes));
}

fn store<T: Copy, const N: usize>(bytes: &mut [u8], elements: &[T], to: fn(T) -> [u8; N]) {
    bytes.as_chunks_mut().0.iter_mut().zip(elements).for_each(|(bytes, &element)| *bytes = to(element));
}
