//! Enumerations: a type, its codes and names.

use super::{doc, each};
use crate::codegen::rules::has_bytes;
use crate::codegen::schema::{EnumValue, Enumeration, Fault};
use crate::codegen::text::camel_case;

const DERIVES: &str = "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]";

/// A Rust enum to print.
pub(super) struct Enum<'a> {
    pub(super) name: &'a str,
    pub(super) doc: &'a str,
    pub(super) repr: Repr,
    /// What the numbers are called: `code` or `index`.
    pub(super) number: &'a str,
    pub(super) variants: Vec<Variant<'a>>,
}

/// The type of the numbers.
#[derive(Clone, Copy)]
pub(super) enum Repr {
    U8,
    U32,
}

impl Repr {
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U32 => "u32",
        }
    }
}

/// One variant: its name in Rust and in the files, its number as it is printed, its meaning.
pub(super) struct Variant<'a> {
    rust: String,
    name: &'a str,
    number: String,
    doc: &'a str,
}

impl<'a> Variant<'a> {
    /// Opcodes, operations and registers have hexadecimal numbers of one byte.
    pub(super) fn hex(name: &'a str, number: u8, doc: &'a str) -> Self {
        Self { rust: camel_case(name), name, number: format!("{number:#04x}"), doc }
    }

    fn decimal(name: &'a str, number: u32, doc: &'a str) -> Self {
        Self { rust: camel_case(name), name, number: number.to_string(), doc }
    }
}

impl Enum<'_> {
    /// The enum with its methods, `more` being further ones.
    pub(super) fn print(&self, more: &str) -> String {
        let Self { name, .. } = self;
        format!("{}impl {name} {{\n{}{}{more}}}\n\n", self.item(), self.number_methods(), self.name_method())
    }

    fn item(&self) -> String {
        let variants = each(&self.variants, |one| format!("{}{} = {},\n", doc(one.doc), one.rust, one.number));
        let repr = self.repr.name();
        format!("{}{DERIVES}\n#[repr({repr})]\npub enum {} {{\n{variants}}}\n\n", doc(self.doc), self.name)
    }

    fn number_methods(&self) -> String {
        let (number, repr) = (self.number, self.repr.name());
        let all = each(&self.variants, |one| format!("Self::{},", one.rust));
        let arms = each(&self.variants, |one| format!("{} => Some(Self::{}),\n", one.number, one.rust));
        format!(
            "/// All of them, in the order of the specification.
            pub const ALL: &[Self] = &[{all}];

            /// The {number} in the specification.
            #[must_use]
            pub const fn {number}(self) -> {repr} {{ self as {repr} }}

            /// What has this {number}, if anything has.
            #[must_use]
            pub const fn from_{number}({number}: {repr}) -> Option<Self> {{
                match {number} {{ {arms} _ => None, }}
            }}\n\n"
        )
    }

    fn name_method(&self) -> String {
        let arms = each(&self.variants, |one| format!("Self::{} => {:?},\n", one.rust, one.name));
        format!(
            "/// The name in the specification.
            #[must_use]
            pub const fn name(self) -> &'static str {{ match self {{ {arms} }} }}\n\n"
        )
    }
}

/// An enumeration that register fields use.
pub(super) fn enumeration(one: &Enumeration) -> String {
    let variants = one.values.iter().map(|value| Variant::decimal(&value.name, value.value, &value.doc)).collect();
    let item = Enum { name: &one.name, doc: &one.doc, repr: Repr::U32, number: "code", variants };
    let pairs = each(&one.values, |value| format!("({:?}, {}),", value.name, value.value));
    let names = format!(
        "/// Names with their codes, as a register field shows them.
        pub(crate) const NAMES: &[(&'static str, u32)] = &[{pairs}];\n"
    );
    let bytes = if has_bytes(&one.values) { bytes(&one.values) } else { String::new() };
    item.print(&(names + &bytes))
}

fn bytes(values: &[EnumValue]) -> String {
    let sizes = each(values, |value| format!("Self::{} => {},", camel_case(&value.name), value.bytes.unwrap_or(0)));
    format!(
        "
        /// Bytes of one element; 0 for the unused operand.
        #[must_use]
        pub const fn bytes(self) -> usize {{ match self {{ {sizes} }} }}\n"
    )
}

/// The enum of faults.
pub(super) fn faults(faults: &[Fault]) -> String {
    let prose = "What a machine reports when the program it runs does something illegal.";
    let variants = faults.iter().map(fault).collect();
    let item = Enum { name: "FaultCode", doc: prose, repr: Repr::U32, number: "code", variants };
    let summaries = each(faults, |fault| format!("Self::{} => {:?},\n", fault.name, fault.summary));
    item.print(&format!(
        "/// What it means, in one line.
        #[must_use]
        pub const fn summary(self) -> &'static str {{ match self {{ {summaries} }} }}\n"
    ))
}

/// The names of faults are CamelCase already.
fn fault(fault: &Fault) -> Variant<'_> {
    let variant = Variant::decimal(&fault.name, fault.code, &fault.summary);
    Variant { rust: fault.name.clone(), ..variant }
}
