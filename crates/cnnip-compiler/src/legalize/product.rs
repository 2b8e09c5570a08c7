//! Convolution, depthwise convolution, fully connected.

use cnnip_graph::{
    Activation, Conv2d, Data, DepthwiseConv2d, ElementType, FullyConnected, Hw, Padding, Quantization, Tensor,
};
use cnnip_isa::{ElementType as DeviceType, RoundingMode};
use cnnip_numerics::ChannelRecord;
use cnnip_numerics::quantize::{float_conv_scale, narrow_product_scale, product_scale, quantize_multiplier};

use super::context::{Affine, At, clamp, elements, nhwc, signed, signed_zero};
use crate::error::Rule;
use crate::size::{small, wide};
use cnnip_lowered::{ConvLayer, Sweep, WeightSource, Work};

pub(super) fn conv(at: &mut At<'_, '_>, conv: &Conv2d) -> Result<(), Rule> {
    let [_, _, _, outputs] = nhwc(at.output());
    let groups = small(conv.groups);
    let shape = Grouping { groups, outputs: outputs / groups, depthwise: false };
    symmetric(at.input(1))?;
    let kernel = Hw::new(at.input(1).shape.dims()[1], at.input(1).shape.dims()[2]);
    let geometry = Geometry { kernel, stride: conv.stride, dilation: conv.dilation, padding: conv.padding };
    spatial(at, shape, &geometry, conv.activation)
}

pub(super) fn depthwise(at: &mut At<'_, '_>, conv: &DepthwiseConv2d) -> Result<(), Rule> {
    let [_, _, _, channels] = nhwc(at.input(0));
    let shape = Grouping { groups: channels, outputs: small(conv.multiplier), depthwise: true };
    symmetric(at.input(1))?;
    let kernel = Hw::new(at.input(1).shape.dims()[1], at.input(1).shape.dims()[2]);
    let geometry = Geometry { kernel, stride: conv.stride, dilation: conv.dilation, padding: conv.padding };
    spatial(at, shape, &geometry, conv.activation)
}

/// A fully connected layer is a 1x1 convolution over one row of batch pixels.
pub(super) fn fully_connected(at: &mut At<'_, '_>, layer: &FullyConnected) -> Result<(), Rule> {
    let depth = small(at.input(1).shape.dims()[1]);
    let outputs = small(at.input(1).shape.dims()[0]);
    let batch = small(elements(at.input(0)) / u64::from(depth));
    let mut numbers = Numbers::of(at, outputs, layer.activation)?;
    if at.input(0).element == ElementType::U8 && numbers.requant == RoundingMode::Double {
        // The one kernel of the oracle for uint8 rounds once.
        numbers.requant = RoundingMode::Single;
    }
    let work = numbers.into_layer(
        at,
        ConvShape {
            batch: 1,
            grouping: Grouping { groups: 1, outputs, depthwise: false },
            depth,
            vertical: Sweep::plain(1),
            horizontal: Sweep::plain(batch),
        },
    );
    let macs = u64::from(batch) * u64::from(depth) * u64::from(outputs);
    at.push(macs, Work::Conv(work));
    Ok(())
}

/// How channels fall into groups; `outputs` are those of one.
#[derive(Clone, Copy)]
pub(super) struct Grouping {
    pub(super) groups: u32,
    pub(super) outputs: u32,
    pub(super) depthwise: bool,
}

struct Geometry {
    kernel: Hw,
    stride: Hw,
    dilation: Hw,
    padding: Padding,
}

/// Extents of a product.
pub(super) struct ConvShape {
    pub(super) batch: u32,
    pub(super) grouping: Grouping,
    pub(super) depth: u32,
    pub(super) vertical: Sweep,
    pub(super) horizontal: Sweep,
}

fn spatial(at: &mut At<'_, '_>, grouping: Grouping, geometry: &Geometry, fused: Activation) -> Result<(), Rule> {
    let [batch, rows, columns, channels] = nhwc(at.input(0));
    let [_, out_rows, out_columns, _] = nhwc(at.output());
    let numbers = Numbers::of(at, grouping.groups * grouping.outputs, fused)?;
    let Geometry { kernel, stride, dilation, padding } = geometry;
    let vertical = sweep(rows, out_rows, kernel.h, stride.h, dilation.h, padding.top);
    let horizontal = sweep(columns, out_columns, kernel.w, stride.w, dilation.w, padding.left);
    let depth = channels / grouping.groups;
    let macs = elements(at.output()) * wide(kernel.h * kernel.w) * u64::from(depth);
    let shape = folded(ConvShape { batch, grouping, depth, vertical, horizontal });
    let work = numbers.into_layer(at, shape);
    at.push(macs, Work::Conv(work));
    Ok(())
}

pub(super) fn sweep(input: u32, output: u32, kernel: usize, stride: usize, dilation: usize, before: usize) -> Sweep {
    let kernel = small(kernel);
    let dilation = if kernel == 1 { 1 } else { small(dilation) };
    let stride = if output == 1 { 1 } else { small(stride) };
    Sweep { input, output, kernel, stride, dilation, before: small(before) }
}

/// Where every output reads its own pixel only, a batch is the same as more rows.
fn folded(shape: ConvShape) -> ConvShape {
    if !(shape.vertical.is_plain() && shape.horizontal.is_plain()) {
        return shape;
    }
    let rows = shape.batch * shape.vertical.input;
    ConvShape { batch: 1, vertical: Sweep::plain(rows), ..shape }
}

/// The numeric parameters of a product.
#[derive(Clone)]
pub(super) struct Numbers {
    pub(super) weights: WeightSource,
    input: Affine,
    records: Vec<ChannelRecord>,
    requant: RoundingMode,
    activation: cnnip_isa::operation::Activation,
}

impl Numbers {
    pub(super) fn of(at: &At<'_, '_>, outputs: u32, fused: Activation) -> Result<Self, Rule> {
        let ([input], output) = at.alike()?;
        let weights = at.input(1);
        let element = weight_type(weights, input)?;
        let scales = weight_scales(weights)?;
        let bias = bias(at.optional(2), outputs, input)?;
        let requant = mode(at, input);
        let element_in = at.input(0).element;
        let scale = |channel: usize| scales.get(channel).or(scales.first()).copied().unwrap_or(1.0);
        let record = |(channel, bias): (usize, i64)| {
            let (multiplier, shift) = channel_scale(requant, element_in, [input.scale, scale(channel), output.scale])?;
            Ok(ChannelRecord { bias, multiplier, shift })
        };
        Ok(Self {
            weights: WeightSource {
                data: signed(weights.element, constant("weights", weights)?),
                element,
                zero: weight_zero(weights)?,
            },
            input,
            records: bias.into_iter().enumerate().map(record).collect::<Result<_, Rule>>()?,
            requant,
            activation: clamp(fused, output),
        })
    }

    pub(super) fn into_layer(self, at: &At<'_, '_>, shape: ConvShape) -> ConvLayer {
        let (input, input_zero) = at.read_by_product(self.input);
        ConvLayer {
            input,
            output: at.output_id(),
            batch: shape.batch,
            groups: shape.grouping.groups,
            depth: shape.depth,
            outputs: shape.grouping.outputs,
            depthwise: shape.grouping.depthwise,
            vertical: shape.vertical,
            horizontal: shape.horizontal,
            weights: self.weights,
            input_zero,
            records: self.records,
            requant: self.requant,
            activation: self.activation,
        }
    }
}

/// Rounding of a product: by the bias, or that there is none, where the oracle has a kernel for each width of it.
fn mode(at: &At<'_, '_>, input: Affine) -> RoundingMode {
    let profile = at.rounding().of_products();
    let wide_bias = input.is_wide() && at.optional(2).is_none_or(|bias| bias.element == ElementType::I64);
    match profile {
        _ if wide_bias => RoundingMode::Reduced,
        RoundingMode::Float if input.is_wide() => at.rounding().of_others(),
        _ => profile,
    }
}

/// Largest left shift of the mode `reduced`.
const MOST_REDUCED_SHIFT: i32 = 7;

/// Multiplier and shift of one output channel as its record holds them, from the scales of input, weights and output.
pub(super) fn channel_scale(
    requant: RoundingMode,
    element: ElementType,
    [input, weight, output]: [f32; 3],
) -> Result<(u32, i32), Rule> {
    if requant == RoundingMode::Float {
        let scale = float_conv_scale(input, weight, output);
        if !scale.is_finite() {
            return Err(cnnip_numerics::quantize::QuantizeError::NotFinite(scale.into()).into());
        }
        return Ok((scale.to_bits(), 0));
    }
    let ratio = match element {
        ElementType::U8 => narrow_product_scale(input, weight, output),
        _ => product_scale(input, weight, output),
    };
    let scale = quantize_multiplier(ratio)?;
    if requant == RoundingMode::Reduced && scale.shift > MOST_REDUCED_SHIFT {
        return Err(Rule::ScaleRatio { ratio, least: 0.0, most: f64::from(1 << MOST_REDUCED_SHIFT) });
    }
    Ok((scale.multiplier.cast_unsigned(), scale.shift))
}

pub(super) fn constant<'t>(what: &'static str, tensor: &'t Tensor) -> Result<&'t Data, Rule> {
    tensor.data.as_ref().ok_or_else(|| Rule::NotConstant { what, tensor: tensor.name.clone() })
}

/// The machine's type of the weights: 16 bit goes with 16-bit inputs only.
fn weight_type(weights: &Tensor, input: Affine) -> Result<DeviceType, Rule> {
    match weights.element {
        ElementType::I8 => Ok(DeviceType::Int8),
        ElementType::U8 if !input.is_wide() => Ok(DeviceType::Int8),
        ElementType::I16 if input.is_wide() => symmetric(weights).map(|()| DeviceType::Int16),
        found => {
            let want = if input.is_wide() { "int8 or int16" } else { "int8 or uint8" };
            Err(Rule::Element { what: "weights", tensor: weights.name.clone(), found, want })
        }
    }
}

/// One scale, or one per output channel.
pub(super) fn weight_scales(weights: &Tensor) -> Result<&[f32], Rule> {
    let missing = || Rule::NoQuantization { what: "weights", tensor: weights.name.clone() };
    Ok(weights.quantization.as_ref().ok_or_else(missing)?.scales())
}

/// The weights' zero point, which must be one for all channels.
fn weight_zero(weights: &Tensor) -> Result<i32, Rule> {
    let zeros = weights.quantization.as_ref().map_or(&[][..], Quantization::zero_points);
    let first = zeros.first().copied().unwrap_or(0);
    match zeros.iter().position(|&zero| zero != first) {
        Some(channel) => Err(Rule::WeightZero { channel, value: zeros[channel] }),
        None => Ok(signed_zero(weights.element, first)),
    }
}

/// Convolutions know no zero point of signed weights; the oracle would not look at it.
pub(super) fn symmetric(weights: &Tensor) -> Result<(), Rule> {
    let zeros = weights.quantization.as_ref().map_or(&[][..], Quantization::zero_points);
    if weights.element == ElementType::U8 {
        return Ok(());
    }
    match zeros.iter().enumerate().find(|&(_, &zero)| zero != 0) {
        Some((channel, &value)) => Err(Rule::WeightZero { channel, value }),
        None => Ok(()),
    }
}

/// The bias of every output channel; zeros if there is none.
pub(super) fn bias(tensor: Option<&Tensor>, outputs: u32, input: Affine) -> Result<Vec<i64>, Rule> {
    let Some(tensor) = tensor else { return Ok(vec![0; crate::size::index(outputs)]) };
    let data = constant("bias", tensor)?;
    let want = if input.is_wide() { "int32 or int64" } else { "int32" };
    let wrong = || Rule::Element { what: "bias", tensor: tensor.name.clone(), found: tensor.element, want };
    if tensor.element != ElementType::I32 && !(input.is_wide() && tensor.element == ElementType::I64) {
        return Err(wrong());
    }
    data.integers(tensor.element).ok_or_else(wrong)
}
