//! The program: what happens in a job, step after step.

use crate::{ListId, TensorId};

/// One step; the next begins when it has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The device runs these lists together, each on its own engine; at most one list per core and engine.
    Device {
        /// Lists to start.
        lists: Vec<ListId>,
    },
    /// The host computes something the machine cannot.
    Host(HostStep),
}

/// A step of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostStep {
    /// What is computed, with its attributes.
    pub operator: HostOperator,
    /// Tensors read, in the operator's order.
    pub inputs: Vec<TensorId>,
    /// Tensors written, in the operator's order.
    pub outputs: Vec<TensorId>,
}

/// What a host step computes. Scales and zero points are those of its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HostOperator {
    /// Softmax over the last dimension; one input and one output of the same shape.
    Softmax {
        /// Factor on the input before the exponential; finite.
        beta: f32,
    },
    /// Real numbers to integers, halves away from zero, as TFLite does: `float32` input, integer output with a scale, same shape.
    Quantize,
    /// As [`Quantize`](Self::Quantize), halves to even, as ONNX does.
    QuantizeEven,
    /// Integers with a scale to real numbers: `float32` output, same shape.
    Dequantize,
    /// Index of the largest element along an axis, the lowest on a tie: `int32` or `int64` output of the input's shape without
    /// the axis, or with an extent of 1 there.
    ArgMax {
        /// The axis.
        axis: u32,
    },
    /// As [`ArgMax`](Self::ArgMax), of the smallest element.
    ArgMin {
        /// The axis.
        axis: u32,
    },
    /// Non-maximum suppression: boxes and scores, real or with a scale, to an `int64` list of indices.
    NonMaxSuppression(Suppression),
    /// Box decoding and non-maximum suppression: box encodings, scores and anchors, real or with a scale, to one of four `float32`
    /// results.
    Detections(Detections),
}

impl HostOperator {
    /// The axis that the output lacks, or has with an extent of 1.
    pub const fn axis(&self) -> Option<u32> {
        match self {
            Self::ArgMax { axis } | Self::ArgMin { axis } => Some(*axis),
            Self::Softmax { .. } | Self::Quantize | Self::QuantizeEven | Self::Dequantize => None,
            Self::NonMaxSuppression(_) | Self::Detections(_) => None,
        }
    }

    /// How many tensors it reads; it writes one.
    pub const fn inputs(&self) -> usize {
        match self {
            Self::Softmax { .. } | Self::Quantize | Self::QuantizeEven | Self::Dequantize => 1,
            Self::ArgMax { .. } | Self::ArgMin { .. } => 1,
            Self::NonMaxSuppression(_) => 2,
            Self::Detections(_) => 3,
        }
    }

    /// Whether the output is a list: rows up to the first that begins with a negative number, and no others, mean something.
    pub const fn is_list(&self) -> bool {
        matches!(self, Self::NonMaxSuppression(_))
    }

    /// The shape of what a step that finds boxes gives for inputs of these shapes, in their order.
    ///
    /// # Errors
    /// What the operator needs instead; also for an operator that finds none.
    pub fn found(&self, inputs: &[&[u32]]) -> Result<Vec<u32>, &'static str> {
        match (self, inputs) {
            (Self::NonMaxSuppression(suppression), &[boxes, scores]) => suppression.output(boxes, scores),
            (Self::Detections(detections), &[boxes, scores, anchors]) => detections.output(boxes, scores, anchors),
            _ => Err("other inputs"),
        }
    }

    /// The name used in text and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Softmax { .. } => "softmax",
            Self::Quantize => "quantize",
            Self::QuantizeEven => "quantize_even",
            Self::Dequantize => "dequantize",
            Self::ArgMax { .. } => "arg_max",
            Self::ArgMin { .. } => "arg_min",
            Self::NonMaxSuppression(_) => "non_max_suppression",
            Self::Detections(_) => "detections",
        }
    }
}

/// Which boxes non-maximum suppression keeps, of every image and class by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suppression {
    /// A box is its middle, width and height, `[x, y, w, h]`; else two opposite corners, `[y, x, y, x]`.
    pub center: bool,
    /// Most boxes that are kept.
    pub per_class: u32,
    /// A box that overlaps a kept one by more, as intersection over union, is not kept.
    pub iou: f32,
    /// A box whose score is not above is not kept; without it all may be.
    pub score: Option<f32>,
}

impl Suppression {
    /// Room for every box that may be kept, `[image, class, box]` each.
    fn output(&self, boxes: &[u32], scores: &[u32]) -> Result<Vec<u32>, &'static str> {
        match (boxes, scores) {
            (&[images, count, 4], &[same, classes, of]) if (images, count) == (same, of) => {
                let rows = self.per_class.min(count).checked_mul(classes).and_then(|rows| rows.checked_mul(images));
                rows.map(|rows| vec![rows, 3]).ok_or("fewer rows than 2^32")
            }
            _ => Err("boxes [images, boxes, 4] and scores [images, classes, boxes]"),
        }
    }

    /// The first number that is none the operator takes, and its name.
    pub fn wrong(&self) -> Option<(&'static str, f32)> {
        let iou = (!(0.0..=1.0).contains(&self.iou)).then_some(("iou", self.iou));
        iou.or_else(|| self.score.filter(|score| !score.is_finite()).map(|score| ("score", score)))
    }
}

/// Which of the results of box decoding and non-maximum suppression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectionResult {
    /// `[1, rows, 4]`: top, left, bottom, right.
    Boxes,
    /// `[1, rows]`: classes from 0 on.
    Classes,
    /// `[1, rows]`.
    Scores,
    /// `[1]`: how many detections there are.
    Count,
}

impl DetectionResult {
    /// All of them in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Boxes, Self::Classes, Self::Scores, Self::Count];

    /// The name used in text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boxes => "boxes",
            Self::Classes => "classes",
            Self::Scores => "scores",
            Self::Count => "count",
        }
    }
}

/// How boxes are decoded, and which are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detections {
    /// What is given of them.
    pub result: DetectionResult,
    /// Most boxes that are kept.
    pub most: u32,
    /// Rows per box: its best classes. Where classes are suppressed one by one a row is a box and a class, and only the first `most`
    /// rows are used.
    pub classes_per_box: u32,
    /// Suppression of every class by itself, with at most so many boxes of each; else of boxes with the scores of their best classes.
    pub per_class: Option<u32>,
    /// Number of classes; the scores may have one more in front, of the background.
    pub classes: u32,
    /// A box whose score is below is not kept.
    pub score: f32,
    /// A box that overlaps a kept one by more, as intersection over union, is not kept.
    pub iou: f32,
    /// What the encodings are divided by.
    pub scales: BoxScales,
}

/// What the four numbers of a box's encoding are divided by; positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxScales {
    /// Of the middle's distance down.
    pub y: f32,
    /// Of its distance across.
    pub x: f32,
    /// Of the logarithm of the height.
    pub height: f32,
    /// Of the logarithm of the width.
    pub width: f32,
}

impl BoxScales {
    /// Top to bottom, across, height, width.
    pub const fn all(&self) -> [f32; 4] {
        [self.y, self.x, self.height, self.width]
    }
}

impl Detections {
    /// Rows of boxes, classes and scores.
    pub fn rows(&self) -> Option<u32> {
        self.most.checked_mul(self.classes_per_box)
    }

    fn output(&self, boxes: &[u32], scores: &[u32], anchors: &[u32]) -> Result<Vec<u32>, &'static str> {
        let rows = self.rows().ok_or("fewer rows than 2^32")?;
        let with_background = self.classes.checked_add(1);
        let fits = match (boxes, scores, anchors) {
            (&[1, count, length], &[1, same, classes], &[of, 4]) => {
                (count, count) == (same, of)
                    && length >= 4
                    && (classes == self.classes || Some(classes) == with_background)
            }
            _ => false,
        };
        if !fits {
            return Err(
                "encodings [1, boxes, 4 or more], scores [1, boxes, classes or one more] and anchors [boxes, 4]",
            );
        }
        Ok(match self.result {
            DetectionResult::Boxes => vec![1, rows, 4],
            DetectionResult::Classes | DetectionResult::Scores => vec![1, rows],
            DetectionResult::Count => vec![1],
        })
    }

    /// The first number that is none the operator takes, and its name.
    pub fn wrong(&self) -> Option<(&'static str, f32)> {
        let scale = self.scales.all().into_iter().find(|scale| !(scale.is_finite() && *scale > 0.0));
        let iou = !(self.iou > 0.0 && self.iou <= 1.0);
        let score = (!self.score.is_finite()).then_some(("score", self.score));
        iou.then_some(("iou", self.iou)).or(score).or_else(|| scale.map(|scale| ("scales", scale)))
    }
}
