//! Fields of commands and registers.

use super::{doc, each};
use crate::codegen::schema::Field;

/// A module of constants, one per field.
pub(super) fn module<'a>(name: &str, what: &str, owners: impl Iterator<Item = (&'a str, &'a [Field])>) -> String {
    let fields = each(owners, |(owner, fields)| {
        each(fields, |field| {
            let (constant, bits) = (format!("{owner}_{}", field.name), field.bits);
            let prose = format!("`{owner}.{}`: {}", field.name, field.doc);
            let value = format!("Field {{ shift: {}, width: {} }}", bits.low, bits.width());
            format!("{}pub const {constant}: Field = {value};\n", doc(&prose))
        })
    });
    let prose = format!("Fields of the {what}, named `OWNER_FIELD`.");
    format!("{}pub mod {name}_field {{\nuse super::Field;\n\n{fields}}}\n\n", doc(&prose))
}

/// A word in hexadecimal digits.
pub(super) fn hex(word: u32) -> String {
    let digits = format!("{word:08x}");
    format!("0x{}_{}", &digits[..4], &digits[4..])
}

/// A number that is easy to read at any size.
fn number(value: u32) -> String {
    if value > 0xffff { hex(value) } else { value.to_string() }
}

pub(super) fn spec(field: &Field) -> String {
    let values = match &field.enumeration {
        Some(name) => format!("Some({name}::NAMES)"),
        None => "None".to_owned(),
    };
    format!(
        "FieldSpec {{ name: {:?}, shift: {}, width: {}, min: {}, max: {}, doc: {:?}, values: {values} }},",
        field.name,
        field.bits.low,
        field.bits.width(),
        number(field.min()),
        number(field.max()),
        field.doc
    )
}
