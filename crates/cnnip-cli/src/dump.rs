//! Many tensors in one place: an `.npz` file, or a folder of `.npy` files.

use std::ffi::{OsStr, OsString};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use cnnip_analysis::{NamedTensor, TensorSet};
use cnnip_data::{npy, npz};
use cnnip_driver::{Recording, Session};
use cnnip_graph::Pattern;
use cnnip_package::{ElementType, SourceTensor};

use crate::error::Error;
use crate::{files, names};

/// Largest dump that is read: tensors of all layers of a large network.
const MAX_DUMP_BYTES: u64 = 16 << 30;

/// Where a tensor goes.
pub(crate) struct Dump {
    /// Which tensors.
    pattern: String,
    path: PathBuf,
}

/// Reads `NAME=FILE`, split at the last `=` behind the name of a tensor, else at the last one: then NAME may have `*`.
pub(crate) fn dump(text: &OsStr, known: &[&str]) -> Result<Dump, Error> {
    let found = names::assignment(text, known);
    if let Some(name) = found.tensor.and_then(|at| known.get(at)) {
        return Ok(Dump { pattern: (*name).to_owned(), path: found.path });
    }
    let text = text.to_string_lossy();
    let split = text.rsplit_once('=');
    let (pattern, path) = split.ok_or_else(|| Error::Analysis {
        kind: "usage",
        message: format!("`{text}` does not say which tensor"),
        hint: "give --dump NAME=FILE.npy, or --dump-all DIR".to_owned(),
    })?;
    Ok(Dump { pattern: pattern.to_owned(), path: path.into() })
}

/// Asks a session for what is to be dumped.
pub(crate) fn record(session: &mut Session, dumps: &[OsString], all: Option<&Path>) -> Result<Vec<Dump>, Error> {
    let package = session.package().clone();
    let known = Recording::names(&package);
    let mut wanted: Vec<Dump> = dumps.iter().map(|text| dump(text, &known)).collect::<Result<_, _>>()?;
    wanted.extend(all.map(|path| Dump { pattern: "*".to_owned(), path: path.into() }));
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let mut asked: Vec<&str> = vec![];
    for dump in &wanted {
        let before = asked.len();
        asked.extend(known.iter().filter(|name| Pattern::new(&dump.pattern).matches(name)));
        if asked.len() == before {
            // The driver says why there is no such tensor.
            asked.push(&dump.pattern);
        }
    }
    session.record(&asked).map_err(|why| Error::Analysis {
        kind: "usage",
        message: why.to_string(),
        hint: why.hint(),
    })?;
    Ok(wanted)
}

/// Writes what was recorded.
pub(crate) fn write(dumps: &[Dump], recording: Option<&Recording>) -> Result<(), Error> {
    let Some(recording) = recording else { return Ok(()) };
    let set = cnnip_analysis::tensors::of_recording("", recording);
    for Dump { pattern, path } in dumps {
        let wanted: Vec<&NamedTensor> =
            set.tensors.iter().filter(|tensor| Pattern::new(pattern).matches(&tensor.name)).collect();
        write_to(path, Pattern::new(pattern).is_plural(), &wanted)?;
    }
    Ok(())
}

/// Parses what `--tensors` takes.
pub(crate) fn pattern(text: &str) -> Result<Pattern, std::convert::Infallible> {
    Ok(Pattern::new(text))
}

/// Whether a tensor is among those of `--tensors`; without any, all are.
pub(crate) fn is_named(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

/// Writes tensors that were asked for by name to an archive or a folder.
pub(crate) fn write_some(path: &Path, tensors: &[NamedTensor]) -> Result<(), Error> {
    if tensors.is_empty() {
        return Err(Error::Analysis {
            kind: "usage",
            message: "no tensor has such a name".to_owned(),
            hint: "`--dump DIR` alone writes all".to_owned(),
        });
    }
    write_to(path, true, &tensors.iter().collect::<Vec<_>>())
}

/// Writes tensors to an archive or a folder; one that is all there may be, to a file.
pub(crate) fn write_to(path: &Path, several: bool, tensors: &[&NamedTensor]) -> Result<(), Error> {
    if has_extension(path, "npz") {
        return write_archive(path, tensors);
    }
    if !several && !path.is_dir() {
        return tensors.iter().try_for_each(|tensor| write_array(path, tensor));
    }
    std::fs::create_dir_all(path).map_err(|why| Error::Write { path: path.into(), why })?;
    tensors.iter().try_for_each(|tensor| write_array(&path.join(file_name(&tensor.name)), tensor))
}

fn write_array(path: &Path, tensor: &NamedTensor) -> Result<(), Error> {
    files::write(path, |out| npy::write(out, tensor.element, &extents(tensor), &tensor.bytes))
}

fn write_archive(path: &Path, tensors: &[&NamedTensor]) -> Result<(), Error> {
    let failed = |why: npz::NpzError| Error::Write { path: path.into(), why: std::io::Error::other(why) };
    let mut archive = npz::Writer::new(Cursor::new(vec![]));
    for tensor in tensors {
        archive.array(&tensor.name, tensor.element, &extents(tensor), &tensor.bytes).map_err(failed)?;
    }
    let bytes = archive.finish().map_err(failed)?.into_inner();
    files::write(path, |out| out.write_all(&bytes))
}

fn extents(tensor: &NamedTensor) -> Vec<u32> {
    tensor.shape.iter().map(|&extent| u32::try_from(extent).unwrap_or(u32::MAX)).collect()
}

/// Whether a file is called so, in letters of any case.
pub(crate) fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// A file name for a tensor: what is no letter, digit, `.`, `-` or `_` as `%` and two hex digits per byte.
pub(crate) fn file_name(tensor: &str) -> String {
    let mut name = String::new();
    for byte in tensor.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name + ".npy"
}

/// The tensor of a file name.
fn tensor_name(file: &str) -> String {
    let mut bytes = vec![];
    let mut rest = file.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let coded = after.get(..2).filter(|_| first == b'%').and_then(|hex| str::from_utf8(hex).ok());
        match coded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads an `.npz` file, an `.npy` file, or a folder of these.
pub(crate) fn read(path: &Path) -> Result<TensorSet, Error> {
    let name = path.display().to_string();
    let mut tensors = if path.is_dir() {
        read_folder(path)?
    } else if has_extension(path, "npy") {
        vec![read_array(path)?]
    } else {
        let bytes = files::read(path, MAX_DUMP_BYTES)?;
        let arrays = npz::read(&bytes, MAX_DUMP_BYTES).map_err(|why| unreadable(path, &why))?;
        arrays.into_iter().map(|array| named(array.name, array.element, array.shape, array.bytes)).collect()
    };
    if path.is_dir() {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(TensorSet { name, tensors, absent: vec![] })
}

fn read_folder(path: &Path) -> Result<Vec<NamedTensor>, Error> {
    let failed = |why| Error::Read { path: path.into(), why };
    let mut tensors = vec![];
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if has_extension(&file, "npy") {
            tensors.push(read_array(&file)?);
        }
    }
    Ok(tensors)
}

fn read_array(path: &Path) -> Result<NamedTensor, Error> {
    let bytes = files::read(path, MAX_DUMP_BYTES)?;
    let array = npy::read(&bytes).map_err(|why| unreadable(path, &why))?;
    let needed = array.shape.iter().try_fold(array.element.bytes(), |product, &extent| product.checked_mul(extent));
    if needed != u64::try_from(array.bytes.len()).ok() {
        return Err(unreadable(path, &format!("the shape {:?} does not fit the bytes there are", array.shape)));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(named(tensor_name(&stem), array.element, array.shape, array.bytes.to_vec()))
}

fn named(name: String, element: ElementType, shape: Vec<u64>, bytes: Vec<u8>) -> NamedTensor {
    NamedTensor { name, shape, element, affine: None, bytes, model: SourceTensor::Same }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Analysis {
        kind: "read",
        message: format!("{}: {why}", path.display()),
        hint: "dumps are .npz files, or folders of .npy files, one per tensor".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_turned_back() {
        for name in ["a/b:0", "x%41", "größe", "plain-1.2_3"] {
            let file = file_name(name);
            assert!(file.is_ascii() && !file.contains('/'), "{file}");
            assert_eq!(tensor_name(file.strip_suffix(".npy").unwrap()), name);
        }
    }
}
