//! Recurrent layers, unrolled over their sequence.

use super::super::call::{Call, extent};
use super::movement::{joined, whole};
use crate::graph::TensorId;
use crate::infer::InferError;
use crate::op::{Activation, FullyConnected, Op};
use crate::problem::Rule;

type Outputs = Result<Vec<TensorId>, Rule>;

const ADD: Op = Op::Add { activation: Activation::None };
const MUL: Op = Op::Mul { activation: Activation::None };
const LAYER: Op = Op::FullyConnected(FullyConnected { activation: Activation::None, keep_num_dims: true });

/// Most steps that a sequence is unrolled to.
const MAX_STEPS: usize = 1024;

/// Extents of a layer.
#[derive(Clone, Copy)]
struct Extents {
    steps: usize,
    batch: usize,
    features: usize,
    hidden: usize,
}

/// The parameters of one direction: gates input, output, forget, cell.
#[derive(Clone, Copy)]
struct Weights {
    /// `[4 * hidden, features]`.
    input: TensorId,
    /// `[4 * hidden, hidden]`.
    recurrent: TensorId,
    /// `[4 * hidden]`: both biases together.
    bias: Option<TensorId>,
}

/// What a direction carries from step to step, `[batch, hidden]` each; `None` is 0, of which nothing needs computing.
#[derive(Clone, Copy)]
struct State<T = TensorId> {
    hidden: T,
    cell: T,
}

/// `LSTM` with the usual activations, without peepholes and without lengths per sequence.
pub(super) fn lstm(call: &mut Call<'_>) -> Outputs {
    for (slot, what) in [(4, "sequence lengths"), (7, "peepholes")] {
        if call.optional(slot).is_some_and(|id| !whole_sequence(call, slot, id)) {
            return Err(Rule::OperandType { what, element: call.tensor(slot)?.element });
        }
    }
    call.only("input_forget", 0)?;
    call.only("layout", 0)?;
    let x = call.real(0, "input")?;
    let shape = call.shape(x);
    let &[steps, batch, features] = shape.dims() else {
        return Err(InferError::Rank { what: "input", want: 3, found: shape }.into());
    };
    let hidden = extent("hidden_size", call.int("hidden_size", 0))?;
    if steps > MAX_STEPS || steps == 0 {
        return Err(Rule::Attribute { name: "sequence length", value: i64::try_from(steps).unwrap_or(i64::MAX) });
    }
    let extents = Extents { steps, batch, features, hidden };
    let directions: &[bool] = match call.text("direction", "forward").as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(Rule::TextAttribute { name: "direction", value: other.to_owned() }),
    };
    let (mut sequences, mut states) = (Vec::new(), Vec::new());
    for (direction, &reverse) in directions.iter().enumerate() {
        let (sequence, state) = one_direction(call, x, extents, direction, reverse)?;
        sequences.push(sequence);
        states.push(state);
    }
    let y = joined(call, sequences, 1)?;
    let last = |call: &mut Call<'_>, pick: fn(&State) -> TensorId| {
        let mut parts = Vec::new();
        for state in &states {
            parts.push(call.reshape(pick(state), &[1, batch, hidden])?);
        }
        joined(call, parts, 0)
    };
    let hidden = last(call, |state| state.hidden)?;
    let cell = last(call, |state| state.cell)?;
    Ok(vec![y, hidden, cell])
}

/// Whether sequence lengths are all that of the input.
fn whole_sequence(call: &Call<'_>, slot: usize, _: TensorId) -> bool {
    let steps = call.dims(0).ok().and_then(|dims| dims.first().copied()).unwrap_or(0);
    let lengths = if slot == 4 { call.integers(slot, "sequence lengths").ok().flatten() } else { None };
    lengths.is_some_and(|lengths| lengths.iter().all(|&length| usize::try_from(length) == Ok(steps)))
}

/// The results of all steps as `[steps, 1, batch, hidden]`, and the last state.
fn one_direction(
    call: &mut Call<'_>,
    x: TensorId,
    extents: Extents,
    direction: usize,
    reverse: bool,
) -> Result<(TensorId, State), Rule> {
    let Extents { steps, batch, features, hidden } = extents;
    let weights = weights(call, extents, direction)?;
    let mut before = State { hidden: start(call, 5, extents, direction)?, cell: start(call, 6, extents, direction)? };
    // The input's part of the gates does not wait for the recurrence.
    let flat = call.reshape(x, &[steps * batch, features])?;
    let inputs: Vec<TensorId> = [flat, weights.input].into_iter().chain(weights.bias).collect();
    let gates = call.emit(LAYER, &inputs)?;
    let mut results = vec![None; steps];
    for nth in 0..steps {
        let at = if reverse { steps - 1 - nth } else { nth };
        let mut slice = whole(&call.shape(gates));
        (slice.begin[0], slice.count[0]) = (at * batch, batch);
        let input = if steps == 1 { gates } else { call.emit(Op::Slice(slice), &[gates])? };
        let state = step(call, input, before, weights, hidden)?;
        before = State { hidden: Some(state.hidden), cell: Some(state.cell) };
        results[at] = Some(call.reshape(state.hidden, &[1, 1, batch, hidden])?);
    }
    let sequence = joined(call, results.into_iter().flatten().collect(), 0)?;
    let State { hidden: Some(hidden), cell: Some(cell) } = before else {
        return Err(Rule::Attribute { name: "sequence length", value: 0 });
    };
    Ok((sequence, State { hidden, cell }))
}

/// One direction's part `[..]` of a tensor `[directions, ..]`.
fn part(call: &mut Call<'_>, id: TensorId, direction: usize, dims: &[usize]) -> Result<TensorId, Rule> {
    let mut slice = whole(&call.shape(id));
    let Some(count) = slice.count.first_mut() else {
        return Err(InferError::Rank { what: "weights", want: dims.len() + 1, found: call.shape(id) }.into());
    };
    let directions = std::mem::replace(count, 1);
    let part = if directions == 1 {
        id
    } else {
        slice.begin[0] = direction;
        call.emit(Op::Slice(slice), &[id])?
    };
    call.reshape(part, dims)
}

fn weights(call: &mut Call<'_>, extents: Extents, direction: usize) -> Result<Weights, Rule> {
    let Extents { features, hidden, .. } = extents;
    let gates = hidden.saturating_mul(4);
    let (input, recurrent) = (call.real(1, "weights")?, call.real(2, "recurrent weights")?);
    let bias = match call.optional(3) {
        None => None,
        Some(bias) => {
            let both = part(call, bias, direction, &[2, gates])?;
            let sum = Op::Sum(crate::op::Mean { axes: vec![0], keep_dims: false });
            Some(call.emit(sum, &[both])?)
        }
    };
    Ok(Weights {
        input: part(call, input, direction, &[gates, features])?,
        recurrent: part(call, recurrent, direction, &[gates, hidden])?,
        bias,
    })
}

/// The state before the first step: an operand, or 0.
fn start(call: &mut Call<'_>, slot: usize, extents: Extents, direction: usize) -> Result<Option<TensorId>, Rule> {
    let Extents { batch, hidden, .. } = extents;
    let Some(id) = call.optional(slot) else { return Ok(None) };
    let zeros = call.build.get(id).is_constant()
        && call.numbers(slot, "state")?.is_some_and(|values| values.iter().all(|&value| value == 0.0));
    if zeros { Ok(None) } else { part(call, id, direction, &[batch, hidden]).map(Some) }
}

/// `c = f * c + i * g`, `h = o * tanh(c)`.
fn step(
    call: &mut Call<'_>,
    input: TensorId,
    before: State<Option<TensorId>>,
    weights: Weights,
    hidden: usize,
) -> Result<State, Rule> {
    let sum = match before.hidden {
        Some(before) => {
            let recurrent = call.emit(LAYER, &[before, weights.recurrent])?;
            call.emit(ADD, &[input, recurrent])?
        }
        None => input,
    };
    let functions = [Op::Logistic, Op::Logistic, Op::Logistic, Op::Tanh];
    let mut gates = Vec::new();
    for (gate, function) in functions.into_iter().enumerate() {
        let mut slice = whole(&call.shape(sum));
        (slice.begin[1], slice.count[1]) = (gate * hidden, hidden);
        let part = call.emit(Op::Slice(slice), &[sum])?;
        gates.push(call.emit(function, &[part])?);
    }
    let &[input, output, forget, cell] = gates.as_slice() else {
        return Err(Rule::Attribute { name: "hidden_size", value: 0 });
    };
    let new = call.emit(MUL, &[input, cell])?;
    let cell = match before.cell {
        Some(before) => {
            let kept = call.emit(MUL, &[forget, before])?;
            call.emit(ADD, &[kept, new])?
        }
        None => new,
    };
    let squashed = call.emit(Op::Tanh, &[cell])?;
    Ok(State { hidden: call.emit(MUL, &[output, squashed])?, cell })
}
