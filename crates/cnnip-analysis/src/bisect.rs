//! The first element in which two levels that should be equal part, and the command that wrote it.

use cnnip_driver::{CommandReport, Recording};

use crate::compare::{Incomparable, Measure, compare};
use crate::tensors::{TensorSet, extents, index_at, position};

/// The command that wrote an element, or should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Whether it did: false if no command wrote the element, and this is what stands where the last of them should be.
    pub ran: bool,
    /// List, word index, cycle of the step in which it starts (an estimate), assembly.
    pub command: CommandReport,
    /// Step of the program.
    pub step: usize,
    /// Cycle after its last one, an estimate.
    pub end: u64,
    /// Layer, if the list says so.
    pub layer: Option<String>,
    /// First index of the tile that it wrote, per dimension of the source's tensor.
    pub start: Vec<u32>,
    /// Elements of the tile, per dimension of the source's tensor.
    pub size: Vec<u32>,
}

/// Where two runs part.
#[derive(Clone, Debug, PartialEq)]
pub struct Parting {
    /// The first tensor that differs, in the order of execution.
    pub measure: Measure,
    /// Who wrote its first element that differs; `None` if the host did, or nobody recorded it.
    pub writer: Option<Writer>,
    /// Tensors that differ after it, in order: what follows from it, or further faults.
    pub later: Vec<String>,
}

/// Finds where a recorded run of the device parts from a reference. `device` are the tensors of `recording`.
///
/// # Errors
/// Everything that cannot be compared.
pub fn bisect(
    reference: &TensorSet,
    device: &TensorSet,
    recording: Option<&Recording>,
) -> Result<Option<Parting>, Vec<Incomparable>> {
    let comparison = compare(reference, device)?;
    let mut different = comparison.measures.into_iter().filter(|measure| !measure.equal);
    let Some(measure) = different.next() else { return Ok(None) };
    let later = different.map(|measure| measure.name).collect();
    let element = measure.first.as_ref().map(|first| first.element);
    let writer = recording.zip(element).and_then(|(recording, element)| writer(recording, &measure.name, element));
    Ok(Some(Parting { measure, writer, later }))
}

/// The command that wrote an element of a recorded run, by its position in the source's tensor, or should have.
pub fn writer(recording: &Recording, tensor: &str, element: usize) -> Option<Writer> {
    let traced = recording.tensor(tensor)?.tensor;
    let own = extents(&traced.shape);
    let index = index_at(&traced.model.per_axis(&own), element);
    let element = u64::try_from(position(&traced.model.per_own_axis(&index), &own)?).ok()?;
    let done = recording.writer(tensor, element);
    let ran = done.is_some();
    let write = done.or_else(|| recording.planned(tensor, element))?;
    Some(Writer {
        ran,
        command: recording.command(&write)?,
        step: write.step,
        end: write.end,
        layer: recording.layer(&write).map(|layer| layer.name.clone()),
        start: traced.model.per_axis(&write.tile.start),
        size: traced.model.per_axis(&write.tile.size),
    })
}
