//! A comparison for people and for spreadsheets: table, CSV, and a page that needs nothing from elsewhere.

mod bitmap;
pub mod cost;
mod page;
mod pictures;
mod svg;

use std::fmt::Write;

use crate::compare::{Comparison, Measure};
use crate::verdict::{Cause, Verdict};

pub use page::{Page, html};
pub use pictures::agreement as mask;

/// Tensors of one side that the table names.
const SKIPPED: usize = 12;

/// One line per tensor, then one per tensor that is not good.
pub fn table(comparison: &Comparison, local: Option<&Comparison>, verdicts: &[Verdict]) -> String {
    let widest = comparison.measures.iter().map(|measure| measure.name.chars().count()).max().unwrap_or(0);
    let width = widest.clamp(6, 48);
    let mut out = format!(
        "{:<width$} {:>10} {:>10} {:>8} {:>10} {:>8} {:>9} {:>6}{}\n",
        "tensor",
        "elements",
        "different",
        "max LSB",
        "max abs",
        "SQNR dB",
        "cosine",
        "sat %",
        if local.is_some() { "  local dB" } else { "" },
    );
    for measure in &comparison.measures {
        let Measure { name, elements, different, .. } = measure;
        let local =
            local.map_or(String::new(), |local| format!(" {:>9}", decibels(of(local, name).and_then(|of| of.sqnr_db))));
        let _ = writeln!(
            out,
            "{:<width$} {elements:>10} {different:>10} {:>8} {:>10} {:>8} {:>9} {:>6}{local}",
            shortened(name, width),
            rounded(measure.max_lsb, 1),
            significant(measure.max_abs),
            decibels(measure.sqnr_db),
            rounded(measure.cosine, 6),
            rounded(measure.saturated.map(|share| share * 100.0), 1),
        );
    }
    let _ = match comparison.first_difference() {
        None => writeln!(out, "all {} tensors are equal, bit for bit", comparison.measures.len()),
        Some(first) => {
            let differ = comparison.measures.iter().filter(|measure| !measure.equal).count();
            let inputs =
                if comparison.inputs > 1 { format!(" with {} inputs", comparison.inputs) } else { String::new() };
            writeln!(out, "{differ} of {} tensors differ{inputs}, first `{}`", comparison.measures.len(), first.name)
        }
    };
    if !comparison.skipped.is_empty() {
        let named: Vec<&str> = comparison.skipped.iter().take(SKIPPED).map(String::as_str).collect();
        let more = comparison.skipped.len() - named.len();
        let more = if more > 0 { format!(" and {more} more (--json lists all)") } else { String::new() };
        let _ = writeln!(out, "made by one side only: {}{more}", named.join(", "));
    }
    for verdict in verdicts.iter().filter(|verdict| verdict.cause != Cause::Good) {
        let _ = writeln!(out, "{}: {}", verdict.name, sentence(verdict));
    }
    out
}

/// A verdict in words.
pub(crate) fn sentence(verdict: &Verdict) -> String {
    let Verdict { cause, observed, covered, clipped, .. } = verdict;
    let range = |(low, high): (f64, f64)| format!("{low:.4} to {high:.4}");
    let db = |value: f64| decibels(Some(value));
    format!(
        "{}: {} dB, {} dB in the middle channel; observed {}, covered {}, {:.2} % clipped; expected {} dB with the observed \
         range, {} dB with 16 bits: {}",
        cause.name(),
        db(verdict.measured_db),
        db(verdict.channel_db),
        range(*observed),
        range(*covered),
        clipped * 100.0,
        db(verdict.recalibrated_db),
        db(verdict.int16_db),
        cause.advice(),
    )
}

/// The verdict on a tensor.
pub(crate) fn judged<'v>(verdicts: &'v [Verdict], name: &str) -> Option<&'v Verdict> {
    verdicts.iter().find(|verdict| verdict.name == name)
}

/// The measure of a tensor.
pub(crate) fn of<'c>(comparison: &'c Comparison, name: &str) -> Option<&'c Measure> {
    comparison.measures.iter().find(|measure| measure.name == name)
}

fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(length + 1 - width).collect::<String>())
    }
}

fn rounded(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn significant(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| if value == 0.0 { "0".to_owned() } else { format!("{value:.3e}") })
}

/// A ratio in decibels, as short as a table wants it.
pub(crate) fn decibels(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.is_infinite() => {
            if value > 0.0 {
                "inf".to_owned()
            } else {
                "-inf".to_owned()
            }
        }
        Some(value) => format!("{value:.1}"),
    }
}

/// The header, then one row per tensor; a ratio without noise is `inf`, what does not apply is empty.
pub fn csv(comparison: &Comparison, local: Option<&Comparison>, verdicts: &[Verdict]) -> String {
    let mut out = "tensor,elements,equal,different,max_lsb,max_abs,sqnr_db,cosine,saturated,local_sqnr_db,\
                   verdict,observed_min,observed_max,covered_min,covered_max,clipped,grid_db,channel_db,recalibrated_db,int16_db\n"
        .to_owned();
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for measure in &comparison.measures {
        let alone = local.and_then(|local| of(local, &measure.name)).and_then(|of| of.sqnr_db);
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{}",
            field(&measure.name),
            measure.elements,
            measure.equal,
            measure.different,
            number(measure.max_lsb),
            number(measure.max_abs),
            number(measure.sqnr_db),
            number(measure.cosine),
            number(measure.saturated),
            number(alone),
            fields(judged(verdicts, &measure.name)),
        );
    }
    out
}

/// The fields of a verdict; empty ones if there is none.
fn fields(verdict: Option<&Verdict>) -> String {
    let Some(verdict) = verdict else { return ",".repeat(9) };
    let Verdict { cause, observed, covered, clipped, grid_db, channel_db, recalibrated_db, int16_db, .. } = verdict;
    let ratios = [*clipped, *grid_db, *channel_db, *recalibrated_db, *int16_db];
    let numbers = [observed.0, observed.1, covered.0, covered.1].into_iter().chain(ratios);
    let numbers = numbers.map(|number| number.to_string());
    [cause.name().to_owned()].into_iter().chain(numbers).collect::<Vec<_>>().join(",")
}

/// A field of RFC 4180: in quotes where it needs them.
fn field(text: &str) -> String {
    let plain = !text.contains([',', '"', '\n', '\r']);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NamedTensor, TensorSet, compare};
    use cnnip_package::{ElementType, SourceTensor};

    fn set(values: &[i8]) -> TensorSet {
        let tensor = NamedTensor {
            name: "a,\"b\"".into(),
            shape: vec![1, 2, 2, 1],
            element: ElementType::Int8,
            affine: Some(crate::Affine { scale: 0.5, zero: 0 }),
            bytes: values.iter().map(|value| value.cast_unsigned()).collect(),
            model: SourceTensor::Same,
        };
        TensorSet { name: "<set>".into(), tensors: vec![tensor], absent: vec![] }
    }

    #[test]
    fn table_and_csv_have_a_line_per_tensor() {
        let (a, b) = (set(&[1, 2, 3, 4]), set(&[1, 2, 3, 5]));
        let comparison = compare(&a, &b).unwrap();
        let text = table(&comparison, None, &[]);
        assert!(text.contains("1 of 1 tensors differ, first `a,\"b\"`"), "{text}");
        assert_eq!(
            csv(&comparison, None, &[]).lines().nth(1).map(|line| line.starts_with("\"a,\"\"b\"\"\",4,false,1,1,0.5,")),
            Some(true)
        );
    }

    #[test]
    fn the_page_escapes_names_and_needs_nothing_from_elsewhere() {
        let (a, b) = (set(&[1, 2, 3, 4]), set(&[1, 2, 3, 5]));
        let comparison = compare(&a, &b).unwrap();
        let (reference, other) = (&a, &b);
        let page =
            Page { comparison: &comparison, local: None, verdicts: &[], masks: &[], outputs: &[], reference, other };
        let page = html(&page);
        assert!(page.contains("a,&quot;b&quot;") && page.contains("&lt;set&gt;") && !page.contains("<set>"));
        let outside = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http") && !outside.contains("<script"), "nothing is loaded");
    }
}
