//! Reshape, transpose, pad: bytes move, values stay.

use cnnip_graph::{Pad, PadValue};

use super::context::{At, extents, gather, quantization, steps};
use crate::error::Rule;
use crate::layer::{Stride, Transfer, Work};

/// A reshape has the bytes of its input.
pub(super) fn reshape(at: &mut At<'_, '_>) -> Result<(), Rule> {
    let (input, output) = (at.input(0), at.output());
    if input.element != output.element {
        return Err(Rule::Element {
            what: "output",
            tensor: output.name.clone(),
            found: output.element,
            want: "the input's type",
        });
    }
    at.alias();
    Ok(())
}

pub(super) fn transpose(at: &mut At<'_, '_>, perm: &[usize]) -> Result<(), Rule> {
    at.moves_int8()?;
    let extents = extents(at.input(0));
    if keeps_order(&extents, perm) {
        at.alias();
        return Ok(());
    }
    let from = steps(&extents);
    let moved: Vec<u32> = perm.iter().map(|&axis| extents[axis]).collect();
    let to = steps(&moved);
    let strides: Vec<Stride> =
        perm.iter().zip(&to).map(|(&axis, &to)| Stride { count: extents[axis], from: from[axis], to }).collect();
    let transfer = gather(at.input_id(0), at.output_id(), &strides);
    at.push(0, Work::Transfer(transfer));
    Ok(())
}

/// Whether axes that have more than one index stay in order, so that no byte moves.
fn keeps_order(extents: &[u32], perm: &[usize]) -> bool {
    perm.iter().filter(|&&axis| extents[axis] > 1).is_sorted()
}

pub(super) fn pad(at: &mut At<'_, '_>, pad: &Pad) -> Result<(), Rule> {
    at.moves_int8()?;
    let value = fill(at, pad)?;
    let (input, output) = (extents(at.input(0)), extents(at.output()));
    let (from, to) = (steps(&input), steps(&output));
    let loops = input.iter().zip(from).zip(&to).map(|((&count, from), &to)| Stride { count, from, to });
    let strides: Vec<Stride> = loops.collect();
    let before = pad.before.iter().zip(&to).map(|(&before, &to)| crate::size::small(before) * to).sum();
    let transfer = gather(at.input_id(0), at.output_id(), &strides);
    let output_bytes = output.iter().product();
    at.push(0, Work::Transfer(Transfer { output_bytes, fill: Some(value), offset: before, ..transfer }));
    Ok(())
}

/// The byte that stands around the input: the value given, else the output's zero point.
fn fill(at: &At<'_, '_>, pad: &Pad) -> Result<u8, Rule> {
    let value = match pad.value {
        PadValue::Integer(value) => value,
        PadValue::Zero => quantization("output", at.output())?.zero.into(),
        PadValue::Float(_) => {
            let found = cnnip_graph::ElementType::F32;
            return Err(Rule::Element { what: "padding value", tensor: at.output().name.clone(), found, want: "int8" });
        }
    };
    i8::try_from(value).map(i8::cast_unsigned).map_err(|_| Rule::PadValue { value })
}

#[cfg(test)]
mod tests {
    use super::keeps_order;

    #[test]
    fn moving_axes_of_one_index_moves_no_byte() {
        assert!(keeps_order(&[1, 1, 8, 9], &[0, 2, 3, 1]));
        assert!(!keeps_order(&[1, 3, 8, 9], &[0, 2, 3, 1]));
    }
}
