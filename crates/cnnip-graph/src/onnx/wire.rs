//! What a file would need in memory, told from its wire format before it is decoded: a message of
//! two bytes becomes a structure of hundreds.

use super::proto;
use crate::problem::Rule;
use crate::unique::Budget;

/// A message: its size in memory, and which of its fields are messages or texts.
struct Kind {
    size: usize,
    fields: &'static [(u64, &'static Kind)],
}

const TEXT: Kind = Kind { size: size_of::<String>(), fields: &[] };
const ENTRY: Kind = Kind { size: size_of::<proto::Entry>(), fields: &[] };
const DIMENSION: Kind = Kind { size: size_of::<proto::Dimension>(), fields: &[] };
const TENSOR: Kind = Kind { size: size_of::<proto::Tensor>(), fields: &[(13, &ENTRY)] };
const SHAPE: Kind = Kind { size: size_of::<proto::TensorShape>(), fields: &[(1, &DIMENSION)] };
const TENSOR_TYPE: Kind = Kind { size: size_of::<proto::TensorType>(), fields: &[(2, &SHAPE)] };
const TYPE: Kind = Kind { size: size_of::<proto::Type>(), fields: &[(1, &TENSOR_TYPE)] };
const VALUE: Kind = Kind { size: size_of::<proto::ValueInfo>(), fields: &[(2, &TYPE)] };
const ATTRIBUTE: Kind = Kind { size: size_of::<proto::Attribute>(), fields: &[(5, &TENSOR), (9, &TEXT)] };
const NODE: Kind = Kind { size: size_of::<proto::Node>(), fields: &[(1, &TEXT), (2, &TEXT), (5, &ATTRIBUTE)] };
const GRAPH: Kind = Kind {
    size: size_of::<proto::Graph>(),
    fields: &[(1, &NODE), (5, &TENSOR), (11, &VALUE), (12, &VALUE), (13, &VALUE), (15, &TEXT)],
};
const OPERATOR_SET: Kind = Kind { size: size_of::<proto::OperatorSet>(), fields: &[] };
const MODEL: Kind = Kind { size: size_of::<proto::Model>(), fields: &[(7, &GRAPH), (8, &OPERATOR_SET)] };

/// Whether decoding `file` stays within what its length justifies. Files of exporters need less than
/// half of it. What is malformed is left to the decoder.
///
/// # Errors
/// [`Rule::Size`] if it does not.
pub(super) fn check(file: &[u8]) -> Result<(), Rule> {
    let mut budget = Budget::new(file.len().saturating_mul(32).saturating_add(1 << 24));
    spend(file, &MODEL, &mut budget).map(|_| ())
}

/// Spends what the fields of a message need; `None` where it is malformed.
fn spend(mut bytes: &[u8], kind: &Kind, budget: &mut Budget) -> Result<Option<()>, Rule> {
    while !bytes.is_empty() {
        let Some(key) = varint(&mut bytes) else { return Ok(None) };
        let length = match key & 7 {
            0 => varint(&mut bytes).map(|_| 0),
            1 => Some(8),
            2 => varint(&mut bytes).and_then(|length| usize::try_from(length).ok()),
            5 => Some(4),
            _ => None,
        };
        let Some((inner, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else { return Ok(None) };
        bytes = rest;
        let found = kind.fields.iter().find(|(number, _)| *number == key >> 3 && key & 7 == 2);
        match found {
            Some((_, kind)) => {
                budget.spend(kind.size)?;
                // A text is no message, whatever its bytes look like.
                if !kind.fields.is_empty() && spend(inner, kind, budget)?.is_none() {
                    return Ok(None);
                }
            }
            // An element of a list, at most.
            None => budget.spend(size_of::<u64>())?,
        }
    }
    Ok(Some(()))
}

/// An integer of seven bits per byte, the least first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_messages_in_their_thousands_are_refused_before_they_are_decoded() {
        // A graph of a million attributes without anything, in one node.
        let attributes = [0x2a, 0].repeat(1_000_000);
        let message = |field: u8, inner: &[u8]| {
            let mut out = vec![field << 3 | 2];
            let mut length = inner.len();
            while length >= 0x80 {
                out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            out.push(u8::try_from(length).unwrap());
            out.extend(inner);
            out
        };
        let file = message(7, &message(1, &attributes));
        assert!(matches!(check(&file), Err(Rule::Size { .. })));
        let names = message(7, &message(1, &[0x0a, 1, b'x'].repeat(100_000)));
        assert_eq!(check(&names), Ok(()));
        // A name that is no message does not end the count.
        let hidden = message(7, &message(1, &[&[0x0a, 1, 0xff][..], &attributes].concat()));
        assert!(matches!(check(&hidden), Err(Rule::Size { .. })));
        assert_eq!(check(&[0xff; 30]), Ok(()), "left to the decoder");
    }
}
