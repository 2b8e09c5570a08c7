//! Operations in work: each written down once, block by block, as `timing.md` orders it.
//!
//! [`InFlight::advance`] brings an operation to a cycle. A whole operation that has not begun may go to a fast kernel instead
//! (module `fast`), which declines what it does not do; the kernels are proven equal to the block form by test.

mod argmax;
mod conv;
mod decode;
mod dma;
mod element;
mod eltwise;
mod fast;
mod pool;
mod reduce;
mod resize;
mod scales;
mod sparse;
mod sums;

pub(crate) use decode::check_stream;
pub(crate) use fast::Fast;
pub(crate) use scales::{check_record_scales, check_register_scales};
pub(crate) use sparse::check_bitmap;

use cnnip_isa::Target;
use cnnip_isa::operation::{Operation, Space};
use cnnip_numerics::AccumulatorOverflow;
use cnnip_timing::{ArrayBlock, ArrayNest, DmaNest, Nest, Progress, ReduceNest, VectorNest};

use crate::memory::Memory;
use crate::{CommandId, FaultCause};

/// An operation between its start and its end.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) operation: Operation,
    /// The `RUN`, with its start cycle.
    pub(crate) at: CommandId,
    nest: Nest,
    done: Progress,
    /// Accumulators of the block in work; empty before its first step.
    accumulators: Vec<i64>,
    target: &'static Target,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        (self.operation, self.at, self.done) == (other.operation, other.at, other.done)
            && self.accumulators == other.accumulators
    }
}

/// The accumulators of a block in work, for inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulating<'a> {
    /// Blocks the operation has retired: the number of the one in work.
    pub block: u64,
    /// Steps done of that block.
    pub steps: u64,
    /// Its accumulators: `[column][channel]` of a convolution or pool, `[channel]` of a reduction.
    pub values: &'a [i64],
}

/// An overflow found while working: the cycle of the fault and what overflowed.
pub(crate) type Overflow = (u64, FaultCause);

impl InFlight {
    /// An operation that starts; `nest` is its own.
    pub(crate) fn new(operation: Operation, nest: Nest, at: CommandId, target: &'static Target) -> Self {
        Self { operation, at, nest, done: Progress { blocks: 0, steps: 0 }, accumulators: Vec::new(), target }
    }

    /// The cycle in which the next command may start.
    pub(crate) fn end(&self) -> u64 {
        self.at.cycle.saturating_add(self.nest.cycles())
    }

    /// The accumulators in work.
    pub(crate) fn accumulating(&self) -> Option<Accumulating<'_>> {
        let Progress { blocks: block, steps } = self.done;
        (steps > 0).then_some(Accumulating { block, steps, values: &self.accumulators })
    }

    /// Does all steps that are done by the end of cycle `to - 1`.
    ///
    /// # Errors
    /// An overflow; the block is not written, and the operation must be dropped.
    pub(crate) fn advance(&mut self, memory: &mut Memory, fast: &mut Fast, to: u64) -> Result<(), Overflow> {
        let want = self.nest.progress(to.saturating_sub(self.at.cycle));
        let untouched = self.done == (Progress { blocks: 0, steps: 0 });
        if untouched && want.blocks == self.nest.blocks && fast.run(&self.operation, self.at.engine.core, memory) {
            self.done = want;
            return Ok(());
        }
        while self.done.blocks < want.blocks {
            self.steps(memory, self.nest.steps);
            let block = self.done.blocks;
            self.retire(memory, block)
                .map_err(|cause| (self.at.cycle.saturating_add(self.nest.retires(block)), cause))?;
            self.done = Progress { blocks: block + 1, steps: 0 };
            self.accumulators.clear();
        }
        self.steps(memory, want.steps);
        Ok(())
    }

    /// Does the steps of the block in work up to `until`.
    fn steps(&mut self, memory: &Memory, until: u64) {
        let block = self.done.blocks;
        let sram = memory.data(self.at.engine.core, Space::Sram);
        let acc = &mut self.accumulators;
        match &self.operation {
            Operation::Conv(conv) if until > 0 => {
                let nest = ArrayNest::of_conv(conv, self.target);
                let outputs = nest.block(block);
                if self.done.steps == 0 {
                    conv::start(conv, &outputs, sram, acc);
                }
                for step in self.done.steps..until {
                    conv::step(conv, &outputs, nest.step(step), sram, acc);
                }
            }
            Operation::Pool(pool) if until > 0 => {
                let nest = ArrayNest::of_pool(pool, self.target);
                let outputs = nest.block(block);
                if self.done.steps == 0 {
                    pool::start(pool, &outputs, acc);
                }
                for step in self.done.steps..until {
                    pool::step(pool, &outputs, nest.step(step), sram, acc);
                }
            }
            Operation::Reduce(reduce) if until > 0 => {
                let nest = ReduceNest::of(reduce, self.target);
                let channels = nest.block(block);
                if self.done.steps == 0 {
                    reduce::start(reduce, channels.clone(), sram, acc);
                }
                for step in self.done.steps..until {
                    reduce::step(reduce, channels.clone(), nest.step(step), sram, acc);
                }
            }
            // Blocks of one step are done when they retire.
            _ => {}
        }
        self.done.steps = until;
    }

    fn retire(&self, memory: &mut Memory, block: u64) -> Result<(), FaultCause> {
        let core = self.at.engine.core;
        let acc = &self.accumulators;
        match &self.operation {
            Operation::Conv(conv) => {
                let outputs = ArrayNest::of_conv(conv, self.target).block(block);
                conv::retire(conv, &outputs, memory.data_mut(core, Space::Sram), acc)
            }
            Operation::Pool(pool) => {
                let outputs = ArrayNest::of_pool(pool, self.target).block(block);
                pool::retire(pool, &outputs, memory.data_mut(core, Space::Sram), acc)
            }
            Operation::Reduce(reduce) => {
                let channels = ReduceNest::of(reduce, self.target).block(block);
                reduce::retire(reduce, channels, memory.data_mut(core, Space::Sram), acc)
            }
            Operation::Eltwise(eltwise) => {
                let nest = VectorNest::of(&eltwise.output, eltwise.first.map.element, self.target);
                eltwise::retire(eltwise, nest.block(block), memory.data_mut(core, Space::Sram))
            }
            Operation::Lookup(lookup) => {
                let nest = VectorNest::of(&lookup.output, lookup.input.element, self.target);
                eltwise::retire_lookup(lookup, nest.block(block), memory.data_mut(core, Space::Sram));
                Ok(())
            }
            Operation::Resize(resize) => {
                let nest = VectorNest::of_resize(resize, self.target);
                resize::retire(resize, nest.block(block), memory.data_mut(core, Space::Sram));
                Ok(())
            }
            Operation::ArgMax(argmax) => {
                let nest = VectorNest::of_argmax(argmax, self.target);
                argmax::retire(argmax, nest.block(block), memory.data_mut(core, Space::Sram));
                Ok(())
            }
            Operation::Copy(copy) => {
                dma::copy(copy, &DmaNest::of(&copy.pattern, self.target).block(block), core, memory);
                Ok(())
            }
            Operation::Fill(fill) => {
                dma::fill(fill, &DmaNest::of(&fill.pattern, self.target).block(block), core, memory);
                Ok(())
            }
            Operation::Decode(decode) => decode::retire(decode, block, core, memory),
        }
    }
}

/// Column and channel of every output of a block, in the order of its accumulators.
fn outputs(block: &ArrayBlock) -> impl Iterator<Item = (u32, u32)> + use<> {
    let channels = block.channels.clone();
    block.columns.clone().flat_map(move |column| channels.clone().map(move |channel| (column, channel)))
}

/// The fault of an accumulator of output (row, column, channel).
fn overflow(error: AccumulatorOverflow, [row, column, channel]: [u32; 3]) -> FaultCause {
    FaultCause::AccumulatorOverflow { row, column, channel, value: error.value, bits: error.width.bits() }
}
