//! A layer ready to run, and what all kinds share.

use cnnip_isa::ElementType;
use cnnip_kernels::{Kernels, Scratch};
use cnnip_lowered::{Network, ValueId, Work};
use cnnip_numerics::accumulator::{AccumulatorOverflow, AccumulatorWidth};

use crate::conv::Conv;
use crate::eltwise::Eltwise;
use crate::error::Why;
use crate::host::Host;
use crate::pool::Pool;
use crate::sampling::{ArgMax, Resize};
use crate::sum::Sum;
use crate::transfer::Transfer;
use crate::workers::Workers;

/// Kernels and buffers that all layers share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) kernels: Kernels,
    pub(crate) scratch: Scratch,
    /// Input elements of a slow layer, zero point subtracted.
    pub(crate) input: Vec<i32>,
    /// Its weights, likewise.
    pub(crate) weights: Vec<i32>,
    /// Accumulators of one pixel.
    pub(crate) sums: Vec<i64>,
    /// A part of a map whose pixels do not follow one another in the output.
    pub(crate) output: Vec<u8>,
}

impl Tools {
    pub(crate) fn new(kernels: Kernels) -> Self {
        Self {
            kernels,
            scratch: Scratch::new(),
            input: Vec::new(),
            weights: Vec::new(),
            sums: Vec::new(),
            output: Vec::new(),
        }
    }
}

/// Most inputs of a layer: those of box decoding.
pub(crate) const MAX_INPUTS: usize = 3;

/// The bytes of a layer's tensors; inputs that there are not are empty.
#[derive(Debug)]
pub(crate) struct Operands<'a> {
    pub(crate) inputs: [&'a [u8]; MAX_INPUTS],
    pub(crate) output: &'a mut [u8],
}

/// An accumulator that left its range, and where; the index is put together from the innermost axis outwards.
#[derive(Debug)]
pub(crate) struct Overflow {
    pub(crate) value: i64,
    pub(crate) width: AccumulatorWidth,
    reversed: Vec<u32>,
}

impl Overflow {
    pub(crate) fn new(AccumulatorOverflow { value, width }: AccumulatorOverflow, innermost: u32) -> Self {
        Self { value, width, reversed: vec![innermost] }
    }

    /// At an index of the next axis outwards.
    pub(crate) fn within(mut self, index: u32) -> Self {
        self.reversed.push(index);
        self
    }

    /// The index, outermost axis first.
    pub(crate) fn element(&self) -> Vec<u32> {
        self.reversed.iter().rev().copied().collect()
    }
}

/// A layer ready to run.
#[derive(Debug)]
pub(crate) enum Step {
    Conv(Conv),
    Pool(Pool),
    Sum(Sum),
    Resize(Resize),
    ArgMax(ArgMax),
    Eltwise(Eltwise),
    Transfer(Transfer),
    Host(Host),
}

impl Step {
    /// Checks that there is arithmetic for the layer, of a network without problems.
    pub(crate) fn new(network: &Network, work: &Work, kernels: Kernels) -> Result<Self, Why> {
        Ok(match work {
            Work::Conv(conv) => {
                let elements = [number(network, "input", conv.input)?, number(network, "output", conv.output)?];
                Self::Conv(Conv::new(conv.clone(), elements, kernels)?)
            }
            Work::Pool(pool) => {
                number(network, "input", pool.input)?;
                Self::Pool(Pool::new(pool.clone(), number(network, "output", pool.output)?))
            }
            Work::Sum(sum) => {
                let elements = [number(network, "input", sum.input)?, number(network, "output", sum.output)?];
                Self::Sum(Sum::new(sum.clone(), elements)?)
            }
            Work::Resize(resize) => {
                number(network, "input", resize.input)?;
                Self::Resize(Resize::new(resize.clone(), number(network, "output", resize.output)?))
            }
            Work::ArgMax(argmax) => Self::ArgMax(ArgMax::new(argmax.clone(), number(network, "input", argmax.input)?)),
            Work::Eltwise(eltwise) => {
                let inputs = eltwise.inputs.iter().map(|input| number(network, "input", input.value));
                let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
                Self::Eltwise(Eltwise::new(eltwise, &inputs, number(network, "output", eltwise.output)?, kernels)?)
            }
            Work::Transfer(transfer) => {
                let element = network.value(transfer.output).map_or(1, |value| value.element.size());
                Self::Transfer(Transfer::new(transfer, element))
            }
            Work::Host(host) => Self::Host(Host::new(network, host)?),
        })
    }

    pub(crate) fn run(&mut self, workers: &mut Workers, operands: Operands<'_>) -> Result<(), Overflow> {
        match self {
            Self::Conv(conv) => return conv.run(workers, operands),
            Self::Sum(sum) => return sum.run(workers.main(), operands),
            Self::Eltwise(eltwise) => return eltwise.run(workers, operands),
            Self::Pool(pool) => pool.run(workers, operands),
            Self::Resize(resize) => resize.run(operands),
            Self::ArgMax(argmax) => argmax.run(operands),
            Self::Transfer(transfer) => transfer.run(workers.main(), operands),
            Self::Host(host) => host.run(operands),
        }
        Ok(())
    }
}

/// The type of a tensor that a layer of the device computes with.
fn number(network: &Network, what: &'static str, id: ValueId) -> Result<ElementType, Why> {
    match network.element(id) {
        ElementType::None => {
            let value = network.value(id);
            let tensor = value.map_or_else(String::new, |value| value.name.clone());
            let found = value.map_or_else(String::new, |value| value.element.to_string());
            Err(Why::Element { what, tensor, found })
        }
        element => Ok(element),
    }
}
