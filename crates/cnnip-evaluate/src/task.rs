//! What a network's outputs mean.

use cnnip_data::{Truth, View};

use crate::areas::{Areas, Map};
use crate::boxes::{Found, Hit, hits};

/// What a network's outputs mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Task {
    /// The first output has a score per class.
    #[default]
    Classes,
    /// Objects in boxes.
    Boxes(BoxOutputs),
    /// The first output says the class of every pixel.
    Pixels {
        /// How it says it.
        map: Map,
        /// The class of a mask whose pixels do not count.
        ignore: Option<u8>,
    },
}

/// The outputs of a network that finds objects, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxOutputs {
    /// Four numbers per finding.
    pub boxes: usize,
    /// A class per finding.
    pub classes: usize,
    /// A score per finding.
    pub scores: usize,
    /// The number of findings; without it all count.
    pub count: Option<usize>,
    /// What the four numbers are.
    pub form: BoxForm,
}

/// What the four numbers of a box are, as shares of the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoxForm {
    /// Top, left, bottom, right: TFLite's.
    #[default]
    Yxyx,
    /// Left, top, right, bottom.
    Xyxy,
    /// Middle across and down, width, height.
    Center,
}

/// What one level says about an example, measured against the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Evidence {
    /// Nothing beyond classes.
    #[default]
    None,
    /// What became of its findings.
    Hits(Vec<Hit>),
    /// Its pixels.
    Areas(Areas),
}

impl Task {
    /// Measures outputs against what is known.
    pub fn evidence(&self, truth: &Truth, outputs: &[Vec<f32>]) -> Evidence {
        match (self, truth) {
            (Self::Boxes(order), Truth::Objects(objects)) => {
                Evidence::Hits(hits(&objects.list, &order.found(objects.view, outputs)))
            }
            (Self::Pixels { map, ignore }, Truth::Mask(mask)) => {
                let values = outputs.first().map_or(&[][..], Vec::as_slice);
                Evidence::Areas(map.areas(values, mask, *ignore))
            }
            _ => Evidence::None,
        }
    }
}

impl BoxOutputs {
    /// What outputs say; findings without score, or with a class that is none, are left out.
    fn found(&self, view: View, outputs: &[Vec<f32>]) -> Vec<Found> {
        let output = |index: usize| outputs.get(index).map_or(&[][..], Vec::as_slice);
        let whole = |value: f32| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is meant")]
            let whole = value.round() as usize;
            whole
        };
        let count = self.count.and_then(|index| output(index).first().copied()).map_or(usize::MAX, whole);
        let (boxes, _) = output(self.boxes).as_chunks();
        let each = boxes.iter().zip(output(self.classes)).zip(output(self.scores)).take(count);
        let usable = each.filter(|((_, class), score)| **class > -0.5 && **score > 0.0);
        usable
            .map(|((numbers, &class), &score)| Found {
                class: whole(class),
                score,
                corners: view.corners(self.form.places(*numbers)),
            })
            .collect()
    }
}

impl BoxForm {
    /// Left, top, right, bottom.
    fn places(self, [a, b, c, d]: [f32; 4]) -> [f32; 4] {
        match self {
            Self::Yxyx => [b, a, d, c],
            Self::Xyxy => [a, b, c, d],
            Self::Center => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_data::Fit;

    #[test]
    fn findings_are_read_in_any_form() {
        let view = View::new((100, 200), (10, 10), Fit::Stretch);
        let scores = vec![0.9, 0.5, 0.0];
        let found = |form, boxes: &[f32], count: Option<f32>| {
            let outputs = [boxes.to_vec(), vec![3.0, 4.0, 5.0], scores.clone(), count.into_iter().collect()];
            let order = BoxOutputs { boxes: 0, classes: 1, scores: 2, count: count.map(|_| 3), form };
            order.found(view, &outputs)
        };
        let want = [50.0, 50.0, 100.0, 100.0];
        let one = |numbers: [f32; 4]| [numbers, [0.0; 4], [0.0; 4]].concat();
        for (form, numbers) in [
            (BoxForm::Yxyx, [0.25, 0.5, 0.5, 1.0]),
            (BoxForm::Xyxy, [0.5, 0.25, 1.0, 0.5]),
            (BoxForm::Center, [0.75, 0.375, 0.5, 0.25]),
        ] {
            let all = found(form, &one(numbers), None);
            assert_eq!(all.len(), 2, "a score of 0 finds nothing");
            assert_eq!(all[0], Found { class: 3, score: 0.9, corners: want });
            assert_eq!(found(form, &one(numbers), Some(1.0)).len(), 1);
        }
    }
}
