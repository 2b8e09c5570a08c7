//! From a package to bytes.

use std::io::{self, Write};
use std::path::Path;

use crate::atomic::atomic_write;
use crate::container::{Kind, SECTION_ALIGNMENT, head};
use crate::error::{FileError, PackageError};
use crate::layout::{Info, Interface};
use crate::wire::Wire;
use crate::{Constants, Package};

impl Package {
    /// The package as a file, unchecked: the same package always gives the same bytes.
    ///
    /// [`read`](Self::read) gives a package without problems back. One with problems does not come back from its bytes:
    /// have [`check`](Self::check) find them first.
    ///
    /// # Panics
    /// If a table has 2^32 items or a name 2^32 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes).expect("a Vec takes every write");
        bytes
    }

    /// Writes the package's bytes to a stream, constants straight from where they are.
    ///
    /// # Errors
    /// The stream's.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let tables = self.tables();
        let constants = measure(&self.constants);
        let mut sections: Vec<_> =
            tables.iter().map(|(kind, bytes)| (*kind, crc32fast::hash(bytes), bytes.len())).collect();
        sections.push((Kind::Constants, constants.checksum.finalize(), constants.bytes));
        out.write_all(&head(&sections))?;
        for (_, bytes) in &tables {
            out.write_all(bytes)?;
            out.write_all(zeros_after(bytes.len()))?;
        }
        write_constants(&self.constants, out)
    }

    /// Writes the package file: all of it or nothing, see [`atomic_write`].
    ///
    /// # Errors
    /// The package's problems, before anything is written, or the operating system's.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), FileError> {
        let path = path.as_ref();
        let problems = self.check();
        if !problems.is_empty() {
            return Err(FileError::Package { path: path.into(), source: PackageError::Invalid { problems } });
        }
        atomic_write(path, |out| self.write_to(out)).map_err(|source| FileError::Io { path: path.into(), source })
    }

    /// Every section but the constants, encoded, in order.
    fn tables(&self) -> Vec<(Kind, Vec<u8>)> {
        let info = Info { spec_version: self.spec_version, target: self.target.clone(), budget: self.budget };
        let interface = Interface { inputs: self.inputs.clone(), outputs: self.outputs.clone() };
        let mut tables = vec![
            (Kind::Info, encoded(&info)),
            (Kind::Provenance, encoded(&self.provenance)),
            (Kind::Regions, encoded(&self.regions)),
            (Kind::Tokens, encoded(&self.tokens)),
            (Kind::Lists, encoded(&self.lists)),
            (Kind::Tensors, encoded(&self.tensors)),
            (Kind::Program, encoded(&self.program)),
            (Kind::Interface, encoded(&interface)),
            (Kind::Layers, encoded(&self.layers)),
        ];
        tables.extend(self.tile_map.as_ref().map(|tiles| (Kind::TileMap, encoded(tiles))));
        tables.extend(self.lowered.clone().map(|bytes| (Kind::LoweredGraph, bytes)));
        tables
    }
}

fn encoded(value: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    bytes
}

/// The zero bytes from a length to the next multiple of 64.
fn zeros_after(length: usize) -> &'static [u8] {
    &[0; SECTION_ALIGNMENT][..length.next_multiple_of(SECTION_ALIGNMENT) - length]
}

/// Regions one after the other, each from the next multiple of 64; nothing after the last.
fn write_constants(constants: &Constants, out: &mut dyn Write) -> io::Result<()> {
    let mut length = 0;
    for (_, bytes) in constants.iter() {
        out.write_all(zeros_after(length))?;
        out.write_all(bytes)?;
        length = bytes.len(); // each begins at a multiple of 64, so its own length says what is missing
    }
    Ok(())
}

/// A sink that counts and checks what it is given.
#[derive(Default)]
struct Measure {
    bytes: usize,
    checksum: crc32fast::Hasher,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        self.checksum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn measure(constants: &Constants) -> Measure {
    let mut measure = Measure::default();
    write_constants(constants, &mut measure).expect("measuring takes every write");
    measure
}
