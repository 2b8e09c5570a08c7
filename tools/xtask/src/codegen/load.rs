//! Reads the files; every file that does not fit its schema is reported, not only the first.

use super::schema::{Spec, Target};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;

/// Reads the specification in `folder`.
pub(crate) fn load(folder: &Path) -> Result<Spec, Vec<String>> {
    let mut reader = Reader { folder, problems: Vec::new() };
    let version = reader.read("version.toml");
    let types = reader.read("types.toml");
    let faults = reader.read("faults.toml");
    let commands = reader.read("commands.toml");
    let operations = reader.read("operations.toml");
    let cnn = reader.read("registers/cnn.toml");
    let dma = reader.read("registers/dma.toml");
    let host = reader.read("registers/host.toml");
    let target_keys = reader.read("targets.toml");
    let targets = reader.targets();
    let spec = (|| {
        Some(Spec {
            version: version?,
            types: types?,
            faults: faults?,
            commands: commands?,
            operations: operations?,
            cnn: cnn?,
            dma: dma?,
            host: host?,
            target_keys: target_keys?,
            targets,
        })
    })();
    match spec {
        Some(spec) if reader.problems.is_empty() => Ok(spec),
        _ => Err(reader.problems),
    }
}

struct Reader<'a> {
    folder: &'a Path,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// Reads one file; what is wrong with it goes to the problems.
    fn read<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let text = fs::read_to_string(self.folder.join(name)).map_err(|error| error.to_string());
        match text.and_then(|text| toml::from_str(&text).map_err(|error| error.to_string())) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.push(format!("isa-spec/{name}: {}", error.trim_end()));
                None
            }
        }
    }

    fn targets(&mut self) -> Vec<(String, Target)> {
        let mut targets: Vec<(String, Target)> =
            self.target_names().into_iter().filter_map(|name| self.read(&name).map(|target| (name, target))).collect();
        targets.sort_by_key(|(_, target)| target.id);
        targets
    }

    fn target_names(&mut self) -> Vec<String> {
        let entries = match fs::read_dir(self.folder.join("targets")) {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(format!("isa-spec/targets: {error}"));
                return Vec::new();
            }
        };
        let mut names: Vec<String> =
            entries.filter_map(Result::ok).filter_map(|entry| target_name(&entry.path())).collect();
        names.sort();
        names
    }
}

fn target_name(path: &Path) -> Option<String> {
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let name = path.file_name()?.to_str()?;
    is_toml.then(|| format!("targets/{name}"))
}
