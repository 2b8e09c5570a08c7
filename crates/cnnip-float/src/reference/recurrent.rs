//! Recurrent layers, a step after the other.

use cnnip_graph::Lstm;

use super::At;
use super::unary::logistic;

/// Gates of a cell, in the order of the operands.
const GATES: usize = 4;

pub(super) fn lstm(at: &At<'_>, op: &Lstm) -> Option<Vec<f64>> {
    let operands: Vec<Vec<f64>> = (0..1 + 3 * GATES).map(|operand| at.real(operand)).collect::<Option<_>>()?;
    let (&[outer, inner, depth], &[_, _, units]) = (at.tensor(0)?.shape.dims(), at.output().shape.dims()) else {
        return None;
    };
    let (batch, time) = if op.time_major { (inner, outer) } else { (outer, inner) };
    let mut output = vec![0.0; batch * time * units];
    for row in 0..batch {
        let (mut hidden, mut cell) = (vec![0.0; units], vec![0.0; units]);
        for step in 0..time {
            let position = if op.time_major { step * batch + row } else { row * time + step };
            let x = operands[0].get(position * depth..(position + 1) * depth)?;
            let gate = |gate: usize, unit: usize| {
                let dot = |weights: &[f64], values: &[f64]| -> f64 {
                    weights.iter().skip(unit * values.len()).zip(values).map(|(w, x)| w * x).sum()
                };
                let (weights, recurrent) = (&operands[1 + gate], &operands[1 + GATES + gate]);
                dot(weights, x) + dot(recurrent, &hidden) + operands[1 + 2 * GATES + gate][unit]
            };
            let next: Vec<[f64; 4]> = (0..units).map(|unit| std::array::from_fn(|g| gate(g, unit))).collect();
            for (unit, [input, forget, candidate, out]) in next.into_iter().enumerate() {
                let state = logistic(forget) * cell[unit] + logistic(input) * candidate.tanh();
                let limit = if op.cell_clip > 0.0 { f64::from(op.cell_clip) } else { f64::INFINITY };
                cell[unit] = state.clamp(-limit, limit);
                hidden[unit] = logistic(out) * cell[unit].tanh();
            }
            output.get_mut(position * units..(position + 1) * units)?.copy_from_slice(&hidden);
        }
    }
    Some(output)
}
