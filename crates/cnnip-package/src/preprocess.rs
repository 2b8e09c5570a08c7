//! How a picture becomes an input tensor.

use crate::TensorId;

/// An input of the model: its tensor and, if it wants a picture, how to make the tensor from one.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The tensor the application fills; in an input region.
    pub tensor: TensorId,
    /// How a picture becomes the tensor; `None` if only raw tensors make sense.
    pub preprocess: Option<Preprocess>,
}

/// How a picture becomes a tensor: its size, order and pixel arithmetic. How a picture of another size is fitted is up to
/// the tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// Rows.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
    /// Order of the tensor's dimensions.
    pub layout: Layout,
    /// Channels per pixel.
    pub color: Color,
    /// From an 8-bit channel value to an element.
    pub pixels: Pixels,
}

/// Order of the dimensions of a picture in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Row, pixel, channel: channels are neighbours.
    Nhwc,
    /// Channel, row, pixel: one plane per channel.
    Nchw,
}

/// Channels of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Color {
    /// One channel.
    Gray,
    /// Red, green, blue.
    Rgb,
}

impl Color {
    /// Channels per pixel.
    pub fn channels(self) -> u32 {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

/// From an 8-bit channel value `p` to a tensor element.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// The byte as it is, reinterpreted as the one-byte element type.
    Raw,
    /// `p + offset` as an integer; must fit the element type for every `p`. Minus 128 is the usual case for int8.
    Offset(i32),
    /// `(p - mean[c]) / std[c]` in binary32, then quantized like the host operator `Quantize` if the tensor holds integers.
    Float {
        /// Subtracted, in units of `p`; one per channel.
        mean: Vec<f32>,
        /// Divisor, in units of `p`; one per channel, finite and not 0.
        std: Vec<f32>,
    },
}
