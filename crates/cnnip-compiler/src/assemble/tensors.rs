//! The tensor table, and how pictures become inputs.

use std::collections::HashSet;

use cnnip_graph::{ElementType as GraphElement, Graph, Op};
use cnnip_package::{
    Color, ElementType, Input, Layout, Pixels, Place, Preprocess, Quantization, RegionId, Tensor, TensorId,
};

use super::Parts;
use crate::memory::MemoryMap;
use crate::options::PixelRule;
use crate::size::small;
use cnnip_lowered::{Network, Origin, Value, ValueId};

/// The tensors of a package, and which value each is.
pub(crate) struct TensorTable {
    pub(crate) tensors: Vec<Tensor>,
    numbers: Vec<Option<TensorId>>,
}

impl TensorTable {
    /// All values that have bytes outside the constant region, and what host steps read there, if the package knows the type.
    pub(crate) fn of(legalized: &Network, memory: &MemoryMap) -> Self {
        let mut table = Self { tensors: vec![], numbers: vec![None; legalized.values.len()] };
        let host = legalized.layers.iter().filter(|layer| layer.work.is_host());
        let read: HashSet<ValueId> = host.flat_map(|layer| layer.work.reads()).collect();
        for (index, value) in legalized.values.iter().enumerate() {
            let constant = matches!(value.origin, Origin::Constant(_)) && !read.contains(&ValueId(index));
            if let (false, Some(tensor)) = (constant, tensor(value, memory, ValueId(index))) {
                table.numbers[index] = Some(TensorId(small(table.tensors.len())));
                table.tensors.push(tensor);
            }
        }
        table
    }

    /// The number of a value's tensor.
    pub(crate) fn number(&self, value: ValueId) -> Option<TensorId> {
        self.numbers[value.0]
    }

    /// The inputs, each with a rule for pictures if it looks like one.
    pub(crate) fn inputs(&self, parts: &Parts<'_>) -> Vec<Input> {
        let input = |&id: &ValueId| {
            let tensor = self.number(id)?;
            Some(Input { tensor, preprocess: preprocess(parts, id) })
        };
        parts.legalized.inputs.iter().filter_map(input).collect()
    }
}

fn tensor(value: &Value, memory: &MemoryMap, id: ValueId) -> Option<Tensor> {
    let (role, offset) = memory.place(id)?;
    Some(Tensor {
        name: value.name.clone(),
        shape: value.shape.clone(),
        element: element(value.element)?,
        quantization: quantization(value),
        place: Place { region: RegionId(memory.region(role)), offset },
    })
}

/// Scale and zero point of a value.
pub(crate) fn quantization(value: &Value) -> Option<Quantization> {
    value.quantization.map(|(scale, zero_point)| Quantization { scale: f64::from(scale), zero_point })
}

/// The package's name for a type, if it has one.
pub(crate) const fn element(element: GraphElement) -> Option<ElementType> {
    match element {
        GraphElement::I8 => Some(ElementType::Int8),
        GraphElement::U8 => Some(ElementType::Uint8),
        GraphElement::I16 => Some(ElementType::Int16),
        GraphElement::I32 => Some(ElementType::Int32),
        GraphElement::I64 => Some(ElementType::Int64),
        GraphElement::F32 => Some(ElementType::Float32),
        _ => None,
    }
}

/// The rule for an input in the shape of a picture: one map of one or three channels.
///
/// `NCHW` is taken where a transpose to `NHWC` is all that reads the input.
fn preprocess(parts: &Parts<'_>, id: ValueId) -> Option<Preprocess> {
    let value = &parts.legalized.values[id.0];
    let &[1, a, b, c] = value.shape.as_slice() else { return None };
    let planar = is_planar(parts.graph, cnnip_graph::TensorId::new(id.0));
    let (height, width, channels) = if planar { (b, c, a) } else { (a, b, c) };
    let layout = if planar { Layout::Nchw } else { Layout::Nhwc };
    let pixels = pixels(&parts.options.pixels, value.element, channels)?;
    Some(Preprocess { height, width, layout, color: color(channels)?, pixels })
}

fn pixels(rule: &PixelRule, element: GraphElement, channels: u32) -> Option<Pixels> {
    let per_channel = |list: &[f32]| {
        let of = |channel: u32| list.get(crate::size::index(channel)).or(list.first()).copied();
        (0..channels).map(of).collect::<Option<Vec<f32>>>()
    };
    match (rule, element) {
        (PixelRule::Auto, GraphElement::I8) => Some(Pixels::Offset(-128)),
        (PixelRule::Raw, GraphElement::I8) => Some(Pixels::Raw),
        (PixelRule::Normalize { mean, std }, GraphElement::F32 | GraphElement::I8 | GraphElement::I16) => {
            Some(Pixels::Float { mean: per_channel(mean)?, std: per_channel(std)? })
        }
        _ => None,
    }
}

const fn color(channels: u32) -> Option<Color> {
    match channels {
        1 => Some(Color::Gray),
        3 => Some(Color::Rgb),
        _ => None,
    }
}

/// Whether all that reads a tensor, quantized or not, makes NHWC of it.
fn is_planar(graph: &Graph, tensor: cnnip_graph::TensorId) -> bool {
    let mut readers = graph.consumers(tensor).peekable();
    let to_nhwc = |node: cnnip_graph::NodeId| match &graph[node].op {
        Op::Transpose { perm } => perm == &[0, 2, 3, 1],
        Op::Quantize => is_planar(graph, graph[node].outputs[0]),
        _ => false,
    };
    readers.peek().is_some() && readers.all(to_nhwc)
}
