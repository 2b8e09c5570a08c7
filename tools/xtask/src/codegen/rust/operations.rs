//! What RUN carries out.

use super::each;
use super::enums::{Enum, Repr, Variant};
use crate::codegen::schema::{Engine, Operation, Spec, Status};
use crate::codegen::text::camel_case;

/// The enum of operations.
pub(super) fn print(spec: &Spec) -> String {
    let operations = &spec.operations.operations;
    let variants = operations.iter().map(|one| Variant::hex(&one.name, one.code, &one.summary)).collect();
    let item = Enum { name: "OperationCode", doc: "What RUN carries out.", repr: Repr::U32, number: "code", variants };
    let engines = each(Engine::ALL, |engine| {
        let pattern = any_of(operations.iter().filter(|one| one.engine == engine));
        format!("{pattern} => EngineKind::{},\n", engine.type_name())
    });
    item.print(&format!(
        "/// The engine that carries it out.
        #[must_use]
        pub const fn engine(self) -> EngineKind {{ match self {{ {engines} }} }}

        /// Whether this version of the machine has it; if not, RUN is the fault Unsupported.
        #[must_use]
        pub const fn is_built(self) -> bool {{ matches!(self, {}) }}

        /// Indices of the registers it looks at; the others may hold anything.
        #[must_use]
        pub const fn registers(self) -> &'static [u8] {{ match self {{ {} }} }}\n",
        any_of(operations.iter().filter(|one| one.status == Status::Built)),
        each(operations, |one| registers(spec, one)),
    ))
}

/// A pattern that matches any of the operations.
fn any_of<'a>(operations: impl Iterator<Item = &'a Operation>) -> String {
    let names: Vec<String> = operations.map(|one| format!("Self::{}", camel_case(&one.name))).collect();
    names.join(" | ")
}

/// The indices of an operation's registers, in the order of the specification. The rules have been checked: every
/// name is one of the engine's registers.
fn registers(spec: &Spec, one: &Operation) -> String {
    let file = spec.registers(one.engine);
    let register = |name: &String| file.registers.iter().find(|register| register.name == *name);
    let indices = each(one.registers.iter().filter_map(register), |register| format!("{:#04x},", register.index));
    format!("Self::{} => &[{indices}],\n", camel_case(&one.name))
}
