//! Reading and writing single elements of checked operands.

use cnnip_isa::ElementType;
use cnnip_isa::TableKind;
use cnnip_isa::operation::{FeatureMap, Table, TableScale};
use cnnip_numerics::table::{half_table_input, sigmoid_i16, tanh_i16};

/// A byte position in memory; operands were checked to fit, so it does too.
pub(super) fn at(address: u32, offset: u64) -> usize {
    usize::try_from(u64::from(address) + offset).unwrap_or(usize::MAX)
}

/// `N` bytes at a checked position.
pub(super) fn bytes<const N: usize>(data: &[u8], position: usize) -> [u8; N] {
    data.get(position..position + N).and_then(|slice| slice.try_into().ok()).unwrap_or([0; N])
}

/// The element at a byte position.
pub(super) fn read(data: &[u8], position: usize, element: ElementType) -> i32 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 => i32::from(i8::from_le_bytes(bytes(data, position))),
        ElementType::Uint8 => i32::from(u8::from_le_bytes(bytes(data, position))),
        ElementType::Int16 => i32::from(i16::from_le_bytes(bytes(data, position))),
        ElementType::Int32 => i32::from_le_bytes(bytes(data, position)),
    }
}

/// Writes the low bytes of a value that was clamped to the type.
pub(super) fn write(data: &mut [u8], position: usize, element: ElementType, value: i32) {
    let count = element.bytes();
    if let Some(slice) = data.get_mut(position..position + count) {
        slice.copy_from_slice(&value.to_le_bytes()[..count]);
    }
}

/// Byte position of element (row, column, channel) of a map.
pub(super) fn position(map: &FeatureMap, row: u32, column: u32, channel: u32) -> usize {
    let bytes = u64::try_from(map.element.bytes()).unwrap_or(0);
    let offset = u64::from(row) * u64::from(map.row) + u64::from(column) * u64::from(map.pixel);
    at(map.address, offset + u64::from(channel) * bytes)
}

/// Row, column and channel of element `index` of a map, in memory order.
pub(super) fn coordinates(map: &FeatureMap, index: u64) -> [u32; 3] {
    let channels = u64::from(map.channels);
    let (pixel, channel) = (index / channels, index % channels);
    let width = u64::from(map.width);
    [pixel / width, pixel % width, channel].map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// A spilled accumulator.
pub(super) fn read_spill(data: &[u8], address: u32, index: u64) -> i64 {
    i64::from_le_bytes(bytes(data, at(address, index * 8)))
}

/// Spills an accumulator.
pub(super) fn write_spill(data: &mut [u8], address: u32, index: u64, value: i64) {
    let position = at(address, index * 8);
    if let Some(slice) = data.get_mut(position..position + 8) {
        slice.copy_from_slice(&value.to_le_bytes());
    }
}

/// The table's entry for a value of its element type.
pub(super) fn look_up(data: &[u8], table: Table, value: i32) -> i32 {
    match table.kind {
        TableKind::Int8_256 => {
            let entry = u64::from((value + 128).clamp(0, 255).unsigned_abs());
            read(data, at(table.address, entry), ElementType::Int8)
        }
        TableKind::Int16_513 => {
            let entries = std::array::from_fn(|i| i16::from_le_bytes(bytes(data, at(table.address, 0) + 2 * i)));
            let value = i16::try_from(value).unwrap_or(i16::MAX);
            i32::from(cnnip_numerics::table::lookup_513(&entries, value))
        }
        // Half tables are legal for TABLE only, where they have a scale.
        TableKind::None | TableKind::Int16Sigmoid | TableKind::Int16Tanh => value,
    }
}

/// What a half table gives for a value.
pub(super) fn look_up_half(data: &[u8], table: Table, scale: TableScale, value: i32) -> i32 {
    let entries = std::array::from_fn(|i| u16::from_le_bytes(bytes(data, at(table.address, 0) + 2 * i)));
    let value = i16::try_from(value).unwrap_or(i16::MAX);
    let input = half_table_input(value, scale.multiplier, scale.shift);
    let result = if table.kind == TableKind::Int16Sigmoid { sigmoid_i16 } else { tanh_i16 };
    result(&entries, input).into()
}
