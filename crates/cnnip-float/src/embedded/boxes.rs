//! Operators that find boxes.

use cnnip_hostops::boxes::{Rows, detect, suppress};
use cnnip_kernels::Declined;
use cnnip_lowered::boxes_operator;
use cnnip_package::HostOperator;

use super::layer::{At, Call, Layer};
use crate::FloatError;

struct Boxes {
    operator: HostOperator,
    /// Of the second input, the scores: classes and boxes, or boxes and classes.
    scores: (usize, usize),
    /// Numbers per box encoding.
    length: usize,
}

impl Layer for Boxes {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let (boxes, scores) = (call.inputs.get(0)?, call.inputs.get(1)?);
        match self.operator {
            HostOperator::NonMaxSuppression(rule) => {
                let found = suppress(boxes, scores, self.scores, &rule);
                let numbers = found.as_flattened().iter().map(|&number| real(number));
                let numbers = numbers.chain(std::iter::repeat(-1.0));
                call.output.iter_mut().zip(numbers).for_each(|(output, number)| *output = number);
            }
            HostOperator::Detections(rule) => {
                let codes = Rows { numbers: boxes, length: self.length };
                let found = detect(codes, Rows { numbers: scores, length: self.scores.1 }, call.inputs.get(2)?, &rule);
                call.output.fill(0.0);
                for (at, number) in found.numbers(rule.result) {
                    if let Some(place) = call.output.get_mut(at) {
                        *place = number;
                    }
                }
            }
            _ => return Err(Declined::Shape { what: "operators" }),
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of boxes are far below 2^24")]
fn real(number: usize) -> f32 {
    number as f32
}

pub(super) fn boxes(at: At<'_>) -> Result<Box<dyn Layer>, FloatError> {
    let dims = |input| at.tensor(input).map(|tensor| tensor.shape.dims());
    match (boxes_operator(&at.node.op), dims(0), dims(1)) {
        (Some(operator), Some(&[.., length]), Some(&[_, a, b])) => {
            Ok(Box::new(Boxes { operator, scores: (a, b), length }))
        }
        _ => Err(at.malformed()),
    }
}
