//! Programs that must fault: the lists stand beside the whole message, which names code, engine, place, cycle and cause.

use std::sync::Arc;

use cnnip_core::{
    EngineId, Machine, NoObserver, Options, Program, ProgramError, Region, RegionKind, Slot, Stop, TokenOwner,
};
use cnnip_isa::asm::assemble_str;
use cnnip_isa::{FaultCode, Target};
use cnnip_testkit::each;

const DMA0: EngineId = EngineId { core: 0, slot: Slot::Dma0 };
const DMA1: EngineId = EngineId { core: 0, slot: Slot::Dma1 };
const CNN: EngineId = EngineId { core: 0, slot: Slot::Cnn };

const fn of_core(core: u8, engine: EngineId) -> EngineId {
    EngineId { core, slot: engine.slot }
}

/// Token, signalling engine, waiting engine.
type Token = (u8, EngineId, EngineId);

/// A program and how it ends.
#[derive(Clone, Debug)]
struct Case {
    why: &'static str,
    target: &'static str,
    lists: Vec<(EngineId, String)>,
    tokens: Vec<Token>,
    options: Options,
    /// Message of the fault; empty if there must be none.
    want: &'static str,
}

fn case(why: &'static str, lists: &[(EngineId, &str)], want: &'static str) -> Case {
    let lists = lists.iter().map(|&(engine, text)| (engine, text.to_owned())).collect();
    Case { why, target: "v3m", lists, tokens: Vec::new(), options: Options::default(), want }
}

impl Case {
    fn tokens(self, tokens: &[Token]) -> Self {
        Self { tokens: tokens.to_vec(), ..self }
    }

    fn on(self, target: &'static str) -> Self {
        Self { target, ..self }
    }

    fn without_uninitialised(mut self) -> Self {
        self.options.checks.uninitialised = false;
        self
    }

    fn within(self, max_commands: u64, max_cycles: u64) -> Self {
        Self { options: Options { max_commands, max_cycles, ..self.options }, ..self }
    }

    fn program(&self, target: &Target) -> Result<Program, ProgramError> {
        let list = |(engine, text): &(EngineId, String)| {
            let words = assemble_str(text, engine.slot.kind()).unwrap_or_else(|why| panic!("{}: {why:?}", self.why));
            (*engine, Arc::from(words))
        };
        let owner = |&(token, signals, waits): &Token| TokenOwner { token, signals, waits };
        Program::new(target, self.lists.iter().map(list), self.tokens.iter().map(owner))
    }

    fn machine(&self) -> Machine {
        let target = Target::by_name(self.target).expect("a target");
        let program = self.program(target).unwrap_or_else(|why| panic!("{}: {why}", self.why));
        Machine::new(target, program, regions(), self.options)
    }

    fn check(&self) {
        let mut machine = self.machine();
        let got = match machine.run(&mut NoObserver) {
            Stop::Fault(fault) => fault.to_string(),
            stop => {
                assert_eq!(stop, Stop::Done, "{}", self.why);
                String::new()
            }
        };
        assert_eq!(got, self.want, "{}", self.why);
        let mut stepped = self.machine();
        while stepped.step_cycle(&mut NoObserver) == Stop::Paused {}
        assert_eq!(stepped.state().differences(machine.state()), [], "{}", self.why);
    }
}

/// 0: input, 1: constant, 2: scratch, 3: output, each of 1 KiB; 4 is not bound.
fn regions() -> Vec<Region> {
    let buffer = |kind| Region::Buffer { kind, bytes: vec![7; 1024] };
    let constant = Region::Constant(Arc::new(vec![9; 1024]));
    vec![buffer(RegionKind::Input), constant, buffer(RegionKind::Scratch), buffer(RegionKind::Output), Region::Unbound]
}

/// A copy of `bytes` bytes; places as `DRAM region` or `SRAM`.
fn copy(from: (Option<u8>, u32), to: (Option<u8>, u32), bytes: u32) -> String {
    let place = |name: &str, region: Option<u8>| match region {
        Some(region) => format!("{name}_PLACE KIND=dram REGION={region}"),
        None => format!("{name}_PLACE KIND=sram"),
    };
    format!(
        "set {}, SRC_ADDR {}, {}, DST_ADDR {}, RUN_BYTES {bytes}, COUNT0 1, 1, 1, 1\nrun COPY\n",
        place("SRC", from.0),
        from.1,
        place("DST", to.0),
        to.1
    )
}

/// A fill of scratchpad bytes.
fn fill(address: u32, bytes: u32) -> String {
    fill_with(1, address, bytes)
}

fn fill_with(value: u8, address: u32, bytes: u32) -> String {
    format!(
        "set DST_PLACE KIND=sram, DST_ADDR {address}, RUN_BYTES {bytes}, COUNT0 1, 1, 1, 1\n\
         set FILL_VALUE {value}, FILL_BYTES 1\nrun FILL\n"
    )
}

const LOAD: fn(u32) -> String = |bytes| copy((Some(0), 0), (None, 0), bytes);

/// Pooling of a 2x2 map of 4 channels at 0 to one pixel at 0x100.
const POOL: &str = "set FORMAT IN=int8 OUT=int8, IN_ADDR 0, IN_SIZE W=2 H=2, IN_C 4, IN_ROW 8, IN_PIX 4\n\
    set OUT_ADDR 0x100, OUT_SIZE W=1 H=1\nset OUT_ROW 4, 4\nset OUT_MIN -128, 127\n\
    set KERNEL W=2 H=2, STRIDE X=2 Y=2\nrun POOL_MAX\n";

#[test]
fn encodings_registers_and_parameters() {
    let after_load = two(
        "an operation reads what nothing has written",
        (DMA0, LOAD(8) + "signal 0\n"),
        (CNN, format!("wait 0 1\n{POOL}")),
        "UninitialisedRead at cnn pc 0x14 cycle 96: input reads byte 0x8 of SRAM, which nothing has written",
    );
    let cases = [
        case("no list has ended", &[(CNN, "nop")], "IllegalEncoding at cnn pc 0x1 cycle 1: the list ends without END"),
        case(
            "erased memory",
            &[(CNN, ".word 0xffffffff")],
            "IllegalEncoding at cnn pc 0x0 cycle 0: unknown opcode 0xff",
        ),
        case(
            "an operation of another engine",
            &[(CNN, ".word 0x11000040")],
            "IllegalEncoding at cnn pc 0x0 cycle 0: operation COPY belongs to the dma engine, this is a list of a cnn engine",
        ),
        case(
            "a list that ends inside a command",
            &[(DMA0, ".word 0x10020000\n.word 0")],
            "IllegalEncoding at dma0 pc 0x0 cycle 0: the list ends inside SET: 3 words belong to it, 2 are left",
        ),
        case(
            "a call beyond the list",
            &[(DMA0, "call 9\nend")],
            "IllegalEncoding at dma0 pc 0x9 cycle 1: the list ends without END",
        ),
        case(
            "a reserved bit of a command",
            &[(CNN, ".word 0x02000001")],
            "ReservedBits at cnn pc 0x0 cycle 0: END 0x02000001 sets reserved bits, only 0xff000000 may be set",
        ),
        case(
            "a reserved bit of a register",
            &[(CNN, ".word 0x10010038\n.word 2")],
            "ReservedBits at cnn pc 0x0 cycle 0: register POOL = 0x00000002 sets reserved bits, only 0x00000001 may be set",
        ),
        case(
            "a reserved bit by an increment",
            &[(CNN, "loop 2\nnext POOL=+2\nend")],
            "ReservedBits at cnn pc 0x1 cycle 1: register POOL = 0x00000002 sets reserved bits, only 0x00000001 may be set",
        ),
        case(
            "no such register",
            &[(CNN, ".word 0x100100ff\n.word 5")],
            "IllegalRegister at cnn pc 0x0 cycle 0: the cnn engine has no register 0xff",
        ),
        case(
            "no such register in the last round",
            &[(CNN, "loop 1\n.word 0x33010000\n.word 0xff\n.word 1\nend")],
            "IllegalRegister at cnn pc 0x1 cycle 1: the cnn engine has no register 0xff",
        ),
        case(
            "parameters that were never set",
            &[(CNN, "mark 7\nrun POOL_MAX")],
            "IllegalParameter at cnn pc 0x1 cycle 1 layer 7: FORMAT.IN = 0 (0x0): is not legal for POOL_MAX",
        ),
        case(
            "counts of zero",
            &[(DMA1, "set RUN_BYTES 4\nrun COPY")],
            "IllegalParameter at dma1 pc 0x2 cycle 2: COUNT0 = 0 (0x0): must lie in 1..=65535",
        ),
        case(
            "a decode without a stream",
            &[(DMA0, "run DECODE")],
            "IllegalParameter at dma0 pc 0x0 cycle 0: BLOCK_BYTES = 0 (0x0): must lie in 1..=4294967295",
        ),
        after_load.tokens(&[(0, DMA0, CNN)]),
    ];
    each(&cases, Case::check);
}

#[test]
fn memory() {
    let cases = [
        case(
            "beyond the scratchpad",
            &[(DMA0, &fill(0xdfffd, 4))],
            "SramRange at dma0 pc 0xb cycle 11: destination covers bytes 0xdfffd..0xe0001, the scratchpad has 0xe0000",
        ),
        case("the last bytes of the scratchpad", &[(DMA0, &(fill(0xdfffc, 4) + "end"))], ""),
        case(
            "beyond a region",
            &[(DMA0, &copy((Some(0), 1000), (None, 0), 25))],
            "RegionBounds at dma0 pc 0xa cycle 10: source covers bytes 0x3e8..0x401 of region 0, which has 1024 bytes",
        ),
        case(
            "a region that is not bound",
            &[(DMA0, &copy((Some(4), 0), (None, 0), 1))],
            "RegionBounds at dma0 pc 0xa cycle 10: source covers bytes 0x0..0x1 of region 4, which is not bound",
        ),
        case(
            "a region that does not exist",
            &[(DMA0, &copy((Some(31), 0), (None, 0), 1))],
            "RegionBounds at dma0 pc 0xa cycle 10: source covers bytes 0x0..0x1 of region 31, which is not bound",
        ),
        case(
            "a write to constants",
            &[(DMA0, &copy((Some(0), 0), (Some(1), 0), 1))],
            "RegionBounds at dma0 pc 0xa cycle 10: destination covers bytes 0x0..0x1 of region 1, which is read-only",
        ),
        case(
            "a write to an input",
            &[(DMA0, &copy((Some(1), 0), (Some(0), 0), 1))],
            "RegionBounds at dma0 pc 0xa cycle 10: destination covers bytes 0x0..0x1 of region 0, which is read-only",
        ),
        case(
            "a read of an output nobody wrote",
            &[(DMA0, &copy((Some(3), 5), (None, 0), 1))],
            "UninitialisedRead at dma0 pc 0xa cycle 10: source reads byte 0x5 of region 3, which nothing has written",
        ),
        case(
            "a read of scratch nobody wrote",
            &[(DMA0, &copy((Some(2), 5), (None, 0), 1))],
            "UninitialisedRead at dma0 pc 0xa cycle 10: source reads byte 0x5 of region 2, which nothing has written",
        ),
        case(
            "a copy over itself",
            &[(DMA0, &(fill(0, 20) + &copy((None, 0), (None, 9), 10)))],
            "IllegalParameter at dma0 pc 0x16 cycle 86: source and destination share the byte at 0x9",
        ),
    ];
    each(&cases, Case::check);
}

/// Two engines' lists as cases need them.
fn two(why: &'static str, first: (EngineId, String), second: (EngineId, String), want: &'static str) -> Case {
    let mut case = case(why, &[], want);
    case.lists = vec![first, second].into_iter().map(|(engine, text)| (engine, text + "end")).collect();
    case
}

/// A fill of every second piece of `piece` bytes, from `address` on, over three nested loops.
fn interleaved(address: u32, piece: u32) -> String {
    let steps = [2 * piece, 20 * piece, 200 * piece];
    format!(
        "set DST_PLACE KIND=sram, DST_ADDR {address}, RUN_BYTES {piece}, COUNT0 4, 4, 4, 1\n\
         set DST_STEP0 {}, {}, {}\nset FILL_VALUE 1, FILL_BYTES 1\nrun FILL\n",
        steps[0], steps[1], steps[2]
    )
}

#[test]
fn races() {
    let out = |bytes| copy((Some(0), 0), (Some(3), 100), bytes);
    let load_and_signal = (DMA0, LOAD(16) + "signal 0\n");
    let cases = [
        two(
            "two writes to the scratchpad",
            (DMA0, fill(0, 10)),
            (DMA1, fill(9, 10)),
            "Race at dma1 pc 0xb cycle 11: destination and destination of dma0 pc 0xb cycle 11 share byte 0x9 of SRAM and no token orders them",
        ),
        two("neighbours share no byte", (DMA0, fill(0, 10)), (DMA1, fill(10, 10)), ""),
        two(
            "two writes to a region",
            (DMA1, out(10)),
            (DMA0, out(1)),
            "Race at dma1 pc 0xa cycle 10: destination and destination of dma0 pc 0xa cycle 10 share byte 0x64 of region 3 and no token orders them",
        ),
        two("two reads", (DMA0, LOAD(8)), (DMA1, copy((Some(0), 0), (None, 8), 8)), ""),
        two(
            "a read of what another engine writes later",
            (DMA0, "signal 0\n".to_owned() + &LOAD(16)),
            (CNN, format!("wait 0 1\n{POOL}")),
            "Race at cnn pc 0x14 cycle 21: input and destination of dma0 pc 0xb cycle 11 share byte 0x0 of SRAM and no token orders them",
        ),
        two("footprints that interleave", (DMA0, interleaved(0, 8)), (DMA1, interleaved(8, 8)), ""),
        two(
            "footprints that interleave and share one byte",
            (DMA0, interleaved(0, 8)),
            (DMA1, interleaved(7, 8)),
            "Race at dma1 pc 0xf cycle 15: destination and destination of dma0 pc 0xf cycle 15 share byte 0x7 of SRAM and no token orders them",
        ),
        two("ordered by a token", load_and_signal.clone(), (CNN, format!("wait 0 1\n{POOL}")), ""),
        two(
            "ordered the wrong way",
            load_and_signal.clone(),
            (CNN, format!("{POOL}wait 0 1\n")),
            "Race at cnn pc 0x13 cycle 19: input and destination of dma0 pc 0xa cycle 10 share byte 0x0 of SRAM and no token orders them",
        ).without_uninitialised(),
        two(
            "time orders nothing",
            (DMA0, fill(0, 4)),
            (DMA1, "nop\n".repeat(500) + &fill(0, 4)),
            "Race at dma1 pc 0x1ff cycle 511: destination and destination of dma0 pc 0xb cycle 11 share byte 0x0 of SRAM and no token orders them",
        ),
        two("nor does an end", (DMA0, String::new()), (DMA1, fill(0, 4)), ""),
    ];
    let cases = cases.map(|case| case.tokens(&[(0, DMA0, CNN), (1, CNN, DMA0)]));
    each(&cases, Case::check);
}

#[test]
fn tokens_and_deadlocks() {
    let cases = [
        case(
            "a signal of a token that nobody has",
            &[(DMA0, "signal 5\nend")],
            "TokenOwner at dma0 pc 0x0 cycle 0: token 5 is not assigned in the package",
        ),
        case(
            "a wait for a token that nobody has",
            &[(CNN, "wait 5 1\nend")],
            "TokenOwner at cnn pc 0x0 cycle 0: token 5 is not assigned in the package",
        ),
        case(
            "a signal by the waiting engine",
            &[(CNN, "signal 0\nend")],
            "TokenOwner at cnn pc 0x0 cycle 0: token 0 belongs to dma0",
        ),
        case(
            "a wait by the signalling engine",
            &[(DMA0, "wait 0 1\nend")],
            "TokenOwner at dma0 pc 0x0 cycle 0: token 0 belongs to cnn",
        ),
        case(
            "a wait by a third engine",
            &[(DMA1, "wait 0 1\nend")],
            "TokenOwner at dma1 pc 0x0 cycle 0: token 0 belongs to cnn",
        ),
        case(
            "too many signals",
            &[(DMA0, "loop 65535\nsignal 0\nnext\nsignal 0\nend")],
            "TokenOverflow at dma0 pc 0x3 cycle 131071: token 0 counts 65535 already",
        ),
        case("as many signals as there can be", &[(DMA0, "loop 65535\nsignal 0\nnext\nend")], ""),
        case(
            "one signal too few",
            &[(DMA0, "signal 0\nsignal 0\nend"), (CNN, "wait 0 3\nend")],
            "Deadlock at cnn pc 0x0 cycle 3: cnn pc 0x0 cycle 0 waits for 3 of token 0, which dma0 has signalled 2 more times",
        ),
        case(
            "each waits for the other",
            &[(DMA0, "nop\nwait 1 1\nsignal 0\nend"), (CNN, "wait 0 1\nsignal 1\nend")],
            "Deadlock at dma0 pc 0x1 cycle 1: dma0 pc 0x1 cycle 1 waits for 1 of token 1, which cnn has signalled 0 more times; cnn pc 0x0 cycle 0 waits for 1 of token 0, which dma0 has signalled 0 more times",
        ),
        case(
            "a wait for an engine without a list",
            &[(CNN, "mark 3\nwait 0 1\nend")],
            "Deadlock at cnn pc 0x1 cycle 1 layer 3: cnn pc 0x1 cycle 1 waits for 1 of token 0, which dma0 has signalled 0 more times",
        ),
        two(
            "a deadlock is found when all work is done",
            (DMA0, fill(0, 64) + "wait 1 1\n"),
            (DMA1, String::new()),
            "Deadlock at dma0 pc 0xc cycle 77: dma0 pc 0xc cycle 77 waits for 1 of token 1, which cnn has signalled 0 more times",
        ),
    ];
    let cases = cases.map(|case| case.tokens(&[(0, DMA0, CNN), (1, CNN, DMA0)]).within(500_000, 500_000));
    each(&cases, Case::check);
}

#[test]
fn stack_budget_and_trap() {
    let ops = |text: &str| format!("{text}end");
    let nine_calls = "call 1\ncall 2\ncall 3\ncall 4\ncall 5\ncall 6\ncall 7\ncall 8\ncall 9\nend";
    let nested = "loop 2\ncall 4\nnext\nend\nloop 2\nnext\nret";
    let cases = [
        case(
            "nine calls",
            &[(DMA0, nine_calls)],
            "ControlStack at dma0 pc 0x8 cycle 8: more than 8 calls and loops are open",
        ),
        case(
            "nine loops",
            &[(DMA0, &("loop 2\n".repeat(9)))],
            "ControlStack at dma0 pc 0x8 cycle 8: more than 8 calls and loops are open",
        ),
        case("eight loops", &[(DMA0, &ops(&"loop 2\n".repeat(8)))], ""),
        case(
            "a return from nothing",
            &[(CNN, "ret")],
            "ControlStack at cnn pc 0x0 cycle 0: RET without an open CALL on top",
        ),
        case(
            "a return out of a loop",
            &[(CNN, "call 1\nloop 2\nret")],
            "ControlStack at cnn pc 0x2 cycle 2: RET without an open CALL on top",
        ),
        case(
            "the end of no loop",
            &[(CNN, "next")],
            "ControlStack at cnn pc 0x0 cycle 0: NEXT without an open LOOP on top",
        ),
        case(
            "the end of a loop in a call",
            &[(CNN, "loop 2\ncall 2\nnext")],
            "ControlStack at cnn pc 0x2 cycle 2: NEXT without an open LOOP on top",
        ),
        case("loops and calls that nest", &[(CNN, nested)], ""),
        case(
            "a list that never ends",
            &[(CNN, "call 1\nloop 60000\nnop\nnext\nend")],
            "Budget at cnn pc 0x2 cycle 1000: needs 1001 commands, the budget is 1000",
        )
        .within(1000, 1_000_000),
        case("exactly the budget", &[(CNN, "nop\nnop\nend")], "").within(3, 3),
        case(
            "one command too many",
            &[(CNN, "nop\nnop\nend")],
            "Budget at cnn pc 0x2 cycle 2: needs 3 commands, the budget is 2",
        )
        .within(2, 3),
        case(
            "one cycle too many",
            &[(CNN, "nop\nnop\nend")],
            "Budget at cnn pc 0x2 cycle 2: needs 3 cycles, the budget is 2",
        )
        .within(3, 2),
        case(
            "an operation beyond the budget does nothing",
            &[(DMA0, &fill(0, 4096))],
            "Budget at dma0 pc 0xb cycle 11: needs 203 cycles, the budget is 200",
        )
        .within(9, 200),
        case(
            "a trap",
            &[(DMA1, "nop\nint 4\ntrap 77\nend"), (CNN, "nop\nend")],
            "Trap at dma1 pc 0x2 cycle 2: the program reports code 77",
        ),
        case(
            "the first fault in time counts",
            &[(DMA0, "nop\nnop\ntrap 1"), (CNN, "nop\ntrap 2")],
            "Trap at cnn pc 0x1 cycle 1: the program reports code 2",
        ),
        case(
            "of two at once that of the earlier engine",
            &[(CNN, "nop\ntrap 2"), (DMA1, "nop\ntrap 1")],
            "Trap at dma1 pc 0x1 cycle 1: the program reports code 1",
        ),
    ];
    each(&cases, Case::check);
}

#[test]
fn several_cores() {
    let dma0 = of_core(1, DMA0);
    let produce = copy((Some(0), 0), (Some(2), 0), 8);
    let consume = copy((Some(2), 0), (None, 0), 8);
    let cases = [
        two(
            "a system token joins cores",
            (DMA0, produce.clone() + "signal 64\n"),
            (dma0, format!("wait 64 1\n{consume}")),
            "",
        ),
        two(
            "a region is shared",
            (DMA0, produce.clone()),
            (dma0, "nop\n".repeat(200) + &consume),
            "Race at core1.dma0 pc 0xd2 cycle 210: source and destination of dma0 pc 0xa cycle 10 share byte 0x0 of region 2 and no token orders them",
        ),
        two("scratchpads are not", (DMA0, fill(0, 8)), (dma0, fill(0, 8)), ""),
        two(
            "a core-local token belongs to its core",
            (of_core(1, DMA0), "signal 0\n".to_owned()),
            (CNN, "wait 0 1\n".to_owned()),
            "Deadlock at cnn pc 0x0 cycle 2: cnn pc 0x0 cycle 0 waits for 1 of token 0, which dma0 has signalled 0 more times",
        ),
        two(
            "a fault stops all cores",
            (of_core(2, CNN), "trap 9\n".to_owned()),
            (DMA0, "loop 65535\nnext\n".to_owned()),
            "Trap at core2.cnn pc 0x0 cycle 0: the program reports code 9",
        ),
        two(
            "cores wait for each other",
            (DMA0, "wait 65 1\nsignal 64\n".to_owned()),
            (dma0, "wait 64 1\nsignal 65\n".to_owned()),
            "Deadlock at dma0 pc 0x0 cycle 0: dma0 pc 0x0 cycle 0 waits for 1 of token 65, which core1.dma0 has signalled 0 more times; core1.dma0 pc 0x0 cycle 0 waits for 1 of token 64, which dma0 has signalled 0 more times",
        ),
    ];
    let tokens = [(0, DMA0, CNN), (0, dma0, of_core(1, CNN)), (64, DMA0, dma0), (65, dma0, DMA0)];
    each(&cases.map(|case| case.on("v3u").tokens(&tokens)), Case::check);
}

#[test]
fn values_in_memory() {
    // A fully connected layer of one input and one output: weights at 0x40, record at 0x10.
    let conv = "wait 0 1\nset FORMAT IN=int8 OUT=int8 WEIGHTS=int8, IN_ADDR 0, IN_SIZE W=1 H=1, IN_C 1\n\
        set OUT_ADDR 0x200, OUT_SIZE W=1 H=1, OUT_C 1\nset OUT_MIN -128, 127\nset KERNEL W=1 H=1, STRIDE X=1 Y=1, DILATION X=1 Y=1\n\
        set GROUPS 1\nset W_ADDR 0x40, W_MODE LAYOUT=dense8\nset REC_ADDR 0x10, ACC_MODE BIAS=1\n";
    let mode = |mode: &str| conv.to_owned() + "set REQUANT MODE=" + mode + "\nrun CONV\n";
    // Every byte is 0x01: a bias of 0x0101010101010101 and a shift of 0x01010101.
    let ones = (DMA0, fill(0, 0x200) + "signal 0\n");
    let sparse = |stored: u32, longest: u32| {
        let conv = conv.replace("LAYOUT=dense8", "LAYOUT=dense8 SPARSE=1, W_ZERO 0, W_BITMAP 0x100");
        conv + &format!("set W_STORED {stored}, W_LONGEST {longest}\nset REQUANT MODE=double\nrun CONV\n")
    };
    let no_shift = (DMA0, fill(0, 0x200) + &fill_with(0, 0x1c, 4) + "signal 0\n");
    let zero_scale = copy((Some(2), 0), (None, 0), 0x200) + "signal 0\n";
    let cases = [
        two(
            "a shift that the mode does not take",
            ones.clone(),
            (CNN, mode("double")),
            "IllegalParameter at cnn pc 0x1b cycle 119: scale of the record of channel 0: shift 16843009 is outside -31..=30 of mode Double",
        ),
        two(
            "a float mode with a shift",
            ones.clone(),
            (CNN, mode("float")),
            "IllegalParameter at cnn pc 0x1b cycle 119: scale of the record of channel 0: shift 16843009 is outside 0..=0 of mode Float",
        ),
        two(
            "more blocks than the bitmap has",
            ones.clone(),
            (CNN, sparse(0, 1)),
            "IllegalParameter at cnn pc 0x20 cycle 124: W_STORED = 0 (0x0): must be 1, as the bitmap implies",
        ),
        two(
            "fewer blocks than a row of the bitmap has",
            ones.clone(),
            (CNN, sparse(1, 0)),
            "IllegalParameter at cnn pc 0x20 cycle 124: W_LONGEST = 0 (0x0): must lie in 1..=1",
        ),
        two(
            "an output needs a mode",
            ones,
            (CNN, mode("none")),
            "IllegalParameter at cnn pc 0x1b cycle 119: REQUANT.MODE = 0 (0x0): is not legal for these types",
        ),
        two(
            "a bias that no accumulator can hold",
            no_shift,
            (CNN, mode("double")),
            "AccumulatorOverflow at cnn pc 0x1b cycle 212: accumulator 72340172838076674 of output row 0 column 0 channel 0 does not fit 32 bits",
        ),
        two(
            "a scratch region that the host has not written",
            (DMA0, zero_scale),
            (CNN, mode("single")),
            "UninitialisedRead at dma0 pc 0xa cycle 10: source reads byte 0x0 of region 2, which nothing has written",
        ),
    ];
    each(&cases.map(|case| case.tokens(&[(0, DMA0, CNN)])), Case::check);
}

#[test]
fn a_debugger_writes_only_where_memory_is() {
    let mut machine = case("", &[], "").machine();
    let error = |start, end, size| Err(cnnip_core::MemoryError { start, end, size });
    assert_eq!(machine.write_sram(0, 0xdffff, &[1]), Ok(()));
    assert_eq!(machine.write_sram(0, 0xdffff, &[1, 2]), error(0xdffff, 0xe0001, 0xe0000));
    assert_eq!(machine.write_sram(1, 0, &[]), error(0, 0, 0));
}

/// An input with the output's bytes in another order is not "at exactly the place of the output": what is read late was
/// overwritten early, and how much of it depends on the block size.
#[test]
fn a_map_is_not_transposed_in_place() {
    let transpose = "set FORMAT IN=int8 OUT=int8, IN_ADDR 0\nset IN_ROW 1, IN_PIX 16\n\
        set OUT_ADDR 0, OUT_SIZE W=16 H=16, OUT_C 1, OUT_ROW 16, OUT_PIX 1\nset OUT_MIN -128, 127\n\
        set ELTWISE FUNCTION=pass\nrun ELTWISE\n";
    let filled = (DMA0, fill(0, 256) + "signal 0\n");
    let want = "IllegalParameter at cnn pc 0x12 cycle 102: input and output share the byte at 0x0";
    let case = two("transposed in place", filled, (CNN, format!("wait 0 1\n{transpose}")), want);
    case.tokens(&[(0, DMA0, CNN)]).check();
}

/// Words in the scratchpad, and a decode of one block of 8 bytes from its byte 64 on; the table of offsets is at 0, the codebook
/// at 128: three kernels of two bytes.
fn decode(codec: &str, offsets: [u32; 2], stream: [u32; 2]) -> String {
    let words = [(0, offsets[0]), (4, offsets[1]), (64, stream[0]), (68, stream[1]), (128, 0x0403_0201), (132, 0x0605)];
    let mut text = "set DST_PLACE KIND=sram\nset RUN_BYTES 4, COUNT0 1, 1, 1, 1\n".to_owned();
    for (address, word) in words {
        text += &format!("set DST_ADDR {address}\nset FILL_VALUE {word}, FILL_BYTES 4\nrun FILL\n");
    }
    text + &format!(
        "set SRC_PLACE KIND=sram, SRC_ADDR 64, DST_PLACE KIND=sram, DST_ADDR 512\n\
         set CODEC CODEC={codec}, STREAM_BYTES 8, OFFSETS_ADDR 0, FIRST_BLOCK 0, BLOCKS 1, BLOCK_BYTES 8, \
         CODEBOOK_ADDR 128, CODEBOOK_KERNELS 3, CODEBOOK_SHAPE TAPS=2 BYTES=1\nrun DECODE\nend\n"
    )
}

#[test]
fn weight_streams_that_do_not_decode() {
    let bad = [
        ("raw", [0, 7], [1, 2], "ends before it is full"),
        ("raw", [0, 9], [1, 2], "lies at bytes 0x0..0x9 of a stream of 0x8 bytes"),
        ("raw", [5, 4], [1, 2], "lies at bytes 0x5..0x4 of a stream of 0x8 bytes"),
        ("zero_run", [0, 2], [0x0700, 0], ""),
        ("zero_run", [0, 2], [0x0800, 0], "goes on after it is full"),
        ("zero_run", [0, 2], [0x0600, 0], "ends before it is full"),
        ("zero_run", [0, 1], [0x0700, 0], "ends before it is full"),
        ("zero_run", [0, 3], [0x0007_0700, 0], "goes on after it is full"),
        ("cluster INDEX_BITS=2", [0, 1], [0b10_01_00_10, 0], ""),
        ("cluster INDEX_BITS=2", [0, 1], [0b10_11_00_10, 0], "has index 3 at position 2, the codebook has 3 kernels"),
        ("cluster INDEX_BITS=2", [0, 2], [0b10_01_00_10, 0], "goes on after it is full"),
        ("cluster INDEX_BITS=3", [0, 1], [0, 0], "ends before it is full"),
        ("cluster INDEX_BITS=3", [0, 2], [0x1000, 0], "has bits set after its last index"),
    ];
    for (codec, offsets, stream, why) in bad {
        let want = match why {
            "" => String::new(),
            _ => format!("WeightStream at dma0 pc 0x3b cycle 443: block 0 of the stream {why}"),
        };
        case(codec, &[(DMA0, &decode(codec, offsets, stream))], Box::leak(want.into_boxed_str())).check();
    }
}

/// Every fault that this version can report has a program that reports it.
#[test]
fn every_code_has_a_program() {
    let source = include_str!("faults.rs");
    let missing: Vec<&str> = FaultCode::ALL
        .iter()
        .filter(|&&code| code != FaultCode::Unsupported) // all that is specified is built
        .map(|code| code.name())
        .filter(|name| !source.contains(&format!("\"{name} at ")))
        .collect();
    assert_eq!(missing, [""; 0]);
}
