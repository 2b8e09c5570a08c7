//! Networks that find boxes: every level finds the same ones, as many as there are.

use std::sync::Arc;

use cnnip_accurate::Simulator;
use cnnip_compiler::{Options, compile_stages};
use cnnip_evaluate::level::{Accurate, Float, Iss};
use cnnip_evaluate::{Level, index_outputs};
use cnnip_float::{Embedded, Engine, Reference};
use cnnip_graph::{
    DetectionResult, Detections, ElementType, Graph, GraphBuilder, Op, Quantization, Shape, Suppression, Tensor,
};
use cnnip_isa::Target;
use cnnip_lowered::Network;
use cnnip_testkit::Rng;

/// Boxes of a network.
const BOXES: usize = 23;
/// Step of box coordinates and of anchors.
const STEP: f32 = 0.0625;
/// Step of scores, of which only a few are drawn, so that many are equal.
const SCORE_STEP: f32 = 0.125;

fn tensor(name: &str, dims: &[usize], element: ElementType, step: f32) -> Tensor {
    let tensor = Tensor::new(name, Shape::new(dims).unwrap(), element);
    let zero = if element == ElementType::U8 { 128 } else { 0 };
    tensor.quantized(Quantization::per_tensor(step, zero))
}

/// Numbers on a grid, from `least` to `most` steps.
fn numbers(rng: &mut Rng, count: usize, (least, most): (i32, i32), step: f32) -> Vec<f32> {
    (0..count).map(|_| f32::from(i16::try_from(rng.signed(least..=most)).unwrap()) * step).collect()
}

/// What all levels find; they must agree.
fn found(graph: Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let graph = Arc::new(graph);
    let stages = compile_stages(&graph, &Options::new(Target::by_name("v4h").unwrap())).unwrap();
    let stored = Network::of_package(&stages.package).unwrap();
    assert_eq!(stored.layers, stages.legalized.layers);
    let float = |engine: &dyn Engine| Float::new(engine.prepare(Arc::clone(&graph), &[]).unwrap());
    let mut levels: [Box<dyn Level>; 4] = [
        Box::new(float(&Reference)),
        Box::new(float(&Embedded::default())),
        Box::new(Accurate::new(Simulator::new(stored).unwrap())),
        Box::new(Iss::new(&Arc::new(stages.package)).unwrap()),
    ];
    let outputs: Vec<_> = levels.iter_mut().map(|level| level.run(inputs).unwrap()).collect();
    for other in &outputs[1..] {
        assert_eq!(&outputs[0], other);
    }
    outputs[0].clone()
}

#[test]
fn suppression_is_the_same_on_every_level() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (images, classes) = (rng.pick(&[1, 2]), rng.pick(&[1, 3]));
        let element = || [ElementType::I8, ElementType::U8, ElementType::I16];
        let (of_boxes, of_scores) = (rng.pick(&element()), rng.pick(&element()));
        let mut build = GraphBuilder::new("boxes");
        let boxes = build.input(tensor("boxes", &[images, BOXES, 4], of_boxes, STEP));
        let scores = build.input(tensor("scores", &[images, classes, BOXES], of_scores, SCORE_STEP));
        let rule = Suppression {
            center: rng.chance(50),
            per_class: rng.pick(&[1, 4, BOXES]),
            iou: rng.pick(&[0.0, 0.25, 0.5, 1.0]),
            score: rng.pick(&[None, Some(0.5), Some(100.0)]),
        };
        let op = Op::NonMaxSuppression(rule);
        let list = build.apply_as("list", op, &[boxes, scores], ElementType::I64, None);
        build.output(list);
        let graph = build.finish().unwrap();
        assert_eq!(index_outputs(&graph), [0]);
        let inputs = [
            numbers(&mut rng, images * BOXES * 4, (-16, 32), STEP),
            numbers(&mut rng, images * classes * BOXES, (0, 8), SCORE_STEP),
        ];
        let list = &found(graph, &inputs)[0];
        let most = images * classes * rule.per_class;
        assert!(list.len().is_multiple_of(3) && list.len() <= 3 * most, "seed {seed}: {} numbers", list.len());
        assert!(list.iter().all(|&number| number >= 0.0), "seed {seed}");
        assert_eq!(list.is_empty(), rule.score == Some(100.0), "seed {seed}");
    }
}

#[test]
fn detections_are_the_same_on_every_level() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (classes, background) = (rng.pick(&[1, 3]), rng.pick(&[0, 1]));
        let element = rng.pick(&[ElementType::I8, ElementType::U8, ElementType::I16]);
        let mut build = GraphBuilder::new("detections");
        let codes = build.input(tensor("codes", &[1, BOXES, 4], element, STEP));
        let scores = build.input(tensor("scores", &[1, BOXES, classes + background], element, SCORE_STEP));
        let anchors = anchors(&mut rng);
        let anchors = build.tensor(anchors);
        let rule = Detections {
            result: DetectionResult::Boxes,
            most: rng.pick(&[1, 7, 2 * BOXES]),
            classes_per_box: rng.pick(&[1, 2]),
            per_class: rng.pick(&[None, Some(3)]),
            classes,
            score: 0.5,
            iou: rng.pick(&[0.25, 0.5, 1.0]),
            scales: [10.0, 10.0, 5.0, 5.0],
        };
        let results =
            [DetectionResult::Boxes, DetectionResult::Classes, DetectionResult::Scores, DetectionResult::Count];
        for (index, result) in results.into_iter().enumerate() {
            let op = Op::Detections(Detections { result, ..rule });
            let inputs = [codes, scores, anchors];
            let result = build.apply_as(&format!("result{index}"), op, &inputs, ElementType::F32, None);
            build.output(result);
        }
        let inputs = [
            numbers(&mut rng, BOXES * 4, (-40, 40), STEP),
            numbers(&mut rng, BOXES * (classes + background), (0, 8), SCORE_STEP),
        ];
        let found = found(build.finish().unwrap(), &inputs);
        let most = f32::from(u16::try_from(rule.most).unwrap());
        assert!(found[3][0] >= 1.0 && found[3][0] <= most, "seed {seed}: {:?} boxes", found[3]);
        assert_eq!(found[2].len(), rule.most * rule.classes_per_box);
        assert!(found[2][0] >= rule.score, "seed {seed}");
    }
}

/// Anchors in real numbers, or as integers.
fn anchors(rng: &mut Rng) -> Tensor {
    let numbers = numbers(rng, BOXES * 4, (1, 16), STEP);
    if rng.chance(50) {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
        return Tensor::new("anchors", Shape::new([BOXES, 4]).unwrap(), ElementType::F32).constant(bytes);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are 1 to 16 steps")]
    let bytes: Vec<u8> = numbers.into_iter().map(|number| (number / STEP) as u8).collect();
    tensor("anchors", &[BOXES, 4], ElementType::I8, STEP).constant(bytes)
}
