//! Pictures as inputs: the package says how pixels become elements.

use cnnip_hostops::{Operand, Step};
use cnnip_package::{Color, ElementType, HostOperator, Layout, Pixels, Preprocess, Tensor};

use crate::host_step::operand;

/// A picture of 8-bit channels, row by row, channels of a pixel side by side.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Rows.
    pub height: u32,
    /// Pixels per row.
    pub width: u32,
    /// Grey, or red, green, blue.
    pub color: Color,
    /// `height * width * channels` bytes.
    pub pixels: &'a [u8],
}

/// A picture that does not become an input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The package has no rule for pictures.
    #[error("the package does not say how a picture becomes this input")]
    NoRule,
    /// Another size or color than the input.
    #[error("the picture is {given}, the input {needed}")]
    Size {
        /// Width, height and color of the picture.
        given: String,
        /// Those of the input.
        needed: String,
    },
    /// Not as many bytes as size and color say.
    #[error("{given} bytes of pixels are not the {needed} of the picture's size")]
    Bytes {
        /// Bytes that came.
        given: usize,
        /// Bytes needed.
        needed: u64,
    },
    /// The package's rule does not fit its tensor.
    #[error("the package's rule for pixels does not fit elements of {element}")]
    Rule {
        /// The tensor's type.
        element: ElementType,
    },
}

impl PictureError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoRule => "give the tensor itself, as .npy or raw bytes",
            Self::Size { .. } => {
                "scale or crop the picture first: how decides over the result, so nothing is guessed here"
            }
            Self::Bytes { .. } => "give one byte per channel and pixel",
            Self::Rule { .. } => "the tool that made the package breaks isa-spec/package.md",
        }
    }
}

/// The bytes of an input tensor from a picture.
pub(crate) fn tensor_bytes(tensor: &Tensor, rule: &Preprocess, picture: &Picture<'_>) -> Result<Vec<u8>, PictureError> {
    check(rule, picture)?;
    let channels = usize::try_from(rule.color.channels()).unwrap_or(1);
    let ordered = in_layout(picture.pixels, channels, rule.layout);
    let channel_of = |index: usize| match rule.layout {
        Layout::Nhwc => index % channels,
        Layout::Nchw => index / (picture.pixels.len() / channels).max(1),
    };
    match &rule.pixels {
        Pixels::Raw => Ok(ordered),
        Pixels::Offset(offset) => with_offset(&ordered, *offset, tensor.element),
        Pixels::Float { mean, std } => {
            let real: Option<Vec<f32>> = (0..)
                .zip(&ordered)
                .map(|(index, &p)| Some((f32::from(p) - mean.get(channel_of(index))?) / std.get(channel_of(index))?))
                .collect();
            let real = real.ok_or(PictureError::Rule { element: tensor.element })?;
            from_real(tensor, &real)
        }
    }
}

fn check(rule: &Preprocess, picture: &Picture<'_>) -> Result<(), PictureError> {
    if (picture.height, picture.width, picture.color) != (rule.height, rule.width, rule.color) {
        let given = size(picture.width, picture.height, picture.color);
        return Err(PictureError::Size { given, needed: size(rule.width, rule.height, rule.color) });
    }
    let needed = u64::from(picture.height) * u64::from(picture.width) * u64::from(picture.color.channels());
    let given = picture.pixels.len();
    if u64::try_from(given) == Ok(needed) { Ok(()) } else { Err(PictureError::Bytes { given, needed }) }
}

fn size(width: u32, height: u32, color: Color) -> String {
    let color = match color {
        Color::Gray => "grey",
        Color::Rgb => "rgb",
    };
    format!("{width}x{height} {color}")
}

fn in_layout(pixels: &[u8], channels: usize, layout: Layout) -> Vec<u8> {
    match layout {
        Layout::Nhwc => pixels.to_vec(),
        Layout::Nchw => {
            let plane = |channel| pixels.iter().skip(channel).step_by(channels).copied();
            (0..channels).flat_map(plane).collect()
        }
    }
}

fn with_offset(pixels: &[u8], offset: i32, element: ElementType) -> Result<Vec<u8>, PictureError> {
    let bytes = usize::try_from(element.bytes()).unwrap_or(0);
    let (low, high) = element.range().ok_or(PictureError::Rule { element })?;
    let mut out = Vec::with_capacity(pixels.len().saturating_mul(bytes));
    for &pixel in pixels {
        let value = i64::from(pixel) + i64::from(offset);
        if !(low..=high).contains(&value) {
            return Err(PictureError::Rule { element });
        }
        out.extend(value.to_le_bytes().iter().take(bytes)); // two's complement: the low bytes are the value
    }
    Ok(out)
}

fn from_real(tensor: &Tensor, real: &[f32]) -> Result<Vec<u8>, PictureError> {
    let bytes: Vec<u8> = real.iter().flat_map(|x| x.to_le_bytes()).collect();
    if tensor.element == ElementType::Float32 {
        return Ok(bytes);
    }
    quantized(tensor, &bytes).ok_or(PictureError::Rule { element: tensor.element })
}

/// As the host step `Quantize` computes them.
fn quantized(tensor: &Tensor, real: &[u8]) -> Option<Vec<u8>> {
    let output = operand(tensor);
    let input = Operand { element: ElementType::Float32, quantization: None, ..output };
    let mut bytes = vec![0; usize::try_from(tensor.bytes()?).ok()?];
    Step::new(HostOperator::Quantize, &[input], output).ok()?.run(&[real], &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::{Place, Quantization, RegionId};

    fn tensor(element: ElementType, scale: f64, zero_point: i32) -> Tensor {
        let place = Place { region: RegionId(0), offset: 0 };
        Tensor {
            name: "t".into(),
            shape: vec![6],
            element,
            quantization: Some(Quantization { scale, zero_point }),
            place,
        }
    }

    fn rule(layout: Layout, pixels: Pixels) -> Preprocess {
        Preprocess { height: 1, width: 2, layout, color: Color::Rgb, pixels }
    }

    const PICTURE: Picture<'_> =
        Picture { height: 1, width: 2, color: Color::Rgb, pixels: &[0, 10, 20, 128, 200, 255] };

    #[test]
    fn bytes_offsets_and_planes() {
        let int8 = tensor(ElementType::Int8, 1.0, 0);
        let raw = tensor_bytes(&int8, &rule(Layout::Nhwc, Pixels::Raw), &PICTURE);
        assert_eq!(raw, Ok(PICTURE.pixels.to_vec()));
        let offset = tensor_bytes(&int8, &rule(Layout::Nchw, Pixels::Offset(-128)), &PICTURE);
        assert_eq!(offset, Ok(vec![0x80, 0, 0x8a, 72, 0x94, 127]));
        let wide = tensor_bytes(&tensor(ElementType::Int16, 1.0, 0), &rule(Layout::Nhwc, Pixels::Offset(-1)), &PICTURE);
        assert_eq!(wide.unwrap()[..4], [0xff, 0xff, 9, 0]);
    }

    #[test]
    fn normalization_goes_by_channel_in_either_layout() {
        let float = Pixels::Float { mean: vec![0.0, 10.0, 20.0], std: vec![1.0, 2.0, 5.0] };
        let int8 = tensor(ElementType::Int8, 1.0, 0);
        let by_pixel = tensor_bytes(&int8, &rule(Layout::Nhwc, float.clone()), &PICTURE);
        assert_eq!(by_pixel, Ok(vec![0, 0, 0, 127, 95, 47]));
        let by_plane = tensor_bytes(&int8, &rule(Layout::Nchw, float), &PICTURE);
        assert_eq!(by_plane, Ok(vec![0, 127, 0, 95, 0, 47]));
    }

    #[test]
    fn another_size_names_both() {
        let small = Picture { width: 1, ..PICTURE };
        let error = tensor_bytes(&tensor(ElementType::Int8, 1.0, 0), &rule(Layout::Nhwc, Pixels::Raw), &small);
        assert_eq!(error.unwrap_err().to_string(), "the picture is 1x1 rgb, the input 2x1 rgb");
        let short = Picture { pixels: &[1], ..PICTURE };
        let error = tensor_bytes(&tensor(ElementType::Int8, 1.0, 0), &rule(Layout::Nhwc, Pixels::Raw), &short);
        assert_eq!(error, Err(PictureError::Bytes { given: 1, needed: 6 }));
    }
}
