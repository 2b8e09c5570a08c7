//! Networks from image to image: classes per pixel, and how well two runs agree on them.

use std::collections::BTreeMap;

use cnnip_package::ElementType;

use crate::tensors::{NamedTensor, TensorSet};

/// Channels up to which an output is taken for a picture rather than for scores of classes.
const PICTURE_CHANNELS: usize = 4;

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grey, color, or color with opacity.
    Picture,
    /// A class per pixel, or a score per class and pixel.
    Mask,
}

/// What a tensor looks like, if it is a map of more than one pixel: integers that stand for no real numbers are classes, and so are
/// more channels than pictures have.
pub fn kind(tensor: &NamedTensor) -> Option<Kind> {
    let [rows, columns, channels] = size(tensor)?;
    if rows * columns < 2 {
        return None;
    }
    let classes = is_classes(tensor, channels) || channels > PICTURE_CHANNELS;
    Some(if classes { Kind::Mask } else { Kind::Picture })
}

/// Rows, columns, channels; the last is 1 where there are only rows and columns behind the batch.
pub(crate) fn size(tensor: &NamedTensor) -> Option<[usize; 3]> {
    let extent = |axis: usize| usize::try_from(*tensor.shape.get(axis)?).ok();
    match tensor.map_axes() {
        Some([rows, columns, channels]) => Some([extent(rows)?, extent(columns)?, extent(channels)?]),
        None if tensor.shape.len() == 3 => Some([extent(1)?, extent(2)?, 1]),
        None => None,
    }
}

/// Whether elements are the numbers of classes.
fn is_classes(tensor: &NamedTensor, channels: usize) -> bool {
    channels == 1 && tensor.affine.is_none() && tensor.element != ElementType::Float32
}

/// The class of every pixel, row by row, map by map: the element itself, or the channel with the largest one, the first of several.
pub fn classes(tensor: &NamedTensor) -> Option<Vec<i64>> {
    let [rows, columns, channels] = size(tensor)?;
    if channels == 1 {
        return tensor.integers();
    }
    // Scales are above 0, so stored integers are ordered as the numbers they stand for.
    let values: Vec<f64> = match tensor.integers() {
        #[expect(clippy::cast_precision_loss, reason = "elements of activations have at most 32 bits")]
        Some(integers) => integers.into_iter().map(|value| value as f64).collect(),
        None => tensor.real(None)?,
    };
    let (pixels, inner) = (rows * columns, tensor.channels().1);
    let mut classes = Vec::with_capacity(values.len() / channels.max(1));
    for map in values.chunks_exact((pixels * channels).max(1)) {
        for pixel in 0..pixels {
            let first = if inner == 1 { pixel * channels } else { pixel };
            let scores = map.iter().skip(first).step_by(inner).take(channels);
            classes.push(largest(scores));
        }
    }
    Some(classes)
}

fn largest<'v>(scores: impl Iterator<Item = &'v f64>) -> i64 {
    let mut best = (0, f64::NEG_INFINITY);
    for (class, &score) in (0..).zip(scores) {
        if score > best.1 {
            best = (class, score);
        }
    }
    best.0
}

/// Pixels of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassPixels {
    /// In the reference.
    pub reference: u64,
    /// In the other.
    pub other: u64,
    /// In both.
    pub both: u64,
}

impl ClassPixels {
    /// Intersection over union.
    pub fn iou(&self) -> f64 {
        let union = (self.reference + self.other).saturating_sub(self.both);
        ratio(self.both, union)
    }
}

/// How well two runs agree on the classes of pixels, over any number of inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The tensor.
    pub name: String,
    /// Pixels.
    pub pixels: u64,
    /// Pixels with the same class.
    pub same: u64,
    /// Per class that either side has.
    pub classes: BTreeMap<i64, ClassPixels>,
}

impl Agreement {
    /// Of a tensor, without pixels yet.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), pixels: 0, same: 0, classes: BTreeMap::new() }
    }

    /// Counts the classes of two masks, pixel by pixel.
    ///
    /// ```
    /// use cnnip_analysis::masks::Agreement;
    ///
    /// let mut found = Agreement::new("mask");
    /// found.add(&[0, 0, 1, 2], &[0, 1, 1, 2]);
    /// assert_eq!((found.pixels, found.same), (4, 3));
    /// assert_eq!(found.classes[&1].iou(), 0.5);
    /// assert_eq!(found.mean_iou(), (0.5 + 0.5 + 1.0) / 3.0);
    /// ```
    pub fn add(&mut self, reference: &[i64], other: &[i64]) {
        for (&a, &b) in reference.iter().zip(other) {
            self.pixels += 1;
            self.same += u64::from(a == b);
            let class = self.classes.entry(a).or_default();
            class.reference += 1;
            class.both += u64::from(a == b);
            self.classes.entry(b).or_default().other += 1;
        }
    }

    /// Mean of the intersections over unions of all classes that either side has; 1 without any.
    pub fn mean_iou(&self) -> f64 {
        let sum: f64 = self.classes.values().map(ClassPixels::iou).sum();
        if self.classes.is_empty() { 1.0 } else { sum / number(self.classes.len().try_into().unwrap_or(u64::MAX)) }
    }

    /// Share of pixels with the same class.
    pub fn accuracy(&self) -> f64 {
        ratio(self.same, self.pixels)
    }

    /// The class with the least intersection over union.
    pub fn worst(&self) -> Option<(i64, f64)> {
        let all = self.classes.iter().map(|(&class, pixels)| (class, pixels.iou()));
        all.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Adds what two runs say of the tensors that `is_mask` names; those that are no maps are left out.
pub fn add(
    found: &mut Vec<Agreement>,
    reference: &TensorSet,
    other: &TensorSet,
    is_mask: impl Fn(&NamedTensor) -> bool,
) {
    for tensor in other.tensors.iter().filter(|tensor| is_mask(tensor)) {
        let Some(of) = reference.get(&tensor.name) else { continue };
        // A dump does not say its layout; the shapes are the same.
        let ordered = |own: &NamedTensor, peer: &NamedTensor| {
            let model = if own.model.axes().is_some() { own.model.clone() } else { peer.model.clone() };
            classes(&NamedTensor { model, ..own.clone() })
        };
        let Some((a, b)) = ordered(of, tensor).zip(ordered(tensor, of)) else { continue };
        let at = found.iter().position(|agreement| agreement.name == tensor.name).unwrap_or_else(|| {
            found.push(Agreement::new(&tensor.name));
            found.len() - 1
        });
        found[at].add(&a, &b);
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { number(part) / number(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "counts of pixels are below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::SourceTensor;

    fn scores(shape: &[u64], values: &[i8], model: SourceTensor) -> NamedTensor {
        NamedTensor {
            name: "mask".into(),
            shape: shape.to_vec(),
            element: ElementType::Int8,
            affine: None,
            bytes: values.iter().map(|value| value.cast_unsigned()).collect(),
            model,
        }
    }

    /// The output of a network from ONNX is its own tensor, and computed by a transpose: nothing at it says where its channels are.
    #[test]
    fn an_output_has_its_channels_where_the_network_has_them() {
        let view = SourceTensor::View { name: "map".into(), axes: vec![0, 2, 3, 1] };
        let map = NamedTensor { name: "map".into(), ..scores(&[1, 2, 2, 2], &[0; 8], view) };
        let scores = scores(&[1, 2, 2, 2], &[0, 5, 5, 0, 1, 1, 1, 1], SourceTensor::Same);
        let set = TensorSet::of_network("set", vec![map, scores.clone()], vec![]);
        assert_eq!(classes(&set.tensors[1]).unwrap(), [1, 0, 0, 1]);
        let alone = TensorSet::of_network("set", vec![scores], vec![]);
        assert_eq!(classes(&alone.tensors[0]).unwrap(), [1, 0, 0, 0]);
    }

    #[test]
    fn the_largest_score_is_the_class_in_either_order_of_axes() {
        let nhwc = scores(&[1, 1, 3, 2], &[1, 2, 5, 5, 4, 3], SourceTensor::Same);
        assert_eq!(classes(&nhwc), Some(vec![1, 0, 0]));
        let view = SourceTensor::View { name: "mask".into(), axes: vec![0, 2, 3, 1] };
        let nchw = scores(&[1, 2, 1, 3], &[1, 5, 4, 2, 5, 3], view);
        assert_eq!(classes(&nchw), Some(vec![1, 0, 0]));
        let numbers = scores(&[1, 2, 2], &[7, 0, 0, 3], SourceTensor::Same);
        assert_eq!(classes(&numbers), Some(vec![7, 0, 0, 3]));
    }

    #[test]
    fn what_is_a_mask() {
        let of = |shape: &[u64]| kind(&scores(shape, &[], SourceTensor::Same));
        assert_eq!(of(&[1, 4, 4, 1]), Some(Kind::Mask), "integers without a scale are classes");
        assert_eq!(of(&[1, 4, 4, 3]), Some(Kind::Picture));
        assert_eq!(of(&[1, 4, 4, 21]), Some(Kind::Mask));
        assert_eq!((of(&[1, 1, 1, 21]), of(&[1, 21])), (None, None));
    }

    #[test]
    fn a_class_that_only_one_side_has_counts_as_missed() {
        let mut found = Agreement::new("mask");
        found.add(&[0, 0, 0, 9], &[0, 0, 0, 0]);
        assert_eq!(found.worst(), Some((9, 0.0)));
        assert_eq!((found.accuracy(), found.mean_iou()), (0.75, 0.75 / 2.0));
    }
}
