//! The page: table, error per layer, and per tensor histogram, scatter and maps.

use std::fmt::Write;

use super::{decibels, judged, of, pictures, sentence, svg};
use crate::compare::{Comparison, Measure};
use crate::masks::Agreement;
use crate::tensors::{Affine, NamedTensor, TensorSet};
use crate::verdict::{Cause, Verdict};
use svg::escape;

/// Tensors with pictures of their own: a page with more is too heavy for a browser.
const SHOWN: usize = 60;

/// Maps that are drawn of a tensor, worst first.
const MAPS: usize = 3;

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Every tensor as it is at the end of all layers before it.
    pub comparison: &'a Comparison,
    /// Every layer by itself.
    pub local: Option<&'a Comparison>,
    /// What is to blame, tensor by tensor.
    pub verdicts: &'a [Verdict],
    /// Tensors that say a class per pixel.
    pub masks: &'a [Agreement],
    /// Names of the network's outputs; those that are pictures are shown.
    pub outputs: &'a [String],
    /// The reference's tensors with the first input.
    pub reference: &'a TensorSet,
    /// The other's tensors with the first input.
    pub other: &'a TensorSet,
}

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;margin:24px auto;max-width:1100px;padding:0 16px;color:#1c2330;background:#fff}\
h1{font-size:22px}h2{font-size:17px;margin-top:32px}h3{font-size:14px;margin:18px 0 6px;font-family:ui-monospace,monospace}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:3px 8px;text-align:right;border-bottom:1px solid #e3e6eb}\
th:first-child,td:first-child{text-align:left;font-family:ui-monospace,monospace;overflow-wrap:anywhere}\
tr.unequal td:first-child{color:#a32020}.scroll{overflow-x:auto}section{border-top:1px solid #e3e6eb;padding:4px 0 12px}\
figure{display:inline-block;margin:4px 18px 4px 0;vertical-align:top}figcaption{font-size:12px;color:#5a6472}\
svg text{font:10px system-ui,sans-serif;fill:#5a6472}.grid{stroke:#d5d9e0}.bar,.cumulative{fill:#2f6fb0}.local{fill:#e0913a}\
.exact{fill:#c3c8d0}.outline{fill:none;stroke:#c2571a;stroke-width:1.2}.covered{stroke:#a32020;stroke-dasharray:3 2}\
b.class{display:inline-block;width:10px;height:10px;margin-right:6px}img.map{image-rendering:pixelated;margin-right:4px}circle{fill:#2f6fb0;fill-opacity:.45}.key{font-size:12px;color:#5a6472}.key b{display:inline-block;width:10px;height:10px;margin:0 4px 0 12px}";

/// One self-contained page.
pub fn html(page: &Page<'_>) -> String {
    let Page { comparison, local, .. } = page;
    let (reference, other) = (escape(&comparison.reference), escape(&comparison.other));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{other} against {reference}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>{other} against {reference}</h1>\n"
    );
    let _ = write!(out, "<p id=\"verdict\">{}</p>\n{}", verdict(comparison), chart(comparison, *local));
    out.push_str(&causes(page.verdicts));
    out.push_str(&table(comparison, *local, page.verdicts));
    out.push_str(&pictures::section(page));
    out.push_str("<h2>Tensors that differ</h2>\n");
    let different: Vec<&Measure> = comparison.measures.iter().filter(|measure| !measure.equal).collect();
    if different.is_empty() {
        out.push_str("<p>None.</p>\n");
    }
    let shown = worst(&different);
    if shown.len() < different.len() {
        let _ = writeln!(out, "<p>The first, and of the others those with the most noise: {SHOWN} in all.</p>");
    }
    for measure in shown {
        out.push_str(&tensor(page, measure));
    }
    out + "</body></html>\n"
}

/// The first tensor, and of the others those with the most noise, in the order of execution.
fn worst<'m>(different: &[&'m Measure]) -> Vec<&'m Measure> {
    let noise = |at: &usize| different.get(*at).and_then(|measure| measure.sqnr_db).unwrap_or(f64::INFINITY);
    let mut order: Vec<usize> = (0..different.len()).collect();
    if let Some(others) = order.get_mut(1..) {
        others.sort_by(|a, b| noise(a).total_cmp(&noise(b)));
    }
    order.truncate(SHOWN);
    order.sort_unstable();
    order.into_iter().filter_map(|at| different.get(at).copied()).collect()
}

fn verdict(comparison: &Comparison) -> String {
    let count = comparison.measures.len();
    match comparison.first_difference() {
        None => format!("All {count} tensors are equal, bit for bit."),
        Some(first) => {
            let inputs =
                if comparison.inputs > 1 { format!(" with {} inputs", comparison.inputs) } else { String::new() };
            let differ = comparison.measures.iter().filter(|measure| !measure.equal).count();
            format!(
                "{differ} of {count} tensors differ{inputs}. The first in the order of execution is <code>{}</code>.",
                escape(&first.name)
            )
        }
    }
}

fn chart(comparison: &Comparison, local: Option<&Comparison>) -> String {
    let names: Vec<&str> = comparison.measures.iter().map(|measure| measure.name.as_str()).collect();
    let mut series = vec![("cumulative", comparison.measures.iter().map(|measure| measure.sqnr_db).collect())];
    if let Some(local) = local {
        series.push(("local", names.iter().map(|name| of(local, name).and_then(|of| of.sqnr_db)).collect()));
    }
    let key = if local.is_some() { "<b style=\"background:#e0913a\"></b>layer by itself" } else { "" };
    format!(
        "<h2>Signal to noise per tensor</h2><p class=\"key\"><b style=\"background:#2f6fb0\"></b>after all layers before it {key}\
         <b style=\"background:#c3c8d0\"></b>no difference</p><div class=\"scroll\" id=\"chart\">{}</div>\n",
        svg::layers(&names, &series, "dB")
    )
}

/// Tensors that are not good, each with its cause.
fn causes(verdicts: &[Verdict]) -> String {
    let bad: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.cause != Cause::Good).collect();
    if verdicts.is_empty() {
        return String::new();
    }
    let mut out = "<h2>Verdicts</h2>\n".to_owned();
    if bad.is_empty() {
        return out + "<p>Every tensor is near enough.</p>\n";
    }
    out.push_str("<ul id=\"verdicts\">\n");
    for verdict in bad {
        let _ = writeln!(out, "<li><code>{}</code>: {}</li>", escape(&verdict.name), escape(&sentence(verdict)));
    }
    out + "</ul>\n"
}

fn table(comparison: &Comparison, local: Option<&Comparison>, verdicts: &[Verdict]) -> String {
    let head = ["tensor", "shape", "elements", "different", "max LSB", "max abs", "SQNR dB", "cosine", "saturated"];
    let mut out = "<h2>Tensors</h2><div class=\"scroll\"><table id=\"tensors\"><thead><tr>".to_owned();
    let local_head = local.map(|_| "local dB");
    let verdict_head = (!verdicts.is_empty()).then_some("verdict");
    head.iter().copied().chain(local_head).chain(verdict_head).for_each(|name| {
        let _ = write!(out, "<th>{name}</th>");
    });
    out.push_str("</tr></thead><tbody>\n");
    for measure in &comparison.measures {
        let number =
            |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
        let class = if measure.equal { "equal" } else { "unequal" };
        let name = escape(&measure.name);
        let _ = write!(
            out,
            "<tr class=\"{class}\"><td>{name}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            measure.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
            measure.elements,
            measure.different,
            number(measure.max_lsb, 1),
            measure.max_abs.map_or("–".to_owned(), |value| format!("{value:.3e}")),
            decibels(measure.sqnr_db),
            number(measure.cosine, 6),
            measure.saturated.map_or("–".to_owned(), |share| format!("{:.2} %", share * 100.0)),
        );
        if let Some(local) = local {
            let _ = write!(out, "<td>{}</td>", decibels(of(local, &measure.name).and_then(|of| of.sqnr_db)));
        }
        if !verdicts.is_empty() {
            let name = judged(verdicts, &measure.name).map_or("–", |verdict| verdict.cause.name());
            let _ = write!(out, "<td>{name}</td>");
        }
        out.push_str("</tr>\n");
    }
    out + "</tbody></table></div>\n"
}

/// Pictures of one tensor.
fn tensor(page: &Page<'_>, measure: &Measure) -> String {
    let mut out = format!("<section class=\"tensor\"><h3>{}</h3>", escape(&measure.name));
    if let Some(first) = &measure.first {
        let _ = write!(
            out,
            "<p>{} of {} elements differ; the first is {:?}: {} instead of {}.</p>",
            measure.different, measure.elements, first.index, first.other, first.reference
        );
    }
    if !measure.histogram.is_empty() {
        let _ = write!(
            out,
            "<figure>{}<figcaption>elements by difference, logarithmic</figcaption></figure>",
            svg::histogram(&measure.histogram)
        );
    }
    if let Some(verdict) = judged(page.verdicts, &measure.name).filter(|verdict| verdict.cause != Cause::Good) {
        let _ = write!(out, "<p class=\"verdict\">{}</p>", escape(&sentence(verdict)));
    }
    let pair = page.reference.get(&measure.name).zip(page.other.get(&measure.name));
    if let Some((a, b)) = pair {
        let values = a.real(b.affine).or_else(|| stored(a)).zip(b.real(a.affine).or_else(|| stored(b)));
        if let Some((reference, other)) = values {
            let _ = write!(
                out,
                "<figure>{}<figcaption>values: reference filled, other as a line; \
                 the range of its integers between the bars</figcaption></figure>\
                 <figure>{}<figcaption>reference across, other up</figcaption></figure>",
                svg::distribution(&reference, &other, covered(b)),
                svg::scatter(&reference, &other)
            );
            let ordered = if b.model.axes().is_some() { b } else { a };
            out.push_str(&maps(ordered, &reference, &other));
        }
    }
    out + "</section>\n"
}

/// Smallest and largest real number that a tensor's integers stand for.
fn covered(tensor: &NamedTensor) -> Option<(f64, f64)> {
    let Affine { scale, zero } = tensor.affine?;
    let (low, high) = tensor.element.range()?;
    #[expect(clippy::cast_precision_loss, reason = "for drawing")]
    let real = |stored: i64| scale * stored.saturating_sub(zero) as f64;
    Some((real(low), real(high)))
}

#[expect(clippy::cast_precision_loss, reason = "for drawing")]
fn stored(tensor: &NamedTensor) -> Option<Vec<f64>> {
    Some(tensor.integers()?.into_iter().map(|value| value as f64).collect())
}

/// The channels that differ most, side by side with their difference.
fn maps(tensor: &NamedTensor, reference: &[f64], other: &[f64]) -> String {
    let Some(axes) = tensor.map_axes() else { return String::new() };
    let size = |axis: usize| tensor.shape.get(axis).and_then(|&extent| usize::try_from(extent).ok()).unwrap_or(0);
    let [rows, columns, channels] = axes.map(size);
    let inner = tensor.channels().1;
    if rows * columns < 4 || reference.len() < rows * columns * channels || other.len() < rows * columns * channels {
        return String::new();
    }
    let channel = |values: &[f64], channel: usize| -> Vec<f64> {
        let first = values.get(..rows * columns * channels).unwrap_or_default();
        first.chunks(inner).skip(channel).step_by(channels).flatten().copied().collect()
    };
    let distance = |at: usize| -> f64 {
        channel(reference, at).iter().zip(channel(other, at)).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let mut worst: Vec<(usize, f64)> =
        (0..channels).map(|at| (at, distance(at))).filter(|(_, noise)| *noise > 0.0).collect();
    worst.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut out = String::new();
    for (at, _) in worst.into_iter().take(MAPS) {
        let (a, b) = (channel(reference, at), channel(other, at));
        let range = extent(a.iter().chain(&b));
        let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).collect();
        let most = extent(difference.iter()).1;
        let _ = write!(
            out,
            "<figure class=\"maps\">{} {} {}<figcaption>channel {at}: reference, other, difference up to {most:.3e}</figcaption></figure>",
            svg::map(&a, rows, columns, range, "reference"),
            svg::map(&b, rows, columns, range, "other"),
            svg::map(&difference, rows, columns, (0.0, most), "difference"),
        );
    }
    out
}

fn extent<'v>(values: impl Iterator<Item = &'v f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}
