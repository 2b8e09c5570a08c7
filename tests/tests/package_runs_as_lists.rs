//! Law: lists run the same on the bare machine and from a package, through its file bytes, its text, and the driver.

use cnnip_core::{NoObserver, Options, Region, RegionKind, Stop};
use cnnip_driver::Device;
use cnnip_isa::Target;
use cnnip_package::{Package, text};
use cnnip_testkit::Rng;
use cnnip_testkit::generate::{ListOptions, Lists, lists};
use cnnip_tests::packed;

fn cold_lists(seed: u64) -> Lists {
    let mut rng = Rng::new(seed);
    let target = Target::by_name(rng.pick(&["v3m", "v3h", "v3u", "v4h"])).unwrap();
    let tasks = rng.within(1..=15);
    lists(&ListOptions { target, tasks, overflows: false, cold: true }, &mut rng)
}

/// The bytes of the input region.
fn input(lists: &Lists) -> &[u8] {
    let mut inputs = lists.regions.iter().filter_map(|region| match region {
        Region::Buffer { kind: RegionKind::Input, bytes } => Some(bytes.as_slice()),
        _ => None,
    });
    inputs.next().unwrap()
}

fn check(lists: &Lists, package: Package, what: &str) {
    let mut machine = lists.machine(Options::default());
    assert_eq!(machine.run(&mut NoObserver), Stop::Done, "{what}");
    let mut session = Device::new(lists.target).load(package).unwrap();
    session.bind(0, input(lists)).unwrap();
    let outputs = session.submit().unwrap().wait().unwrap();
    let state = machine.state();
    let totals = outputs.totals();
    assert_eq!((totals.commands, totals.cycles), (state.commands(), state.cycle()), "{what}");
    assert_eq!(outputs.get(0).unwrap().bytes(), state.region(3).unwrap(), "{what}");
}

#[test]
fn from_memory() {
    for seed in 0..40 {
        let lists = cold_lists(seed);
        check(&lists, packed(&lists), &format!("seed {seed}"));
    }
}

#[test]
fn from_file_bytes() {
    for seed in 100..120 {
        let lists = cold_lists(seed);
        let package = Package::read(&packed(&lists).to_bytes()).unwrap();
        check(&lists, package, &format!("seed {seed}"));
    }
}

#[test]
fn from_text() {
    for seed in 200..220 {
        let lists = cold_lists(seed);
        let package = packed(&lists);
        let again = text::from_text(&text::to_text(&package)).unwrap();
        assert_eq!(again.to_bytes(), package.to_bytes(), "seed {seed}");
        check(&lists, again, &format!("seed {seed}"));
    }
}
