//! The charts of a page: cycles per layer, engines and scratchpad over time, roofline.

use std::fmt::Write;

use cnnip_compiler::{LayerProfile, Occupied, Span};
use cnnip_package::{Engine, EngineId};

use super::super::shortened;
use super::super::svg::{escape, open};
use super::{Cost, Row, grouped};

/// Width of every chart; what is left of the plot is for labels.
const WIDTH: f64 = 1180.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;

/// A number for drawing.
pub(super) fn real(number: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for drawing and rounding")]
    let number = number as f64;
    number
}

/// A part of a whole, in words.
pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * real(part) / real(whole.max(1)))
}

/// A linear axis of cycles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    cycles: u64,
}

impl Axis {
    pub(super) fn time(cycles: u64) -> Self {
        Self { cycles: cycles.max(1) }
    }

    fn x(&self, cycle: u64) -> f64 {
        LEFT + real(cycle) / real(self.cycles) * (WIDTH - LEFT - RIGHT)
    }

    /// Vertical lines at round numbers of cycles down to `bottom`, with their numbers and times.
    fn grid(&self, cost: &Cost<'_>, bottom: f64) -> String {
        let step = round_step(self.cycles);
        let mut out = String::new();
        for cycle in (0..=self.cycles / step).map(|number| number * step) {
            let x = self.x(cycle);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1} µs</text>",
                bottom + 14.0,
                grouped(cycle),
                bottom + 27.0,
                cost.microseconds(cycle),
            );
        }
        out
    }
}

/// A step of 1, 2 or 5 times a power of ten, with 5 to 12 steps in `whole`.
fn round_step(whole: u64) -> u64 {
    let mut power = 1_u64;
    while whole / power > 100 {
        power = power.saturating_mul(10);
    }
    [1, 2, 5, 10]
        .into_iter()
        .map(|factor| power.saturating_mul(factor))
        .find(|step| whole / step <= 12)
        .unwrap_or(power)
}

/// A bar per layer: its cycles.
pub(super) fn layers(cost: &Cost<'_>) -> String {
    const HEIGHT: f64 = 190.0;
    const NAMES: f64 = 130.0;
    let rows: Vec<Row<'_>> = cost.rows().collect();
    let count = real(u64::try_from(rows.len()).unwrap_or(u64::MAX)).max(1.0);
    let each = ((WIDTH - LEFT - RIGHT) / count).clamp(11.0, 40.0);
    let most = rows.iter().map(|row| row.of.elapsed).max().unwrap_or(0).max(1);
    let y = |cycles: u64| HEIGHT - real(cycles) / real(most) * (HEIGHT - 10.0);
    let mut out = open("layers", (LEFT + each * count + RIGHT).max(300.0), HEIGHT + NAMES, "cycles per layer");
    let step = round_step(most).saturating_mul(2);
    for cycles in (0..=most / step).map(|number| number * step) {
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/><text x=\"{2:.1}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{4}</text>",
            LEFT + each * count,
            y(cycles),
            LEFT - 6.0,
            y(cycles) + 4.0,
            grouped(cycles)
        );
    }
    let mut x = LEFT;
    for Row { name, operator, of, .. } in rows {
        let core = if cost.is_shared() { format!(", core {}", super::place(of)) } else { String::new() };
        let _ = write!(
            out,
            "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{} ({}{core}): {} cycles, {} of all; {}</title></rect>\
             <text text-anchor=\"end\" transform=\"translate({:.1} {:.1}) rotate(-60)\">{}</text>",
            of.bound().name(),
            x + 1.5,
            y(of.elapsed),
            each - 3.0,
            HEIGHT - y(of.elapsed),
            escape(name),
            escape(operator),
            grouped(of.elapsed),
            percent(of.elapsed, cost.elapsed()),
            escape(&of.plan),
            x + each / 2.0 + 3.0,
            HEIGHT + 10.0,
            escape(&shortened(name, 20)),
        );
        x += each;
    }
    out + "</svg>"
}

/// The engines that have lanes: those of all cores.
fn engines(cost: &Cost<'_>) -> Vec<EngineId> {
    let cores = (0..=u8::MAX).zip(&cost.profile.total.cores);
    let engines = |core| [Engine::Cnn, Engine::Dma0, Engine::Dma1].map(|engine| EngineId { core, engine });
    cores.flat_map(|(core, _)| engines(core)).collect()
}

/// Lanes of the engines, with a rectangle for every run of operations of one layer.
pub(super) fn timeline(cost: &Cost<'_>, time: &Axis) -> String {
    const LANE: f64 = 34.0;
    let engines = engines(cost);
    let bottom = LANE * real(engines.len().try_into().unwrap_or(u64::MAX));
    let mut out = open("timeline", WIDTH, bottom + 32.0, "engines over time");
    out.push_str(&time.grid(cost, bottom));
    for (number, engine) in (0..).map(real).zip(engines) {
        let top = LANE * number + 4.0;
        let title = if cost.is_shared() { engine.to_string() } else { engine.engine.to_string() };
        let spans: Vec<Span> = cost.profile.spans.iter().copied().filter(|span| span.engine == engine).collect();
        let busy: u64 = spans.iter().map(|span| span.end - span.start).sum();
        let _ = write!(
            out,
            "<text x=\"4\" y=\"{:.1}\">{title}</text><text x=\"4\" y=\"{:.1}\">{}</text>",
            top + 11.0,
            top + 24.0,
            percent(busy, cost.profile.total.cycles)
        );
        for span in joined(&spans, time) {
            let wide = (time.x(span.end) - time.x(span.start)).max(0.3);
            let _ = write!(
                out,
                "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {title}, cycles {} to {}</title></rect>",
                time.x(span.start),
                LANE - 8.0,
                color(span.layer),
                escape(name(cost, span.layer)),
                grouped(span.start),
                grouped(span.end),
            );
        }
    }
    out + "</svg>"
}

/// Spans of one layer as one where the gap between them cannot be seen.
fn joined(spans: &[Span], time: &Axis) -> Vec<Span> {
    const UNSEEN: f64 = 0.4;
    let mut joined: Vec<Span> = vec![];
    for &span in spans {
        match joined.last_mut() {
            Some(last) if last.layer == span.layer && time.x(span.start) - time.x(last.end) < UNSEEN => {
                last.end = span.end
            }
            _ => joined.push(span),
        }
    }
    joined
}

fn name<'a>(cost: &Cost<'a>, layer: usize) -> &'a str {
    cost.network.layers.get(layer).map_or("", |layer| layer.name.as_str())
}

/// A colour of a layer: neighbours are far apart on the circle of hues.
fn color(layer: usize) -> String {
    format!("hsl({} 55% {}%)", layer * 137 % 360, 48 + layer % 3 * 7)
}

/// The top of the address axis: not far above the highest byte that is used on any core.
fn highest(cost: &Cost<'_>) -> u64 {
    const LEAST: u64 = 16 << 10;
    let used = cost.profile.scratchpad.iter().map(|part| part.address + part.bytes).max().unwrap_or(0);
    used.next_power_of_two().max(LEAST).min(u64::from(cost.target.sram_bytes).max(1))
}

/// Rectangles of bytes and cycles in a core's scratchpad.
pub(super) fn scratchpad(cost: &Cost<'_>, core: u8, time: &Axis) -> String {
    const HEIGHT: f64 = 240.0;
    let top = highest(cost);
    let y = |address: u64| HEIGHT - real(address.min(top)) / real(top) * (HEIGHT - 6.0);
    let mut out = open("scratchpad", WIDTH, HEIGHT + 32.0, "scratchpad over time");
    out.push_str(&time.grid(cost, HEIGHT));
    for quarter in 0..=4 {
        let address = top / 4 * quarter;
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/><text x=\"{2:.1}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{4} KiB</text>",
            WIDTH - RIGHT,
            y(address),
            LEFT - 6.0,
            y(address) + 4.0,
            address / 1024
        );
    }
    if cost.is_shared() {
        let _ = write!(out, "<text x=\"{:.1}\" y=\"12\" text-anchor=\"end\">core {core}</text>", WIDTH - RIGHT - 4.0);
    }
    let here = cost.profile.scratchpad.iter().filter(|part| part.core == core);
    for Occupied { name: what, layer, address, bytes, start, end, .. } in here {
        let class = match (layer, what.as_str()) {
            (None, _) => "stays",
            (Some(_), known @ ("input" | "weights" | "output")) => known,
            _ => "other",
        };
        let of = layer.map_or(String::new(), |layer| format!(" of {}", name(cost, layer)));
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill-opacity=\"0.85\" stroke=\"#fff\" \
             stroke-width=\"0.3\"><title>{}{}: {} bytes at {address:#x}, cycles {} to {}</title></rect>",
            time.x(*start),
            y(address + bytes),
            (time.x(*end) - time.x(*start)).max(0.3),
            (y(*address) - y(address + bytes)).max(0.3),
            escape(what),
            escape(&of),
            grouped(*bytes),
            grouped(*start),
            grouped(*end),
        );
    }
    out + "</svg>"
}

/// A logarithmic axis from one length on the page to another.
struct Log {
    from: f64,
    to: f64,
    first: f64,
    last: f64,
}

impl Log {
    /// Whole powers of ten around the values.
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((1.0, 1.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        Self { from, to, first: low.log10().floor(), last: high.log10().ceil().max(low.log10().floor() + 1.0) }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(f64::MIN_POSITIVE).log10() - self.first) / (self.last - self.first);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn powers(&self) -> impl Iterator<Item = f64> + use<> {
        let (first, last) = (self.first, self.last);
        (-12..=12).map(f64::from).filter(move |power| (first..=last).contains(power)).map(|power| 10_f64.powf(power))
    }
}

/// A layer as a point: MACs per byte moved, MACs per cycle.
struct Point<'a> {
    row: Row<'a>,
    intensity: f64,
    rate: f64,
}

/// MACs per cycle against MACs per byte, and what the machine allows.
pub(super) fn roofline(cost: &Cost<'_>) -> String {
    const HEIGHT: f64 = 320.0;
    let peak = real(cost.profile.lanes).max(1.0);
    let bandwidth = f64::from(cost.target.dma_bytes_per_cycle) * f64::from(cost.target.dma_engines);
    let points: Vec<Point<'_>> = cost.rows().filter(|row| row.of.macs > 0).map(point).collect();
    let x = Log::around(points.iter().map(|point| point.intensity).chain([peak / bandwidth]), LEFT, WIDTH - RIGHT);
    let y = Log::around(points.iter().map(|point| point.rate).chain([peak]), HEIGHT, 10.0);
    let mut out = open("roofline", WIDTH, HEIGHT + 34.0, "roofline");
    out.push_str(&log_grid(&x, &y));
    let ridge = peak / bandwidth;
    let start = 10_f64.powf(x.first).max(10_f64.powf(y.first) / bandwidth);
    let _ = write!(
        out,
        "<path class=\"roof\" d=\"M{:.1} {:.1}L{:.1} {:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{peak} MACs per cycle</text>\
         <text x=\"{:.1}\" y=\"{:.1}\">{bandwidth} bytes per cycle</text>",
        x.at(start),
        y.at(start * bandwidth),
        x.at(ridge),
        y.at(peak),
        WIDTH - RIGHT,
        WIDTH - RIGHT - 4.0,
        y.at(peak) - 5.0,
        x.at(start) + 60.0,
        y.at(start * bandwidth) - 2.0,
    );
    let most = points.iter().map(|point| point.row.of.elapsed).max().unwrap_or(1).max(1);
    for Point { row, intensity, rate } in points {
        let _ = write!(
            out,
            "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{:.1}\" fill-opacity=\"0.6\"><title>{}: {rate:.0} MACs per cycle, {intensity:.1} \
             MACs per byte, {} cycles</title></circle>",
            row.of.bound().name(),
            x.at(intensity),
            y.at(rate),
            2.5 + 10.0 * (real(row.of.elapsed) / real(most)).sqrt(),
            escape(row.name),
            grouped(row.of.elapsed),
        );
    }
    out + "</svg>"
}

/// Cycles of a layer, or those of its busiest engine if that has worked ahead of the layer.
fn at_work(of: &LayerProfile) -> u64 {
    of.dma_cycles.into_iter().chain([of.elapsed, of.cnn_cycles]).max().unwrap_or(0)
}

fn point(row: Row<'_>) -> Point<'_> {
    let (macs, bytes) = (real(row.of.macs), real(row.of.external_bytes().max(1)));
    Point { intensity: macs / bytes, rate: macs / real(at_work(row.of).max(1)), row }
}

fn log_grid(x: &Log, y: &Log) -> String {
    let mut out = String::new();
    for power in x.powers() {
        let at = x.at(power);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{power}</text>",
            y.to,
            y.from,
            y.from + 14.0
        );
    }
    for power in y.powers() {
        let at = y.at(power);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{power}</text>",
            x.from,
            x.to,
            x.from - 6.0,
            at + 4.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">MACs per byte moved</text>",
        x.to,
        y.from + 28.0
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!([1, 9, 12, 100, 1234, 391_704].map(round_step), [1, 1, 1, 10, 100, 50_000]);
    }

    #[test]
    fn logarithms_reach_from_power_to_power() {
        let axis = Log::around([3.0, 250.0].into_iter(), 0.0, 300.0);
        assert_eq!((axis.at(1.0), axis.at(10.0), axis.at(1000.0)), (0.0, 100.0, 300.0));
        assert_eq!(axis.powers().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1000.0]);
    }
}
