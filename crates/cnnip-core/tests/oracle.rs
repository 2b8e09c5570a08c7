//! Operations stopped at any cycle: memory and accumulators are those of the slow oracle, which shares no code with the machine.

use std::sync::{Arc, LazyLock};

use cnnip_core::{Checks, EngineId, FaultCause, Machine, NoObserver, Options, Program, Region, RegionKind, Slot, Stop};
use cnnip_isa::operation::Operation;
use cnnip_isa::{EngineKind, Target};
use cnnip_kernels::{Backend, Kernels};
use cnnip_testkit::generate::{Scene, Zone, array_operation, cnn_operation, dma_operation, single};
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

/// Makes a random operation.
type Generate = fn(&mut Scene<'_>) -> Operation;

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
        let operation = generate(&mut scene);
        Self { target, operation, before: oracle::Memory { sram, regions }, rng }
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
    let amid = (0..2000).filter(|&seed| check(seed, array_operation)).take(200).count();
    assert_eq!(amid, 200);
}

#[test]
fn cnn_operations_stopped_anywhere_equal_the_oracle() {
    for seed in 2000..2300 {
        check(seed, cnn_operation);
    }
}

#[test]
fn dma_operations_stopped_anywhere_equal_the_oracle() {
    for seed in 3000..3100 {
        check(seed, dma_operation);
    }
}
