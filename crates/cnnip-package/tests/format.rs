//! The file format: what is written is read, what is read is what would be written, and nothing else is read.

mod common;

use cnnip_package::{
    Budget, Defect, ElementType, Engine, EngineId, FileError, Input, Layer, List, ListId, Package, PackageError, Place,
    Quantization, Region, RegionId, RegionKind, Step, Tensor, TensorId, TokenOwner, Why, text,
};
use common::{any_package, reseal, sample};
use proptest::collection::vec;
use proptest::prelude::*;

/// Reads damaged bytes: they are refused, or they are the one encoding of what they say.
fn refused_or_canonical(bytes: &[u8]) {
    if let Ok(package) = Package::read(bytes) {
        assert_eq!(package.to_bytes(), bytes, "accepted a file that the writer would not make");
    }
}

fn malformed(bytes: &[u8]) -> (usize, &'static str, Why) {
    match Package::read(bytes) {
        Err(PackageError::Malformed(error)) => (error.offset, error.part, error.why),
        other => panic!("expected malformed bytes, got {other:?}"),
    }
}

#[test]
fn the_sample_comes_back() {
    let package = sample();
    assert_eq!(package.check(), []);
    let bytes = package.to_bytes();
    let read = Package::read(&bytes).unwrap();
    assert_eq!(read, package);
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn constants_are_aligned_copied_or_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.cnnip");
    sample().write_file(&path).unwrap();
    for package in [Package::read_file(&path).unwrap(), Package::open_mapped(&path).unwrap()] {
        assert_eq!(package, sample());
        for (region, bytes) in package.constants.iter() {
            assert_eq!(bytes.as_ptr().align_offset(64), 0, "{region:?}");
        }
    }
}

#[test]
fn mapped_constants_outlive_the_package_and_a_replaced_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.cnnip");
    sample().write_file(&path).unwrap();
    let constant = Package::open_mapped(&path).unwrap().constant(RegionId(4)).unwrap().clone();
    Package::new("v3m").write_file(&path).unwrap();
    assert_eq!(constant[..], [9, 8, 7, 6, 5]);
}

#[test]
fn mapped_and_copied_readers_refuse_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.cnnip");
    let bytes = sample().to_bytes();
    for cut in [0, 7, 31, 32, 300, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let wanted = Package::read(&bytes[..cut]).unwrap_err();
        match Package::open_mapped(&path).unwrap_err() {
            FileError::Package { source, .. } => assert_eq!(source, wanted, "cut at {cut}"),
            FileError::Io { source, .. } => assert_eq!(cut, 0, "{source}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_package_with_problems_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.cnnip");
    let mut package = sample();
    package.target.clear();
    let error = package.write_file(&path).unwrap_err();
    assert!(error.to_string().ends_with("bad.cnnip: target 0: the name is empty or has control characters [name]"));
    assert!(!path.exists());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample().to_bytes();
    for length in 0..bytes.len() {
        assert!(Package::read(&bytes[..length]).is_err(), "{length} bytes were accepted");
        let mut cut = bytes[..length].to_vec();
        if length >= 32 {
            cut[16..24].copy_from_slice(&(length as u64).to_le_bytes());
            reseal(&mut cut);
            assert!(Package::read(&cut).is_err(), "{length} resealed bytes were accepted");
        }
    }
}

#[test]
fn every_bit_flip_is_refused() {
    let bytes = sample().to_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Package::read(&damaged).is_err(), "bit {bit} of byte {at:#x}");
        }
    }
}

#[test]
fn every_resealed_byte_is_refused_or_canonical() {
    let bytes = sample().to_bytes();
    for at in 0..bytes.len() {
        for value in [0, 1, 2, 0x40, 0x7f, 0x80, 0xfe, 0xff, bytes[at] ^ 1] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            reseal(&mut damaged);
            refused_or_canonical(&damaged);
        }
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut bytes = sample().to_bytes();
    bytes.push(0);
    assert!(matches!(malformed(&bytes), (16, "header", Why::FileLength { .. })));
    let length = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    reseal(&mut bytes);
    assert_eq!(malformed(&bytes), (bytes.len() - 1, "section table", Why::TrailingBytes { bytes: 1 }));
}

#[test]
fn a_wrong_checksum_says_whose_it_is() {
    let bytes = sample().to_bytes();
    let first_section = 320;
    let places = [(17, 28, "header"), (40, 32, "section table"), (first_section, first_section, "info")];
    for (flipped, offset, part) in places.into_iter().chain([(bytes.len() - 1, bytes.len() - 128 - 5, "constants")]) {
        let mut damaged = bytes.clone();
        damaged[flipped] ^= 1;
        let (found, name, why) = malformed(&damaged);
        assert_eq!((found, name, why.rule()), (offset, part, "checksum"));
    }
}

#[test]
fn the_lowered_graph_is_bytes() {
    for lowered in [vec![], vec![1, 2, 3], (0..=u8::MAX).collect()] {
        let package = Package { lowered: Some(lowered), ..sample() };
        assert_eq!(Package::read(&package.to_bytes()).unwrap(), package);
        assert_eq!(text::from_text(&text::to_text(&package)).unwrap(), package);
    }
}

#[test]
fn an_unknown_operator_is_named_at_its_byte() {
    let mut bytes = sample().to_bytes();
    let tag = [1, 0, 4, 0, 0, 0, 0xcd, 0xcc, 0xcc, 0x3d]; // softmax, four bytes: 0.1
    let at = bytes.windows(tag.len()).position(|window| window == tag).unwrap();
    bytes[at + 1] = 0x77;
    reseal(&mut bytes);
    assert_eq!(malformed(&bytes), (at, "program", Why::UnknownOperator { tag: 0x7701 }));
}

#[test]
fn problems_are_found_all_at_once() {
    let mut package = sample();
    package.spec_version = 9;
    package.regions[0].bytes = 10;
    package.tensors[2].name = "input".into();
    package.tokens[1].token = 200;
    package.outputs.push(TensorId(77));
    let Err(PackageError::Invalid { problems }) = Package::read(&package.to_bytes()) else { panic!("accepted") };
    let rules: Vec<_> = problems.iter().map(|problem| problem.defect.rule()).collect();
    assert_eq!(rules, ["spec-version", "token", "duplicate", "outside-region", "reference"]);
    assert_eq!(problems[3].to_string(), "tensor `input`: bytes 0 to 64 leave the region's 10 [outside-region]",);
}

#[test]
fn the_target_is_checked_by_who_knows_it() {
    let cores = |name: &str| (name == "v4h").then_some(1);
    let mut package = sample();
    assert_eq!(package.check_target(cores), []);
    package.lists[0].engine.core = 1;
    assert!(matches!(package.check_target(cores)[0].defect, Defect::Core { cores: 1, .. }));
    package.target = "v9".into();
    assert_eq!(package.check_target(cores)[0].defect, Defect::Target);
}

/// The file that `isa-spec/package.md` shows byte by byte.
fn documented() -> Vec<u8> {
    let text = include_str!("../../../isa-spec/package.md");
    let dump = text.split_once("```hex\n").and_then(|(_, rest)| rest.split_once("```")).expect("the page has a dump").0;
    let mut bytes = Vec::new();
    for line in dump.lines() {
        let (offset, row) = line.split_once("  ").expect("offset, two blanks, bytes");
        bytes.resize(usize::from_str_radix(offset, 16).unwrap(), 0);
        let row = row.split_once("  ").map_or(row, |(row, _)| row);
        bytes.extend(row.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

/// What that file holds.
fn tiny() -> Package {
    let engine = |engine| EngineId { core: 0, engine };
    let region = |name: &str, kind, bytes| Region { name: name.into(), kind, bytes, core_visible: true };
    let mut package = Package::new("v4h");
    package.budget = Budget { commands: 7, cycles: 99 };
    package.provenance = vec![("tool".into(), "hand".into())];
    package.regions = vec![region("w", RegionKind::Constant, 3), region("io", RegionKind::Input, 4)];
    package.constants.insert(RegionId(0), &[1, 2, 3][..]);
    package.tokens = vec![TokenOwner { token: 5, signal: engine(Engine::Dma0), wait: engine(Engine::Cnn) }];
    package.lists = vec![List { name: "cnn".into(), engine: engine(Engine::Cnn), words: vec![0x0200_0000] }];
    package.tensors = vec![Tensor {
        name: "x".into(),
        shape: vec![1, 4],
        element: ElementType::Int8,
        quantization: Some(Quantization { scale: 0.5, zero_point: -1 }),
        place: Place { region: RegionId(1), offset: 0 },
    }];
    package.program = vec![Step::Device { lists: vec![ListId(0)] }];
    package.inputs = vec![Input { tensor: TensorId(0), preprocess: None }];
    package.layers = vec![Layer { mark: 1, name: "l".into(), sources: vec![], macs: 16 }];
    package
}

#[test]
fn the_documented_bytes_are_read_and_written() {
    assert_eq!(tiny().to_bytes(), documented());
    assert_eq!(Package::read(&documented()), Ok(tiny()));
}

proptest! {
    #[test]
    fn reading_inverts_writing(package in any_package(vec(any::<u32>(), 1..9))) {
        prop_assert_eq!(package.check(), []);
        let bytes = package.to_bytes();
        let read = Package::read(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&package));
        prop_assert_eq!(read.unwrap().to_bytes(), bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..400)) {
        refused_or_canonical(&bytes);
        let signature = cnnip_package::SIGNATURE;
        if bytes.len() > 40 {
            bytes[..8].copy_from_slice(&signature);
            bytes[8..12].copy_from_slice(&[1, 0, 0, 0]);
            refused_or_canonical(&bytes);
        }
    }

    #[test]
    fn damage_behind_right_checksums_is_refused_or_canonical(
        package in any_package(vec(any::<u32>(), 1..9)),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = package.to_bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        reseal(&mut bytes);
        refused_or_canonical(&bytes);
    }
}
