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

#[cfg(test)]
mod tests {
    use crate::codegen::schema::{Bits, Field, Version};

    fn field(text: &str) -> Result<Field, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = toml::from_str::<Version>("major = 0\nminor = 1\npatch = 2").err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("line 3") && error.contains("unknown field `patch`")));
    }

    #[test]
    fn bits_are_checked_where_they_are_read() {
        let bits = field("name = 'A'\nbits = '15:8'\ndoc = ''").map(|field| field.bits);
        assert!(bits.is_ok_and(|bits| bits.high == 15 && bits.low == 8 && bits.mask() == 0xff00));
        for bad in ["8:15", "32", "a", ""] {
            let error = field(&format!("name = 'A'\nbits = '{bad}'\ndoc = ''")).err();
            assert_eq!(error, Some(format!("bits `{bad}` are not `HIGH:LOW` or `BIT` within 31:0")));
        }
        assert_eq!(Bits { high: 31, low: 0 }.mask(), u32::MAX);
    }
}
