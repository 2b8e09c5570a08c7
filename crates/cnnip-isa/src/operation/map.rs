//! Feature maps, windows and what happens to a result on its way out.

use super::reader::{Reader, aligned, element_bytes, illegal, type_range, within, within_signed, zero_range};
use super::{Footprint, OperationError, Rule, Space};
use crate::{CnnRegister, ElementType, RegisterFile, RoundingMode, TableKind, Target, cnn_field};

/// A feature map in SRAM, `[height][width][channels]`, channels contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureMap {
    /// Byte address of element (0, 0, 0).
    pub address: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Channels.
    pub channels: u32,
    /// Bytes from one row to the next; 0 repeats a source's row.
    pub row: u32,
    /// Bytes from one pixel to the next; 0 repeats a source's pixel.
    pub pixel: u32,
    /// Type of an element.
    pub element: ElementType,
}

impl FeatureMap {
    /// A map without gaps.
    ///
    /// ```
    /// # use cnnip_isa::{ElementType, operation::FeatureMap};
    /// let map = FeatureMap::dense(64, [8, 6, 3], ElementType::Int8);
    /// assert_eq!((map.height, map.width, map.row, map.pixel), (8, 6, 18, 3));
    /// ```
    pub fn dense(address: u32, [height, width, channels]: [u32; 3], element: ElementType) -> Self {
        let pixel = channels.saturating_mul(element_bytes(element));
        Self { address, width, height, channels, row: pixel.saturating_mul(width), pixel, element }
    }

    /// The bytes of the map.
    pub fn footprint(&self) -> Footprint {
        let run = u64::from(self.channels) * u64::from(element_bytes(self.element));
        Footprint::new(Space::Sram, u64::from(self.address), run, &[(self.width, self.pixel), (self.height, self.row)])
    }

    /// True if every element lies exactly where the element of `other`, a map of the same size, lies.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        let rows = self.height == 1 || self.row == other.row;
        let pixels = self.width == 1 || self.pixel == other.pixel;
        self.address == other.address && rows && pixels && element_bytes(self.element) == element_bytes(other.element)
    }

    /// Elements of the map.
    pub fn elements(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * u64::from(self.channels)
    }

    pub(super) fn read_input(reader: &Reader<'_>, element: ElementType) -> Result<Self, OperationError> {
        let size = reader.cnn(CnnRegister::InSize);
        let map = Self {
            address: reader.cnn(CnnRegister::InAddr),
            width: cnn_field::IN_SIZE_W.get(size),
            height: cnn_field::IN_SIZE_H.get(size),
            channels: reader.cnn(CnnRegister::InC),
            row: reader.cnn(CnnRegister::InRow),
            pixel: reader.cnn(CnnRegister::InPix),
            element,
        };
        map.check(reader.target, &INPUT_NAMES)?;
        Ok(map)
    }

    pub(super) fn read_output(
        reader: &Reader<'_>,
        element: ElementType,
        channels: Option<u32>,
    ) -> Result<Self, OperationError> {
        let size = reader.cnn(CnnRegister::OutSize);
        let map = Self {
            address: reader.cnn(CnnRegister::OutAddr),
            width: cnn_field::OUT_SIZE_W.get(size),
            height: cnn_field::OUT_SIZE_H.get(size),
            channels: channels.unwrap_or(reader.cnn(CnnRegister::OutC)),
            row: reader.cnn(CnnRegister::OutRow),
            pixel: reader.cnn(CnnRegister::OutPix),
            element,
        };
        map.check(reader.target, &OUTPUT_NAMES)?;
        map.check_no_alias()?;
        Ok(map)
    }

    pub(super) fn check(&self, target: &Target, names: &MapNames) -> Result<(), OperationError> {
        within(names.width, self.width, 1, target.max_extent)?;
        within(names.height, self.height, 1, target.max_extent)?;
        within(names.channels, self.channels, 1, target.max_channels)?;
        let bytes = element_bytes(self.element).max(1);
        aligned(names.address, self.address, bytes)?;
        aligned(names.row, self.row, bytes)?;
        aligned(names.pixel, self.pixel, bytes)?;
        Ok(())
    }

    /// Destination elements may not alias: pixels must clear the channels, rows must clear the pixels.
    pub(super) fn check_no_alias(&self) -> Result<(), OperationError> {
        let channels = u64::from(self.channels) * u64::from(element_bytes(self.element));
        let row = u64::from(self.width - 1) * u64::from(self.pixel) + channels;
        if self.width > 1 && u64::from(self.pixel) < channels {
            return Err(illegal(OUTPUT_NAMES.pixel, self.pixel, Rule::Alias { least: channels }));
        }
        if self.height > 1 && u64::from(self.row) < row {
            return Err(illegal(OUTPUT_NAMES.row, self.row, Rule::Alias { least: row }));
        }
        Ok(())
    }

    pub(super) fn store_input(&self, registers: &mut RegisterFile) {
        registers.set_cnn(CnnRegister::InAddr, self.address);
        registers.set_cnn(CnnRegister::InSize, size_word(self.width, self.height));
        registers.set_cnn(CnnRegister::InC, self.channels);
        registers.set_cnn(CnnRegister::InRow, self.row);
        registers.set_cnn(CnnRegister::InPix, self.pixel);
    }

    pub(super) fn store_output(&self, registers: &mut RegisterFile) {
        registers.set_cnn(CnnRegister::OutAddr, self.address);
        registers.set_cnn(CnnRegister::OutSize, size_word(self.width, self.height));
        registers.set_cnn(CnnRegister::OutRow, self.row);
        registers.set_cnn(CnnRegister::OutPix, self.pixel);
    }
}

/// Width and height as `IN_SIZE` and `OUT_SIZE` hold them.
fn size_word(width: u32, height: u32) -> u32 {
    cnn_field::IN_SIZE_W.put(width) | cnn_field::IN_SIZE_H.put(height)
}

/// The names of a map's registers in messages.
pub(super) struct MapNames {
    pub(super) address: &'static str,
    pub(super) width: &'static str,
    pub(super) height: &'static str,
    pub(super) channels: &'static str,
    pub(super) row: &'static str,
    pub(super) pixel: &'static str,
}

pub(super) const INPUT_NAMES: MapNames = MapNames {
    address: "IN_ADDR",
    width: "IN_SIZE.W",
    height: "IN_SIZE.H",
    channels: "IN_C",
    row: "IN_ROW",
    pixel: "IN_PIX",
};

pub(super) const OUTPUT_NAMES: MapNames = MapNames {
    address: "OUT_ADDR",
    width: "OUT_SIZE.W",
    height: "OUT_SIZE.H",
    channels: "OUT_C",
    row: "OUT_ROW",
    pixel: "OUT_PIX",
};

/// Kernel or pooling window: tap (ky, kx) of output (y, x) is at input row `y*stride_y + ky*dilation_y - top`, column
/// `x*stride_x + kx*dilation_x - left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the definition above")]
pub struct Window {
    pub kernel_h: u32,
    pub kernel_w: u32,
    pub stride_y: u32,
    pub stride_x: u32,
    pub dilation_y: u32,
    pub dilation_x: u32,
    pub top: u32,
    pub left: u32,
}

impl Window {
    /// One tap, no padding.
    pub const UNIT: Self =
        Self { kernel_h: 1, kernel_w: 1, stride_y: 1, stride_x: 1, dilation_y: 1, dilation_x: 1, top: 0, left: 0 };

    /// Taps of the window.
    pub fn taps(&self) -> u32 {
        self.kernel_h * self.kernel_w
    }

    /// Reads the window; pools have no dilation.
    pub(super) fn read(reader: &Reader<'_>, max_kernel: u32, dilated: bool) -> Result<Self, OperationError> {
        let target = reader.target;
        let kernel = reader.cnn(CnnRegister::Kernel);
        let stride = reader.cnn(CnnRegister::Stride);
        let pad = reader.cnn(CnnRegister::Pad);
        let dilation = if dilated { reader.cnn(CnnRegister::Dilation) } else { ONE_BY_ONE };
        Ok(Self {
            kernel_h: within("KERNEL.H", cnn_field::KERNEL_H.get(kernel), 1, max_kernel)?,
            kernel_w: within("KERNEL.W", cnn_field::KERNEL_W.get(kernel), 1, max_kernel)?,
            stride_y: within("STRIDE.Y", cnn_field::STRIDE_Y.get(stride), 1, target.max_stride)?,
            stride_x: within("STRIDE.X", cnn_field::STRIDE_X.get(stride), 1, target.max_stride)?,
            dilation_y: within("DILATION.Y", cnn_field::DILATION_Y.get(dilation), 1, target.max_dilation)?,
            dilation_x: within("DILATION.X", cnn_field::DILATION_X.get(dilation), 1, target.max_dilation)?,
            top: within("PAD.TOP", cnn_field::PAD_TOP.get(pad), 0, target.max_pad_y)?,
            left: within("PAD.LEFT", cnn_field::PAD_LEFT.get(pad), 0, target.max_pad_x)?,
        })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile, dilated: bool) {
        let word = |x: u32, y: u32| cnn_field::KERNEL_W.put(x) | cnn_field::KERNEL_H.put(y);
        registers.set_cnn(CnnRegister::Kernel, word(self.kernel_w, self.kernel_h));
        registers.set_cnn(CnnRegister::Stride, word(self.stride_x, self.stride_y));
        registers.set_cnn(CnnRegister::Pad, word(self.left, self.top));
        if dilated {
            registers.set_cnn(CnnRegister::Dilation, word(self.dilation_x, self.dilation_y));
        }
    }

    /// Checks that the implied padding at the right and bottom stays within the target's limits.
    pub(super) fn check_far_padding(
        &self,
        input: &FeatureMap,
        output: &FeatureMap,
        target: &Target,
    ) -> Result<(), OperationError> {
        let reach = |out: u32, stride: u32, kernel: u32, dilation: u32, before: u32, size: u32| {
            let last = u64::from(out - 1) * u64::from(stride) + u64::from(kernel - 1) * u64::from(dilation);
            last.saturating_sub(u64::from(before) + u64::from(size - 1))
        };
        let x = reach(output.width, self.stride_x, self.kernel_w, self.dilation_x, self.left, input.width);
        let y = reach(output.height, self.stride_y, self.kernel_h, self.dilation_y, self.top, input.height);
        for (name, value, reach, limit) in
            [("OUT_SIZE.W", output.width, x, target.max_pad_x), ("OUT_SIZE.H", output.height, y, target.max_pad_y)]
        {
            if reach > u64::from(limit) {
                return Err(illegal(name, value, Rule::FarPadding { reach, limit }));
            }
        }
        Ok(())
    }

    /// Input rows (columns) that the window of output `index` covers: `start..end`, cut to the input.
    pub fn covered(index: u32, stride: u32, kernel: u32, before: u32, size: u32) -> std::ops::Range<u32> {
        let start = i64::from(index) * i64::from(stride) - i64::from(before);
        let end = (start + i64::from(kernel)).clamp(0, i64::from(size));
        let cut = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
        cut(start.clamp(0, end))..cut(end)
    }
}

/// `DILATION` of an undilated window.
const ONE_BY_ONE: u32 = 0x0101;

/// A lookup table in SRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Kind; never [`TableKind::None`].
    pub kind: TableKind,
    /// SRAM byte address.
    pub address: u32,
}

impl Table {
    /// Bytes of a table of this kind.
    pub fn bytes(&self) -> u32 {
        match self.kind {
            TableKind::None => 0,
            TableKind::Int8_256 => 256,
            TableKind::Int16_513 => 513 * 2,
            TableKind::Int16Sigmoid | TableKind::Int16Tanh => 256 * 2,
        }
    }

    /// The bytes of the table.
    pub fn footprint(&self) -> Footprint {
        Footprint::dense(Space::Sram, u64::from(self.address), u64::from(self.bytes()))
    }

    /// Type of the elements the table takes and gives.
    pub fn element(&self) -> ElementType {
        match self.kind {
            TableKind::None => ElementType::None,
            TableKind::Int8_256 => ElementType::Int8,
            TableKind::Int16_513 | TableKind::Int16Sigmoid | TableKind::Int16Tanh => ElementType::Int16,
        }
    }

    /// Whether it is one of the half tables, whose input is scaled first.
    pub fn is_half(&self) -> bool {
        matches!(self.kind, TableKind::Int16Sigmoid | TableKind::Int16Tanh)
    }

    /// Reads `ACTIVATION` and `TABLE_ADDR` for the results of an operation; half tables are not legal there.
    pub(super) fn read_fused(reader: &Reader<'_>, element: ElementType) -> Result<Option<Self>, OperationError> {
        let table = Self::read(reader, element)?;
        match table.filter(Self::is_half) {
            Some(half) => {
                Err(illegal("ACTIVATION.TABLE", half.kind.code(), Rule::NotLegalHere { here: "this operation" }))
            }
            None => Ok(table),
        }
    }

    /// Reads `ACTIVATION` and `TABLE_ADDR` for elements of type `element`.
    pub(super) fn read(reader: &Reader<'_>, element: ElementType) -> Result<Option<Self>, OperationError> {
        let code = reader.field(CnnRegister::Activation, cnn_field::ACTIVATION_TABLE);
        let kind = reader.choice("ACTIVATION.TABLE", "TableKind", code, TableKind::from_code)?;
        if kind == TableKind::None {
            return Ok(None);
        }
        let table = Self { kind, address: reader.cnn(CnnRegister::TableAddr) };
        if table.element() != element {
            return Err(illegal("ACTIVATION.TABLE", code, Rule::NotLegalHere { here: element.name() }));
        }
        aligned("TABLE_ADDR", table.address, element_bytes(element))?;
        Ok(Some(table))
    }

    pub(super) fn store(table: Option<Self>, registers: &mut RegisterFile) {
        let kind = table.map_or(TableKind::None, |t| t.kind);
        registers.set_cnn(CnnRegister::Activation, cnn_field::ACTIVATION_TABLE.put(kind.code()));
        if let Some(table) = table {
            registers.set_cnn(CnnRegister::TableAddr, table.address);
        }
    }
}

/// What happens after scaling: zero point, clamp, table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Zero point of the output, added before the clamp.
    pub zero: i32,
    /// Lower clamp.
    pub min: i32,
    /// Upper clamp.
    pub max: i32,
    /// Table applied to the clamped value.
    pub table: Option<Table>,
}

impl Activation {
    /// Zero point and the full range of `element`.
    pub fn full_range(zero: i32, element: ElementType) -> Self {
        let (min, max) = type_range(element);
        Self { zero, min, max, table: None }
    }

    pub(super) fn read_clamp(reader: &Reader<'_>, element: ElementType) -> Result<(i32, i32), OperationError> {
        let (low, high) = type_range(element);
        let min = within_signed("OUT_MIN", reader.signed(CnnRegister::OutMin), (low, high))?;
        let max = within_signed("OUT_MAX", reader.signed(CnnRegister::OutMax), (min, high))?;
        Ok((min, max))
    }

    pub(super) fn read_no_table(reader: &Reader<'_>, element: ElementType) -> Result<Self, OperationError> {
        let zero = within_signed("OUT_ZERO", reader.signed(CnnRegister::OutZero), zero_range(element))?;
        let (min, max) = Self::read_clamp(reader, element)?;
        Ok(Self { zero, min, max, table: None })
    }

    pub(super) fn read(reader: &Reader<'_>, element: ElementType) -> Result<Self, OperationError> {
        let table = Table::read_fused(reader, element)?;
        Ok(Self { table, ..Self::read_no_table(reader, element)? })
    }

    /// As [`read`](Self::read), where any zero point of the type is legal.
    pub(super) fn read_any_zero(reader: &Reader<'_>, element: ElementType) -> Result<Self, OperationError> {
        let zero = within_signed("OUT_ZERO", reader.signed(CnnRegister::OutZero), type_range(element))?;
        let table = Table::read_fused(reader, element)?;
        let (min, max) = Self::read_clamp(reader, element)?;
        Ok(Self { zero, min, max, table })
    }

    pub(super) fn store_clamp(&self, registers: &mut RegisterFile) {
        registers.set_cnn(CnnRegister::OutMin, self.min.cast_unsigned());
        registers.set_cnn(CnnRegister::OutMax, self.max.cast_unsigned());
    }

    pub(super) fn store_no_table(&self, registers: &mut RegisterFile) {
        registers.set_cnn(CnnRegister::OutZero, self.zero.cast_unsigned());
        self.store_clamp(registers);
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        self.store_no_table(registers);
        Table::store(self.table, registers);
    }
}

/// Scaling by one multiplier and shift for all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputStage {
    /// Rounding mode.
    pub mode: RoundingMode,
    /// Multiplier, integer or float bits by `mode`.
    pub multiplier: u32,
    /// Shift; positive shifts left.
    pub shift: i32,
}

/// Rounding modes of a sum that is scaled by one scale for all channels.
pub(super) const SUM_MODES: [RoundingMode; 4] =
    [RoundingMode::None, RoundingMode::Double, RoundingMode::Single, RoundingMode::Float];

impl OutputStage {
    /// No scaling.
    pub const NONE: Self = Self { mode: RoundingMode::None, multiplier: 0, shift: 0 };

    /// Checks that the operation knows the mode; the ranges of multiplier and shift belong to the arithmetic.
    pub(super) fn check(self, register: &'static str, legal: &[RoundingMode]) -> Result<Self, OperationError> {
        if !legal.contains(&self.mode) {
            return Err(illegal(register, self.mode.code(), Rule::NotLegalHere { here: "this operation and type" }));
        }
        Ok(if self.mode == RoundingMode::None { Self::NONE } else { self })
    }

    pub(super) fn read_output(reader: &Reader<'_>, legal: &[RoundingMode]) -> Result<Self, OperationError> {
        let code = reader.field(CnnRegister::Requant, cnn_field::REQUANT_MODE);
        let stage = Self {
            mode: reader.choice("REQUANT.MODE", "RoundingMode", code, RoundingMode::from_code)?,
            multiplier: reader.cnn(CnnRegister::OutMult),
            shift: reader.signed(CnnRegister::OutShift),
        };
        stage.check("REQUANT.MODE", legal)
    }

    pub(super) fn store_output(&self, registers: &mut RegisterFile) {
        registers.set_cnn(CnnRegister::Requant, cnn_field::REQUANT_MODE.put(self.mode.code()));
        if self.mode != RoundingMode::None {
            registers.set_cnn(CnnRegister::OutMult, self.multiplier);
            registers.set_cnn(CnnRegister::OutShift, self.shift.cast_unsigned());
        }
    }
}
