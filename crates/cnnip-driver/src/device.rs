//! Devices.

use std::sync::Arc;

use cnnip_isa::{TARGETS, Target};
use cnnip_package::Package;

use crate::plan::Plan;
use crate::{DeviceError, LoadError, Session};

/// External memory of a device unless [`Device::with_memory`] says otherwise: 1 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;

/// A device of some target. Loading does not occupy it: every session is a device of its own.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    target: &'static Target,
    memory_bytes: u64,
}

impl Device {
    /// A device of this target.
    pub fn new(target: &'static Target) -> Self {
        Self { target, memory_bytes: DEFAULT_MEMORY_BYTES }
    }

    /// A device of the target with this name.
    ///
    /// # Errors
    /// [`DeviceError::UnknownTarget`].
    pub fn open(target: &str) -> Result<Self, DeviceError> {
        let found = Target::by_name(target).map(Self::new);
        found.ok_or_else(|| DeviceError::UnknownTarget {
            name: target.chars().take(100).collect(),
            known: TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The device with another amount of external memory for inputs, outputs and scratch.
    pub fn with_memory(self, bytes: u64) -> Self {
        Self { memory_bytes: bytes, ..self }
    }

    /// The target.
    pub fn target(&self) -> &'static Target {
        self.target
    }

    /// Checks a package against this device and makes everything ready to run it: programs, regions, host steps. Constants
    /// are shared with the package, whether they are mapped or owned.
    ///
    /// # Errors
    /// What the device cannot do; nothing is run for that.
    pub fn load(&self, package: impl Into<Arc<Package>>) -> Result<Session, LoadError> {
        let plan = Plan::new(package.into(), self.target, self.memory_bytes)?;
        Ok(Session::new(Arc::new(plan)))
    }
}
