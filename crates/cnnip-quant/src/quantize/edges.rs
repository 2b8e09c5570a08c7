//! Float ends of a quantized network.

use cnnip_graph::{ElementType, Node, Op, Tensor};

use super::Rewrite;

impl Rewrite<'_> {
    /// Puts a quantization behind every float input. The input keeps its name and type.
    pub(super) fn quantize_inputs(&mut self) {
        for at in 0..self.old.inputs.len() {
            let id = self.old.inputs[at];
            let Some(affine) = self.plan.affine(id) else { continue };
            let integers = self.like(id, ":quantized", affine, affine.width());
            self.new.tensors[id.index()] = float(&self.new[id], self.new[id].name.clone());
            self.requantize(id, integers);
            self.inputs.insert(id, integers);
        }
    }

    /// Puts a de-quantization before every float output. The output keeps its place, its name and its type.
    pub(super) fn dequantize_outputs(&mut self) {
        for at in 0..self.old.outputs.len() {
            let id = self.old.outputs[at];
            if self.plan.affine(id).is_none() || self.inputs.contains_key(&id) {
                continue;
            }
            let name = self.new[id].name.clone();
            let output = float(&self.new[id], name.clone());
            let source = self.new[id].copied();
            let integers = &mut self.new.tensors[id.index()];
            (integers.name, integers.source) = (format!("{name}:quantized"), source);
            let output = self.add(output);
            self.new.nodes.push(Node { name, op: Op::Dequantize, inputs: vec![id], outputs: vec![output] });
            self.new.outputs[at] = output;
        }
    }
}

fn float(tensor: &Tensor, name: String) -> Tensor {
    Tensor { name, element: ElementType::F32, quantization: None, ..tensor.clone() }
}
