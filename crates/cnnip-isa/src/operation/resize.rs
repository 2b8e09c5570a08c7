//! `RESIZE`.

use super::reader::{Reader, within};
use super::{FeatureMap, Operands, OperationError, Role};
use crate::{CnnRegister, ElementType, RegisterFile, ResizeMode, cnn_field};

/// Fixed-point positions along one axis: output index `k` is at `origin + k * step`, held to the input's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeAxis {
    /// Position of output index 0.
    pub origin: i32,
    /// Input samples per output sample.
    pub step: u32,
}

/// A resize; input and output have the same type and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// How samples are taken.
    pub mode: ResizeMode,
    /// Input map.
    pub input: FeatureMap,
    /// Output map.
    pub output: FeatureMap,
    /// Fraction bits of origins and steps, at most 16.
    pub fraction: u32,
    /// Positions of rows.
    pub rows: ResizeAxis,
    /// Positions of columns.
    pub columns: ResizeAxis,
}

const ELEMENTS: [ElementType; 2] = [ElementType::Int8, ElementType::Int16];

/// Most fraction bits of a position.
const MAX_FRACTION: u32 = 16;

impl Resize {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let code = reader.field(CnnRegister::Resize, cnn_field::RESIZE_MODE);
        let mode = reader.choice("RESIZE.MODE", "ResizeMode", code, ResizeMode::from_code)?;
        let fraction = reader.field(CnnRegister::Resize, cnn_field::RESIZE_FRACTION);
        let fraction = within("RESIZE.FRACTION", fraction, 0, MAX_FRACTION)?;
        let element = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, &ELEMENTS, "RESIZE")?;
        reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, &[element], "an input of another type")?;
        let input = FeatureMap::read_input(reader, element)?;
        let least = (1 << fraction) / reader.target.max_scale(mode);
        let axis = |(name, step): (&'static str, CnnRegister), origin| {
            let step = within(name, reader.cnn(step), least, u32::MAX)?;
            Ok(ResizeAxis { origin: reader.signed(origin), step })
        };
        Ok(Self {
            mode,
            input,
            output: FeatureMap::read_output(reader, element, Some(input.channels))?,
            fraction,
            rows: axis(("STEP_Y", CnnRegister::StepY), CnnRegister::OriginY)?,
            columns: axis(("STEP_X", CnnRegister::StepX), CnnRegister::OriginX)?,
        })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let format =
            cnn_field::FORMAT_IN.put(self.input.element.code()) | cnn_field::FORMAT_OUT.put(self.output.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        let resize = cnn_field::RESIZE_MODE.put(self.mode.code()) | cnn_field::RESIZE_FRACTION.put(self.fraction);
        registers.set_cnn(CnnRegister::Resize, resize);
        self.input.store_input(registers);
        self.output.store_output(registers);
        registers.set_cnn(CnnRegister::StepY, self.rows.step);
        registers.set_cnn(CnnRegister::OriginY, self.rows.origin.cast_unsigned());
        registers.set_cnn(CnnRegister::StepX, self.columns.step);
        registers.set_cnn(CnnRegister::OriginX, self.columns.origin.cast_unsigned());
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Input, self.input.footprint());
        operands.push(Role::Output, self.output.footprint());
    }
}
