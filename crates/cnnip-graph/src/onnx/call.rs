//! One node of the file: its operands, attributes and what it is translated to.

use super::build::Build;
use super::external::Files;
use super::proto;
use crate::evaluate::floats_of;
use crate::graph::TensorId;
use crate::op::Op;
use crate::problem::{Rule, quote};
use crate::tensor::{ElementType, Shape, Tensor};

/// Most elements of a list that is an attribute.
const MAX_LIST: usize = 1 << 16;

/// A node of the file.
pub(super) struct Call<'a> {
    pub(super) build: &'a mut Build,
    pub(super) node: &'a proto::Node,
    /// Version of the operator set of its domain.
    pub(super) opset: i64,
    /// Its operands; `None` for those left out.
    pub(super) inputs: Vec<Option<TensorId>>,
    /// What tensors on the way are named after.
    pub(super) name: String,
    /// Where data outside the model is.
    pub(super) files: &'a Files<'a>,
}

impl Call<'_> {
    /// An operand that must be there.
    pub(super) fn input(&self, slot: usize) -> Result<TensorId, Rule> {
        let (least, most) = (slot + 1, self.inputs.len().max(slot + 1));
        self.optional(slot).ok_or(Rule::InputCount { found: self.inputs.iter().flatten().count(), least, most })
    }

    /// An operand that may be left out.
    pub(super) fn optional(&self, slot: usize) -> Option<TensorId> {
        self.inputs.get(slot).copied().flatten()
    }

    pub(super) fn tensor(&self, slot: usize) -> Result<&Tensor, Rule> {
        Ok(self.build.get(self.input(slot)?))
    }

    pub(super) fn dims(&self, slot: usize) -> Result<Vec<usize>, Rule> {
        Ok(self.tensor(slot)?.shape.dims().to_vec())
    }

    pub(super) fn shape(&self, id: TensorId) -> Shape {
        self.build.get(id).shape.clone()
    }

    /// Adds a node, or the constant it gives.
    pub(super) fn emit(&mut self, op: Op, inputs: &[TensorId]) -> Result<TensorId, Rule> {
        let name = format!("{}.{}", self.name, op.name().to_lowercase());
        self.build.emit(&name, op, inputs)
    }

    pub(super) fn transpose(&mut self, id: TensorId, perm: &[usize]) -> Result<TensorId, Rule> {
        self.build.transpose(&self.name, id, perm)
    }

    pub(super) fn reshape(&mut self, id: TensorId, dims: &[usize]) -> Result<TensorId, Rule> {
        self.build.reshape(&self.name, id, dims)
    }

    /// A constant of one number.
    pub(super) fn number(&mut self, value: f32) -> Result<TensorId, Rule> {
        self.build.floats(&format!("{}.constant", self.name), &[], [value])
    }

    fn attribute(&self, name: &str) -> Option<&proto::Attribute> {
        self.node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// An integer attribute, or its default.
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i.unwrap_or(0))
    }

    /// An attribute that must have its only supported value, or be left out.
    pub(super) fn only(&self, name: &'static str, want: i64) -> Result<(), Rule> {
        match self.int(name, want) {
            value if value == want => Ok(()),
            value => Err(Rule::Attribute { name, value }),
        }
    }

    /// A float attribute, or its default.
    pub(super) fn float(&self, name: &'static str, default: f32) -> Result<f32, Rule> {
        let value = self.attribute(name).map_or(default, |attribute| attribute.f.unwrap_or(0.0));
        if value.is_finite() { Ok(value) } else { Err(Rule::FloatAttribute { name, value }) }
    }

    /// A list of integers among the attributes.
    pub(super) fn ints(&self, name: &'static str) -> Result<Option<&[i64]>, Rule> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        if attribute.ints.len() > MAX_LIST {
            return Err(Rule::Attribute { name, value: i64::try_from(attribute.ints.len()).unwrap_or(i64::MAX) });
        }
        Ok(Some(&attribute.ints))
    }

    pub(super) fn float_list(&self, name: &'static str) -> Option<&[f32]> {
        Some(&self.attribute(name)?.floats)
    }

    /// A text attribute, or its default.
    pub(super) fn text(&self, name: &'static str, default: &str) -> String {
        let text = self.attribute(name).map(|attribute| attribute.s.clone().unwrap_or_default());
        text.map_or(default.to_owned(), |bytes| quote(&String::from_utf8_lossy(&bytes)))
    }

    pub(super) fn tensor_attribute(&self, name: &str) -> Option<&proto::Tensor> {
        self.attribute(name)?.t.as_deref()
    }

    /// The constant operand in `slot` as integers; `None` if it is left out.
    pub(super) fn integers(&self, slot: usize, what: &'static str) -> Result<Option<Vec<i64>>, Rule> {
        let Some(id) = self.optional(slot) else { return Ok(None) };
        let elements = self.build.get(id).shape.elements();
        if elements > MAX_LIST {
            return Err(Rule::Attribute { name: what, value: i64::try_from(elements).unwrap_or(i64::MAX) });
        }
        self.build.constant_integers(id, what).map(Some)
    }

    /// What newer operator sets give as operand and older ones as attribute.
    pub(super) fn list(&self, slot: usize, name: &'static str) -> Result<Option<Vec<i64>>, Rule> {
        match self.ints(name)? {
            Some(list) => Ok(Some(list.to_vec())),
            None => self.integers(slot, name),
        }
    }

    /// The constant operand in `slot` as numbers; `None` if it is left out.
    pub(super) fn numbers(&self, slot: usize, what: &'static str) -> Result<Option<Vec<f32>>, Rule> {
        let Some(id) = self.optional(slot) else { return Ok(None) };
        let tensor = self.build.get(id);
        if !tensor.is_constant() {
            return Err(Rule::NotConstant { what, index: id.index() });
        }
        floats_of(tensor).map(Some).ok_or(Rule::OperandType { what, element: tensor.element })
    }

    /// The operand in `slot`, which must be of binary32 numbers.
    pub(super) fn real(&self, slot: usize, what: &'static str) -> Result<TensorId, Rule> {
        let id = self.input(slot)?;
        match self.build.get(id).element {
            ElementType::F32 => Ok(id),
            element => Err(Rule::OperandType { what, element }),
        }
    }

    /// Two operands of one element type.
    pub(super) fn pair(&self) -> Result<[TensorId; 2], Rule> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        self.same_type(a, b)?;
        Ok([a, b])
    }

    pub(super) fn same_type(&self, a: TensorId, b: TensorId) -> Result<(), Rule> {
        let (a, b) = (self.build.get(a).element, self.build.get(b).element);
        if a == b { Ok(()) } else { Err(Rule::OperandTypes { a, b }) }
    }
}

/// An axis below `rank`; negative ones count from the end.
pub(super) fn axis(name: &'static str, value: i64, rank: usize) -> Result<usize, Rule> {
    let from_front =
        if value < 0 { i64::try_from(rank).ok().and_then(|rank| value.checked_add(rank)) } else { Some(value) };
    let axis = from_front.and_then(|axis| usize::try_from(axis).ok());
    axis.filter(|&axis| axis < rank).ok_or(Rule::Attribute { name, value })
}

/// A number of elements, not negative.
pub(super) fn extent(name: &'static str, value: i64) -> Result<usize, Rule> {
    usize::try_from(value).map_err(|_| Rule::Attribute { name, value })
}

/// Axes in ascending order, each once.
pub(super) fn axes(name: &'static str, values: &[i64], rank: usize) -> Result<Vec<usize>, Rule> {
    let mut axes = values.iter().map(|&value| axis(name, value, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}
