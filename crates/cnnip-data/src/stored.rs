//! Arrays that stay in their file: a part is read when it is asked for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use cnnip_package::ElementType;
use zip::{CompressionMethod, ZipArchive};

use crate::npy::{self, MAX_OVERHEAD, NpyError};
use crate::npz::{self, NpzError};

/// An array in a file.
#[derive(Debug)]
pub(crate) struct StoredArray {
    /// Its name in an archive.
    pub(crate) name: String,
    /// Type of the elements.
    pub(crate) element: ElementType,
    /// Extents, outermost first.
    pub(crate) shape: Vec<u64>,
    /// Bytes of all elements.
    pub(crate) len: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// From a byte of a file on.
    File(Arc<Mutex<File>>, u64),
    /// In memory: an archive's member that is compressed.
    Memory(Vec<u8>),
}

impl StoredArray {
    /// Some of its bytes.
    ///
    /// # Errors
    /// A file that cannot be read, or has been cut short since.
    pub(crate) fn bytes(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.place {
            Place::File(file, start) => {
                let mut bytes = vec![0; len];
                // Whoever held the lock before left nothing but a position.
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start.saturating_add(at)))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Place::Memory(bytes) => {
                let first = usize::try_from(at).ok();
                let part = first.and_then(|first| bytes.get(first..first.checked_add(len)?));
                part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    /// All of its bytes.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn all(&self) -> io::Result<Vec<u8>> {
        self.bytes(0, usize::try_from(self.len).unwrap_or(usize::MAX))
    }
}

/// The array of an `.npy` file.
///
/// # Errors
/// What is no such file.
pub(crate) fn array(mut file: File) -> Result<StoredArray, NpyError> {
    let end = file.seek(SeekFrom::End(0)).map_err(|_| NpyError::Truncated)?;
    let file = Arc::new(Mutex::new(file));
    located("array".to_owned(), &file, 0, end)
}

/// The arrays of an archive, in its order; those that are compressed are unpacked into at most `limit` bytes.
///
/// # Errors
/// As [`npz::read`].
pub(crate) fn arrays(file: File, limit: u64) -> Result<Vec<StoredArray>, NpzError> {
    let mut archive = ZipArchive::new(io::BufReader::new(file))?;
    let (mut left, mut members) = (limit, vec![]);
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        let Some(name) = member.name()?.strip_suffix(".npy").map(str::to_owned) else { continue };
        let start = member.data_start().filter(|_| member.compression() == CompressionMethod::Stored);
        members.push(match start {
            Some(start) => Member::Stored { name, start, len: member.size() },
            None => Member::Packed(npz::member(name, member, &mut left, limit)?),
        });
    }
    let file = Arc::new(Mutex::new(archive.into_inner().into_inner()));
    let array = |member| match member {
        Member::Stored { name, start, len } => {
            located(name.clone(), &file, start, len).map_err(|why| NpzError::Array { name, why })
        }
        Member::Packed(npz::NamedArray { name, element, shape, bytes }) => {
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            Ok(StoredArray { name, element, shape, len, place: Place::Memory(bytes) })
        }
    };
    members.into_iter().map(array).collect()
}

/// A member of an archive.
enum Member {
    Stored { name: String, start: u64, len: u64 },
    Packed(npz::NamedArray),
}

/// The array of an `.npy` file of `len` bytes that begins within another file.
fn located(name: String, file: &Arc<Mutex<File>>, start: u64, len: u64) -> Result<StoredArray, NpyError> {
    let mut head = vec![];
    let end = {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let end = file.seek(SeekFrom::End(0));
        let read = file.seek(SeekFrom::Start(start));
        let read = read.and_then(|_| Read::by_ref(&mut *file).take(len.min(MAX_OVERHEAD)).read_to_end(&mut head));
        read.and(end).map_err(|_| NpyError::Truncated)?
    };
    let npy::Array { element, shape, bytes } = npy::read(&head)?;
    let header = u64::try_from(head.len() - bytes.len()).unwrap_or(u64::MAX);
    // An archive may say anything about its members; a file ends where it ends.
    let len = len.min(end.saturating_sub(start)).saturating_sub(header);
    Ok(StoredArray { name, element, shape, len, place: Place::File(Arc::clone(file), start.saturating_add(header)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// `[0, 1, .. 9]` as bytes in an archive, compressed or not.
    fn archive(method: CompressionMethod) -> File {
        let mut writer = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        for name in ["a.npy", "b.npy"] {
            let options = zip::write::SimpleFileOptions::DEFAULT.compression_method(method);
            writer.start_file(name, options).unwrap();
            let bytes: Vec<u8> = (0..10).collect();
            npy::write(&mut writer, ElementType::Uint8, &[10], &bytes).unwrap();
        }
        writer.flush().unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn parts_are_read_from_anywhere() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let arrays = arrays(archive(method), 1 << 20).unwrap();
            assert_eq!(
                arrays.iter().map(|array| (array.name.as_str(), array.len)).collect::<Vec<_>>(),
                [("a", 10), ("b", 10)]
            );
            assert_eq!((arrays[1].bytes(7, 3).unwrap(), arrays[0].bytes(0, 2).unwrap()), (vec![7, 8, 9], vec![0, 1]));
            assert_eq!(arrays[1].all().unwrap(), (0..10).collect::<Vec<u8>>());
            assert!(arrays[1].bytes(10, 1 << 20).is_err());
        }
        assert!(matches!(arrays(archive(CompressionMethod::Deflated), 150), Err(NpzError::Limit { .. })));
    }

    #[test]
    fn a_file_of_one_array_is_read_likewise() {
        let mut file = tempfile::tempfile().unwrap();
        npy::write(&mut file, ElementType::Int16, &[2], &[1, 0, 2, 0]).unwrap();
        let array = array(file).unwrap();
        assert_eq!((array.len, array.bytes(2, 2).unwrap()), (4, vec![2, 0]));
        assert!(self::array(tempfile::tempfile().unwrap()).is_err());
    }
}
