//! Steps of the host: what they need is checked when a package is loaded, what they compute is `cnnip-hostops`.

use cnnip_hostops::{Affine, HostError, Softmax, Ties, WideSoftmax, softmax_int8, softmax_int16};
use cnnip_package::{ElementType, HostOperator, HostStep, Package, Quantization, Tensor};

use crate::HostPlanError;
use crate::tensor::{Element, narrow};

/// Quantization of every int8 softmax output.
const PROBABILITY: Quantization = Quantization { scale: 1.0 / 256.0, zero_point: -128 };
/// Quantization of every int16 softmax output.
const WIDE_PROBABILITY: Quantization = Quantization { scale: 1.0 / 32768.0, zero_point: 0 };

/// A host step with its parameters worked out.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    /// Name of the operator.
    pub(crate) operator: &'static str,
    /// The tensor it reads.
    pub(crate) input: Tensor,
    /// The tensor it writes.
    pub(crate) output: Tensor,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Softmax { parameters: Softmax, depth: usize },
    WideSoftmax { parameters: WideSoftmax, depth: usize },
    Quantize(Affine),
    Dequantize(Affine),
}

impl HostPlan {
    /// Checks a step of a package without problems.
    pub(crate) fn new(package: &Package, step: &HostStep) -> Result<Self, HostPlanError> {
        let operator = step.operator.name();
        let tensors = [&step.inputs, &step.outputs].map(|ids| ids.first().and_then(|&id| package.tensor(id)).cloned());
        let [Some(input), Some(output)] = tensors else { return Err(HostPlanError::Operator { operator }) };
        let work = match step.operator {
            HostOperator::Softmax { beta } => softmax(beta, &input, &output)?,
            HostOperator::Quantize => Work::Quantize(affine(operator, &output)?),
            HostOperator::Dequantize => Work::Dequantize(affine(operator, &input)?),
            _ => return Err(HostPlanError::Operator { operator }),
        };
        Ok(Self { operator, input, output, work })
    }

    /// The bytes of the output tensor from those of the input tensor.
    pub(crate) fn run(&self, input: &[u8]) -> Result<Vec<u8>, HostError> {
        match self.work {
            Work::Softmax { parameters, depth } => {
                let input: Vec<i8> = elements(input);
                let mut output = vec![0_i8; input.len()];
                softmax_int8(&input, depth, &parameters, &mut output)?;
                Ok(output.into_iter().map(i8::cast_unsigned).collect())
            }
            Work::WideSoftmax { parameters, depth } => {
                let input: Vec<i16> = elements(input);
                let mut output = vec![0_i16; input.len()];
                softmax_int16(&input, depth, &parameters, &mut output)?;
                Ok(output.into_iter().flat_map(i16::to_le_bytes).collect())
            }
            Work::Quantize(affine) => quantize(affine, self.output.element, &elements(input)),
            Work::Dequantize(affine) => dequantize(affine, self.input.element, input),
        }
    }
}

fn softmax(beta: f32, input: &Tensor, output: &Tensor) -> Result<Work, HostPlanError> {
    let needs =
        |tensor: &Tensor, needs| HostPlanError::Tensor { operator: "softmax", tensor: tensor.name.clone(), needs };
    let wide = input.element == ElementType::Int16;
    let Some(quantization) = input.quantization.filter(|_| wide || input.element == ElementType::Int8) else {
        return Err(needs(input, "int8 or int16 elements with a scale"));
    };
    let depth = input.shape.last().map_or(1, |&depth| usize::try_from(depth).unwrap_or(usize::MAX));
    if wide {
        if output.element != ElementType::Int16 || output.quantization != Some(WIDE_PROBABILITY) {
            return Err(needs(output, "int16 elements with scale 1/32768 and zero point 0"));
        }
        if depth > WideSoftmax::MAX_DEPTH {
            return Err(HostError::Depth { depth, max: WideSoftmax::MAX_DEPTH }.into());
        }
        return Ok(Work::WideSoftmax { parameters: WideSoftmax::new(beta, narrow(quantization.scale))?, depth });
    }
    if output.element != ElementType::Int8 || output.quantization != Some(PROBABILITY) {
        return Err(needs(output, "int8 elements with scale 1/256 and zero point -128"));
    }
    if depth > Softmax::MAX_DEPTH {
        return Err(HostError::Depth { depth, max: Softmax::MAX_DEPTH }.into());
    }
    Ok(Work::Softmax { parameters: Softmax::new(beta, narrow(quantization.scale))?, depth })
}

/// The affine map of an integer tensor that the operator converts to or from.
fn affine(operator: &'static str, tensor: &Tensor) -> Result<Affine, HostPlanError> {
    let needs = |needs| HostPlanError::Tensor { operator, tensor: tensor.name.clone(), needs };
    let Quantization { scale, zero_point } = tensor.quantization.ok_or_else(|| needs("a scale"))?;
    let scale = narrow(scale);
    Ok(match tensor.element {
        ElementType::Int8 => Affine::new::<i8>(scale, zero_point)?,
        ElementType::Uint8 => Affine::new::<u8>(scale, zero_point)?,
        ElementType::Int16 => Affine::new::<i16>(scale, zero_point)?,
        _ => return Err(needs("int8, uint8 or int16 elements")),
    })
}

fn elements<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(T::BYTES).map(T::read).collect()
}

/// Real numbers as integers of a type, in bytes. TFLite's QUANTIZE: ties go away from zero.
pub(crate) fn quantize(affine: Affine, element: ElementType, real: &[f32]) -> Result<Vec<u8>, HostError> {
    match element {
        ElementType::Int16 => {
            let mut output = vec![0_i16; real.len()];
            affine.quantize(real, Ties::Away, &mut output)?;
            Ok(output.into_iter().flat_map(i16::to_le_bytes).collect())
        }
        ElementType::Uint8 => {
            let mut output = vec![0_u8; real.len()];
            affine.quantize(real, Ties::Away, &mut output)?;
            Ok(output)
        }
        _ => {
            let mut output = vec![0_i8; real.len()];
            affine.quantize(real, Ties::Away, &mut output)?;
            Ok(output.into_iter().map(i8::cast_unsigned).collect())
        }
    }
}

fn dequantize(affine: Affine, element: ElementType, input: &[u8]) -> Result<Vec<u8>, HostError> {
    let elements_of = u64::try_from(input.len()).unwrap_or(u64::MAX) / element.bytes();
    let mut output = vec![0.0; usize::try_from(elements_of).unwrap_or(usize::MAX)];
    match element {
        ElementType::Int16 => affine.dequantize::<i16>(&elements(input), &mut output)?,
        ElementType::Uint8 => affine.dequantize::<u8>(input, &mut output)?,
        _ => affine.dequantize::<i8>(&elements(input), &mut output)?,
    }
    Ok(output.into_iter().flat_map(f32::to_le_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::Step;
    use cnnip_package::text::from_text;

    fn plan(tensors: &str, operator: &str) -> Result<HostPlan, HostPlanError> {
        let text = format!(".region a input host\n.region b output host\n{tensors}\n.step host {operator}\n");
        let package = from_text(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let Some(Step::Host(step)) = package.program.first() else { panic!("no host step") };
        HostPlan::new(&package, step)
    }

    #[test]
    fn softmax_runs_row_by_row() {
        let tensors = ".tensor x int8 [2, 2] region=a scale=0.1 zero=0\n\
                       .tensor y int8 [2, 2] region=b scale=0.00390625 zero=-128";
        let plan = plan(tensors, "softmax x -> y beta=1").unwrap();
        assert_eq!(plan.run(&[5, 5, 127, 0x80]), Ok(vec![0, 0, 127, 0x80]));
    }

    #[test]
    fn softmax_refuses_other_quantizations() {
        let tensors = ".tensor x int8 [2] region=a scale=0.1 zero=0\n.tensor y int8 [2] region=b scale=0.1 zero=0";
        let error = plan(tensors, "softmax x -> y beta=1").unwrap_err();
        assert_eq!(error.to_string(), "softmax of tensor `y` needs int8 elements with scale 1/256 and zero point -128");
    }

    #[test]
    fn quantize_and_dequantize_know_their_types() {
        let tensors = ".tensor x float32 [2] region=a\n.tensor y int16 [2] region=b scale=0.5 zero=0";
        let bytes: Vec<u8> = [0.25_f32, -1.0].into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(plan(tensors, "quantize x -> y").unwrap().run(&bytes), Ok(vec![1, 0, 0xfe, 0xff]));

        let tensors = ".tensor x uint8 [1] region=a scale=0.5 zero=128\n.tensor y float32 [1] region=b";
        assert_eq!(plan(tensors, "dequantize x -> y").unwrap().run(&[130]), Ok(1_f32.to_le_bytes().to_vec()));

        let tensors = ".tensor x int32 [1] region=a scale=0.5\n.tensor y float32 [1] region=b";
        assert!(matches!(plan(tensors, "dequantize x -> y"), Err(HostPlanError::Tensor { .. })));
    }
}
