//! `REDUCE`.

use super::conv::{NO_ACTIVATION, OUTPUTS, read_accumulators};
use super::map::SUM_MODES;
use super::reader::{Reader, aligned, element_bytes, illegal, within, within_signed, zero_range};
use super::{
    Accumulators, Activation, FeatureMap, Footprint, Operands, OperationError, OutputStage, Role, Rule, Space,
};
use crate::{CnnRegister, ElementType, ReduceFunction, RegisterFile, cnn_field};

/// Where a reduction's result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReduceOutput {
    /// SRAM byte address of the one output pixel.
    pub address: u32,
    /// Type of the result.
    pub element: ElementType,
    /// Scaling of a sum.
    pub stage: OutputStage,
    /// Divides the scaled sum, halves away from zero.
    pub divisor: u32,
    /// Zero point (of a sum) and clamp.
    pub activation: Activation,
}

/// A reduction over height and width, and over the channels if asked, to one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// What is computed.
    pub function: ReduceFunction,
    /// Input map.
    pub input: FeatureMap,
    /// Subtracted from every element of a sum.
    pub input_zero: i32,
    /// Reduce over the channels too.
    pub channels: bool,
    /// Start and end of a sum's accumulators; `bias` is always false.
    pub accumulators: Accumulators,
    /// The result; not looked at where accumulators are stored.
    pub output: ReduceOutput,
}

impl Reduce {
    /// Channels of the result.
    pub fn output_channels(&self) -> u32 {
        if self.channels { 1 } else { self.input.channels }
    }

    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let code = reader.field(CnnRegister::Reduce, cnn_field::REDUCE_FUNCTION);
        let function = reader.choice("REDUCE.FUNCTION", "ReduceFunction", code, ReduceFunction::from_code)?;
        let element = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, &OUTPUTS, "REDUCE")?;
        let input = FeatureMap::read_input(reader, element)?;
        within("IN_SIZE.W", input.width, 1, reader.target.max_reduce_side)?;
        within("IN_SIZE.H", input.height, 1, reader.target.max_reduce_side)?;
        let sum = function == ReduceFunction::Sum;
        let accumulators = if sum { read_sum_accumulators(reader)? } else { Accumulators::default() };
        Ok(Self {
            function,
            input,
            input_zero: if sum {
                within_signed("IN_ZERO", reader.signed(CnnRegister::InZero), zero_range(element))?
            } else {
                0
            },
            channels: reader.field(CnnRegister::Reduce, cnn_field::REDUCE_CHANNELS) == 1,
            accumulators,
            output: read_output(reader, sum, element, accumulators)?,
        })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let format =
            cnn_field::FORMAT_IN.put(self.input.element.code()) | cnn_field::FORMAT_OUT.put(self.output.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        let reduce = cnn_field::REDUCE_FUNCTION.put(self.function.code())
            | cnn_field::REDUCE_CHANNELS.put(u32::from(self.channels));
        registers.set_cnn(CnnRegister::Reduce, reduce);
        self.input.store_input(registers);
        let sum = self.function == ReduceFunction::Sum;
        if sum {
            registers.set_cnn(CnnRegister::InZero, self.input_zero.cast_unsigned());
            self.accumulators.store_registers(registers);
        }
        if self.accumulators.store.is_none() {
            registers.set_cnn(CnnRegister::OutAddr, self.output.address);
            self.output.activation.store_clamp(registers);
            if sum {
                registers.set_cnn(CnnRegister::OutZero, self.output.activation.zero.cast_unsigned());
                registers.set_cnn(CnnRegister::Divisor, self.output.divisor);
                self.output.stage.store_output(registers);
            }
        }
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        let channels = self.output_channels();
        operands.push(Role::Input, self.input.footprint());
        self.accumulators.operands(u64::from(channels), operands);
        if self.accumulators.store.is_none() {
            let bytes = u64::from(channels) * u64::from(element_bytes(self.output.element));
            let output = Footprint::dense(Space::Sram, u64::from(self.output.address), bytes);
            operands.push(Role::Output, output);
        }
    }
}

/// A sum has no records, so it cannot add a bias.
fn read_sum_accumulators(reader: &Reader<'_>) -> Result<Accumulators, OperationError> {
    let accumulators = read_accumulators(reader)?;
    if accumulators.bias {
        return Err(illegal("ACC_MODE.BIAS", 1, Rule::NotLegalHere { here: "REDUCE" }));
    }
    Ok(accumulators)
}

const NO_OUTPUT: ReduceOutput = ReduceOutput {
    address: 0,
    element: ElementType::None,
    stage: OutputStage::NONE,
    divisor: 1,
    activation: NO_ACTIVATION,
};

fn read_output(
    reader: &Reader<'_>,
    sum: bool,
    input: ElementType,
    accumulators: Accumulators,
) -> Result<ReduceOutput, OperationError> {
    if accumulators.store.is_some() {
        return Ok(NO_OUTPUT);
    }
    let element = reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, &[input], "an input of another type")?;
    let address = aligned("OUT_ADDR", reader.cnn(CnnRegister::OutAddr), element_bytes(element))?;
    if !sum {
        let (min, max) = Activation::read_clamp(reader, element)?;
        let activation = Activation { zero: 0, min, max, table: None };
        return Ok(ReduceOutput { address, element, activation, ..NO_OUTPUT });
    }
    Ok(ReduceOutput {
        address,
        element,
        stage: OutputStage::read_output(reader, &SUM_MODES)?,
        divisor: within("DIVISOR", reader.cnn(CnnRegister::Divisor), 1, 0x7fff_ffff)?,
        activation: Activation::read_no_table(reader, element)?,
    })
}
