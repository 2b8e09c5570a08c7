//! `[NAME=]FILE` on the command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A file and, perhaps, the position of the tensor it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Position of the tensor.
    pub(crate) tensor: Option<usize>,
    /// The file.
    pub(crate) path: PathBuf,
}

/// A file that cannot be given to a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// All tensors have a file.
    NoneLeft(PathBuf),
    /// The tensor it names has one already.
    Twice { tensor: usize, path: PathBuf },
}

/// Splits at the last `=` whose left side is the name of a tensor; without one it is all a file.
pub(crate) fn assignment(text: &OsStr, names: &[&str]) -> Assignment {
    let equals = text.as_encoded_bytes().iter().enumerate().rev().filter(|&(_, &byte)| byte == b'=');
    let split = |(at, _): (usize, &u8)| {
        let (name, path) = split_at(text, at)?;
        let tensor = names.iter().position(|&known| OsStr::new(known) == name)?;
        Some(Assignment { tensor: Some(tensor), path: path.into() })
    };
    equals.filter_map(split).next().unwrap_or_else(|| Assignment { tensor: None, path: text.into() })
}

/// What is before and behind the character `=` at a byte.
#[cfg(unix)]
fn split_at(text: &OsStr, at: usize) -> Option<(&OsStr, &OsStr)> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    Some((OsStr::from_bytes(bytes.get(..at)?), OsStr::from_bytes(bytes.get(at + 1..)?)))
}

/// What is before and behind the character `=` at a byte; only of Unicode.
#[cfg(not(unix))]
fn split_at(text: &OsStr, at: usize) -> Option<(&OsStr, &OsStr)> {
    let text = text.to_str()?;
    Some((OsStr::new(text.get(..at)?), OsStr::new(text.get(at + 1..)?)))
}

/// Gives every file a tensor: named ones theirs, the others the first that is left.
///
/// # Errors
/// The first file that there is no tensor left for, or whose tensor has one already.
pub(crate) fn assign(files: &[OsString], names: &[&str]) -> Result<Vec<(usize, PathBuf)>, Misfit> {
    let assignments: Vec<Assignment> = files.iter().map(|text| assignment(text, names)).collect();
    let mut taken: Vec<bool> = vec![false; names.len()];
    for Assignment { tensor, path } in &assignments {
        let Some(tensor) = *tensor else { continue };
        if std::mem::replace(&mut taken[tensor], true) {
            return Err(Misfit::Twice { tensor, path: path.clone() });
        }
    }
    let place = |Assignment { tensor, path }| match tensor.or_else(|| taken.iter().position(|taken| !taken)) {
        Some(tensor) => {
            taken[tensor] = true;
            Ok((tensor, path))
        }
        None => Err(Misfit::NoneLeft(path)),
    };
    assignments.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(files: &[&str], names: &[&str]) -> Result<Vec<(usize, String)>, Misfit> {
        let files: Vec<OsString> = files.iter().map(OsString::from).collect();
        let named = |(tensor, path): (usize, PathBuf)| (tensor, path.display().to_string());
        assign(&files, names).map(|found| found.into_iter().map(named).collect())
    }

    #[test]
    fn a_text_splits_at_the_last_equals_behind_a_name() {
        let names = ["x", "x=y", "a/b"];
        assert_eq!(assigned(&["x=y=z"], &names), Ok(vec![(1, "z".into())]));
        assert_eq!(assigned(&["x=q=z"], &names), Ok(vec![(0, "q=z".into())]));
        assert_eq!(assigned(&["a/b=c=d"], &names), Ok(vec![(2, "c=d".into())]));
        assert_eq!(assigned(&["q=c"], &names), Ok(vec![(0, "q=c".into())]));
    }

    #[test]
    fn files_without_a_name_take_what_is_left() {
        assert_eq!(
            assigned(&["1", "b=2", "3"], &["a", "b", "c"]),
            Ok(vec![(0, "1".into()), (1, "2".into()), (2, "3".into())])
        );
        assert_eq!(assigned(&["1", "2"], &["a"]), Err(Misfit::NoneLeft("2".into())));
        assert_eq!(assigned(&["a=1", "2"], &["a"]), Err(Misfit::NoneLeft("2".into())));
    }

    #[test]
    fn a_tensor_has_one_file() {
        assert_eq!(assigned(&["b=1", "2", "b=3"], &["a", "b"]), Err(Misfit::Twice { tensor: 1, path: "3".into() }));
    }

    #[cfg(unix)]
    #[test]
    fn file_names_need_not_be_unicode() {
        use std::os::unix::ffi::OsStrExt;
        let of = |bytes: &'static [u8]| assignment(OsStr::from_bytes(bytes), &["x"]);
        let path = |bytes: &'static [u8]| PathBuf::from(OsStr::from_bytes(bytes));
        assert_eq!(of(b"x=\xff"), Assignment { tensor: Some(0), path: path(b"\xff") });
        assert_eq!(of(b"\xff=x"), Assignment { tensor: None, path: path(b"\xff=x") });
    }
}
