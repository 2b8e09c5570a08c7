//! Memory as the oracle sees it.

use cnnip_isa::ElementType;
use cnnip_isa::TableKind;
use cnnip_isa::operation::{FeatureMap, Space, Table};

use super::{Place, low64};

/// The scratchpad of one core, and external memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Scratchpad.
    pub sram: Vec<u8>,
    /// Regions by number.
    pub regions: Vec<Vec<u8>>,
}

/// Bytes written at one place of the scratchpad.
pub(super) struct Write {
    address: u64,
    bytes: Vec<u8>,
}

impl Memory {
    pub(super) fn space(&self, space: Space) -> &[u8] {
        match space {
            Space::Sram => &self.sram,
            Space::Dram(region) => &self.regions[usize::from(region)],
        }
    }

    pub(super) fn space_mut(&mut self, space: Space) -> &mut [u8] {
        match space {
            Space::Sram => &mut self.sram,
            Space::Dram(region) => &mut self.regions[usize::from(region)],
        }
    }

    /// Bytes of the scratchpad as a little-endian two's complement number.
    pub(super) fn signed(&self, address: u64, bytes: u64) -> i128 {
        let value = self.unsigned(address, bytes);
        let modulus = 1_i128 << (8 * bytes);
        if value >= modulus / 2 { value - modulus } else { value }
    }

    /// Bytes of the scratchpad as a little-endian unsigned number.
    pub(super) fn unsigned(&self, address: u64, bytes: u64) -> i128 {
        (0..bytes).rev().fold(0, |value, i| value * 256 + i128::from(self.sram[index(address + i)]))
    }

    /// Element (row, column, channel) of a map.
    pub(super) fn element(&self, map: &FeatureMap, place: Place) -> i128 {
        let bytes = width(map.element);
        match map.element {
            ElementType::Uint8 => self.unsigned(address(map, place), bytes),
            _ => self.signed(address(map, place), bytes),
        }
    }

    /// What a table gives for a value.
    pub(super) fn look_up(&self, table: Table, value: i128) -> i128 {
        let base = u64::from(table.address);
        let at = |entry: i128, bytes: u64| {
            let entry = u64::try_from(entry).expect("a value of the table's type");
            self.signed(base + entry * bytes, bytes)
        };
        if table.kind == TableKind::Int8_256 {
            return at(value + 128, 1);
        }
        let (i, f) = ((value + 32_768) >> 7, (value + 32_768) % 128);
        let slope = wrap16(at(i + 1, 2) - at(i, 2));
        wrap16(at(i, 2) + ((slope * f + 64) >> 7))
    }

    /// What a half table gives for its scaled input.
    pub(super) fn look_up_half(&self, table: Table, u: i128) -> i128 {
        let entry = |i: i128| {
            let entry = u64::try_from(i).expect("an entry of the table");
            self.unsigned(u64::from(table.address) + 2 * entry, 2)
        };
        let sigmoid = table.kind == TableKind::Int16Sigmoid;
        let unit = if sigmoid { 512 } else { 256 };
        let (i, f) = (u.abs() / unit, u.abs() % unit);
        let v = match (i >= 255, sigmoid) {
            (true, true) => 0x7fff * 1024,
            (true, false) => 0xffff * 256,
            (false, _) => entry(i) * unit + f * (entry(i + 1) - entry(i)),
        };
        if sigmoid {
            let v = if u >= 0 { v } else { (1 << 25) - 1 - v };
            return wrap16((v + 512).div_euclid(1024));
        }
        let v = if u >= 0 { v - (1 << 23) } else { (1 << 23) - 1 - v };
        wrap16((v + 128).div_euclid(256))
    }

    pub(super) fn write(&mut self, write: &Write) {
        let start = index(write.address);
        self.sram[start..start + write.bytes.len()].copy_from_slice(&write.bytes);
    }
}

impl Write {
    /// Element (row, column, channel) of a map.
    pub(super) fn element(map: &FeatureMap, place: Place, value: i128) -> Self {
        Self { address: address(map, place), bytes: low_bytes(value, width(map.element)) }
    }

    /// A spilled accumulator.
    pub(super) fn spill(base: u32, number: u64, value: i128) -> Self {
        Self { address: u64::from(base) + 8 * number, bytes: low64(value).to_le_bytes().to_vec() }
    }
}

fn low_bytes(value: i128, bytes: u64) -> Vec<u8> {
    value.to_le_bytes()[..index(bytes)].to_vec()
}

fn address(map: &FeatureMap, [row, column, channel]: Place) -> u64 {
    u64::from(map.address)
        + u64::from(row) * u64::from(map.row)
        + u64::from(column) * u64::from(map.pixel)
        + u64::from(channel) * width(map.element)
}

/// Bytes of an element.
pub(super) fn width(element: ElementType) -> u64 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 | ElementType::Uint8 => 1,
        ElementType::Int16 => 2,
        ElementType::Int32 => 4,
    }
}

pub(super) fn index(address: u64) -> usize {
    usize::try_from(address).expect("an address in memory")
}

fn wrap16(value: i128) -> i128 {
    (value + 32_768).rem_euclid(65_536) - 32_768
}
