//! What a package means on a device: checked once, when it is loaded.

use std::ops::Range;
use std::sync::Arc;

use cnnip_core::{EngineId, Program, Slot};
use cnnip_isa::Target;
use cnnip_package::{Engine, ListId, Package, RegionId, RegionKind, Step, Tensor};

use crate::LoadError;
use crate::host_step::HostPlan;

/// Bytes that one unit of a region's base address stands for.
const BASE_UNIT: u64 = 64;

/// A package made ready for a target.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) package: Arc<Package>,
    pub(crate) target: &'static Target,
    pub(crate) steps: Vec<PlannedStep>,
    /// A program without lists, for machines that wait.
    pub(crate) idle: Program,
    /// Base addresses of the regions, in units of 64 bytes.
    pub(crate) bases: Vec<u32>,
}

/// One step, ready to be run.
#[derive(Debug)]
pub(crate) enum PlannedStep {
    /// Lists on the device.
    Device(DeviceStep),
    /// Arithmetic on the host.
    Host(HostPlan),
}

/// A step of the device.
#[derive(Debug)]
pub(crate) struct DeviceStep {
    pub(crate) program: Program,
    /// The list of each engine, by [`EngineId::index`].
    pub(crate) lists: Vec<Option<ListId>>,
}

impl Plan {
    pub(crate) fn new(package: Arc<Package>, target: &'static Target, memory: u64) -> Result<Self, LoadError> {
        check(&package, target, memory)?;
        let steps = package.program.iter().enumerate().map(|(step, what)| match what {
            Step::Device { lists } => {
                DeviceStep::new(&package, lists, target).map(PlannedStep::Device).map_err(|why| (step, why))
            }
            Step::Host(host) => {
                HostPlan::new(&package, host).map(PlannedStep::Host).map_err(|why| (step, StepError::Host(why)))
            }
        });
        let steps = steps.collect::<Result<_, _>>().map_err(|(step, why)| why.at(step))?;
        let idle = DeviceStep::new(&package, &[], target).map_err(|why| why.at(0))?.program;
        Ok(Self { bases: bases(&package), package, target, steps, idle })
    }

    /// The list that an engine runs in a step.
    pub(crate) fn list_of(&self, step: usize, engine: EngineId) -> Option<ListId> {
        match self.steps.get(step)? {
            PlannedStep::Device(device) => device.lists.get(engine.index()).copied().flatten(),
            PlannedStep::Host(_) => None,
        }
    }

    /// Whether the cores may address a region.
    pub(crate) fn is_visible(&self, region: RegionId) -> bool {
        self.package.region(region).is_some_and(|region| region.core_visible)
    }
}

enum StepError {
    Program(cnnip_core::ProgramError),
    Host(crate::HostPlanError),
}

impl StepError {
    fn at(self, step: usize) -> LoadError {
        match self {
            Self::Program(why) => LoadError::Program { step, why },
            Self::Host(why) => LoadError::Host { step, why },
        }
    }
}

impl DeviceStep {
    fn new(package: &Package, lists: &[ListId], target: &Target) -> Result<Self, StepError> {
        let found = || lists.iter().filter_map(|&id| Some((id, package.list(id)?)));
        let words = found().map(|(_, list)| (engine_id(list.engine), Arc::from(list.words.as_slice())));
        let owners = package.tokens.iter().map(|owner| cnnip_core::TokenOwner {
            token: owner.token,
            signals: engine_id(owner.signal),
            waits: engine_id(owner.wait),
        });
        let program = Program::new(target, words, owners).map_err(StepError::Program)?;
        let mut by_engine = vec![None; usize::try_from(target.cores).unwrap_or(0) * Slot::ALL.len()];
        for (id, list) in found() {
            if let Some(place) = by_engine.get_mut(engine_id(list.engine).index()) {
                *place = Some(id);
            }
        }
        Ok(Self { program, lists: by_engine })
    }
}

/// An engine as the machine names it.
pub(crate) fn engine_id(engine: cnnip_package::EngineId) -> EngineId {
    let slot = match engine.engine {
        Engine::Dma0 => Slot::Dma0,
        Engine::Dma1 => Slot::Dma1,
        Engine::Cnn => Slot::Cnn,
    };
    EngineId { core: engine.core, slot }
}

fn check(package: &Package, target: &Target, available: u64) -> Result<(), LoadError> {
    if package.target != target.name {
        let name = package.target.chars().take(100).collect();
        return Err(LoadError::Target { package: name, device: target.name });
    }
    let problems = package.check();
    if !problems.is_empty() {
        return Err(LoadError::Invalid { problems });
    }
    let buffers = package.regions.iter().filter(|region| region.kind != RegionKind::Constant);
    let needed = buffers.fold(0_u64, |sum, region| sum.saturating_add(region.bytes));
    if needed > available {
        return Err(LoadError::Memory { needed, available });
    }
    Ok(())
}

/// Regions one after the other, each from the next multiple of 64; the first at 64, so that no region is at 0.
fn bases(package: &Package) -> Vec<u32> {
    let mut next = 1_u64;
    let bases = package.regions.iter().map(|region| {
        let base = next;
        next = next.saturating_add(region.bytes.div_ceil(BASE_UNIT));
        u32::try_from(base).unwrap_or(u32::MAX)
    });
    bases.collect()
}

/// Where a tensor of a package without problems lies in its region.
pub(crate) fn bytes_of(tensor: &Tensor) -> Range<u64> {
    let start = tensor.place.offset;
    start..start.saturating_add(tensor.bytes().unwrap_or(0))
}

/// A tensor's bytes in those of its region.
pub(crate) fn slice<'a>(region: &'a [u8], tensor: &Tensor) -> &'a [u8] {
    let Range { start, end } = bytes_of(tensor);
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => region.get(start..end).unwrap_or(&[]),
        _ => &[],
    }
}
