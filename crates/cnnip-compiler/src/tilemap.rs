//! Lists → the tile map: which command completes which elements of which tensor.
//!
//! It is made from the finished lists, as an engine follows them, and knows nothing of how a layer was cut: what an operation
//! writes within the place of the value that its layer writes is a part of that value.

mod pieces;
mod walk;

use std::collections::BTreeMap;
use std::ops::Range;

use cnnip_graph::{Graph, Place};
use cnnip_isa::operation::{Footprint, Location, Space};
use cnnip_lowered::{Network, Origin, ValueId};
use cnnip_package::{List, ListId, Memory, Package, RegionId, TensorId, Tile, TileMap, TraceSource, Traced, TracedId};

use crate::division::{Division, Duty, Share, Slice};
use crate::error::{CompileErrors, Rule};
use crate::memory::MemoryMap;
use crate::size::{small, wide};
use pieces::{Loop, Piece, dense_strides, pieces};
use walk::{Step, operations};

/// What the tile map is made from.
pub(crate) struct Parts<'a> {
    pub(crate) graph: &'a Graph,
    /// The whole network.
    pub(crate) network: &'a Network,
    pub(crate) division: &'a Division,
    pub(crate) memory: &'a MemoryMap,
    pub(crate) target: &'static cnnip_isa::Target,
    /// With all its lists.
    pub(crate) package: &'a Package,
    /// The package's tensor of each value that has one.
    pub(crate) tensors: &'a dyn Fn(ValueId) -> Option<TensorId>,
}

/// Makes the tile map.
///
/// # Errors
/// [`Rule::Internal`] if lists and memory map do not fit.
pub(crate) fn tile_map(parts: &Parts<'_>) -> Result<TileMap, CompileErrors> {
    let (tensors, numbers) = traced(parts);
    let written = written(parts, &numbers);
    let mut map = TileMap { tensors, tiles: vec![] };
    for (id, list) in (0..).map(ListId).zip(&parts.package.lists) {
        let found = of_list(parts, id, list, &written);
        map.tiles.extend(found.map_err(|what| CompileErrors::one(Place::Model, Rule::Internal { what }))?);
    }
    Ok(map)
}

/// The number of each value's traced tensor.
type Numbers = BTreeMap<ValueId, TracedId>;

/// Every value but constants, and what else the package has no type for.
fn traced(parts: &Parts<'_>) -> (Vec<Traced>, Numbers) {
    let network = parts.network;
    let shown = |id: &ValueId| {
        let constant = matches!(network.values[network.root(*id).0].origin, Origin::Constant(_));
        !constant && crate::assemble::element(network.values[id.0].element).is_some()
    };
    let ids: Vec<ValueId> = (0..network.values.len()).map(ValueId).filter(shown).collect();
    let numbers: Numbers = ids.iter().copied().zip((0..).map(TracedId)).collect();
    let one = |&id: &ValueId| {
        let value = &network.values[id.0];
        Some(Traced {
            name: value.name.clone(),
            shape: value.shape.clone(),
            element: crate::assemble::element(value.element)?,
            quantization: crate::assemble::quantization(value),
            model: value.model.clone(),
            source: source(parts, &numbers, id),
        })
    };
    (ids.iter().filter_map(one).collect(), numbers)
}

fn source(parts: &Parts<'_>, numbers: &Numbers, id: ValueId) -> TraceSource {
    let network = parts.network;
    let root = network.root(id);
    if root != id {
        return numbers.get(&root).map_or(TraceSource::Fused(vec![]), |&of| TraceSource::Alias(of));
    }
    let mut writers = network.layers.iter().filter(|layer| network.root(layer.work.writes()) == id);
    let on_host = network.values[id.0].origin == Origin::Input;
    match writers.next() {
        None if !on_host => TraceSource::Fused(users(parts, id)),
        Some(layer) if !layer.work.is_host() => TraceSource::Tiles,
        _ => (parts.tensors)(id).map_or(TraceSource::Fused(vec![]), TraceSource::Host),
    }
}

/// The layers that do the work of the node that would make a value.
fn users(parts: &Parts<'_>, id: ValueId) -> Vec<String> {
    let makes = |node: &&cnnip_graph::Node| node.outputs.iter().any(|output| output.index() == id.0);
    let Some(node) = parts.graph.nodes.iter().find(makes) else { return vec![] };
    let layers = parts.network.layers.iter().filter(|layer| layer.sources.contains(&node.name));
    layers.map(|layer| layer.name.clone()).collect()
}

/// The place that a layer, or a core's part of it, writes to, and what of a tensor the place holds.
struct Written {
    tensor: TracedId,
    /// Shape of what the place holds: the tensor's, perhaps with fewer channels.
    shape: Vec<u32>,
    /// Elements of a tensor of that shape that come before the place's first.
    before: u64,
    /// The tensor's channel that is the first of that shape.
    channel: u32,
    element_bytes: u64,
    space: Space,
    bytes: Range<u64>,
}

/// What each core writes in each of its layers, by core and mark.
type AllWritten = BTreeMap<(u8, u32), Written>;

fn written(parts: &Parts<'_>, numbers: &Numbers) -> AllWritten {
    let network = &parts.division.network;
    let of_layer = |(layer, duty): (&cnnip_lowered::Layer, &Duty)| {
        let place = network.root(layer.work.writes());
        let share = parts.division.share(place);
        let tensor = share.map_or(place, |share| share.of);
        let value = &network.values[tensor.0];
        let Location { space, address } = parts.memory.location(place);
        let start = u64::from(address);
        let (shape, before, channel) = held(&value.shape, share);
        let written = Written {
            tensor: *numbers.get(&tensor)?,
            shape,
            before,
            channel,
            element_bytes: wide(value.element.size()),
            space,
            bytes: start..start + network.values[place.0].bytes(),
        };
        Some(((duty.core, small(duty.layer)), written))
    };
    let layers = network.layers.iter().zip(parts.division.duties()).filter(|(layer, _)| !layer.work.is_host());
    layers.filter_map(of_layer).collect()
}

/// Shape, elements before and first channel of what a place holds of a tensor.
fn held(shape: &[u32], share: Option<&Share>) -> (Vec<u32>, u64, u32) {
    let mut shape = shape.to_vec();
    match share.map(|share| &share.slice) {
        None => (shape, 0, 0),
        Some(Slice::Band(band)) => (shape, band.start, 0),
        Some(Slice::Channels { range, .. }) => {
            if let Some(channels) = shape.last_mut() {
                *channels = range.end - range.start;
            }
            (shape, 0, range.start)
        }
    }
}

fn of_list(parts: &Parts<'_>, id: ListId, list: &List, written: &AllWritten) -> Result<Vec<Tile>, String> {
    let mut tiles = vec![];
    operations(&list.words, crate::emit::kind(list.engine.engine), parts.target, |step| {
        if let Some(value) = step.layer.and_then(|layer| written.get(&(list.engine.core, layer))) {
            of_operation(id, &step, value, &mut tiles)
                .map_err(|what| format!("`{}` word {}: {what}", list.name, step.pc))?;
        }
        Ok(())
    })?;
    Ok(tiles)
}

/// Appends what an operation completes of its layer's value.
fn of_operation(list: ListId, step: &Step, value: &Written, tiles: &mut Vec<Tile>) -> Result<(), String> {
    let operands = step.operation.operands();
    for operand in operands.iter().filter(|operand| operand.role.is_write()) {
        let (footprint, extent) = (&operand.bytes, operand.bytes.extent());
        let apart = extent.end <= value.bytes.start || value.bytes.end <= extent.start;
        if footprint.space() != value.space || apart {
            continue;
        }
        if extent.start < value.bytes.start || value.bytes.end < extent.end {
            return Err(format!("writes {extent:?}, the layer's value is at {:?}", value.bytes));
        }
        let (first, loops) = elements(footprint, value)?;
        let found = pieces(&value.shape, value.before + first, &loops);
        tiles.extend(found.into_iter().map(|piece| tile(list, step, value, piece)));
    }
    Ok(())
}

/// The first element that a footprint covers, and the loops over the others.
fn elements(footprint: &Footprint, value: &Written) -> Result<(u64, Vec<Loop>), String> {
    let whole = |bytes: u64| match bytes.is_multiple_of(value.element_bytes) {
        true => Ok(bytes / value.element_bytes),
        false => Err(format!("{bytes} bytes are no whole elements of {} bytes", value.element_bytes)),
    };
    let first = whole(footprint.extent().start - value.bytes.start)?;
    let run = (whole(footprint.run_bytes())?, 1);
    let around = footprint.loops().map(|(count, step)| Ok((count, whole(step)?)));
    let loops: Vec<Loop> = std::iter::once(Ok(run)).chain(around).collect::<Result<_, String>>()?;
    Ok((first, loops.into_iter().filter(|&(count, _)| count > 1).collect()))
}

fn tile(list: ListId, step: &Step, value: &Written, mut piece: Piece) -> Tile {
    let dense = dense_strides(&value.shape).into_iter().map(|stride| stride * value.element_bytes);
    let dense: Vec<u64> = dense.collect();
    let to_first = piece.start.iter().zip(&dense).map(|(&start, stride)| u64::from(start) * stride);
    let to_first = to_first.sum::<u64>() - value.before * value.element_bytes;
    if let Some(channel) = piece.start.last_mut() {
        *channel += value.channel;
    }
    Tile {
        list,
        pc: small(step.pc),
        iteration: step.iteration.clone(),
        tensor: value.tensor,
        memory: match value.space {
            Space::Sram => Memory::Sram,
            Space::Dram(region) => Memory::Dram(RegionId(region)),
        },
        address: value.bytes.start + to_first,
        strides: dense.iter().zip(&piece.step).map(|(stride, &step)| stride * u64::from(step)).collect(),
        start: piece.start,
        size: piece.size,
        step: piece.step,
    }
}
