//! Arguments that stand for a thing of the package.

use std::collections::HashMap;

use super::diagnostic::Span;
use super::scan::{Argument, Arguments, Parsed};
use crate::{
    BoxScales, Color, DetectionResult, Detections, ElementType, Engine, EngineId, HostOperator, Layout, Pixels,
    Preprocess, Quantization, SourceTensor, Suppression,
};

/// The number of the item with this name.
pub(super) fn find<T: Copy>(kind: &str, names: &HashMap<String, T>, name: Argument) -> Parsed<T> {
    let span = name.span;
    let name = name.text()?;
    names.get(&name).copied().ok_or_else(|| span.error(format!("there is no {kind} `{name}`")))
}

/// `major.minor`, each below 2^16.
pub(super) fn version(argument: &Argument) -> Parsed<u32> {
    let halves = argument.word()?.split_once('.').and_then(|(major, minor)| Some((half(major)?, half(minor)?)));
    let (major, minor) =
        halves.ok_or_else(|| argument.span.error("this is no version").hint("a version is like 0.1"))?;
    Ok(major << 16 | minor)
}

fn half(digits: &str) -> Option<u32> {
    digits.parse::<u16>().ok().map(u32::from)
}

pub(super) fn element(argument: &Argument) -> Parsed<ElementType> {
    use ElementType::{Float32, Int8, Int16, Int32, Int64, Uint8};
    argument.choice(&[Int8, Uint8, Int16, Int32, Int64, Float32].map(|element| (element.name(), element)))
}

pub(super) fn quantization(arguments: &mut Arguments) -> Parsed<Option<Quantization>> {
    let Some(scale) = arguments.key("scale") else { return Ok(None) };
    let zero_point = arguments.key("zero").map_or(Ok(0), |zero| zero.number())?;
    Ok(Some(Quantization { scale: scale.real()?, zero_point }))
}

/// `view=NAME axes=[..]`, `added`, or nothing.
pub(super) fn source_tensor(arguments: &mut Arguments) -> Parsed<SourceTensor> {
    if arguments.flag("added") {
        return Ok(SourceTensor::Added);
    }
    let Some(name) = arguments.key("view") else { return Ok(SourceTensor::Same) };
    Ok(SourceTensor::View { name: name.text()?, axes: arguments.required("axes")?.numbers()? })
}

const ENGINES: [(&str, Engine); 3] = [("dma0", Engine::Dma0), ("dma1", Engine::Dma1), ("cnn", Engine::Cnn)];

/// The engine named, or else the one with the list's own name.
pub(super) fn list_engine(list: &str, span: Span, named: Option<Argument>) -> Parsed<Engine> {
    if let Some(named) = named {
        return named.choice(&ENGINES);
    }
    let found = ENGINES.iter().find(|(name, _)| *name == list).map(|&(_, engine)| engine);
    found.ok_or_else(|| span.error(format!("no engine for list `{list}`")).hint("add `engine=dma0`, `dma1` or `cnn`"))
}

/// `dma0`, or `core1.dma0`.
pub(super) fn engine_id(argument: &Argument) -> Parsed<EngineId> {
    let wrong = || argument.span.error("this is no engine").hint("an engine is like `dma0`, `cnn` or `core1.dma1`");
    let (core, engine) = argument.word()?.rsplit_once('.').unwrap_or(("core0", argument.word()?));
    let core = core.strip_prefix("core").and_then(|core| core.parse().ok()).ok_or_else(wrong)?;
    let engine = ENGINES.iter().find(|(name, _)| *name == engine).map(|&(_, engine)| engine).ok_or_else(wrong)?;
    Ok(EngineId { core, engine })
}

/// Attributes of the operators that find boxes, with what they are if left out.
struct BoxOptions {
    center: bool,
    per_class: Option<u32>,
    iou: f32,
    score: Option<f32>,
    result: DetectionResult,
    most: u32,
    classes_per_box: u32,
    classes: u32,
    scales: BoxScales,
}

impl BoxOptions {
    fn take(arguments: &mut Arguments) -> Parsed<Self> {
        let mut number = |key: &str| arguments.key(key).map(|value| value.number::<u32>()).transpose();
        let (center, per_class, most) = (number("center")?, number("per_class")?, number("most")?);
        let (classes_per_box, classes) = (number("classes_per_box")?, number("classes")?);
        let mut real = |key: &str| arguments.key(key).map(|value| value.real::<f32>()).transpose();
        let (iou, score) = (real("iou")?, real("score")?);
        let results = DetectionResult::ALL.map(|result| (result.name(), result));
        let result = arguments.key("result").map(|result| result.choice(&results)).transpose()?;
        let scales = match arguments.key("scales") {
            None => [1.0; 4],
            Some(list) => {
                let span = list.span;
                let scales = list.list()?.iter().map(Argument::real).collect::<Parsed<Vec<f32>>>()?;
                <[f32; 4]>::try_from(scales).map_err(|_| span.error("four scales are needed: y, x, height, width"))?
            }
        };
        let [y, x, height, width] = scales;
        Ok(Self {
            center: center.unwrap_or(0) != 0,
            per_class,
            iou: iou.unwrap_or(0.5),
            score,
            result: result.unwrap_or(DetectionResult::Boxes),
            most: most.unwrap_or(1),
            classes_per_box: classes_per_box.unwrap_or(1),
            classes: classes.unwrap_or(1),
            scales: BoxScales { y, x, height, width },
        })
    }

    fn suppression(&self) -> Suppression {
        let Self { center, per_class, iou, score, .. } = *self;
        Suppression { center, per_class: per_class.unwrap_or(1), iou, score }
    }

    fn detections(&self) -> Detections {
        let Self { result, most, classes_per_box, per_class, classes, score, iou, scales, .. } = *self;
        Detections { result, most, classes_per_box, per_class, classes, score: score.unwrap_or(0.0), iou, scales }
    }
}

pub(super) fn operator(arguments: &mut Arguments) -> Parsed<HostOperator> {
    let beta = arguments.key("beta").map(|beta| beta.real()).transpose()?.unwrap_or(1.0);
    let axis = arguments.key("axis").map(|axis| axis.number()).transpose()?.unwrap_or(0);
    let boxes = BoxOptions::take(arguments)?;
    let operators = [
        HostOperator::Softmax { beta },
        HostOperator::Quantize,
        HostOperator::QuantizeEven,
        HostOperator::Dequantize,
        HostOperator::ArgMax { axis },
        HostOperator::ArgMin { axis },
        HostOperator::NonMaxSuppression(boxes.suppression()),
        HostOperator::Detections(boxes.detections()),
    ];
    arguments.next("the operator")?.choice(&operators.map(|operator| (operator.name(), operator)))
}

/// How a picture becomes the tensor, if the arguments say it.
pub(super) fn picture(arguments: &mut Arguments) -> Parsed<Option<Preprocess>> {
    let Some(height) = arguments.key("height") else { return Ok(None) };
    let layouts = [("nhwc", Layout::Nhwc), ("nchw", Layout::Nchw)];
    let colors = [("gray", Color::Gray), ("rgb", Color::Rgb)];
    Ok(Some(Preprocess {
        height: height.number()?,
        width: arguments.required("width")?.number()?,
        layout: arguments.key("layout").map_or(Ok(Layout::Nhwc), |layout| layout.choice(&layouts))?,
        color: arguments.required("color")?.choice(&colors)?,
        pixels: pixels(arguments)?,
    }))
}

fn pixels(arguments: &mut Arguments) -> Parsed<Pixels> {
    if let Some(offset) = arguments.key("pixel_offset") {
        return offset.number().map(Pixels::Offset);
    }
    if let Some(mean) = arguments.key("mean") {
        let reals = |list: Argument| list.list()?.iter().map(Argument::real).collect::<Parsed<_>>();
        return Ok(Pixels::Float { mean: reals(mean)?, std: reals(arguments.required("std")?)? });
    }
    if arguments.flag("raw") {
        return Ok(Pixels::Raw);
    }
    Err(arguments
        .span
        .error("how a pixel becomes an element is missing")
        .hint("`raw`, `pixel_offset=` or `mean= std=`"))
}
