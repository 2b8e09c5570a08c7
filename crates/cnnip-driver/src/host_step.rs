//! Steps of the host: what they need is checked when a package is loaded, what they compute is `cnnip-hostops`.

use cnnip_hostops::{End, HostError, Operand, Step, StepError};
use cnnip_package::{HostStep, Package, Tensor};

use crate::HostPlanError;

/// A host step with its parameters worked out.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    /// Name of the operator.
    pub(crate) operator: &'static str,
    /// The tensors it reads.
    pub(crate) inputs: Vec<Tensor>,
    /// The tensor it writes.
    pub(crate) output: Tensor,
    step: Step,
}

impl HostPlan {
    /// Checks a step of a package without problems.
    pub(crate) fn new(package: &Package, step: &HostStep) -> Result<Self, HostPlanError> {
        let operator = step.operator.name();
        let inputs = step.inputs.iter().map(|&id| package.tensor(id).cloned()).collect::<Option<Vec<_>>>();
        let output = step.outputs.first().and_then(|&id| package.tensor(id)).cloned();
        let (Some(inputs), Some(output)) = (inputs, output) else { return Err(HostPlanError::Operator { operator }) };
        let operands: Vec<Operand<'_>> = inputs.iter().map(operand).collect();
        let step = Step::new(step.operator, &operands, operand(&output)).map_err(|error| match error {
            StepError::Operand { operator, end, needs } => {
                let tensor = match end {
                    End::Input(at) => inputs.get(at).unwrap_or(&output),
                    End::Output => &output,
                };
                HostPlanError::Tensor { operator, tensor: tensor.name.clone(), needs }
            }
            StepError::Arithmetic(error) => error.into(),
            _ => HostPlanError::Operator { operator },
        })?;
        Ok(Self { operator, inputs, output, step })
    }

    /// The bytes of the output tensor from those of the input tensors.
    pub(crate) fn run(&self, inputs: &[&[u8]]) -> Result<Vec<u8>, HostError> {
        let bytes = self.output.bytes().and_then(|bytes| usize::try_from(bytes).ok());
        let mut output = vec![0; bytes.unwrap_or(0)];
        self.step.run(inputs, &mut output)?;
        Ok(output)
    }
}

/// A tensor as host steps know it.
pub(crate) fn operand(tensor: &Tensor) -> Operand<'_> {
    Operand { element: tensor.element, shape: &tensor.shape, quantization: tensor.quantization }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::Step as ProgramStep;
    use cnnip_package::text::from_text;

    fn plan(tensors: &str, operator: &str) -> Result<HostPlan, HostPlanError> {
        let text = format!(".region a input host\n.region b output host\n{tensors}\n.step host {operator}\n");
        let package = from_text(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let Some(ProgramStep::Host(step)) = package.program.first() else { panic!("no host step") };
        HostPlan::new(&package, step)
    }

    #[test]
    fn softmax_runs_row_by_row() {
        let tensors = ".tensor x int8 [2, 2] region=a scale=0.1 zero=0\n\
                       .tensor y int8 [2, 2] region=b scale=0.00390625 zero=-128";
        let plan = plan(tensors, "softmax x -> y beta=1").unwrap();
        assert_eq!(plan.run(&[&[5, 5, 127, 0x80]]), Ok(vec![0, 0, 127, 0x80]));
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
        assert_eq!(plan(tensors, "quantize x -> y").unwrap().run(&[&bytes]), Ok(vec![1, 0, 0xfe, 0xff]));

        let tensors = ".tensor x uint8 [1] region=a scale=0.5 zero=128\n.tensor y float32 [1] region=b";
        assert_eq!(plan(tensors, "dequantize x -> y").unwrap().run(&[&[130]]), Ok(1_f32.to_le_bytes().to_vec()));

        let tensors = ".tensor x int32 [1] region=a scale=0.5\n.tensor y float32 [1] region=b";
        assert!(matches!(plan(tensors, "dequantize x -> y"), Err(HostPlanError::Tensor { .. })));
    }
}
