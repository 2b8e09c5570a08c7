//! `CONV` and `DEPTHWISE`.

use super::reader::{Reader, aligned, element_bytes, illegal, type_range, within, within_signed, zero_range};
use super::{Activation, FeatureMap, Footprint, Operands, OperationError, Role, Rule, Space, Window};
use crate::{CnnRegister, ElementType, OperationCode, RegisterFile, RoundingMode, WeightLayout, cnn_field};

/// Bytes of one per-channel record: bias (int64), multiplier (32 bits), shift (int32).
pub const RECORD_BYTES: u32 = 16;
/// Bytes of one spilled accumulator.
pub const SPILL_BYTES: u32 = 8;
/// Output channels of one weight block.
pub(super) const BLOCK_CHANNELS: u32 = 16;

/// Bytes of a weight block of `CONV`: 16 output channels of 4 bytes of input channels.
pub const BLOCK_BYTES: u64 = 64;

/// Grouped or depthwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvKind {
    /// `CONV` with this many groups.
    Grouped {
        /// Groups; divides both channel counts.
        groups: u32,
    },
    /// `DEPTHWISE` with this many output channels per input channel.
    Depthwise {
        /// Channel multiplier.
        multiplier: u32,
    },
}

/// Weights in SRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// SRAM byte address, a multiple of 64.
    pub address: u32,
    /// `Int8` or `Int16`.
    pub element: ElementType,
    /// Zero point; 0 for 16 bit.
    pub zero: i32,
    /// Which blocks are stored, if not all are.
    pub sparse: Option<Sparse>,
}

/// Weight blocks that a bitmap names; the others hold the zero point in every place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// SRAM byte address of the bitmap.
    pub bitmap: u32,
    /// Stored blocks.
    pub stored: u32,
    /// The most stored blocks that 16 output channels have, or more.
    pub longest: u32,
}

/// Where accumulators start and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accumulators {
    /// SRAM address of spilled accumulators to start from.
    pub load: Option<u32>,
    /// SRAM address where accumulators are left instead of an output.
    pub store: Option<u32>,
    /// Add the bias of the records.
    pub bias: bool,
}

/// A convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Grouped or depthwise.
    pub kind: ConvKind,
    /// Input map.
    pub input: FeatureMap,
    /// Zero point of the input.
    pub input_zero: i32,
    /// What is read outside the input.
    pub pad_value: i32,
    /// Output map; only its size and channels count where accumulators are stored.
    pub output: FeatureMap,
    /// Kernel geometry.
    pub window: Window,
    /// Weights.
    pub weights: Weights,
    /// SRAM address of the per-channel records, a multiple of 16.
    pub records: u32,
    /// Start and end of the accumulators.
    pub accumulators: Accumulators,
    /// Rounding mode of the per-channel scales; `None` where accumulators are stored.
    pub requant: RoundingMode,
    /// Zero point, clamp and table of the output.
    pub activation: Activation,
}

impl Conv {
    /// `CONV` or `DEPTHWISE`.
    pub fn code(&self) -> OperationCode {
        match self.kind {
            ConvKind::Grouped { .. } => OperationCode::Conv,
            ConvKind::Depthwise { .. } => OperationCode::Depthwise,
        }
    }

    /// The layout that kind and weight type imply.
    pub fn layout(&self) -> WeightLayout {
        match (self.kind, self.weights.element) {
            (ConvKind::Depthwise { .. }, _) => WeightLayout::Depthwise,
            (ConvKind::Grouped { .. }, ElementType::Int16) => WeightLayout::Dense16,
            (ConvKind::Grouped { .. }, _) => WeightLayout::Dense8,
        }
    }

    /// True where the input has 16 bits, so that accumulators have 48.
    pub fn is_wide(&self) -> bool {
        self.input.element == ElementType::Int16
    }

    /// Groups, input channels per group, output channels per group; a depthwise convolution has a group per input channel.
    pub fn grouping(&self) -> (u32, u32, u32) {
        match self.kind {
            ConvKind::Grouped { groups } => (groups, self.input.channels / groups, self.output.channels / groups),
            ConvKind::Depthwise { multiplier } => (self.input.channels, 1, multiplier),
        }
    }

    /// Bytes of the weights in their layout, padding included.
    pub fn weight_bytes(&self) -> u64 {
        let taps = u64::from(self.window.taps());
        match self.kind {
            ConvKind::Grouped { groups } => {
                let (_, ic, oc) = self.grouping();
                let blocks = u64::from(groups) * u64::from(oc.div_ceil(BLOCK_CHANNELS)) * taps;
                blocks * u64::from(ic.div_ceil(self.block_depth())) * BLOCK_BYTES
            }
            ConvKind::Depthwise { .. } => {
                let blocks = u64::from(self.output.channels.div_ceil(BLOCK_CHANNELS));
                blocks * taps * u64::from(BLOCK_CHANNELS * element_bytes(self.weights.element))
            }
        }
    }

    /// Input channels that a weight block covers: 4 bytes of them. 1 for a depthwise convolution, which has no such blocks.
    pub fn block_depth(&self) -> u32 {
        match self.kind {
            ConvKind::Grouped { .. } => 4 / element_bytes(self.weights.element).max(1),
            ConvKind::Depthwise { .. } => 1,
        }
    }

    /// Weight blocks of 16 output channels: taps times blocks of input channels.
    pub fn row_blocks(&self) -> u32 {
        let (_, inputs, _) = self.grouping();
        self.window.taps().saturating_mul(inputs.div_ceil(self.block_depth()))
    }

    /// Bytes of the weights that are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.weights.sparse.map_or(self.weight_bytes(), |sparse| u64::from(sparse.stored) * BLOCK_BYTES)
    }

    /// Multiply-accumulates of the operation, padding positions included.
    pub fn macs(&self) -> u64 {
        let (_, ic, _) = self.grouping();
        self.output.elements() * u64::from(self.window.taps()) * u64::from(ic)
    }

    /// True if the records are read at all.
    pub fn reads_records(&self) -> bool {
        self.accumulators.bias || self.accumulators.store.is_none()
    }

    pub(super) fn read(code: OperationCode, reader: &Reader<'_>) -> Result<Self, OperationError> {
        let input_element = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, &INPUTS, code.name())?;
        let accumulators = read_accumulators(reader)?;
        let output_element = match accumulators.store {
            Some(_) => ElementType::None,
            None => {
                reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, outputs_of(input_element), "this input type")?
            }
        };
        let input = FeatureMap::read_input(reader, input_element)?;
        let conv = Self {
            kind: read_kind(code, reader),
            input,
            input_zero: within_signed("IN_ZERO", reader.signed(CnnRegister::InZero), zero_range(input_element))?,
            pad_value: within_signed("PAD_VALUE", reader.signed(CnnRegister::PadValue), type_range(input_element))?,
            output: read_output(reader, output_element)?,
            window: Window::read(reader, reader.target.max_kernel, true)?,
            weights: read_weights(reader, input_element)?,
            records: aligned("REC_ADDR", reader.cnn(CnnRegister::RecAddr), RECORD_BYTES)?,
            accumulators,
            requant: read_requant(reader, input_element, output_element)?,
            activation: match accumulators.store {
                Some(_) => NO_ACTIVATION,
                None => Activation::read(reader, output_element)?,
            },
        };
        conv.check(reader)?;
        Ok(conv)
    }

    fn check(&self, reader: &Reader<'_>) -> Result<(), OperationError> {
        self.check_channels()?;
        self.check_layout(reader)?;
        self.window.check_far_padding(&self.input, &self.output, reader.target)?;
        let spilled = self.output.elements() * u64::from(SPILL_BYTES);
        if self.weight_bytes().max(spilled) > u64::from(u32::MAX) {
            return Err(illegal("OUT_C", self.output.channels, Rule::TooLarge));
        }
        Ok(())
    }

    fn check_channels(&self) -> Result<(), OperationError> {
        let (ic, oc) = (self.input.channels, self.output.channels);
        match self.kind {
            ConvKind::Grouped { groups } => {
                within("GROUPS", groups, 1, ic)?;
                aligned("IN_C", ic, groups)?;
                aligned("OUT_C", oc, groups)?;
            }
            ConvKind::Depthwise { multiplier } => {
                let expected = u64::from(ic) * u64::from(multiplier);
                if multiplier == 0 || u64::from(oc) != expected {
                    return Err(illegal("OUT_C", oc, Rule::Equal { expected, because: "IN_C * MULTIPLIER" }));
                }
            }
        }
        Ok(())
    }

    fn check_layout(&self, reader: &Reader<'_>) -> Result<(), OperationError> {
        let code = reader.field(CnnRegister::WMode, cnn_field::W_MODE_LAYOUT);
        let layout = reader.choice("W_MODE.LAYOUT", "WeightLayout", code, WeightLayout::from_code)?;
        if layout != self.layout() {
            let expected = u64::from(self.layout().code());
            return Err(illegal(
                "W_MODE.LAYOUT",
                code,
                Rule::Equal { expected, because: "the operation and FORMAT.WEIGHTS" },
            ));
        }
        match (self.kind, self.weights.sparse) {
            (_, None) => Ok(()),
            (ConvKind::Depthwise { .. }, Some(_)) => {
                Err(illegal("W_MODE.SPARSE", 1, Rule::NotLegalHere { here: "DEPTHWISE" }))
            }
            (ConvKind::Grouped { .. }, Some(sparse)) => self.check_sparse(&sparse),
        }
    }

    fn check_sparse(&self, sparse: &Sparse) -> Result<(), OperationError> {
        let blocks = u32::try_from(self.weight_bytes() / BLOCK_BYTES).unwrap_or(u32::MAX);
        within("W_STORED", sparse.stored, 0, blocks)?;
        within("W_LONGEST", sparse.longest, 0, self.row_blocks())?;
        Ok(())
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let format = cnn_field::FORMAT_IN.put(self.input.element.code())
            | cnn_field::FORMAT_OUT.put(self.output.element.code())
            | cnn_field::FORMAT_WEIGHTS.put(self.weights.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        self.input.store_input(registers);
        registers.set_cnn(CnnRegister::InZero, self.input_zero.cast_unsigned());
        registers.set_cnn(CnnRegister::PadValue, self.pad_value.cast_unsigned());
        self.output.store_output(registers);
        registers.set_cnn(CnnRegister::OutC, self.output.channels);
        self.window.store(registers, true);
        match self.kind {
            ConvKind::Grouped { groups } => registers.set_cnn(CnnRegister::Groups, groups),
            ConvKind::Depthwise { multiplier } => registers.set_cnn(CnnRegister::Multiplier, multiplier),
        }
        registers.set_cnn(CnnRegister::WAddr, self.weights.address);
        let sparse = cnn_field::W_MODE_SPARSE.put(u32::from(self.weights.sparse.is_some()));
        registers.set_cnn(CnnRegister::WMode, cnn_field::W_MODE_LAYOUT.put(self.layout().code()) | sparse);
        if let Some(sparse) = self.weights.sparse {
            registers.set_cnn(CnnRegister::WBitmap, sparse.bitmap);
            registers.set_cnn(CnnRegister::WStored, sparse.stored);
            registers.set_cnn(CnnRegister::WLongest, sparse.longest);
        }
        registers.set_cnn(CnnRegister::WZero, self.weights.zero.cast_unsigned());
        registers.set_cnn(CnnRegister::RecAddr, self.records);
        self.accumulators.store_registers(registers);
        if self.accumulators.store.is_none() {
            registers.set_cnn(CnnRegister::Requant, cnn_field::REQUANT_MODE.put(self.requant.code()));
            self.activation.store(registers);
        }
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        let sram = |address: u32, bytes: u64| Footprint::dense(Space::Sram, u64::from(address), bytes);
        operands.push(Role::Input, self.input.footprint());
        if self.stored_bytes() > 0 {
            operands.push(Role::Weights, sram(self.weights.address, self.stored_bytes()));
        }
        if let Some(sparse) = self.weights.sparse {
            operands.push(Role::Bitmap, sram(sparse.bitmap, (self.weight_bytes() / BLOCK_BYTES).div_ceil(8)));
        }
        if self.reads_records() {
            let bytes = u64::from(self.output.channels) * u64::from(RECORD_BYTES);
            operands.push(Role::Records, sram(self.records, bytes));
        }
        if let Some(table) = self.activation.table {
            operands.push(Role::Table, table.footprint());
        }
        self.accumulators.operands(self.output.elements(), operands);
        if self.accumulators.store.is_none() {
            operands.push(Role::Output, self.output.footprint());
        }
    }
}

impl Accumulators {
    /// Pushes the spilled accumulators of `elements` outputs.
    pub(super) fn operands(&self, elements: u64, operands: &mut Operands) {
        let spill = |address: u32| Footprint::dense(Space::Sram, u64::from(address), elements * u64::from(SPILL_BYTES));
        if let Some(address) = self.load {
            operands.push(Role::AccumulatorsIn, spill(address));
        }
        if let Some(address) = self.store {
            operands.push(Role::AccumulatorsOut, spill(address));
        }
    }

    pub(super) fn store_registers(&self, registers: &mut RegisterFile) {
        let mode = cnn_field::ACC_MODE_LOAD.put(u32::from(self.load.is_some()))
            | cnn_field::ACC_MODE_STORE.put(u32::from(self.store.is_some()))
            | cnn_field::ACC_MODE_BIAS.put(u32::from(self.bias));
        registers.set_cnn(CnnRegister::AccMode, mode);
        if let Some(address) = self.load {
            registers.set_cnn(CnnRegister::AccInAddr, address);
        }
        if let Some(address) = self.store {
            registers.set_cnn(CnnRegister::AccOutAddr, address);
        }
    }
}

const INPUTS: [ElementType; 3] = [ElementType::Int8, ElementType::Uint8, ElementType::Int16];
pub(super) const OUTPUTS: [ElementType; 2] = [ElementType::Int8, ElementType::Int16];

/// The activation of an operation that stores accumulators: it has none.
pub(super) const NO_ACTIVATION: Activation = Activation { zero: 0, min: 0, max: 0, table: None };

fn read_kind(code: OperationCode, reader: &Reader<'_>) -> ConvKind {
    if code == OperationCode::Depthwise {
        ConvKind::Depthwise { multiplier: reader.cnn(CnnRegister::Multiplier) }
    } else {
        ConvKind::Grouped { groups: reader.cnn(CnnRegister::Groups) }
    }
}

/// The output map; where accumulators are stored only its size and channels are looked at.
fn read_output(reader: &Reader<'_>, element: ElementType) -> Result<FeatureMap, OperationError> {
    if element != ElementType::None {
        return FeatureMap::read_output(reader, element, None);
    }
    let size = reader.cnn(CnnRegister::OutSize);
    let map = FeatureMap {
        width: cnn_field::OUT_SIZE_W.get(size),
        height: cnn_field::OUT_SIZE_H.get(size),
        channels: reader.cnn(CnnRegister::OutC),
        ..FeatureMap::dense(0, [0, 0, 0], element)
    };
    map.check(reader.target, &super::map::OUTPUT_NAMES)?;
    Ok(map)
}

pub(super) fn read_accumulators(reader: &Reader<'_>) -> Result<Accumulators, OperationError> {
    let flag = |field| reader.field(CnnRegister::AccMode, field) == 1;
    let address = |name, register| aligned(name, reader.cnn(register), SPILL_BYTES);
    Ok(Accumulators {
        load: if flag(cnn_field::ACC_MODE_LOAD) { Some(address("ACC_IN_ADDR", CnnRegister::AccInAddr)?) } else { None },
        store: if flag(cnn_field::ACC_MODE_STORE) {
            Some(address("ACC_OUT_ADDR", CnnRegister::AccOutAddr)?)
        } else {
            None
        },
        bias: flag(cnn_field::ACC_MODE_BIAS),
    })
}

fn read_weights(reader: &Reader<'_>, input: ElementType) -> Result<Weights, OperationError> {
    let legal: &[ElementType] = if input == ElementType::Int16 { &OUTPUTS } else { &OUTPUTS[..1] };
    let element = reader.element("FORMAT.WEIGHTS", cnn_field::FORMAT_WEIGHTS, legal, "this input type")?;
    Ok(Weights {
        address: aligned("W_ADDR", reader.cnn(CnnRegister::WAddr), 64)?,
        element,
        zero: within_signed("W_ZERO", reader.signed(CnnRegister::WZero), zero_range(element))?,
        sparse: (reader.field(CnnRegister::WMode, cnn_field::W_MODE_SPARSE) == 1).then(|| Sparse {
            bitmap: reader.cnn(CnnRegister::WBitmap),
            stored: reader.cnn(CnnRegister::WStored),
            longest: reader.cnn(CnnRegister::WLongest),
        }),
    })
}

/// The rounding mode, if `numerics.md` lists it for these types; not looked at where accumulators are stored.
fn read_requant(reader: &Reader<'_>, input: ElementType, output: ElementType) -> Result<RoundingMode, OperationError> {
    if output == ElementType::None {
        return Ok(RoundingMode::None);
    }
    let code = reader.field(CnnRegister::Requant, cnn_field::REQUANT_MODE);
    let mode = reader.choice("REQUANT.MODE", "RoundingMode", code, RoundingMode::from_code)?;
    let legal = match mode {
        RoundingMode::Double | RoundingMode::Single => true,
        RoundingMode::Float => output == ElementType::Int8,
        RoundingMode::Reduced => input == ElementType::Int16,
        RoundingMode::None | RoundingMode::FloatZero => false,
    };
    if legal { Ok(mode) } else { Err(illegal("REQUANT.MODE", code, Rule::NotLegalHere { here: "these types" })) }
}

/// The types of output that `numerics.md` lists for an input.
fn outputs_of(input: ElementType) -> &'static [ElementType] {
    match input {
        ElementType::Int8 => &OUTPUTS,
        ElementType::Int16 => &OUTPUTS[1..],
        ElementType::None | ElementType::Uint8 | ElementType::Int32 => &OUTPUTS[..1],
    }
}
