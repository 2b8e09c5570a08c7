//! How values become bytes and back: one trait, the primitive types, and the three shapes that records are made of.
//!
//! For this crate's sections, and for crates that define the bytes of a section of their own.
//!
//! Everything is little-endian and nothing is aligned or padded. A value has exactly one encoding, so what decodes encodes
//! to the same bytes again.

use byteorder::{ByteOrder, LittleEndian};
use nom::number::complete::{le_f32, le_f64, le_i32, le_u8, le_u16, le_u32, le_u64};
use nom::{Err, IResult, Parser, error::ErrorKind};

use crate::container::locate;
use crate::error::{FormatError, Why};

/// What a parser returns: the unread bytes and a value, or what is wrong and the bytes from there on.
pub type Parsed<'a, T> = IResult<&'a [u8], T, Located<'a>>;

/// A failure and the unread bytes at its place; the caller turns these into an offset.
#[derive(Debug)]
pub struct Located<'a> {
    /// The unread bytes.
    pub at: &'a [u8],
    /// What is wrong with them.
    pub why: Why,
}

impl<'a> nom::error::ParseError<&'a [u8]> for Located<'a> {
    /// nom's own parsers fail here only where the bytes end too early.
    fn from_error_kind(at: &'a [u8], _: ErrorKind) -> Self {
        Self { at, why: Why::Truncated }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Fails at `at`.
pub fn fail<T>(at: &[u8], why: Why) -> Parsed<'_, T> {
    Err(Err::Failure(Located { at, why }))
}

/// A value with one encoding.
pub trait Wire: Sized {
    /// Fewest bytes a value takes: what a count is held against before anything is allocated.
    const MIN_BYTES: usize;

    /// Appends the encoding.
    fn put(&self, out: &mut Vec<u8>);

    /// Decodes a value from the front.
    fn take(at: &[u8]) -> Parsed<'_, Self>;
}

/// Implements [`Wire`] for a fixed-size number: size, byteorder's writer, nom's reader.
macro_rules! number {
    ($type:ty, $bytes:literal, $write:path, $read:path) => {
        impl Wire for $type {
            const MIN_BYTES: usize = $bytes;

            fn put(&self, out: &mut Vec<u8>) {
                let mut bytes = [0; $bytes];
                $write(&mut bytes, *self);
                out.extend_from_slice(&bytes);
            }

            fn take(at: &[u8]) -> Parsed<'_, Self> {
                $read(at)
            }
        }
    };
}

number!(u16, 2, LittleEndian::write_u16, le_u16);
number!(u32, 4, LittleEndian::write_u32, le_u32);
number!(u64, 8, LittleEndian::write_u64, le_u64);
number!(i32, 4, LittleEndian::write_i32, le_i32);
number!(f32, 4, LittleEndian::write_f32, le_f32);
number!(f64, 8, LittleEndian::write_f64, le_f64);

impl Wire for u8 {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        le_u8(at)
    }
}

/// One byte, 0 or 1.
impl Wire for bool {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Ok((rest, false)),
            (rest, 1) => Ok((rest, true)),
            (_, value) => fail(at, Why::Flag { value }),
        }
    }
}

/// Length in bytes, then UTF-8.
impl Wire for String {
    const MIN_BYTES: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        let (rest, length) = take_count(1, at)?;
        let (text, rest) = rest.split_at(length);
        match str::from_utf8(text) {
            Ok(text) => Ok((rest, text.to_owned())),
            Err(error) => fail(&at[4 + error.valid_up_to()..], Why::Utf8),
        }
    }
}

/// Number of items, then the items.
impl<T: Wire> Wire for Vec<T> {
    const MIN_BYTES: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        self.iter().for_each(|item| item.put(out));
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        let (rest, count) = take_count(T::MIN_BYTES, at)?;
        nom::multi::count(T::take, count).parse(rest)
    }
}

/// One byte, 0 for nothing, 1 before a value.
impl<T: Wire> Wire for Option<T> {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match bool::take(at)? {
            (rest, false) => Ok((rest, None)),
            (rest, true) => T::take(rest).map(|(rest, value)| (rest, Some(value))),
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    const MIN_BYTES: usize = A::MIN_BYTES + B::MIN_BYTES;

    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        (A::take, B::take).parse(at)
    }
}

/// Decodes bytes that hold one value and nothing else; they begin at `start` of what offsets count from.
///
/// # Errors
/// The first break of the format, in a part of this name.
pub fn exactly<T: Wire>(bytes: &[u8], start: usize, part: &'static str) -> Result<T, FormatError> {
    let (rest, value) = T::take(bytes).map_err(|error| locate(bytes, start, part, error))?;
    match rest.len() {
        0 => Ok(value),
        left => {
            let offset = start + bytes.len() - left;
            Err(FormatError { offset, part, why: Why::TrailingBytes { bytes: left } })
        }
    }
}

/// Writes a count.
///
/// # Panics
/// Above 2^32 - 1. Reaching this takes gigabytes of names or commands, which no memory of a device could hold.
pub fn put_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).expect("tables of a package have fewer than 2^32 items").put(out);
}

/// Reads a count of items of at least `min_bytes` each, and refuses one that the remaining bytes cannot hold.
pub fn take_count(min_bytes: usize, at: &[u8]) -> Parsed<'_, usize> {
    let (rest, count) = u32::take(at)?;
    match usize::try_from(count) {
        Ok(items) if items <= rest.len() / min_bytes => Ok((rest, items)),
        _ => fail(at, Why::Count { count, min_bytes, remaining: rest.len() }),
    }
}

/// Encodes a struct as its fields, one after the other, in the order given here.
#[macro_export]
macro_rules! record {
    ($name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        impl $crate::wire::Wire for $name {
            const MIN_BYTES: usize = 0 $(+ <$type as $crate::wire::Wire>::MIN_BYTES)+;

            fn put(&self, out: &mut Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, out);)+
            }

            fn take(at: &[u8]) -> $crate::wire::Parsed<'_, Self> {
                $(let (at, $field) = <$type as $crate::wire::Wire>::take(at)?;)+
                Ok((at, Self { $($field),+ }))
            }
        }
    };
}

/// Encodes a newtype around a number as the number.
#[macro_export]
macro_rules! number_of {
    ($name:ident($type:ty)) => {
        impl $crate::wire::Wire for $name {
            const MIN_BYTES: usize = <$type as $crate::wire::Wire>::MIN_BYTES;

            fn put(&self, out: &mut Vec<u8>) {
                $crate::wire::Wire::put(&self.0, out);
            }

            fn take(at: &[u8]) -> $crate::wire::Parsed<'_, Self> {
                <$type as $crate::wire::Wire>::take(at).map(|(at, number)| (at, Self(number)))
            }
        }
    };
}

/// Encodes an enum without fields as one byte.
#[macro_export]
macro_rules! codes {
    ($name:ident, $what:literal { $($code:literal = $variant:ident),+ $(,)? }) => {
        impl $crate::wire::Wire for $name {
            const MIN_BYTES: usize = 1;

            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $(Self::$variant => $code),+ });
            }

            fn take(at: &[u8]) -> $crate::wire::Parsed<'_, Self> {
                match <u8 as $crate::wire::Wire>::take(at)? {
                    $((rest, $code) => Ok((rest, Self::$variant)),)+
                    (_, code) => $crate::wire::fail(at, $crate::Why::Code { what: $what, code: code.into() }),
                }
            }
        }
    };
}

pub(crate) use crate::{codes, number_of, record};

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T: Wire + std::fmt::Debug>(bytes: &[u8]) -> (usize, Why) {
        match T::take(bytes) {
            Err(Err::Failure(found) | Err::Error(found)) => (bytes.len() - found.at.len(), found.why),
            other => panic!("expected an error, got {other:?}"),
        }
    }

    #[test]
    fn a_count_is_held_against_the_bytes_that_remain() {
        let hostile = [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(why::<Vec<u32>>(&hostile), (0, Why::Count { count: u32::MAX, min_bytes: 4, remaining: 8 }));
        assert_eq!(why::<String>(&hostile), (0, Why::Count { count: u32::MAX, min_bytes: 1, remaining: 8 }));
        let short = [3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(why::<Vec<u32>>(&short), (0, Why::Count { count: 3, min_bytes: 4, remaining: 8 }));
        assert_eq!(why::<Vec<u32>>(&[3, 0, 0]), (0, Why::Truncated));
    }

    #[test]
    fn only_one_encoding_is_accepted() {
        assert_eq!(why::<bool>(&[2]), (0, Why::Flag { value: 2 }));
        assert_eq!(why::<Option<u8>>(&[0x80, 1]), (0, Why::Flag { value: 0x80 }));
        assert_eq!(why::<String>(&[2, 0, 0, 0, b'a', 0xff]), (5, Why::Utf8));
    }

    #[test]
    fn values_come_back() {
        let value = vec![(String::from("a"), Some(-1.5_f64)), (String::from("é"), None)];
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        assert_eq!(Vec::<(String, Option<f64>)>::take(&bytes).unwrap(), (&[][..], value));
    }
}
