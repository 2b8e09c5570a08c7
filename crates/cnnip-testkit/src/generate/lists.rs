//! Random command lists of several engines that are free of races and deadlocks by construction.
//!
//! Tasks are drawn one after the other, each for some engine. Before a task is appended to its engine's list, every engine
//! with an earlier task that touches the same bytes, and that is not known to have happened before, signals a token at the
//! end of its list, and the task's engine waits for it. So the order in which tasks were drawn is a legal schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use cnnip_core::{EngineId, Machine, Options, Program, Region, RegionKind, Slot, TokenOwner};
use cnnip_isa::operation::{
    Codebook, Coding, Copy, Decode, DmaPattern, Eltwise, FeatureMap, Fill, Location, Operation, OutputStage, Space,
    Sparse, Stage,
};
use cnnip_isa::{
    CnnRegister, Command, DmaRegister, ElementType, EltwiseFunction, EngineKind, OperationCode, Pairs, RegisterFile,
    Target, encode, registers_of,
};

use super::scene::{Scene, Zone};
use super::stream::stream as coded_stream;
use super::{cnn_operation, dma_operation, is_acceptable, sparse_conv};
use crate::Rng;
use crate::touched::{Touched, touched};

/// What lists to make.
#[derive(Clone, Copy, Debug)]
pub struct ListOptions {
    /// The target; all its cores take part.
    pub target: &'static Target,
    /// Tasks of all engines together.
    pub tasks: u32,
    /// Operations that overflow now and then.
    pub overflows: bool,
    /// The lists themselves load the scratchpads and fill scratch and output, as those of a package must.
    pub cold: bool,
}

/// A pair of commands that orders two engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The token.
    pub token: u8,
    /// Engine and word index of the `SIGNAL`.
    pub signal: (EngineId, usize),
    /// Engine and word index of the `WAIT`.
    pub wait: (EngineId, usize),
}

/// Command lists with everything they need to run.
#[derive(Clone, Debug)]
pub struct Lists {
    /// The target.
    pub target: &'static Target,
    /// The list of each engine.
    pub lists: Vec<(EngineId, Vec<u32>)>,
    /// Owners of the tokens.
    pub owners: Vec<TokenOwner>,
    /// Regions 0 (input), 1 (constants), 2 (scratch), 3 (output), 4 (constants that cold lists load) and 5 (coded weights).
    pub regions: Vec<Region>,
    /// What each scratchpad holds at the start, from this address on; nothing if the lists are cold.
    pub images: (u32, Vec<Vec<u8>>),
    /// The synchronisation that the lists need.
    pub syncs: Vec<Sync>,
}

const NOP: u32 = 0x0100_0000;

impl Lists {
    /// A machine ready to run the lists; unless they are cold, every byte they may read is written.
    ///
    /// # Panics
    /// If lists or owners do not fit the target, which generated ones do.
    pub fn machine(&self, options: Options) -> Machine {
        let lists = self.lists.iter().map(|(engine, words)| (*engine, Arc::from(words.as_slice())));
        let program = Program::new(self.target, lists, self.owners.iter().copied()).expect("lists fit the target");
        let mut machine = Machine::new(self.target, program, self.regions.clone(), options);
        for (core, image) in (0..).zip(&self.images.1) {
            machine.write_sram(core, self.images.0, image).expect("the zone fits the scratchpad");
        }
        if !self.images.1.is_empty() {
            let scratch = machine.state().region(2).map(<[u8]>::to_vec).unwrap_or_default();
            machine.write_region(2, 0, &scratch).expect("the region's own bytes fit");
        }
        machine
    }

    /// The same lists with a `NOP` in place of the command at word `pc` of an engine's list.
    pub fn without(&self, (engine, pc): (EngineId, usize)) -> Self {
        let mut lists = self.clone();
        for (_, words) in lists.lists.iter_mut().filter(|(id, _)| *id == engine) {
            words[pc] = NOP;
        }
        lists
    }
}

/// Random lists.
///
/// # Panics
/// Never: the commands it makes can be encoded.
pub fn lists(options: &ListOptions, rng: &mut Rng) -> Lists {
    let base = 64 * rng.within(0..=100);
    let zone = Zone { base, data: 64 * rng.within(96..=192) };
    let mut builder = Builder::new(options, zone, rng);
    if options.cold {
        builder.warm_up(rng);
    }
    for _ in 0..options.tasks {
        let engine = rng.index(builder.writers.len());
        let on_dma = builder.writers[engine].id.slot != Slot::Cnn;
        match rng.within(0..=99) {
            0..15 if on_dma => builder.stream(engine, rng),
            15..25 if on_dma => builder.decode(engine, rng),
            0..10 if !options.cold => builder.sparse(engine, rng),
            _ => builder.task(engine, rng),
        }
    }
    builder.finish(rng)
}

/// Bytes of regions 0 to 3.
const REGION_BYTES: u32 = 4096;

/// The region of coded weights.
const CODED: u8 = 5;

/// Attempts to make a stream in external memory, where every other one is.
const STREAM_TRIES: u32 = 50;

/// One engine's list in the making.
struct Writer {
    id: EngineId,
    words: Vec<u32>,
    registers: RegisterFile,
    /// What each of its tasks touches.
    tasks: Vec<Vec<Touched>>,
    /// Places of calls, each with the subroutine that belongs there.
    calls: Vec<(usize, Vec<u32>)>,
}

impl Writer {
    fn put(&mut self, command: &Command<'_>) {
        encode(command, &mut self.words).expect("fields within their ranges");
    }

    /// Sets the registers that differ, in bursts.
    fn set(&mut self, registers: &RegisterFile) {
        let specs = registers_of(self.id.slot.kind());
        let differs = |index: u8| registers.get(index) != self.registers.get(index);
        let changed: Vec<u8> = specs.iter().map(|spec| spec.index).filter(|&index| differs(index)).collect();
        for burst in changed.chunk_by(|a, b| a + 1 == *b) {
            let values: Vec<u32> = burst.iter().filter_map(|&index| registers.get(index)).collect();
            self.put(&Command::Set { first: burst[0], values: &values });
        }
        self.registers = registers.clone();
    }

    /// `RUN`, sometimes in a subroutine, sometimes in one that a subroutine calls.
    fn run(&mut self, code: OperationCode, rng: &mut Rng) {
        let mut body = Vec::new();
        encode(&Command::Run(code), &mut body).expect("every operation can be encoded");
        encode(&Command::Ret, &mut body).expect("RET can be encoded");
        if rng.chance(75) {
            return self.put(&Command::Run(code));
        }
        self.calls.push((self.words.len(), body));
        self.put(&Command::Call { target: 0 });
    }

    /// Commands that change nothing but time.
    fn idle(&mut self, rng: &mut Rng) {
        for _ in 0..rng.within(0..=3) {
            match rng.within(0..=9) {
                0 => self.put(&Command::Mark { layer: rng.within(0..=9) }),
                1 => self.put(&Command::Int { code: rng.within(0..=9) }),
                _ => self.put(&Command::Nop),
            }
        }
    }

    /// A loop of `count` rounds around one `RUN`; the registers are left as the last round sees them.
    fn repeat(&mut self, count: u16, pairs: &[[u32; 2]], body: impl FnOnce(&mut Self)) {
        self.put(&Command::Loop { count });
        body(self);
        let pairs = Pairs::new(pairs).expect("register indices");
        self.put(&Command::Next { pairs });
        for _ in 1..count {
            self.registers.add_pairs(pairs).expect("registers without reserved bits");
        }
    }

    fn finish(mut self) -> (EngineId, Vec<u32>) {
        self.put(&Command::End);
        for (place, body) in std::mem::take(&mut self.calls) {
            let mut call = Vec::new();
            let target = u32::try_from(self.words.len()).expect("a short list");
            encode(&Command::Call { target }, &mut call).expect("a short list");
            self.words[place] = call[0];
            self.words.extend(body);
        }
        (self.id, self.words)
    }
}

struct Builder {
    target: &'static Target,
    zone: Zone,
    overflows: bool,
    cold: bool,
    writers: Vec<Writer>,
    /// `seen[q][p]`: how many of p's tasks happened before whatever q does next.
    seen: Vec<Vec<usize>>,
    /// Tokens from one engine to another.
    tokens: BTreeMap<(usize, usize), Vec<u8>>,
    syncs: Vec<Sync>,
    /// What weight decodes read: a constant, so that a list that lost its order still decodes.
    coded: Vec<u8>,
    /// Per core, the bitmaps of sparse weights behind the zone, which nothing writes.
    bitmaps: Vec<Vec<u8>>,
}

impl Builder {
    fn new(options: &ListOptions, zone: Zone, rng: &mut Rng) -> Self {
        let engines = 3 * usize::try_from(options.target.cores).unwrap_or(1);
        let mut ids: Vec<EngineId> = (0..engines).filter_map(EngineId::from_index).collect();
        if !options.cold && rng.chance(20) {
            ids.remove(rng.index(engines)); // an engine without a list
        }
        let writer = |id: EngineId| Writer {
            id,
            words: Vec::new(),
            registers: RegisterFile::new(id.slot.kind()),
            tasks: Vec::new(),
            calls: Vec::new(),
        };
        Self {
            target: options.target,
            zone,
            overflows: options.overflows,
            cold: options.cold,
            seen: vec![vec![0; ids.len()]; ids.len()],
            writers: ids.into_iter().map(writer).collect(),
            tokens: BTreeMap::new(),
            syncs: Vec::new(),
            coded: vec![0; 4],
            bitmaps: vec![Vec::new(); engines / 3],
        }
    }

    fn scene<'a>(&self, rng: &'a mut Rng) -> Scene<'a> {
        let Self { target, zone, overflows, .. } = *self;
        Scene { rng, target, zone, region_bytes: REGION_BYTES, max_side: 5, overflows }
    }

    /// Appends a random operation, alone or in a loop.
    fn task(&mut self, engine: usize, rng: &mut Rng) {
        let kind = self.writers[engine].id.slot.kind();
        let mut scene = self.scene(rng);
        let operation = if kind == EngineKind::Cnn { cnn_operation(&mut scene) } else { dma_operation(&mut scene) };
        let (pairs, rounds) = rounds(&operation, kind, &mut scene);
        self.append(engine, &pairs, &rounds, rng);
    }

    /// Appends a decode of weights of its own.
    fn decode(&mut self, engine: usize, rng: &mut Rng) {
        let mut scene = self.scene(rng);
        let stream = (0..STREAM_TRIES).map(|_| coded_stream(&mut scene));
        let Some(stream) = stream.into_iter().find(|stream| stream.decode.stream.space != Space::Sram) else { return };
        let base = self.coded.len().next_multiple_of(4);
        self.coded.resize(base, 0);
        let moved = |address: u32| address.saturating_add(u32::try_from(base).unwrap_or(u32::MAX));
        for (address, bytes) in &stream.contents {
            let start = usize::try_from(moved(*address)).unwrap_or(usize::MAX);
            self.coded.resize(self.coded.len().max(start + bytes.len()), 0);
            self.coded[start..start + bytes.len()].copy_from_slice(bytes);
        }
        let decode = stream.decode;
        let coding = match decode.coding {
            Coding::Cluster(book) => Coding::Cluster(Codebook { address: moved(book.address), ..book }),
            other => other,
        };
        let place = Location::dram(CODED, moved(decode.stream.address));
        let decode = Decode { stream: place, offsets: moved(decode.offsets), coding, ..decode };
        self.append(engine, &[], &[Operation::Decode(decode)], rng);
    }

    /// Appends a convolution of which not all weight blocks are stored.
    fn sparse(&mut self, engine: usize, rng: &mut Rng) {
        let (mut conv, bitmap) = sparse_conv(&mut self.scene(rng));
        let core = usize::from(self.writers[engine].id.core);
        let behind = self.zone.base + self.zone.bytes();
        let Some(bitmaps) = self.bitmaps.get_mut(core) else { return };
        let address = behind + u32::try_from(bitmaps.len()).unwrap_or(u32::MAX);
        conv.weights.sparse = conv.weights.sparse.map(|sparse| Sparse { bitmap: address, ..sparse });
        bitmaps.extend(bitmap);
        self.append(engine, &[], &[Operation::Conv(conv)], rng);
    }

    /// Loads every scratchpad, and fills scratch and output.
    fn warm_up(&mut self, rng: &mut Rng) {
        let bytes = self.zone.bytes();
        let mut from = 0;
        for core in 0..u8::try_from(self.target.cores).unwrap_or(1) {
            let engine = EngineId { core, slot: Slot::Dma0 }.index();
            let load = Copy::dense(Location::dram(4, from), Location::sram(self.zone.base), bytes);
            self.append(engine, &[], &[Operation::Copy(load)], rng);
            from += bytes;
        }
        let pattern = DmaPattern::dense(REGION_BYTES);
        let (source, scratch) = (Location::dram(0, 0), Location::dram(2, 0));
        let destination = Location::dram(3, 0);
        let fill = Fill { destination, pattern, destination_steps: [0; 4], value: rng.word(), value_bytes: 4 };
        self.append(0, &[], &[Operation::Copy(Copy::dense(source, scratch, REGION_BYTES))], rng);
        self.append(1, &[], &[Operation::Fill(fill)], rng);
    }

    /// Appends an operation, or a loop of operations whose registers differ by `pairs`.
    fn append(&mut self, engine: usize, pairs: &[[u32; 2]], rounds: &[Operation], rng: &mut Rng) {
        let Some(operation) = rounds.first() else { return };
        let touched: Vec<Touched> = rounds.iter().flat_map(touched).collect();
        self.order_after_conflicts(engine, &touched, rng);
        let writer = &mut self.writers[engine];
        writer.idle(rng);
        let mut registers = writer.registers.clone();
        operation.store(&mut registers);
        writer.set(&registers);
        let code = operation.code();
        match u16::try_from(rounds.len()) {
            Ok(count) if count > 1 => writer.repeat(count, pairs, |writer| writer.run(code, rng)),
            _ => writer.run(code, rng),
        }
        writer.idle(rng);
        self.note(engine, touched);
    }

    fn note(&mut self, engine: usize, touched: Vec<Touched>) {
        self.writers[engine].tasks.push(touched);
        self.seen[engine][engine] = self.writers[engine].tasks.len();
    }

    /// Makes `engine` wait until all earlier tasks that touch the same bytes have happened.
    fn order_after_conflicts(&mut self, engine: usize, touched: &[Touched], rng: &mut Rng) {
        while let Some(other) = self.unordered(engine, touched, rng) {
            self.sync(other, engine, rng);
        }
    }

    /// An engine with a conflicting task that is not known to have happened before.
    fn unordered(&self, engine: usize, touched: &[Touched], rng: &mut Rng) -> Option<usize> {
        let core = self.writers[engine].id.core;
        let conflicts = |other: usize| {
            let writer = &self.writers[other];
            let unseen = writer.tasks.iter().skip(self.seen[engine][other]).flatten();
            let same = |t: &&Touched| t.space != Space::Sram || writer.id.core == core;
            unseen.filter(same).any(|theirs| touched.iter().any(|mine| mine.conflict(theirs).is_some()))
        };
        let others: Vec<usize> = (0..self.writers.len()).filter(|&o| o != engine && conflicts(o)).collect();
        (!others.is_empty()).then(|| rng.pick(&others))
    }

    /// A signal at the end of one list, a wait at the end of another; now and then two signals for one wait.
    fn sync(&mut self, from: usize, to: usize, rng: &mut Rng) {
        let token = self.token(from, to, rng);
        let count = if rng.chance(20) { 2 } else { 1 };
        let mut signal = 0;
        for _ in 0..count {
            self.writers[from].idle(rng);
            signal = self.writers[from].words.len();
            self.writers[from].put(&Command::Signal { token });
        }
        let wait = self.writers[to].words.len();
        self.writers[to].put(&Command::Wait { token, count });
        let (signaller, waiter) = (self.writers[from].id, self.writers[to].id);
        self.syncs.push(Sync { token, signal: (signaller, signal), wait: (waiter, wait) });
        self.join(from, to);
    }

    /// All that happened before `from`'s end happened before what `to` does next.
    fn join(&mut self, from: usize, to: usize) {
        let theirs = self.seen[from].clone();
        for (mine, theirs) in self.seen[to].iter_mut().zip(theirs) {
            *mine = (*mine).max(theirs);
        }
    }

    /// One of at most three tokens from one engine to another, core-local ones within a core.
    fn token(&mut self, from: usize, to: usize, rng: &mut Rng) -> u8 {
        let local = self.writers[from].id.core == self.writers[to].id.core && rng.chance(80);
        let known = self.tokens.get(&(from, to)).map_or(0, Vec::len);
        if known == 3 || (known > 0 && rng.chance(60)) {
            return rng.pick(&self.tokens[&(from, to)]);
        }
        let taken: Vec<u8> = self.tokens.values().flatten().copied().collect();
        let range = if local { 0..64 } else { 64..128 };
        let token = range.into_iter().find(|token| !taken.contains(token)).expect("fewer pairs than tokens");
        self.tokens.entry((from, to)).or_default().push(token);
        token
    }

    /// A loop that loads pieces and signals each, and a loop of the core's CNN engine that waits for each.
    fn stream(&mut self, producer: usize, rng: &mut Rng) {
        let core = self.writers[producer].id.core;
        let cnn = EngineId { core, slot: Slot::Cnn };
        let Some(consumer) = self.writers.iter().position(|w| w.id == cnn) else { return self.task(producer, rng) };
        let Some(stream) = Stream::random(&mut self.scene(rng)) else { return self.task(producer, rng) };
        let (loads, uses) = stream.touched();
        self.order_after_conflicts(consumer, &uses, rng);
        self.order_after_conflicts(producer, &loads, rng);
        let token = self.token(producer, consumer, rng);
        let signal = stream.write_loads(&mut self.writers[producer], token);
        self.note(producer, loads);
        let wait = stream.write_uses(&mut self.writers[consumer], token);
        self.syncs.push(Sync { token, signal: (self.writers[producer].id, signal), wait: (cnn, wait) });
        self.join(producer, consumer);
        self.note(consumer, uses);
    }

    fn finish(self, rng: &mut Rng) -> Lists {
        let ids: Vec<EngineId> = self.writers.iter().map(|writer| writer.id).collect();
        let owners = self.tokens.iter().flat_map(|(&(from, to), tokens)| {
            let owner = |&token| TokenOwner { token, signals: ids[from], waits: ids[to] };
            tokens.iter().map(owner).collect::<Vec<_>>()
        });
        let bytes = usize::try_from(REGION_BYTES).unwrap_or(0);
        let image = |bitmaps: &Vec<u8>| [self.zone.image(rng, self.overflows), bitmaps.clone()].concat();
        let images: Vec<Vec<u8>> = self.bitmaps.iter().map(image).collect();
        let buffer = |kind, bytes| Region::Buffer { kind, bytes };
        Lists {
            target: self.target,
            owners: owners.collect(),
            regions: vec![
                buffer(RegionKind::Input, rng.bytes(bytes)),
                Region::Constant(Arc::new(rng.bytes(bytes))),
                buffer(RegionKind::Scratch, rng.bytes(bytes)),
                buffer(RegionKind::Output, vec![0; bytes]),
                Region::Constant(Arc::new(images.concat())),
                Region::Constant(Arc::new(self.coded)),
            ],
            images: (self.zone.base, if self.cold { Vec::new() } else { images }),
            syncs: self.syncs,
            lists: self.writers.into_iter().map(Writer::finish).collect(),
        }
    }
}

/// The operations of a loop that moves addresses, one per round: often only one.
fn rounds(operation: &Operation, kind: EngineKind, scene: &mut Scene<'_>) -> (Vec<[u32; 2]>, Vec<Operation>) {
    let registers = match kind {
        EngineKind::Cnn => [CnnRegister::InAddr.index(), CnnRegister::OutAddr.index()],
        EngineKind::Dma => [DmaRegister::SrcAddr.index(), DmaRegister::DstAddr.index()],
    };
    let count = if scene.rng.chance(40) { scene.rng.within(2..=4) } else { 1 };
    let pairs = registers.map(|index| {
        let by = scene.rng.signed(-8..=8) * 32;
        [u32::from(index), by.cast_unsigned()]
    });
    let mut file = RegisterFile::new(kind);
    operation.store(&mut file);
    let mut rounds = vec![*operation];
    for _ in 1..count {
        let moved = Pairs::new(&pairs).is_some_and(|pairs| file.add_pairs(pairs).is_ok());
        match Operation::read(operation.code(), &file, scene.target) {
            Ok(next) if moved && is_acceptable(&next, scene) => rounds.push(next),
            _ => break,
        }
    }
    (pairs.to_vec(), rounds)
}

/// Pieces that one engine loads and another uses, each as soon as it is there.
struct Stream {
    piece: u32,
    pieces: u16,
    load: Copy,
    use_: Eltwise,
}

impl Stream {
    fn random(scene: &mut Scene<'_>) -> Option<Self> {
        let (piece, pieces) = (32 * scene.rng.within(1..=4), scene.rng.within(2..=5));
        let bytes = u64::from(piece * pieces);
        let (loaded, used) = (scene.place(bytes, 1)?, scene.place(bytes, 1)?);
        let disjoint = u64::from(loaded.abs_diff(used)) >= bytes;
        let source = Location::dram(0, scene.rng.within(0..=REGION_BYTES - piece * pieces));
        let map = |address| FeatureMap::dense(address, [1, 1, piece], ElementType::Int8);
        let zero = scene.rng.signed(-5..=5);
        let first = Stage { map: map(loaded), broadcast: false, zero, scale: OutputStage::NONE };
        let use_ = Eltwise {
            function: EltwiseFunction::Pass,
            pre_shift: 0,
            first,
            second: None,
            output: map(used),
            stage: OutputStage::NONE,
            activation: cnnip_isa::operation::Activation::full_range(zero, ElementType::Int8),
        };
        let load = Copy::dense(source, Location::sram(loaded), piece);
        disjoint.then_some(Self { piece, pieces: u16::try_from(pieces).ok()?, load, use_ })
    }

    /// What the loads and what the uses touch, the pieces in between left out of the latter.
    fn touched(&self) -> (Vec<Touched>, Vec<Touched>) {
        let bytes = self.piece * u32::from(self.pieces);
        let all = Copy::dense(self.load.source, self.load.destination, bytes);
        let run = |address| FeatureMap::dense(address, [1, 1, bytes], ElementType::Int8);
        let (input, output) = (run(self.use_.first.map.address), run(self.use_.output.address));
        let first = Stage { map: input, ..self.use_.first };
        let uses = touched(&Operation::Eltwise(Eltwise { first, output, ..self.use_ }));
        (touched(&Operation::Copy(all)), uses)
    }

    /// Writes the loop of loads; gives the word index of its signal.
    fn write_loads(&self, writer: &mut Writer, token: u8) -> usize {
        let pairs = [DmaRegister::SrcAddr, DmaRegister::DstAddr].map(|r| [u32::from(r.index()), self.piece]);
        let mut signal = 0;
        self.write(writer, &Operation::Copy(self.load), &pairs, |writer| {
            writer.put(&Command::Run(OperationCode::Copy));
            signal = writer.words.len();
            writer.put(&Command::Signal { token });
        });
        signal
    }

    /// Writes the loop of uses; gives the word index of its wait.
    fn write_uses(&self, writer: &mut Writer, token: u8) -> usize {
        let pairs = [CnnRegister::InAddr, CnnRegister::OutAddr].map(|r| [u32::from(r.index()), self.piece]);
        let mut wait = 0;
        self.write(writer, &Operation::Eltwise(self.use_), &pairs, |writer| {
            wait = writer.words.len();
            writer.put(&Command::Wait { token, count: 1 });
            writer.put(&Command::Run(OperationCode::Eltwise));
        });
        wait
    }

    fn write(&self, writer: &mut Writer, first: &Operation, pairs: &[[u32; 2]], body: impl FnOnce(&mut Writer)) {
        let mut registers = writer.registers.clone();
        first.store(&mut registers);
        writer.set(&registers);
        writer.repeat(self.pieces, pairs, body);
    }
}
