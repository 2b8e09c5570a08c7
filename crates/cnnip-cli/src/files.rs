//! Files in and out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use cnnip_package::{Package, atomic_write};

use crate::error::Error;

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    match read_some(path, limit) {
        Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) => Ok(bytes),
        Ok(_) => Err(Error::TooLarge { path: path.into(), limit }),
        Err(why) => Err(Error::Read { path: path.into(), why }),
    }
}

/// Reads a file up to one byte more than `limit`.
pub(crate) fn read_some(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a text of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    String::from_utf8(read(path, limit)?)
        .map_err(|error| Error::Utf8 { path: path.into(), byte: error.utf8_error().valid_up_to() })
}

/// Opens a package. The constants of a regular file stay in the file, which nobody may change while the program runs; what
/// else there is (a pipe) is copied.
pub(crate) fn open(path: &Path) -> Result<Package, Error> {
    let regular = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    Ok(if regular { Package::open_mapped(path)? } else { Package::read_file(path)? })
}

/// That writing `output` does not take away `input`.
pub(crate) fn distinct(input: &Path, output: &Path) -> Result<(), Error> {
    match (input.canonicalize(), output.canonicalize()) {
        (Ok(read), Ok(written)) if read == written && read.is_file() => Err(Error::Itself { path: output.into() }),
        _ => Ok(()),
    }
}

/// Writes all of a file or nothing.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    atomic_write(path, write).map_err(|why| Error::Write { path: path.into(), why })
}

/// Writes all of a package or nothing.
pub(crate) fn write_package(path: &Path, package: &Package) -> Result<(), Error> {
    write(path, |out| package.write_to(out))
}
