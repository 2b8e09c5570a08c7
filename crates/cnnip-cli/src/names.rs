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

/// Splits at the last `=` whose left side is the name of a tensor; without one it is all a file.
pub(crate) fn assignment(text: &OsStr, names: &[&str]) -> Assignment {
    let whole = || Assignment { tensor: None, path: text.into() };
    let Some(utf8) = text.to_str() else { return whole() };
    let splits = utf8.rmatch_indices('=').filter_map(|(at, _)| {
        let tensor = names.iter().position(|&name| name == &utf8[..at])?;
        Some(Assignment { tensor: Some(tensor), path: PathBuf::from(&utf8[at + 1..]) })
    });
    splits.into_iter().next().unwrap_or_else(whole)
}

/// Gives every file a tensor: named ones theirs, the others the first that is left.
///
/// # Errors
/// The first file that there is no tensor left for.
pub(crate) fn assign(files: &[OsString], names: &[&str]) -> Result<Vec<(usize, PathBuf)>, PathBuf> {
    let assignments: Vec<Assignment> = files.iter().map(|text| assignment(text, names)).collect();
    let mut taken: Vec<bool> = vec![false; names.len()];
    for tensor in assignments.iter().filter_map(|assignment| assignment.tensor) {
        taken[tensor] = true;
    }
    let mut place =
        |Assignment { tensor, path }: Assignment| match tensor.or_else(|| taken.iter().position(|taken| !taken)) {
            Some(tensor) => {
                taken[tensor] = true;
                Ok((tensor, path))
            }
            None => Err(path),
        };
    assignments.into_iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(files: &[&str], names: &[&str]) -> Result<Vec<(usize, String)>, PathBuf> {
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
        assert_eq!(assigned(&["1", "2"], &["a"]), Err("2".into()));
    }
}
