//! The tensor table, and how pictures become inputs.

use cnnip_graph::{ElementType as GraphElement, Op};
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
    /// All values that have bytes outside the constant region and are of a type the package knows.
    pub(crate) fn of(legalized: &Network, memory: &MemoryMap) -> Self {
        let mut table = Self { tensors: vec![], numbers: vec![None; legalized.values.len()] };
        for (index, value) in legalized.values.iter().enumerate() {
            let constant = matches!(value.origin, Origin::Constant(_));
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
    let quantization =
        value.quantization.map(|(scale, zero_point)| Quantization { scale: f64::from(scale), zero_point });
    Some(Tensor {
        name: value.name.clone(),
        shape: value.shape.clone(),
        element: element(value.element)?,
        quantization,
        place: Place { region: RegionId(memory.region(role)), offset },
    })
}

const fn element(element: GraphElement) -> Option<ElementType> {
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

/// The rule for an int8 input in the shape of a picture: one map of one or three channels.
///
/// `NCHW` is taken where a transpose to `NHWC` is all that reads the input.
fn preprocess(parts: &Parts<'_>, id: ValueId) -> Option<Preprocess> {
    let value = &parts.legalized.values[id.0];
    let pixels = match parts.options.pixels {
        PixelRule::Auto => Pixels::Offset(-128),
        PixelRule::Raw => Pixels::Raw,
        PixelRule::None => return None,
    };
    if value.element != GraphElement::I8 {
        return None;
    }
    let &[1, a, b, c] = value.shape.as_slice() else { return None };
    if is_planar(parts, id) {
        let color = color(a)?;
        return Some(Preprocess { height: b, width: c, layout: Layout::Nchw, color, pixels });
    }
    Some(Preprocess { height: a, width: b, layout: Layout::Nhwc, color: color(c)?, pixels })
}

const fn color(channels: u32) -> Option<Color> {
    match channels {
        1 => Some(Color::Gray),
        3 => Some(Color::Rgb),
        _ => None,
    }
}

fn is_planar(parts: &Parts<'_>, id: ValueId) -> bool {
    let tensor = cnnip_graph::TensorId::new(id.0);
    let mut readers = parts.graph.consumers(tensor).peekable();
    let to_nhwc = |op: &Op| matches!(op, Op::Transpose { perm } if perm == &[0, 2, 3, 1]);
    readers.peek().is_some() && readers.all(|node| to_nhwc(&parts.graph[node].op))
}
