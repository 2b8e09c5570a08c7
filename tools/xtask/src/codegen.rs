//! `isa-spec/` → the tables of `cnnip-isa` and the reference page: read, check, print.
//!
//! [`schema`] says what a specification file may hold, [`load`] reads the files, [`rules`] checks what a schema cannot
//! say, [`rust`] and [`reference`] print.

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

/// Fails, naming every generated file that is not what [`write`] would leave.
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
