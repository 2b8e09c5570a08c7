//! Outputs that are pictures or masks of classes: both sides, and where they differ.

use std::fmt::Write;

use super::bitmap;
use super::page::Page;
use super::svg::escape;
use crate::masks::{Agreement, Kind, classes, kind, size};
use crate::tensors::NamedTensor;

/// Most pixels along a side that are drawn; of larger pictures every so many.
const MOST: usize = 256;
/// Least extent on the screen, so that small maps can be seen.
const LEAST_SHOWN: usize = 128;
/// Pixels of a mask that differ, and that do not.
const DIFFERENT: [u8; 3] = [0xc6, 0x28, 0x28];
const SAME: [u8; 3] = [0xe9, 0xec, 0xf0];

/// A section with every output that is a picture or a mask; nothing if there is none.
pub(super) fn section(page: &Page<'_>) -> String {
    let mut out = String::new();
    for tensor in &page.other.tensors {
        let mask = page.masks.iter().find(|agreement| agreement.name == tensor.name);
        let shown = if mask.is_some() { Some(Kind::Mask) } else { kind(tensor) };
        let (Some(kind), true) = (shown, mask.is_some() || page.outputs.contains(&tensor.name)) else { continue };
        if let Some(reference) = page.reference.get(&tensor.name) {
            let figures = match kind {
                Kind::Mask => of_masks(reference, tensor),
                Kind::Picture => of_pictures(reference, tensor),
            };
            let words =
                mask.map_or(String::new(), |mask| format!("<p>{}</p>{}", escape(&agreement(mask)), table(mask)));
            let _ =
                writeln!(out, "<section class=\"picture\"><h3>{}</h3>{words}{figures}</section>", escape(&tensor.name));
        }
    }
    if out.is_empty() { out } else { format!("<h2>Outputs</h2>\n{out}") }
}

/// How well two runs agree on a mask, in a line.
pub fn agreement(found: &Agreement) -> String {
    let worst = found.worst().map_or(String::new(), |(class, iou)| format!("; least: class {class} with IoU {iou:.4}"));
    format!(
        "mask {}: {:.3} % of {} pixels agree, mIoU {:.4} over {} classes{worst}",
        found.name,
        found.accuracy() * 100.0,
        found.pixels,
        found.mean_iou(),
        found.classes.len(),
    )
}

/// A row per class.
fn table(found: &Agreement) -> String {
    let mut out =
        "<div class=\"scroll\"><table class=\"classes\"><thead><tr><th>class</th><th>reference</th><th>other</th>\
                   <th>both</th><th>IoU</th></tr></thead><tbody>"
            .to_owned();
    for (class, pixels) in &found.classes {
        let [red, green, blue] = hue(*class);
        let _ = write!(
            out,
            "<tr><td><b class=\"class\" style=\"background:rgb({red},{green},{blue})\"></b>{class}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{:.4}</td></tr>",
            pixels.reference,
            pixels.other,
            pixels.both,
            pixels.iou()
        );
    }
    out + "</tbody></table></div>"
}

/// Rows and columns of a picture, and how it is thinned out.
#[derive(Clone, Copy)]
struct Frame {
    rows: usize,
    columns: usize,
    step: usize,
}

impl Frame {
    fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, step: rows.max(columns).div_ceil(MOST).max(1) }
    }

    /// The picture whose pixels `color` gives by their position in all of it.
    fn image(&self, title: &str, color: impl Fn(usize) -> [u8; 3]) -> String {
        let (down, across) = (self.rows.div_ceil(self.step), self.columns.div_ceil(self.step));
        let places = (0..down).flat_map(|y| (0..across).map(move |x| (y, x)));
        let pixels: Vec<[u8; 3]> = places.map(|(y, x)| color((y * self.columns + x) * self.step)).collect();
        let short = |extent: usize| u16::try_from(extent).unwrap_or(u16::MAX);
        let Some(uri) = bitmap::color(&pixels, short(down), short(across)) else { return String::new() };
        let scale = LEAST_SHOWN.div_ceil(down.max(across).max(1)).max(1);
        format!(
            "<figure><img class=\"map\" width=\"{}\" height=\"{}\" alt=\"{title}\" src=\"{uri}\"><figcaption>{title}</figcaption></figure>",
            across * scale,
            down * scale
        )
    }
}

fn of_masks(reference: &NamedTensor, other: &NamedTensor) -> String {
    let ordered = |tensor: &NamedTensor| {
        let model = if tensor.model.axes().is_some() { &tensor.model } else { &other.model };
        classes(&NamedTensor { model: model.clone(), ..tensor.clone() })
    };
    let (Some([rows, columns, _]), Some((a, b))) = (size(other), ordered(reference).zip(ordered(other))) else {
        return String::new();
    };
    let frame = Frame::new(rows, columns);
    let colors = |classes: &[i64], at: usize| classes.get(at).map_or(SAME, |&class| hue(class));
    let parts = [
        frame.image("reference", |at| colors(&a, at)),
        frame.image("other", |at| colors(&b, at)),
        frame.image(
            "difference: red where the classes differ",
            |at| if a.get(at) == b.get(at) { SAME } else { DIFFERENT },
        ),
    ];
    parts.concat()
}

fn of_pictures(reference: &NamedTensor, other: &NamedTensor) -> String {
    let real = reference.real(other.affine).zip(other.real(reference.affine));
    let (Some([rows, columns, channels]), Some((a, b))) = (size(other), real) else { return String::new() };
    let ordered = if other.model.axes().is_some() { other } else { reference };
    let inner = if channels == 1 { 1 } else { ordered.channels().1 };
    let element = |pixel: usize, channel: usize| {
        if inner == 1 { pixel * channels + channel } else { channel * rows * columns + pixel }
    };
    let first = rows * columns * channels;
    let both = || a.iter().take(first).chain(b.iter().take(first)).copied();
    let (low, high) = (both().fold(f64::INFINITY, f64::min), both().fold(f64::NEG_INFINITY, f64::max));
    let value =
        |values: &[f64], pixel: usize, channel: usize| values.get(element(pixel, channel)).copied().unwrap_or(low);
    let color = |values: &[f64], pixel: usize| {
        [0, 1, 2].map(|channel| shade(value(values, pixel, if channels < 3 { 0 } else { channel }), (low, high)))
    };
    let distance = |pixel: usize| -> f64 {
        (0..channels).map(|channel| (value(&a, pixel, channel) - value(&b, pixel, channel)).abs()).fold(0.0, f64::max)
    };
    let most = (0..rows * columns).map(distance).fold(0.0, f64::max);
    let frame = Frame::new(rows, columns);
    let parts = [
        frame.image("reference", |at| color(&a, at)),
        frame.image("other", |at| color(&b, at)),
        frame.image(&format!("difference, white is {most:.3e}"), |at| [shade(distance(at), (0.0, most)); 3]),
    ];
    parts.concat()
}

/// A value as 8 bits of brightness.
fn shade(value: f64, (low, high): (f64, f64)) -> u8 {
    let span = if high > low { high - low } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 8 bits")]
    let shade = ((value - low) / span * 255.0).round().clamp(0.0, 255.0) as u8;
    shade
}

/// A color for a class; neighbours are far apart.
fn hue(class: i64) -> [u8; 3] {
    /// Part of the circle from one class to the next: the golden section.
    const TURN: f64 = 0.618_033_988_75;
    if class == 0 {
        return [0x26, 0x2d, 0x38];
    }
    #[expect(clippy::cast_precision_loss, reason = "numbers of classes are small")]
    let angle = (class as f64 * TURN).rem_euclid(1.0);
    let channel = |shift: f64| {
        let distance = ((angle + shift).rem_euclid(1.0) - 0.5).abs() * 6.0;
        shade((distance - 1.0).clamp(0.0, 1.0) * 0.7 + 0.25, (0.0, 1.0))
    };
    [channel(0.0), channel(2.0 / 3.0), channel(1.0 / 3.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_colors_of_their_own() {
        let mut colors: Vec<[u8; 3]> = (0..32).map(hue).collect();
        colors.sort_unstable();
        colors.dedup();
        assert_eq!(colors.len(), 32);
    }

    #[test]
    fn large_pictures_are_thinned_out() {
        let frame = Frame::new(600, 300);
        assert_eq!((frame.step, frame.image("x", |_| SAME).contains("width=\"100\" height=\"200\"")), (3, true));
        assert!(Frame::new(2, 4).image("x", |_| SAME).contains("width=\"128\" height=\"64\""));
    }
}
