//! Input files: pictures, arrays, raw bytes.

use std::io::Cursor;
use std::path::Path;

use cnnip_data::npy::{self, NpyError};
use cnnip_driver::{BindError, Picture, PictureError, Session};
use cnnip_package::{Color, ElementType, Input, Tensor};
use image::{ImageReader, Limits};

use crate::error::Error;
use crate::files;

/// Largest picture file.
const MAX_PICTURE_BYTES: u64 = 256 << 20;

/// A file that is no input for its tensor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// A picture that cannot be decoded.
    #[error("the picture cannot be decoded: {0}")]
    Picture(image::ImageError),
    /// An array that cannot be decoded.
    #[error("{0}")]
    Npy(NpyError),
    /// An array of another type.
    #[error("the array holds {found}, tensor `{tensor}` {needed}")]
    Type { tensor: String, found: ElementType, needed: ElementType },
    /// An array of another shape.
    #[error("the array has shape {found:?}, tensor `{tensor}` {needed:?}")]
    Shape { tensor: String, found: Vec<u64>, needed: Vec<u32> },
    /// A number that is none.
    #[error("element {index} is {value}, tensor `{tensor}` takes finite numbers only")]
    NotFinite { tensor: String, index: usize, value: f32 },
    /// A file with more bytes than the tensor.
    #[error("`{tensor}` takes {needed} bytes, the file has {given}")]
    Long { tensor: String, needed: u64, given: u64 },
    /// The driver refuses it.
    #[error("{0}")]
    Bind(#[from] BindError),
}

impl InputError {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Picture(_) => "png, jpeg, bmp and pnm are read; other file names mean .npy or raw bytes".to_owned(),
            Self::Npy(_) | Self::Type { .. } => "save it with numpy in the tensor's own type, row-major".to_owned(),
            Self::Shape { .. } => "`cnnip info` shows the shape; numpy's reshape gives it".to_owned(),
            Self::NotFinite { .. } => "look for a division by zero where the file was made".to_owned(),
            Self::Long { .. } => {
                "raw bytes are the tensor's elements, densely packed; `cnnip info` shows its shape".to_owned()
            }
            Self::Bind(BindError::Picture { why: PictureError::Size { needed, .. }, .. }) => {
                let size = needed.split(' ').next().unwrap_or_default();
                format!(
                    "make it that size as the model's training did, for instance `magick IN -resize {size}! OUT.png`; \
                     how decides over the result, so nothing is guessed here"
                )
            }
            Self::Bind(why) => why.hint().to_owned(),
        }
    }
}

/// What a file name says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Picture,
    Npy,
    Raw,
}

fn kind(path: &Path) -> Kind {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("npy") => Kind::Npy,
        Some("png" | "jpg" | "jpeg" | "bmp" | "pbm" | "pgm" | "ppm" | "pnm" | "pam") => Kind::Picture,
        _ => Kind::Raw,
    }
}

/// Binds the input at a position to what a file holds.
pub(crate) fn bind(session: &mut Session, index: usize, path: &Path) -> Result<(), Error> {
    let package = session.package().clone();
    let Some(input) = package.inputs.get(index) else { return Ok(()) };
    let Some(tensor) = package.tensor(input.tensor) else { return Ok(()) };
    let bytes = tensor.bytes().unwrap_or(0);
    let limit = match kind(path) {
        Kind::Picture => MAX_PICTURE_BYTES,
        Kind::Npy => bytes.saturating_add(npy::MAX_OVERHEAD),
        Kind::Raw => bytes,
    };
    let file = files::read_some(path, limit).map_err(|why| Error::Read { path: path.into(), why })?;
    let bound = match kind(path) {
        Kind::Picture => bind_picture(session, index, input, &file),
        Kind::Npy => array(tensor, &file).and_then(|bytes| bind_bytes(session, index, tensor, bytes)),
        Kind::Raw => fits(tensor, &file, path).and_then(|()| bind_bytes(session, index, tensor, &file)),
    };
    bound.map_err(|why| Error::Input { path: path.into(), why })
}

/// That a file, of which at most a byte more than the tensor's was read, is not longer than that.
fn fits(tensor: &Tensor, file: &[u8], path: &Path) -> Result<(), InputError> {
    let (needed, read) = (tensor.bytes().unwrap_or(0), u64::try_from(file.len()).unwrap_or(u64::MAX));
    if read <= needed {
        return Ok(());
    }
    let given = std::fs::metadata(path).map_or(read, |found| found.len().max(read));
    Err(InputError::Long { tensor: tensor.name.clone(), needed, given })
}

fn bind_bytes(session: &mut Session, index: usize, tensor: &Tensor, bytes: &[u8]) -> Result<(), InputError> {
    if tensor.element == ElementType::Float32 {
        finite(tensor, bytes)?;
    }
    Ok(session.bind(index, bytes)?)
}

fn finite(tensor: &Tensor, bytes: &[u8]) -> Result<(), InputError> {
    let (elements, _) = bytes.as_chunks();
    let values = elements.iter().map(|&bytes| f32::from_le_bytes(bytes));
    match values.enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, value)) => Err(InputError::NotFinite { tensor: tensor.name.clone(), index, value }),
        None => Ok(()),
    }
}

/// The elements of an array of the tensor's own type and shape.
fn array<'f>(tensor: &Tensor, file: &'f [u8]) -> Result<&'f [u8], InputError> {
    let array = npy::read(file).map_err(InputError::Npy)?;
    let name = || tensor.name.clone();
    if array.element != tensor.element {
        return Err(InputError::Type { tensor: name(), found: array.element, needed: tensor.element });
    }
    if !array.shape.iter().copied().eq(tensor.shape.iter().copied().map(u64::from)) {
        return Err(InputError::Shape { tensor: name(), found: array.shape, needed: tensor.shape.clone() });
    }
    Ok(array.bytes)
}

/// Decodes a picture to the channels that the input wants: grey from colors by luminance, colors from grey by repetition;
/// 16-bit channels become 8-bit ones, transparency is dropped.
fn bind_picture(session: &mut Session, index: usize, input: &Input, file: &[u8]) -> Result<(), InputError> {
    let color = input.preprocess.as_ref().map_or(Color::Rgb, |rule| rule.color);
    let size = reader(file)?.into_dimensions().map_err(InputError::Picture)?;
    let wanted = input.preprocess.as_ref().map(|rule| (rule.width, rule.height));
    if wanted != Some(size) {
        // Refused by its size, before it is decoded.
        return refuse(session, index, size, color);
    }
    let mut reader = reader(file)?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(size.0), Some(size.1));
    reader.limits(limits);
    let decoded = reader.decode().map_err(InputError::Picture)?;
    let pixels = match color {
        Color::Gray => decoded.into_luma8().into_raw(),
        Color::Rgb => decoded.into_rgb8().into_raw(),
    };
    Ok(session.bind_picture(index, &Picture { width: size.0, height: size.1, color, pixels: &pixels })?)
}

fn refuse(session: &mut Session, index: usize, (width, height): (u32, u32), color: Color) -> Result<(), InputError> {
    Ok(session.bind_picture(index, &Picture { width, height, color, pixels: &[] })?)
}

fn reader(file: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, InputError> {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format();
    reader.map_err(|why| InputError::Picture(image::ImageError::IoError(why)))
}
