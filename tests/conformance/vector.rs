//! One vector: a program with its memory, how it must end, and the machine's end in every mode of execution.

use std::sync::Arc;

use cnnip_core::{
    Checks, Difference, EngineId, Fault, FaultCause, Limit, Machine, NoObserver, Observer, Options, Program, Region,
    Stop, TokenOwner, Waiting,
};
use cnnip_isa::operation::{OperationError, Space};
use cnnip_isa::{FaultCode, Target};
use cnnip_testkit::{Rng, oracle};

use crate::slow::{self, Ending};

/// A region of external memory, and whether the host has written it.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) region: Region,
    pub(crate) written: bool,
}

/// A program, what is in memory before it, and what it must lead to.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) target: &'static Target,
    pub(crate) tokens: Vec<TokenOwner>,
    pub(crate) regions: Vec<Bound>,
    /// Core, address, bytes.
    pub(crate) sram: Vec<(u8, u32, Vec<u8>)>,
    pub(crate) lists: Vec<(EngineId, Vec<u32>)>,
    pub(crate) checks: Checks,
    pub(crate) max_commands: u64,
    pub(crate) max_cycles: u64,
    pub(crate) end: End,
    pub(crate) facts: Vec<Fact>,
    pub(crate) stopped: Option<Stopped>,
}

/// What must stand in some cycle amid the one operation of a program.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    pub(crate) engine: EngineId,
    pub(crate) cycle: u64,
    pub(crate) want: oracle::Outcome,
}

/// How a program must end.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Every engine ends; in this cycle, if the vector says so.
    Done(Option<u64>),
    /// A fault.
    Fault(Expected),
    /// As the slow machine ends, which must be a fault if the flag is set.
    AsSlow { fault: bool },
}

/// A fault as a vector writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) code: FaultCode,
    pub(crate) engine: EngineId,
    pub(crate) pc: usize,
    pub(crate) cycle: u64,
    /// What [`detail`] gives; empty if the code says it all.
    pub(crate) detail: String,
}

/// Something that must hold at the end.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// Bytes of a scratchpad.
    Sram { core: u8, address: usize, bytes: Vec<u8> },
    /// Bytes of a region.
    Region { region: u8, offset: usize, bytes: Vec<u8> },
    /// A register.
    Register { engine: EngineId, index: u8, value: u32 },
    /// Signals that a token counts.
    Token { token: u8, core: u8, count: usize },
    /// Codes of all interrupts.
    Interrupts(Vec<u32>),
    /// Layer of the fault.
    Layer(u32),
}

/// Collects what the host is told.
#[derive(Default)]
struct Host {
    interrupts: Vec<u32>,
}

impl Observer for Host {
    fn interrupt(&mut self, _core: u8, code: u32, _cycle: u64) {
        self.interrupts.push(code);
    }
}

impl Vector {
    /// An empty program on a target.
    pub(crate) fn new(name: String, target: &'static Target) -> Self {
        Self {
            name,
            target,
            tokens: Vec::new(),
            regions: Vec::new(),
            sram: Vec::new(),
            lists: Vec::new(),
            checks: Checks::ALL,
            max_commands: 1_000_000,
            max_cycles: 10_000_000,
            end: End::Done(None),
            facts: Vec::new(),
            stopped: None,
        }
    }

    /// True if the program must fault.
    pub(crate) fn faults(&self) -> bool {
        matches!(self.end, End::Fault(_) | End::AsSlow { fault: true })
    }

    /// A machine before its first cycle.
    pub(crate) fn machine(&self, checks: Checks) -> Machine {
        let options =
            Options { checks, max_commands: self.max_commands, max_cycles: self.max_cycles, ..Options::default() };
        let lists = self.lists.iter().map(|(engine, words)| (*engine, Arc::from(words.as_slice())));
        let program = Program::new(self.target, lists, self.tokens.iter().copied()).expect("a program of this target");
        let regions = self.regions.iter().map(|bound| bound.region.clone()).collect();
        let mut machine = Machine::new(self.target, program, regions, options);
        for (core, address, bytes) in &self.sram {
            machine.write_sram(*core, *address, bytes).expect("bytes of the scratchpad");
        }
        for (number, bound) in (0..).zip(&self.regions) {
            if let (true, Region::Buffer { bytes, .. }) = (bound.written, &bound.region) {
                machine.write_region(number, 0, bytes).expect("a region's own bytes");
            }
        }
        machine
    }

    /// Runs in every mode; everything that is not as it must be, in words.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut host = Host::default();
        let mut machine = self.machine(self.checks);
        let stop = machine.run(&mut host);
        self.check_end(&machine, &stop, &mut problems);
        self.facts.iter().for_each(|fact| check_fact(fact, &machine, &host, &mut problems));
        slow::check(self, &machine, &stop, &mut problems);
        self.check_modes(&machine, &stop, &mut problems);
        if let Some(stopped) = &self.stopped {
            self.check_stopped(stopped, &mut problems);
        }
        problems
    }

    fn check_end(&self, machine: &Machine, stop: &Stop, problems: &mut Vec<String>) {
        match (&self.end, stop) {
            (End::Done(cycle), Stop::Done) => {
                let ended = machine.state().cycle();
                if cycle.is_some_and(|cycle| cycle != ended) {
                    problems.push(format!("ends in cycle {ended}, not {cycle:?}"));
                }
            }
            (End::Fault(want), Stop::Fault(fault)) => {
                let got = expected(fault, want.detail.is_empty());
                if got != *want {
                    problems.push(format!("{fault}\n  is {got:?}\n  not {want:?}"));
                }
            }
            (End::AsSlow { .. }, _) => {}
            (want, Stop::Fault(fault)) => problems.push(format!("{fault}, not {want:?}")),
            (want, stop) => problems.push(format!("{stop:?}, not {want:?}")),
        }
    }

    fn check_modes(&self, whole: &Machine, want: &Stop, problems: &mut Vec<String>) {
        let mut rng = Rng::new(whole.state().cycle());
        type Step<'a> = &'a mut dyn FnMut(&mut Machine) -> Stop;
        let mut sliced = |machine: &mut Machine| {
            let until = machine.state().cycle() + u64::from(rng.within(1..=60));
            machine.run_until(until, &mut NoObserver)
        };
        let modes: [(&str, Step<'_>); 4] = [
            ("by cycle", &mut |machine| machine.step_cycle(&mut NoObserver)),
            ("by command", &mut |machine| machine.step_command(&mut NoObserver)),
            ("in slices", &mut sliced),
            ("ahead", &mut |machine| machine.run_ahead(machine.state().cycle() + 100, &mut NoObserver)),
        ];
        for (mode, step) in modes {
            let mut machine = self.machine(self.checks);
            let mut stop = Stop::Paused;
            while stop == Stop::Paused {
                stop = step(&mut machine);
            }
            let differences: Vec<Difference> = machine.state().differences(whole.state());
            if stop != *want || !differences.is_empty() {
                problems.push(format!("{mode}: {stop:?} instead of {want:?}; {differences:?}"));
            }
        }
    }

    fn check_stopped(&self, stopped: &Stopped, problems: &mut Vec<String>) {
        let mut machine = self.machine(self.checks);
        machine.run_until(stopped.cycle, &mut NoObserver);
        let mut stepped = self.machine(self.checks);
        while stepped.state().cycle() < stopped.cycle {
            stepped.step_cycle(&mut NoObserver);
        }
        for state in [machine.state(), stepped.state()] {
            let regions = (0..).zip(&stopped.want.memory.regions);
            let memory = regions.fold(state.sram(0) == Some(&stopped.want.memory.sram), |same, (number, bytes)| {
                same && state.region(number) == Some(bytes)
            });
            let acc = state.accumulating(stopped.engine);
            let acc = acc.map(|a| oracle::InWork { block: a.block, steps: a.steps, values: a.values.to_vec() });
            if !memory || acc != stopped.want.in_work {
                problems.push(format!("cycle {}: memory alike: {memory}; accumulators {acc:?}", stopped.cycle));
            }
        }
    }

    /// How the slow machine ends, for families whose expectation it gives.
    pub(crate) fn slow_ending(&self) -> Ending {
        slow::run(self).ending
    }
}

fn check_fact(fact: &Fact, machine: &Machine, host: &Host, problems: &mut Vec<String>) {
    let state = machine.state();
    let part = |memory: Option<&[u8]>, start: usize, bytes: &[u8]| {
        memory.and_then(|memory| memory.get(start..start + bytes.len())).map(<[u8]>::to_vec)
    };
    let (holds, got) = match fact {
        Fact::Sram { core, address, bytes } => {
            let got = part(state.sram(*core), *address, bytes);
            (got.as_ref() == Some(bytes), format!("{got:?}"))
        }
        Fact::Region { region, offset, bytes } => {
            let got = part(state.region(*region), *offset, bytes);
            (got.as_ref() == Some(bytes), format!("{got:?}"))
        }
        Fact::Register { engine, index, value } => {
            let got = state.registers(*engine).and_then(|registers| registers.get(*index));
            (got == Some(*value), format!("{got:?}"))
        }
        Fact::Token { token, core, count } => {
            let got = state.token(*token, *core);
            (got == Some(*count), format!("{got:?}"))
        }
        Fact::Interrupts(codes) => (host.interrupts == *codes, format!("{:?}", host.interrupts)),
        Fact::Layer(layer) => {
            let got = state.fault().and_then(|fault| fault.layer);
            (got == Some(*layer), format!("{got:?}"))
        }
    };
    if !holds {
        problems.push(format!("{fact:?}, but there is {got}"));
    }
}

/// A fault in the words of a vector.
fn expected(fault: &Fault, coarse: bool) -> Expected {
    Expected {
        code: fault.cause.code(),
        engine: fault.at.engine,
        pc: fault.at.pc,
        cycle: fault.at.cycle,
        detail: if coarse { String::new() } else { detail(&fault.cause) },
    }
}

pub(crate) fn space_name(space: Space) -> String {
    match space {
        Space::Sram => "sram".to_owned(),
        Space::Dram(region) => format!("region {region}"),
    }
}

/// What a fault says beside code and place: the parameter, bytes, token, commands.
pub(crate) fn detail(cause: &FaultCause) -> String {
    match cause {
        FaultCause::Operation(OperationError::IllegalParameter { register, .. }) => (*register).to_owned(),
        FaultCause::Operation(OperationError::Overlap { read, write, .. }) => {
            format!("{} over {}", write.name(), read.name())
        }
        FaultCause::Scale { channel: None, .. } => "scale in registers".to_owned(),
        FaultCause::Scale { channel: Some(channel), .. } => format!("scale of channel {channel}"),
        FaultCause::SramRange { role, start, end, .. } => format!("{} bytes {start:#x}..{end:#x}", role.name()),
        FaultCause::RegionBounds { role, region, start, end, .. } => {
            format!("{} bytes {start:#x}..{end:#x} of region {region}", role.name())
        }
        FaultCause::Race { space, byte, other, .. } => {
            format!("byte {byte:#x} of {} after {} pc {}", space_name(*space), other.engine, other.pc)
        }
        FaultCause::Uninitialised { role, space, byte } => {
            format!("{} byte {byte:#x} of {}", role.name(), space_name(*space))
        }
        FaultCause::AccumulatorOverflow { row, column, channel, value, bits } => {
            format!("{value} at {row} {column} {channel} in {bits} bits")
        }
        FaultCause::TokenOwner { token, .. } | FaultCause::TokenOverflow { token } => format!("token {token}"),
        FaultCause::Deadlock { waits } => waits.iter().map(waiting).collect::<Vec<_>>().join("; "),
        FaultCause::Budget { limit: Limit::Commands, needed, .. } => format!("{needed} commands"),
        FaultCause::Budget { limit: Limit::Cycles, needed, .. } => format!("{needed} cycles"),
        FaultCause::WeightStream { block, .. } => format!("block {block}"),
        FaultCause::Trap { code } => format!("code {code}"),
        _ => String::new(),
    }
}

fn waiting(wait: &Waiting) -> String {
    let Waiting { at, token, needs, has, signaller } = wait;
    format!("{} pc {} waits for {needs} of token {token}, {signaller} gave {has}", at.engine, at.pc)
}
