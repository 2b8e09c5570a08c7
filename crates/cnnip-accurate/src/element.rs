//! Elements in memory.

use cnnip_isa::ElementType;
use cnnip_kernels::{Element8, Map, Source8};

/// An index or size known to fit memory.
pub(crate) fn index(value: impl TryInto<usize>) -> usize {
    value.try_into().unwrap_or(usize::MAX)
}

/// Element `at` of a dense array, 0 beyond its end.
pub(crate) fn read(bytes: &[u8], at: usize, element: ElementType) -> i32 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 => bytes.get(at).map_or(0, |&byte| i32::from(byte.cast_signed())),
        ElementType::Uint8 => bytes.get(at).map_or(0, |&byte| i32::from(byte)),
        ElementType::Int16 => i32::from(i16::from_le_bytes(chunk(bytes, at))),
        ElementType::Int32 => i32::from_le_bytes(chunk(bytes, at)),
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let start = at.saturating_mul(N);
    bytes.get(start..start.saturating_add(N)).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// Sets element `at` to the low bytes of a value that was clamped to the type.
pub(crate) fn write(bytes: &mut [u8], at: usize, element: ElementType, value: i32) {
    let size = element.bytes();
    if let Some(place) = bytes.get_mut(at * size..(at + 1) * size) {
        place.copy_from_slice(&value.to_le_bytes()[..size]);
    }
}

/// Appends every element minus `zero`.
pub(crate) fn widen(bytes: &[u8], element: ElementType, zero: i32, out: &mut Vec<i32>) {
    out.clear();
    match element {
        ElementType::None => {}
        ElementType::Int8 => out.extend(bytes.iter().map(|&byte| i32::from(byte.cast_signed()) - zero)),
        ElementType::Uint8 => out.extend(bytes.iter().map(|&byte| i32::from(byte) - zero)),
        ElementType::Int16 => {
            out.extend(bytes.as_chunks().0.iter().map(|&chunk| i32::from(i16::from_le_bytes(chunk)) - zero));
        }
        ElementType::Int32 => {
            out.extend(bytes.as_chunks().0.iter().map(|&chunk| i32::from_le_bytes(chunk).saturating_sub(zero)));
        }
    }
}

/// An 8-bit map as kernels read it; `None` for other types.
pub(crate) fn source(bytes: &[u8], map: Map, element: ElementType, zero: i32) -> Option<Source8<'_>> {
    let element = match element {
        ElementType::Int8 => Element8::Int8,
        ElementType::Uint8 => Element8::Uint8,
        ElementType::None | ElementType::Int16 | ElementType::Int32 => return None,
    };
    Some(Source8 { bytes, map, element, zero })
}
