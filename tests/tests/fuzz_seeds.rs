//! The seeds of the fuzz targets, as they are and damaged a little: a fuzz run in small, on any toolchain.

use std::path::Path;

use cnnip_testkit::Rng;
use cnnip_testkit::fuzzing::TARGETS;

/// Damaged copies of each seed.
const DAMAGED: u64 = 40;

#[test]
fn targets_come_back_from_seeds_and_damaged_seeds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (name, target) in TARGETS {
        let mut files: Vec<_> =
            std::fs::read_dir(seeds.join(name)).expect("a folder of seeds").flatten().map(|file| file.path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has seeds");
        for file in files {
            let seed = std::fs::read(&file).expect("a readable seed");
            target(&seed);
            (0..DAMAGED).for_each(|number| target(&damaged(&seed, number)));
        }
    }
}

/// The seed with some bytes changed, and sometimes cut short or drawn out.
fn damaged(seed: &[u8], number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let mut bytes = seed.to_vec();
    if rng.chance(30) {
        bytes.truncate(rng.index(bytes.len() + 1));
    }
    for _ in 0..rng.within(1..=8) {
        let byte = rng.word().to_le_bytes()[0];
        if rng.chance(20) {
            bytes.extend(std::iter::repeat_n(byte, rng.index(16)));
        } else if let Some(place) = bytes.len().checked_sub(1).map(|last| rng.index(last + 1)) {
            bytes[place] ^= byte;
        }
    }
    bytes
}
