//! Pictures of any size as pixels of the size a network takes.

use std::io::Cursor;

use cnnip_package::Color;
use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageReader, Limits};

use crate::truth::Mask;

/// Largest side of a picture that is decoded.
const MAX_SIDE: u32 = 1 << 14;

/// What is done with a picture of another size than the network's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// It is refused: how it is scaled decides over the result.
    #[default]
    Exact,
    /// Both sides are scaled to size.
    Stretch,
    /// It is scaled until it covers the size, and its middle is taken.
    Crop,
}

/// How bytes become numbers: `(byte - mean) / std`, per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// One per channel, or one for all.
    pub mean: Vec<f32>,
    /// One per channel, or one for all; none is 0.
    pub std: Vec<f32>,
}

impl Normalize {
    /// The same for all channels.
    pub fn all(mean: f32, std: f32) -> Self {
        Self { mean: vec![mean], std: vec![std] }
    }

    /// The numbers of pixels, channels of a pixel side by side.
    pub fn apply(&self, pixels: &[u8], channels: usize) -> Vec<f32> {
        let of = |list: &[f32], at: usize| list.get(at % channels.max(1)).or(list.first()).copied();
        let number = |(at, &byte): (usize, &u8)| {
            (f32::from(byte) - of(&self.mean, at).unwrap_or(0.0)) / of(&self.std, at).unwrap_or(1.0)
        };
        pixels.iter().enumerate().map(number).collect()
    }
}

/// Pixels of 8-bit channels, row by row, channels of a pixel side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Grey, or red, green, blue.
    pub color: Color,
    /// `height * width * channels` bytes.
    pub bytes: Vec<u8>,
}

/// A picture that gives no pixels, or no classes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelsError {
    /// Not a picture, a damaged one, or one that is too large.
    #[error("the picture cannot be decoded: {0}")]
    Decode(#[from] image::ImageError),
    /// A picture of another size.
    #[error("the picture is {}x{}, the network takes {}x{}", found.0, found.1, wanted.0, wanted.1)]
    Size {
        /// Its width and height.
        found: (u32, u32),
        /// Those of the network.
        wanted: (u32, u32),
    },
    /// A mask that has other colors than 8-bit grey.
    #[error("a mask is a grey picture of 8 bits whose bytes are classes, this one is {found:?}")]
    Mask {
        /// Its colors.
        found: ExtendedColorType,
    },
}

/// Decodes a png, jpeg, bmp or pnm file to `size` (width, height).
///
/// Grey is made of colors by luminance, colors of grey by repetition; 16-bit channels become 8-bit ones, transparency is dropped.
/// Scaling is by the triangle filter, which is bilinear where it enlarges and averages where it reduces.
///
/// # Errors
/// A file that is no picture, one of another size where `fit` is exact, and one of more than 16384 pixels a side.
pub fn decode(file: &[u8], color: Color, size: (u32, u32), fit: Fit) -> Result<Pixels, PixelsError> {
    let picture = fitted(decoded(file, size, fit)?.0, size, fit, FilterType::Triangle);
    let bytes = match color {
        Color::Gray => picture.into_luma8().into_raw(),
        Color::Rgb => picture.into_rgb8().into_raw(),
    };
    Ok(Pixels { width: size.0, height: size.1, color, bytes })
}

/// Width and height of a picture.
///
/// # Errors
/// A file that is no picture.
pub fn size(file: &[u8]) -> Result<(u32, u32), PixelsError> {
    Ok(reader(file)?.into_dimensions()?)
}

/// Decodes a grey picture of 8 bits whose bytes are classes to `size` (width, height); where it is scaled, to the nearest pixel.
///
/// # Errors
/// Those of [`decode`], and other colors: a palette's numbers are lost when it is decoded.
pub fn decode_mask(file: &[u8], size: (u32, u32), fit: Fit) -> Result<Mask, PixelsError> {
    let (picture, found) = decoded(file, size, fit)?;
    if found != ExtendedColorType::L8 {
        return Err(PixelsError::Mask { found });
    }
    let grey = fitted(picture, size, fit, FilterType::Nearest).into_luma8();
    let side = |length: u32| usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Mask { width: side(grey.width()), height: side(grey.height()), classes: grey.into_raw() })
}

/// A picture of a size that can be fitted, and the colors it has in its file.
fn decoded(file: &[u8], size: (u32, u32), fit: Fit) -> Result<(DynamicImage, ExtendedColorType), PixelsError> {
    let found = self::size(file)?;
    if fit == Fit::Exact && found != size {
        return Err(PixelsError::Size { found, wanted: size });
    }
    let mut reader = reader(file)?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    let decoder = reader.into_decoder()?;
    let colors = decoder.original_color_type();
    Ok((DynamicImage::from_decoder(decoder)?, colors))
}

fn reader(file: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, PixelsError> {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format();
    Ok(reader.map_err(image::ImageError::IoError)?)
}

fn fitted(picture: DynamicImage, (width, height): (u32, u32), fit: Fit, filter: FilterType) -> DynamicImage {
    if (picture.width(), picture.height()) == (width, height) {
        return picture;
    }
    match fit {
        Fit::Exact => picture,
        Fit::Stretch => picture.resize_exact(width, height, filter),
        Fit::Crop => picture.resize_to_fill(width, height, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageFormat, Luma};

    /// A grey picture whose left half is black and whose right half is white.
    fn halves(width: u32, height: u32) -> Vec<u8> {
        let picture = GrayImage::from_fn(width, height, |x, _| Luma([if x < width / 2 { 0 } else { 255 }]));
        let mut file = Cursor::new(vec![]);
        picture.write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner()
    }

    #[test]
    fn sizes_are_refused_stretched_or_cut() {
        let file = halves(8, 4);
        let exact = decode(&file, Color::Gray, (4, 4), Fit::Exact).unwrap_err();
        assert_eq!(exact.to_string(), "the picture is 8x4, the network takes 4x4");
        let stretched = decode(&file, Color::Gray, (4, 4), Fit::Stretch).unwrap();
        assert_eq!((stretched.bytes.len(), stretched.bytes[0], stretched.bytes[3]), (16, 0, 255));
        let cut = decode(&file, Color::Rgb, (4, 4), Fit::Crop).unwrap();
        assert_eq!(cut.bytes[..12], [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255]);
        assert_eq!(decode(&file, Color::Gray, (8, 4), Fit::Exact).unwrap().bytes.len(), 32);
    }

    #[test]
    fn masks_are_grey_and_their_classes_do_not_mix() {
        let mask = decode_mask(&halves(8, 4), (4, 2), Fit::Stretch).unwrap();
        assert_eq!(mask, Mask { width: 4, height: 2, classes: vec![0, 0, 255, 255, 0, 0, 255, 255] });
        assert!(matches!(decode_mask(&halves(8, 4), (4, 4), Fit::Exact), Err(PixelsError::Size { .. })));
        let mut color = Cursor::new(vec![]);
        image::RgbImage::new(2, 2).write_to(&mut color, ImageFormat::Png).unwrap();
        let refused = decode_mask(&color.into_inner(), (2, 2), Fit::Exact).unwrap_err();
        assert!(matches!(refused, PixelsError::Mask { found: ExtendedColorType::Rgb8 }), "{refused}");
    }

    #[test]
    fn numbers_go_by_channel() {
        let rule = Normalize { mean: vec![0.0, 10.0, 20.0], std: vec![1.0, 2.0, 5.0] };
        assert_eq!(rule.apply(&[1, 12, 25, 2, 14, 30], 3), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(Normalize::all(127.5, 127.5).apply(&[0, 255], 1), [-1.0, 1.0]);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let file = halves(8, 4);
        for end in 0..file.len() - 12 {
            assert!(decode(&file[..end], Color::Gray, (8, 4), Fit::Exact).is_err(), "{end}");
        }
    }
}
