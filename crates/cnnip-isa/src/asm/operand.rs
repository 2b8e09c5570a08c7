//! Numbers, field values and register values.

use super::Parsed;
use super::nearest::{did_you_mean, nearest};
use super::source::Piece;
use crate::spec::{FieldSpec, RegisterKind, RegisterSpec};

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// Decimal, perhaps with a sign.
    Decimal(i64),
    /// Hexadecimal or binary: bits, not a value.
    Bits(u32),
}

/// `12`, `-3`, `+64`, `0x1f`, `0b101`; `_` may separate digits.
pub(super) fn number(piece: Piece<'_>) -> Parsed<Number> {
    let text = piece.text();
    let based = |digits: &str, base: u32| u32::from_str_radix(&plain(digits, base)?, base).ok().map(Number::Bits);
    let parsed = if let Some(digits) = text.strip_prefix("0x") {
        based(digits, 16)
    } else if let Some(digits) = text.strip_prefix("0b") {
        based(digits, 2)
    } else {
        decimal(text)
    };
    parsed.ok_or_else(|| not_a_number(piece))
}

fn decimal(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value: i64 = plain(digits, 10)?.parse().ok()?;
    Some(Number::Decimal(if text.starts_with('-') { -value } else { value }))
}

/// The digits without separators, if these are digits.
fn plain(digits: &str, base: u32) -> Option<String> {
    let legal = digits.starts_with(|digit: char| digit.is_digit(base))
        && digits.chars().all(|digit| digit.is_digit(base) || digit == '_');
    legal.then(|| digits.replace('_', ""))
}

fn not_a_number(piece: Piece<'_>) -> super::Diagnostic {
    match piece.text() {
        "" => piece.problem("a number is missing"),
        text => piece.problem(format!("`{text}` is not a number of 32 bits")),
    }
}

impl Number {
    /// Any 32 bits, signed or unsigned.
    pub(super) fn bits(self, at: Piece<'_>) -> Parsed<u32> {
        match self {
            Self::Bits(bits) => Ok(bits),
            Self::Decimal(value) if value < 0 => within_signed(value, at),
            Self::Decimal(value) => within_unsigned(value, at),
        }
    }

    /// A value that is not negative.
    fn unsigned(self, at: Piece<'_>) -> Parsed<u32> {
        match self {
            Self::Bits(bits) => Ok(bits),
            Self::Decimal(value) => within_unsigned(value, at),
        }
    }

    /// A two's complement value; hexadecimal digits are its bits.
    fn signed(self, at: Piece<'_>) -> Parsed<u32> {
        match self {
            Self::Bits(bits) => Ok(bits),
            Self::Decimal(value) => within_signed(value, at),
        }
    }
}

fn within_unsigned(value: i64, at: Piece<'_>) -> Parsed<u32> {
    u32::try_from(value).map_err(|_| at.problem(format!("{value} is not within 0 to {}", u32::MAX)))
}

fn within_signed(value: i64, at: Piece<'_>) -> Parsed<u32> {
    let outside = |_| at.problem(format!("{value} is not within {} to {}", i32::MIN, i32::MAX));
    i32::try_from(value).map(i32::cast_unsigned).map_err(outside)
}

/// A value within the range of a field.
pub(super) fn in_range(piece: Piece<'_>, spec: &FieldSpec) -> Parsed<u32> {
    let value = number(piece)?.unsigned(piece)?;
    if (spec.min..=spec.max).contains(&value) {
        return Ok(value);
    }
    Err(piece.problem(format!("{} = {value} is not within {} to {}", spec.name, spec.min, spec.max)))
}

/// What SET writes to a register: a number, or fields by name. `element` is where to complain if there is nothing.
pub(super) fn register_value(value: Piece<'_>, register: &RegisterSpec, element: Piece<'_>) -> Parsed<u32> {
    if value.text().is_empty() {
        return Err(element.problem(format!("a value for {} is missing", register.name)));
    }
    if value.text().contains('=') {
        return fields(value, register);
    }
    match register.kind {
        RegisterKind::Unsigned => number(value)?.unsigned(value),
        RegisterKind::Signed => number(value)?.signed(value),
        RegisterKind::Bits => float(value).map_or_else(|| number(value)?.bits(value), Ok),
        RegisterKind::Fields => word(value, register),
    }
}

/// `1.5f`: the bits of an IEEE binary32 number.
fn float(piece: Piece<'_>) -> Option<u32> {
    let digits = piece.text().strip_suffix('f').filter(|digits| !digits.starts_with("0x"))?;
    let is_number = digits.contains(|letter: char| letter.is_ascii_digit());
    digits.parse().ok().filter(|value: &f32| is_number && value.is_finite()).map(f32::to_bits)
}

/// All fields of a register as one number.
fn word(piece: Piece<'_>, register: &RegisterSpec) -> Parsed<u32> {
    let value = number(piece)?.unsigned(piece)?;
    if value & !register.mask == 0 {
        return Ok(value);
    }
    let message =
        format!("{} = {value:#010x} sets reserved bits, only {:#010x} may be set", register.name, register.mask);
    Err(piece.problem(message).hint("to test the fault, write the command with `.word`"))
}

/// `W=8 H=8`: the fields that are not named are zero.
fn fields(value: Piece<'_>, register: &RegisterSpec) -> Parsed<u32> {
    let (mut word, mut taken) = (0, 0);
    for piece in value.words() {
        let Some((name, value)) = piece.split_once('=') else {
            return Err(piece.problem("not `FIELD=VALUE`"));
        };
        let spec = field(name, register)?;
        if taken & spec.field().mask() != 0 {
            return Err(name.problem(format!("{} is given twice", spec.name)));
        }
        taken |= spec.field().mask();
        word |= spec.field().put(field_value(value, spec)?);
    }
    Ok(word)
}

fn field<'r>(name: Piece<'_>, register: &'r RegisterSpec) -> Parsed<&'r FieldSpec> {
    let names = || register.fields.iter().map(|spec| spec.name);
    register.fields.iter().find(|spec| spec.name == name.text()).ok_or_else(|| {
        let problem = name.problem(format!("{} has no field `{}`", register.name, name.text()));
        problem.with_hint(nearest(name.text(), names()).map(did_you_mean).or_else(|| listed("fields", names())))
    })
}

/// A number, or the name of a value.
fn field_value(piece: Piece<'_>, spec: &FieldSpec) -> Parsed<u32> {
    let Some(values) = spec.values else { return in_range(piece, spec) };
    if piece.text().starts_with(|letter: char| letter.is_ascii_digit()) {
        return in_range(piece, spec);
    }
    let found = values.iter().find(|&&(name, _)| name == piece.text());
    found.map(|&(_, value)| value).ok_or_else(|| {
        let problem = piece.problem(format!("{} cannot be `{}`", spec.name, piece.text()));
        problem.with_hint(listed("values", values.iter().map(|&(name, _)| name)))
    })
}

fn listed<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| format!("its {what} are {}", names.join(", ")))
}
