use cnnip_graph::{Activation, Conv2d, DetectionResult, Detections, GraphBuilder, Hw, Padding, Shape, Suppression};

use super::*;
use crate::Range;

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn tensor(name: &str, shape: &[usize]) -> Tensor {
    Tensor::new(name, Shape::new(shape).unwrap(), ElementType::F32)
}

fn conv(activation: Activation) -> Op {
    Op::Conv2d(Conv2d { stride: Hw::ONE, dilation: Hw::ONE, padding: Padding::NONE, groups: 1, activation })
}

/// A 1x1 convolution of 2 channels, a sigmoid, and both joined.
fn network(weights: [f32; 4], bias: [f32; 2]) -> Graph {
    let mut build = GraphBuilder::new("small");
    let image = build.input(tensor("image", &[1, 2, 2, 2]));
    let weights = build.tensor(tensor("weights", &[2, 1, 1, 2]).constant(floats(&weights)));
    let bias = build.tensor(tensor("bias", &[2]).constant(floats(&bias)));
    let features = build.apply("features", conv(Activation::Relu), &[image, weights, bias]);
    let gate = build.apply("gate", Op::Logistic, &[features]);
    let joined = build.apply("joined", Op::Concat { axis: 3 }, &[features, gate]);
    build.output(joined);
    build.finish().unwrap()
}

fn ranges() -> Ranges {
    let table = [("image", -1.0, 1.0), ("features", 0.0, 4.0), ("gate", 0.5, 1.0), ("joined", 0.0, 4.0)];
    table.into_iter().map(|(name, min, max)| (name.to_owned(), Range { min, max })).collect()
}

fn named<'g>(graph: &'g Graph, name: &str) -> &'g Tensor {
    &graph[graph.tensor_named(name).unwrap_or_else(|| panic!("no tensor {name} in\n{graph}"))]
}

fn scales(tensor: &Tensor) -> Vec<f32> {
    tensor.quantization.as_ref().unwrap().scales().to_vec()
}

fn integers(tensor: &Tensor) -> Vec<i64> {
    tensor.data.as_ref().unwrap().integers(tensor.element).unwrap()
}

#[test]
fn weights_have_a_scale_per_channel_and_biases_the_product() {
    let graph = quantize(&network([1.0, -0.5, 0.25, 127.0], [1.0, -2.0]), &ranges(), &Options::default()).unwrap();
    let weights = named(&graph, "weights");
    assert_eq!(scales(weights), [1.0 / 127.0, 1.0]);
    assert_eq!(integers(weights), [127, -64, 0, 127]);
    let bias = named(&graph, "bias");
    let input = scales(named(&graph, "image:quantized"))[0];
    assert_eq!(bias.element, ElementType::I32);
    assert_eq!(integers(bias), [integer_of(1.0, input / 127.0), integer_of(-2.0, input)]);
}

fn integer_of(value: f32, scale: f32) -> i64 {
    crate::parameters::integer(f64::from(value) / f64::from(scale))
}

#[test]
fn what_is_joined_is_quantized_alike_and_sigmoids_keep_their_own() {
    let graph = quantize(&network([1.0; 4], [0.0; 2]), &ranges(), &Options::default()).unwrap();
    let scale = scales(named(&graph, "features"));
    assert_eq!(scale, [4.0 / 255.0]);
    assert_eq!(scales(named(&graph, "gate")), scale);
    assert_eq!(scales(named(&graph, "gate:unit")), [1.0 / 256.0]);
    assert_eq!(scales(named(&graph, "joined:quantized")), scale);
    assert_eq!(named(&graph, "image").element, ElementType::F32);
    assert_eq!(named(&graph, "joined").element, ElementType::F32);
}

#[test]
fn integer_ends_have_no_conversions() {
    let options = Options { integer_ends: true, ..Options::default() };
    let graph = quantize(&network([1.0; 4], [0.0; 2]), &ranges(), &options).unwrap();
    assert_eq!(named(&graph, "image").element, ElementType::I8);
    let operators: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(operators, ["Conv2d", "Logistic", "Quantize", "Concat"]);
}

#[test]
fn a_wide_tensor_widens_its_node_and_what_is_tied_to_it() {
    let options = Options { wide: vec![Pattern::new("features")], integer_ends: true, ..Options::default() };
    let graph = quantize(&network([1.0; 4], [1.0; 2]), &ranges(), &options).unwrap();
    for name in ["features", "gate", "joined", "image:int16"] {
        assert_eq!(named(&graph, name).element, ElementType::I16, "{name}");
    }
    assert_eq!(named(&graph, "image").element, ElementType::I8);
    assert_eq!(named(&graph, "bias").element, ElementType::I64);
    assert_eq!(scales(named(&graph, "image:int16")), [2.0 / 32767.0], "twice the range");
    assert_eq!(named(&graph, "weights").element, ElementType::I8);
}

#[test]
fn a_bias_that_is_too_large_makes_its_weights_coarser() {
    let graph = quantize(&network([1e-6, 1e-6, 0.0, 0.0], [1e6, 3.0]), &ranges(), &Options::default()).unwrap();
    let bias = integers(named(&graph, "bias"));
    assert!(bias[0].abs() <= 1 << 30 && bias[0] > (1 << 30) - 1024, "{bias:?}");
    assert!(bias[1] > (1 << 24) - 16, "a channel without weights keeps its bias: {bias:?}");
}

#[test]
fn all_problems_at_once() {
    let mut table = Ranges::default();
    table.set("image", Range { min: 0.0, max: 1.0 });
    let options = Options { wide: vec![Pattern::new("nothing*")], ..Options::default() };
    let errors = quantize(&network([1.0; 4], [0.0; 2]), &table, &options).unwrap_err();
    assert_eq!(errors.problems().len(), 4, "{errors}");
    let mut damaged = network([1.0; 4], [0.0; 2]);
    let weights = damaged.tensor_named("weights").unwrap().index();
    damaged.tensors[weights].data = Some(floats(&[f32::NAN, 0.0, 0.0, 0.0]).into());
    let errors = quantize(&damaged, &ranges(), &Options::default()).unwrap_err();
    assert!(errors.to_string().contains("weights"), "{errors}");
    let twice = quantize(&network([1.0; 4], [0.0; 2]), &ranges(), &Options::default()).unwrap();
    let errors = quantize(&twice, &ranges(), &Options::default()).unwrap_err();
    assert!(matches!(errors.problems()[0].rule, QuantizeRule::Quantized { .. }));
}

#[test]
fn weights_that_are_integers_already_are_taken_for_what_they_stand_for() {
    let mut graph = network([1.0, -0.5, 0.25, 127.0], [1.0, -2.0]);
    let real = quantize(&graph, &ranges(), &Options::default()).unwrap();
    let at = graph.tensor_named("weights").unwrap().index();
    let hybrid = Tensor { element: ElementType::I8, ..graph.tensors[at].clone() };
    graph.tensors[at] = hybrid
        .constant(vec![127_i8, -64, 0, 127].into_iter().map(i8::cast_unsigned).collect::<Vec<u8>>())
        .quantized(Quantization::symmetric_per_channel(0, [1.0 / 127.0, 1.0]));
    let hybrid = quantize(&graph, &ranges(), &Options::default()).unwrap();
    assert_eq!(integers(named(&hybrid, "weights")), integers(named(&real, "weights")));
}

#[test]
fn biases_make_up_for_the_error_of_weights() {
    let graph = network([1.0, 0.503, 0.25, 0.1252], [0.5, -2.0]);
    let mut means = Means::default();
    means.observe(named(&graph, "image"), &[0.5, 1.0, 0.5, 1.0]);
    let plain = quantize(&graph, &ranges(), &Options::default()).unwrap();
    let mended = quantize(&graph, &ranges(), &Options { means: Some(means), ..Options::default() }).unwrap();
    // 0.503 is 63.881 steps of 1 / 127 and becomes 64; 0.1252 is 63.6016 of 0.25 / 127 and becomes 64. 1 and 0.25 are exact.
    let input = scales(named(&plain, "image:quantized"))[0];
    for (channel, (scale, steps)) in
        [(1.0 / 127.0, 64.0 - 63.881), (0.25 / 127.0, 64.0 - 63.6016)].into_iter().enumerate()
    {
        let shift = integers(named(&plain, "bias"))[channel] - integers(named(&mended, "bias"))[channel];
        assert_eq!(shift, integer_of(steps * scale, input * scale), "channel {channel}");
    }
}

#[test]
fn weights_have_16_bits_where_they_are_named_and_their_node_is_wide() {
    let wide =
        |names: &[&str]| Options { wide: names.iter().map(|&name| Pattern::new(name)).collect(), ..Options::default() };
    let both =
        quantize(&network([1.0, -0.5, 0.25, 127.0], [0.0; 2]), &ranges(), &wide(&["features", "weights"])).unwrap();
    assert_eq!(named(&both, "weights").element, ElementType::I16);
    assert_eq!(integers(named(&both, "weights")), [32767, -16384, 65, 32767]);
    let narrow = quantize(&network([1.0; 4], [0.0; 2]), &ranges(), &wide(&["weights"])).unwrap();
    assert_eq!(named(&narrow, "weights").element, ElementType::I8);
}

#[test]
fn what_is_moved_is_quantized_alike() {
    let resizes = [
        Op::ResizeBilinear(cnnip_graph::ResizeBilinear { output: Hw::new(4, 4), grid: cnnip_graph::Grid::HalfPixel }),
        Op::ResizeNearest(cnnip_graph::ResizeNearest { rows: vec![0, 0, 1, 1], columns: vec![0, 1] }),
        Op::Take(cnnip_graph::Take::new(vec![vec![0], vec![0, 1, 1], vec![0], vec![1]])),
    ];
    for op in resizes {
        let mut build = GraphBuilder::new("moved");
        let image = build.input(tensor("image", &[1, 2, 2, 2]));
        let moved = build.apply("moved", op.clone(), &[image]);
        build.output(moved);
        let table = [("image", -1.0, 1.0), ("moved", -0.5, 0.5)];
        let ranges = table.into_iter().map(|(name, min, max)| (name.to_owned(), Range { min, max })).collect();
        let options = Options { integer_ends: true, ..Options::default() };
        let graph = quantize(&build.finish().unwrap(), &ranges, &options).unwrap();
        assert_eq!(named(&graph, "moved").quantization, named(&graph, "image").quantization, "{op:?}");
    }
}

/// What finds boxes reads integers; anchors and detections stay real, and lists are integers already.
#[test]
fn boxes_are_found_in_integers_and_given_in_real_numbers() {
    let mut build = GraphBuilder::new("boxes");
    let codes = build.input(tensor("codes", &[1, 3, 4]));
    let scores = build.input(tensor("scores", &[1, 3, 2]));
    let anchors = build.tensor(tensor("anchors", &[3, 4]).constant(floats(&[0.5; 12])));
    let rule = Detections {
        result: DetectionResult::Scores,
        most: 2,
        classes_per_box: 1,
        per_class: None,
        classes: 2,
        score: 0.0,
        iou: 0.5,
        scales: [1.0; 4],
    };
    let best = build.apply("best", Op::Detections(rule), &[codes, scores, anchors]);
    let by_class = build.apply("by class", Op::Transpose { perm: vec![0, 2, 1] }, &[scores]);
    let rule = Suppression { center: false, per_class: 1, iou: 0.5, score: None };
    let op = Op::NonMaxSuppression(rule);
    let list = build.apply_as("list", op, &[codes, by_class], ElementType::I64, None);
    [best, list].into_iter().for_each(|output| build.output(output));
    let table = [("codes", -1.0, 1.0), ("scores", 0.0, 1.0), ("by class", 0.0, 1.0)];
    let ranges: Ranges = table.into_iter().map(|(name, min, max)| (name.to_owned(), Range { min, max })).collect();
    for wide in [vec![], vec![Pattern::new("*")]] {
        let bits = if wide.is_empty() { ElementType::I8 } else { ElementType::I16 };
        let graph =
            quantize(&build.clone().finish().unwrap(), &ranges, &Options { wide, ..Options::default() }).unwrap();
        let node = graph.nodes.iter().find(|node| matches!(node.op, Op::Detections(_))).unwrap();
        let types: Vec<ElementType> = node.inputs.iter().map(|&id| graph[id].element).collect();
        assert_eq!(types, [bits, bits, ElementType::F32]);
        assert_eq!(graph[node.outputs[0]], tensor("best", &[1, 2]));
        assert_eq!(named(&graph, "list").element, ElementType::I64);
    }
}
