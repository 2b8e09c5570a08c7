//! What the fuzz targets do with arbitrary bytes; the seeds are replayed by a plain test too.
//!
//! Each function takes any bytes. It must come back, and it panics only where a law is broken.

use std::sync::Arc;

use cnnip_core::{Checks, EngineId, Machine, NoObserver, Options, Program, Region, RegionKind, Slot, Stop, TokenOwner};
use cnnip_isa::{EngineKind, Target, asm, decode_at, disassemble, encode};

/// A target's name and its function.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets, by the name of their folder of seeds.
pub const TARGETS: [FuzzTarget; 5] =
    [("decode", decode), ("assembly", assembly), ("package", package), ("run_lists", run_lists), ("tflite", tflite)];

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

/// Any file: a package that writes to the same bytes and survives its text form, or an error.
pub fn package(bytes: &[u8]) {
    if let Ok(package) = cnnip_package::Package::read(bytes) {
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

/// Any lists: running, stepping by command and running in pieces end in the same state. The first word says how the others
/// are dealt to the three engines.
pub fn run_lists(bytes: &[u8]) {
    let words = words(bytes);
    let Some((&split, lists)) = words.split_first() else { return };
    let Some(target) = Target::by_name("v3m") else { return };
    let at = |bits: u32| usize::try_from(bits & 0xfff).unwrap_or(0).min(lists.len());
    let (first, second) = (at(split), at(split >> 12));
    let (low, high) = (first.min(second), first.max(second));
    let parts = [&lists[..low], &lists[low..high], &lists[high..]];
    let piece = u64::from(split >> 24) + 1;
    let ran = ended(target, parts, |machine| machine.run(&mut NoObserver));
    for (how, other) in [
        ("by command", ended(target, parts, |machine| machine.step_command(&mut NoObserver))),
        (
            "in pieces",
            ended(target, parts, |machine| machine.run_until(machine.state().cycle() + piece, &mut NoObserver)),
        ),
    ] {
        assert_eq!(other.1, ran.1, "{how}");
        assert_eq!(other.0.state().differences(ran.0.state()), [], "{how}");
    }
}

/// Tokens of the machine that `run_lists` makes: signalling and waiting engine.
const TOKENS: [(u8, Slot, Slot); 4] =
    [(0, Slot::Dma0, Slot::Cnn), (1, Slot::Cnn, Slot::Dma1), (2, Slot::Dma1, Slot::Dma0), (3, Slot::Cnn, Slot::Dma0)];

fn ended(target: &'static Target, lists: [&[u32]; 3], mut step: impl FnMut(&mut Machine) -> Stop) -> (Machine, Stop) {
    let engine = |slot| EngineId { core: 0, slot };
    let lists = Slot::ALL.into_iter().zip(lists).map(|(slot, list)| (engine(slot), Arc::from(list)));
    let owners =
        TOKENS.map(|(token, signals, waits)| TokenOwner { token, signals: engine(signals), waits: engine(waits) });
    let program = Program::new(target, lists, owners).expect("three lists and four tokens fit any target");
    let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(4096).collect();
    let constant: cnnip_core::SharedBytes = Arc::new(pattern.clone());
    let regions = vec![
        Region::Buffer { kind: RegionKind::Input, bytes: pattern },
        Region::Buffer { kind: RegionKind::Output, bytes: vec![0; 4096] },
        Region::Buffer { kind: RegionKind::Scratch, bytes: vec![0; 4096] },
        Region::Constant(constant),
    ];
    let options = Options { checks: Checks::ALL, max_commands: 500, max_cycles: 20_000, ..Options::default() };
    let mut machine = Machine::new(target, program, regions, options);
    loop {
        match step(&mut machine) {
            Stop::Paused => {}
            stop => return (machine, stop),
        }
    }
}
