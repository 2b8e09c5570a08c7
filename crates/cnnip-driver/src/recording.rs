//! Intermediate tensors of a run, rebuilt through the package's tile map while the device works.
//!
//! A tile is copied when its command ends, so it does not matter what its place holds later.

use std::collections::HashMap;
use std::sync::Arc;

use cnnip_core::{CommandId, EngineId, Frame, State};
use cnnip_isa::{Command, decode_at};
use cnnip_package::{Layer, ListId, Memory, Package, Step, TensorId, Tile, TileMap, TraceSource, Traced, TracedId};

use crate::CommandReport;

/// A tensor that cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A package without tile map.
    #[error("the package has no tile map, so only its inputs and outputs can be seen")]
    NoTileMap,
    /// A name that nothing has.
    #[error("the network has no tensor `{name}`{}", similar(.near))]
    Unknown {
        /// The name.
        name: String,
        /// The most similar name there is.
        near: Option<String>,
    },
    /// A tensor that is never made.
    #[error("tensor `{name}` is never made: {} without it", by(.layers))]
    Fused {
        /// The tensor.
        name: String,
        /// Layers that do its work.
        layers: Vec<String>,
    },
}

impl RecordError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoTileMap => "compile the model again: `cnnip compile` writes a tile map".to_owned(),
            Self::Unknown { .. } => "`cnnip disasm` lists all tensors in its lines `.traced`".to_owned(),
            Self::Fused { name, .. } => format!("compile with --keep {name}"),
        }
    }
}

fn similar(name: &Option<String>) -> String {
    name.as_ref().map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

fn by(layers: &[String]) -> String {
    match layers {
        [] => "the network does".to_owned(),
        [one] => format!("layer `{one}` does"),
        several => format!("layers `{}` do", several.join("`, `")),
    }
}

/// A tile that a command completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// What it wrote, and which command.
    pub tile: &'a Tile,
    /// Step of the program.
    pub step: usize,
    /// Cycle of the step in which the command started, an estimate.
    pub start: u64,
    /// Cycle after its last one, an estimate.
    pub end: u64,
}

/// A recorded tensor.
#[derive(Clone, Copy, Debug)]
pub struct RecordedTensor<'a> {
    /// Name, shape, type and scale.
    pub tensor: &'a Traced,
    /// Its elements: dense, row-major, little-endian.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Written {
    tile: usize,
    step: usize,
    start: u64,
    end: u64,
}

/// Elements of tensors as they were made.
#[derive(Clone, Debug)]
pub struct Recording {
    package: Arc<Package>,
    /// Per traced tensor: whether it was asked for.
    asked: Vec<bool>,
    /// Per traced tensor: its bytes, if they or those of an alias were asked for.
    bytes: Vec<Option<Vec<u8>>>,
    /// The tiles of each command in each iteration.
    tiles: HashMap<(ListId, u32), Vec<usize>>,
    /// Start and end of the operation in work, by engine.
    in_work: HashMap<EngineId, (u64, u64)>,
    writes: Vec<Written>,
    /// Per traced tensor: when its last element came, counted in tiles and host steps.
    completed: Vec<usize>,
    events: usize,
}

impl Recording {
    /// Prepares to record the tensors with these names.
    pub(crate) fn new(package: &Arc<Package>, names: &[&str]) -> Result<Self, RecordError> {
        let map = package.tile_map.as_ref().ok_or(RecordError::NoTileMap)?;
        let mut recording = Self {
            package: Arc::clone(package),
            asked: vec![false; map.tensors.len()],
            bytes: vec![None; map.tensors.len()],
            tiles: HashMap::new(),
            in_work: HashMap::new(),
            writes: vec![],
            completed: vec![0; map.tensors.len()],
            events: 0,
        };
        for name in names {
            recording.ask(map, name)?;
        }
        for (index, tile) in map.tiles.iter().enumerate() {
            if recording.at(tile.tensor).is_some() {
                recording.tiles.entry((tile.list, tile.pc)).or_default().push(index);
            }
        }
        Ok(recording)
    }

    fn ask(&mut self, map: &TileMap, name: &str) -> Result<(), RecordError> {
        let unknown = || RecordError::Unknown { name: name.to_owned(), near: nearest(map, name) };
        let id = map.named(name).ok_or_else(unknown)?;
        let root = map.root(id);
        let (Some(tensor), Some(asked)) = (map.tensor(root), self.asked.get_mut(number(id))) else {
            return Err(unknown());
        };
        if let TraceSource::Fused(layers) = &tensor.source {
            return Err(RecordError::Fused { name: name.to_owned(), layers: layers.clone() });
        }
        *asked = true;
        let bytes =
            tensor.shape.iter().try_fold(tensor.element.bytes(), |product, &size| product.checked_mul(size.into()));
        let bytes = usize::try_from(bytes.unwrap_or(0)).unwrap_or(0);
        if let Some(place) = self.bytes.get_mut(number(root)) {
            place.get_or_insert_with(|| vec![0; bytes]);
        }
        Ok(())
    }

    /// Names of all tensors that can be recorded, in the network's order.
    pub fn names(package: &Package) -> Vec<&str> {
        let Some(map) = &package.tile_map else { return vec![] };
        let source = |id| map.tensor(map.root(id)).map(|root| &root.source);
        let made = |id| !matches!(source(id), None | Some(TraceSource::Fused(_)));
        let all = (0..).map(TracedId).zip(&map.tensors);
        all.filter(|(id, _)| made(*id)).map(|(_, tensor)| tensor.name.as_str()).collect()
    }

    /// The write that the tile map has for an element, whether it happened or not; of several the last in the lists.
    pub fn planned(&self, name: &str, element: u64) -> Option<Write<'_>> {
        let map = self.map()?;
        let root = map.root(map.named(name)?);
        let index = index_of(&map.tensor(root)?.shape, element);
        let tile = map.tiles.iter().rev().find(|tile| tile.tensor == root && holds(tile, &index))?;
        Some(Write { tile, step: self.step_of(tile.list)?, start: 0, end: 0 })
    }

    /// The step of the program that runs a list.
    fn step_of(&self, list: ListId) -> Option<usize> {
        let runs = |step: &Step| matches!(step, Step::Device { lists } if lists.contains(&list));
        self.package.program.iter().position(runs)
    }

    /// The package.
    pub fn package(&self) -> &Package {
        &self.package
    }

    fn map(&self) -> Option<&TileMap> {
        self.package.tile_map.as_ref()
    }

    fn at(&self, id: TracedId) -> Option<&[u8]> {
        self.bytes.get(number(id))?.as_deref()
    }

    /// A recorded tensor.
    pub fn tensor(&self, name: &str) -> Option<RecordedTensor<'_>> {
        self.iter().find(|found| found.tensor.name == name)
    }

    /// All recorded tensors, in the order in which they were completed.
    pub fn iter(&self) -> impl Iterator<Item = RecordedTensor<'_>> {
        let all = self.map().into_iter().flat_map(|map| {
            let tensors = (0..).map(TracedId).zip(&map.tensors).zip(&self.asked);
            tensors.filter(|(_, asked)| **asked).map(|((id, tensor), _)| (map.root(id), tensor))
        });
        let mut all: Vec<(TracedId, &Traced)> = all.collect();
        all.sort_by_key(|(root, _)| self.completed.get(number(*root)).copied());
        all.into_iter().filter_map(|(root, tensor)| Some(RecordedTensor { tensor, bytes: self.at(root)? }))
    }

    /// The command that wrote an element, by its position in row-major order; `None` if the host did, or nothing.
    pub fn writer(&self, name: &str, element: u64) -> Option<Write<'_>> {
        let map = self.map()?;
        let root = map.root(map.named(name)?);
        let index = index_of(&map.tensor(root)?.shape, element);
        let covers = |written: &&Written| {
            map.tiles.get(written.tile).is_some_and(|tile| tile.tensor == root && holds(tile, &index))
        };
        let Written { tile, step, start, end } = *self.writes.iter().rev().find(covers)?;
        Some(Write { tile: map.tiles.get(tile)?, step, start, end })
    }

    /// The command of a write, as assembly.
    pub fn command(&self, write: &Write<'_>) -> Option<CommandReport> {
        let list = self.package.list(write.tile.list)?;
        let at = CommandId {
            engine: crate::plan::engine_id(list.engine),
            pc: usize::try_from(write.tile.pc).ok()?,
            cycle: write.start,
        };
        Some(crate::report::command_report(list, at))
    }

    /// The layer that a write's command belongs to: that of the last `MARK` before it.
    pub fn layer(&self, write: &Write<'_>) -> Option<&Layer> {
        let list = self.package.list(write.tile.list)?;
        let kind = crate::plan::engine_id(list.engine).slot.kind();
        let (mut pc, mut mark, end) = (0, None, usize::try_from(write.tile.pc).ok()?);
        while pc < end {
            let (command, words) = decode_at(&list.words, pc, kind).ok()?;
            if let Command::Mark { layer } = command {
                mark = Some(layer);
            }
            pc += words;
        }
        self.package.layer(mark?)
    }

    pub(crate) fn started(&mut self, engine: EngineId, start: u64, end: u64) {
        self.in_work.insert(engine, (start, end));
    }

    /// Copies what a command of the device has completed.
    pub(crate) fn retired(&mut self, step: usize, list: ListId, engine: EngineId, pc: usize, state: &State) {
        let Ok(pc) = u32::try_from(pc) else { return };
        let Some(tiles) = self.tiles.get(&(list, pc)) else { return };
        let package = Arc::clone(&self.package);
        let Some(map) = &package.tile_map else { return };
        let iteration = iteration(&package, list, state.frames(engine));
        let (start, end) = self.in_work.get(&engine).copied().unwrap_or_default();
        for &index in tiles {
            let Some(tile) = map.tiles.get(index).filter(|tile| tile.iteration == iteration) else { continue };
            let memory = match tile.memory {
                Memory::Sram => state.sram(engine.core),
                Memory::Dram(region) => state.region(region.0),
            };
            let tensor = map.tensor(tile.tensor);
            let place = self.bytes.get_mut(number(tile.tensor)).and_then(Option::as_mut);
            if let (Some(memory), Some(tensor), Some(place)) = (memory, tensor, place) {
                copy(tile, tensor, memory, place);
                self.writes.push(Written { tile: index, step, start, end });
                self.events += 1;
                self.completed[number(tile.tensor)] = self.events;
            }
        }
    }

    /// Takes a tensor that the application bound or a host step left.
    pub(crate) fn on_host(&mut self, tensor: TensorId, bytes: &[u8]) {
        let package = Arc::clone(&self.package);
        let traced = package.tile_map.iter().flat_map(|map| &map.tensors);
        self.events += 1;
        for ((place, completed), traced) in self.bytes.iter_mut().zip(&mut self.completed).zip(traced) {
            if let (Some(place), true) = (place, traced.source == TraceSource::Host(tensor)) {
                bytes.clone_into(place);
                *completed = self.events;
            }
        }
    }

    /// Forgets what was recorded.
    pub(crate) fn clear(&mut self) {
        self.bytes.iter_mut().flatten().for_each(|bytes| bytes.fill(0));
        self.writes.clear();
        self.in_work.clear();
        self.completed.fill(0);
        self.events = 0;
    }
}

fn number(TracedId(id): TracedId) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// The loop counters of an engine's open loops, outermost first.
fn iteration(package: &Package, list: ListId, frames: &[Frame]) -> Vec<u32> {
    let words = package.list(list).map_or(&[][..], |list| &list.words);
    let counter = |frame: &Frame| {
        let Frame::Loop { body, left } = *frame else { return None };
        match decode_at(words, body.checked_sub(1)?, cnnip_isa::EngineKind::Cnn) {
            Ok((Command::Loop { count }, _)) => Some(u32::from(count.saturating_sub(left))),
            _ => None,
        }
    };
    frames.iter().filter_map(counter).collect()
}

/// The index of an element in a dense row-major tensor.
fn index_of(shape: &[u32], element: u64) -> Vec<u32> {
    let mut rest = element;
    let mut index: Vec<u32> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let extent = u64::from(extent).max(1);
            let here = rest % extent;
            rest /= extent;
            u32::try_from(here).unwrap_or(u32::MAX)
        })
        .collect();
    index.reverse();
    index
}

/// Whether a tile has an element.
fn holds(tile: &Tile, index: &[u32]) -> bool {
    let dimensions = index.iter().zip(tile.start.iter().zip(tile.size.iter().zip(&tile.step)));
    dimensions.into_iter().all(|(&index, (&start, (&size, &step)))| {
        index.checked_sub(start).is_some_and(|from| from.is_multiple_of(step.max(1)) && from / step.max(1) < size)
    })
}

/// Copies a tile's elements from memory to where they belong in a dense tensor.
fn copy(tile: &Tile, tensor: &Traced, memory: &[u8], place: &mut [u8]) {
    let element = tensor.element.bytes();
    let mut stride = element;
    let mut dense: Vec<u64> = tensor
        .shape
        .iter()
        .rev()
        .map(|&extent| {
            let here = stride;
            stride = stride.saturating_mul(extent.into());
            here
        })
        .collect();
    dense.reverse();
    let first: u64 = tile.start.iter().zip(&dense).map(|(&start, stride)| u64::from(start) * stride).sum();
    let steps = dense.iter().zip(&tile.step).map(|(stride, &step)| stride * u64::from(step));
    let loops = tile.size.iter().zip(tile.strides.iter().copied().zip(steps));
    let mut loops: Vec<Loop> = loops.map(|(&count, (from, to))| Loop { count: count.into(), from, to }).collect();
    // Neighbours in both are copied together.
    let mut run = element;
    while let Some(inner) = loops.pop() {
        if inner.count > 1 && (inner.from, inner.to) != (run, run) {
            loops.push(inner);
            break;
        }
        run *= inner.count;
    }
    copy_loops(&loops, run, (tile.address, first), memory, place);
}

/// Times, and bytes from one to the next in memory and in the tensor.
#[derive(Clone, Copy, Debug)]
struct Loop {
    count: u64,
    from: u64,
    to: u64,
}

fn copy_loops(loops: &[Loop], run: u64, (from, to): (u64, u64), memory: &[u8], place: &mut [u8]) {
    let Some((outer, inner)) = loops.split_first() else {
        if let (Some(from), Some(to)) = (range(from, run), range(to, run))
            && let (Some(source), Some(destination)) = (memory.get(from), place.get_mut(to))
        {
            destination.copy_from_slice(source);
        }
        return;
    };
    for i in 0..outer.count {
        copy_loops(inner, run, (from + i * outer.from, to + i * outer.to), memory, place);
    }
}

fn range(start: u64, length: u64) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?)
}

/// The name that has the most letters in common at start and end.
fn nearest(map: &TileMap, name: &str) -> Option<String> {
    let alike = |other: &str| {
        let start = name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let end = name.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
        (start + end).min(name.len().min(other.len()))
    };
    let best = map.tensors.iter().max_by_key(|tensor| alike(&tensor.name))?;
    (alike(&best.name) * 2 > name.len()).then(|| best.name.clone())
}
