//! Steps of the host.

use cnnip_hostops::{End, Operand, Step, StepError};
use cnnip_lowered::{HostLayer, Network, Value};
use cnnip_package::Quantization;

use crate::error::Why;
use crate::step::Operands;
use crate::tensor::element;

/// A host step ready to run.
#[derive(Debug)]
pub(crate) struct Host(Step);

impl Host {
    pub(crate) fn new(network: &Network, layer: &HostLayer) -> Result<Self, Why> {
        let absent = || Why::Kind { what: layer.operator.name() };
        let output = network.value(layer.output).ok_or_else(absent)?;
        let inputs = layer.inputs.iter().map(|&id| network.value(id)).collect::<Option<Vec<_>>>().ok_or_else(absent)?;
        let operands = inputs.iter().map(|input| operand("the input", input)).collect::<Result<Vec<_>, _>>()?;
        let step = Step::new(layer.operator, &operands, operand("the output", output)?);
        Ok(Self(step.map_err(|error| match error {
            StepError::Operand { end: End::Input(at), .. } => {
                inputs.get(at).map_or_else(absent, |input| unfit("the input", input))
            }
            StepError::Operand { end: End::Output, .. } => unfit("the output", output),
            StepError::Arithmetic(error) => error.into(),
            _ => Why::Kind { what: layer.operator.name() },
        })?))
    }

    pub(crate) fn run(&self, operands: Operands<'_>) {
        let Operands { inputs, output } = operands;
        // Lengths and parameters were checked when the step was made, so nothing is left to fail.
        let _ = self.0.run(&inputs, output);
    }
}

fn operand<'a>(what: &'static str, value: &'a Value) -> Result<Operand<'a>, Why> {
    let element = element(value.element).ok_or_else(|| unfit(what, value))?;
    let quantization = value.quantization.map(|(scale, zero_point)| Quantization { scale: scale.into(), zero_point });
    Ok(Operand { element, shape: &value.shape, quantization })
}

fn unfit(what: &'static str, value: &Value) -> Why {
    Why::Element { what, tensor: value.name.clone(), found: value.element.to_string() }
}
