//! `POOL_MAX` and `POOL_AVERAGE`.

use super::map::SUM_MODES;
use super::reader::{Reader, illegal, within_signed, zero_range};
use super::{Activation, FeatureMap, Operands, OperationError, OutputStage, Role, Rule, Window};
use crate::{CnnRegister, ElementType, OperationCode, RegisterFile, cnn_field};

/// What a window yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; padded positions are ignored.
    Max,
    /// The average.
    Average {
        /// Subtracted from every element.
        input_zero: i32,
        /// Divide by the whole window instead of the valid positions.
        count_pad: bool,
        /// Scaling instead of division, unless its mode is `None`.
        stage: OutputStage,
    },
}

/// A pooling operation; input and output have the same type and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Maximum or average.
    pub kind: PoolKind,
    /// Input map.
    pub input: FeatureMap,
    /// Output map.
    pub output: FeatureMap,
    /// Window geometry; no dilation.
    pub window: Window,
    /// Zero point (0 for the maximum) and clamp.
    pub activation: Activation,
}

const ELEMENTS: [ElementType; 2] = [ElementType::Int8, ElementType::Int16];

impl Pool {
    /// `POOL_MAX` or `POOL_AVERAGE`.
    pub fn code(&self) -> OperationCode {
        match self.kind {
            PoolKind::Max => OperationCode::PoolMax,
            PoolKind::Average { .. } => OperationCode::PoolAverage,
        }
    }

    pub(super) fn read(code: OperationCode, reader: &Reader<'_>) -> Result<Self, OperationError> {
        let element = reader.element("FORMAT.IN", cnn_field::FORMAT_IN, &ELEMENTS, code.name())?;
        reader.element("FORMAT.OUT", cnn_field::FORMAT_OUT, &[element], "an input of another type")?;
        let input = FeatureMap::read_input(reader, element)?;
        let max = code == OperationCode::PoolMax;
        let pool = Self {
            kind: if max { PoolKind::Max } else { read_average(reader, element)? },
            input,
            output: FeatureMap::read_output(reader, element, Some(input.channels))?,
            window: Window::read(reader, reader.target.max_pool_window, false)?,
            activation: if max {
                let (min, max) = Activation::read_clamp(reader, element)?;
                Activation { zero: 0, min, max, table: None }
            } else {
                Activation::read_no_table(reader, element)?
            },
        };
        pool.window.check_far_padding(&pool.input, &pool.output, reader.target)?;
        pool.check_windows()?;
        Ok(pool)
    }

    /// No window may cover padding only.
    fn check_windows(&self) -> Result<(), OperationError> {
        let w = &self.window;
        let rows = (self.output.height, w.stride_y, w.kernel_h, w.top, self.input.height, "OUT_SIZE.H");
        let columns = (self.output.width, w.stride_x, w.kernel_w, w.left, self.input.width, "OUT_SIZE.W");
        for (count, stride, kernel, before, size, name) in [rows, columns] {
            // Windows move monotonically, so the first and last decide for all.
            let empty = |&index: &u32| Window::covered(index, stride, kernel, before, size).is_empty();
            if let Some(output) = [0, count - 1].into_iter().find(empty) {
                return Err(illegal(name, count, Rule::EmptyWindow { output }));
            }
        }
        Ok(())
    }

    pub(super) fn store(&self, registers: &mut RegisterFile) {
        let format =
            cnn_field::FORMAT_IN.put(self.input.element.code()) | cnn_field::FORMAT_OUT.put(self.output.element.code());
        registers.set_cnn(CnnRegister::Format, format);
        self.input.store_input(registers);
        self.output.store_output(registers);
        self.window.store(registers, false);
        match self.kind {
            PoolKind::Max => self.activation.store_clamp(registers),
            PoolKind::Average { input_zero, count_pad, stage } => {
                registers.set_cnn(CnnRegister::InZero, input_zero.cast_unsigned());
                registers.set_cnn(CnnRegister::Pool, cnn_field::POOL_COUNT_PAD.put(u32::from(count_pad)));
                stage.store_output(registers);
                self.activation.store_no_table(registers);
            }
        }
    }

    pub(super) fn operands(&self, operands: &mut Operands) {
        operands.push(Role::Input, self.input.footprint());
        operands.push(Role::Output, self.output.footprint());
    }
}

fn read_average(reader: &Reader<'_>, element: ElementType) -> Result<PoolKind, OperationError> {
    Ok(PoolKind::Average {
        input_zero: within_signed("IN_ZERO", reader.signed(CnnRegister::InZero), zero_range(element))?,
        count_pad: reader.field(CnnRegister::Pool, cnn_field::POOL_COUNT_PAD) == 1,
        stage: OutputStage::read_output(reader, &SUM_MODES)?,
    })
}
