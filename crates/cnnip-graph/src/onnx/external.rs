//! Data of a model in files beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::proto::Entry;
use crate::problem::{Rule, quote};

/// Where data files are looked for.
pub(super) struct Files<'a> {
    /// Folder of the model; `None` if it came as bytes.
    pub(super) folder: Option<&'a Path>,
}

impl Files<'_> {
    /// The `want` bytes that entries `location`, `offset` and `length` name.
    pub(super) fn read(&self, entries: &[Entry], want: usize) -> Result<Bytes, Rule> {
        let value = |key: &str| {
            let entry = entries.iter().find(|entry| entry.key.as_deref() == Some(key));
            entry.and_then(|entry| entry.value.as_deref())
        };
        let folder = self.folder.ok_or(Rule::ExternalData)?;
        let location = value("location").unwrap_or_default();
        let fail = |why: String| Rule::ExternalFile { path: quote(location), why };
        let number = |key: &'static str, default: u64| match value(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| fail(format!("{key} {:?} is no number", quote(text)))),
        };
        let offset = number("offset", 0)?;
        let path = within(folder, location).map_err(fail)?;
        let length = std::fs::metadata(&path).map_err(|why| fail(why.to_string()))?.len();
        let stated = number("length", length.saturating_sub(offset))?;
        if u64::try_from(want) != Ok(stated) {
            return Err(Rule::DataSize { want, found: usize::try_from(stated).unwrap_or(usize::MAX) });
        }
        if offset.checked_add(stated).is_none_or(|end| end > length) {
            return Err(fail(format!("bytes {offset} to {} of {length}", offset.saturating_add(stated))));
        }
        part(&path, offset, want).map(Bytes::from).map_err(|why| fail(why.to_string()))
    }
}

fn part(path: &Path, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The file `location` below `folder`; links that lead out of it are refused too.
fn within(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let plain = !location.is_empty()
        && Path::new(location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain {
        return Err("the path leaves the folder of the model".to_owned());
    }
    let path = folder.join(location).canonicalize().map_err(|why| why.to_string())?;
    let folder = folder.canonicalize().map_err(|why| why.to_string())?;
    if path.starts_with(&folder) && path.is_file() {
        return Ok(path);
    }
    Err("the path leaves the folder of the model, or is no file".to_owned())
}
