//! Registers of an engine.

use super::enums::{Enum, Repr, Variant};
use super::fields::{hex, module, spec};
use super::{doc, each};
use crate::codegen::schema::{Engine, Kind, Register};
use crate::codegen::text::upper_case;

/// The enum of an engine's registers, the table of their specifications and the module of their fields.
pub(super) fn print(engine: Engine, registers: &[Register]) -> String {
    let prose = match engine {
        Engine::Cnn => "Registers of the CNN engine.",
        Engine::Dma => "Registers of a DMA engine.",
    };
    let name = format!("{}Register", engine.type_name());
    let variants = registers.iter().map(|one| Variant::hex(&one.name, one.index, &one.doc)).collect();
    let item = Enum { name: &name, doc: prose, repr: Repr::U8, number: "index", variants };
    let with_fields = registers
        .iter()
        .filter(|register| !register.fields.is_empty())
        .map(|register| (register.name.as_str(), register.fields.as_slice()));
    format!(
        "{}{}pub const {}_REGISTERS: &[RegisterSpec] = &[\n{}];\n\n{}",
        item.print(""),
        doc(&format!("{prose} In the order of their indices.")),
        upper_case(engine.type_name()),
        each(registers, register_spec),
        module(engine.name(), &format!("{} registers", engine.name().to_uppercase()), with_fields),
    )
}

fn register_spec(register: &Register) -> String {
    let kind = match register.kind {
        Some(Kind::Unsigned) => "Unsigned",
        Some(Kind::Signed) => "Signed",
        Some(Kind::Bits) => "Bits",
        None => "Fields",
    };
    format!(
        "RegisterSpec {{ index: {:#04x}, name: {:?}, doc: {:?}, kind: RegisterKind::{kind}, mask: {}, fields: &[{}] }},\n",
        register.index,
        register.name,
        register.doc,
        hex(register.mask()),
        each(&register.fields, spec),
    )
}
