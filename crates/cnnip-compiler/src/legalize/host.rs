//! Conversions at the model's ends, and what only the host can compute.

use cnnip_graph::{ElementType, Op, Quantization};
use cnnip_package::HostOperator;

use super::context::At;
use super::eltwise;
use crate::Rounding;
use crate::error::Rule;
use cnnip_lowered::{HostLayer, Work, boxes_operator};

/// From floats on the host, between integers on the machine.
pub(super) fn quantize(at: &mut At<'_, '_>) -> Result<(), Rule> {
    match at.input(0).element {
        ElementType::F32 => {
            at.activation_out()?;
            let even = at.rounding() == Rounding::Onnx;
            push(at, if even { HostOperator::QuantizeEven } else { HostOperator::Quantize });
            Ok(())
        }
        ElementType::I8 | ElementType::U8 | ElementType::I16 => eltwise::requantize(at),
        found => {
            let tensor = at.input(0).name.clone();
            Err(Rule::Element { what: "input", tensor, found, want: "int8, uint8, int16 or float32" })
        }
    }
}

pub(super) fn dequantize(at: &mut At<'_, '_>) -> Result<(), Rule> {
    at.activation_in(0)?;
    let output = at.output();
    if output.element != ElementType::F32 {
        let tensor = output.name.clone();
        return Err(Rule::Element { what: "output", tensor, found: output.element, want: "float32" });
    }
    push(at, HostOperator::Dequantize);
    Ok(())
}

/// The exponent's factor must leave bits for the fixed-point exponential.
const LEAST_SOFTMAX_SCALE: f64 = 1.0 / 67_108_864.0;

pub(super) fn softmax(at: &mut At<'_, '_>, beta: f32) -> Result<(), Rule> {
    let ([input], output) = at.alike()?;
    let want = if output.is_wide() { (1.0_f32 / 32768.0, 0) } else { (1.0 / 256.0, -128) };
    if (output.scale, output.zero) != want {
        return Err(Rule::SoftmaxOutput { scale: output.scale, zero_point: output.zero });
    }
    let ratio = f64::from(beta) * f64::from(input.scale);
    if ratio.is_nan() || ratio <= LEAST_SOFTMAX_SCALE {
        return Err(Rule::ScaleRatio { ratio, least: LEAST_SOFTMAX_SCALE, most: f64::MAX });
    }
    push(at, HostOperator::Softmax { beta });
    Ok(())
}

/// The index of an extremum along an axis, of elements that the machine computes with.
pub(super) fn arg_extremum(at: &mut At<'_, '_>, operator: HostOperator) {
    push(at, operator);
}

/// Box decoding and suppression: of the inputs' real numbers, whatever they are.
pub(super) fn boxes(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let (real, want) = match at.op() {
        Op::NonMaxSuppression(_) => (ElementType::I64, "int64"),
        _ => (ElementType::F32, "float32"),
    };
    let output = at.output();
    if output.element != real {
        let tensor = output.name.clone();
        return Err(Rule::Element { what: "output", tensor, found: output.element, want });
    }
    for input in 0..at.inputs() {
        let tensor = at.input(input);
        let has_scale = matches!(tensor.quantization, Some(Quantization::PerTensor { .. }));
        let is_known = matches!(tensor.element, ElementType::I8 | ElementType::U8 | ElementType::I16) && has_scale;
        if !(is_known || tensor.element == ElementType::F32) {
            let want = "float32, or int8, uint8 or int16 with a scale";
            return Err(Rule::Element { what: "input", tensor: tensor.name.clone(), found: tensor.element, want });
        }
    }
    let unsupported = Rule::Unsupported { operator: at.op().name(), shape: at.input(0).shape.clone() };
    let operator = boxes_operator(at.op()).ok_or(unsupported)?;
    let inputs = (0..at.inputs()).map(|input| at.input_id(input)).collect();
    let host = HostLayer { operator, inputs, output: at.output_id() };
    at.push(0, Work::Host(host));
    Ok(())
}

fn push(at: &mut At<'_, '_>, operator: HostOperator) {
    let host = HostLayer { operator, inputs: vec![at.input_id(0)], output: at.output_id() };
    at.push(0, Work::Host(host));
}
