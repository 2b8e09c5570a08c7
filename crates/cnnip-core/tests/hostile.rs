//! Lists that mean harm: whatever they ask for, all modes agree, and no command costs the host out of proportion to its cycles.

use std::sync::Arc;

use cnnip_core::{
    Checks, EngineId, Fault, FaultCause, Machine, NoObserver, Observer, Options, Program, Region, RegionKind, Slot,
    Stop, TokenOwner,
};
use cnnip_isa::asm::assemble_str;
use cnnip_isa::{FaultCode, Target};

const DMA0: EngineId = EngineId { core: 0, slot: Slot::Dma0 };
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
