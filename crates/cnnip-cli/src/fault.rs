//! Fault reports as data.

use cnnip_driver::{CommandReport, FaultReport};
use serde_json::{Value, json};

/// A report with everything it says.
pub(crate) fn data(report: &FaultReport) -> Value {
    let layer = report.layer.as_ref();
    json!({
        "name": report.name,
        "code": report.code,
        "message": report.message,
        "step": report.step,
        "command": report.command.as_ref().map(command),
        "context": report.context.iter().map(|line| &line.text).collect::<Vec<_>>(),
        "others": report.others.iter().map(command).collect::<Vec<_>>(),
        "layer": layer.map(|(mark, name, sources)| json!({ "mark": mark, "name": name, "sources": sources })),
        "registers": report.registers.iter().map(|register| (register.name.to_owned(), register.value.into()))
            .collect::<serde_json::Map<_, Value>>(),
        "hint": report.hint,
    })
}

fn command(report: &CommandReport) -> Value {
    json!({
        "core": report.engine.core,
        "engine": report.engine.to_string(),
        "list": report.list,
        "pc": report.pc,
        "cycle_estimate": report.cycle,
        "text": report.text,
    })
}
