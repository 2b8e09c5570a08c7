//! Directives that give the bytes of a constant region.

use super::scan::{Argument, Arguments, Parsed};

/// Largest value of `.align`, that of regions: a short text must not make much padding.
const MAX_ALIGNMENT: usize = crate::CONSTANT_ALIGNMENT;

/// Directives that append to the open constant region.
pub(super) const DIRECTIVES: [&str; 10] =
    [".bytes", ".i8", ".u8", ".i16", ".u16", ".i32", ".i64", ".f32", ".record", ".align"];

/// Appends what one of [`DIRECTIVES`] says.
pub(super) fn append(directive: &str, mut arguments: Arguments, out: &mut Vec<u8>) -> Parsed<()> {
    match directive {
        ".i8" => each(&mut arguments, out, |value| value.number().map(|value: i8| value.to_le_bytes().into())),
        ".u8" => each(&mut arguments, out, |value| value.number().map(|value: u8| vec![value])),
        ".i16" => each(&mut arguments, out, |value| value.number().map(|value: i16| value.to_le_bytes().into())),
        ".u16" => each(&mut arguments, out, |value| value.number().map(|value: u16| value.to_le_bytes().into())),
        ".i32" => each(&mut arguments, out, |value| value.number().map(|value: i32| value.to_le_bytes().into())),
        ".i64" => each(&mut arguments, out, |value| value.number().map(|value: i64| value.to_le_bytes().into())),
        ".f32" => each(&mut arguments, out, |value| value.real().map(|value: f32| value.to_le_bytes().into())),
        ".record" => record(&mut arguments, out),
        ".align" => align(&mut arguments, out),
        _ => each(&mut arguments, out, hex),
    }?;
    arguments.finish()
}

fn each(arguments: &mut Arguments, out: &mut Vec<u8>, encode: impl Fn(&Argument) -> Parsed<Vec<u8>>) -> Parsed<()> {
    for value in arguments.rest() {
        out.append(&mut encode(&value)?);
    }
    Ok(())
}

/// Bytes as pairs of hex digits, in the order of memory.
fn hex(value: &Argument) -> Parsed<Vec<u8>> {
    let digits = value.word()?;
    let wrong = || value.span.error("bytes are pairs of hex digits");
    if digits.len() % 2 != 0 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().map_err(|_| wrong())
}

/// Bias, multiplier and shift of one channel: 16 bytes. A multiplier that ends in `f` is a binary32 scale.
fn record(arguments: &mut Arguments, out: &mut Vec<u8>) -> Parsed<()> {
    let bias: i64 = arguments.next("the bias")?.number()?;
    let multiplier = arguments.next("the multiplier")?;
    let multiplier = match multiplier.word()?.strip_suffix('f').map(str::parse::<f32>) {
        Some(Ok(scale)) => scale.to_le_bytes(),
        _ => multiplier.number::<i32>()?.to_le_bytes(),
    };
    let shift: i32 = arguments.next("the shift")?.number()?;
    out.extend(bias.to_le_bytes());
    out.extend(multiplier);
    out.extend(shift.to_le_bytes());
    Ok(())
}

fn align(arguments: &mut Arguments, out: &mut Vec<u8>) -> Parsed<()> {
    let argument = arguments.next("the alignment")?;
    let alignment: usize = argument.number()?;
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        return Err(argument.span.error(format!("alignment {alignment} is not a power of two up to {MAX_ALIGNMENT}")));
    }
    out.resize(out.len().next_multiple_of(alignment), 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    fn bytes(line: &str) -> Parsed<Vec<u8>> {
        let (directive, arguments) = scan(1, line)?.expect("a directive");
        let mut out = vec![0xee];
        append(&directive, arguments, &mut out).map(|()| out.split_off(1))
    }

    #[test]
    fn values_are_little_endian() {
        let cases: [(&str, &[u8]); 10] = [
            (".bytes 00ff 10", &[0, 0xff, 0x10]),
            (".i8 1, -2", &[1, 0xfe]),
            (".u8 255", &[255]),
            (".i16 -2", &[0xfe, 0xff]),
            (".u16 0xabcd", &[0xcd, 0xab]),
            (".i32 -1 2", &[0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]),
            (".i64 1", &[1, 0, 0, 0, 0, 0, 0, 0]),
            (".f32 1.5", &[0, 0, 0xc0, 0x3f]),
            (".record -1 1.5f 2", &[255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0xc0, 0x3f, 2, 0, 0, 0]),
            (".align 4", &[0, 0, 0]),
        ];
        for (line, wanted) in cases {
            assert_eq!(bytes(line).as_deref(), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn wrong_values_say_where() {
        let cases = [
            (".i8 1, 128", 8, "128 is out of range"),
            (".bytes 00 1", 11, "bytes are pairs of hex digits"),
            (".record 1 2", 1, "the shift is missing"),
            (".align 5000", 8, "alignment 5000 is not a power of two up to 64"),
            (".f32 x", 6, "`x` is not a number"),
            (".i32 1.5", 6, "`1.5` is not a whole number"),
        ];
        for (line, column, message) in cases {
            let error = bytes(line).expect_err(line);
            assert_eq!((error.column, error.message.as_str()), (column, message), "{line}");
        }
    }
}
