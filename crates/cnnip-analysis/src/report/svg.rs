//! Small charts as SVG: nothing is loaded, nothing runs.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::bitmap;

/// Text as HTML and XML take it.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// The first tag of a picture.
pub(super) fn open(class: &str, width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg class=\"{class}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\"><title>{}</title>",
        escape(title)
    )
}

/// A series of a chart over layers: class of its bars, and a value per layer.
pub(super) type Series<'a> = (&'a str, Vec<Option<f64>>);

/// Bars per layer, from 0 up; an infinite value is a full bar in grey.
pub(super) fn layers(names: &[&str], series: &[Series<'_>], unit: &str) -> String {
    let (left, height, label, each) = (48.0, 180.0, 130.0, 22.0);
    let finite = |value: &Option<f64>| value.filter(|value| value.is_finite());
    let top = series.iter().flat_map(|(_, values)| values.iter().filter_map(finite)).fold(1.0_f64, f64::max);
    let count = usize_f64(names.len());
    let digits = usize::from(top < 10.0);
    let mut out = open("layers", left + each * count + 10.0, height + label, unit);
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let y = 10.0 + (height - 10.0) * (1.0 - share);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{:.digits$}</text>",
            left + each * count,
            left - 5.0,
            y + 4.0,
            top * share
        );
    }
    let bar = (each - 6.0) / usize_f64(series.len().max(1));
    for (at, name) in names.iter().enumerate() {
        let x = left + each * usize_f64(at) + 3.0;
        for (number, (class, values)) in series.iter().enumerate() {
            let Some(value) = values.get(at).copied().flatten() else { continue };
            let share = if value.is_finite() { (value / top).clamp(0.0, 1.0) } else { 1.0 };
            let tall = ((height - 10.0) * share).max(1.0);
            let class = if value.is_finite() { class } else { "exact" };
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{tall:.1}\"><title>{}: {value:.1} {}</title></rect>",
                x + bar * usize_f64(number),
                height - tall,
                escape(name),
                escape(unit)
            );
        }
        let (tx, ty) = (x + each / 2.0, height + 8.0);
        let _ = write!(
            out,
            "<text class=\"name\" text-anchor=\"end\" transform=\"translate({tx:.1} {ty:.1}) rotate(-60)\">{}</text>",
            escape(&short(name))
        );
    }
    out + "</svg>"
}

fn short(name: &str) -> String {
    let length = name.chars().count();
    if length <= 22 { name.to_owned() } else { format!("…{}", name.chars().skip(length - 21).collect::<String>()) }
}

/// Elements by difference, on a logarithmic axis.
pub(super) fn histogram(bars: &BTreeMap<i64, u64>) -> String {
    let (width, height) = (220.0, 90.0);
    let most = bars.values().copied().max().unwrap_or(1);
    let (low, high) =
        (bars.keys().next().copied().unwrap_or(0).min(-3), bars.keys().last().copied().unwrap_or(0).max(3));
    let slots = i64_f64(high - low + 1);
    let each = width / slots;
    let mut out = open("histogram", width, height + 16.0, "elements by difference in LSB");
    for (&lsb, &count) in bars {
        let tall = (log(count) / log(most)).clamp(0.0, 1.0) * height;
        let x = i64_f64(lsb - low) * each;
        let class = if lsb == 0 { "exact" } else { "bar" };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{lsb} LSB: {count}</title></rect>",
            height - tall,
            (each - 1.0).max(0.5)
        );
    }
    let _ = write!(
        out,
        "<text x=\"0\" y=\"{0}\">{low}</text><text x=\"{width}\" y=\"{0}\" text-anchor=\"end\">{high} LSB</text>",
        height + 13.0
    );
    out + "</svg>"
}

/// How values are distributed: the reference's filled, the other's as a line, and the ends of the range that integers cover.
pub(super) fn distribution(reference: &[f64], other: &[f64], covered: Option<(f64, f64)>) -> String {
    const BINS: usize = 64;
    let (width, height) = (260.0, 90.0);
    let ends = covered.map_or(vec![], |(low, high)| vec![low, high]);
    let all = || reference.iter().chain(other).chain(&ends).copied();
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let span = if high > low { high - low } else { 1.0 };
    let count = |values: &[f64]| {
        let mut bins = vec![0_u64; BINS];
        for value in values {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins")]
            let bin = ((value - low) / span * usize_f64(BINS)).clamp(0.0, usize_f64(BINS - 1)) as usize;
            bins[bin] += 1;
        }
        bins
    };
    let (a, b) = (count(reference), count(other));
    let most = a.iter().chain(&b).copied().max().unwrap_or(1);
    let tall = |count: u64| if count == 0 { 0.0 } else { (log(count) / log(most)).clamp(0.0, 1.0) * height };
    let each = width / usize_f64(BINS);
    let mut out = open("distribution", width, height + 16.0, "values by number, logarithmic");
    for (at, &count) in a.iter().enumerate().filter(|(_, count)| **count > 0) {
        let _ = write!(
            out,
            "<rect class=\"exact\" x=\"{:.1}\" y=\"{:.1}\" width=\"{each:.1}\" height=\"{:.1}\"/>",
            each * usize_f64(at),
            height - tall(count),
            tall(count)
        );
    }
    let line = b.iter().enumerate().map(|(at, &count)| {
        let (x, y) = (each * usize_f64(at), height - tall(count));
        format!("{x:.1},{y:.1} {:.1},{y:.1}", x + each)
    });
    let _ = write!(out, "<polyline class=\"outline\" points=\"{}\"/>", line.collect::<Vec<_>>().join(" "));
    for end in ends {
        let x = (end - low) / span * width;
        let _ = write!(out, "<line class=\"covered\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height}\"/>");
    }
    let _ = write!(
        out,
        "<text x=\"0\" y=\"{0}\">{low:.3}</text><text x=\"{width}\" y=\"{0}\" text-anchor=\"end\">{high:.3}</text>",
        height + 13.0
    );
    out + "</svg>"
}

/// Logarithm that gives a single element a visible bar.
fn log(count: u64) -> f64 {
    (1.0 + i64_f64(i64::try_from(count).unwrap_or(i64::MAX))).ln()
}

/// Reference across, other up, at most `MOST_POINTS` evenly chosen elements.
pub(super) fn scatter(reference: &[f64], other: &[f64]) -> String {
    const MOST_POINTS: usize = 500;
    let size = 150.0;
    let all = || reference.iter().chain(other).copied();
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let span = if high > low { high - low } else { 1.0 };
    let place = |value: f64| 2.0 + (value - low) / span * (size - 4.0);
    let mut out = open("scatter", size, size, "reference across, other up");
    let _ = write!(out, "<line class=\"grid\" x1=\"2\" y1=\"{0}\" x2=\"{0}\" y2=\"2\"/>", size - 2.0);
    let step = reference.len().div_ceil(MOST_POINTS).max(1);
    for (a, b) in reference.iter().zip(other).step_by(step) {
        let _ = write!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.2\"/>", place(*a), size - place(*b));
    }
    out + "</svg>"
}

/// A map of rows and columns in grey, from the smallest to the largest value; every so many elements of a large one.
pub(super) fn map(values: &[f64], rows: usize, columns: usize, (low, high): (f64, f64), title: &str) -> String {
    const MOST: usize = 32;
    const SIZE: f64 = 96.0;
    let step = rows.max(columns).div_ceil(MOST).max(1);
    let (across, down) = (columns.div_ceil(step), rows.div_ceil(step));
    let cell = SIZE / usize_f64(across.max(down).max(1));
    let span = if high > low { high - low } else { 1.0 };
    let grey = |value: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 8 bits")]
        let grey = ((value - low) / span * 255.0).round().clamp(0.0, 255.0) as u8;
        grey
    };
    let places = (0..down).flat_map(|y| (0..across).map(move |x| y * step * columns + x * step));
    let greys: Vec<u8> = places.map(|at| grey(values.get(at).copied().unwrap_or(low))).collect();
    let short = |extent: usize| u16::try_from(extent).unwrap_or(u16::MAX);
    let Some(uri) = bitmap::grey(&greys, short(down), short(across)) else { return String::new() };
    let (width, height, title) = (cell * usize_f64(across), cell * usize_f64(down), escape(title));
    format!(
        "<img class=\"map\" width=\"{width:.0}\" height=\"{height:.0}\" alt=\"{title}\" title=\"{title}\" src=\"{uri}\">"
    )
}

#[expect(clippy::cast_precision_loss, reason = "for drawing")]
fn usize_f64(value: usize) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "for drawing")]
fn i64_f64(value: i64) -> f64 {
    value as f64
}
