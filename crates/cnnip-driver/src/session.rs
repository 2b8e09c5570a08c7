//! Sessions: a loaded package with its memory, between jobs.

use std::fmt;
use std::sync::Arc;

use cnnip_core::{Machine, Options, Region, SharedBytes};
use cnnip_package::{Input, Package, RegionId, RegionKind, Tensor, TensorId};

use crate::event::Handler;
use crate::picture::tensor_bytes;
use crate::plan::{Plan, slice};
use crate::{BindError, Event, Job, Picture, PictureError, RecordError, Recording, RunOptions, Target, TensorView};

/// How an input or output is named: by its tensor's name, or by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// Name of the tensor.
    Name(&'a str),
    /// Position among the inputs or outputs, from 0.
    Index(usize),
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Key<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// A loaded package with the memory of a device, ready for jobs one after the other. Its buffers are made once: jobs reuse
/// them.
pub struct Session {
    pub(crate) plan: Arc<Plan>,
    pub(crate) machine: Machine,
    /// Buffers of regions that the cores cannot see, by region.
    pub(crate) host: Vec<Option<Vec<u8>>>,
    pub(crate) handler: Option<Handler>,
    pub(crate) options: RunOptions,
    /// Intermediate tensors of the jobs to come, or of the last.
    pub(crate) recording: Option<Recording>,
    /// Whether each input has been bound.
    bound: Vec<bool>,
    /// Whether a job has had the memory. Until then it is as new, and large buffers cost nothing.
    used: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, options, bound, .. } = self;
        f.debug_struct("Session")
            .field("target", &plan.target.name)
            .field("options", options)
            .field("bound", bound)
            .finish()
    }
}

/// A session that cannot start a job yet, given back by [`Session::submit`].
#[derive(Debug, thiserror::Error)]
#[error("input `{input}` has not been bound")]
pub struct NotReady {
    /// Name of the first input without data.
    pub input: String,
    /// The session, as it was.
    pub session: Box<Session>,
}

impl Session {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        let package = &plan.package;
        let ids = || (0..=u8::MAX).map(RegionId).zip(&package.regions);
        let host = ids().map(|(_, region)| match region.kind {
            RegionKind::Constant => None,
            _ => (!region.core_visible).then(|| zeros(region.bytes)),
        });
        let host = host.collect();
        let regions =
            ids().map(|(id, region)| if region.core_visible { bind_region(package, id) } else { Region::Unbound });
        let machine = Machine::new(plan.target, plan.idle.clone(), regions.collect(), Options::default());
        let bound = vec![false; package.inputs.len()];
        Self { machine, host, handler: None, options: RunOptions::default(), recording: None, bound, used: false, plan }
    }

    /// The package.
    pub fn package(&self) -> &Arc<Package> {
        &self.plan.package
    }

    /// The target of the device.
    pub fn target(&self) -> &'static Target {
        self.plan.target
    }

    /// Checks and allowances of the jobs to come.
    pub fn set_options(&mut self, options: RunOptions) {
        self.options = options;
    }

    /// What is called with interrupts of the jobs to come, on the thread that polls; it replaces the one before.
    pub fn on_event(&mut self, handler: impl FnMut(Event) + Send + 'static) {
        self.handler = Some(Box::new(handler));
    }

    /// Asks for intermediate tensors of the jobs to come, by their names in the model; this replaces what was asked before.
    /// [`Recording::names`] has all that can be asked for.
    ///
    /// # Errors
    /// If there is no such tensor, or it is never made.
    pub fn record(&mut self, names: &[&str]) -> Result<(), RecordError> {
        self.recording = Some(Recording::new(&self.plan.package, names)?);
        Ok(())
    }

    /// Copies an input's bytes: elements of the tensor's own type and shape, dense, little-endian. They stay bound for all
    /// jobs to come.
    ///
    /// # Errors
    /// If there is no such input, or the length is wrong.
    pub fn bind<'k>(&mut self, input: impl Into<Key<'k>>, bytes: &[u8]) -> Result<(), BindError> {
        let plan = Arc::clone(&self.plan);
        let (index, tensor, _) = find_input(&plan.package, input.into())?;
        self.fill(index, tensor, bytes)
    }

    /// Binds an input to a picture, by the package's rule for pixels.
    ///
    /// # Errors
    /// If there is no such input, or the picture does not fit the rule.
    pub fn bind_picture<'k>(&mut self, input: impl Into<Key<'k>>, picture: &Picture<'_>) -> Result<(), BindError> {
        let plan = Arc::clone(&self.plan);
        let (index, tensor, input) = find_input(&plan.package, input.into())?;
        let bytes = match &input.preprocess {
            Some(rule) => tensor_bytes(tensor, rule, picture),
            None => Err(PictureError::NoRule),
        };
        let bytes = bytes.map_err(|why| BindError::Picture { tensor: tensor.name.clone(), why })?;
        self.fill(index, tensor, &bytes)
    }

    fn fill(&mut self, index: usize, tensor: &Tensor, bytes: &[u8]) -> Result<(), BindError> {
        let needed = tensor.bytes().unwrap_or(0);
        if u64::try_from(bytes.len()) != Ok(needed) {
            return Err(BindError::Length { tensor: tensor.name.clone(), needed, given: bytes.len() });
        }
        self.write(tensor, bytes);
        self.bound[index] = true;
        Ok(())
    }

    /// An input as it is bound, by its position; zeros if nothing has been.
    pub fn input(&self, index: usize) -> Option<TensorView<'_>> {
        self.view(self.package().inputs.get(index)?.tensor)
    }

    /// Name of the first input that nothing has been bound to.
    pub fn first_unbound(&self) -> Option<&str> {
        let index = self.bound.iter().position(|&bound| !bound)?;
        let input = self.package().inputs.get(index)?;
        self.package().tensor(input.tensor).map(|tensor| tensor.name.as_str())
    }

    /// Starts a job. Outputs and scratch are zeroed and count as not written; the engines start with the first poll.
    ///
    /// # Errors
    /// [`NotReady`], with the session, if an input has not been bound.
    pub fn submit(self) -> Result<Job, NotReady> {
        match self.first_unbound().map(str::to_owned) {
            Some(input) => Err(NotReady { input, session: Box::new(self) }),
            None => Ok(Job::new(self)),
        }
    }

    /// Makes all memory but constants and inputs as new.
    pub(crate) fn forget(&mut self) {
        self.record_inputs();
        if !std::mem::replace(&mut self.used, true) {
            return;
        }
        for (id, region) in (0..=u8::MAX).zip(&self.plan.package.regions) {
            if !matches!(region.kind, RegionKind::Output | RegionKind::Scratch) {
                continue;
            }
            self.machine.forget_region(id);
            if let Some(Some(buffer)) = self.host.get_mut(usize::from(id)) {
                buffer.fill(0);
            }
        }
    }

    fn record_inputs(&mut self) {
        let Some(mut recording) = self.recording.take() else { return };
        recording.clear();
        for input in &self.plan.package.inputs {
            if let Some(tensor) = self.plan.package.tensor(input.tensor) {
                recording.on_host(input.tensor, self.read(tensor));
            }
        }
        self.recording = Some(recording);
    }

    /// Bytes of a tensor as they are now.
    pub(crate) fn read(&self, tensor: &Tensor) -> &[u8] {
        let id = tensor.place.region;
        let buffer = self.host.get(usize::from(id.0)).and_then(Option::as_deref);
        let constant = || self.plan.package.constant(id).map(|bytes| &bytes[..]);
        let region = buffer.or_else(constant).or_else(|| self.machine.state().region(id.0));
        slice(region.unwrap_or(&[]), tensor)
    }

    /// Writes as many bytes as a tensor has.
    pub(crate) fn write(&mut self, tensor: &Tensor, bytes: &[u8]) {
        let (id, start) = (tensor.place.region.0, tensor.place.offset);
        if self.plan.is_visible(tensor.place.region) {
            let written = self.machine.write_region(id, start, bytes);
            debug_assert_eq!(written, Ok(()), "the package's tensors lie in their regions");
            return;
        }
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let buffer = self.host.get_mut(usize::from(id)).and_then(Option::as_mut);
        if let Some(place) = buffer.and_then(|buffer| buffer.get_mut(start..)?.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    pub(crate) fn view(&self, id: TensorId) -> Option<TensorView<'_>> {
        let tensor = self.plan.package.tensor(id)?;
        let view = TensorView::new(tensor, self.read(tensor));
        Some(if self.plan.package.is_list(id) { view.as_list() } else { view })
    }
}

fn bind_region(package: &Package, id: RegionId) -> Region {
    let Some(region) = package.region(id) else { return Region::Unbound };
    let kind = match region.kind {
        RegionKind::Constant => {
            let bytes = package.constant(id).map(|bytes| Arc::new(bytes.clone()) as SharedBytes);
            return bytes.map_or(Region::Unbound, Region::Constant);
        }
        RegionKind::Input => cnnip_core::RegionKind::Input,
        RegionKind::Output => cnnip_core::RegionKind::Output,
        RegionKind::Scratch => cnnip_core::RegionKind::Scratch,
    };
    Region::Buffer { kind, bytes: zeros(region.bytes) }
}

/// The plan has made sure that all buffers together fit the device.
fn zeros(bytes: u64) -> Vec<u8> {
    vec![0; usize::try_from(bytes).unwrap_or(0)]
}

fn find_input<'p>(package: &'p Package, key: Key<'_>) -> Result<(usize, &'p Tensor, &'p Input), BindError> {
    let inputs = || package.inputs.iter().filter_map(|input| Some((package.tensor(input.tensor)?, input)));
    let found = inputs().enumerate().find(|(index, (tensor, _))| names(key, *index, tensor));
    let found = found.map(|(index, (tensor, input))| (index, tensor, input));
    found.ok_or_else(|| unknown("input", key, inputs().map(|(tensor, _)| tensor)))
}

pub(crate) fn names(key: Key<'_>, index: usize, tensor: &Tensor) -> bool {
    match key {
        Key::Name(name) => tensor.name == name,
        Key::Index(wanted) => wanted == index,
    }
}

pub(crate) fn unknown<'p>(what: &'static str, key: Key<'_>, known: impl Iterator<Item = &'p Tensor>) -> BindError {
    let known: Vec<&str> = known.map(|tensor| tensor.name.as_str()).collect();
    let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
    BindError::Unknown { what, key: key.to_string(), known }
}
