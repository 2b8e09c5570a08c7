//! Reading registers with the rules they must keep.

use super::{OperationError, Rule};
use crate::{CnnRegister, DmaRegister, ElementType, Field, RegisterFile, Target};

/// A register file together with the target whose limits hold.
pub(super) struct Reader<'a> {
    pub(super) registers: &'a RegisterFile,
    pub(super) target: &'a Target,
}

/// Builds the error for `register`.
pub(super) fn illegal(register: &'static str, value: u32, rule: Rule) -> OperationError {
    OperationError::IllegalParameter { register, value, rule }
}

/// Checks that an unsigned value lies within limits.
pub(super) fn within(register: &'static str, value: u32, min: u32, max: u32) -> Result<u32, OperationError> {
    let rule = Rule::Range { min: i64::from(min), max: i64::from(max) };
    if (min..=max).contains(&value) { Ok(value) } else { Err(illegal(register, value, rule)) }
}

/// Checks that a signed value lies within limits.
pub(super) fn within_signed(register: &'static str, value: i32, limits: (i32, i32)) -> Result<i32, OperationError> {
    let (min, max) = limits;
    let rule = Rule::Range { min: i64::from(min), max: i64::from(max) };
    if (min..=max).contains(&value) { Ok(value) } else { Err(illegal(register, value.cast_unsigned(), rule)) }
}

/// Checks alignment.
pub(super) fn aligned(register: &'static str, value: u32, of: u32) -> Result<u32, OperationError> {
    if value.is_multiple_of(of) { Ok(value) } else { Err(illegal(register, value, Rule::Multiple { of })) }
}

/// The values an element type can hold.
pub(super) fn type_range(element: ElementType) -> (i32, i32) {
    match element {
        ElementType::None => (0, 0),
        ElementType::Int8 => (-128, 127),
        ElementType::Uint8 => (0, 255),
        ElementType::Int16 => (-32_768, 32_767),
        ElementType::Int32 => (i32::MIN, i32::MAX),
    }
}

/// The zero points an element type can have: 16 bit is symmetric.
pub(super) fn zero_range(element: ElementType) -> (i32, i32) {
    match element {
        ElementType::Int8 | ElementType::Uint8 => type_range(element),
        ElementType::None | ElementType::Int16 | ElementType::Int32 => (0, 0),
    }
}

/// Bytes of an element as the 32-bit number that strides are made of.
pub(super) fn element_bytes(element: ElementType) -> u32 {
    match element {
        ElementType::None => 0,
        ElementType::Int8 | ElementType::Uint8 => 1,
        ElementType::Int16 => 2,
        ElementType::Int32 => 4,
    }
}

impl Reader<'_> {
    pub(super) fn cnn(&self, register: CnnRegister) -> u32 {
        self.registers.read_cnn(register)
    }

    pub(super) fn signed(&self, register: CnnRegister) -> i32 {
        self.cnn(register).cast_signed()
    }

    pub(super) fn dma(&self, register: DmaRegister) -> u32 {
        self.registers.read_dma(register)
    }

    /// A flag or number in a field.
    pub(super) fn field(&self, register: CnnRegister, field: Field) -> u32 {
        field.get(self.cnn(register))
    }

    /// An enumeration in a field; `name` is `REGISTER.FIELD`.
    pub(super) fn choice<T>(
        &self,
        name: &'static str,
        kind: &'static str,
        value: u32,
        from_code: fn(u32) -> Option<T>,
    ) -> Result<T, OperationError> {
        from_code(value).ok_or(illegal(name, value, Rule::NotA { name: kind }))
    }

    /// The element type in a field of `FORMAT`, if `legal` for the operation `here`.
    pub(super) fn element(
        &self,
        name: &'static str,
        field: Field,
        legal: &[ElementType],
        here: &'static str,
    ) -> Result<ElementType, OperationError> {
        let value = self.field(CnnRegister::Format, field);
        let element = self.choice(name, "ElementType", value, ElementType::from_code)?;
        if legal.contains(&element) { Ok(element) } else { Err(illegal(name, value, Rule::NotLegalHere { here })) }
    }
}
