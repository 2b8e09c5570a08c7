//! The numbers of a FlexBuffer whose root is a map: what custom operators have for attributes.
//!
//! A value is at the end, before its type and its width. A map is a vector of values, behind whose elements are their types and before
//! which are its length, the width of its keys and the way back to them; offsets count backwards from where they stand.

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i64),
    Real(f64),
}

/// A map's keys and numbers; values that are no numbers are left out. `None` if the bytes are no such thing.
pub(super) fn map(bytes: &[u8]) -> Option<Vec<(&str, Number)>> {
    let &[.., kind, width] = bytes else { return None };
    let at = bytes.len().checked_sub(2)?.checked_sub(usize::from(width))?;
    if kind >> 2 != MAP {
        return None;
    }
    let width_of_values = 1 << (kind & 3);
    let values = at.checked_sub(offset(bytes, at, width.into())?)?;
    let before = |count: usize| values.checked_sub(count * width_of_values);
    let keys_at = before(3)?;
    let keys = keys_at.checked_sub(offset(bytes, keys_at, width_of_values)?)?;
    let width_of_keys = offset(bytes, before(2)?, width_of_values)?;
    let count = offset(bytes, before(1)?, width_of_values)?;
    if count > bytes.len() {
        return None;
    }
    let mut found = Vec::new();
    for index in 0..count {
        let key = keys.checked_add(index.checked_mul(width_of_keys)?)?;
        let text = bytes.get(key.checked_sub(offset(bytes, key, width_of_keys)?)?..)?;
        let text = std::str::from_utf8(text.get(..text.iter().position(|&byte| byte == 0)?)?).ok()?;
        let kind = *bytes.get(values.checked_add(count.checked_mul(width_of_values)?)?.checked_add(index)?)?;
        let at = values.checked_add(index.checked_mul(width_of_values)?)?;
        found.extend(number(bytes, at, width_of_values, kind).map(|number| (text, number)));
    }
    Some(found)
}

// Types of values: the number is there itself, or behind an offset.
const INT: u8 = 1;
const UINT: u8 = 2;
const FLOAT: u8 = 3;
const INDIRECT_INT: u8 = 6;
const INDIRECT_UINT: u8 = 7;
const INDIRECT_FLOAT: u8 = 8;
const MAP: u8 = 9;
const BOOL: u8 = 26;

fn number(bytes: &[u8], at: usize, width: usize, kind: u8) -> Option<Number> {
    let there = || Some((at.checked_sub(offset(bytes, at, width)?)?, 1 << (kind & 3)));
    let (at, width) = if matches!(kind >> 2, INDIRECT_INT..=INDIRECT_FLOAT) { there()? } else { (at, width) };
    let part = bytes.get(at..at.checked_add(width)?)?;
    match kind >> 2 {
        UINT | INDIRECT_UINT | BOOL => Some(Number::Whole(i64::try_from(unsigned(part)?).ok()?)),
        INT | INDIRECT_INT => Some(Number::Whole(match *part {
            [a] => i8::from_le_bytes([a]).into(),
            [a, b] => i16::from_le_bytes([a, b]).into(),
            [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
            _ => i64::from_le_bytes(part.try_into().ok()?),
        })),
        FLOAT | INDIRECT_FLOAT => Some(Number::Real(match *part {
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
            _ => f64::from_le_bytes(part.try_into().ok()?),
        })),
        _ => None,
    }
}

fn offset(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    usize::try_from(unsigned(bytes.get(at..at.checked_add(width)?)?)?).ok()
}

fn unsigned(part: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    let fits = matches!(part.len(), 1 | 2 | 4 | 8);
    wide.get_mut(..part.len()).filter(|_| fits)?.copy_from_slice(part);
    Some(u64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `{"a": 300, "b": true, "s": 0.5}` as the format's own library writes it.
    const WRITTEN: [u8; 42] = [
        97, 0, 98, 0, 115, 0, 3, 7, 6, 5, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 44, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0,
        63, 6, 106, 14, 15, 38, 1,
    ];
    /// `{"b": true, "n": -3}`.
    const NARROW: [u8; 17] = [98, 0, 110, 0, 2, 5, 4, 2, 1, 2, 1, 253, 104, 4, 4, 36, 1];

    #[test]
    fn numbers_of_a_map() {
        let found = map(&WRITTEN);
        let want = [("a", Number::Whole(300)), ("b", Number::Whole(1)), ("s", Number::Real(0.5))];
        assert_eq!(found.as_deref(), Some(&want[..]));
        assert_eq!(map(&NARROW), Some(vec![("b", Number::Whole(1)), ("n", Number::Whole(-3))]));
        assert_eq!(map(&[]), None);
        assert_eq!(map(&[1, 4, 1]), None, "a number is no map");
    }

    proptest! {
        #[test]
        fn other_bytes_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0_usize..42, value: u8) {
            let _ = map(&bytes);
            bytes = WRITTEN.to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            let _ = map(&bytes);
        }
    }
}
