//! Commands by their opcodes.

use super::each;
use super::enums::{Enum, Repr, Variant};
use super::fields::{hex, module, spec};
use crate::codegen::schema::{Command, mask};
use crate::codegen::text::camel_case;

/// The enum of opcodes and the module of the commands' fields.
pub(super) fn print(commands: &[Command]) -> String {
    let variants = commands.iter().map(|one| Variant::hex(&one.name, one.opcode, &one.summary)).collect();
    let prose = "Commands of a list, by the top byte of their first word.";
    let item = Enum { name: "Opcode", doc: prose, repr: Repr::U8, number: "code", variants };
    let fields = each(commands, |command| arm(command, &format!("&[{}]", each(&command.fields, spec))));
    let masks = each(commands, |command| arm(command, &hex(0xff00_0000 | mask(&command.fields))));
    let methods = format!(
        "/// The fields of the first word.
        #[must_use]
        pub const fn fields(self) -> &'static [FieldSpec] {{ match self {{ {fields} }} }}

        /// Bits of the first word that may be set: those of the opcode and of the fields.
        #[must_use]
        pub const fn mask(self) -> u32 {{ match self {{ {masks} }} }}\n"
    );
    let owners = commands.iter().map(|one| (one.name.as_str(), one.fields.as_slice()));
    item.print(&methods) + &module("command", "commands", owners)
}

fn arm(command: &Command, value: &str) -> String {
    format!("Self::{} => {value},\n", camel_case(&command.name))
}
