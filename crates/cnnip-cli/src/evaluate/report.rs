//! What an evaluation found, for people and for programs.

use std::fmt::Write as _;

use cnnip_data::Dataset;
use cnnip_evaluate::areas::{accuracy, mean_iou};
use cnnip_evaluate::{LevelTotals, Task, Totals};
use cnnip_fast::Difference;
use serde_json::{Value, json};

use super::{Evaluate, LevelName};
use crate::stream::Streams;

/// All that a report tells.
pub(super) struct Findings<'a> {
    pub(super) data: &'a Dataset,
    pub(super) task: &'a Task,
    pub(super) totals: &'a Totals,
    /// Examples that could not be used, and why.
    pub(super) broken: &'a [String],
    /// Fast against accurate, tensor by tensor.
    pub(super) layers: &'a [(String, Difference)],
}

/// Worst examples that are listed for people.
const LISTED: usize = 5;

/// Tells it all.
pub(super) fn report(arguments: &Evaluate, findings: &Findings<'_>, streams: &mut Streams<'_>) {
    if arguments.json {
        streams.data(&as_data(arguments, findings));
        return;
    }
    findings.broken.iter().for_each(|line| streams.note(line));
    let Totals { examples, labelled, failed, .. } = findings.totals;
    let what = match findings.task {
        Task::Classes => "a class",
        Task::Boxes(_) => "objects",
        Task::Pixels { .. } => "a mask",
    };
    streams.say(format_args!("{examples} examples, {labelled} with {what}, {failed} could not be used"));
    let scores = scores(findings);
    let names: String = scores.names.iter().fold(String::new(), |mut line, name| {
        let _ = write!(line, " {name:>8}"); // a String takes all
        line
    });
    streams.say(format_args!("{:9}{names} {:>10} {:>12} {:>9}", "level", "differ %", "largest", "SQNR dB"));
    for ((level, found), values) in arguments.levels.iter().zip(&findings.totals.levels).zip(&scores.values) {
        let values = values.iter().fold(String::new(), |mut line, value| {
            let text = value.map_or_else(|| "-".to_owned(), |value| format!("{:.2}", 100.0 * value));
            let _ = write!(line, " {text:>8}");
            line
        });
        let distance = &found.distance;
        let differ = 100.0 * ratio(distance.different, distance.elements);
        let name = level.name();
        streams.say(format_args!(
            "{name:9}{values} {differ:>10.4} {:>12.5} {:>9.2}",
            distance.largest,
            distance.sqnr()
        ));
    }
    layers(findings.layers, streams);
    for worst in findings.totals.worst().iter().take(LISTED) {
        streams.say(format_args!("worst: {} {:.2} dB", worst.name, worst.sqnr));
    }
}

/// What levels are judged by, as shares of 1.
struct Scores {
    names: &'static [&'static str],
    /// One row per level.
    values: Vec<Vec<Option<f64>>>,
}

fn scores(findings: &Findings<'_>) -> Scores {
    let Totals { examples, labelled, levels, .. } = findings.totals;
    let of_labelled = |count: u64| (*labelled > 0).then(|| ratio(count, *labelled));
    let classes = |LevelTotals { top1, top5, agree, .. }: &LevelTotals| {
        vec![of_labelled(*top1), of_labelled(*top5), Some(ratio(*agree, *examples))]
    };
    let boxes = |level: usize| {
        let precision = findings.totals.precision(level);
        vec![precision.map(|found| found.mean), precision.map(|found| found.half)]
    };
    match findings.task {
        Task::Classes => {
            Scores { names: &["top-1 %", "top-5 %", "agree %"], values: levels.iter().map(classes).collect() }
        }
        Task::Boxes(_) => Scores { names: &["mAP %", "mAP50 %"], values: (0..levels.len()).map(boxes).collect() },
        Task::Pixels { .. } => {
            let values = levels.iter().map(|found| vec![mean_iou(&found.areas), accuracy(&found.areas)]);
            Scores { names: &["mIoU %", "right %"], values: values.collect() }
        }
    }
}

fn layers(rows: &[(String, Difference)], streams: &mut Streams<'_>) {
    if rows.is_empty() {
        return;
    }
    streams.say("fast against accurate: share of elements that differ, largest difference in steps, histogram");
    for (name, found) in rows {
        streams.say(format_args!("{:10.4} % {:4}  {name:40} {}", 100.0 * found.share(), found.largest(), steps(found)));
    }
}

/// As `-1: 12, +1: 40`.
fn steps(found: &Difference) -> String {
    let each = found.by_steps.iter().map(|(steps, count)| format!("{steps:+}: {count}"));
    each.collect::<Vec<_>>().join(", ")
}

fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "two digits behind the point are shown")]
    let ratio = part as f64 / whole.max(1) as f64;
    ratio
}

fn as_data(arguments: &Evaluate, findings: &Findings<'_>) -> Value {
    let Findings { data, totals, broken, .. } = findings;
    let levels = arguments.levels.iter().zip(&totals.levels).enumerate();
    let worst: Vec<Value> = totals
        .worst()
        .iter()
        .map(|worst| json!({ "index": worst.index, "example": worst.name, "sqnr_db": worst.sqnr }))
        .collect();
    let layers: Vec<Value> = findings.layers.iter().map(layer_data).collect();
    json!({
        "examples": totals.examples, "labelled": totals.labelled, "failed": totals.failed, "classes": data.classes(),
        "levels": levels.map(|(at, (level, found))| level_data(findings, at, *level, found)).collect::<Vec<Value>>(),
        "layers": layers, "worst": worst, "broken": broken,
    })
}

fn level_data(findings: &Findings<'_>, at: usize, level: LevelName, found: &LevelTotals) -> Value {
    let distance = &found.distance;
    // JSON has no infinity: where nothing differs there is no ratio.
    let sqnr = Some(distance.sqnr()).filter(|ratio| ratio.is_finite());
    let mut data = json!({
        "level": level.name(), "elements": distance.elements, "different": distance.different,
        "largest": distance.largest, "sqnr_db": sqnr,
    });
    let scores = match findings.task {
        Task::Classes => json!({ "top1": found.top1, "top5": found.top5, "agree": found.agree }),
        Task::Boxes(_) => {
            let precision = findings.totals.precision(at);
            json!({ "map": precision.map(|found| found.mean), "map50": precision.map(|found| found.half) })
        }
        Task::Pixels { .. } => {
            let ious = found.areas.iter().map(|(class, area)| (class.to_string(), area.both, area.said + area.real));
            let ious = ious.map(|(class, both, sum)| (class, json!(ratio(both, sum - both)))).collect();
            json!({ "miou": mean_iou(&found.areas), "right": accuracy(&found.areas), "iou": Value::Object(ious) })
        }
    };
    if let (Value::Object(data), Value::Object(scores)) = (&mut data, scores) {
        data.extend(scores);
    }
    data
}

fn layer_data((name, found): &(String, Difference)) -> Value {
    let steps = found.by_steps.iter().map(|(steps, count)| (steps.to_string(), json!(count))).collect();
    json!({
        "tensor": name, "elements": found.elements, "different": found.differing(), "largest_steps": found.largest(),
        "steps": Value::Object(steps),
    })
}
