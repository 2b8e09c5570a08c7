//! Long short-term memory with a 16-bit cell state, a step of the sequence after the other. Oracle: tflite-micro's
//! UNIDIRECTIONAL_SEQUENCE_LSTM of int8 and int16x8.
//!
//! Per gate the products with the whole sequence are one layer, the products with the hidden state one per step; both become
//! int16 of scale 2^-12, and their sum saturates. The first step has no products with states, which are 0 before it.

use cnnip_graph::{ElementType, Lstm, Tensor};
use cnnip_isa::operation::{Activation as Clamp, OutputStage};
use cnnip_isa::{ElementType as DeviceType, EltwiseFunction, RoundingMode};
use cnnip_numerics::ChannelRecord;
use cnnip_numerics::quantize::{Curve, half_table_scale, quantize_multiplier};

use super::context::{Affine, At, copy, extents, signed};
use super::eltwise::{dense, plain};
use super::product::{bias, channel_scale, constant, symmetric, weight_scales};
use crate::error::Rule;
use crate::size::index;
use cnnip_lowered::{ConvLayer, Eltwise, Stride, Sweep, Table, Transfer, ValueId, WeightSource, Work};

/// Scale of what goes into the gates' functions.
const GATE_SCALE: f32 = 1.0 / 4096.0;
/// Scale of what these functions give.
const CURVE_SCALE: f32 = 1.0 / 32768.0;
/// Most steps of a sequence: each is some twenty layers.
const MAX_STEPS: u32 = 1024;

/// The gates in the order of the operands, with their functions.
const GATES: [(&str, Curve); 4] =
    [("input", Curve::Sigmoid), ("forget", Curve::Sigmoid), ("cell", Curve::Tanh), ("output", Curve::Sigmoid)];

pub(super) fn lstm(at: &mut At<'_, '_>, op: &Lstm) -> Result<(), Rule> {
    let cell = Cell::of(at, op)?;
    let rows = cell.batch * cell.time;
    let mut sequence = vec![];
    for (gate, (name, _)) in GATES.iter().enumerate() {
        let affine = at.activation_in(0)?;
        let product = cell.product(at, (1 + gate, Some(9 + gate)), affine)?;
        let value = at.temporary_wide(&format!("{name} gate of x"), vec![rows, cell.units]);
        cell.push_product(at, product, (at.input_id(0), rows), value);
        sequence.push(value);
    }
    let mut states = None;
    for step in 0..cell.time {
        states = Some(cell.step(at, step, &sequence, states)?);
    }
    Ok(())
}

/// What all steps share.
struct Cell {
    batch: u32,
    time: u32,
    units: u32,
    time_major: bool,
    hidden: Affine,
    scale: f32,
    /// Largest magnitude of the cell state.
    limit: i32,
    mode: RoundingMode,
}

/// The states after a step.
#[derive(Clone, Copy)]
struct States {
    hidden: ValueId,
    cell: ValueId,
}

/// The numbers of a product with weights.
struct Product {
    weights: WeightSource,
    records: Vec<ChannelRecord>,
    requant: RoundingMode,
    depth: u32,
    input_zero: i32,
}

impl Cell {
    fn of(at: &At<'_, '_>, op: &Lstm) -> Result<Self, Rule> {
        let ([_], hidden) = at.alike()?;
        let (what, tensor) = ("cell state of", at.output().name.clone());
        let scale = op.cell_scale.ok_or(Rule::NoQuantization { what, tensor })?;
        if at.input(0).element == ElementType::U8 {
            let (tensor, found) = (at.input(0).name.clone(), at.input(0).element);
            return Err(Rule::Element { what: "input", tensor, found, want: "int8 or int16" });
        }
        if !is_power_of_two(scale) {
            return Err(Rule::CellScale { scale });
        }
        let (input, output) = (extents(at.input(0)), extents(at.output()));
        let (&[outer, inner, _], &[_, _, units]) = (input.as_slice(), output.as_slice()) else {
            return Err(Rule::Unsupported { operator: "Lstm", shape: at.input(0).shape.clone() });
        };
        let (batch, time) = if op.time_major { (inner, outer) } else { (outer, inner) };
        if time > MAX_STEPS {
            let (found, most) = (index(time), index(MAX_STEPS));
            return Err(Rule::TooMany { what: "steps of a sequence", found, most });
        }
        let limit = clip(op.cell_clip, scale);
        let mode = at.rounding().of_others();
        Ok(Self { batch, time, units, time_major: op.time_major, hidden, scale, limit, mode })
    }

    /// The numbers of the product of an activation with operand `weights`, and of a bias.
    fn product(
        &self,
        at: &At<'_, '_>,
        (weights, bias_operand): (usize, Option<usize>),
        input: Affine,
    ) -> Result<Product, Rule> {
        let tensor = at.input(weights);
        let source = weights_of(tensor)?;
        let requant = if input.is_wide() { RoundingMode::Reduced } else { self.mode };
        let scales = weight_scales(tensor)?;
        let biases = bias(bias_operand.map(|operand| at.input(operand)), self.units, input)?;
        let record = |(channel, bias): (usize, i64)| {
            let scale = scales.get(channel).or(scales.first()).copied().unwrap_or(1.0);
            let (multiplier, shift) = channel_scale(requant, ElementType::I8, [input.scale, scale, GATE_SCALE])?;
            Ok(ChannelRecord { bias, multiplier, shift })
        };
        let records = biases.into_iter().enumerate().map(record).collect::<Result<_, Rule>>()?;
        let depth = extents(tensor).last().copied().unwrap_or(1);
        Ok(Product { weights: source, records, requant, depth, input_zero: input.zero })
    }

    /// Appends a product with rows of an activation, to int16.
    fn push_product(&self, at: &mut At<'_, '_>, product: Product, (input, rows): (ValueId, u32), output: ValueId) {
        let Product { weights, records, requant, depth, input_zero } = product;
        let macs = u64::from(rows) * u64::from(depth) * u64::from(self.units);
        let work = ConvLayer {
            input,
            output,
            batch: 1,
            groups: 1,
            depth,
            outputs: self.units,
            depthwise: false,
            vertical: Sweep::plain(1),
            horizontal: Sweep::plain(rows),
            weights,
            input_zero,
            records,
            requant,
            activation: Clamp::full_range(0, DeviceType::Int16),
        };
        at.push(macs, Work::Conv(work));
    }

    /// Appends the layers of one step; `before` are the states it starts from.
    fn step(
        &self,
        at: &mut At<'_, '_>,
        step: u32,
        sequence: &[ValueId],
        before: Option<States>,
    ) -> Result<States, Rule> {
        let mut gates = vec![];
        for (gate, &products) in sequence.iter().enumerate() {
            gates.push(self.gate(at, (step, gate), products, before)?);
        }
        let &[input, forget, candidate, output] = gates.as_slice() else {
            return Err(Rule::Internal { what: "a cell without four gates".into() });
        };
        let cell = self.cell(at, step, [input, forget, candidate], before)?;
        let squashed = self.wide(at, step, "squashed");
        self.curve(at, (cell, self.scale), Curve::Tanh, squashed)?;
        let hidden = if self.time == 1 {
            at.output_id()
        } else {
            at.temporary_output(&format!("hidden {step}"), vec![self.batch, self.units])
        };
        let stage = self.stage(f64::from(CURVE_SCALE) * f64::from(CURVE_SCALE) / f64::from(self.hidden.scale))?;
        self.push(at, EltwiseFunction::Mul, [squashed, output], hidden, (stage, self.hidden.full_range()));
        if self.time > 1 {
            self.put(at, step, hidden);
        }
        Ok(States { hidden, cell })
    }

    /// The function of a gate's sum.
    fn gate(
        &self,
        at: &mut At<'_, '_>,
        (step, gate): (u32, usize),
        products: ValueId,
        before: Option<States>,
    ) -> Result<ValueId, Rule> {
        let (name, curve) = GATES[gate];
        let mut sum = self.take(at, (step, name), products);
        if let Some(States { hidden, .. }) = before {
            let product = self.product(at, (5 + gate, None), self.hidden)?;
            let recurrent = self.wide(at, step, &format!("{name} gate of hidden"));
            self.push_product(at, product, (hidden, self.batch), recurrent);
            let both = self.wide(at, step, &format!("{name} gate"));
            self.push(at, EltwiseFunction::Add, [sum, recurrent], both, (OutputStage::NONE, FULL));
            sum = both;
        }
        let value = self.wide(at, step, name);
        self.curve(at, (sum, GATE_SCALE), curve, value)?;
        Ok(value)
    }

    /// The cell state: what is kept of the last one, and what is new.
    fn cell(
        &self,
        at: &mut At<'_, '_>,
        step: u32,
        [input, forget, candidate]: [ValueId; 3],
        before: Option<States>,
    ) -> Result<ValueId, Rule> {
        let clipped = Clamp { min: -self.limit, max: self.limit.min(FULL.max), ..FULL };
        let state = self.wide(at, step, "cell state");
        let new_scale = self.stage(f64::from(CURVE_SCALE) * f64::from(CURVE_SCALE) / f64::from(self.scale))?;
        let Some(States { cell, .. }) = before else {
            self.push(at, EltwiseFunction::Mul, [input, candidate], state, (new_scale, clipped));
            return Ok(state);
        };
        let [kept, new] = ["kept", "new"].map(|name| self.wide(at, step, name));
        let kept_scale = self.stage(CURVE_SCALE.into())?;
        self.push(at, EltwiseFunction::Mul, [forget, cell], kept, (kept_scale, FULL));
        self.push(at, EltwiseFunction::Mul, [input, candidate], new, (new_scale, FULL));
        self.push(at, EltwiseFunction::Add, [kept, new], state, (OutputStage::NONE, clipped));
        Ok(state)
    }

    fn wide(&self, at: &mut At<'_, '_>, step: u32, what: &str) -> ValueId {
        at.temporary_wide(&format!("{what} {step}"), vec![self.batch, self.units])
    }

    fn stage(&self, real: f64) -> Result<OutputStage, Rule> {
        let scale = quantize_multiplier(real)?;
        Ok(OutputStage { mode: self.mode, multiplier: scale.multiplier.cast_unsigned(), shift: scale.shift })
    }

    /// Appends a function of two values of a step.
    fn push(
        &self,
        at: &mut At<'_, '_>,
        function: EltwiseFunction,
        inputs: [ValueId; 2],
        output: ValueId,
        last: (OutputStage, Clamp),
    ) {
        let inputs = inputs.map(|value| dense(value, &self.extents())).to_vec();
        at.push(0, Work::Eltwise(plain(function, inputs, (output, self.extents()), last)));
    }

    /// Appends a lookup in a half table, of a value with this scale.
    fn curve(
        &self,
        at: &mut At<'_, '_>,
        (input, scale): (ValueId, f32),
        curve: Curve,
        output: ValueId,
    ) -> Result<(), Rule> {
        let (multiplier, shift) = half_table_scale(scale, curve)?;
        let unscaled = (OutputStage::NONE, Clamp { zero: 0, min: 0, max: 0, table: None });
        let work =
            plain(EltwiseFunction::Pass, vec![dense(input, &self.extents())], (output, self.extents()), unscaled);
        let table = Some(Table::Half { curve, multiplier, shift });
        at.push(0, Work::Eltwise(Eltwise { table, ..work }));
        Ok(())
    }

    fn extents(&self) -> Vec<u32> {
        vec![1, self.batch, self.units]
    }

    /// The rows of a step, of values for the whole sequence.
    fn take(&self, at: &mut At<'_, '_>, (step, name): (u32, &str), sequence: ValueId) -> ValueId {
        if self.time == 1 {
            return sequence;
        }
        let value = self.wide(at, step, &format!("{name} gate of x"));
        let (start, apart) = self.place(step);
        let transfer = copy(sequence, value, &self.rows(apart, self.units));
        at.transfer(Transfer { start, ..transfer });
        value
    }

    /// Puts the hidden state of a step into the output.
    fn put(&self, at: &mut At<'_, '_>, step: u32, hidden: ValueId) {
        let (offset, apart) = self.place(step);
        let transfer = copy(hidden, at.output_id(), &self.rows(self.units, apart));
        at.transfer(Transfer { offset, ..transfer });
    }

    /// Where the first row of a step is in a sequence, and the distance to the next.
    fn place(&self, step: u32) -> (u32, u32) {
        if self.time_major {
            (step * self.batch * self.units, self.units)
        } else {
            (step * self.units, self.time * self.units)
        }
    }

    fn rows(&self, from: u32, to: u32) -> [Stride; 2] {
        [Stride { count: self.batch, from, to }, Stride { count: self.units, from: 1, to: 1 }]
    }
}

/// All values of int16.
const FULL: Clamp = Clamp { zero: 0, min: -0x8000, max: 0x7fff, table: None };

/// The largest magnitude of the cell state in its integers, cut off; one more than int16 holds for none.
fn clip(real: f32, scale: f32) -> i32 {
    let steps = (f64::from(real) / f64::from(scale)).min(f64::from(i16::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 32767, and cut off as the oracle does")]
    let whole = steps as i32;
    if whole > 0 { whole } else { 0x8000 }
}

fn is_power_of_two(scale: f32) -> bool {
    scale.is_normal() && scale > 0.0 && scale.to_bits().trailing_zeros() >= f32::MANTISSA_DIGITS - 1
}

/// Weights of 8 bits without a zero point.
fn weights_of(tensor: &Tensor) -> Result<WeightSource, Rule> {
    if tensor.element != ElementType::I8 {
        let (name, found) = (tensor.name.clone(), tensor.element);
        return Err(Rule::Element { what: "weights", tensor: name, found, want: "int8" });
    }
    symmetric(tensor)?;
    Ok(WeightSource { data: signed(tensor.element, constant("weights", tensor)?), element: DeviceType::Int8, zero: 0 })
}
