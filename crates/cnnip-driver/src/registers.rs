//! The registers that a host sees: a window per core.

use cnnip_core::{EngineId, Fault, Slot};
use cnnip_isa::{HostControl, HostStatus, SPEC_VERSION, host};
use cnnip_package::RegionId;

use crate::event::Handler;
use crate::plan::PlannedStep;
use crate::{Event, Job, JobFault, Status};

/// What a core's window holds beside what follows from the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Sticky bits; `RUNNING` follows from the machine.
    pub(crate) status: HostStatus,
    mask: HostStatus,
    /// Code of the last INT or TRAP.
    pub(crate) code: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { status: HostStatus::empty(), mask: HostStatus::empty(), code: 0 }
    }
}

impl Window {
    /// Sets a bit of the status and, unless the mask keeps it back, tells the host.
    pub(crate) fn raise(&mut self, bit: HostStatus, event: Event, handler: &mut Option<Handler>) {
        self.status.insert(bit.difference(HostStatus::RUNNING));
        if let Some(handler) = handler.as_mut().filter(|_| !self.mask.contains(bit)) {
            handler(event);
        }
    }
}

/// An access to a host register that the specification does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRegisterError {
    /// No register, or no core, at this offset.
    #[error("there is no host register at {offset:#x}")]
    NoRegister {
        /// Bytes from the first core's window.
        offset: u32,
    },
    /// A read of a register that can only be written.
    #[error("the host register at {offset:#x} cannot be read")]
    WriteOnly {
        /// Bytes from the first core's window.
        offset: u32,
    },
    /// A write to a register that can only be read.
    #[error("the host register at {offset:#x} cannot be written")]
    ReadOnly {
        /// Bytes from the first core's window.
        offset: u32,
    },
    /// A bit that no field names.
    #[error("value {value:#010x} sets reserved bits of the host register at {offset:#x}")]
    ReservedBits {
        /// Bytes from the first core's window.
        offset: u32,
        /// The value.
        value: u32,
    },
    /// A list or region register: a job's are set by the driver, from the package.
    #[error("the host register at {offset:#x} belongs to the driver while there is a job")]
    Owned {
        /// Bytes from the first core's window.
        offset: u32,
    },
    /// A start while the job runs, is over, or has a host step next.
    #[error("there is no device step to start")]
    NothingToStart,
}

/// Where an offset leads.
struct Place {
    core: u8,
    register: u32,
}

impl Job {
    fn place(&self, offset: u32) -> Result<Place, HostRegisterError> {
        let (core, register) = (offset / host::STRIDE, offset % host::STRIDE);
        let core = u8::try_from(core).ok().filter(|&core| usize::from(core) < self.progress.windows.len());
        match core {
            Some(core) if register % 4 == 0 => Ok(Place { core, register }),
            _ => Err(HostRegisterError::NoRegister { offset }),
        }
    }

    /// Reads a host register: `offset` bytes from the first core's window, as `isa-spec/registers/host.toml` names them.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn host_read(&self, offset: u32) -> Result<u32, HostRegisterError> {
        let Place { core, register } = self.place(offset)?;
        let window = &self.progress.windows[usize::from(core)];
        let cycle = self.state().cycle();
        Ok(match register {
            host::SPEC_VERSION => SPEC_VERSION,
            host::TARGET_ID => self.session.target().id,
            host::STATUS => self.core_status(core).bits(),
            host::INTERRUPT_MASK => window.mask.bits(),
            host::INTERRUPT_CODE => window.code,
            host::FAULT => self.core_fault(core).map_or(0, |fault| fault.cause.code().code()),
            host::FAULT_PC => self.core_fault(core).map_or(0, |fault| u32::try_from(fault.at.pc).unwrap_or(u32::MAX)),
            host::FAULT_ENGINE => self.core_fault(core).map_or(0, |fault| fault.at.engine.slot.number().into()),
            host::CYCLE_LOW => u32::try_from(cycle & u64::from(u32::MAX)).unwrap_or(u32::MAX),
            host::CYCLE_HIGH => u32::try_from(cycle >> 32).unwrap_or(u32::MAX),
            host::CONTROL | host::STATUS_CLEAR => return Err(HostRegisterError::WriteOnly { offset }),
            _ => return self.array_read(core, register).ok_or(HostRegisterError::NoRegister { offset }),
        })
    }

    /// Writes a host register. `SOFT_RESET` does what [`Job::reset`] does; `START` starts the next step of the device, which
    /// the next poll would do too; other bits of `STATUS_CLEAR` than `RUNNING` clear theirs.
    ///
    /// # Errors
    /// If there is none, it cannot be written, or the value means nothing; nothing has changed then.
    pub fn host_write(&mut self, offset: u32, value: u32) -> Result<(), HostRegisterError> {
        let Place { core, register } = self.place(offset)?;
        let reserved = HostRegisterError::ReservedBits { offset, value };
        let status = HostStatus::from_bits(value).ok_or(reserved);
        match register {
            host::CONTROL => return self.control(HostControl::from_bits(value).ok_or(reserved)?),
            host::STATUS_CLEAR => self.progress.windows[usize::from(core)].status.remove(status?),
            host::INTERRUPT_MASK => self.progress.windows[usize::from(core)].mask = status?,
            _ if self.array_read(core, register).is_some() => return Err(HostRegisterError::Owned { offset }),
            _ => return self.host_read(offset).and(Err(HostRegisterError::ReadOnly { offset })),
        }
        Ok(())
    }

    fn control(&mut self, control: HostControl) -> Result<(), HostRegisterError> {
        if control.contains(HostControl::SOFT_RESET) {
            self.reset();
        }
        if !control.contains(HostControl::START) {
            return Ok(());
        }
        let plan = std::sync::Arc::clone(&self.session.plan);
        let idle = self.status() == Status::Running && !self.progress.started;
        match plan.steps.get(self.progress.step) {
            Some(PlannedStep::Device(step)) if idle => self.start(step),
            _ => return Err(HostRegisterError::NothingToStart),
        }
        Ok(())
    }

    fn core_status(&self, core: u8) -> HostStatus {
        let window = &self.progress.windows[usize::from(core)];
        let machine = &self.session.machine;
        let working = Slot::ALL.iter().any(|&slot| !machine.has_ended(EngineId { core, slot }));
        let running = self.progress.started && self.status() == Status::Running && working;
        if running { window.status | HostStatus::RUNNING } else { window.status }
    }

    /// The fault that stopped the machine, if an engine of this core made it.
    fn core_fault(&self, core: u8) -> Option<&Fault> {
        match self.fault() {
            Some(JobFault::Device { fault, .. }) if fault.at.engine.core == core => Some(fault),
            _ => None,
        }
    }

    /// Registers of which there are several in a row.
    fn array_read(&self, core: u8, register: u32) -> Option<u32> {
        let lists =
            |base| element(register, base, host::LIST_BASE_COUNT).and_then(|number| self.list_place(core, number));
        let region = |base| element(register, base, host::REGION_BASE_COUNT).map(|number| self.region_place(number));
        let list_base = lists(host::LIST_BASE).map(|(base, _)| base);
        let list_words = || lists(host::LIST_WORDS).map(|(_, words)| words);
        let region_base = || region(host::REGION_BASE).map(|(base, _)| base);
        let region_bytes = || region(host::REGION_BYTES).map(|(_, bytes)| bytes);
        list_base.or_else(list_words).or_else(region_base).or_else(region_bytes)
    }

    /// Byte offset in the list section and words of the list that an engine runs in this step; zeros if it runs none.
    fn list_place(&self, core: u8, engine: u8) -> Option<(u32, u32)> {
        let slot = Slot::from_number(engine)?;
        let plan = &self.session.plan;
        let Some(id) = plan.list_of(self.progress.step, EngineId { core, slot }) else { return Some((0, 0)) };
        let own = plan.package.list(id)?.words.len();
        let before = plan.package.lists.iter().take(usize::try_from(id.0).ok()?);
        let before: usize = before.map(|list| list.words.len()).sum();
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some((narrow(before.saturating_mul(4)), narrow(own)))
    }

    /// Base and size of a region; zeros where nothing is bound. A size of 2^32 bytes reads as 2^32 - 1.
    fn region_place(&self, region: u8) -> (u32, u32) {
        let plan = &self.session.plan;
        match plan.package.region(RegionId(region)) {
            Some(found) if found.core_visible => {
                let base = plan.bases.get(usize::from(region)).copied().unwrap_or(0);
                (base, u32::try_from(found.bytes).unwrap_or(u32::MAX))
            }
            _ => (0, 0),
        }
    }
}

/// Which register of an array of `count` from `base` on this is.
fn element(register: u32, base: u32, count: u32) -> Option<u8> {
    let number = register.checked_sub(base)? / 4;
    if number < count { u8::try_from(number).ok() } else { None }
}
