//! What a compiled network costs, layer by layer: a table, and a page that needs nothing from elsewhere.

mod charts;

use std::collections::BTreeMap;
use std::fmt::Write;

use cnnip_compiler::{Bound, LayerProfile, Profile};
use cnnip_isa::Target;
use cnnip_lowered::Network;

use super::shortened;
use super::svg::escape;
use charts::{Axis, percent, real};

/// What is told of a network.
#[derive(Clone, Copy, Debug)]
pub struct Cost<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The machine it was compiled for.
    pub target: &'a Target,
    /// Its layers, as the cores do them.
    pub network: &'a Network,
    /// What they take.
    pub profile: &'a Profile,
    /// Signal to noise in dB of tensors by name, a float model being the signal, where that was measured.
    pub quality: &'a BTreeMap<String, f64>,
}

/// A layer with its name.
struct Row<'a> {
    name: &'a str,
    operator: &'a str,
    of: &'a LayerProfile,
    /// Signal to noise of what it writes.
    quality: Option<f64>,
}

impl<'a> Cost<'a> {
    fn rows(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let Self { network, profile, quality, .. } = *self;
        profile.layers.iter().filter_map(move |of| {
            let layer = network.layers.get(of.layer)?;
            let output = network.values.get(layer.work.writes().0)?;
            Some(Row { name: &layer.name, operator: &layer.operator, of, quality: quality.get(&output.name).copied() })
        })
    }

    /// Whether several cores are at work.
    fn is_shared(&self) -> bool {
        self.profile.total.cores.len() > 1
    }

    /// Cycles of all layers on all cores.
    fn elapsed(&self) -> u64 {
        self.profile.layers.iter().map(|layer| layer.elapsed).sum()
    }

    /// Signal to noise of what a layer writes, by the layer's index.
    pub fn quality_of(&self, layer: usize) -> Option<f64> {
        self.rows().find(|row| row.of.layer == layer)?.quality
    }

    /// Time of some cycles at the target's clock, in microseconds.
    fn microseconds(&self, cycles: u64) -> f64 {
        real(cycles) / f64::from(self.target.clock_mhz)
    }

    /// The network in a few words, each with its figure.
    fn headline(&self) -> Vec<(&'static str, String)> {
        let Profile { total, layers, .. } = self.profile;
        let by_dma = layers.iter().filter(|layer| layer.bound() == Bound::Dma).map(|layer| layer.elapsed);
        vec![
            ("cycles (estimate)", grouped(total.cycles)),
            ("at the target's clock", format!("{:.3} ms", self.microseconds(total.cycles) / 1000.0)),
            ("MACs", grouped(total.macs)),
            ("of the MAC array", percent(total.macs, total.capacity)),
            ("MACs on the host", percent(total.host_macs, total.macs)),
            ("parameters", grouped(self.profile.parameters)),
            ("bytes loaded", grouped(total.loaded_bytes)),
            ("bytes stored", grouped(total.stored_bytes)),
            ("most scratchpad", percent(total.scratchpad_bytes, self.target.sram_bytes.into())),
            ("of the cycles in layers bound by DMA", percent(by_dma.sum(), self.elapsed())),
        ]
    }
}

/// The core that does a layer, and which part of it.
fn place(of: &LayerProfile) -> String {
    let part = of.part.as_ref().map(|(axis, range)| format!(" {} {}..{}", axis.name(), range.start, range.end));
    of.core.to_string() + &part.unwrap_or_default()
}

/// One line per layer, and one for all.
pub fn table(cost: &Cost<'_>) -> String {
    let widest = cost.rows().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let width = widest.clamp(6, 40);
    let cores = |text: &str| if cost.is_shared() { format!("{text:<22} ") } else { String::new() };
    let mut out = format!(
        "{:<width$} {:<20} {}{:>14} {:>11} {:>6} {:>6} {:>7} {:>11} {:>11} {:>9} {:>11} {:>6}\n",
        "layer",
        "operator",
        cores("core"),
        "MACs",
        "cycles",
        "%",
        "use %",
        "bound",
        "loaded",
        "stored",
        "SRAM",
        "parameters",
        "dB"
    );
    let all = cost.elapsed();
    for Row { name, operator, of, quality } in cost.rows() {
        let _ = writeln!(
            out,
            "{:<width$} {operator:<20} {}{:>14} {:>11} {:>6.1} {:>6.1} {:>7} {:>11} {:>11} {:>9} {:>11} {:>6}",
            shortened(name, width),
            cores(&place(of)),
            of.macs,
            of.elapsed,
            share(of.elapsed, all),
            real(of.array_use(cost.profile.lanes)) / 10.0,
            of.bound().name(),
            of.loaded_bytes,
            of.stored_bytes,
            of.scratchpad_bytes,
            of.parameters,
            super::decibels(quality),
        );
    }
    let line = |(name, value): (&str, String)| format!("{value} {name}");
    let facts: Vec<String> = cost.headline().into_iter().map(line).collect();
    out + &facts.join(", ") + "\n"
}

/// A part of a whole in percent.
fn share(part: u64, whole: u64) -> f64 {
    100.0 * real(part) / real(whole.max(1))
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;margin:24px auto;max-width:1180px;padding:0 16px;color:#1c2330;background:#fff}\
h1{font-size:22px}h2{font-size:17px;margin:32px 0 4px}p{margin:4px 0 10px;color:#5a6472}\
dl{display:grid;grid-template-columns:repeat(5,1fr);gap:12px;margin:12px 0}dl div{border:1px solid #e3e6eb;border-radius:6px;padding:8px 10px}\
dt{font-size:12px;color:#5a6472}dd{margin:0;font-size:17px;font-variant-numeric:tabular-nums}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:12.5px}th,td{padding:3px 7px;text-align:right;border-bottom:1px solid #e3e6eb;white-space:nowrap}\
th{position:sticky;top:0;background:#fff}td:first-child,th:first-child,td:nth-child(2),th:nth-child(2),td.core{text-align:left}\
td:first-child{font-family:ui-monospace,monospace;max-width:250px;overflow:hidden;text-overflow:ellipsis}\
tr:hover td{background:#f4f6f9}tfoot td{font-weight:600;border-top:2px solid #1c2330}.scroll{overflow-x:auto}\
svg{display:block}svg text{font:11px system-ui,sans-serif;fill:#5a6472}.grid{stroke:#e3e6eb}.axis{stroke:#8a93a0}\
.compute{fill:#2f6fb0}.DMA{fill:#e0913a}.roof{stroke:#1c2330;stroke-width:1.5;fill:none}rect:hover,circle:hover{stroke:#1c2330;stroke-width:1}\
.stays{fill:#3f9a6b}.input{fill:#7fb2e0}.weights{fill:#e0913a}.output{fill:#b58bd0}.other{fill:#c3c8d0}\
.key{font-size:12px;color:#5a6472}.key b{display:inline-block;width:10px;height:10px;margin:0 5px 0 14px}";

/// One self-contained page: figures, time, roofline, scratchpad, and a table of the layers.
pub fn html(cost: &Cost<'_>) -> String {
    let (name, target) = (escape(cost.name), escape(cost.target.name));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name} on {target}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n\
         <h1>{name} on {target}</h1>\n<p>{}. Cycles are estimates.</p>\n<dl>\n",
        escape(cost.target.summary)
    );
    for (name, value) in cost.headline() {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    out.push_str("</dl>\n");
    let time = Axis::time(cost.profile.total.cycles);
    let cores = u8::try_from(cost.profile.total.cores.len()).unwrap_or(u8::MAX).max(1);
    let sections = [
        (
            "layers",
            "Cycles per layer",
            "From the end of all layers before it to its own end.<span class=\"key\"><b style=\"background:#2f6fb0\"></b>bound \
             by compute<b style=\"background:#e0913a\"></b>bound by DMA</span>",
            charts::layers(cost),
        ),
        (
            "timeline",
            "Engines over time",
            "An operation of a layer has the layer's colour on every engine.",
            charts::timeline(cost, &time),
        ),
        (
            "scratchpad",
            "Scratchpad over time",
            "Addresses upwards as far as they are used, on the same time axis.<span class=\"key\"><b style=\"background:#3f9a6b\"></b>values that stay<b \
             style=\"background:#7fb2e0\"></b>inputs<b style=\"background:#e0913a\"></b>weights<b style=\"background:#b58bd0\"></b>outputs<b \
             style=\"background:#c3c8d0\"></b>other buffers</span>",
            (0..cores).map(|core| charts::scratchpad(cost, core, &time)).collect(),
        ),
        (
            "roofline",
            "Roofline",
            "MACs per cycle against MACs per byte moved, both logarithmic; the line is what the MAC array and the DMA engines together \
             of a core allow. The cycles are the layer's, or those of its busiest engine if that has worked ahead. A circle's area goes with the layer's cycles.",
            charts::roofline(cost),
        ),
    ];
    for (id, title, words, chart) in sections {
        let _ = writeln!(out, "<h2>{title}</h2><p>{words}</p><div class=\"scroll\" id=\"{id}\">{chart}</div>");
    }
    out + &layers(cost) + "</body></html>\n"
}

/// The table of the layers.
fn layers(cost: &Cost<'_>) -> String {
    let with_quality = cost.rows().any(|row| row.quality.is_some());
    let heads = ["MACs", "cycles", "%", "array %", "bound by", "loaded", "stored", "scratchpad", "parameters"];
    let mut out = "<h2>Layers</h2>\n<div class=\"scroll\"><table id=\"table\"><thead><tr>".to_owned();
    let first = ["layer", "operator"].into_iter().chain(cost.is_shared().then_some("core"));
    for head in first.chain(heads).chain(with_quality.then_some("SQNR dB")) {
        let _ = write!(out, "<th>{head}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    let (total, all) = (&cost.profile.total, cost.elapsed());
    let cores = |text: &str| if cost.is_shared() { format!("<td class=\"core\">{text}</td>") } else { String::new() };
    for Row { name, operator, of, quality } in cost.rows() {
        let (name, plan) = (escape(name), escape(&of.plan));
        let _ = write!(
            out,
            "<tr><td title=\"{name}: {plan}\">{name}</td><td>{}</td>{}<td>{}</td><td>{}</td><td>{:.1}</td><td>{:.1}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            escape(operator),
            cores(&place(of)),
            grouped(of.macs),
            grouped(of.elapsed),
            share(of.elapsed, all),
            real(of.array_use(cost.profile.lanes)) / 10.0,
            of.bound().name(),
            grouped(of.loaded_bytes),
            grouped(of.stored_bytes),
            grouped(of.scratchpad_bytes),
            grouped(of.parameters),
        );
        if with_quality {
            let _ = write!(out, "<td>{}</td>", super::decibels(quality));
        }
        out.push_str("</tr>\n");
    }
    let _ = writeln!(
        out,
        "</tbody><tfoot><tr><td>all</td><td></td>{}<td>{}</td><td>{}</td><td>100.0</td><td>{}</td><td></td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{}</td>{}</tr></tfoot></table></div>",
        cores(""),
        grouped(total.macs),
        grouped(total.cycles),
        percent(total.macs, total.capacity).trim_end_matches(" %"),
        grouped(total.loaded_bytes),
        grouped(total.stored_bytes),
        grouped(total.scratchpad_bytes),
        grouped(cost.profile.parameters),
        if with_quality { "<td></td>" } else { "" },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups() {
        let found = [0, 12, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(found, ["0", "12", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_network_of_no_layers_has_a_page() {
        let (network, profile, quality) = (Network::default(), Profile::default(), BTreeMap::new());
        let target = Target::by_name("v4h").unwrap();
        let cost = Cost { name: "<none>", target, network: &network, profile: &profile, quality: &quality };
        let page = html(&cost);
        assert!(page.contains("&lt;none&gt;") && !page.contains("NaN") && !page.contains("<script"), "{page}");
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"), "nothing is loaded");
        assert!(table(&cost).lines().count() == 2);
    }
}
