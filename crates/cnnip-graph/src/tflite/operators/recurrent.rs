//! `UNIDIRECTIONAL_SEQUENCE_LSTM`: many optional inputs, and two tensors that hold its states.

use super::Call;
use crate::op::{Lstm, Op};
use crate::problem::Rule;
use crate::tensor::ElementType;
use crate::tflite::schema::lstm::{self, TANH};

/// Number of inputs, the optional ones included.
pub(super) const INPUTS: usize = 24;

/// The sequence; weights, recurrent weights and biases of the input, forget, cell and output gates.
pub(super) const DATA: [usize; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 15];

/// The hidden and the cell state: variable tensors, which the layer reads and writes.
pub(in crate::tflite) const STATES: [usize; 2] = [18, 19];

/// What a layer may have more than it has here, and the inputs that say so.
const VARIANTS: [(&str, std::ops::Range<usize>); 3] =
    [("peephole connections", 9..12), ("a projection", 16..18), ("layer normalization", 20..24)];

pub(super) fn read(call: &Call<'_>) -> Result<Op, Rule> {
    for (what, mut slots) in VARIANTS {
        if slots.any(|slot| call.slot(slot).is_some()) {
            return Err(Rule::OptionalInput { what, is_there: true });
        }
    }
    if DATA.into_iter().chain(STATES).any(|slot| call.slot(slot).is_none()) {
        return Err(Rule::OptionalInput { what: "a gate or a state", is_there: false });
    }
    let activation = call.get(lstm::ACTIVATION)?;
    if activation != TANH {
        return Err(Rule::Attribute { name: "fused_activation_function", value: activation.into() });
    }
    let cell_clip = call.get(lstm::CELL_CLIP)?;
    if !(cell_clip.is_finite() && cell_clip >= 0.0) {
        return Err(Rule::FloatAttribute { name: "cell_clip", value: cell_clip });
    }
    Ok(Op::Lstm(Lstm { time_major: call.get(lstm::TIME_MAJOR)?, cell_scale: cell_scale(call)?, cell_clip }))
}

/// The scale of the cell state: int16 and symmetric, or real numbers.
fn cell_scale(call: &Call<'_>) -> Result<Option<f32>, Rule> {
    let Some((_, state)) = call.slot(STATES[1]) else { return Ok(None) };
    let Some(quantization) = &state.quantization else { return Ok(None) };
    if state.element != ElementType::I16 {
        return Err(Rule::StateType { found: state.element });
    }
    match (quantization.scales(), quantization.zero_points()) {
        (&[scale], &[0]) => Ok(Some(scale)),
        (_, zero_points) => Err(Rule::StateZero { zero_point: zero_points.first().copied().unwrap_or(0) }),
    }
}

/// Inputs in the format's order, from those of the node, then the two states; -1 stands for one that is not there.
pub(in crate::tflite) fn in_slots(inputs: &[i32]) -> Vec<i32> {
    let mut slots = vec![-1; INPUTS];
    for (&slot, &input) in DATA.iter().chain(&STATES).zip(inputs) {
        slots[slot] = input;
    }
    slots
}
