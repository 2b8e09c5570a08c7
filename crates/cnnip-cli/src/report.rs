//! The report of `cnnip compile`: what every layer takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cnnip_analysis::report::cost::{self, Cost};
use cnnip_compiler::{LayerProfile, Stages};
use cnnip_isa::Target;
use serde_json::{Value, json};

use crate::error::Error;
use crate::{files, info};

/// In which form a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Html,
}

/// A file whose name ends in one of the forms.
pub(crate) fn file(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name);
    form(&path).map(|_| path.clone()).ok_or_else(|| "a report ends in .html, .json or .txt".to_owned())
}

fn form(path: &Path) -> Option<Form> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "txt" => Form::Text,
        "json" => Form::Json,
        "html" | "htm" => Form::Html,
        _ => return None,
    })
}

/// Writes reports, each in the form that its name says; none over the package.
pub(crate) fn write(
    paths: &[PathBuf],
    package: &Path,
    (name, target): (&str, &Target),
    stages: &Stages,
    quality: &BTreeMap<String, f64>,
) -> Result<(), Error> {
    if paths.is_empty() {
        return Ok(());
    }
    let profile = stages.profile(target);
    let cost = Cost { name, target, network: &stages.division.network, profile: &profile, quality };
    for path in paths {
        files::distinct(package, path)?;
        let text = match form(path) {
            Some(Form::Html) => cost::html(&cost),
            Some(Form::Json) => format!("{:#}\n", data(&cost, stages)),
            Some(Form::Text) | None => cost::table(&cost),
        };
        files::write(path, |out| out.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// A report for programs.
fn data(cost: &Cost<'_>, stages: &Stages) -> Value {
    let whole = |index: usize| stages.legalized.layers.get(index).map_or("", |layer| layer.name.as_str());
    let layers = cost.profile.layers.iter().map(|of| layer(cost, of)).collect::<Value>();
    let spans =
        cost.profile.spans.iter().map(|span| json!([span.engine.to_string(), span.layer, span.start, span.end]));
    let scratchpad = cost.profile.scratchpad.iter().map(|part| {
        json!({
            "core": part.core, "name": part.name, "layer": part.layer, "address": part.address, "bytes": part.bytes, "start": part.start,
            "end": part.end,
        })
    });
    json!({
        "model": cost.name,
        "target": cost.target.name,
        "clock_mhz": cost.target.clock_mhz,
        "macs_per_cycle": cost.profile.lanes,
        "total": info::report_data(&cost.profile.total, whole),
        "parameters": cost.profile.parameters,
        "layers": layers,
        "spans": spans.collect::<Value>(),
        "scratchpad": scratchpad.collect::<Value>(),
    })
}

fn layer(cost: &Cost<'_>, of: &LayerProfile) -> Value {
    let named = cost.network.layers.get(of.layer);
    json!({
        "layer": of.layer,
        "name": named.map(|layer| layer.name.as_str()),
        "operator": named.map(|layer| layer.operator.as_ref()),
        "sources": named.map(|layer| layer.sources.as_slice()),
        "core": of.core,
        "part": of.part.as_ref().map(|(axis, range)| json!({
            "axis": axis.name(), "start": range.start, "end": range.end,
        })),
        "plan": of.plan,
        "macs": of.macs,
        "parameters": of.parameters,
        "cycles_estimate": of.elapsed,
        "start": of.start,
        "end": of.end,
        "cnn_cycles": of.cnn_cycles,
        "dma_cycles": of.dma_cycles,
        "array_use_permille": of.array_use(cost.profile.lanes),
        "bound": of.bound().name(),
        "loaded_bytes": of.loaded_bytes,
        "stored_bytes": of.stored_bytes,
        "scratchpad_bytes": of.scratchpad_bytes,
        // JSON has no infinity: where nothing differs there is no ratio.
        "sqnr_db": cost.quality_of(of.layer).filter(|db| db.is_finite()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_form() {
        assert_eq!(form(Path::new("a/b.HTML")), Some(Form::Html));
        assert!(file("x.json").is_ok() && file("x.txt").is_ok());
        assert!(file("x.pdf").is_err() && file("x").is_err());
    }
}
