//! Lists that mean harm: whatever they ask for, all modes agree, and no command costs the host out of proportion to its cycles.

use std::sync::Arc;

use cnnip_core::{
    Checks, EngineId, Fault, FaultCause, Machine, NoObserver, Observer, Options, Program, Region, RegionKind, Slot,
    Stop, TokenOwner,
};
use cnnip_isa::asm::assemble_str;
use cnnip_isa::{FaultCode, Target};

const DMA0: EngineId = EngineId { core: 0, slot: Slot::Dma0 };
const DMA1: EngineId = EngineId { core: 0, slot: Slot::Dma1 };
const CNN: EngineId = EngineId { core: 0, slot: Slot::Cnn };

/// Bytes of regions 0 and 1, both scratch.
const REGION_BYTES: usize = 1 << 24;

/// A machine of target v3m without checks for uninitialised reads.
fn machine(lists: &[(EngineId, &str)], tokens: &[(u8, EngineId, EngineId)]) -> Machine {
    let target = Target::by_name("v3m").expect("a target");
    let list = |&(engine, text): &(EngineId, &str)| {
        let words = assemble_str(text, engine.slot.kind()).unwrap_or_else(|why| panic!("{why:?}"));
        (engine, Arc::from(words))
    };
    let owner = |&(token, signals, waits): &(u8, EngineId, EngineId)| TokenOwner { token, signals, waits };
    let program = Program::new(target, lists.iter().map(list), tokens.iter().map(owner)).expect("a program");
    let scratch = || Region::Buffer { kind: RegionKind::Scratch, bytes: vec![0; REGION_BYTES] };
    let checks = Checks { race: true, uninitialised: false };
    Machine::new(target, program, vec![scratch(), scratch()], Options { checks, ..Options::default() })
}

fn code(stop: &Stop) -> Option<FaultCode> {
    match stop {
        Stop::Fault(fault) => Some(fault.cause.code()),
        Stop::Done | Stop::Paused => None,
    }
}

/// Counts the faults it is told of.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Observer for Faults {
    fn fault(&mut self, fault: &Fault) {
        self.0.push(fault.clone());
    }
}

/// A step of one kind.
type Step = fn(&mut Machine, &mut dyn Observer) -> Stop;

const MODES: [(&str, Step); 4] = [
    ("run", |machine, observer| machine.run(observer)),
    ("by command", |machine, observer| machine.step_command(observer)),
    ("by cycle", |machine, observer| machine.step_cycle(observer)),
    ("ahead", |machine, observer| machine.run_ahead(machine.state().cycle() + 7, observer)),
];

/// How lists end, the same in all modes; a fault is told to observers once, and it is the one that counts.
fn end(make: impl Fn() -> Machine) -> Stop {
    let whole = {
        let mut machine = make();
        machine.run(&mut NoObserver);
        machine
    };
    let ends = MODES.map(|(how, step)| {
        let (mut machine, mut faults) = (make(), Faults::default());
        let stop = loop {
            let stop = step(&mut machine, &mut faults);
            if stop != Stop::Paused {
                break stop;
            }
        };
        assert_eq!(machine.state().differences(whole.state()), [], "{how}");
        let told: Vec<Stop> = faults.0.iter().map(|fault| Stop::Fault(Box::new(fault.clone()))).collect();
        let want = if stop == Stop::Done { vec![] } else { vec![stop.clone()] };
        assert_eq!(told, want, "{how}: faults told to the observer");
        stop
    });
    let [first, ..] = ends;
    first
}

/// A sum of two pixels that, with the accumulator at 0x1000 in place, is out of range.
const OVERFLOW: &str = "set FORMAT IN=int8 OUT=int8, IN_ADDR 0, IN_SIZE W=2 H=1, IN_C 1, IN_ROW 2, IN_PIX 1, IN_ZERO 0\n\
    set OUT_ADDR 0x100\nset OUT_MIN -128, 127\nset REDUCE FUNCTION=sum, DIVISOR 1\n\
    set REQUANT MODE=double, OUT_MULT 0x40000000\nset ACC_MODE LOAD=1, ACC_IN_ADDR 0x1000\nrun REDUCE\n";

fn with_huge_accumulator(mut machine: Machine) -> Machine {
    machine.write_sram(0, 0x1000, &i64::MAX.to_le_bytes()).expect("an address in the scratchpad");
    machine
}

#[test]
fn an_overflow_in_the_cycle_of_a_deadlock_comes_first() {
    let cnn = format!("{OVERFLOW}wait 1 1\nend");
    let lists = [(DMA0, "wait 0 1\nend"), (CNN, cnn.as_str())];
    let stop = end(|| with_huge_accumulator(machine(&lists, &[(0, CNN, DMA0), (1, DMA0, CNN)])));
    assert_eq!(code(&stop), Some(FaultCode::AccumulatorOverflow), "{stop:?}");
}

#[test]
fn a_fault_before_a_known_overflow_is_the_only_one_told() {
    let cnn = format!("{OVERFLOW}end");
    let trap = "nop\n".repeat(25) + "trap 5";
    let lists = [(DMA0, trap.as_str()), (CNN, cnn.as_str())];
    let stop = end(|| with_huge_accumulator(machine(&lists, &[])));
    let Stop::Fault(fault) = &stop else { panic!("{stop:?}") };
    assert_eq!((&fault.cause, fault.at.cycle), (&FaultCause::Trap { code: 5 }, 25));
}

#[test]
fn checks_come_in_the_order_of_the_specification() {
    // Each list breaks two rules; the earlier one is reported.
    let copy = |source: &str, counts: &str| {
        format!(
            "set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=dram REGION=0, DST_ADDR {source}\n\
             set RUN_BYTES 1, COUNT0 {counts}, COUNT1 1, 1, 1\nset SRC_STEP0 1\nset DST_STEP0 2\nrun COPY\nend"
        )
    };
    let outside = copy("0xfffff0", "100");
    let over_itself = copy("8", "60000");
    let scale = "set FORMAT IN=int8 OUT=int8, IN_ADDR 0xfffffff0, IN_SIZE W=1 H=1, IN_C 1, IN_ROW 1, IN_PIX 1\n\
        set OUT_ADDR 0x100\nset OUT_MIN -128, 127\nset REDUCE FUNCTION=sum, DIVISOR 1\n\
        set REQUANT MODE=double, OUT_MULT 0x40000000, OUT_SHIFT 99\nrun REDUCE\nend";
    let cases = [
        ("bounds before overlap", DMA0, outside.as_str(), u64::MAX, FaultCode::RegionBounds),
        ("budget before overlap", DMA0, over_itself.as_str(), 50_000, FaultCode::Budget),
        ("overlap", DMA0, over_itself.as_str(), 100_000, FaultCode::IllegalParameter),
        ("scales in registers before bounds", CNN, scale, u64::MAX, FaultCode::IllegalParameter),
    ];
    for (why, engine, text, max_cycles, want) in cases {
        let make = || {
            let mut machine = machine(&[(engine, text)], &[]);
            let program = machine.program().clone();
            machine.restart(program, Options { max_cycles, ..Options::default() });
            machine
        };
        assert_eq!(code(&make().run(&mut NoObserver)), Some(want), "{why}");
    }
}

/// A DMA list that repeats an operation, adding to a register each time.
fn repeated(setup: &str, operation: &str, rounds: u32, next: &str) -> String {
    format!("{setup}\nloop {rounds}\nrun {operation}\nnext {next}\nend")
}

/// `COUNT` and `STEP` registers of a pattern, innermost first.
fn pattern(run: u32, dims: [(u32, u32); 4], steps: &[&str]) -> String {
    let [a, b, c, d] = dims.map(|(count, _)| count);
    let counts = format!("set RUN_BYTES {run}, COUNT0 {a}, {b}, {c}, {d}\n");
    let [e, f, g, h] = dims.map(|(_, step)| step);
    steps.iter().fold(counts, |text, name| text + &format!("set {name}_STEP0 {e}, {f}, {g}, {h}\n"))
}

const DRAM: &str = "set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=dram REGION=1, DST_ADDR 0\n";
const ONCE: (u32, u32) = (1, 0);

/// Lists that would take minutes to years if every access were compared with every other, or every run with every other, or if
/// an operation cost what lies between its bytes.
#[test]
fn no_list_takes_the_host_long() {
    let value = "set FILL_VALUE 0, FILL_BYTES 1";
    let bytes = |first: u32| format!("{}{DRAM}set DST_ADDR {first}\n{value}", pattern(1, [ONCE; 4], &["DST"]));
    let every_other = |first: u32, step: u32| {
        let dims = [(500, step), (500, 500 * step), ONCE, ONCE];
        format!("{}{DRAM}set DST_ADDR {first}\n{value}", pattern(3, dims, &["DST"]))
    };
    let over_itself = pattern(1, [(500, 61), (500, 63), ONCE, ONCE], &["SRC"])
        + &pattern(1, [(500, 1), (500, 500), ONCE, ONCE], &["DST"])
        + DRAM
        + "set DST_ADDR 8000000";
    let far = |first: u32| {
        let places = format!("set SRC_PLACE KIND=sram, SRC_ADDR {first}, DST_PLACE KIND=sram, DST_ADDR {first}\n");
        let steps = "set SRC_STEP0 400000\nset DST_STEP0 400002\n";
        format!("set RUN_BYTES 1, COUNT0 2, COUNT1 1, 1, 1\n{steps}{places}set DST_ADDR {}", first + 2)
    };
    let wide = |first: u32| pattern(70_000, [ONCE; 4], &["DST"]) + DRAM + value + &format!("\nset DST_ADDR {first}");
    let fills = |setup: &str, rounds: u32, step: u32| repeated(setup, "FILL", rounds, &format!("DST_ADDR=+{step}"));
    let copies = |setup: &str, rounds: u32, source: u32| {
        repeated(setup, "COPY", rounds, &format!("SRC_ADDR=+{source}, DST_ADDR=+{source}"))
    };
    let cases = [
        ("bytes in few pages", fills(&bytes(0), 60_000, 1), fills(&bytes(100_000), 60_000, 1)),
        ("bytes in many pages", fills(&bytes(0), 60_000, 150), fills(&bytes(1), 60_000, 150)),
        ("runs that interleave", fills(&every_other(0, 60), 20, 6), fills(&every_other(3, 60), 20, 6)),
        ("runs at odds", fills(&every_other(0, 60), 10, 6), fills(&every_other(3, 66), 1, 0)),
        ("two bytes far apart", copies(&far(0), 30_000, 4), copies(&far(200_000), 30_000, 4)),
        ("wide and new each time", fills(&wide(0), 20_000, 4), fills(&wide(8_000_000), 20_000, 4)),
        ("sources over themselves", copies(&over_itself, 5, 1), fills(&bytes(15_000_000), 1, 0)),
    ];
    for (why, dma0, dma1) in cases {
        let stop = machine(&[(DMA0, dma0.as_str()), (DMA1, dma1.as_str())], &[]).run(&mut NoObserver);
        assert_eq!(stop, Stop::Done, "{why}");
    }
}

#[test]
fn a_program_made_for_more_cores_runs_on_the_cores_it_was_made_for() {
    let [made_for, runs_on] = ["v3u", "v3m"].map(|name| Target::by_name(name).expect("a target"));
    let fill = pattern(4, [ONCE; 4], &["DST"]) + "set FILL_VALUE 9, FILL_BYTES 1\nrun FILL\nend";
    let words = assemble_str(&fill, DMA0.slot.kind()).expect("a list");
    let engine = EngineId { core: 2, ..DMA0 };
    let program = Program::new(made_for, [(engine, Arc::from(words))], []).expect("a program");
    let mut machine = Machine::new(runs_on, program.clone(), vec![], Options::default());
    assert_eq!(machine.run(&mut NoObserver), Stop::Done);
    let empty = Program::new(runs_on, [], []).expect("a program");
    machine.restart(empty, Options::default());
    assert_eq!(machine.run(&mut NoObserver), Stop::Done);
    machine.restart(program, Options::default());
    assert_eq!(machine.run(&mut NoObserver), Stop::Done);
    assert_eq!(machine.state().sram(2).map(|bytes| &bytes[..5]), Some(&[9, 9, 9, 9, 0][..]));
}
