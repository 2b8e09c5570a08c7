//! What holds for any list: the driver never panics, and it does not matter how a job is advanced.

use cnnip_driver::{Device, Job, NoObserver, Package, RunOptions, Status};
use cnnip_isa::{EngineKind, OperationCode, registers_of};
use cnnip_package::{Engine, EngineId, List, ListId, Region, RegionKind, Step, TokenOwner};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Words that often are a command of a DMA engine, with small numbers in its registers.
fn words() -> impl Strategy<Value = Vec<u32>> {
    let register = (select(registers_of(EngineKind::Dma)), 0_u32..9);
    let set =
        register.prop_map(|(register, value)| vec![0x1001_0000 | u32::from(register.index), value & register.mask]);
    let run = select(vec![OperationCode::Copy, OperationCode::Fill, OperationCode::Fill])
        .prop_map(|code| vec![0x1100_0000 | code.code()]);
    let plain = select(vec![0x0100_0000, 0x0200_0000, 0x2000_0000, 0x2100_0100, 0x3200_0003, 0x3300_0000, 0x5000_0005]);
    let other = prop_oneof![4 => plain, 1 => any::<u32>()].prop_map(|word| vec![word]);
    vec(prop_oneof![8 => set, 2 => run, 2 => other], 0..40).prop_map(|commands| commands.concat())
}

/// Registers of a fill, so that many operations are legal: four bytes of a region, or of the scratchpad.
fn prelude(place: u32) -> Vec<u32> {
    vec![0x1009_0000, 0, 0, place, 0, 4, 1, 1, 1, 1, 0x1002_0014, 0x0403_0201, 4]
}

fn package(lists: [Vec<u32>; 2]) -> Package {
    let mut package = Package::new("v3m");
    for (name, kind) in [("in", RegionKind::Scratch), ("out", RegionKind::Output)] {
        package.regions.push(Region { name: name.into(), kind, bytes: 32, core_visible: true });
    }
    let end = 0x0200_0000;
    let [dma0, dma1] = [Engine::Dma0, Engine::Dma1].map(|engine| EngineId { core: 0, engine });
    package.tokens =
        vec![TokenOwner { token: 0, signal: dma0, wait: dma1 }, TokenOwner { token: 1, signal: dma1, wait: dma0 }];
    for ((words, engine), place) in lists.into_iter().zip([Engine::Dma0, Engine::Dma1]).zip([0x001, 0x101]) {
        let words = prelude(place).into_iter().chain(words).chain([end]).collect();
        package.lists.push(List { name: engine.to_string(), engine: EngineId { core: 0, engine }, words });
    }
    package.program = vec![Step::Device { lists: vec![ListId(1)] }, Step::Device { lists: vec![ListId(0), ListId(1)] }];
    package
}

fn submit(package: &Package) -> Job {
    let mut session = Device::open("v3m").unwrap().load(package.clone()).unwrap();
    session.set_options(RunOptions { max_commands: Some(200), max_cycles: Some(3000), ..RunOptions::default() });
    session.submit().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn all_ways_to_advance_end_alike(lists in [words(), words()], slice in 1_u64..500) {
        let package = package(lists);
        let mut whole = submit(&package);
        while whole.poll(u64::MAX) == Status::Running {}
        for how in ["poll", "cycle", "command", "restore"] {
            let mut job = submit(&package);
            while job.status() == Status::Running {
                match how {
                    "poll" => job.poll(slice),
                    "cycle" => job.step_cycle(&mut NoObserver),
                    "command" => job.step_command(&mut NoObserver),
                    _ => {
                        let saved = job.save();
                        job.poll(slice / 2);
                        job.restore(&saved);
                        job.poll(slice)
                    }
                };
            }
            prop_assert_eq!(job.fault(), whole.fault(), "{}", how);
            prop_assert_eq!(job.report(), whole.report(), "{}", how);
            prop_assert_eq!(job.totals(), whole.totals(), "{}", how);
            prop_assert_eq!(job.state().differences(whole.state()), [], "{}", how);
        }
    }
}
