//! From a package to text.

use std::fmt::{Display, Write};

use super::scan::is_bare;
use crate::problem::version;
use crate::{
    Color, Detections, Engine, EngineId, HostOperator, HostStep, Input, Layer, Layout, List, ListId, Memory, Package,
    Pixels, Preprocess, Quantization, Region, RegionId, RegionKind, SourceTensor, Step, Suppression, Tensor, TensorId,
    Tile, TileMap, TokenOwner, TraceSource, Traced, TracedId,
};

/// Bytes in a line of constants.
const BYTES_PER_LINE: usize = 32;
/// Bytes in a word of such a line.
const BYTES_PER_WORD: usize = 4;

/// The package as text, complete: assembling it makes the same package, byte for byte, if this one has no problems.
pub fn to_text(package: &Package) -> String {
    let mut printer = Printer { package, out: String::new() };
    printer.info();
    printer.each(&package.regions, Printer::region);
    printer.each(&package.tensors, Printer::tensor);
    printer.each(&package.inputs, Printer::input);
    printer.each(&package.outputs, Printer::output);
    printer.each(&package.tokens, Printer::token);
    printer.each(&package.lists, Printer::list);
    printer.each(&package.program, Printer::step);
    printer.each(&package.layers, Printer::layer);
    if let Some(map) = &package.tile_map {
        printer.line(".tiles");
        map.tensors.iter().for_each(|traced| printer.traced(map, traced));
        map.tiles.iter().for_each(|tile| printer.tile(map, tile));
    }
    if let Some(bytes) = &package.lowered {
        printer.line("");
        printer.line(".lowered");
        bytes.chunks(BYTES_PER_LINE).for_each(|line| printer.bytes(".lowered", line));
    }
    printer.out
}

struct Printer<'a> {
    package: &'a Package,
    out: String,
}

/// A name, in quotes where it needs them.
fn name(name: &str) -> String {
    if is_bare(name) { name.into() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().fold(String::new(), |mut out, letter| {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.extend(letter.escape_unicode()),
            letter => out.push(letter),
        }
        out
    });
    format!("\"{escaped}\"")
}

/// `[1, 2, 3]`.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

/// A real number with as many digits as make it the same again.
fn reals(items: &[f32]) -> String {
    list(items.iter().map(|item| format!("{item:?}")))
}

fn engine(EngineId { core, engine }: EngineId) -> String {
    if core == 0 { engine.to_string() } else { format!("core{core}.{engine}") }
}

impl<'a> Printer<'a> {
    fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.out, "{line}"); // a String takes every write
    }

    /// Prints a table; a blank line goes before it.
    fn each<T>(&mut self, items: &'a [T], print: impl Fn(&mut Self, &'a T)) {
        if !items.is_empty() {
            self.line("");
        }
        items.iter().for_each(|item| print(self, item));
    }

    fn tensor_name(&self, id: TensorId) -> String {
        self.package.tensor(id).map_or_else(|| id.0.to_string(), |tensor| name(&tensor.name))
    }

    fn list_name(&self, id: ListId) -> String {
        self.package.list(id).map_or_else(|| id.0.to_string(), |list| name(&list.name))
    }

    fn region_name(&self, id: RegionId) -> String {
        self.package.region(id).map_or_else(|| id.0.to_string(), |region| name(&region.name))
    }

    fn tensor_names(&self, ids: &[TensorId]) -> String {
        ids.iter().map(|&id| self.tensor_name(id) + " ").collect()
    }

    fn info(&mut self) {
        let package = self.package;
        self.line(format_args!(".package {}", version(package.spec_version)));
        self.line(".exact");
        self.line(format_args!(".target {}", name(&package.target)));
        self.line(format_args!(".budget commands={} cycles={}", package.budget.commands, package.budget.cycles));
        for (key, value) in &package.provenance {
            self.line(format_args!(".provenance {} {}", name(key), quoted(value)));
        }
    }

    fn region(&mut self, region: &Region) {
        let host = if region.core_visible { "" } else { " host" };
        if region.kind == RegionKind::Constant {
            return self.constant(region, host);
        }
        self.line(format_args!(".region {} {} bytes={}{host}", name(&region.name), region.kind.name(), region.bytes));
    }

    fn constant(&mut self, region: &Region, host: &str) {
        self.line(format_args!(".constant {}{host}", name(&region.name)));
        let index = self.package.regions.iter().position(|other| std::ptr::eq(other, region));
        let id = index.and_then(|index| u8::try_from(index).ok()).map(RegionId);
        let Some(bytes) = id.and_then(|id| self.package.constant(id)) else { return };
        bytes.chunks(BYTES_PER_LINE).for_each(|line| self.bytes("    .bytes", line));
    }

    fn bytes(&mut self, directive: &str, line: &[u8]) {
        self.out.push_str(directive);
        line.chunks(BYTES_PER_WORD).for_each(|word| self.hex(word));
        self.out.push('\n');
    }

    fn hex(&mut self, word: &[u8]) {
        self.out.push(' ');
        for byte in word {
            let _ = write!(self.out, "{byte:02x}");
        }
    }

    fn tensor(&mut self, tensor: &Tensor) {
        let (shape, element) = (list(&tensor.shape), tensor.element);
        let (region, offset) = (self.region_name(tensor.place.region), tensor.place.offset);
        let scale = scale(tensor.quantization);
        let line = format!(".tensor {} {element} {shape} region={region} offset={offset}{scale}", name(&tensor.name));
        self.line(line);
    }

    fn input(&mut self, input: &Input) {
        let picture = input.preprocess.as_ref().map_or(String::new(), picture);
        self.line(format!(".input {}{picture}", self.tensor_name(input.tensor)));
    }

    fn output(&mut self, &output: &TensorId) {
        self.line(format!(".output {}", self.tensor_name(output)));
    }

    fn token(&mut self, owner: &TokenOwner) {
        self.line(format_args!(".token {} {} -> {}", owner.token, engine(owner.signal), engine(owner.wait)));
    }

    fn list(&mut self, list: &List) {
        let EngineId { core, engine } = list.engine;
        self.line(format_args!(".list {} core={core} engine={engine}", name(&list.name)));
        self.out.push_str(&cnnip_isa::disassemble(&list.words, engine_kind(engine)));
        self.line(".endlist");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Device { lists } => {
                let names: String = lists.iter().map(|&id| " ".to_owned() + &self.list_name(id)).collect();
                self.line(format_args!(".step device{names}"));
            }
            Step::Host(step) => self.host_step(step),
        }
    }

    fn host_step(&mut self, HostStep { operator, inputs, outputs }: &HostStep) {
        let attributes = match operator {
            HostOperator::Softmax { beta } => format!("beta={beta:?}"),
            HostOperator::Quantize | HostOperator::QuantizeEven | HostOperator::Dequantize => String::new(),
            HostOperator::ArgMax { axis } | HostOperator::ArgMin { axis } => format!("axis={axis}"),
            HostOperator::NonMaxSuppression(suppression) => suppression_text(suppression),
            HostOperator::Detections(detections) => detections_text(detections),
        };
        let (inputs, outputs) = (self.tensor_names(inputs), self.tensor_names(outputs));
        let line = format!(".step host {} {inputs}-> {outputs}{attributes}", operator.name());
        self.line(line.trim_end());
    }

    fn layer(&mut self, layer: &Layer) {
        let sources = list(layer.sources.iter().map(|source| quoted(source)));
        self.line(format_args!(".layer {} {} macs={} sources={sources}", layer.mark, name(&layer.name), layer.macs));
    }

    fn traced(&mut self, map: &TileMap, traced: &Traced) {
        let source = match &traced.source {
            TraceSource::Tiles => String::new(),
            TraceSource::Host(tensor) => format!(" tensor={}", self.tensor_name(*tensor)),
            TraceSource::Alias(of) => format!(" alias={}", traced_name(map, *of)),
            TraceSource::Fused(layers) => format!(" fused={}", list(layers.iter().map(|layer| name(layer)))),
        };
        let model = match &traced.model {
            SourceTensor::Same => String::new(),
            SourceTensor::View { name: of, axes } => format!(" view={} axes={}", name(of), list(axes)),
            SourceTensor::Added => " added".to_owned(),
        };
        let (shape, scale) = (list(&traced.shape), scale(traced.quantization));
        self.line(format_args!(".traced {} {} {shape}{scale}{model}{source}", name(&traced.name), traced.element));
    }

    fn tile(&mut self, map: &TileMap, tile: &Tile) {
        let memory = match tile.memory {
            Memory::Sram => "sram".into(),
            Memory::Dram(region) => format!("region={}", self.region_name(region)),
        };
        let (commands, tensor) = (self.list_name(tile.list), traced_name(map, tile.tensor));
        let (start, size, step, strides) = (list(&tile.start), list(&tile.size), list(&tile.step), list(&tile.strides));
        let (pc, iteration, address) = (tile.pc, list(&tile.iteration), tile.address);
        self.line(format_args!(
            ".tile {commands} pc={pc} iteration={iteration} {tensor} start={start} size={size} step={step} {memory} \
             address={address} strides={strides}"
        ));
    }
}

fn traced_name(map: &TileMap, id: TracedId) -> String {
    map.tensor(id).map_or(String::new(), |traced| name(&traced.name))
}

/// ` scale=S zero=Z`, or nothing.
fn scale(quantization: Option<Quantization>) -> String {
    quantization.map_or(String::new(), |found| format!(" scale={:?} zero={}", found.scale, found.zero_point))
}

fn picture(picture: &Preprocess) -> String {
    let layout = match picture.layout {
        Layout::Nhwc => "nhwc",
        Layout::Nchw => "nchw",
    };
    let color = match picture.color {
        Color::Gray => "gray",
        Color::Rgb => "rgb",
    };
    let pixels = match &picture.pixels {
        Pixels::Raw => "raw".into(),
        Pixels::Offset(offset) => format!("pixel_offset={offset}"),
        Pixels::Float { mean, std } => format!("mean={} std={}", reals(mean), reals(std)),
    };
    format!(" height={} width={} layout={layout} color={color} {pixels}", picture.height, picture.width)
}

fn suppression_text(&Suppression { center, per_class, iou, score }: &Suppression) -> String {
    let score = score.map(|score| format!(" score={score:?}")).unwrap_or_default();
    format!("center={} per_class={per_class} iou={iou:?}{score}", u8::from(center))
}

fn detections_text(detections: &Detections) -> String {
    let Detections { result, most, classes_per_box, per_class, classes, score, iou, scales } = detections;
    let per_class = per_class.map(|most| format!(" per_class={most}")).unwrap_or_default();
    let scales = list(scales.all().iter().map(|scale| format!("{scale:?}")));
    format!(
        "result={} most={most} classes_per_box={classes_per_box}{per_class} classes={classes} score={score:?} iou={iou:?} \
         scales={scales}",
        result.name()
    )
}

/// The language of an engine's lists.
pub(super) fn engine_kind(engine: Engine) -> cnnip_isa::EngineKind {
    match engine {
        Engine::Dma0 | Engine::Dma1 => cnnip_isa::EngineKind::Dma,
        Engine::Cnn => cnnip_isa::EngineKind::Cnn,
    }
}
