//! The registers of one engine.

use crate::command::Pairs;
use crate::engine::EngineKind;
use crate::generated::{CNN_REGISTERS, CnnRegister, DMA_REGISTERS, DmaRegister, FaultCode};
use crate::spec::{RegisterSpec, registers_of};

/// One more than the largest index of any register.
const SLOTS: usize = {
    let (cnn, dma) = (slots(CNN_REGISTERS), slots(DMA_REGISTERS));
    if cnn > dma { cnn } else { dma }
};

/// Bits that may be set, by index; 0 where there is no register.
static CNN_MASKS: [u32; SLOTS] = masks(CNN_REGISTERS);
static DMA_MASKS: [u32; SLOTS] = masks(DMA_REGISTERS);

const fn slots(registers: &[RegisterSpec]) -> usize {
    match registers.last() {
        Some(last) => last.index as usize + 1,
        None => 0,
    }
}

const fn masks(registers: &[RegisterSpec]) -> [u32; SLOTS] {
    let mut masks = [0; SLOTS];
    let mut at = 0;
    while at < registers.len() {
        masks[registers[at].index as usize] = registers[at].mask;
        at += 1;
    }
    masks
}

/// The specification of the register at `index`, if an engine of this kind has one there.
#[must_use]
pub fn spec_of(engine: EngineKind, index: u8) -> Option<&'static RegisterSpec> {
    let registers = registers_of(engine);
    let place = registers.binary_search_by_key(&index, |register| register.index).ok()?;
    registers.get(place)
}

/// The sticky registers of one engine; all zero after reset.
///
/// ```
/// use cnnip_isa::{CnnRegister, EngineKind, RegisterFile};
///
/// let mut registers = RegisterFile::new(EngineKind::Cnn);
/// registers.write(CnnRegister::InC.index(), 16)?;
/// assert_eq!(registers.read_cnn(CnnRegister::InC), 16);
/// assert!(registers.write(CnnRegister::Broadcast.index(), 4).is_err()); // bits 1:0 only
/// # Ok::<(), cnnip_isa::RegisterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterFile {
    kind: EngineKind,
    words: [u32; SLOTS],
}

impl RegisterFile {
    /// Registers after reset.
    #[must_use]
    pub const fn new(kind: EngineKind) -> Self {
        Self { kind, words: [0; SLOTS] }
    }

    /// The kind of engine whose registers these are.
    #[must_use]
    pub const fn kind(&self) -> EngineKind {
        self.kind
    }

    /// All words by index; where no register is, the word is zero.
    #[must_use]
    pub const fn words(&self) -> &[u32] {
        &self.words
    }

    /// The word at `index`, if a register is there.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<u32> {
        self.mask(index).and(self.words.get(usize::from(index)).copied())
    }

    /// The word of a register of the CNN engine; zero if these are a DMA engine's.
    #[must_use]
    pub const fn read_cnn(&self, register: CnnRegister) -> u32 {
        match self.kind {
            EngineKind::Cnn => self.words[register.index() as usize],
            EngineKind::Dma => 0,
        }
    }

    /// The word of a register of a DMA engine; zero if these are the CNN engine's.
    #[must_use]
    pub const fn read_dma(&self, register: DmaRegister) -> u32 {
        match self.kind {
            EngineKind::Dma => self.words[register.index() as usize],
            EngineKind::Cnn => 0,
        }
    }

    /// Writes one word.
    ///
    /// # Errors
    /// If there is no such register, or `value` sets a reserved bit; nothing is written then.
    pub fn write(&mut self, index: u8, value: u32) -> Result<(), RegisterError> {
        self.check(index, value)?;
        self.words[usize::from(index)] = value;
        Ok(())
    }

    /// Writes consecutive registers, as SET does.
    ///
    /// # Errors
    /// The first register that does not exist, else the first reserved bit that is set; nothing is written then.
    pub fn write_burst(&mut self, first: u8, values: &[u32]) -> Result<(), RegisterError> {
        // A burst beyond the last index has met one without register before.
        let index = |offset: usize| u8::try_from(usize::from(first) + offset).unwrap_or(u8::MAX);
        (0..values.len()).try_for_each(|offset| self.check(index(offset), 0))?;
        for (offset, &value) in values.iter().enumerate() {
            self.check(index(offset), value)?;
        }
        let start = usize::from(first);
        if let Some(words) = self.words.get_mut(start..start + values.len()) {
            words.copy_from_slice(values);
        }
        Ok(())
    }

    /// Adds each pair's increment to its register, modulo 2^32, in their order, as NEXT does.
    ///
    /// # Errors
    /// As [`write`](Self::write), for the first sum that is wrong; nothing is written then.
    pub fn add_pairs(&mut self, pairs: Pairs<'_>) -> Result<(), RegisterError> {
        let mut sums = self.clone();
        for (index, increment) in pairs.iter() {
            sums.add(index, increment)?;
        }
        *self = sums;
        Ok(())
    }

    fn check(&self, index: u8, value: u32) -> Result<(), RegisterError> {
        let mask = self.mask(index).ok_or(RegisterError::UnknownRegister { index, engine: self.kind })?;
        if value & !mask == 0 {
            return Ok(());
        }
        let name = spec_of(self.kind, index).map_or("", |spec| spec.name);
        Err(RegisterError::ReservedBits { name, value, mask })
    }

    /// Adds to one word, modulo 2^32.
    ///
    /// # Errors
    /// As [`write`](Self::write), `value` being the sum.
    pub fn add(&mut self, index: u8, increment: u32) -> Result<(), RegisterError> {
        let word = self.get(index).unwrap_or_default();
        self.write(index, word.wrapping_add(increment))
    }

    /// Writes a register of the CNN engine for a caller that knows its fields: reserved bits of `value` are dropped.
    /// Does nothing if these are a DMA engine's registers.
    pub fn set_cnn(&mut self, register: CnnRegister, value: u32) {
        if self.kind == EngineKind::Cnn {
            self.set_masked(register.index(), value);
        }
    }

    /// Writes a register of a DMA engine for a caller that knows its fields: reserved bits of `value` are dropped.
    /// Does nothing if these are the CNN engine's registers.
    pub fn set_dma(&mut self, register: DmaRegister, value: u32) {
        if self.kind == EngineKind::Dma {
            self.set_masked(register.index(), value);
        }
    }

    fn set_masked(&mut self, index: u8, value: u32) {
        if let Some(mask) = self.mask(index) {
            self.words[usize::from(index)] = value & mask;
        }
    }

    /// Bits that may be set in the register at `index`, if there is one.
    fn mask(&self, index: u8) -> Option<u32> {
        let masks = match self.kind {
            EngineKind::Dma => &DMA_MASKS,
            EngineKind::Cnn => &CNN_MASKS,
        };
        masks.get(usize::from(index)).copied().filter(|&mask| mask != 0)
    }
}

/// Why a register was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// There is no register at this index.
    #[error("the {engine} engine has no register {index:#04x}")]
    UnknownRegister {
        /// The index.
        index: u8,
        /// The kind of engine.
        engine: EngineKind,
    },
    /// The value sets a bit that no field names.
    #[error("register {name} = {value:#010x} sets reserved bits, only {mask:#010x} may be set")]
    ReservedBits {
        /// Name of the register.
        name: &'static str,
        /// The value that was not written.
        value: u32,
        /// Bits that may be set.
        mask: u32,
    },
}

impl RegisterError {
    /// The fault that the machine reports.
    #[must_use]
    pub const fn fault_code(&self) -> FaultCode {
        match self {
            Self::UnknownRegister { .. } => FaultCode::IllegalRegister,
            Self::ReservedBits { .. } => FaultCode::ReservedBits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RegisterError, RegisterFile, spec_of};
    use crate::command::Pairs;
    use crate::engine::EngineKind;
    use crate::generated::{CnnRegister, DmaRegister, FaultCode};
    use crate::spec::registers_of;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    const ENGINES: [EngineKind; 2] = [EngineKind::Dma, EngineKind::Cnn];

    #[test]
    fn every_register_is_where_its_specification_says() {
        for engine in ENGINES {
            for spec in registers_of(engine) {
                assert_eq!(spec_of(engine, spec.index), Some(spec));
                assert_eq!(RegisterFile::new(engine).get(spec.index), Some(0), "{}", spec.name);
            }
        }
    }

    #[test]
    fn indices_and_names_agree_with_the_tables() {
        for &register in CnnRegister::ALL {
            assert_eq!(spec_of(EngineKind::Cnn, register.index()).map(|spec| spec.name), Some(register.name()));
        }
        for &register in DmaRegister::ALL {
            assert_eq!(spec_of(EngineKind::Dma, register.index()).map(|spec| spec.name), Some(register.name()));
        }
    }

    #[test]
    fn registers_of_the_other_engine_read_zero_and_stay() {
        let mut registers = RegisterFile::new(EngineKind::Dma);
        registers.set_dma(DmaRegister::SrcAddr, 7);
        registers.set_cnn(CnnRegister::InAddr, 9);
        assert_eq!(registers.read_dma(DmaRegister::SrcAddr), 7);
        assert_eq!(registers.read_cnn(CnnRegister::InAddr), 0);
    }

    #[test]
    fn errors_name_their_fault() {
        let unknown = RegisterError::UnknownRegister { index: 0xff, engine: EngineKind::Cnn };
        assert_eq!(unknown.fault_code(), FaultCode::IllegalRegister);
        assert_eq!(unknown.to_string(), "the cnn engine has no register 0xff");
        let reserved = RegisterError::ReservedBits { name: "POOL", value: 2, mask: 1 };
        assert_eq!(reserved.fault_code(), FaultCode::ReservedBits);
        assert_eq!(reserved.to_string(), "register POOL = 0x00000002 sets reserved bits, only 0x00000001 may be set");
    }

    #[test]
    fn a_burst_or_a_round_of_increments_happens_whole_or_not_at_all() {
        let before = RegisterFile::new(EngineKind::Cnn);
        let mut registers = before.clone();
        let unknown = Err(RegisterError::UnknownRegister { index: 0x0d, engine: EngineKind::Cnn });
        assert_eq!(registers.write_burst(CnnRegister::In2Zero.index(), &[1, 1, 1]), unknown);
        let gap = Err(RegisterError::UnknownRegister { index: 0x3b, engine: EngineKind::Cnn });
        assert_eq!(registers.write_burst(CnnRegister::Reduce.index(), &[1 << 5, 1, 1]), gap, "before the reserved bit");
        let beyond = RegisterError::UnknownRegister { index: 0xff, engine: EngineKind::Cnn };
        assert_eq!(registers.write_burst(0xff, &[0, 0]), Err(beyond));
        let pairs = [[u32::from(CnnRegister::InC.index()), 5], [u32::from(CnnRegister::Pool.index()), 2]];
        let reserved = Err(RegisterError::ReservedBits { name: "POOL", value: 2, mask: 1 });
        assert_eq!(Pairs::new(&pairs).map(|pairs| registers.add_pairs(pairs)), Some(reserved));
        assert_eq!(registers, before);

        assert_eq!(registers.write_burst(CnnRegister::InC.index(), &[3, 4]), Ok(()));
        let twice = [[u32::from(CnnRegister::InC.index()), 5]; 2];
        assert_eq!(Pairs::new(&twice).map(|pairs| registers.add_pairs(pairs)), Some(Ok(())));
        assert_eq!((registers.read_cnn(CnnRegister::InC), registers.read_cnn(CnnRegister::InRow)), (13, 4));
    }

    proptest! {
        #[test]
        fn a_write_is_read_back_or_refused(cnn in any::<bool>(), index in any::<u8>(), value in any::<u32>()) {
            let engine = if cnn { EngineKind::Cnn } else { EngineKind::Dma };
            let mut registers = RegisterFile::new(engine);
            let legal = spec_of(engine, index).is_some_and(|spec| value & !spec.mask == 0);
            prop_assert_eq!(registers.write(index, value).is_ok(), legal);
            let expected = spec_of(engine, index).map(|_| if legal { value } else { 0 });
            prop_assert_eq!(registers.get(index), expected);
        }

        #[test]
        fn adding_wraps(start in any::<u32>(), increment in any::<u32>()) {
            let mut registers = RegisterFile::new(EngineKind::Cnn);
            registers.set_cnn(CnnRegister::InAddr, start);
            prop_assert_eq!(registers.add(CnnRegister::InAddr.index(), increment), Ok(()));
            prop_assert_eq!(registers.read_cnn(CnnRegister::InAddr), start.wrapping_add(increment));
        }
    }
}
