//! What is known about an example beside its class: objects in boxes, a class for every pixel.

use crate::Fit;

/// What a picture shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Truth {
    /// Nothing beyond a class.
    #[default]
    Unknown,
    /// Where its objects are.
    Objects(Objects),
    /// The class of every pixel.
    Mask(Mask),
}

/// The objects of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The objects.
    pub list: Vec<Object>,
    /// Where the network's input lies on the picture.
    pub view: View,
}

/// An object: a class and a box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Its class.
    pub class: usize,
    /// Left, top, right, bottom, in pixels of the picture.
    pub corners: [f32; 4],
    /// It stands for many objects: what is found in it counts neither for nor against.
    pub crowd: bool,
}

/// A class for every pixel of the network's input, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width` classes.
    pub classes: Vec<u8>,
}

/// From places on the network's input, 0 to 1, to pixels of a picture: `place * scale + offset`, across and down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    scale: [f32; 2],
    offset: [f32; 2],
}

impl View {
    /// Of a picture of `found` size that was fitted to `wanted` (width, height).
    ///
    /// ```
    /// use cnnip_data::{Fit, View};
    /// let whole = View::new((640, 480), (300, 300), Fit::Stretch);
    /// assert_eq!(whole.corners([0.0, 0.5, 1.0, 1.0]), [0.0, 240.0, 640.0, 480.0]);
    /// let middle = View::new((200, 100), (50, 50), Fit::Crop);
    /// assert_eq!(middle.corners([0.0, 0.0, 1.0, 1.0]), [50.0, 0.0, 150.0, 100.0]);
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sides of pictures are below 2^24")]
    pub fn new(found: (u32, u32), wanted: (u32, u32), fit: Fit) -> Self {
        let found = [found.0 as f32, found.1 as f32];
        let wanted = [wanted.0 as f32, wanted.1 as f32];
        if fit != Fit::Crop {
            return Self { scale: found, offset: [0.0; 2] };
        }
        let ratio = (wanted[0] / found[0]).max(wanted[1] / found[1]);
        let covering = found.map(|side| (side * ratio).round().max(1.0));
        let each = |axis: usize, pixels: f32| pixels * found[axis] / covering[axis];
        let cut = |axis: usize| ((covering[axis] - wanted[axis]) / 2.0).floor();
        Self { scale: [0, 1].map(|axis| each(axis, wanted[axis])), offset: [0, 1].map(|axis| each(axis, cut(axis))) }
    }

    /// Left, top, right, bottom in pixels.
    #[must_use]
    pub fn corners(&self, places: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|at| places[at] * self.scale[at % 2] + self.offset[at % 2])
    }
}
