//! `ARGMAX`.

use super::map::OUTPUT_NAMES;
use super::reader::{Reader, type_range, within};
use super::{FeatureMap, Operands, OperationError, Role};
use crate::{CnnRegister, ElementType, RegisterFile, cnn_field};

/// The index of every pixel's largest channel, the lowest on a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgMax {
    /// Input map.
    pub input: FeatureMap,
    /// Output map: the size of the input, one channel.
    pub output: FeatureMap,
}

const INPUTS: [ElementType; 2] = [ElementType::Int8, ElementType::Int16];
const OUTPUTS: [ElementType; 3] = [ElementType::Int8, ElementType::Int16, ElementType::Int32];

impl ArgMax {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let element = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, &INPUTS, "ARGMAX")?;
        let index = reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, &OUTPUTS, "ARGMAX")?;
        let input = FeatureMap::read_input(reader, element)?;
        // An index fits the output's type.
        let most = type_range(index).1.unsigned_abs().saturating_add(1).min(reader.target.max_argmax_channels);
        within("IN_C", input.channels, 1, most)?;
        let output = FeatureMap {
            address: reader.cnn(CnnRegister::OutAddr),
            channels: 1,
            row: reader.cnn(CnnRegister::OutRow),
            pixel: reader.cnn(CnnRegister::OutPix),
            element: index,
            ..input
        };
        output.check(reader.target, &OUTPUT_NAMES)?;
        output.check_no_alias()?;
        Ok(Self { input, output })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let format =
            cnn_field::FORMAT_IN.put(self.input.element.code()) | cnn_field::FORMAT_OUT.put(self.output.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        self.input.store_input(registers);
        registers.set_cnn(CnnRegister::OutAddr, self.output.address);
        registers.set_cnn(CnnRegister::OutRow, self.output.row);
        registers.set_cnn(CnnRegister::OutPix, self.output.pixel);
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Input, self.input.footprint());
        operands.push(Role::Output, self.output.footprint());
    }
}
