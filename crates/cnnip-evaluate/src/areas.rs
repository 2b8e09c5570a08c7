//! Classes of pixels: how much of what a network says lies where it should.

use std::collections::BTreeMap;

use cnnip_data::Mask;

/// Pixels of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// That the network and the mask say.
    pub both: u64,
    /// That the network says.
    pub said: u64,
    /// That the mask says.
    pub real: u64,
}

/// Areas by class.
pub type Areas = BTreeMap<usize, Area>;

/// An output that says the class of every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Rows.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// Scores per pixel; with one the output is the class itself.
    pub classes: usize,
    /// Scores come as planes, before rows and columns.
    pub planar: bool,
}

impl Map {
    /// Of an output's extents, the batch of 1 included: rows, columns, scores, or planes of scores.
    #[must_use]
    pub fn new(shape: &[usize], planar: bool) -> Option<Self> {
        match (shape, planar) {
            (&[1, height, width], _) => Some(Self { height, width, classes: 1, planar: false }),
            (&[1, classes, height, width], true) | (&[1, height, width, classes], false) => {
                Some(Self { height, width, classes, planar })
            }
            _ => None,
        }
        .filter(|map| map.height * map.width * map.classes > 0)
    }

    /// The class of a pixel: the first of the largest scores.
    fn class(&self, values: &[f32], pixel: usize) -> Option<usize> {
        if self.classes == 1 {
            let value = *values.get(pixel)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is meant")]
            return Some(value.round() as usize);
        }
        let (first, step) = if self.planar { (pixel, self.height * self.width) } else { (pixel * self.classes, 1) };
        let mut best: Option<(f32, usize)> = None;
        for class in 0..self.classes {
            let score = *values.get(first + class * step)?;
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, class));
            }
        }
        best.map(|(_, class)| class)
    }

    /// The areas of an output against a mask, which reads the nearest pixel of a map of another size. Pixels of the class `ignore` do
    /// not count.
    pub fn areas(&self, values: &[f32], mask: &Mask, ignore: Option<u8>) -> Areas {
        let mut areas = Areas::new();
        for (at, &real) in mask.classes.iter().enumerate().filter(|(_, class)| Some(**class) != ignore) {
            let (y, x) = (at / mask.width.max(1), at % mask.width.max(1));
            let pixel = y * self.height / mask.height.max(1) * self.width + x * self.width / mask.width.max(1);
            let Some(said) = self.class(values, pixel) else { continue };
            let real = usize::from(real);
            areas.entry(said).or_default().said += 1;
            let area = areas.entry(real).or_default();
            area.real += 1;
            area.both += u64::from(said == real);
        }
        areas
    }
}

/// Adds areas of another picture.
pub fn add(sum: &mut Areas, areas: &Areas) {
    for (&class, area) in areas {
        let sum = sum.entry(class).or_default();
        sum.both += area.both;
        sum.said += area.said;
        sum.real += area.real;
    }
}

/// Mean intersection over union of the classes that the network or a mask says; `None` if there are none.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub fn mean_iou(areas: &Areas) -> Option<f64> {
    let shares = areas.values().map(|area| area.both as f64 / (area.said + area.real - area.both).max(1) as f64);
    (!areas.is_empty()).then(|| shares.sum::<f64>() / areas.len() as f64)
}

/// Share of pixels whose class is right; `None` if there are none.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub fn accuracy(areas: &Areas) -> Option<f64> {
    let sum = |of: fn(&Area) -> u64| areas.values().map(of).sum::<u64>();
    let all = sum(|area| area.real);
    (all > 0).then(|| sum(|area| area.both) as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(classes: &[u8]) -> Mask {
        Mask { width: 2, height: classes.len() / 2, classes: classes.to_vec() }
    }

    #[test]
    fn unions_are_shared() {
        // Scores of three classes at four pixels: 0, 1, 1, 2; the mask says 0, 1, 0, 1.
        let scores = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
        let map = Map::new(&[1, 2, 2, 3], false).unwrap();
        let areas = map.areas(&scores, &mask(&[0, 1, 0, 1]), None);
        let area = |both, said, real| Area { both, said, real };
        assert_eq!(areas, Areas::from([(0, area(1, 1, 2)), (1, area(1, 2, 2)), (2, area(0, 1, 0))]));
        let want = (1.0 / 2.0 + 1.0 / 3.0 + 0.0) / 3.0;
        assert!((mean_iou(&areas).unwrap() - want).abs() < 1e-12);
        assert_eq!(accuracy(&areas), Some(0.5));
        let planes: Vec<f32> = (0..3).flat_map(|class| (0..4).map(move |at| scores[at * 3 + class])).collect();
        let planar = Map::new(&[1, 3, 2, 2], true).unwrap();
        assert_eq!(planar.areas(&planes, &mask(&[0, 1, 0, 1]), None), areas);
    }

    #[test]
    fn some_pixels_do_not_count() {
        let map = Map::new(&[1, 2, 2], false).unwrap();
        let areas = map.areas(&[0.0, 1.0, 1.0, 1.0], &mask(&[0, 1, 255, 255]), Some(255));
        assert_eq!(mean_iou(&areas), Some(1.0));
        assert_eq!(mean_iou(&map.areas(&[0.0; 4], &mask(&[255; 4]), Some(255))), None);
    }

    #[test]
    fn a_smaller_map_is_read_at_the_nearest_pixel() {
        let map = Map::new(&[1, 1, 2, 1], false).unwrap();
        let areas = map.areas(&[3.0, 5.0], &mask(&[3, 5, 3, 5]), None);
        assert_eq!(mean_iou(&areas), Some(1.0));
        assert_eq!(Map::new(&[1, 10], false), None);
    }
}
