//! Results of a run, for people and for programs.

use std::path::Path;

use cnnip_data::npy;
use cnnip_driver::{Outputs, Target, TensorView};
use cnnip_hostops::top_k;
use cnnip_package::ElementType;
use serde_json::{Value, json};

use crate::error::Error;
use crate::files;

/// Elements of an output that are shown to people.
const SHOWN: usize = 64;

/// How outputs are shown.
#[derive(Debug)]
pub(crate) struct Style {
    /// Largest elements of a vector that are named.
    pub(crate) top: usize,
    /// Names of a vector's elements.
    pub(crate) labels: Vec<String>,
    /// Real numbers instead of integers.
    pub(crate) dequantize: bool,
}

/// One of the largest elements of a vector.
struct Best {
    index: usize,
    label: Option<String>,
    value: Value,
    real: Option<f32>,
}

impl Style {
    /// The largest elements, if the tensor is a vector; ties go to the lowest index.
    fn best(&self, view: &TensorView<'_>) -> Vec<Best> {
        let shape = &view.tensor().shape;
        let is_vector = shape.last().is_some_and(|&last| last > 1 && view.tensor().elements() == Some(last.into()));
        if !is_vector {
            return Vec::new();
        }
        let real = view.real();
        let indices = match (view.integers(), &real) {
            (Some(integers), _) => top_k(&integers, self.top),
            (None, Some(real)) => top_k(&real.iter().map(|&x| ordered(x)).collect::<Vec<_>>(), self.top),
            (None, None) => Vec::new(),
        };
        let values = values(view, false);
        let best = |index: usize| Best {
            index,
            label: self.labels.get(index).cloned(),
            value: values.get(index).cloned().unwrap_or(Value::Null),
            real: real.as_ref().and_then(|real| real.get(index)).copied(),
        };
        indices.into_iter().map(best).collect()
    }

    /// An output for people.
    pub(crate) fn text(&self, view: &TensorView<'_>) -> String {
        let mut lines = vec![heading(view)];
        for (rank, best) in (1..).zip(self.best(view)) {
            let name = best.label.unwrap_or_else(|| best.index.to_string());
            let real = best.real.filter(|_| view.tensor().element != ElementType::Float32);
            let real = real.map_or_else(String::new, |real| format!(" = {real}"));
            lines.push(format!("  {rank}. {name}: {}{real}", best.value));
        }
        let values = values(view, self.dequantize);
        let shown: Vec<String> = values.iter().take(SHOWN).map(Value::to_string).collect();
        let more = match values.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more (--output writes all)"),
        };
        lines.push(format!("  elements {}{more}", shown.join(" ")));
        lines.join("\n")
    }

    /// An output for programs.
    pub(crate) fn data(&self, view: &TensorView<'_>) -> Value {
        let tensor = view.tensor();
        let best =
            |best: Best| json!({ "index": best.index, "label": best.label, "value": best.value, "real": best.real });
        let mut data = json!({
            "name": tensor.name,
            "type": tensor.element.name(),
            "shape": view.shape(),
            "scale": tensor.quantization.map(|quantization| quantization.scale),
            "zero_point": tensor.quantization.map(|quantization| quantization.zero_point),
            "top": self.best(view).into_iter().map(best).collect::<Value>(),
            "elements": values(view, false),
        });
        if let (Value::Object(data), true) = (&mut data, self.dequantize) {
            data.insert("real".to_owned(), values(view, true).into());
        }
        data
    }
}

/// A key that sorts like `f32::total_cmp`.
fn ordered(x: f32) -> i32 {
    let bits = x.to_bits().cast_signed();
    if bits < 0 { bits ^ i32::MAX } else { bits }
}

fn heading(view: &TensorView<'_>) -> String {
    let tensor = view.tensor();
    let scale = tensor.quantization.map(|found| format!(", scale {}, zero point {}", found.scale, found.zero_point));
    format!("output `{}`: {} {:?}{}", tensor.name, tensor.element, view.shape(), scale.unwrap_or_default())
}

/// The elements as they are, or the real numbers they stand for where they have a scale.
fn values(view: &TensorView<'_>, dequantize: bool) -> Vec<Value> {
    match (view.integers(), view.real()) {
        (Some(integers), real) if !dequantize || real.is_none() => integers.into_iter().map(Value::from).collect(),
        (_, Some(real)) => real.into_iter().map(Value::from).collect(),
        (_, None) => Vec::new(),
    }
}

/// Writes an output as `.npy`, in its own type or as real numbers.
pub(crate) fn save(view: &TensorView<'_>, path: &Path, dequantize: bool) -> Result<(), Error> {
    let tensor = view.tensor();
    if !dequantize || tensor.element == ElementType::Float32 {
        return files::write(path, |out| npy::write(out, tensor.element, &view.shape(), view.bytes()));
    }
    let real = view.real().ok_or_else(|| Error::NoScale { name: tensor.name.clone() })?;
    let bytes: Vec<u8> = real.into_iter().flat_map(f32::to_le_bytes).collect();
    files::write(path, |out| npy::write(out, ElementType::Float32, &view.shape(), &bytes))
}

/// What a run took, for people.
pub(crate) fn totals_text(outputs: &Outputs, target: &Target) -> String {
    let totals = outputs.totals();
    format!(
        "{} commands, {} cycles (estimate), {:.1} us at {} MHz{} on {} (estimate)\n{}",
        totals.commands,
        totals.cycles,
        totals.microseconds(target),
        target.clock_mhz,
        if target.is_assumed("clock_mhz") == Some(true) { " (assumed)" } else { "" },
        target.name,
        format_args!("the estimate rests on assumed values of {}: {}", target.name, assumed(target).join(", ")),
    )
}

/// Values of a target that cycles depend on and that nobody has published.
fn assumed(target: &Target) -> Vec<&'static str> {
    let limits = |name: &str| name.starts_with("max_");
    let names = target.basis.iter().map(|&(name, _)| name);
    names.filter(|name| !limits(name) && target.is_assumed(name) == Some(true)).collect()
}

/// What a run took and gave, for programs.
pub(crate) fn data(outputs: &Outputs, target: &Target, style: &Style) -> Value {
    let totals = outputs.totals();
    json!({
        "outputs": outputs.iter().map(|view| style.data(&view)).collect::<Vec<_>>(),
        "commands": totals.commands,
        "cycles_estimate": totals.cycles,
        "microseconds_estimate": totals.microseconds(target),
        "target": { "name": target.name, "clock_mhz": target.clock_mhz, "assumed": assumed(target) },
    })
}

#[cfg(test)]
mod tests {
    use super::ordered;

    #[test]
    fn keys_sort_as_numbers_do() {
        let sorted = [f32::NEG_INFINITY, -1.0, -0.5, -0.0, 0.0, 1e-30, 2.0, f32::INFINITY];
        assert!(sorted.map(ordered).is_sorted());
    }
}
