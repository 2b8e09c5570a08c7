//! The custom operator `TFLite_Detection_PostProcess`: box decoding and non-maximum suppression.

use super::Call;
use crate::op::{DetectionResult, Detections, Op};
use crate::problem::Rule;
use crate::tensor::{Shape, Tensor};
use crate::tflite::flexbuffer::{self, Number};

/// Its name in files.
pub(in crate::tflite) const NAME: &str = "TFLite_Detection_PostProcess";

/// Its results, in the order of its outputs.
const RESULTS: [DetectionResult; 4] =
    [DetectionResult::Boxes, DetectionResult::Classes, DetectionResult::Scores, DetectionResult::Count];

/// Boxes of a class that are kept where the model does not say how many.
const PER_CLASS: i64 = 100;

/// Most boxes, classes or rows that a model may ask for.
const MOST: i64 = 1 << 20;

pub(super) fn read(call: &Call<'_>) -> Result<Op, Rule> {
    let (output, outputs) = call.output;
    let result =
        RESULTS.get(output).filter(|_| outputs == RESULTS.len()).ok_or(Rule::OutputCount { found: outputs })?;
    if let Some((index, Tensor { data: None, .. })) = call.slot(2) {
        return Err(Rule::NotConstant { what: "anchors", index });
    }
    Ok(Op::Detections(Detections { result: *result, ..options(call.custom)? }))
}

/// What the attributes say; the result is the first.
fn options(bytes: &[u8]) -> Result<Detections, Rule> {
    let found = flexbuffer::map(bytes).ok_or(Rule::CustomOptions)?;
    let options = Options(found);
    let is_regular = options.get("use_regular_nms").is_some_and(|value| value != Number::Whole(0));
    let per_class = is_regular.then(|| options.count("detections_per_class", Some(PER_CLASS))).transpose()?;
    let scale = |name| options.real(name, |value| value > 0.0);
    Ok(Detections {
        result: DetectionResult::Boxes,
        most: options.count("max_detections", None)?,
        classes_per_box: options.count("max_classes_per_detection", None)?,
        per_class,
        classes: options.count("num_classes", None)?,
        score: options.real("nms_score_threshold", |_| true)?,
        iou: options.real("nms_iou_threshold", |value| value > 0.0 && value <= 1.0)?,
        scales: [scale("y_scale")?, scale("x_scale")?, scale("h_scale")?, scale("w_scale")?],
    })
}

/// Shapes of the outputs, which files mostly leave out; `None` if the attributes do not say.
pub(in crate::tflite) fn shapes(bytes: &[u8]) -> Option<[Shape; 4]> {
    let Detections { most, classes_per_box, .. } = options(bytes).ok()?;
    let rows = most.checked_mul(classes_per_box)?;
    let shape = |dims: &[usize]| Shape::new(dims).ok();
    Some([shape(&[1, rows, 4])?, shape(&[1, rows])?, shape(&[1, rows])?, shape(&[1])?])
}

struct Options<'a>(Vec<(&'a str, Number)>);

impl Options<'_> {
    fn get(&self, name: &str) -> Option<Number> {
        self.0.iter().find(|(key, _)| *key == name).map(|&(_, value)| value)
    }

    /// A number of boxes or classes; 0 counts as left out without a default.
    fn count(&self, name: &'static str, default: Option<i64>) -> Result<usize, Rule> {
        let value = match self.get(name) {
            Some(Number::Whole(value)) => value,
            Some(Number::Real(_)) => 0,
            None => default.unwrap_or(0),
        };
        let wrong = Rule::Attribute { name, value };
        if (1..=MOST).contains(&value) { usize::try_from(value).map_err(|_| wrong) } else { Err(wrong) }
    }

    /// A real number, 0 if it is left out.
    fn real(&self, name: &'static str, is_right: impl Fn(f32) -> bool) -> Result<f32, Rule> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "binary32 is what is meant")]
        let value = match self.get(name) {
            Some(Number::Real(value)) => value as f32,
            Some(Number::Whole(value)) => value as f32,
            None => 0.0,
        };
        if value.is_finite() && is_right(value) { Ok(value) } else { Err(Rule::FloatAttribute { name, value }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the format's own library writes them: 10 boxes of 90 classes, one class per box, regular suppression.
    const WRITTEN: &[u8] = &[
        109, 97, 120, 95, 100, 101, 116, 101, 99, 116, 105, 111, 110, 115, 0, 109, 97, 120, 95, 99, 108, 97, 115, 115,
        101, 115, 95, 112, 101, 114, 95, 100, 101, 116, 101, 99, 116, 105, 111, 110, 0, 110, 109, 115, 95, 115, 99,
        111, 114, 101, 95, 116, 104, 114, 101, 115, 104, 111, 108, 100, 0, 110, 109, 115, 95, 105, 111, 117, 95, 116,
        104, 114, 101, 115, 104, 111, 108, 100, 0, 110, 117, 109, 95, 99, 108, 97, 115, 115, 101, 115, 0, 121, 95, 115,
        99, 97, 108, 101, 0, 120, 95, 115, 99, 97, 108, 101, 0, 104, 95, 115, 99, 97, 108, 101, 0, 119, 95, 115, 99,
        97, 108, 101, 0, 117, 115, 101, 95, 114, 101, 103, 117, 108, 97, 114, 95, 110, 109, 115, 0, 10, 33, 126, 142,
        82, 103, 66, 23, 32, 49, 58, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 160, 64, 1, 0, 0, 0, 10, 0, 0,
        0, 0, 0, 0, 63, 0, 0, 128, 62, 90, 0, 0, 0, 1, 0, 0, 0, 0, 0, 160, 64, 0, 0, 32, 65, 0, 0, 32, 65, 14, 6, 6,
        14, 14, 6, 106, 14, 14, 14, 50, 38, 1,
    ];

    #[test]
    fn attributes_are_numbers_of_a_map() {
        let want = Detections {
            result: DetectionResult::Boxes,
            most: 10,
            classes_per_box: 1,
            per_class: Some(100),
            classes: 90,
            score: 0.25,
            iou: 0.5,
            scales: [10.0, 10.0, 5.0, 5.0],
        };
        assert_eq!(options(WRITTEN), Ok(want));
        let dims = shapes(WRITTEN).map(|shapes| shapes.map(|shape| shape.dims().to_vec()));
        assert_eq!(dims, Some([vec![1, 10, 4], vec![1, 10], vec![1, 10], vec![1]]));
        assert_eq!(options(&[]), Err(Rule::CustomOptions));
        assert_eq!(shapes(&WRITTEN[1..]), None);
    }

    #[test]
    fn numbers_that_make_no_sense_are_named() {
        let number = |name, value| Options(vec![(name, value)]);
        let count = |value| number("num_classes", value).count("num_classes", None);
        assert_eq!(count(Number::Whole(3)), Ok(3));
        for (value, shown) in [(Number::Whole(0), 0), (Number::Whole(i64::MAX), i64::MAX), (Number::Real(2.0), 0)] {
            assert_eq!(count(value), Err(Rule::Attribute { name: "num_classes", value: shown }));
        }
        let scale = |value| number("y_scale", Number::Real(value)).real("y_scale", |scale| scale > 0.0);
        assert_eq!(scale(0.5), Ok(0.5));
        for value in [0.0, -1.0, f64::INFINITY, 1e300] {
            assert!(matches!(scale(value), Err(Rule::FloatAttribute { name: "y_scale", .. })));
        }
        assert!(matches!(scale(f64::NAN), Err(Rule::FloatAttribute { .. })));
    }
}
