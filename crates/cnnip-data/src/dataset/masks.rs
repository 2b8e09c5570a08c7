//! Pictures with a mask each: a grey picture whose bytes are classes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Entry, Label, collect, is_array};

/// Pictures of a folder with the masks of another: a mask has the place and name of its picture, the ending aside.
///
/// What stands alone makes an example that cannot be loaded, so that it is told and counted.
pub(super) fn entries(pictures: &Path, masks: &Path) -> io::Result<Vec<Entry>> {
    let mut pairs: BTreeMap<PathBuf, [Option<PathBuf>; 2]> = BTreeMap::new();
    for (side, folder) in [pictures, masks].into_iter().enumerate() {
        let mut paths = vec![];
        collect(folder, &mut paths)?;
        for path in paths.into_iter().filter(|path| side == 0 || !is_array(path)) {
            let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
            pairs.entry(name).or_default()[side] = Some(path);
        }
    }
    let entry = |(name, [path, mask]): (PathBuf, [Option<PathBuf>; 2])| {
        let shown = path.as_deref().and_then(|path| path.strip_prefix(pictures).ok()).unwrap_or(&name);
        Entry { name: shown.display().to_string(), path, label: Label::Mask(mask) }
    };
    Ok(pairs.into_iter().map(entry).collect())
}
