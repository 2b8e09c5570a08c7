//! What a package holds, for people and for programs.

use std::fmt::Write;

use cnnip_compiler::{CoreReport, Report, SplitRun};
use cnnip_package::{Color, Input, Package, Pixels, Preprocess, Summary, Tensor};
use serde_json::{Value, json};

/// A package in one line.
pub(crate) fn headline(summary: &Summary) -> String {
    let words: usize = summary.lists.iter().map(|(_, _, words)| words).sum();
    format!(
        "for {}, {}, {}, {}, {} of {}, {} of constants",
        summary.target,
        counted(summary.layers, "layer"),
        counted(summary.macs, "MAC"),
        counted(summary.steps.len(), "step"),
        counted(summary.lists.len(), "list"),
        counted(words, "word"),
        counted(summary.constant_bytes, "byte"),
    )
}

/// What a network takes, in one line; of several cores, a line for each and one for each run of layers that they share.
/// `layer` gives a layer's name.
pub(crate) fn report<'a>(report: &Report, layer: impl Fn(usize) -> &'a str) -> String {
    let permille = report.array_use();
    let mut text = format!(
        "  {} cycles (estimate), {}.{} % of the array's MACs; {} bytes from and {} to external memory; {} bytes of scratchpad",
        report.cycles,
        permille / 10,
        permille % 10,
        report.loaded_bytes,
        report.stored_bytes,
        report.scratchpad_bytes,
    );
    let several = report.cores.len() > 1;
    for (index, core) in report.cores.iter().enumerate().filter(|_| several) {
        let CoreReport { cycles, busy } = core;
        let _ = write!(text, "\n  core {index}: {cycles} cycles (estimate), its CNN engine at work in {busy}");
    }
    for SplitRun { layers, axis, cores } in &report.splits {
        let last = layers.end.saturating_sub(1);
        let (count, axis) = (counted(layers.len(), "layer"), axis.name());
        let (first, last) = (layer(layers.start), layer(last));
        let _ = write!(text, "\n  {count} by {axis} on {cores} cores: `{first}` to `{last}`");
    }
    text
}

/// What a network takes, for programs.
pub(crate) fn report_data<'a>(report: &Report, layer: impl Fn(usize) -> &'a str) -> Value {
    json!({
        "cycles_estimate": report.cycles,
        "macs": report.macs,
        "host_macs": report.host_macs,
        "host_macs": report.host_macs,
        "array_use_permille": report.array_use(),
        "loaded_bytes": report.loaded_bytes,
        "stored_bytes": report.stored_bytes,
        "scratchpad_bytes": report.scratchpad_bytes,
        "cores": report.cores.iter().map(|core| json!({
            "cycles_estimate": core.cycles, "cnn_busy_cycles_estimate": core.busy,
        })).collect::<Vec<_>>(),
        "splits": report.splits.iter().map(|split| json!({
            "layers": split.layers.clone().map(&layer).collect::<Vec<_>>(),
            "axis": split.axis.name(), "cores": split.cores,
        })).collect::<Vec<_>>(),
    })
}

fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    format!("{count} {what}{}", if count == N::from(1) { "" } else { "s" })
}

/// The headline, and a line for everything that has a name.
pub(crate) fn text(package: &Package) -> String {
    let summary = package.summary();
    let mut text = headline(&summary);
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = write!(text, "\n  {line}"); // a string takes all
    };
    for (key, value) in &summary.provenance {
        line(format_args!("made with {key} = {value}"));
    }
    line(format_args!("needs {} commands, {} cycles (estimate)", summary.budget.commands, summary.budget.cycles));
    for (tensor, rule) in inputs(package) {
        let pictures = rule.map_or_else(String::new, |rule| format!(", from {}", pictures(rule)));
        line(format_args!("input {}{pictures}", tensor_text(tensor)));
    }
    for tensor in &summary.outputs {
        line(format_args!("output {}", tensor_text(tensor)));
    }
    for (name, kind, bytes) in &summary.regions {
        line(format_args!("region `{name}`: {}, {bytes} bytes", kind.name()));
    }
    for step in &summary.steps {
        line(format_args!("step: {step}"));
    }
    for layer in &package.layers {
        line(format_args!(
            "layer {} `{}`: {} MACs, of {}",
            layer.mark,
            layer.name,
            layer.macs,
            layer.sources.join(", ")
        ));
    }
    text
}

fn inputs(package: &Package) -> impl Iterator<Item = (&Tensor, Option<&Preprocess>)> {
    let tensor = |input: &Input| package.tensor(input.tensor);
    package.inputs.iter().filter_map(move |input| Some((tensor(input)?, input.preprocess.as_ref())))
}

fn tensor_text(tensor: &Tensor) -> String {
    let scale = tensor.quantization.map(|found| format!(", scale {}, zero point {}", found.scale, found.zero_point));
    format!("`{}`: {} {:?}{}", tensor.name, tensor.element, tensor.shape, scale.unwrap_or_default())
}

/// Which pictures an input takes, and what becomes of a pixel.
fn pictures(rule: &Preprocess) -> String {
    let color = match rule.color {
        Color::Gray => "grey",
        Color::Rgb => "rgb",
    };
    let pixel = match &rule.pixels {
        Pixels::Raw => "bytes as they stand".to_owned(),
        Pixels::Offset(offset) if *offset < 0 => format!("pixel - {}", offset.unsigned_abs()),
        Pixels::Offset(offset) => format!("pixel + {offset}"),
        Pixels::Float { mean, std } => format!("(pixel - {mean:?}) / {std:?}"),
    };
    format!("{}x{} {color} pictures, {pixel}", rule.width, rule.height)
}

/// All figures, for programs.
pub(crate) fn data(package: &Package) -> Value {
    let summary = package.summary();
    json!({
        "target": summary.target,
        "spec_version": summary.spec_version,
        "budget": { "commands": summary.budget.commands, "cycles_estimate": summary.budget.cycles },
        "provenance": summary.provenance.iter().map(|(key, value)| (key.clone(), value.clone().into()))
            .collect::<serde_json::Map<_, Value>>(),
        "regions": summary.regions.iter().map(|(name, kind, bytes)| json!({
            "name": name, "kind": kind.name(), "bytes": bytes,
        })).collect::<Vec<_>>(),
        "lists": summary.lists.iter().map(|(name, engine, words)| json!({
            "name": name, "engine": engine.to_string(), "words": words,
        })).collect::<Vec<_>>(),
        "inputs": inputs(package).map(|(tensor, rule)| {
            let mut data = tensor_data(tensor);
            data["pictures"] = rule.map(pictures).into();
            data
        }).collect::<Vec<_>>(),
        "outputs": summary.outputs.iter().map(tensor_data).collect::<Vec<_>>(),
        "steps": summary.steps,
        "layers": summary.layers,
        "macs": summary.macs,
        "constant_bytes": summary.constant_bytes,
        "tiles": summary.tiles,
    })
}

fn tensor_data(tensor: &Tensor) -> Value {
    json!({
        "name": tensor.name,
        "type": tensor.element.name(),
        "shape": tensor.shape,
        "scale": tensor.quantization.map(|found| found.scale),
        "zero_point": tensor.quantization.map(|found| found.zero_point),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::Layout;

    #[test]
    fn a_rule_for_pictures_reads_as_a_sentence() {
        let rule = |pixels| Preprocess { height: 6, width: 5, layout: Layout::Nchw, color: Color::Rgb, pixels };
        assert_eq!(pictures(&rule(Pixels::Offset(-128))), "5x6 rgb pictures, pixel - 128");
        assert_eq!(pictures(&rule(Pixels::Raw)), "5x6 rgb pictures, bytes as they stand");
    }

    #[test]
    fn one_of_a_kind_is_singular() {
        assert_eq!([0_u64, 1, 2].map(|count| counted(count, "step")), ["0 steps", "1 step", "2 steps"]);
    }
}
