//! What the host does to a machine between runs: external memory, and starting over.

use std::ops::Range;

use crate::machine::fresh_state;
use crate::memory::{Bound, index};
use crate::{Machine, MemoryError, Options, Program};

impl Machine {
    /// Starts over at cycle 0 with another program: registers and tokens zero, scratchpads zero and never written. External
    /// memory stays as it is, with what counts as written.
    pub fn restart(&mut self, program: Program, options: Options) {
        let mut memory = std::mem::take(&mut self.state.memory);
        memory.reset_srams(program.cores(), self.target.sram_bytes);
        self.state = fresh_state(&program, memory);
        self.program = program;
        self.options = options;
    }

    /// Zeroes a buffer of external memory and counts nothing of it as written; constants and unbound regions stay.
    pub fn forget_region(&mut self, region: u8) {
        if let Some(Bound::Buffer { bytes, .. }) = self.state.memory.regions.get_mut(usize::from(region)) {
            bytes.forget();
        }
    }

    /// Writes bytes of a buffer of external memory as the host; they count as written.
    ///
    /// # Errors
    /// If the bytes do not fit; constants and unbound regions take none.
    pub fn write_region(&mut self, region: u8, offset: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let bound = self.state.memory.regions.get_mut(usize::from(region));
        let Some(Bound::Buffer { bytes: buffer, .. }) = bound else {
            return Err(MemoryError { start: offset, end, size: 0 });
        };
        let size = u64::try_from(buffer.data.len()).unwrap_or(u64::MAX);
        if end > size {
            return Err(MemoryError { start: offset, end, size });
        }
        let range = index(offset)..index(end);
        buffer.data[range.clone()].copy_from_slice(bytes);
        buffer.written.set(range);
        Ok(())
    }

    /// The first byte of a part of a buffer that nothing has written; constants have none.
    pub fn first_unwritten(&self, region: u8, bytes: Range<u64>) -> Option<u64> {
        match self.state.memory.regions.get(usize::from(region)) {
            Some(Bound::Buffer { bytes: buffer, .. }) => {
                let end = index(bytes.end).min(buffer.data.len());
                let first = buffer.written.first_clear(index(bytes.start).min(end)..end)?;
                u64::try_from(first).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cnnip_isa::asm::assemble_str;
    use cnnip_isa::{EngineKind, Target};

    use crate::{EngineId, Machine, MemoryError, NoObserver, Options, Program, Region, RegionKind, Slot, Stop};

    fn program(target: &Target, text: &str) -> Program {
        let engine = EngineId { core: 0, slot: Slot::Dma0 };
        let words: Arc<[u32]> = assemble_str(text, EngineKind::Dma).unwrap().into();
        Program::new(target, [(engine, words)], []).unwrap()
    }

    const COPY: &str = "set SRC_PLACE KIND=dram REGION=1, SRC_ADDR 0, DST_PLACE KIND=dram REGION=0, DST_ADDR 0\n\
        set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1\nrun COPY\nend";

    fn machine(text: &str) -> Machine {
        let target = Target::by_name("v3m").unwrap();
        let buffer = |kind| Region::Buffer { kind, bytes: vec![0; 8] };
        let regions = vec![buffer(RegionKind::Output), buffer(RegionKind::Scratch), Region::Unbound];
        Machine::new(target, program(target, text), regions, Options::default())
    }

    #[test]
    fn memory_outlives_a_restart_and_the_rest_does_not() {
        let mut machine = machine(COPY);
        machine.write_region(1, 0, &[1, 2, 3, 4]).unwrap();
        assert_eq!(machine.run(&mut NoObserver), Stop::Done);
        assert_eq!((machine.first_unwritten(0, 0..8), machine.first_unwritten(0, 0..4)), (Some(4), None));

        let dma0 = EngineId { core: 0, slot: Slot::Dma0 };
        machine.restart(program(machine.target(), COPY), Options::default());
        let state = machine.state();
        assert_eq!((state.cycle(), state.commands(), state.pc(dma0)), (0, 0, Some(0)));
        assert_eq!(state.region(0), Some(&[1, 2, 3, 4, 0, 0, 0, 0][..]));
        assert_eq!(machine.run(&mut NoObserver), Stop::Done, "the source still counts as written");
    }

    #[test]
    fn a_forgotten_region_is_as_new() {
        let mut machine = machine(COPY);
        machine.write_region(1, 0, &[1; 8]).unwrap();
        machine.forget_region(1);
        assert_eq!(machine.state().region(1), Some(&[0; 8][..]));
        machine.write_region(1, 3, &[1; 2]).unwrap();
        machine.forget_region(1);
        assert_eq!(machine.state().region(1), Some(&[0; 8][..]), "also where it has been forgotten before");
        assert!(matches!(machine.run(&mut NoObserver), Stop::Fault(_)), "a read of bytes nothing has written");
    }

    #[test]
    fn what_a_host_bound_is_forgotten_though_nothing_wrote_it() {
        let target = Target::by_name("v3m").unwrap();
        let regions = vec![Region::Buffer { kind: RegionKind::Output, bytes: vec![7; 9000] }];
        let mut machine = Machine::new(target, program(target, "end"), regions, Options::default());
        machine.forget_region(0);
        assert_eq!(machine.state().region(0), Some(&[0; 9000][..]));
    }

    #[test]
    fn a_restart_leaves_no_byte_in_a_scratchpad() {
        let mut machine = machine("end");
        let size = machine.target().sram_bytes;
        machine.write_sram(0, 4095, &[1; 2]).unwrap();
        machine.write_sram(0, size - 1, &[1]).unwrap();
        machine.restart(program(machine.target(), "end"), Options::default());
        assert!(machine.state().sram(0).unwrap().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn writes_beyond_a_region_change_nothing() {
        let mut machine = machine("end");
        let error = MemoryError { start: 6, end: 9, size: 8 };
        assert_eq!(machine.write_region(0, 6, &[1; 3]), Err(error));
        assert_eq!(machine.write_region(2, 0, &[1]), Err(MemoryError { start: 0, end: 1, size: 0 }));
        assert_eq!(machine.state().region(0), Some(&[0; 8][..]));
        assert_eq!(machine.first_unwritten(0, u64::MAX..u64::MAX), None);
    }
}
