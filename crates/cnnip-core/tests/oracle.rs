//! Operations stopped at any cycle: memory and accumulators are those of the slow oracle, which shares no code with the machine.

use std::sync::{Arc, LazyLock};

use cnnip_core::{Checks, EngineId, FaultCause, Machine, NoObserver, Options, Program, Region, RegionKind, Slot, Stop};
use cnnip_isa::operation::{Codebook, Coding, Conv, Decode, Location, Operation, Space, Sparse, Weights};
use cnnip_isa::{EngineKind, Target};
use cnnip_kernels::{Backend, Kernels};
use cnnip_testkit::generate::{
    Scene, Zone, array_operation, cnn_operation, dma_operation, single, sparse_conv, stream,
};
use cnnip_testkit::{Rng, oracle};

const REGION_BYTES: u32 = 4096;

/// A real target, or mostly a small one with odd numbers: more blocks and steps, in less memory.
fn target(rng: &mut Rng) -> &'static Target {
    static ODD: LazyLock<Target> = LazyLock::new(|| Target {
        mac_channels: 5,
        mac_pixels: 3,
        mac_depth: 2,
        vector_elements: 7,
        issue_cycles: 3,
        dma_bytes_per_cycle: 5,
        dma_latency_cycles: 2,
        sram_bytes: 49_152,
        ..*Target::by_name("v3m").expect("a target")
    });
    match rng.pick(&["v3m", "v3h", "v3u", "v4h", "odd", "odd", "odd", "odd", "odd", "odd"]) {
        "odd" => &ODD,
        name => Target::by_name(name).expect("a target"),
    }
}

/// Bytes that must stand at an address of a memory.
type Contents = Vec<(Location, Vec<u8>)>;

/// Makes a random operation, and what it needs in memory.
type Generate = fn(&mut Scene<'_>) -> (Operation, Contents);

/// An operation with the memory it starts from.
struct Case {
    target: &'static Target,
    operation: Operation,
    before: oracle::Memory,
    rng: Rng,
}

impl Case {
    fn new(seed: u64, generate: Generate) -> Self {
        let mut rng = Rng::new(seed);
        let target = target(&mut rng);
        let zone = Zone { base: 0, data: 32 * 1024 };
        let highest = (target.sram_bytes - zone.bytes()) / 64;
        let zone = Zone { base: 64 * rng.within(0..=highest), ..zone };
        let mut sram = vec![0; usize::try_from(target.sram_bytes).unwrap()];
        let base = usize::try_from(zone.base).unwrap();
        let image = zone.image(&mut rng, true);
        sram[base..base + image.len()].copy_from_slice(&image);
        let regions = (0..4).map(|_| rng.bytes(usize::try_from(REGION_BYTES).unwrap())).collect();
        let mut scene =
            Scene { rng: &mut rng, target, zone, region_bytes: REGION_BYTES, max_side: 12, overflows: true };
        let (operation, contents) = generate(&mut scene);
        let mut case = Self { target, operation, before: oracle::Memory { sram, regions }, rng };
        contents.iter().for_each(|(place, bytes)| case.put(*place, bytes));
        case
    }

    fn put(&mut self, place: Location, bytes: &[u8]) {
        let memory = match place.space {
            Space::Sram => &mut self.before.sram,
            Space::Dram(region) => &mut self.before.regions[usize::from(region)],
        };
        let first = usize::try_from(place.address).unwrap();
        memory[first..first + bytes.len()].copy_from_slice(bytes);
    }

    fn engine(&self) -> EngineId {
        let cnn = self.operation.code().engine() == EngineKind::Cnn;
        EngineId { core: 0, slot: if cnn { Slot::Cnn } else { Slot::Dma1 } }
    }

    /// A machine before its first cycle, and the cycle in which the `RUN` starts.
    fn machine(&self, kernels: Kernels) -> (Machine, u64) {
        let (words, start) = single(&self.operation);
        let program = Program::new(self.target, [(self.engine(), Arc::from(words))], []).unwrap();
        let kinds = [RegionKind::Input, RegionKind::Input, RegionKind::Scratch, RegionKind::Output];
        let regions = kinds.into_iter().zip(&self.before.regions);
        let regions = regions.map(|(kind, bytes)| Region::Buffer { kind, bytes: bytes.clone() }).collect();
        let checks = Checks { race: true, uninitialised: false };
        let mut machine =
            Machine::new(self.target, program, regions, Options { checks, kernels, ..Options::default() });
        machine.write_sram(0, 0, &self.before.sram).unwrap();
        (machine, start)
    }
}

fn assert_memory(machine: &Machine, want: &oracle::Memory, what: &str) {
    let sram = machine.state().sram(0).unwrap();
    let differs = sram.iter().zip(&want.sram).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: first SRAM byte that differs");
    for (region, want) in (0..).zip(&want.regions) {
        assert_eq!(machine.state().region(region), Some(want.as_slice()), "{what}: region {region}");
    }
}

fn assert_accumulators(machine: &Machine, engine: EngineId, want: Option<&oracle::InWork>, what: &str) {
    let got = machine.state().accumulating(engine);
    let got = got.map(|acc| oracle::InWork { block: acc.block, steps: acc.steps, values: acc.values.to_vec() });
    assert_eq!(got.as_ref(), want, "{what}: accumulators");
}

/// The machine ended with the operation: with its last cycle and `END`, or where it overflowed.
fn assert_end(machine: &Machine, stop: &Stop, case: &Case, start: u64, want: Option<&oracle::Overflow>, what: &str) {
    let (Stop::Fault(fault), Some(want)) = (stop, want) else {
        assert_eq!((stop, want), (&Stop::Done, None), "{what}");
        let length = oracle::cycles(&case.operation, case.target);
        assert_eq!(machine.state().cycle(), start + length + 1, "{what}");
        return;
    };
    let &oracle::Overflow { cycle, place: [row, column, channel], value, bits } = want;
    assert_eq!(fault.cause, FaultCause::AccumulatorOverflow { row, column, channel, value, bits }, "{what}");
    assert_eq!((fault.at.cycle, machine.state().cycle()), (start + cycle, start + cycle), "{what}");
}

/// Stops a case at a random cycle, compares, saves, goes on to the end, restores and goes on again. True if the operation was
/// stopped amid the steps of a block.
fn check(seed: u64, generate: Generate) -> bool {
    let mut case = Case::new(seed, generate);
    let what = format!("seed {seed} on {}: {:?}", case.target.name, case.operation);
    let length = u32::try_from(oracle::cycles(&case.operation, case.target)).unwrap();
    let cycle = u64::from(case.rng.within(0..=length));
    let (mut machine, start) = case.machine(Kernels::scalar());
    assert_eq!(machine.run_until(start, &mut NoObserver), Stop::Paused, "{what}");
    machine.run_until(start + cycle, &mut NoObserver);
    let want = oracle::after(&case.operation, case.target, &case.before, cycle);
    assert_memory(&machine, &want.memory, &what);
    assert_accumulators(&machine, case.engine(), want.in_work.as_ref(), &what);
    check_going_on(&case, &mut machine, start, &what);
    want.in_work.is_some()
}

/// From where the machine stands, again and again from a saved state, the end is that of a run without a stop on any kernels.
fn check_going_on(case: &Case, machine: &mut Machine, start: u64, what: &str) {
    let saved = machine.state().clone();
    let end = oracle::after(&case.operation, case.target, &case.before, u64::MAX);
    for kernels in Backend::ALL.into_iter().filter_map(Kernels::new) {
        let (mut whole, _) = case.machine(kernels);
        let stop = whole.run(&mut NoObserver);
        assert_end(&whole, &stop, case, start, end.overflow.as_ref(), what);
        assert_memory(&whole, &end.memory, what);
        assert_eq!(machine.run(&mut NoObserver), stop, "{what}");
        assert_eq!(machine.state().differences(whole.state()), [], "{what}");
        machine.restore(&saved);
    }
}

#[test]
fn two_hundred_operations_stopped_amid_a_block_equal_the_oracle() {
    let amid = (0..2000).filter(|&seed| check(seed, |scene| (array_operation(scene), Vec::new()))).take(200).count();
    assert_eq!(amid, 200);
}

#[test]
fn cnn_operations_stopped_anywhere_equal_the_oracle() {
    for seed in 2000..2300 {
        check(seed, |scene| (cnn_operation(scene), Vec::new()));
    }
}

#[test]
fn dma_operations_stopped_anywhere_equal_the_oracle() {
    for seed in 3000..3100 {
        check(seed, |scene| (dma_operation(scene), Vec::new()));
    }
}

fn decode(scene: &mut Scene<'_>) -> (Operation, Contents) {
    let stream = stream(scene);
    let place = |address| Location { address, ..stream.decode.stream };
    let contents = stream.contents.into_iter().map(|(address, bytes)| (place(address), bytes)).collect();
    (Operation::Decode(stream.decode), contents)
}

#[test]
fn decodes_stopped_anywhere_equal_the_oracle() {
    for seed in 4000..4400 {
        check(seed, decode);
    }
}

/// A stream with a changed byte decodes to what the oracle says, or faults before anything is written, at the oracle's block.
#[test]
fn bad_streams_fault_at_their_start() {
    let mut faults = 0;
    for seed in 5000..5600 {
        let mut case = Case::new(seed, decode);
        let Operation::Decode(op) = case.operation else { panic!("a decode") };
        let table = case.rng.chance(40);
        let (base, bytes) =
            if table { (op.offsets, 4 * (op.first + op.blocks + 1)) } else { (op.stream.address, op.stream_bytes) };
        let address = base + case.rng.within(0..=bytes - 1);
        let value = if case.rng.chance(50) { 0 } else { u8::try_from(case.rng.within(0..=255)).unwrap() };
        case.put(Location { address, ..op.stream }, &[value]);
        let (mut machine, start) = case.machine(Kernels::scalar());
        let what = format!("seed {seed}: {op:?}");
        match (machine.run(&mut NoObserver), oracle::decode(&op, &case.before)) {
            (Stop::Done, Ok(_)) => {
                let end = oracle::after(&case.operation, case.target, &case.before, u64::MAX);
                assert_memory(&machine, &end.memory, &what);
            }
            (Stop::Fault(fault), Err(number)) => {
                assert!(
                    matches!(fault.cause, FaultCause::WeightStream { block, .. } if block == number),
                    "{what}: {fault}"
                );
                assert_eq!(fault.at.cycle, start, "{what}");
                assert_memory(&machine, &case.before, &what);
                faults += 1;
            }
            (stop, want) => panic!("{what}: {stop:?} instead of {want:?}"),
        }
    }
    assert!(faults > 100, "{faults} faults");
}

/// The streams that stand in `numerics.md`, weight streams.
#[test]
fn the_examples_of_weight_streams_hold() {
    let book = Codebook { address: 12, kernels: 3, taps: 2, element_bytes: 1, index_bits: 2 };
    let examples: [(Coding, &[u8], [u8; 8]); 2] = [
        (Coding::ZeroRun, &[5, 0, 5, 7], [5, 0, 0, 0, 0, 0, 0, 7]),
        (Coding::Cluster(book), &[0x92], [5, 1, 3, 5, 6, 2, 4, 6]),
    ];
    for (coding, stream, want) in examples {
        let bytes = u8::try_from(stream.len()).unwrap();
        let mut region = vec![0, 0, 0, 0, bytes, 0, 0, 0];
        region.extend(stream);
        region.resize(12, 0);
        region.extend([1, 2, 3, 4, 5, 6]);
        let decode = Decode {
            stream: Location::dram(0, 8),
            stream_bytes: u32::from(bytes),
            offsets: 0,
            destination: Location::sram(0),
            coding,
            first: 0,
            blocks: 1,
            block_bytes: 8,
        };
        let memory = oracle::Memory { sram: vec![0; 8], regions: vec![region] };
        assert_eq!(oracle::decode(&decode, &memory), Ok(vec![want.to_vec()]));
    }
}

fn sparse(scene: &mut Scene<'_>) -> (Operation, Contents) {
    scene.max_side = 7;
    let (conv, bitmap) = sparse_conv(scene);
    let place = conv.weights.sparse.map_or(0, |sparse| sparse.bitmap);
    (Operation::Conv(conv), vec![(Location::sram(place), bitmap)])
}

#[test]
fn sparse_convolutions_stopped_anywhere_equal_the_oracle() {
    let amid = (6000..6080).filter(|&seed| check(seed, sparse)).count();
    assert!(amid > 20, "{amid}");
}

/// All weight blocks of a sparse convolution: the stored ones, and the zero point in the others.
fn expanded(case: &Case, conv: &Conv, sparse: &Sparse) -> Vec<u8> {
    let zero =
        conv.weights.zero.to_le_bytes()[..conv.weights.element.bytes()].repeat(64 / conv.weights.element.bytes());
    let at = |address: u32| usize::try_from(address).unwrap();
    let mut stored = case.before.sram[at(conv.weights.address)..].chunks_exact(64);
    let blocks = usize::try_from(conv.weight_bytes()).unwrap() / 64;
    let is_stored = |block: &usize| case.before.sram[at(sparse.bitmap) + block / 8] >> (block % 8) & 1 == 1;
    (0..blocks)
        .flat_map(|block| if is_stored(&block) { stored.next().unwrap().to_vec() } else { zero.clone() })
        .collect()
}

/// Weights with a bitmap give what the same weights give without, and take no longer where no block is partly used.
#[test]
fn a_bitmap_changes_no_result() {
    let mut compared = 0;
    for seed in 7000..7400 {
        let mut case = Case::new(seed, sparse);
        let Operation::Conv(conv) = case.operation else { panic!("a convolution") };
        let weights = expanded(&case, &conv, &conv.weights.sparse.expect("a bitmap"));
        // Beyond all that the operation uses, if there is room.
        let room = case.before.sram.len().checked_sub(weights.len()).map_or(0, |at| at / 64 * 64);
        let end = case.operation.operands().iter().map(|operand| operand.bytes.extent().end).max().unwrap();
        if u64::try_from(room).unwrap() < end {
            continue;
        }
        let run = |case: &Case| {
            let (mut machine, _) = case.machine(Kernels::scalar());
            let stop = machine.run(&mut NoObserver);
            let cause = if let Stop::Fault(fault) = &stop { Some(fault.cause.clone()) } else { None };
            (cause, machine.state().sram(0).unwrap()[..room].to_vec(), machine.state().cycle())
        };
        let address = u32::try_from(room).unwrap();
        case.put(Location::sram(address), &weights);
        let with = run(&case);
        case.operation = Operation::Conv(Conv { weights: Weights { address, sparse: None, ..conv.weights }, ..conv });
        let without = run(&case);
        assert_eq!(with.0, without.0, "seed {seed}");
        if with.0.is_none() {
            assert!(with.1 == without.1, "seed {seed}: {conv:?}");
            let inputs = conv.grouping().1;
            assert!(with.2 <= without.2 || !inputs.is_multiple_of(conv.block_depth()), "seed {seed}: cycles");
        }
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}
