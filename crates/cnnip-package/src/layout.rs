//! The byte layout of every record, in the order of `isa-spec/package.md`.

use cnnip_isa::operation::OutputStage;

use crate::error::Why;
use crate::wire::{Parsed, Wire, codes, fail, number_of, record, take_count};
use crate::{
    BoxScales, Budget, Color, DetectionResult, Detections, ElementType, Engine, EngineId, HostOperator, HostStep,
    Input, Layer, Layout, List, ListId, Memory, Pixels, Place, Preprocess, Quantization, Region, RegionId, RegionKind,
    SourceTensor, Step, Suppression, Tensor, TensorId, Tile, TileMap, TokenOwner, TraceSource, Traced, TracedId,
};

/// The section that says what the package is for.
pub(crate) struct Info {
    pub(crate) spec_version: u32,
    pub(crate) target: String,
    pub(crate) budget: Budget,
}

/// The section that says what the application sees.
pub(crate) struct Interface {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<TensorId>,
}

record!(Info { spec_version: u32, target: String, budget: Budget });
record!(Budget { commands: u64, cycles: u64 });

number_of!(RegionId(u8));
codes!(RegionKind, "region kind" { 1 = Constant, 2 = Input, 3 = Output, 4 = Scratch });
record!(Region { name: String, kind: RegionKind, bytes: u64, core_visible: bool });

codes!(Engine, "engine" { 0 = Dma0, 1 = Dma1, 2 = Cnn });
record!(EngineId { core: u8, engine: Engine });
record!(TokenOwner { token: u8, signal: EngineId, wait: EngineId });
number_of!(ListId(u32));
record!(List { name: String, engine: EngineId, words: Vec<u32> });

number_of!(TensorId(u32));
codes!(ElementType, "element type" {
    0x01 = Int8,
    0x02 = Uint8,
    0x03 = Int16,
    0x04 = Int32,
    0x10 = Int64,
    0x11 = Float32,
});
record!(Quantization { scale: f64, zero_point: i32 });
record!(Place { region: RegionId, offset: u64 });
record!(Tensor {
    name: String,
    shape: Vec<u32>,
    element: ElementType,
    quantization: Option<Quantization>,
    place: Place,
});

record!(HostStep { operator: HostOperator, inputs: Vec<TensorId>, outputs: Vec<TensorId> });

record!(Suppression { center: bool, per_class: u32, iou: f32, score: Option<f32> });
codes!(DetectionResult, "result of detections" { 0 = Boxes, 1 = Classes, 2 = Scores, 3 = Count });
record!(BoxScales { y: f32, x: f32, height: f32, width: f32 });
record!(Detections {
    result: DetectionResult,
    most: u32,
    classes_per_box: u32,
    per_class: Option<u32>,
    classes: u32,
    score: f32,
    iou: f32,
    scales: BoxScales,
});

record!(Input { tensor: TensorId, preprocess: Option<Preprocess> });
record!(Interface { inputs: Vec<Input>, outputs: Vec<TensorId> });
codes!(Layout, "layout" { 0 = Nhwc, 1 = Nchw });
codes!(Color, "color" { 0 = Gray, 1 = Rgb });
record!(Preprocess { height: u32, width: u32, layout: Layout, color: Color, pixels: Pixels });

record!(Layer { mark: u32, name: String, sources: Vec<String>, macs: u64 });

number_of!(TracedId(u32));
record!(Traced {
    name: String,
    shape: Vec<u32>,
    element: ElementType,
    quantization: Option<Quantization>,
    model: SourceTensor,
    source: TraceSource,
});
record!(TileMap { tensors: Vec<Traced>, tiles: Vec<Tile> });
record!(Tile {
    list: ListId,
    pc: u32,
    iteration: Vec<u32>,
    tensor: TracedId,
    start: Vec<u32>,
    size: Vec<u32>,
    step: Vec<u32>,
    memory: Memory,
    address: u64,
    strides: Vec<u64>,
});

impl Wire for Step {
    const MIN_BYTES: usize = 1 + <Vec<ListId> as Wire>::MIN_BYTES;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Device { lists } => {
                out.push(0);
                lists.put(out);
            }
            Self::Host(step) => {
                out.push(1);
                step.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Wire::take(rest).map(|(rest, lists)| (rest, Self::Device { lists })),
            (rest, 1) => Wire::take(rest).map(|(rest, step)| (rest, Self::Host(step))),
            (_, code) => fail(at, Why::Code { what: "step kind", code: code.into() }),
        }
    }
}

impl Wire for Pixels {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw => out.push(0),
            Self::Offset(offset) => {
                out.push(1);
                offset.put(out);
            }
            Self::Float { mean, std } => {
                out.push(2);
                mean.put(out);
                std.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Ok((rest, Self::Raw)),
            (rest, 1) => Wire::take(rest).map(|(rest, offset)| (rest, Self::Offset(offset))),
            (rest, 2) => Wire::take(rest).map(|(rest, (mean, std))| (rest, Self::Float { mean, std })),
            (_, code) => fail(at, Why::Code { what: "pixel arithmetic", code: code.into() }),
        }
    }
}

impl Wire for SourceTensor {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Same => out.push(0),
            Self::View { name, axes } => {
                out.push(1);
                name.put(out);
                axes.put(out);
            }
            Self::Added => out.push(2),
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Ok((rest, Self::Same)),
            (rest, 1) => Wire::take(rest).map(|(rest, (name, axes))| (rest, Self::View { name, axes })),
            (rest, 2) => Ok((rest, Self::Added)),
            (_, code) => fail(at, Why::Code { what: "source tensor", code: code.into() }),
        }
    }
}

impl Wire for TraceSource {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Tiles => out.push(0),
            Self::Host(tensor) => {
                out.push(1);
                tensor.put(out);
            }
            Self::Alias(of) => {
                out.push(2);
                of.put(out);
            }
            Self::Fused(layers) => {
                out.push(3);
                layers.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Ok((rest, Self::Tiles)),
            (rest, 1) => Wire::take(rest).map(|(rest, tensor)| (rest, Self::Host(tensor))),
            (rest, 2) => Wire::take(rest).map(|(rest, of)| (rest, Self::Alias(of))),
            (rest, 3) => Wire::take(rest).map(|(rest, layers)| (rest, Self::Fused(layers))),
            (_, code) => fail(at, Why::Code { what: "trace source", code: code.into() }),
        }
    }
}

impl Wire for Memory {
    const MIN_BYTES: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sram => out.push(0),
            Self::Dram(region) => {
                out.push(1);
                region.put(out);
            }
        }
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        match u8::take(at)? {
            (rest, 0) => Ok((rest, Self::Sram)),
            (rest, 1) => Wire::take(rest).map(|(rest, region)| (rest, Self::Dram(region))),
            (_, code) => fail(at, Why::Code { what: "memory", code: code.into() }),
        }
    }
}

/// Tag, length of the attributes in bytes, attributes: so that a tool can skip an operator it does not know and still show
/// the rest.
impl Wire for HostOperator {
    const MIN_BYTES: usize = 6;

    fn put(&self, out: &mut Vec<u8>) {
        let mut attributes = Vec::new();
        let tag: u16 = match self {
            Self::Softmax { beta } => {
                beta.put(&mut attributes);
                1
            }
            Self::Quantize => 2,
            Self::Dequantize => 3,
            Self::ArgMax { axis } => {
                axis.put(&mut attributes);
                4
            }
            Self::ArgMin { axis } => {
                axis.put(&mut attributes);
                5
            }
            Self::QuantizeEven => 6,
            Self::NonMaxSuppression(suppression) => {
                suppression.put(&mut attributes);
                7
            }
            Self::Detections(detections) => {
                detections.put(&mut attributes);
                8
            }
        };
        tag.put(out);
        attributes.put(out);
    }

    fn take(at: &[u8]) -> Parsed<'_, Self> {
        let (rest, tag) = u16::take(at)?;
        let (rest, length) = take_count(1, rest)?;
        let (attributes, rest) = rest.split_at(length);
        let (left, operator) = match tag {
            1 => f32::take(attributes).map(|(left, beta)| (left, Self::Softmax { beta }))?,
            2 => (attributes, Self::Quantize),
            3 => (attributes, Self::Dequantize),
            4 => u32::take(attributes).map(|(left, axis)| (left, Self::ArgMax { axis }))?,
            5 => u32::take(attributes).map(|(left, axis)| (left, Self::ArgMin { axis }))?,
            6 => (attributes, Self::QuantizeEven),
            7 => Suppression::take(attributes).map(|(left, found)| (left, Self::NonMaxSuppression(found)))?,
            8 => Detections::take(attributes).map(|(left, found)| (left, Self::Detections(found)))?,
            _ => return fail(at, Why::UnknownOperator { tag }),
        };
        if left.is_empty() { Ok((rest, operator)) } else { fail(left, Why::TrailingBytes { bytes: left.len() }) }
    }
}

/// Encodes a choice of the machine's as its code in registers.
macro_rules! device_codes {
    ($name:ty, $what:literal) => {
        impl Wire for $name {
            const MIN_BYTES: usize = 1;

            fn put(&self, out: &mut Vec<u8>) {
                out.push(self.code().to_le_bytes()[0]);
            }

            fn take(at: &[u8]) -> Parsed<'_, Self> {
                let (rest, code) = u8::take(at)?;
                match Self::from_code(code.into()) {
                    Some(value) => Ok((rest, value)),
                    None => fail(at, Why::Code { what: $what, code: code.into() }),
                }
            }
        }
    };
}

device_codes!(cnnip_isa::RoundingMode, "rounding mode");
device_codes!(cnnip_isa::EltwiseFunction, "element-wise function");
device_codes!(cnnip_isa::ElementType, "element type");
record!(OutputStage { mode: cnnip_isa::RoundingMode, multiplier: u32, shift: i32 });

#[cfg(test)]
mod tests {
    use nom::Err;

    use super::*;

    #[test]
    fn attributes_are_neither_longer_nor_shorter_than_the_operator_wants() {
        let why = |bytes: &[u8]| match HostOperator::take(bytes) {
            Err(Err::Failure(found) | Err::Error(found)) => found.why,
            other => panic!("expected an error, got {other:?}"),
        };
        assert_eq!(why(&[2, 0, 1, 0, 0, 0, 9]), Why::TrailingBytes { bytes: 1 });
        assert_eq!(why(&[1, 0, 3, 0, 0, 0, 0, 0, 0, 0]), Why::Truncated);
        assert_eq!(why(&[9, 9, 0, 0, 0, 0]), Why::UnknownOperator { tag: 0x0909 });
    }
}
