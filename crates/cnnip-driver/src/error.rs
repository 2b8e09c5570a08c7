//! What can go wrong outside of the machine.

use cnnip_core::{Fault, ProgramError};
use cnnip_hostops::HostError;
use cnnip_package::Problem;

/// A device that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No target has this name.
    #[error("there is no target `{name}`, only {known}")]
    UnknownTarget {
        /// The name.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
}

/// A package that a device cannot run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Made for another target.
    #[error("the package is for target `{package}`, the device is a `{device}`")]
    Target {
        /// The package's target.
        package: String,
        /// The device's.
        device: &'static str,
    },
    /// The package breaks a rule of its own format.
    #[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Everything that is wrong; at least one problem.
        problems: Vec<Problem>,
    },
    /// A device step that the target has no engines or tokens for.
    #[error("step {step}: {why}")]
    Program {
        /// Index of the step.
        step: usize,
        /// The rule.
        why: ProgramError,
    },
    /// A host step that cannot be carried out.
    #[error("step {step}: {why}")]
    Host {
        /// Index of the step.
        step: usize,
        /// The rule.
        why: HostPlanError,
    },
    /// More external memory than the device has.
    #[error("inputs, outputs and scratch need {needed} bytes, the device has {available}")]
    Memory {
        /// Bytes of all regions but constants.
        needed: u64,
        /// Bytes of the device.
        available: u64,
    },
}

impl LoadError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Target { .. } => "compile the model for this target, or open a device of the package's target",
            Self::Invalid { .. } => "the tool that made the package breaks isa-spec/package.md",
            Self::Program { .. } => {
                "give every list an engine that the target has, and every token one owner on each side"
            }
            Self::Host { .. } => "isa-spec/package.md lists the host operators and the tensors they take",
            Self::Memory { .. } => "give the device more memory, or compile a smaller model",
        }
    }
}

/// A host step that cannot be carried out, whatever the input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPlanError {
    /// An operator that this version does not have.
    #[error("the host has no operator `{operator}`")]
    Operator {
        /// Its name.
        operator: &'static str,
    },
    /// Tensors that the operator does not take.
    #[error("{operator} of tensor `{tensor}` needs {needs}")]
    Tensor {
        /// Name of the operator.
        operator: &'static str,
        /// Name of the tensor.
        tensor: String,
        /// What it needs.
        needs: &'static str,
    },
    /// Parameters outside of the operator's arithmetic.
    #[error(transparent)]
    Arithmetic(#[from] HostError),
}

/// A host step that went wrong in a job.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HostStepError {
    /// Its input has a byte that no command has written.
    #[error("reads byte {byte:#x} of tensor `{tensor}`, which nothing has written")]
    Uninitialised {
        /// Name of the tensor.
        tensor: String,
        /// Byte within the tensor.
        byte: u64,
    },
    /// Its arithmetic refused the operands.
    #[error(transparent)]
    Arithmetic(#[from] HostError),
}

/// Why a job did not come to its end: the program under test did something wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JobFault {
    /// The machine faulted.
    #[error("{fault}")]
    Device {
        /// Index of the step.
        step: usize,
        /// The fault.
        fault: Box<Fault>,
    },
    /// A host step could not be done.
    #[error("host step {step} ({operator}) {why}")]
    Host {
        /// Index of the step.
        step: usize,
        /// Name of its operator.
        operator: &'static str,
        /// Why not.
        why: HostStepError,
    },
    /// All steps ended, but a part of an output was never written. Found in checked mode.
    #[error("the program ended without writing byte {byte:#x} of output `{tensor}`")]
    OutputNotWritten {
        /// Name of the tensor.
        tensor: String,
        /// First byte within the tensor.
        byte: u64,
    },
    /// [`RunningJob::stop`](crate::RunningJob::stop) was called.
    #[error("the job was stopped by its host")]
    Stopped,
}

/// Data that a tensor does not take, or a tensor that is not there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No such tensor.
    #[error("there is no {what} {key}, only {known}")]
    Unknown {
        /// `input`, `output` or `tensor`.
        what: &'static str,
        /// What was asked for, as text.
        key: String,
        /// Names of those there are, separated by commas.
        known: String,
    },
    /// Not as many bytes as the tensor has.
    #[error("`{tensor}` takes {needed} bytes, {given} are given")]
    Length {
        /// Name of the tensor.
        tensor: String,
        /// Bytes it has.
        needed: u64,
        /// Bytes that came.
        given: usize,
    },
    /// A picture that does not become the tensor.
    #[error("`{tensor}`: {why}")]
    Picture {
        /// Name of the tensor.
        tensor: String,
        /// The rule.
        why: crate::PictureError,
    },
}

impl BindError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "`cnnip info` lists the names",
            Self::Length { .. } => {
                "give the elements in the tensor's own type and shape, densely packed, little-endian"
            }
            Self::Picture { why, .. } => why.hint(),
        }
    }
}
