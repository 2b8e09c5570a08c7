//! What the fuzz targets do with arbitrary bytes; the seeds are replayed by a plain test too.
//!
//! Each function takes any bytes. It must come back, and it panics only where a law is broken.

use std::sync::Arc;

use cnnip_core::{Checks, EngineId, Machine, NoObserver, Options, Program, Region, RegionKind, Slot, Stop, TokenOwner};
use cnnip_isa::{EngineKind, Target, asm, decode_at, disassemble, encode};

use crate::Rng;
use crate::generate::{ListOptions, Lists, lists};

/// A target's name and its function.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets, by the name of their folder of seeds.
pub const TARGETS: [FuzzTarget; 6] = [
    ("decode", decode),
    ("assembly", assembly),
    ("package", package),
    ("run_lists", run_lists),
    ("tflite", tflite),
    ("onnx", onnx),
];

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Any words: what decodes encodes to the same words, and disassembly assembles to the same words.
pub fn decode(bytes: &[u8]) {
    let list = words(bytes);
    for engine in [EngineKind::Dma, EngineKind::Cnn] {
        let mut pc = 0;
        while let Ok((command, length)) = decode_at(&list, pc, engine) {
            let mut again = Vec::new();
            assert!(encode(&command, &mut again).is_ok());
            assert_eq!(again, list[pc..pc + length], "encode(decode) at word {pc}");
            pc += length;
        }
        let text = disassemble(&list, engine);
        assert_eq!(asm::assemble_str(&text, engine).as_ref(), Ok(&list), "assemble(disassemble)");
    }
}

/// Any text: a list or diagnostics; a list survives disassembly.
pub fn assembly(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for engine in [EngineKind::Dma, EngineKind::Cnn] {
        if let Ok(list) = asm::assemble_str(&text, engine) {
            assert_eq!(asm::assemble_str(&disassemble(&list, engine), engine), Ok(list));
        }
    }
    if let Ok(package) = cnnip_package::text::from_text(&text) {
        let again = cnnip_package::text::from_text(&cnnip_package::text::to_text(&package));
        assert_eq!(again.map(|package| package.to_bytes()), Ok(package.to_bytes()));
    }
}

/// Any file: a package that writes to the same bytes and survives its text form, or an error. Any bytes of a lowered graph: a
/// network that keeps its rules, or an error.
pub fn package(bytes: &[u8]) {
    let graph = cnnip_package::Package { lowered: Some(bytes.to_vec()), ..cnnip_package::Package::new("v4h") };
    let _ = cnnip_lowered::Network::of_package(&graph);
    if let Ok(package) = cnnip_package::Package::read(bytes) {
        if let Ok(network) = cnnip_lowered::Network::of_package(&package) {
            assert_eq!(network.check(), [], "what is read keeps its rules");
        }
        assert_eq!(package.to_bytes(), bytes, "write(read)");
        let again = cnnip_package::text::from_text(&cnnip_package::text::to_text(&package));
        assert_eq!(again.map(|package| package.to_bytes()), Ok(package.to_bytes()), "asm(disasm)");
    }
}

/// Any model: a well-formed graph or a list of problems.
pub fn tflite(bytes: &[u8]) {
    if let Ok(graph) = cnnip_graph::tflite::import_tflite(bytes) {
        assert!(graph.check().is_ok(), "an imported graph is well-formed");
    }
}

/// Any model: a well-formed graph that the passes keep so, and that is read again as it was written; or a list of problems.
pub fn onnx(bytes: &[u8]) {
    let options = cnnip_graph::onnx::OnnxOptions::default();
    let Ok(graph) = cnnip_graph::onnx::import_onnx(bytes, &options) else { return };
    assert!(graph.check().is_ok(), "an imported graph is well-formed");
    let graph = cnnip_graph::passes::standard(graph, |name, graph| {
        assert!(graph.check().is_ok(), "a graph is well-formed after {name}");
    });
    if let Ok(written) = cnnip_graph::onnx::export_onnx(&graph) {
        let again = cnnip_graph::onnx::import_onnx(&written, &options);
        assert!(again.is_ok(), "what is written can be read: {again:?}");
    }
}

/// Any lists: running, stepping by command and running in pieces end in the same state.
///
/// If the first word is odd, the next two are the seed of generated lists that are right, and every further pair of words
/// changes one word of them. Otherwise it says how the words after it are dealt to the three engines.
pub fn run_lists(bytes: &[u8]) {
    let words = words(bytes);
    let Some((&split, rest)) = words.split_first() else { return };
    let piece = u64::from(split >> 24) + 1;
    if split % 2 == 1 {
        let lists = changed(rest);
        same_in_all_modes(|| lists.machine(options()), piece);
    } else {
        same_in_all_modes(|| raw(split, rest), piece);
    }
}

fn options() -> Options {
    Options { checks: Checks::ALL, max_commands: 2_000, max_cycles: 100_000, ..Options::default() }
}

fn same_in_all_modes(machine: impl Fn() -> Machine, piece: u64) {
    let ran = ended(machine(), |machine| machine.run(&mut NoObserver));
    for (how, other) in [
        ("by command", ended(machine(), |machine| machine.step_command(&mut NoObserver))),
        ("in pieces", ended(machine(), |m| m.run_until(m.state().cycle() + piece * 16, &mut NoObserver))),
    ] {
        assert_eq!(other.1, ran.1, "{how}");
        assert_eq!(other.0.state().differences(ran.0.state()), [], "{how}");
    }
}

/// Generated lists with some words changed.
fn changed(words: &[u32]) -> Lists {
    let at = |index: usize| words.get(index).copied().unwrap_or(0);
    let mut rng = Rng::new(u64::from(at(0)));
    let options = ListOptions { target: target(), tasks: at(1) % 16, overflows: at(1) % 5 == 0, cold: true };
    let mut lists = lists(&options, &mut rng);
    for change in words.get(2..).unwrap_or(&[]).chunks_exact(2) {
        let index = |n: u32, len: usize| usize::try_from(n).unwrap_or(0) % len.max(1);
        let list = index(change[0] >> 16, lists.lists.len());
        let list = &mut lists.lists[list].1;
        let word = index(change[0] & 0xffff, list.len());
        if let Some(word) = list.get_mut(word) {
            *word ^= change[1];
        }
    }
    lists
}

fn target() -> &'static Target {
    Target::by_name("v3m").expect("v3m is a target")
}

fn ended(mut machine: Machine, mut step: impl FnMut(&mut Machine) -> Stop) -> (Machine, Stop) {
    loop {
        match step(&mut machine) {
            Stop::Paused => {}
            stop => return (machine, stop),
        }
    }
}

/// Tokens of the machine that `run_lists` makes: signalling and waiting engine.
const TOKENS: [(u8, Slot, Slot); 4] =
    [(0, Slot::Dma0, Slot::Cnn), (1, Slot::Cnn, Slot::Dma1), (2, Slot::Dma1, Slot::Dma0), (3, Slot::Cnn, Slot::Dma0)];

/// Words dealt to the three engines of a machine with four small regions.
fn raw(split: u32, words: &[u32]) -> Machine {
    let at = |bits: u32| usize::try_from(bits & 0x7ff).unwrap_or(0).min(words.len());
    let (first, second) = (at(split >> 1), at(split >> 12));
    let (low, high) = (first.min(second), first.max(second));
    let engine = |slot| EngineId { core: 0, slot };
    let parts = [&words[..low], &words[low..high], &words[high..]];
    let lists = Slot::ALL.into_iter().zip(parts).map(|(slot, list)| (engine(slot), Arc::from(list)));
    let owners =
        TOKENS.map(|(token, signals, waits)| TokenOwner { token, signals: engine(signals), waits: engine(waits) });
    let program = Program::new(target(), lists, owners).expect("three lists and four tokens fit any target");
    let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(4096).collect();
    let constant: cnnip_core::SharedBytes = Arc::new(pattern.clone());
    let regions = vec![
        Region::Buffer { kind: RegionKind::Input, bytes: pattern },
        Region::Buffer { kind: RegionKind::Output, bytes: vec![0; 4096] },
        Region::Buffer { kind: RegionKind::Scratch, bytes: vec![0; 4096] },
        Region::Constant(constant),
    ];
    Machine::new(target(), program, regions, options())
}
