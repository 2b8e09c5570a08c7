//! An element-wise operation that only moves elements: a strided copy in a run, element by element when stepped.

use std::sync::Arc;

use cnnip_core::{EngineId, Machine, NoObserver, Options, Program, Slot, Stop};
use cnnip_isa::{EngineKind, Target, asm::assemble_str};

/// Transposes 5 rows of 7 pixels of 3 channels into a map with gaps.
const TRANSPOSE: &str = "set FORMAT IN=int8 OUT=int8, IN_ADDR 100\nset IN_ROW 3, IN_PIX 21, IN_ZERO 4\n\
    set OUT_ADDR 1000, OUT_SIZE W=5 H=7, OUT_C 3, OUT_ROW 40, OUT_PIX 7, OUT_ZERO 4, -128, 127\n\
    set ELTWISE FUNCTION=pass\nrun ELTWISE\nend";

fn machine(text: &str) -> Machine {
    let target = Target::by_name("v3m").unwrap();
    let engine = EngineId { core: 0, slot: Slot::Cnn };
    let list = assemble_str(text, EngineKind::Cnn).unwrap();
    let program = Program::new(target, [(engine, Arc::from(list))], []).unwrap();
    let mut machine = Machine::new(target, program, Vec::new(), Options::default());
    let input: Vec<u8> = (0..105_u8).map(|i| i.wrapping_mul(5)).collect();
    machine.write_sram(0, 100, &input).unwrap();
    machine.write_sram(0, 1000, &[0xee; 300]).unwrap();
    machine
}

#[test]
fn moving_elements_is_the_same_at_once_and_step_by_step() {
    // The second clamps one value, the third shifts all: neither only moves.
    let clamped = TRANSPOSE.replace("-128, 127", "-127, 127");
    let shifted = TRANSPOSE.replace("IN_ZERO 4", "IN_ZERO 5");
    for text in [TRANSPOSE, &clamped, &shifted] {
        let (mut ran, mut stepped) = (machine(text), machine(text));
        assert_eq!(ran.run(&mut NoObserver), Stop::Done);
        while stepped.step_cycle(&mut NoObserver) == Stop::Paused {}
        assert_eq!(ran.state().differences(stepped.state()), []);
    }
    let mut ran = machine(TRANSPOSE);
    assert_eq!(ran.run(&mut NoObserver), Stop::Done);
    let sram = ran.state().sram(0).unwrap();
    for (row, column, channel) in (0..7).flat_map(|y| (0..5).flat_map(move |x| (0..3).map(move |c| (y, x, c)))) {
        let (from, to) = (100 + column * 21 + row * 3 + channel, 1000 + row * 40 + column * 7 + channel);
        assert_eq!(sram[to], sram[from], "element ({row}, {column}, {channel})");
    }
    assert_eq!(sram[1003..1007], [0xee; 4], "gaps stay");
}
