//! A second machine, slow and obvious, written from `order.md`, `commands.md` and `timing.md`.
//!
//! It carries out every command at its start, one after the other in the order of starts, and keeps sets of bytes where the
//! machine under test keeps anything clever. It shares with that machine only the decoding of commands and registers; results
//! and lengths of operations are those of the test kit's oracle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cnnip_core::{EngineId, Machine, Region, RegionKind, Stop};
use cnnip_isa::operation::{
    Conv, ConvKind, FeatureMap, Operand, Operation, OperationError, OutputStage, PoolKind, Space, Stage,
};
use cnnip_isa::{
    Command, ElementType, FaultCode, OperationCode, Pairs, RegisterError, RegisterFile, RoundingMode, decode_at,
};
use cnnip_testkit::{oracle, touched};

use crate::vector::{Vector, detail, space_name};

/// How a program ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Fault(Failure),
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: FaultCode,
    pub(crate) engine: EngineId,
    pub(crate) pc: usize,
    pub(crate) cycle: u64,
    layer: Option<u32>,
    /// What the report may say beside; more than one text where several commands race. Empty: anything.
    pub(crate) details: Vec<String>,
}

/// What stands at the end.
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    cycle: u64,
    srams: Vec<Vec<u8>>,
    regions: Vec<Vec<u8>>,
    registers: Vec<RegisterFile>,
    tokens: BTreeMap<(u8, u8), usize>,
}

/// Code and details of a fault whose place is not said yet.
type Cause = (FaultCode, Vec<String>);

fn cause(code: FaultCode, detail: String) -> Cause {
    (code, vec![detail])
}

enum Frame {
    Call(usize),
    Loop(usize, u16),
}

struct Engine<'a> {
    id: EngineId,
    list: Option<&'a [u32]>,
    registers: RegisterFile,
    pc: usize,
    frames: Vec<Frame>,
    layer: Option<u32>,
    ready: u64,
    ended: bool,
    /// How many commands of each engine happened before the next one of this engine.
    seen: Vec<u64>,
}

struct Signal {
    available: u64,
    seen: Vec<u64>,
}

/// The bytes of an operand, true if it is written.
type ByteSet = (Space, bool, BTreeSet<u64>);

/// A `RUN` that passed its checks.
struct Access {
    engine: usize,
    number: u64,
    pc: usize,
    operands: Vec<ByteSet>,
}

struct Slow<'a> {
    vector: &'a Vector,
    engines: Vec<Engine<'a>>,
    srams: Vec<Vec<u8>>,
    regions: Vec<Vec<u8>>,
    /// Bytes written, of every scratchpad; of every buffer, `None` for constants.
    written: Vec<Vec<bool>>,
    region_written: Vec<Option<Vec<bool>>>,
    tokens: BTreeMap<(u8, u8), VecDeque<Signal>>,
    accesses: Vec<Access>,
    commands: u64,
    fault: Option<Failure>,
}

/// Compares the machine's end with the slow machine's.
pub(crate) fn check(vector: &Vector, machine: &Machine, stop: &Stop, problems: &mut Vec<String>) {
    let want = run(vector);
    let state = machine.state();
    match (&want.ending, stop) {
        (Ending::Done, Stop::Done) => {}
        (Ending::Fault(want), Stop::Fault(fault)) => {
            let place = (fault.cause.code(), fault.at.engine, fault.at.pc, fault.at.cycle, fault.layer);
            let same = place == (want.code, want.engine, want.pc, want.cycle, want.layer);
            if !same || !(want.details.is_empty() || want.details.contains(&detail(&fault.cause))) {
                problems.push(format!("{fault}\n  is not what the slow machine finds: {want:?}"));
            }
        }
        (want, Stop::Fault(fault)) => problems.push(format!("{fault}; slow machine: {want:?}")),
        (want, stop) => problems.push(format!("{stop:?}; slow machine: {want:?}")),
    }
    if state.cycle() != want.cycle {
        problems.push(format!("ends in cycle {}; slow machine: {}", state.cycle(), want.cycle));
    }
    for (core, sram) in (0..).zip(&want.srams) {
        compare(&format!("scratchpad {core}"), state.sram(core), sram, problems);
    }
    for (number, region) in (0..).zip(&want.regions) {
        compare(&format!("region {number}"), state.region(number), region, problems);
    }
    for (engine, registers) in machine.engines().zip(&want.registers) {
        if state.registers(engine) != Some(registers) {
            problems.push(format!("registers of {engine} are not those of the slow machine"));
        }
    }
    for (&(core, token), &count) in &want.tokens {
        if state.token(token, core) != Some(count) {
            problems.push(format!("token {token}: {:?}; slow machine: {count}", state.token(token, core)));
        }
    }
}

fn compare(what: &str, got: Option<&[u8]>, want: &[u8], problems: &mut Vec<String>) {
    let got = got.unwrap_or_default();
    if got != want {
        let place = got.iter().zip(want).position(|(a, b)| a != b);
        problems.push(format!("{what} differs from the slow machine's at {place:x?}"));
    }
}

/// Memory of the first core before a vector runs.
pub(crate) fn memory(vector: &Vector) -> oracle::Memory {
    let slow = Slow::new(vector);
    oracle::Memory { sram: slow.srams.into_iter().next().unwrap_or_default(), regions: slow.regions }
}

/// Runs a vector to its end.
pub(crate) fn run(vector: &Vector) -> Outcome {
    let mut slow = Slow::new(vector);
    while let Some((start, engine)) = slow.next() {
        if slow.fault.as_ref().is_some_and(|fault| start >= fault.cycle) {
            break;
        }
        slow.issue(engine, start);
    }
    slow.finish()
}

impl<'a> Slow<'a> {
    fn new(vector: &'a Vector) -> Self {
        let cores = usize::try_from(vector.target.cores).unwrap();
        let sram_bytes = usize::try_from(vector.target.sram_bytes).unwrap();
        let ids: Vec<EngineId> = (0..3 * cores).filter_map(EngineId::from_index).collect();
        let engine = |&id: &EngineId| {
            let list = vector.lists.iter().find(|(engine, _)| *engine == id).map(|(_, words)| words.as_slice());
            Engine {
                id,
                list,
                registers: RegisterFile::new(id.slot.kind()),
                pc: 0,
                frames: Vec::new(),
                layer: None,
                ready: 0,
                ended: list.is_none(),
                seen: vec![0; ids.len()],
            }
        };
        let mut slow = Self {
            vector,
            engines: ids.iter().map(engine).collect(),
            srams: vec![vec![0; sram_bytes]; cores],
            regions: Vec::new(),
            written: vec![vec![false; sram_bytes]; cores],
            region_written: Vec::new(),
            tokens: BTreeMap::new(),
            accesses: Vec::new(),
            commands: 0,
            fault: None,
        };
        for (core, address, bytes) in &vector.sram {
            let (core, start) = (usize::from(*core), usize::try_from(*address).unwrap());
            slow.srams[core][start..start + bytes.len()].copy_from_slice(bytes);
            slow.written[core][start..start + bytes.len()].fill(true);
        }
        for bound in &vector.regions {
            let (bytes, written) = match &bound.region {
                Region::Unbound => (Vec::new(), None),
                Region::Constant(bytes) => ((**bytes).as_ref().to_vec(), None),
                Region::Buffer { kind, bytes } => {
                    let written = bound.written || *kind == RegionKind::Input;
                    (bytes.clone(), Some(vec![written; bytes.len()]))
                }
            };
            slow.regions.push(bytes);
            slow.region_written.push(written);
        }
        for owner in &vector.tokens {
            slow.tokens.insert(key(owner.token, owner.signals), VecDeque::new());
        }
        slow
    }

    /// The next start in the order of (cycle, core, engine); notes a deadlock.
    fn next(&mut self) -> Option<(u64, usize)> {
        let starts = (0..self.engines.len()).filter_map(|engine| Some((self.start_of(engine)?, engine)));
        let next = starts.min();
        if next.is_none() && self.fault.is_none() && self.engines.iter().any(|engine| !engine.ended) {
            self.deadlock();
        }
        next
    }

    fn start_of(&self, index: usize) -> Option<u64> {
        let engine = &self.engines[index];
        if engine.ended {
            return None;
        }
        let list = engine.list.unwrap_or_default();
        let Ok((Command::Wait { token, count }, _)) = decode_at(list, engine.pc, engine.id.slot.kind()) else {
            return Some(engine.ready);
        };
        if self.waiter(token, engine.id) != Some(engine.id) {
            return Some(engine.ready);
        }
        let signals = &self.tokens[&key(token, engine.id)];
        Some(engine.ready.max(signals.get(usize::from(count) - 1)?.available))
    }

    fn waiter(&self, token: u8, engine: EngineId) -> Option<EngineId> {
        self.vector.tokens.iter().find(|owner| key(owner.token, owner.waits) == key(token, engine)).map(|o| o.waits)
    }

    fn signaller(&self, token: u8, engine: EngineId) -> Option<EngineId> {
        self.vector.tokens.iter().find(|owner| key(owner.token, owner.signals) == key(token, engine)).map(|o| o.signals)
    }

    fn drained(&self) -> u64 {
        self.engines.iter().map(|engine| engine.ready).max().unwrap_or(0)
    }

    fn deadlock(&mut self) {
        let waiting = self.engines.iter().filter(|engine| !engine.ended);
        let waits: Vec<String> = waiting.clone().map(|engine| self.waiting(engine)).collect();
        let Some(first) = waiting.clone().next() else { return };
        self.fault = Some(Failure {
            code: FaultCode::Deadlock,
            engine: first.id,
            pc: first.pc,
            cycle: self.drained(),
            layer: first.layer,
            details: vec![waits.join("; ")],
        });
    }

    fn waiting(&self, engine: &Engine<'_>) -> String {
        let list = engine.list.unwrap_or_default();
        let Ok((Command::Wait { token, count }, _)) = decode_at(list, engine.pc, engine.id.slot.kind()) else {
            return String::new();
        };
        let (id, pc) = (engine.id, engine.pc);
        let has = self.tokens[&key(token, id)].len();
        let from = self.signaller(token, id).map(|engine| engine.to_string()).unwrap_or_default();
        format!("{id} pc {pc} waits for {count} of token {token}, {from} gave {has}")
    }

    /// Notes a fault unless an earlier one is known.
    fn fail(&mut self, engine: usize, pc: usize, cycle: u64, (code, details): Cause) {
        let (id, layer) = (self.engines[engine].id, self.engines[engine].layer);
        if self.fault.as_ref().is_none_or(|known| (cycle, id) < (known.cycle, known.engine)) {
            self.fault = Some(Failure { code, engine: id, pc, cycle, layer, details });
        }
    }

    fn issue(&mut self, index: usize, start: u64) {
        let pc = self.engines[index].pc;
        if let Err(cause) = self.execute(index, start) {
            self.fail(index, pc, start, cause);
        }
    }

    fn within_budget(&self, end: u64) -> Result<(), Cause> {
        if end <= self.vector.max_cycles { Ok(()) } else { Err(cause(FaultCode::Budget, format!("{end} cycles"))) }
    }

    fn execute(&mut self, index: usize, start: u64) -> Result<(), Cause> {
        let needed = self.commands + 1;
        if needed > self.vector.max_commands {
            return Err(cause(FaultCode::Budget, format!("{needed} commands")));
        }
        let engine = &self.engines[index];
        let list = engine.list.unwrap_or_default();
        let (command, words) =
            decode_at(list, engine.pc, engine.id.slot.kind()).map_err(|error| (error.why.fault_code(), Vec::new()))?;
        let number = engine.seen[index] + 1;
        let next = engine.pc + words;
        let end = if let Command::Run(code) = command {
            let end = self.run(index, code, start, number)?;
            self.engines[index].pc = next;
            end
        } else {
            let end = start + u64::try_from(words).unwrap();
            self.within_budget(end)?;
            self.engines[index].pc = self.control(index, &command, next, start, number)?;
            end
        };
        let engine = &mut self.engines[index];
        engine.ready = end;
        engine.seen[index] = number;
        self.commands += 1;
        Ok(())
    }

    /// A command other than `RUN`; gives the next word index.
    fn control(
        &mut self,
        index: usize,
        command: &Command<'_>,
        next: usize,
        start: u64,
        number: u64,
    ) -> Result<usize, Cause> {
        let engine = &mut self.engines[index];
        let id = engine.id;
        match *command {
            Command::Set { first, values } => engine.registers.write_burst(first, values).map_err(register)?,
            Command::End => engine.ended = true,
            Command::Mark { layer } => engine.layer = Some(layer),
            Command::Trap { code } => return Err(cause(FaultCode::Trap, format!("code {code}"))),
            Command::Call { target } => {
                push(engine, Frame::Call(next))?;
                return Ok(usize::try_from(target).unwrap());
            }
            Command::Loop { count } => push(engine, Frame::Loop(next, count))?,
            Command::Ret => {
                return match engine.frames.pop() {
                    Some(Frame::Call(back)) => Ok(back),
                    _ => Err((FaultCode::ControlStack, Vec::new())),
                };
            }
            Command::Next { pairs } => return next_round(engine, pairs, next),
            Command::Signal { token } => {
                let mut seen = engine.seen.clone();
                seen[index] = number;
                return self.signal(id, token, Signal { available: start + 1, seen }).map(|()| next);
            }
            Command::Wait { token, count } => return self.wait(index, token, count).map(|()| next),
            Command::Nop | Command::Int { .. } | Command::Run(_) => {}
        }
        Ok(next)
    }

    fn signal(&mut self, id: EngineId, token: u8, signal: Signal) -> Result<(), Cause> {
        if self.signaller(token, id) != Some(id) {
            return Err(cause(FaultCode::TokenOwner, format!("token {token}")));
        }
        let signals = self.tokens.entry(key(token, id)).or_default();
        if signals.len() == 65_535 {
            return Err(cause(FaultCode::TokenOverflow, format!("token {token}")));
        }
        signals.push_back(signal);
        Ok(())
    }

    fn wait(&mut self, index: usize, token: u8, count: u16) -> Result<(), Cause> {
        let id = self.engines[index].id;
        if self.waiter(token, id) != Some(id) {
            return Err(cause(FaultCode::TokenOwner, format!("token {token}")));
        }
        let signals = self.tokens.entry(key(token, id)).or_default();
        for signal in signals.drain(..usize::from(count)) {
            let seen = &mut self.engines[index].seen;
            seen.iter_mut().zip(signal.seen).for_each(|(mine, theirs)| *mine = (*mine).max(theirs));
        }
        Ok(())
    }

    /// All checks of a `RUN` in the order of `order.md`, then its results; gives its end.
    fn run(&mut self, index: usize, code: OperationCode, start: u64, number: u64) -> Result<u64, Cause> {
        let (id, pc) = (self.engines[index].id, self.engines[index].pc);
        let operation =
            Operation::read(code, &self.engines[index].registers, self.vector.target).map_err(|error| match error {
                OperationError::Unsupported { .. } => (FaultCode::Unsupported, Vec::new()),
                error => cause(FaultCode::IllegalParameter, parameter(&error)),
            })?;
        register_scales(&operation)?;
        let operands: Vec<Operand> = operation.operands().iter().copied().collect();
        operands.iter().try_for_each(|operand| self.bounds(operand))?;
        let end = start + oracle::cycles(&operation, self.vector.target);
        self.within_budget(end)?;
        let sets: Vec<ByteSet> = operands.iter().map(byte_set).collect();
        same_as_touched(&sets, &operation);
        no_overlap(&operation, &operands, &sets)?;
        for (operand, set) in operands.iter().zip(&sets) {
            self.race(index, set)?;
            self.initialised(id.core, operand, set)?;
        }
        self.bitmap(id.core, &operation)?;
        self.record_scales(id.core, &operation)?;
        self.weight_stream(id.core, &operation)?;
        for (space, _, bytes) in sets.iter().filter(|(_, write, _)| *write) {
            let written = self.written_mut(id.core, *space);
            bytes.iter().for_each(|&byte| written[usize::try_from(byte).unwrap()] = true);
        }
        self.accesses.push(Access { engine: index, number, pc, operands: sets });
        let overflow = self.results(id.core, &operation);
        let Some(overflow) = overflow else { return Ok(end) };
        let [row, column, channel] = overflow.place;
        let detail = format!("{} at {row} {column} {channel} in {} bits", overflow.value, overflow.bits);
        self.fail(index, pc, start + overflow.cycle, cause(FaultCode::AccumulatorOverflow, detail));
        Ok(start + overflow.cycle)
    }

    /// What the oracle says that the operation leaves in memory.
    fn results(&mut self, core: u8, operation: &Operation) -> Option<oracle::Overflow> {
        let core = usize::from(core);
        let before =
            oracle::Memory { sram: std::mem::take(&mut self.srams[core]), regions: std::mem::take(&mut self.regions) };
        let after = oracle::after(operation, self.vector.target, &before, u64::MAX);
        self.srams[core] = after.memory.sram;
        self.regions = after.memory.regions;
        after.overflow
    }

    fn bounds(&self, operand: &Operand) -> Result<(), Cause> {
        let extent = operand.bytes.extent();
        let bytes = format!("{} bytes {:#x}..{:#x}", operand.role.name(), extent.start, extent.end);
        match operand.bytes.space() {
            Space::Sram if extent.end <= u64::from(self.vector.target.sram_bytes) => Ok(()),
            Space::Sram => Err(cause(FaultCode::SramRange, bytes)),
            Space::Dram(number) => {
                let fits = |bytes: &[u8]| extent.end <= u64::try_from(bytes.len()).unwrap();
                let legal = match self.vector.regions.get(usize::from(number)).map(|bound| &bound.region) {
                    None | Some(Region::Unbound) => false,
                    Some(Region::Constant(bytes)) => !operand.role.is_write() && fits((**bytes).as_ref()),
                    Some(Region::Buffer { kind, bytes }) => {
                        (*kind != RegionKind::Input || !operand.role.is_write()) && fits(bytes)
                    }
                };
                let outside = || cause(FaultCode::RegionBounds, format!("{bytes} of region {number}"));
                if legal { Ok(()) } else { Err(outside()) }
            }
        }
    }

    fn written_mut(&mut self, core: u8, space: Space) -> &mut [bool] {
        match space {
            Space::Sram => &mut self.written[usize::from(core)],
            Space::Dram(region) => self.region_written[usize::from(region)].as_deref_mut().unwrap_or_default(),
        }
    }

    fn race(&self, index: usize, (space, write, bytes): &ByteSet) -> Result<(), Cause> {
        if !self.vector.checks.race {
            return Ok(());
        }
        let (id, seen) = (self.engines[index].id, &self.engines[index].seen);
        let mut details = Vec::new();
        for access in &self.accesses {
            let other = self.engines[access.engine].id;
            let ordered = access.engine == index || seen[access.engine] >= access.number;
            if ordered || (*space == Space::Sram && other.core != id.core) {
                continue;
            }
            for (_, _, theirs) in access.operands.iter().filter(|(s, w, _)| s == space && (*write || *w)) {
                let shared = theirs.intersection(bytes);
                let place = space_name(*space);
                details.extend(shared.map(|byte| format!("byte {byte:#x} of {place} after {other} pc {}", access.pc)));
            }
        }
        if details.is_empty() { Ok(()) } else { Err((FaultCode::Race, details)) }
    }

    fn initialised(&mut self, core: u8, operand: &Operand, (space, write, bytes): &ByteSet) -> Result<(), Cause> {
        let constant = matches!(space, Space::Dram(region) if self.region_written[usize::from(*region)].is_none());
        if !self.vector.checks.uninitialised || *write || constant {
            return Ok(());
        }
        let written = self.written_mut(core, *space);
        let missing = bytes.iter().find(|&&byte| !written[usize::try_from(byte).unwrap()]);
        missing.map_or(Ok(()), |byte| {
            let detail = format!("{} byte {byte:#x} of {}", operand.role.name(), space_name(*space));
            Err(cause(FaultCode::UninitialisedRead, detail))
        })
    }

    fn record_scales(&self, core: u8, operation: &Operation) -> Result<(), Cause> {
        let Operation::Conv(Conv { records, output, requant, accumulators, .. }) = operation else { return Ok(()) };
        if accumulators.store.is_some() {
            return Ok(());
        }
        for channel in 0..output.channels {
            let start = usize::try_from(records + 16 * channel).unwrap();
            let word = |at: usize| {
                let bytes = &self.srams[usize::from(core)][start + at..start + at + 4];
                u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            };
            if !is_legal_scale(*requant, word(8), word(12).cast_signed()) {
                return Err(cause(FaultCode::IllegalParameter, format!("scale of channel {channel}")));
            }
        }
        Ok(())
    }

    /// The bitmap of sparse weights has as many set bits, in all and for any 16 output channels, as the registers say.
    fn bitmap(&self, core: u8, operation: &Operation) -> Result<(), Cause> {
        let Operation::Conv(conv) = operation else { return Ok(()) };
        let (Some(sparse), ConvKind::Grouped { groups }) = (conv.weights.sparse, conv.kind) else { return Ok(()) };
        let per = if conv.weights.element == ElementType::Int16 { 2 } else { 4 };
        let rows = groups * (conv.output.channels / groups).div_ceil(16);
        let blocks = conv.window.kernel_h * conv.window.kernel_w * (conv.input.channels / groups).div_ceil(per);
        let is_set = |bit: u32| {
            let byte = self.srams[usize::from(core)][usize::try_from(sparse.bitmap + bit / 8).unwrap()];
            byte >> (bit % 8) & 1 == 1
        };
        let of_row = |row: u32| u32::try_from((row * blocks..(row + 1) * blocks).filter(|&bit| is_set(bit)).count());
        let counts: Vec<u32> = (0..rows).map(|row| of_row(row).unwrap()).collect();
        if counts.iter().sum::<u32>() != sparse.stored {
            return Err(cause(FaultCode::IllegalParameter, "W_STORED".to_owned()));
        }
        if counts.iter().any(|&count| count > sparse.longest) {
            return Err(cause(FaultCode::IllegalParameter, "W_LONGEST".to_owned()));
        }
        Ok(())
    }

    /// Every block of a weight stream decodes.
    fn weight_stream(&self, core: u8, operation: &Operation) -> Result<(), Cause> {
        let Operation::Decode(decode) = operation else { return Ok(()) };
        let memory = oracle::Memory { sram: self.srams[usize::from(core)].clone(), regions: self.regions.clone() };
        let wrong = |block: u32| cause(FaultCode::WeightStream, format!("block {block}"));
        oracle::decode(decode, &memory).map(drop).map_err(wrong)
    }

    fn finish(self) -> Outcome {
        let cycle = self.drained().max(self.fault.as_ref().map_or(0, |fault| fault.cycle));
        Outcome {
            cycle,
            ending: self.fault.map_or(Ending::Done, Ending::Fault),
            srams: self.srams,
            regions: self.regions,
            registers: self.engines.into_iter().map(|engine| engine.registers).collect(),
            tokens: self.tokens.into_iter().map(|(key, signals)| (key, signals.len())).collect(),
        }
    }
}

/// Core-local tokens exist once per core, system tokens once.
fn key(token: u8, engine: EngineId) -> (u8, u8) {
    (if token < 64 { engine.core } else { 0 }, token)
}

fn register(error: RegisterError) -> Cause {
    let code = match error {
        RegisterError::UnknownRegister { .. } => FaultCode::IllegalRegister,
        RegisterError::ReservedBits { .. } => FaultCode::ReservedBits,
    };
    (code, Vec::new())
}

fn push(engine: &mut Engine<'_>, frame: Frame) -> Result<(), Cause> {
    if engine.frames.len() == 8 {
        return Err((FaultCode::ControlStack, Vec::new()));
    }
    engine.frames.push(frame);
    Ok(())
}

fn next_round(engine: &mut Engine<'_>, pairs: Pairs<'_>, next: usize) -> Result<usize, Cause> {
    if pairs.iter().any(|(index, _)| engine.registers.get(index).is_none()) {
        return Err((FaultCode::IllegalRegister, Vec::new()));
    }
    match engine.frames.pop() {
        Some(Frame::Loop(_, 1)) => Ok(next),
        Some(Frame::Loop(body, left)) => {
            engine.registers.add_pairs(pairs).map_err(register)?;
            engine.frames.push(Frame::Loop(body, left - 1));
            Ok(body)
        }
        _ => Err((FaultCode::ControlStack, Vec::new())),
    }
}

fn parameter(error: &OperationError) -> String {
    match error {
        OperationError::IllegalParameter { register, .. } => (*register).to_owned(),
        _ => String::new(),
    }
}

fn byte_set(operand: &Operand) -> ByteSet {
    let mut bytes = BTreeSet::new();
    operand.bytes.for_each_run_in(&operand.bytes.extent(), |run| bytes.extend(run));
    (operand.bytes.space(), operand.role.is_write(), bytes)
}

/// The footprints are the bytes that the test kit finds element by element.
fn same_as_touched(sets: &[ByteSet], operation: &Operation) {
    let mine: BTreeSet<_> = sets.iter().map(|(_, write, bytes)| (*write, bytes.clone())).collect();
    let theirs: BTreeSet<_> = touched(operation).into_iter().map(|t| (t.write, t.bytes)).collect();
    assert!(mine == theirs, "footprints of {operation:?}");
}

fn no_overlap(operation: &Operation, operands: &[Operand], sets: &[ByteSet]) -> Result<(), Cause> {
    let all = || operands.iter().zip(sets);
    for (write, (space, _, written)) in all().filter(|(_, set)| set.1) {
        for (read, (other, _, bytes)) in all().filter(|(_, set)| !set.1) {
            if space == other && !written.is_disjoint(bytes) && !in_place(operation, read.role.name()) {
                let detail = format!("{} over {}", write.role.name(), read.role.name());
                return Err(cause(FaultCode::IllegalParameter, detail));
            }
        }
    }
    Ok(())
}

fn in_place(operation: &Operation, role: &str) -> bool {
    let at = |map: &FeatureMap, output: &FeatureMap| {
        map.address == output.address
            && (output.height == 1 || map.row == output.row)
            && (output.width == 1 || map.pixel == output.pixel)
            && width(map.element) == width(output.element)
    };
    let stage =
        |stage: &Stage, output: &FeatureMap| at(&stage.map, output) && (!stage.broadcast || output.channels == 1);
    match (operation, role) {
        (Operation::Eltwise(op), "input") => stage(&op.first, &op.output),
        (Operation::Eltwise(op), "second input") => op.second.is_some_and(|second| stage(&second, &op.output)),
        (Operation::Lookup(op), "input") => at(&op.input, &op.output),
        (Operation::Conv(op), "accumulators in") => op.accumulators.load == op.accumulators.store,
        (Operation::Reduce(op), "accumulators in") => op.accumulators.load == op.accumulators.store,
        _ => false,
    }
}

fn width(element: ElementType) -> u32 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 | ElementType::Uint8 => 1,
        ElementType::Int16 => 2,
        ElementType::Int32 => 4,
    }
}

/// The table of `numerics.md`, scales.
fn is_legal_scale(mode: RoundingMode, multiplier: u32, shift: i32) -> bool {
    match mode {
        RoundingMode::None => true,
        RoundingMode::Double => (-31..=30).contains(&shift),
        RoundingMode::Single => (-31..=31).contains(&shift),
        RoundingMode::Reduced => multiplier >> 31 == 0 && (-31..=7).contains(&shift),
        RoundingMode::Float | RoundingMode::FloatZero => shift == 0 && f32::from_bits(multiplier).is_finite(),
    }
}

fn register_scales(operation: &Operation) -> Result<(), Cause> {
    let stages: Vec<OutputStage> = match operation {
        Operation::Pool(pool) => match pool.kind {
            PoolKind::Average { stage, .. } => vec![stage],
            PoolKind::Max => Vec::new(),
        },
        Operation::Eltwise(op) => {
            let second = op.second.map(|second| second.scale);
            [Some(op.first.scale), second, Some(op.stage)].into_iter().flatten().collect()
        }
        Operation::Reduce(op) => vec![op.output.stage],
        _ => Vec::new(),
    };
    let legal = stages.iter().all(|stage| is_legal_scale(stage.mode, stage.multiplier, stage.shift));
    if legal { Ok(()) } else { Err(cause(FaultCode::IllegalParameter, "scale in registers".to_owned())) }
}
