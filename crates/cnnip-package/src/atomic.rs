//! Writing a file so that nobody ever sees half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file through `write`: afterwards it holds everything, or, after an error or a crash, what it held before.
///
/// The bytes go to a new file in the same folder, which takes the place of `path` once it is safely on the disk. Where
/// `path` is a symbolic link the file it points to is replaced; a device or pipe, such as `/dev/stdout`, is written as it
/// is.
///
/// # Errors
/// Those of `write` and of the operating system; the new file is gone then.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("answer");
/// cnnip_package::atomic_write(&path, |out| out.write_all(b"42"))?;
/// assert_eq!(std::fs::read(&path)?, b"42");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn atomic_write(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let path = path.as_ref();
    match fs::metadata(path) {
        Ok(found) if found.is_file() => replace(&fs::canonicalize(path)?, write),
        Ok(found) if !found.is_dir() => fill(OpenOptions::new().write(true).open(path)?, write).map(drop),
        _ => replace(path, write),
    }
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (partial, file) = create_beside(path)?;
    let result = fill(file, write)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| sync_folder(path));
    if result.is_err() {
        let _ = fs::remove_file(&partial); // the first error is the one to tell
    }
    result
}

fn fill(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<File> {
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Creates a file that did not exist, named after `path`, in its folder.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    for attempt in 0..100 {
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}-{attempt}.partial", std::process::id()));
        let partial = path.with_file_name(partial);
        match OpenOptions::new().write(true).create_new(true).open(&partial) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|file| (partial, file)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "a hundred partial files of the same name are in the way"))
}

/// Makes the renaming itself last; elsewhere than on Unix a folder cannot be opened for that.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        atomic_write(&path, |out| out.write_all(b"first")).unwrap();
        let failed = atomic_write(&path, |out| {
            out.write_all(b"second")?;
            Err(io::Error::other("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        atomic_write(&link, |out| out.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_folder_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        assert!(atomic_write(folder.path(), |out| out.write_all(b"x")).is_err());
    }
}
