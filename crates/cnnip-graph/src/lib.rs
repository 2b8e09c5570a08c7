//! Neural networks in memory, importers of TFLite and ONNX, and graph passes.
//!
//! A [`Graph`] is a list of [`Tensor`]s and a list of [`Node`]s in the order of execution. Every
//! shape is static, every attribute is typed ([`Op`]), and a constant shares the bytes of the file
//! it came from. [`Graph::check`] states the rules of a well-formed graph, and everything an importer
//! returns keeps them.
//!
//! Layouts: activations are NHWC, convolution weights OHWI, depthwise weights `[1, kh, kw, c * m]`,
//! fully connected weights `[output, input]`. Importers of other layouts convert.
//!
//! | module | concern |
//! |---|---|
//! | `tensor` | shapes, element types, quantization, constant data |
//! | `op` | operators and their attributes |
//! | `infer` | output shapes |
//! | `graph`, `check`, `builder`, `text` | the graph, its rules, building and dumping it |
//! | `problem` | what can be wrong with a model: place, rule, value, hint |
//! | `flatbuffer` | the wire format of TFLite files |
//! | [`tflite`] | reading and writing TFLite models |
//! | [`onnx`] | reading ONNX models |
//! | [`passes`] | graph to graph: layout, folding, fusion |

#![forbid(unsafe_code)]

mod builder;
mod check;
mod evaluate;
mod flatbuffer;
mod graph;
mod infer;
pub mod onnx;
mod op;
pub mod passes;
mod pattern;
mod problem;
mod tensor;
mod text;
pub mod tflite;
mod unique;

pub use builder::GraphBuilder;
pub use graph::{Graph, Node, NodeId, TensorId};
pub use infer::{InferError, infer_shape};
pub use op::{
    Activation, ArgExtremum, Blocks, Conv2d, DepthwiseConv2d, DetectionResult, Detections, FullyConnected, Gather,
    Grid, Hw, Lstm, Mean, Op, Pad, PadValue, Padding, Pool2d, ResizeBilinear, ResizeNearest, Slice, Suppression, Take,
    TransposeConv2d,
};
pub use pattern::Pattern;
pub use problem::{MAX_PROBLEMS, Place, Problem, Problems, Rule};
pub use tensor::{Data, ElementType, MAX_ELEMENTS, MAX_RANK, Quantization, Shape, ShapeError, Source, Tensor};
