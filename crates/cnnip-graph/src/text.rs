//! Dumps of a graph: text for people, Graphviz for pictures.

use std::fmt::{self, Write};

use crate::graph::{Graph, TensorId};
use crate::tensor::{Quantization, Tensor};

/// One line per input, node and output, as in
/// `%3 conv1: int8 1x8x8x4 = Conv2d stride=2x2 (%0, %1, %2)`. Constants are not listed; `%n` is
/// tensor `n`.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name)?;
        for &id in &self.inputs {
            writeln!(f, "  input  {}", Value(self, id))?;
        }
        for node in &self.nodes {
            let outputs: Vec<String> = node.outputs.iter().map(|&id| Value(self, id).to_string()).collect();
            let inputs: Vec<String> = node.inputs.iter().map(|id| format!("%{}", id.index())).collect();
            writeln!(f, "  {} = {} ({})", outputs.join(", "), node.op, inputs.join(", "))?;
        }
        for &id in &self.outputs {
            writeln!(f, "  output {}", Value(self, id))?;
        }
        Ok(())
    }
}

/// A tensor of a graph as `%id name: type shape quantization`.
struct Value<'a>(&'a Graph, TensorId);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.tensors.get(self.1.index()) {
            Some(tensor) => write!(f, "%{} {tensor}", self.1.index()),
            None => write!(f, "%{} ?", self.1.index()),
        }
    }
}

/// As `conv1: int8 1x8x8x4 scale 0.5 zero point -3`.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.name, self.element, self.shape)?;
        self.quantization.as_ref().map_or(Ok(()), |quantization| write!(f, " {quantization}"))
    }
}

/// The parameters, or the number of channels that have their own.
impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerTensor { scale, zero_point } => write!(f, "scale {scale} zero point {zero_point}"),
            Self::PerChannel { axis, scales, .. } => write!(f, "{} scales along axis {axis}", scales.len()),
        }
    }
}

impl Graph {
    /// The dump as text; the same as `to_string()`.
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// The graph in the Graphviz language: a box per node, an edge per activation that flows.
    pub fn to_dot(&self) -> String {
        let mut dot = format!("digraph {} {{\n  node [shape=box];\n", quoted(&self.name));
        for &id in &self.inputs {
            vertex(&mut dot, &format!("in{}", id.index()), "ellipse", &[&Value(self, id)]);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            vertex(&mut dot, &format!("n{index}"), "box", &[&node.name, &node.op]);
        }
        for (position, &id) in self.outputs.iter().enumerate() {
            vertex(&mut dot, &format!("out{position}"), "ellipse", &[&Value(self, id)]);
        }
        self.edges(&mut dot);
        dot.push_str("}\n");
        dot
    }

    fn edges(&self, dot: &mut String) {
        let mut sources = vec![None; self.tensors.len()];
        let inputs = self.inputs.iter().map(|&id| (id, format!("in{}", id.index())));
        let nodes = self.nodes.iter().enumerate();
        let written = nodes.flat_map(|(index, node)| node.outputs.iter().map(move |&id| (id, format!("n{index}"))));
        for (id, vertex) in inputs.chain(written) {
            if let Some(source) = sources.get_mut(id.index()) {
                *source = Some(vertex);
            }
        }
        let mut edge = |id: &TensorId, to: String| {
            if let Some(Some(from)) = sources.get(id.index()) {
                line(dot, format_args!("  {from} -> {to} [label={}];", quoted(&self[*id].shape.to_string())));
            }
        };
        for (index, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|id| edge(id, format!("n{index}")));
        }
        for (position, id) in self.outputs.iter().enumerate() {
            edge(id, format!("out{position}"));
        }
    }
}

fn vertex(dot: &mut String, name: &str, shape: &str, label: &[&dyn fmt::Display]) {
    let label: Vec<String> = label.iter().map(ToString::to_string).collect();
    line(dot, format_args!("  {name} [shape={shape}, label={}];", quoted(&label.join("\n"))));
}

fn line(dot: &mut String, text: fmt::Arguments<'_>) {
    writeln!(dot, "{text}").expect("writing to a string does not fail");
}

/// A quoted string of the Graphviz language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use crate::{ElementType, Graph, GraphBuilder, Op, Quantization, Shape, Tensor};

    fn sample() -> Graph {
        let mut build = GraphBuilder::new("a \"b\"");
        let x = Tensor::new("x", Shape::new([1, 4]).unwrap(), ElementType::I8);
        let x = build.input(x.quantized(Quantization::per_tensor(0.5, -3)));
        let y = build.apply("y", Op::Softmax { beta: 1.0 }, &[x]);
        build.output(y);
        build.finish().unwrap()
    }

    #[test]
    fn text_lists_every_step() {
        let want = "graph a \"b\"
  input  %0 x: int8 1x4 scale 0.5 zero point -3
  %1 y: int8 1x4 scale 0.5 zero point -3 = Softmax beta=1 (%0)
  output %1 y: int8 1x4 scale 0.5 zero point -3
";
        assert_eq!(sample().to_text(), want);
    }

    #[test]
    fn dot_has_a_box_per_node_and_an_edge_per_activation() {
        let dot = sample().to_dot();
        assert!(dot.starts_with("digraph \"a \\\"b\\\"\" {\n"), "{dot}");
        assert!(dot.contains("  n0 [shape=box, label=\"y\\nSoftmax beta=1\"];\n"), "{dot}");
        assert!(dot.contains("  in0 -> n0 [label=\"1x4\"];\n"), "{dot}");
        assert!(dot.contains("  n0 -> out0 [label=\"1x4\"];\n"), "{dot}");
        assert!(dot.ends_with("}\n"));
    }
}
