//! Levels: what gives a network's outputs for an example.

use std::sync::Arc;

use cnnip_accurate::{Simulator, TensorView};
use cnnip_driver::{Device, Key, RunOptions, Session as DriverSession, TensorView as View};
use cnnip_fast::{Elements, Fast};
use cnnip_float::found;
use cnnip_hostops::{Affine, Ties, convert};
use cnnip_package::{Budget, ElementType, Package};

/// A level of simulation. One per thread.
pub trait Level: Send {
    /// Runs the network on real inputs, in its order; gives its outputs as real numbers, in its order.
    ///
    /// Integer inputs are quantized from the real numbers, integer outputs de-quantized.
    ///
    /// # Errors
    /// What the level says.
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError>;
}

/// Why a level gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{level}: {why}")]
pub struct LevelError {
    /// Name of the level.
    pub level: &'static str,
    /// What it says.
    pub why: String,
}

/// An error of the level called `level`.
pub(crate) fn failed<E: ToString>(level: &'static str) -> impl Fn(E) -> LevelError {
    move |why| LevelError { level, why: why.to_string() }
}

/// The float model.
pub struct Float(Box<dyn cnnip_float::Session>, Arc<dyn cnnip_float::Network>);

/// Its name.
pub const FLOAT: &str = "float";
/// Name of the pseudo-quantized level.
pub const FAST: &str = "fast";
/// Name of the layer-level simulator.
pub const ACCURATE: &str = "accurate";
/// Name of the instruction set simulator.
pub const ISS: &str = "iss";

impl Float {
    /// A session on a prepared network.
    pub fn new(network: Arc<dyn cnnip_float::Network>) -> Self {
        Self(Arc::clone(&network).session(), network)
    }
}

impl Level for Float {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError> {
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        self.0.run(&inputs, &mut |_, _| {}).map_err(failed(FLOAT))?;
        let numbers = |(index, &id)| Some(found(self.1.graph(), id, self.0.output(index)?).to_vec());
        Ok(self.1.graph().outputs.iter().enumerate().filter_map(numbers).collect())
    }
}

/// The Fast Simulator.
pub struct Pseudo {
    session: cnnip_fast::Session,
}

impl Pseudo {
    /// A session on a prepared network.
    pub fn new(fast: &Fast) -> Self {
        Self { session: fast.session() }
    }
}

impl Level for Pseudo {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError> {
        for (index, values) in inputs.iter().enumerate() {
            self.session.bind(index, &Elements::Real(values.clone())).map_err(failed(FAST))?;
        }
        let outputs = self.session.run().map_err(failed(FAST))?;
        Ok(outputs.iter().map(|view| view.real().to_vec()).collect())
    }
}

/// The Accurate Simulator.
pub struct Accurate(Simulator);

impl Accurate {
    /// A simulator of its own.
    pub fn new(simulator: Simulator) -> Self {
        Self(simulator)
    }
}

impl Level for Accurate {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError> {
        set_inputs(&mut self.0, inputs)?;
        self.0.run().map_err(failed(ACCURATE))?;
        let missing = || LevelError { level: ACCURATE, why: "an output has no real numbers".to_owned() };
        let numbers = |view: TensorView<'_>| {
            view.real().or_else(|| indices(view.tensor().element?, view.found())).ok_or_else(missing)
        };
        self.0.outputs().map(numbers).collect()
    }
}

/// Gives an Accurate Simulator real numbers, in whatever type its inputs have.
///
/// # Errors
/// Integers without scale, and inputs of another size.
pub fn set_inputs(simulator: &mut Simulator, inputs: &[Vec<f32>]) -> Result<(), LevelError> {
    let forms: Vec<Form> = simulator.inputs().map(Form::of).collect();
    for (index, (form, values)) in forms.iter().zip(inputs).enumerate() {
        let bytes = form.bytes(values).map_err(failed(ACCURATE))?;
        simulator.set_input(index, &bytes).map_err(failed(ACCURATE))?;
    }
    Ok(())
}

/// The instruction set simulator.
pub struct Iss(Option<DriverSession>);

impl Iss {
    /// A device of its own with the package loaded.
    ///
    /// # Errors
    /// A package for a target nobody knows, or one that cannot be loaded.
    pub fn new(package: &Arc<Package>) -> Result<Self, LevelError> {
        let device = Device::open(&package.target).map_err(failed(ISS))?;
        let mut session = device.load(Arc::clone(package)).map_err(failed(ISS))?;
        // The compiler has counted what its lists need; only lists of unknown origin need a cap on the host's time.
        let Budget { commands, cycles } = package.budget;
        let twice = |need: u64| Some(need.saturating_mul(2));
        let (max_commands, max_cycles) = (twice(commands), twice(cycles));
        session.set_options(RunOptions { max_commands, max_cycles, ..RunOptions::default() });
        Ok(Self(Some(session)))
    }
}

impl Level for Iss {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError> {
        let gone = || LevelError { level: ISS, why: "the run before this one failed".to_owned() };
        let mut session = self.0.take().ok_or_else(gone)?;
        let package = Arc::clone(session.package());
        for (index, (input, values)) in package.inputs.iter().zip(inputs).enumerate() {
            let Some(tensor) = package.tensor(input.tensor) else { continue };
            let quantization = tensor.quantization.map(|grid| (narrow(grid.scale), grid.zero_point));
            let bytes = elements(tensor.element, quantization, values).map_err(failed(ISS))?;
            session.bind(Key::from(index), &bytes).map_err(failed(ISS))?;
        }
        let job = session.submit().map_err(failed(ISS))?;
        let outputs = match job.wait() {
            Ok(outputs) => outputs,
            Err(fault) => {
                let why = fault.report().to_string();
                return Err(LevelError { level: ISS, why });
            }
        };
        let missing = || LevelError { level: ISS, why: "an output has no real numbers".to_owned() };
        let numbers =
            |view: View<'_>| view.real().or_else(|| indices(view.tensor().element, view.bytes())).ok_or_else(missing);
        let real = outputs.iter().map(numbers).collect();
        self.0 = Some(outputs.into_session());
        real
    }
}

/// Integers that stand for themselves, as real numbers.
fn indices(element: ElementType, bytes: &[u8]) -> Option<Vec<f32>> {
    #[expect(clippy::cast_precision_loss, reason = "indices are far below 2^24")]
    match element {
        ElementType::Int32 => Some(bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes) as f32).collect()),
        ElementType::Int64 => Some(bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f32).collect()),
        _ => None,
    }
}

/// A scale that was a binary32 number before it was stored.
fn narrow(scale: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is asked for")]
    let scale = scale as f32;
    scale
}

/// Real numbers as the elements of an input, little-endian, as the host operator quantize makes them: halves away from zero.
///
/// # Errors
/// Integers without a scale, or numbers that are none.
pub fn elements(element: ElementType, quantization: Option<(f32, i32)>, values: &[f32]) -> Result<Vec<u8>, String> {
    Form { element: Some(element), quantization }.bytes(values)
}

/// How an input holds real numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) element: Option<ElementType>,
    quantization: Option<(f32, i32)>,
}

impl Form {
    /// Of a tensor of the Accurate Simulator.
    pub(crate) fn of(tensor: &cnnip_accurate::Tensor) -> Self {
        Self { element: tensor.element, quantization: tensor.quantization }
    }

    /// The elements, little-endian, as the host operator quantize makes them: halves away from zero.
    pub(crate) fn bytes(&self, values: &[f32]) -> Result<Vec<u8>, String> {
        match (self.element, self.quantization) {
            (Some(ElementType::Float32), _) => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            (Some(ElementType::Int8), Some(grid)) => codes(grid, values, i8::to_le_bytes),
            (Some(ElementType::Uint8), Some(grid)) => codes(grid, values, u8::to_le_bytes),
            (Some(ElementType::Int16), Some(grid)) => codes(grid, values, i16::to_le_bytes),
            _ => Err("an input of integers without scale takes no real numbers".to_owned()),
        }
    }
}

fn codes<T: convert::Element + Default, const N: usize>(
    (scale, zero): (f32, i32),
    values: &[f32],
    bytes: fn(T) -> [u8; N],
) -> Result<Vec<u8>, String> {
    let mut codes = vec![T::default(); values.len()];
    let affine = Affine::new::<T>(scale, zero).map_err(|why| why.to_string())?;
    affine.quantize(values, Ties::Away, &mut codes).map_err(|why| why.to_string())?;
    Ok(codes.into_iter().flat_map(bytes).collect())
}
