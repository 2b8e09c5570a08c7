//! Arrays as `.npy` files, versions 1 to 3 of the format, little-endian, row-major.

use std::io::{self, Write};

use cnnip_package::ElementType;

/// First bytes of every file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is read: a shape does not need more.
const MAX_HEADER: usize = 4096;

/// Bytes of a file that may come before the elements.
pub const MAX_OVERHEAD: u64 = 12 + 4096;

/// A file that is no array this reader takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// Not such a file.
    #[error("this is not an .npy file")]
    Magic,
    /// A version of the format that is not known.
    #[error("version {0} of the .npy format is unknown")]
    Version(u8),
    /// The file ends too early, or its header is too long.
    #[error("the file ends inside its header, or the header is longer than {MAX_HEADER} bytes")]
    Truncated,
    /// A key of the header that is missing or cannot be read.
    #[error("the header has no `{0}` that can be read")]
    Header(&'static str),
    /// A type of elements that is not known.
    #[error("elements of type `{0}` are not supported")]
    Type(String),
    /// Elements column by column.
    #[error("the array is stored column by column")]
    FortranOrder,
}

/// An array in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    /// Type of the elements.
    pub element: ElementType,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// What follows the header; not checked against the shape.
    pub bytes: &'a [u8],
}

/// Reads an array.
///
/// # Errors
/// A file of another form, elements of another type or order.
pub fn read(file: &[u8]) -> Result<Array<'_>, NpyError> {
    let rest = file.strip_prefix(MAGIC).ok_or(NpyError::Magic)?;
    let (&[major, _], rest) = rest.split_first_chunk().ok_or(NpyError::Truncated)?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest)),
        2 | 3 => rest
            .split_first_chunk()
            .map(|(length, rest)| (usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX), rest)),
        _ => return Err(NpyError::Version(major)),
    }
    .ok_or(NpyError::Truncated)?;
    if length > MAX_HEADER {
        return Err(NpyError::Truncated);
    }
    let (header, bytes) = rest.split_at_checked(length).ok_or(NpyError::Truncated)?;
    let header = str::from_utf8(header).map_err(|_| NpyError::Header("descr"))?;
    if value(header, "fortran_order")?.starts_with("True") {
        return Err(NpyError::FortranOrder);
    }
    Ok(Array { element: element(header)?, shape: shape(header)?, bytes })
}

/// The text behind a key of the header's dictionary.
fn value<'h>(header: &'h str, key: &'static str) -> Result<&'h str, NpyError> {
    let (_, rest) = header.split_once(&format!("'{key}'")).ok_or(NpyError::Header(key))?;
    rest.trim_start().strip_prefix(':').map(str::trim_start).ok_or(NpyError::Header(key))
}

fn element(header: &str) -> Result<ElementType, NpyError> {
    let quoted = value(header, "descr")?.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let (name, _) = quoted.ok_or(NpyError::Header("descr"))?;
    let known = [
        ("|i1", ElementType::Int8),
        ("<i1", ElementType::Int8),
        ("|u1", ElementType::Uint8),
        ("<u1", ElementType::Uint8),
        ("<i2", ElementType::Int16),
        ("<i4", ElementType::Int32),
        ("<i8", ElementType::Int64),
        ("<f4", ElementType::Float32),
    ];
    let found = known.iter().find(|(text, _)| *text == name).map(|&(_, element)| element);
    found.ok_or_else(|| NpyError::Type(name.chars().take(20).collect()))
}

fn shape(header: &str) -> Result<Vec<u64>, NpyError> {
    let error = NpyError::Header("shape");
    let inside = value(header, "shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.ok_or_else(|| error.clone())?;
    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().map_err(|_| error.clone())).collect()
}

/// Writes an array; `bytes` are its elements, little-endian.
///
/// # Errors
/// Those of the output.
pub fn write(out: &mut dyn Write, element: ElementType, shape: &[u32], bytes: &[u8]) -> io::Result<()> {
    let descr = match element {
        ElementType::Int8 => "|i1",
        ElementType::Uint8 => "|u1",
        ElementType::Int16 => "<i2",
        ElementType::Int32 => "<i4",
        ElementType::Int64 => "<i8",
        ElementType::Float32 => "<f4",
    };
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Version 2, whose length has 32 bits; the elements begin at a multiple of 64.
    let unpadded = MAGIC.len() + 2 + 4 + header.len() + 1;
    header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[2, 0])?;
    out.write_all(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version1(header: &str) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), &[1, 2]].concat()
    }

    #[test]
    fn what_numpy_writes_is_read() {
        let file = version1("{'descr': '|i1', 'fortran_order': False, 'shape': (1, 2), }          \n");
        assert_eq!(read(&file), Ok(Array { element: ElementType::Int8, shape: vec![1, 2], bytes: &[1, 2] }));
        let scalar = version1("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n");
        assert_eq!(read(&scalar).map(|array| array.shape), Ok(vec![]));
    }

    #[test]
    fn what_is_not_supported_says_so() {
        let fortran = version1("{'descr': '|i1', 'fortran_order': True, 'shape': (1, 2), }");
        assert_eq!(read(&fortran), Err(NpyError::FortranOrder));
        let double = version1("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }");
        assert_eq!(read(&double), Err(NpyError::Type("<f8".into())));
        let negative = version1("{'descr': '|i1', 'fortran_order': False, 'shape': (-2,), }");
        assert_eq!(read(&negative), Err(NpyError::Header("shape")));
        assert_eq!(read(b""), Err(NpyError::Magic));
        assert_eq!(read(&version1("")[..8]), Err(NpyError::Truncated));
        assert_eq!(read(&version1("{}")), Err(NpyError::Header("fortran_order")));
    }

    proptest! {
        #[test]
        fn reading_inverts_writing(shape in proptest::collection::vec(0_u32..1000, 0..5), bytes: Vec<u8>) {
            let mut file = Vec::new();
            write(&mut file, ElementType::Int16, &shape, &bytes).unwrap();
            let wide: Vec<u64> = shape.iter().map(|&size| size.into()).collect();
            prop_assert_eq!((file.len() - bytes.len()) % 64, 0);
            prop_assert_eq!(read(&file), Ok(Array { element: ElementType::Int16, shape: wide, bytes: &bytes }));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, header in "[ -~]{0,80}") {
            let _ = read(&[MAGIC, &bytes].concat());
            let _ = read(&version1(&header));
        }
    }
}
