//! `isa-spec/` → the tables of `cnnip-isa` and the reference page: read, check, print.
//!
//! [`schema`] says what a specification file may hold, [`load`] reads the files, [`rules`] checks what a schema cannot
//! say, `rust` and `reference` print.

mod load;
mod reference;
mod rules;
mod rust;
mod schema;
mod text;

use std::fs;
use std::path::Path;

/// What mends a stale file.
const MENDED_BY: &str = "cargo xtask codegen";

/// A file made from the specification: its path from the root of the workspace and its text.
struct Generated {
    path: &'static str,
    text: String,
}

/// Writes every generated file that is not already as it should be.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    for file in generate(root)? {
        let path = root.join(file.path);
        if fs::read_to_string(&path).ok().as_ref() != Some(&file.text) {
            fs::write(&path, &file.text).map_err(|error| format!("{}: {error}", file.path))?;
        }
    }
    Ok(())
}

/// Fails, naming every generated file that is not what [`write()`] would leave.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let stale: Vec<String> = generate(root)?
        .into_iter()
        .filter(|file| fs::read_to_string(root.join(file.path)).ok().as_ref() != Some(&file.text))
        .map(|file| format!("{}: stale, run `{MENDED_BY}`", file.path))
        .collect();
    if stale.is_empty() { Ok(()) } else { Err(stale.join("\n")) }
}

fn generate(root: &Path) -> Result<Vec<Generated>, String> {
    let spec = load::load(&root.join("isa-spec")).map_err(|problems| problems.join("\n"))?;
    let problems = rules::check(&spec);
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    Ok(vec![
        Generated { path: "crates/cnnip-isa/src/generated.rs", text: rust::print(&spec, root)? },
        Generated { path: "isa-spec/reference.md", text: reference::print(&spec) },
    ])
}

#[cfg(test)]
mod tests {
    use super::{check, write};
    use crate::workspace;
    use std::fs;
    use std::path::Path;

    /// Copies the files that codegen reads or writes.
    fn copy_workspace(to: &Path) -> std::io::Result<()> {
        fs::copy(workspace().join("rustfmt.toml"), to.join("rustfmt.toml"))?;
        fs::create_dir_all(to.join("crates/cnnip-isa/src"))?;
        for folder in ["isa-spec", "isa-spec/registers", "isa-spec/targets"] {
            fs::create_dir(to.join(folder))?;
            for entry in fs::read_dir(workspace().join(folder))? {
                let from = entry?.path();
                if from.extension().is_some_and(|extension| extension == "toml") {
                    fs::copy(&from, to.join(folder).join(from.file_name().unwrap_or_default()))?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_stale_is_named_with_what_mends_it() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        copy_workspace(root.path())?;
        let rust = "crates/cnnip-isa/src/generated.rs: stale, run `cargo xtask codegen`";
        let page = "isa-spec/reference.md: stale, run `cargo xtask codegen`";
        assert_eq!(check(root.path()), Err(format!("{rust}\n{page}")));
        assert_eq!(write(root.path()), Ok(()));
        assert_eq!(check(root.path()), Ok(()));
        fs::write(root.path().join("isa-spec/reference.md"), "by hand")?;
        assert_eq!(check(root.path()), Err(page.to_owned()));
        Ok(())
    }

    #[test]
    fn a_file_outside_its_schema_stops_everything() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        copy_workspace(root.path())?;
        for file in ["isa-spec/faults.toml", "isa-spec/version.toml"] {
            fs::write(root.path().join(file), "surprise = 1")?;
        }
        let message = write(root.path()).err().unwrap_or_default();
        for file in ["isa-spec/faults.toml", "isa-spec/version.toml"] {
            assert!(message.contains(&format!("{file}: ")), "{message}");
        }
        assert!(!root.path().join("isa-spec/reference.md").exists());
        Ok(())
    }
}
