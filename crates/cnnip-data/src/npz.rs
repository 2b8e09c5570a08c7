//! Several arrays by name in one `.npz` file: a zip archive of `.npy` files.

use std::io::{Cursor, Read, Seek, Write};

use cnnip_package::ElementType;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::npy::{self, NpyError};

/// An array of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedArray {
    /// Its name: that of the file in the archive, without `.npy`.
    pub name: String,
    /// Type of the elements.
    pub element: ElementType,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// Elements, row-major, little-endian; as many as the shape says.
    pub bytes: Vec<u8>,
}

/// A file that is no archive of arrays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// Not a zip archive, or a damaged one.
    #[error("this is not an .npz file: {0}")]
    Archive(#[from] zip::result::ZipError),
    /// A member that cannot be unpacked.
    #[error("array `{name}` cannot be unpacked: {why}")]
    Member {
        /// Its name.
        name: String,
        /// What went wrong.
        why: std::io::Error,
    },
    /// A member that is no array.
    #[error("array `{name}`: {why}")]
    Array {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: NpyError,
    },
    /// A member with more or fewer bytes than its shape says.
    #[error("array `{name}` has {found} bytes of elements, its shape {shape:?} needs {needed}")]
    Length {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Bytes there are.
        found: u64,
        /// Bytes there must be.
        needed: u64,
    },
    /// More than the caller wants to hold.
    #[error("the arrays have more than {limit} bytes")]
    Limit {
        /// What the caller gave.
        limit: u64,
    },
}

/// Reads all arrays of an archive, in its order. Members that are not called `*.npy` are left out.
///
/// # Errors
/// A damaged archive, a member that is no array, or more than `limit` bytes unpacked.
pub fn read(file: &[u8], limit: u64) -> Result<Vec<NamedArray>, NpzError> {
    let mut archive = ZipArchive::new(Cursor::new(file))?;
    let mut left = limit;
    let mut arrays = vec![];
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let Some(name) = member.name()?.strip_suffix(".npy").map(str::to_owned) else { continue };
        arrays.push(self::member(name, member, &mut left, limit)?);
    }
    Ok(arrays)
}

/// Unpacks a member into at most `left` bytes of `limit`.
pub(crate) fn member(name: String, member: impl Read, left: &mut u64, limit: u64) -> Result<NamedArray, NpzError> {
    let mut bytes = vec![];
    let read = member.take(left.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|why| NpzError::Member { name: name.clone(), why })?;
    *left = left.checked_sub(length(&bytes)).ok_or(NpzError::Limit { limit })?;
    array(name, &bytes)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn array(name: String, file: &[u8]) -> Result<NamedArray, NpzError> {
    let npy::Array { element, shape, bytes } =
        npy::read(file).map_err(|why| NpzError::Array { name: name.clone(), why })?;
    let needed = shape.iter().try_fold(element.bytes(), |product, &extent| product.checked_mul(extent));
    let (needed, found) = (needed.unwrap_or(u64::MAX), length(bytes));
    if needed != found {
        return Err(NpzError::Length { name, shape, found, needed });
    }
    Ok(NamedArray { name, element, shape, bytes: bytes.to_vec() })
}

/// Writes arrays to an archive, uncompressed and without times: the same arrays give the same bytes.
pub struct Writer<W: Write + Seek> {
    archive: ZipWriter<W>,
}

impl<W: Write + Seek> Writer<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { archive: ZipWriter::new(out) }
    }

    /// Appends an array; `bytes` are its elements, row-major, little-endian.
    ///
    /// # Errors
    /// Those of the output, and a name that was there before.
    pub fn array(&mut self, name: &str, element: ElementType, shape: &[u32], bytes: &[u8]) -> Result<(), NpzError> {
        let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored).large_file(true);
        self.archive.start_file(format!("{name}.npy"), options)?;
        npy::write(&mut self.archive, element, shape, bytes)
            .map_err(|why| NpzError::Member { name: name.to_owned(), why })
    }

    /// Completes the archive.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> Result<W, NpzError> {
        Ok(self.archive.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn archive(arrays: &[(&str, &[u32], &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(vec![]));
        for (name, shape, bytes) in arrays {
            writer.array(name, ElementType::Int8, shape, bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn reading_inverts_writing() {
        let file = archive(&[("a/b:0", &[1, 3], &[1, 2, 3]), ("c", &[], &[9])]);
        let arrays = read(&file, 1 << 20).unwrap();
        assert_eq!(arrays[0].name, "a/b:0");
        assert_eq!((arrays[0].shape.as_slice(), arrays[0].bytes.as_slice()), (&[1, 3][..], &[1, 2, 3][..]));
        assert_eq!((arrays[1].shape.len(), arrays[1].bytes.as_slice()), (0, &[9][..]));
        assert_eq!(file, archive(&[("a/b:0", &[1, 3], &[1, 2, 3]), ("c", &[], &[9])]));
    }

    #[test]
    fn sizes_are_held_against_shapes_and_limits() {
        assert!(matches!(read(&archive(&[("a", &[4], &[1, 2, 3])]), 1 << 20), Err(NpzError::Length { .. })));
        assert!(matches!(read(&archive(&[("a", &[3], &[1, 2, 3])]), 100), Err(NpzError::Limit { limit: 100 })));
    }

    #[test]
    fn an_archive_of_zeros_is_not_unpacked_beyond_the_limit() {
        let mut zeros = ZipWriter::new(Cursor::new(vec![]));
        let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Deflated);
        zeros.start_file("a.npy", options).unwrap();
        zeros.write_all(&vec![0; 1 << 24]).unwrap();
        let file = zeros.finish().unwrap().into_inner();
        assert!(file.len() < 1 << 16);
        assert!(matches!(read(&file, 1 << 20), Err(NpzError::Limit { .. })));
    }

    proptest! {
        #[test]
        fn damaged_archives_are_read_or_refused(at in 0_usize..400, value: u8) {
            let mut file = archive(&[("a", &[2, 2], &[1, 2, 3, 4])]);
            let at = at % file.len();
            file[at] = value;
            let _ = read(&file, 1 << 16);
            let _ = read(&file[..at], 1 << 16);
        }
    }
}
