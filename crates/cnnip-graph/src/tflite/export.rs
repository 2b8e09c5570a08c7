//! Writing TFLite models, so that a graph built here can run on TFLite's own interpreters.

use super::names::ELEMENTS;
use super::operators::{in_slots, nearest_indices};
use super::schema::{
    IDENTIFIER, VERSION, arg_extremum, buffer, code, concatenation, conv2d, depthwise, fully_connected, gather, lstm,
    model, operator, operator_code, options, pack, padding, pool2d, quantization, resize_bilinear, resize_nearest,
    single, strided_slice, subgraph, tensor,
};
use crate::flatbuffer::TableBuilder;
use crate::graph::{Graph, Node, TensorId};
use crate::infer::dilated;
use crate::op::{
    Activation, ArgExtremum, Blocks, Conv2d, DepthwiseConv2d, Grid, Hw, Lstm, Mean, Op, Pad, PadValue, Padding, Pool2d,
    ResizeNearest, Slice, TransposeConv2d,
};
use crate::problem::Problems;
use crate::tensor::{ElementType, Quantization, Shape, Tensor};

/// Why a graph cannot be written as a TFLite model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The graph is not well-formed.
    #[error(transparent)]
    Graph(#[from] Problems),
    /// The format knows only "same" padding and none.
    #[error("node {node}: padding {padding} is neither `SAME` nor `VALID`; put a pad node before it")]
    Padding {
        /// Name of the node.
        node: String,
        /// Its padding.
        padding: Padding,
    },
    /// An operator that this writer has no form for.
    #[error("node {node}: {operator} cannot be written as a TFLite operator")]
    Operator {
        /// Name of the node.
        node: String,
        /// Name of the operator.
        operator: &'static str,
    },
    /// A number that does not fit the format's 32 bits.
    #[error("{value} does not fit 32 bits")]
    TooLarge {
        /// The number.
        value: usize,
    },
}

/// Writes `graph` as a TFLite model. Attributes that the format keeps in constant tensors get
/// tensors of their own, behind those of the graph.
///
/// Reading the result gives the same graph but for those tensors.
///
/// # Errors
/// If the graph is not well-formed, or has a padding or an operator that the format lacks.
pub fn export_tflite(graph: &Graph) -> Result<Vec<u8>, ExportError> {
    graph.check()?;
    Ok(model_tables(graph)?.finish(IDENTIFIER))
}

/// The model as a tree of tables, before it is written.
pub(super) fn model_tables(graph: &Graph) -> Result<TableBuilder, ExportError> {
    let mut writer = Writer { graph, tensors: Vec::new(), buffers: vec![TableBuilder::new()], codes: Vec::new() };
    for tensor in &graph.tensors {
        writer.tensor(tensor)?;
    }
    let operators = graph.nodes.iter().map(|node| writer.operator(node)).collect::<Result<Vec<_>, _>>()?;
    let Writer { tensors, buffers, codes, .. } = writer;
    let subgraph = TableBuilder::new()
        .with_tables(subgraph::TENSORS, tensors)
        .with_list(subgraph::INPUTS, &indices(&graph.inputs)?)
        .with_list(subgraph::OUTPUTS, &indices(&graph.outputs)?)
        .with_tables(subgraph::OPERATORS, operators)
        .with_text(subgraph::NAME, &graph.name);
    Ok(TableBuilder::new()
        .with(model::VERSION, VERSION)
        .with_tables(model::OPERATOR_CODES, codes.into_iter().map(operator_code).collect())
        .with_tables(model::SUBGRAPHS, vec![subgraph])
        .with_text(model::DESCRIPTION, "written by cnnip-graph")
        .with_tables(model::BUFFERS, buffers))
}

/// An operator as the format has it: its code, attributes, and tensors that the graph does not have: attributes that are
/// constants, and states, which have no data.
struct Form {
    code: i32,
    options: (u8, TableBuilder),
    constants: Vec<Tensor>,
}

impl Form {
    fn new(code: i32, tag: u8, table: TableBuilder) -> Self {
        Self { code, options: (tag, table), constants: Vec::new() }
    }

    /// An operator without attributes in the format's sense.
    fn plain(code: i32, tag: u8) -> Self {
        Self::new(code, tag, TableBuilder::new())
    }

    fn constant(mut self, tensor: Tensor) -> Self {
        self.constants.push(tensor);
        self
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    tensors: Vec<TableBuilder>,
    buffers: Vec<TableBuilder>,
    /// The operator codes used so far.
    codes: Vec<i32>,
}

impl Writer<'_> {
    /// Appends a tensor and, for a constant, its buffer; gives its index.
    fn tensor(&mut self, tensor: &Tensor) -> Result<i32, ExportError> {
        let mut table = TableBuilder::new()
            .with_list(tensor::SHAPE, &dims(&tensor.shape)?)
            .with(tensor::TYPE, element_code(tensor.element))
            .with_text(tensor::NAME, &tensor.name);
        if let Some(data) = &tensor.data {
            table.set(tensor::BUFFER, u32::try_from(self.buffers.len()).map_err(|_| too_large(self.buffers.len()))?);
            self.buffers.push(TableBuilder::new().with_list(buffer::DATA, data.bytes()));
        }
        if let Some(quantization) = &tensor.quantization {
            table = table.with_table(tensor::QUANTIZATION, parameters(quantization)?);
        }
        self.tensors.push(table);
        int(self.tensors.len() - 1)
    }

    fn operator(&mut self, node: &Node) -> Result<TableBuilder, ExportError> {
        let form = self.form(node)?;
        let mut inputs = indices(&node.inputs)?;
        for constant in &form.constants {
            let index = self.tensor(constant)?;
            if let (None, Some(table)) = (&constant.data, self.tensors.last_mut()) {
                table.set(tensor::IS_VARIABLE, true);
            }
            inputs.push(index);
        }
        inputs = match form.code {
            code::TRANSPOSE_CONV => transposed_order(&inputs),
            code::UNIDIRECTIONAL_SEQUENCE_LSTM => in_slots(&inputs),
            _ => inputs,
        };
        let table = TableBuilder::new()
            .with(operator::CODE_INDEX, self.code(form.code)?)
            .with_list(operator::INPUTS, &inputs)
            .with_list(operator::OUTPUTS, &indices(&node.outputs)?);
        let (tag, attributes) = form.options;
        Ok(if tag == options::NONE { table } else { table.with_union(operator::OPTIONS, tag, attributes) })
    }

    /// The index of an operator code.
    fn code(&mut self, code: i32) -> Result<u32, ExportError> {
        let index = self.codes.iter().position(|&known| known == code).unwrap_or_else(|| {
            self.codes.push(code);
            self.codes.len() - 1
        });
        u32::try_from(index).map_err(|_| too_large(index))
    }

    fn form(&self, node: &Node) -> Result<Form, ExportError> {
        let attributes = TableBuilder::new;
        let constant =
            |what: &str, shape: &[usize], values: &[usize]| integers(&format!("{}/{what}", node.name), shape, values);
        Ok(match &node.op {
            Op::Conv2d(conv) => self.conv(node, conv)?,
            Op::TransposeConv2d(conv) => self.transposed(node, conv)?,
            Op::DepthwiseConv2d(conv) => self.depthwise(node, conv)?,
            Op::FullyConnected(layer) => {
                let table = attributes().with(fully_connected::ACTIVATION, fused(layer.activation));
                let table = table.with(fully_connected::KEEP_NUM_DIMS, layer.keep_num_dims);
                Form::new(code::FULLY_CONNECTED, options::FULLY_CONNECTED, table)
            }
            Op::MaxPool2d(pool) => Form::new(code::MAX_POOL_2D, options::POOL_2D, self.pool(node, pool)?),
            Op::AveragePool2d(pool) => Form::new(code::AVERAGE_POOL_2D, options::POOL_2D, self.pool(node, pool)?),
            Op::Mean(mean) => reduction(node, code::MEAN, mean)?,
            Op::Sum(mean) => reduction(node, code::SUM, mean)?,
            Op::ReduceMax(mean) => reduction(node, code::REDUCE_MAX, mean)?,
            Op::ReduceMin(mean) => reduction(node, code::REDUCE_MIN, mean)?,
            Op::Concat { axis } => {
                let table = attributes().with(concatenation::AXIS, int(*axis)?);
                Form::new(code::CONCATENATION, options::CONCATENATION, table)
            }
            Op::Pack { axis } => {
                let table = attributes().with(pack::COUNT, int(node.inputs.len())?).with(pack::AXIS, int(*axis)?);
                Form::new(code::PACK, options::PACK, table)
            }
            Op::Slice(op) => slice(node, op)?,
            Op::Gather(op) => {
                let table = attributes().with(gather::AXIS, int(op.axis)?);
                let indices = constant("indices", op.shape.dims(), &op.indices)?;
                Form::new(code::GATHER, options::GATHER, table).constant(indices)
            }
            Op::ResizeNearest(op) => self.resize_nearest(node, op)?,
            Op::ResizeBilinear(op) => {
                let table = attributes()
                    .with(resize_bilinear::ALIGN_CORNERS, op.grid == Grid::AlignCorners)
                    .with(resize_bilinear::HALF_PIXEL_CENTERS, op.grid == Grid::HalfPixel);
                let size = constant("size", &[2], &[op.output.h, op.output.w])?;
                Form::new(code::RESIZE_BILINEAR, options::RESIZE_BILINEAR, table).constant(size)
            }
            Op::ArgMax(op) => self.arg_extremum(node, (code::ARG_MAX, options::ARG_MAX), op)?,
            Op::ArgMin(op) => self.arg_extremum(node, (code::ARG_MIN, options::ARG_MIN), op)?,
            Op::DepthToSpace { block } => {
                let table = attributes().with(single::BLOCK_SIZE, int(*block)?);
                Form::new(code::DEPTH_TO_SPACE, options::DEPTH_TO_SPACE, table)
            }
            Op::SpaceToDepth { block } => {
                let table = attributes().with(single::BLOCK_SIZE, int(*block)?);
                Form::new(code::SPACE_TO_DEPTH, options::SPACE_TO_DEPTH, table)
            }
            Op::SpaceToBatch(op) => blocks(node, (code::SPACE_TO_BATCH_ND, options::SPACE_TO_BATCH_ND), op)?,
            Op::BatchToSpace(op) => blocks(node, (code::BATCH_TO_SPACE_ND, options::BATCH_TO_SPACE_ND), op)?,
            Op::Pad(pad) => self.pad(node, pad)?,
            Op::Add { activation } => {
                Form::new(code::ADD, options::ADD, attributes().with(single::ADD_ACTIVATION, fused(*activation)))
            }
            Op::Sub { activation } => {
                Form::new(code::SUB, options::SUB, attributes().with(single::ADD_ACTIVATION, fused(*activation)))
            }
            Op::Mul { activation } => {
                Form::new(code::MUL, options::MUL, attributes().with(single::ADD_ACTIVATION, fused(*activation)))
            }
            Op::Maximum => Form::plain(code::MAXIMUM, options::MAXIMUM_MINIMUM),
            Op::Minimum => Form::plain(code::MINIMUM, options::MAXIMUM_MINIMUM),
            Op::Prelu => Form::plain(code::PRELU, options::NONE),
            Op::LeakyRelu { alpha } => {
                Form::new(code::LEAKY_RELU, options::LEAKY_RELU, attributes().with(single::LEAKY_RELU_ALPHA, *alpha))
            }
            Op::HardSwish => Form::plain(code::HARD_SWISH, options::HARD_SWISH),
            Op::Logistic => Form::plain(code::LOGISTIC, options::NONE),
            Op::Tanh => Form::plain(code::TANH, options::NONE),
            Op::Reshape { shape } => {
                let table = attributes().with_list(single::RESHAPE_SHAPE, &dims(shape)?);
                Form::new(code::RESHAPE, options::RESHAPE, table).constant(constant(
                    "shape",
                    &[shape.rank()],
                    shape.dims(),
                )?)
            }
            Op::Transpose { perm } => {
                Form::plain(code::TRANSPOSE, options::TRANSPOSE).constant(constant("perm", &[perm.len()], perm)?)
            }
            Op::Softmax { beta } => {
                Form::new(code::SOFTMAX, options::SOFTMAX, attributes().with(single::SOFTMAX_BETA, *beta))
            }
            Op::Quantize => Form::plain(code::QUANTIZE, options::QUANTIZE),
            Op::Dequantize => Form::plain(code::DEQUANTIZE, options::DEQUANTIZE),
            Op::Abs => Form::plain(code::ABS, options::ABS),
            Op::Neg => Form::plain(code::NEG, options::NEG),
            Op::Exp => Form::plain(code::EXP, options::EXP),
            Op::Log => Form::plain(code::LOG, options::NONE),
            Op::Rsqrt => Form::plain(code::RSQRT, options::NONE),
            Op::Elu => Form::plain(code::ELU, options::NONE),
            Op::Gelu { approximate } => {
                Form::new(code::GELU, options::GELU, attributes().with(single::GELU_APPROXIMATE, *approximate))
            }
            Op::SquaredDifference => Form::plain(code::SQUARED_DIFFERENCE, options::SQUARED_DIFFERENCE),
            Op::Lstm(op) => self.lstm(node, op)?,
            Op::Relu => Form::plain(code::RELU, options::NONE),
            Op::Relu6 => Form::plain(code::RELU6, options::NONE),
            Op::ReluN1To1 => Form::plain(code::RELU_N1_TO_1, options::NONE),
            Op::Div { .. }
            | Op::Pow
            | Op::MatMul
            | Op::Clamp { .. }
            | Op::HardSigmoid { .. }
            | Op::Sqrt
            | Op::NonMaxSuppression(_)
            | Op::Detections(_)
            | Op::Take(_) => {
                return Err(ExportError::Operator { node: node.name.clone(), operator: node.op.name() });
            }
        })
    }

    fn conv(&self, node: &Node, conv: &Conv2d) -> Result<Form, ExportError> {
        let table = self
            .windowed(node, conv.padding, self.window(node, conv.dilation), conv.stride)?
            .with(conv2d::ACTIVATION, fused(conv.activation))
            .with(conv2d::DILATION_W, int(conv.dilation.w)?)
            .with(conv2d::DILATION_H, int(conv.dilation.h)?);
        Ok(Form::new(code::CONV_2D, options::CONV_2D, table))
    }

    /// The states are tensors of their own in the format.
    fn lstm(&self, node: &Node, op: &Lstm) -> Result<Form, ExportError> {
        let output = &self.graph[node.outputs[0]];
        let &[outer, inner, units] = output.shape.dims() else {
            return Err(ExportError::Operator { node: node.name.clone(), operator: node.op.name() });
        };
        let batch = if op.time_major { inner } else { outer };
        let shape = Shape::new([batch, units]).map_err(|_| too_large(units))?;
        let state = |what: &str, element| Tensor::new(format!("{}/{what}", node.name), shape.clone(), element);
        let hidden = Tensor { quantization: output.quantization.clone(), ..state("hidden", output.element) };
        let cell = match op.cell_scale {
            Some(scale) => state("cell", ElementType::I16).quantized(Quantization::per_tensor(scale, 0)),
            None => state("cell", ElementType::F32),
        };
        let table = TableBuilder::new()
            .with(lstm::ACTIVATION, lstm::TANH)
            .with(lstm::CELL_CLIP, op.cell_clip)
            .with(lstm::TIME_MAJOR, op.time_major);
        let form = Form::new(code::UNIDIRECTIONAL_SEQUENCE_LSTM, options::UNIDIRECTIONAL_SEQUENCE_LSTM, table);
        Ok(form.constant(hidden).constant(cell))
    }

    /// The format has the padding of the convolution whose input the output is.
    fn transposed(&self, node: &Node, conv: &TransposeConv2d) -> Result<Form, ExportError> {
        let unsupported = || ExportError::Operator { node: node.name.clone(), operator: node.op.name() };
        let crop = Padding { top: conv.crop.h, left: conv.crop.w, ..Padding::NONE };
        let same = Padding::same(conv.output, self.window(node, Hw::ONE), conv.stride);
        let rule = match conv.crop {
            _ if conv.groups != 1 || conv.dilation != Hw::ONE => return Err(unsupported()),
            Hw { h: 0, w: 0 } => padding::VALID,
            Hw { h, w } if (h, w) == (same.top, same.left) => padding::SAME,
            _ => return Err(ExportError::Padding { node: node.name.clone(), padding: crop }),
        };
        let table = TableBuilder::new()
            .with(conv2d::PADDING, rule)
            .with(conv2d::STRIDE_W, int(conv.stride.w)?)
            .with(conv2d::STRIDE_H, int(conv.stride.h)?)
            .with(conv2d::ACTIVATION, fused(conv.activation));
        let output = &self.graph[node.outputs[0]].shape;
        let shape = integers(&format!("{}/shape", node.name), &[output.rank()], output.dims())?;
        Ok(Form::new(code::TRANSPOSE_CONV, options::TRANSPOSE_CONV, table).constant(shape))
    }

    fn resize_nearest(&self, node: &Node, op: &ResizeNearest) -> Result<Form, ExportError> {
        let [_, h, w, _] = self.graph[node.inputs[0]].shape.nhwc().unwrap_or_default();
        let gives = |grid: &Grid| {
            let indices = |from, wanted: &[usize]| nearest_indices(from, wanted.len(), *grid) == wanted;
            indices(h, &op.rows) && indices(w, &op.columns)
        };
        let grids = [Grid::Asymmetric, Grid::HalfPixel, Grid::AlignCorners];
        let unsupported = || ExportError::Operator { node: node.name.clone(), operator: node.op.name() };
        let grid = grids.into_iter().find(gives).ok_or_else(unsupported)?;
        let table = TableBuilder::new()
            .with(resize_nearest::ALIGN_CORNERS, grid == Grid::AlignCorners)
            .with(resize_nearest::HALF_PIXEL_CENTERS, grid == Grid::HalfPixel);
        let size = integers(&format!("{}/size", node.name), &[2], &[op.rows.len(), op.columns.len()])?;
        Ok(Form::new(code::RESIZE_NEAREST_NEIGHBOR, options::RESIZE_NEAREST_NEIGHBOR, table).constant(size))
    }

    fn arg_extremum(&self, node: &Node, (code, tag): (i32, u8), op: &ArgExtremum) -> Result<Form, ExportError> {
        if op.keep_dims {
            return Err(ExportError::Operator { node: node.name.clone(), operator: node.op.name() });
        }
        let element = element_code(self.graph[node.outputs[0]].element);
        let table = TableBuilder::new().with(arg_extremum::OUTPUT_TYPE, element);
        let axis = integers(&format!("{}/axis", node.name), &[1], &[op.axis])?;
        Ok(Form::new(code, tag, table).constant(axis))
    }

    fn depthwise(&self, node: &Node, conv: &DepthwiseConv2d) -> Result<Form, ExportError> {
        let table = self
            .windowed(node, conv.padding, self.window(node, conv.dilation), conv.stride)?
            .with(depthwise::MULTIPLIER, int(conv.multiplier)?)
            .with(depthwise::ACTIVATION, fused(conv.activation))
            .with(depthwise::DILATION_W, int(conv.dilation.w)?)
            .with(depthwise::DILATION_H, int(conv.dilation.h)?);
        Ok(Form::new(code::DEPTHWISE_CONV_2D, options::DEPTHWISE_CONV_2D, table))
    }

    fn pool(&self, node: &Node, pool: &Pool2d) -> Result<TableBuilder, ExportError> {
        let table = self.windowed(node, pool.padding, pool.window, pool.stride)?;
        let table = table.with(pool2d::WINDOW_W, int(pool.window.w)?).with(pool2d::WINDOW_H, int(pool.window.h)?);
        Ok(table.with(pool2d::ACTIVATION, fused(pool.activation)))
    }

    fn pad(&self, node: &Node, pad: &Pad) -> Result<Form, ExportError> {
        let amounts: Vec<usize> =
            pad.before.iter().zip(&pad.after).flat_map(|(&before, &after)| [before, after]).collect();
        let amounts = integers(&format!("{}/paddings", node.name), &[pad.before.len(), 2], &amounts)?;
        let input = &self.graph[node.inputs[0]];
        let bytes = match pad.value {
            PadValue::Zero => return Ok(Form::plain(code::PAD, options::PAD).constant(amounts)),
            PadValue::Integer(value) => value.to_le_bytes()[..input.element.size()].to_vec(),
            PadValue::Float(value) => value.to_le_bytes().to_vec(),
        };
        let value = Tensor::new(format!("{}/value", node.name), Shape::scalar(), input.element).constant(bytes);
        let value = Tensor { quantization: input.quantization.clone(), ..value };
        Ok(Form::plain(code::PADV2, options::PADV2).constant(amounts).constant(value))
    }

    /// The extent of the dilated kernel of a convolution.
    fn window(&self, node: &Node, dilation: Hw) -> Hw {
        let [_, h, w, _] = self.graph[node.inputs[1]].shape.nhwc().unwrap_or_default();
        Hw::new(dilated(h, dilation.h), dilated(w, dilation.w))
    }

    /// Padding and stride, which all windowed operators have in the same fields.
    fn windowed(&self, node: &Node, padding: Padding, window: Hw, stride: Hw) -> Result<TableBuilder, ExportError> {
        let [_, h, w, _] = self.graph[node.inputs[0]].shape.nhwc().unwrap_or_default();
        let rule = match padding {
            Padding::NONE => padding::VALID,
            same if same == Padding::same(Hw::new(h, w), window, stride) => padding::SAME,
            padding => return Err(ExportError::Padding { node: node.name.clone(), padding }),
        };
        let table = TableBuilder::new().with(conv2d::PADDING, rule);
        Ok(table.with(conv2d::STRIDE_W, int(stride.w)?).with(conv2d::STRIDE_H, int(stride.h)?))
    }
}

/// From activation, weights, perhaps bias and the output's shape to the format's order: shape, weights, activation, bias.
fn transposed_order(inputs: &[i32]) -> Vec<i32> {
    match *inputs {
        [activation, weights, ref bias @ .., shape] => [&[shape, weights, activation], bias].concat(),
        _ => inputs.to_vec(),
    }
}

fn reduction(node: &Node, code: i32, mean: &Mean) -> Result<Form, ExportError> {
    let table = TableBuilder::new().with(single::REDUCE_KEEP_DIMS, mean.keep_dims);
    let axes = integers(&format!("{}/axes", node.name), &[mean.axes.len()], &mean.axes)?;
    Ok(Form::new(code, options::REDUCE, table).constant(axes))
}

/// A slice as `STRIDED_SLICE`, which has the others as special cases.
fn slice(node: &Node, slice: &Slice) -> Result<Form, ExportError> {
    let rank = [slice.begin.len()];
    let list = |what: &str, values: &[usize]| integers(&format!("{}/{what}", node.name), &rank, values);
    let axes = slice.begin.iter().zip(&slice.stride).zip(&slice.count);
    let ends: Vec<usize> = axes.map(|((begin, stride), count)| begin + (count - 1) * stride + 1).collect();
    let shrink = slice.dropped.iter().fold(0, |mask, axis| mask | 1 << axis);
    let table = TableBuilder::new().with(strided_slice::SHRINK_AXIS_MASK, shrink);
    let form = Form::new(code::STRIDED_SLICE, options::STRIDED_SLICE, table);
    let form = form.constant(list("begin", &slice.begin)?).constant(list("end", &ends)?);
    Ok(form.constant(list("strides", &slice.stride)?))
}

/// Blocks, and pairs of what surrounds the positions.
fn blocks(node: &Node, (code, tag): (i32, u8), op: &Blocks) -> Result<Form, ExportError> {
    let around: Vec<usize> = op.before.iter().zip(&op.after).flat_map(|(&before, &after)| [before, after]).collect();
    let count = op.block.len();
    let block = integers(&format!("{}/block", node.name), &[count], &op.block)?;
    let around = integers(&format!("{}/around", node.name), &[count, 2], &around)?;
    Ok(Form::plain(code, tag).constant(block).constant(around))
}

fn operator_code(code: i32) -> TableBuilder {
    TableBuilder::new()
        .with(operator_code::SHORT_CODE, i8::try_from(code).unwrap_or(i8::MAX))
        .with(operator_code::VERSION, 1)
        .with(operator_code::CODE, code)
}

fn parameters(quantization: &Quantization) -> Result<TableBuilder, ExportError> {
    Ok(TableBuilder::new()
        .with_list(quantization::SCALE, quantization.scales())
        .with_list(quantization::ZERO_POINT, quantization.zero_points())
        .with(quantization::DIMENSION, int(quantization.axis().unwrap_or(0))?))
}

/// A constant of 32-bit integers.
fn integers(name: &str, shape: &[usize], values: &[usize]) -> Result<Tensor, ExportError> {
    let mut bytes = Vec::new();
    for &value in values {
        bytes.extend(int(value)?.to_le_bytes());
    }
    let shape = Shape::new(shape).map_err(|_| too_large(values.len()))?;
    Ok(Tensor::new(name, shape, ElementType::I32).constant(bytes))
}

fn element_code(element: ElementType) -> i8 {
    let known = ELEMENTS.iter().find(|(_, known)| *known == element);
    known.expect("every element type has a code").0
}

fn fused(activation: Activation) -> i8 {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::ReluN1To1 => 2,
        Activation::Relu6 => 3,
    }
}

fn indices(ids: &[TensorId]) -> Result<Vec<i32>, ExportError> {
    ids.iter().map(|id| int(id.index())).collect()
}

fn dims(shape: &Shape) -> Result<Vec<i32>, ExportError> {
    shape.dims().iter().map(|&dim| int(dim)).collect()
}

fn int(value: usize) -> Result<i32, ExportError> {
    i32::try_from(value).map_err(|_| too_large(value))
}

fn too_large(value: usize) -> ExportError {
    ExportError::TooLarge { value }
}
