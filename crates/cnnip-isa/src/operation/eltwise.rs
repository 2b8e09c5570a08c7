//! `ELTWISE` and `TABLE`.

use super::map::{INPUT_NAMES, MapNames};
use super::reader::{Reader, illegal, within, within_signed, zero_range};
use super::{Activation, FeatureMap, Footprint, Operands, OperationError, OutputStage, Role, Rule, Space, Table};
use crate::{CnnRegister, ElementType, EltwiseFunction, RegisterFile, RoundingMode, cnn_field};

/// One input of an element-wise operation: its zero point and scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Where the input is; its size and channels are those of the output.
    pub map: FeatureMap,
    /// One channel serves every output channel.
    pub broadcast: bool,
    /// Subtracted from every element.
    pub zero: i32,
    /// Scaling after the pre-shift.
    pub scale: OutputStage,
}

impl Stage {
    /// True if every element it reads lies where the output's element goes.
    pub(super) fn is_at(&self, output: &FeatureMap) -> bool {
        self.map.is_at(output) && (!self.broadcast || output.channels == 1)
    }

    fn footprint(&self) -> Footprint {
        if !self.broadcast {
            return self.map.footprint();
        }
        FeatureMap { channels: 1, ..self.map }.footprint()
    }
}

/// An element-wise operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eltwise {
    /// What is computed. For `affine` the scales of the inputs and of the output are its binary32 factors and its constant,
    /// and there is no shift.
    pub function: EltwiseFunction,
    /// Left shift of (x - zero) before the input stages.
    pub pre_shift: u32,
    /// First input.
    pub first: Stage,
    /// Second input; `None` for `pass`.
    pub second: Option<Stage>,
    /// Output map.
    pub output: FeatureMap,
    /// Scaling of the combined value.
    pub stage: OutputStage,
    /// Zero point, clamp and table.
    pub activation: Activation,
}

/// What a family of functions allows.
struct Rules {
    here: &'static str,
    inputs: &'static [ElementType],
    second_inputs: &'static [ElementType],
    outputs: &'static [ElementType],
    input_modes: &'static [RoundingMode],
    output_modes: &'static [RoundingMode],
    max_pre_shift: u32,
}

const STAGED: Rules = Rules {
    here: "ELTWISE",
    inputs: &INPUTS,
    second_inputs: &OUTPUTS,
    outputs: &OUTPUTS,
    input_modes: &INPUT_MODES,
    output_modes: &OUTPUT_MODES,
    max_pre_shift: MAX_PRE_SHIFT,
};

const AFFINE: Rules = Rules {
    here: "ELTWISE affine",
    inputs: &[ElementType::Int8, ElementType::Uint8],
    second_inputs: &[ElementType::Int8],
    outputs: &[ElementType::Int8],
    input_modes: &[RoundingMode::Float],
    output_modes: &[RoundingMode::Float],
    max_pre_shift: 0,
};

const INPUTS: [ElementType; 3] = [ElementType::Int8, ElementType::Uint8, ElementType::Int16];
const OUTPUTS: [ElementType; 2] = [ElementType::Int8, ElementType::Int16];
const OUTPUT_MODES: [RoundingMode; 5] =
    [RoundingMode::None, RoundingMode::Double, RoundingMode::Single, RoundingMode::Float, RoundingMode::FloatZero];
const INPUT_MODES: [RoundingMode; 3] = [RoundingMode::None, RoundingMode::Double, RoundingMode::Single];

/// An 8-bit difference shifted by more would leave 32 bits.
const MAX_PRE_SHIFT: u32 = 22;

const SECOND_NAMES: MapNames = MapNames {
    address: "IN2_ADDR",
    width: "OUT_SIZE.W",
    height: "OUT_SIZE.H",
    channels: "OUT_C",
    row: "IN2_ROW",
    pixel: "IN2_PIX",
};

impl Eltwise {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let code = reader.field(CnnRegister::Eltwise, cnn_field::ELTWISE_FUNCTION);
        let function = reader.choice("ELTWISE.FUNCTION", "EltwiseFunction", code, EltwiseFunction::from_code)?;
        let rules = if function == EltwiseFunction::Affine { &AFFINE } else { &STAGED };
        let input = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, rules.inputs, rules.here)?;
        let element = reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, rules.outputs, rules.here)?;
        let output = FeatureMap::read_output(reader, element, None)?;
        let second = if function == EltwiseFunction::Pass { None } else { Some(read_second(reader, &output, rules)?) };
        let pre_shift = reader.field(CnnRegister::Eltwise, cnn_field::ELTWISE_PRE_SHIFT);
        let stage = OutputStage::read_output(reader, rules.output_modes)?;
        Ok(Self {
            function,
            pre_shift: within("ELTWISE.PRE_SHIFT", pre_shift, 0, rules.max_pre_shift)?,
            first: read_first(reader, input, &output, rules)?,
            second,
            output,
            stage,
            // A uint8 result may pass through 16 bits for the sake of its zero point.
            activation: match stage.mode {
                RoundingMode::FloatZero => Activation::read_any_zero(reader, element)?,
                _ => Activation::read(reader, element)?,
            },
        })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let second = self.second.map_or(ElementType::None, |s| s.map.element);
        let format = cnn_field::FORMAT_IN.put(self.first.map.element.code())
            | cnn_field::FORMAT_IN2.put(second.code())
            | cnn_field::FORMAT_OUT.put(self.output.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        let in2_mode = self.second.map_or(RoundingMode::None, |s| s.scale.mode);
        let eltwise = cnn_field::ELTWISE_FUNCTION.put(self.function.code())
            | cnn_field::ELTWISE_PRE_SHIFT.put(self.pre_shift)
            | cnn_field::ELTWISE_IN_MODE.put(self.first.scale.mode.code())
            | cnn_field::ELTWISE_IN2_MODE.put(in2_mode.code());
        registers.set_cnn(CnnRegister::Eltwise, eltwise);
        let broadcast = cnn_field::BROADCAST_IN.put(u32::from(self.first.broadcast))
            | cnn_field::BROADCAST_IN2.put(self.second.map_or(0, |s| u32::from(s.broadcast)));
        registers.set_cnn(CnnRegister::Broadcast, broadcast);
        store_stage(&self.first, &FIRST_REGISTERS, registers);
        if let Some(second) = &self.second {
            store_stage(second, &SECOND_REGISTERS, registers);
        }
        self.output.store_output(registers);
        registers.set_cnn(CnnRegister::OutC, self.output.channels);
        self.stage.store_output(registers);
        self.activation.store(registers);
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Input, self.first.footprint());
        if let Some(second) = &self.second {
            operands.push(Role::SecondInput, second.footprint());
        }
        if let Some(table) = self.activation.table {
            operands.push(Role::Table, table.footprint());
        }
        operands.push(Role::Output, self.output.footprint());
    }
}

/// The registers of one input: address, row, pixel, zero, multiplier, shift.
type StageRegisters = [CnnRegister; 6];
const FIRST_REGISTERS: StageRegisters = [
    CnnRegister::InAddr,
    CnnRegister::InRow,
    CnnRegister::InPix,
    CnnRegister::InZero,
    CnnRegister::InMult,
    CnnRegister::InShift,
];
const SECOND_REGISTERS: StageRegisters = [
    CnnRegister::In2Addr,
    CnnRegister::In2Row,
    CnnRegister::In2Pix,
    CnnRegister::In2Zero,
    CnnRegister::In2Mult,
    CnnRegister::In2Shift,
];

fn store_stage(stage: &Stage, registers: &StageRegisters, file: &mut RegisterFile) {
    let [address, row, pixel, zero, multiplier, shift] = *registers;
    file.set_cnn(address, stage.map.address);
    file.set_cnn(row, stage.map.row);
    file.set_cnn(pixel, stage.map.pixel);
    file.set_cnn(zero, stage.zero.cast_unsigned());
    if stage.scale.mode != RoundingMode::None {
        file.set_cnn(multiplier, stage.scale.multiplier);
        file.set_cnn(shift, stage.scale.shift.cast_unsigned());
    }
}

fn read_stage(
    reader: &Reader<'_>,
    registers: &StageRegisters,
    element: ElementType,
    output: &FeatureMap,
    (mode_name, mode, legal): (&'static str, u32, &[RoundingMode]),
) -> Result<Stage, OperationError> {
    let [address, row, pixel, zero, multiplier, shift] = *registers;
    let scale = OutputStage {
        mode: reader.choice(mode_name, "RoundingMode", mode, RoundingMode::from_code)?,
        multiplier: reader.cnn(multiplier),
        shift: reader.signed(shift),
    };
    Ok(Stage {
        map: FeatureMap {
            address: reader.cnn(address),
            row: reader.cnn(row),
            pixel: reader.cnn(pixel),
            element,
            ..*output
        },
        broadcast: false,
        zero: within_signed(zero.name(), reader.signed(zero), zero_range(element))?,
        scale: scale.check(mode_name, legal)?,
    })
}

fn read_first(
    reader: &Reader<'_>,
    element: ElementType,
    output: &FeatureMap,
    rules: &Rules,
) -> Result<Stage, OperationError> {
    let mode = reader.field(CnnRegister::Eltwise, cnn_field::ELTWISE_IN_MODE);
    let mode = ("ELTWISE.IN_MODE", mode, rules.input_modes);
    let stage = read_stage(reader, &FIRST_REGISTERS, element, output, mode)?;
    stage.map.check(reader.target, &INPUT_NAMES)?;
    Ok(Stage { broadcast: reader.field(CnnRegister::Broadcast, cnn_field::BROADCAST_IN) == 1, ..stage })
}

fn read_second(reader: &Reader<'_>, output: &FeatureMap, rules: &Rules) -> Result<Stage, OperationError> {
    let element = reader.element("FORMAT.IN2", cnn_field::FORMAT_IN2, rules.second_inputs, rules.here)?;
    let mode = reader.field(CnnRegister::Eltwise, cnn_field::ELTWISE_IN2_MODE);
    let mode = ("ELTWISE.IN2_MODE", mode, rules.input_modes);
    let stage = read_stage(reader, &SECOND_REGISTERS, element, output, mode)?;
    stage.map.check(reader.target, &SECOND_NAMES)?;
    Ok(Stage { broadcast: reader.field(CnnRegister::Broadcast, cnn_field::BROADCAST_IN2) == 1, ..stage })
}

/// What a half table does to its input first: `floor(x * multiplier / 2^shift + 1/2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableScale {
    /// Multiplier, 0 to 65535.
    pub multiplier: u32,
    /// Right shift, 0 to 31.
    pub shift: u32,
}

/// Largest multiplier of a half table's input.
const MAX_TABLE_MULTIPLIER: u32 = 65_535;
/// Largest right shift of a half table's input.
const MAX_TABLE_SHIFT: u32 = 31;

impl TableScale {
    fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        Ok(Self {
            multiplier: within("IN_MULT", reader.cnn(CnnRegister::InMult), 0, MAX_TABLE_MULTIPLIER)?,
            shift: within("IN_SHIFT", reader.cnn(CnnRegister::InShift), 0, MAX_TABLE_SHIFT)?,
        })
    }

    fn store(self, registers: &mut RegisterFile) {
        registers.set_cnn(CnnRegister::InMult, self.multiplier);
        registers.set_cnn(CnnRegister::InShift, self.shift);
    }
}

/// A table lookup of every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Input map; its size and channels are those of the output.
    pub input: FeatureMap,
    /// Output map.
    pub output: FeatureMap,
    /// The table.
    pub table: Table,
    /// Scale of the input; a half table has one, others have none.
    pub scale: Option<TableScale>,
}

impl Lookup {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, OperationError> {
        let element = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, &OUTPUTS, "TABLE")?;
        reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, &[element], "an input of another type")?;
        let output = FeatureMap::read_output(reader, element, None)?;
        let input = FeatureMap {
            address: reader.cnn(CnnRegister::InAddr),
            row: reader.cnn(CnnRegister::InRow),
            pixel: reader.cnn(CnnRegister::InPix),
            ..output
        };
        input.check(reader.target, &INPUT_NAMES)?;
        let none = illegal("ACTIVATION.TABLE", 0, Rule::NotLegalHere { here: "TABLE" });
        let table = Table::read(reader, element)?.ok_or(none)?;
        let scale = if table.is_half() { Some(TableScale::read(reader)?) } else { None };
        Ok(Self { input, output, table, scale })
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let format =
            cnn_field::FORMAT_IN.put(self.input.element.code()) | cnn_field::FORMAT_OUT.put(self.output.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        registers.set_cnn(CnnRegister::InAddr, self.input.address);
        registers.set_cnn(CnnRegister::InRow, self.input.row);
        registers.set_cnn(CnnRegister::InPix, self.input.pixel);
        self.output.store_output(registers);
        registers.set_cnn(CnnRegister::OutC, self.output.channels);
        Table::store(Some(self.table), registers);
        if let Some(scale) = self.scale {
            scale.store(registers);
        }
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Input, self.input.footprint());
        operands.push(
            Role::Table,
            Footprint::dense(Space::Sram, u64::from(self.table.address), u64::from(self.table.bytes())),
        );
        operands.push(Role::Output, self.output.footprint());
    }
}
