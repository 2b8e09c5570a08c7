//! Tensor by tensor: how far two runs of a network are apart.

mod totals;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cnnip_package::ElementType;

use crate::tensors::{NamedTensor, TensorSet};
use crate::verdict::Spread;
pub(crate) use totals::Totals;

/// Differences beyond this many steps share a bar of the histogram.
pub const HISTOGRAM_LIMIT: i64 = 64;

/// Something that cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Incomparable {
    /// One side does not have a tensor and does not say why.
    #[error("tensor `{name}` is not in {set}")]
    Missing {
        /// The tensor.
        name: String,
        /// The side that lacks it.
        set: String,
    },
    /// A name twice.
    #[error("tensor `{name}` is twice in {set}")]
    Twice {
        /// The tensor.
        name: String,
        /// The side.
        set: String,
    },
    /// Other extents.
    #[error("tensor `{name}` has shape {reference:?} in one and {other:?} in the other")]
    Shape {
        /// The tensor.
        name: String,
        /// Extents of the reference.
        reference: Vec<u64>,
        /// Extents of the other.
        other: Vec<u64>,
    },
    /// Integers of two types.
    #[error("tensor `{name}` holds {reference} in one and {other} in the other, and a scale is not known")]
    Type {
        /// The tensor.
        name: String,
        /// Type in the reference.
        reference: ElementType,
        /// Type in the other.
        other: ElementType,
    },
    /// A number that is none.
    #[error("tensor `{name}` of {set}: element {element} is {value}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The side.
        set: String,
        /// Position in row-major order.
        element: usize,
        /// Infinity or not a number.
        value: f64,
    },
    /// No tensor of one is in the other.
    #[error("{reference} and {other} have no tensor in common")]
    Nothing {
        /// One side.
        reference: String,
        /// The other side.
        other: String,
    },
}

impl Incomparable {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "dump it on both sides, or compare only some with --only",
            Self::Twice { .. } => "names must be unique",
            Self::Shape { .. } => "is this a dump of the same model, in the model's own layout?",
            Self::Type { .. } => "give both in the model's own type, or real numbers",
            Self::NotFinite { .. } => "look at the layer that makes it",
            Self::Nothing { .. } => "are these dumps of the same model, by the model's own names?",
        }
    }
}

/// The first element that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstDifference {
    /// Which input of the network it was found with, from 0.
    pub input: usize,
    /// Position in row-major order.
    pub element: usize,
    /// Index along each dimension.
    pub index: Vec<u64>,
    /// In the reference: the stored integer, or the real number.
    pub reference: f64,
    /// In the other.
    pub other: f64,
}

/// What a tensor's difference amounts to, over all inputs that were compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The tensor.
    pub name: String,
    /// Extents.
    pub shape: Vec<u64>,
    /// Elements, of all inputs together.
    pub elements: usize,
    /// Whether every element has the same bits, and the integers the same meaning.
    pub equal: bool,
    /// Elements that differ.
    pub different: usize,
    /// The first of them.
    pub first: Option<FirstDifference>,
    /// Largest difference in real units, if both have any.
    pub max_abs: Option<f64>,
    /// Largest difference in steps of the other's scale (of the reference's, if that is the only one).
    pub max_lsb: Option<f64>,
    /// Number of elements by difference in steps, rounded to the nearest; other minus reference.
    pub histogram: BTreeMap<i64, u64>,
    /// 10 log10 of the reference's power over the difference's; infinite without a difference.
    pub sqnr_db: Option<f64>,
    /// Cosine of the angle between both as vectors; 1 if both are zero.
    pub cosine: Option<f64>,
    /// Share of the other's integers at the ends of their type.
    pub saturated: Option<f64>,
    /// Smallest and largest of the reference, real.
    pub range: Option<(f64, f64)>,
    /// Step of the other's integers, if known.
    pub step: Option<f64>,
    /// How the reference's values lie on the other's integers, where the two have different ones.
    pub spread: Option<Spread>,
}

/// All tensors that both sides have, in the order of execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The reference's name.
    pub reference: String,
    /// The other's name.
    pub other: String,
    /// Per tensor.
    pub measures: Vec<Measure>,
    /// Tensors that one side says it never makes.
    pub skipped: Vec<String>,
    /// Inputs of the network that were compared.
    pub inputs: usize,
}

impl Comparison {
    /// Whether all tensors are equal, bit for bit.
    pub fn is_equal(&self) -> bool {
        self.measures.iter().all(|measure| measure.equal)
    }

    /// The first tensor that differs, in the order of execution.
    pub fn first_difference(&self) -> Option<&Measure> {
        self.measures.iter().find(|measure| !measure.equal)
    }
}

/// Compares all tensors of two runs, matched by their names, in the order of the one that knows it better: the other's if the
/// reference is real.
///
/// # Errors
/// Everything that cannot be compared.
pub fn compare(reference: &TensorSet, other: &TensorSet) -> Result<Comparison, Vec<Incomparable>> {
    let mut comparer = Comparer::default();
    comparer.add(reference, other)?;
    Ok(comparer.comparison())
}

/// Compares the runs of two levels with one input after the other. It keeps sums per tensor, so its size does not depend on the
/// number of inputs.
#[derive(Clone, Debug, Default)]
pub struct Comparer {
    reference: String,
    other: String,
    totals: Vec<Totals>,
    skipped: Vec<String>,
    inputs: usize,
}

impl Comparer {
    /// Adds the runs with the next input.
    ///
    /// # Errors
    /// Everything that cannot be compared.
    pub fn add(&mut self, reference: &TensorSet, other: &TensorSet) -> Result<(), Vec<Incomparable>> {
        let mut problems = duplicates(reference);
        problems.extend(duplicates(other));
        let (pairs, skipped) = pairs(reference, other, &mut problems);
        let mut found = vec![];
        for (a, b) in pairs {
            // A tensor that is real on both sides is judged by the integers it was made of.
            let integers = if b.affine.is_some() { Some(b) } else { other.get(&format!("{}:quantized", b.name)) };
            match Totals::of(a, b, integers, [&reference.name, &other.name]) {
                Ok(totals) => found.push(totals),
                Err(problem) => problems.push(problem),
            }
        }
        if found.is_empty() && problems.is_empty() {
            problems.push(Incomparable::Nothing { reference: reference.name.clone(), other: other.name.clone() });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        (self.reference, self.other) = (reference.name.clone(), other.name.clone());
        self.skipped.extend(skipped.into_iter().filter(|name| !self.skipped.contains(name)).collect::<Vec<_>>());
        self.add_totals(found).map_err(|problem| vec![problem])
    }

    /// Adds what was measured with the next input.
    pub(crate) fn add_totals(&mut self, found: Vec<Totals>) -> Result<(), Incomparable> {
        for (at, mut totals) in found.into_iter().enumerate() {
            totals.first.iter_mut().for_each(|first| first.input = self.inputs);
            // Inputs mostly give the same tensors in the same order.
            let same = |own: &Totals| own.name == totals.name;
            let place = self.totals.get(at).filter(|own| same(own)).map(|_| at);
            match place.or_else(|| self.totals.iter().position(same)).and_then(|at| self.totals.get_mut(at)) {
                Some(own) => own.merge(totals)?,
                None => self.totals.push(totals),
            }
        }
        self.inputs += 1;
        Ok(())
    }

    /// Inputs so far.
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// What was found so far.
    pub fn comparison(&self) -> Comparison {
        Comparison {
            reference: self.reference.clone(),
            other: self.other.clone(),
            measures: self.totals.iter().map(Totals::measure).collect(),
            skipped: self.skipped.clone(),
            inputs: self.inputs,
        }
    }
}

fn duplicates(set: &TensorSet) -> Vec<Incomparable> {
    let mut seen = BTreeSet::new();
    let again = set.tensors.iter().filter(|tensor| !seen.insert(&tensor.name));
    again.map(|tensor| Incomparable::Twice { name: tensor.name.clone(), set: set.name.clone() }).collect()
}

/// Tensors of the same name, and the names of those that one side never makes.
fn pairs<'t>(
    reference: &'t TensorSet,
    other: &'t TensorSet,
    problems: &mut Vec<Incomparable>,
) -> (Vec<(&'t NamedTensor, &'t NamedTensor)>, Vec<String>) {
    let by_name = |set: &'t TensorSet| -> HashMap<&'t str, &'t NamedTensor> {
        set.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
    };
    let (in_reference, in_other) = (by_name(reference), by_name(other));
    let mut skipped = vec![];
    let mut lacks = |tensor: &NamedTensor, set: &TensorSet| {
        if tensor.is_internal() || set.absent.contains(&tensor.name) {
            skipped.push(tensor.name.clone());
        } else {
            problems.push(Incomparable::Missing { name: tensor.name.clone(), set: set.name.clone() });
        }
    };
    let mut pairs = vec![];
    for tensor in &other.tensors {
        match in_reference.get(tensor.name.as_str()) {
            Some(of) => pairs.push((*of, tensor)),
            None => lacks(tensor, reference),
        }
    }
    for tensor in reference.tensors.iter().filter(|tensor| !in_other.contains_key(tensor.name.as_str())) {
        lacks(tensor, other);
    }
    (pairs, skipped)
}

/// Compares one tensor.
///
/// # Errors
/// If the two cannot be compared; `sets` names them.
pub fn measure(reference: &NamedTensor, other: &NamedTensor, sets: [&str; 2]) -> Result<Measure, Incomparable> {
    Totals::of(reference, other, Some(other), sets).map(|totals| totals.measure())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::Affine;
    use cnnip_package::SourceTensor;

    fn int8(name: &str, values: &[i8], scale: Option<f64>) -> NamedTensor {
        NamedTensor {
            name: name.into(),
            shape: vec![1, u64::try_from(values.len()).unwrap()],
            element: ElementType::Int8,
            affine: scale.map(|scale| Affine { scale, zero: 0 }),
            bytes: values.iter().map(|value| value.cast_unsigned()).collect(),
            model: SourceTensor::Same,
        }
    }

    fn float(name: &str, values: &[f32]) -> NamedTensor {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        NamedTensor { element: ElementType::Float32, bytes, ..int8(name, &vec![0; values.len()], None) }
    }

    fn set(tensors: Vec<NamedTensor>) -> TensorSet {
        TensorSet { name: "set".into(), tensors, absent: vec![] }
    }

    #[test]
    fn integers_are_equal_or_not() {
        let found = compare(&set(vec![int8("a", &[1, 2, 127], Some(0.5))]), &set(vec![int8("a", &[1, 5, 127], None)]));
        let found = &found.unwrap().measures[0];
        assert!(!found.equal);
        assert_eq!((found.different, found.max_abs, found.max_lsb), (1, Some(1.5), Some(3.0)));
        assert_eq!(found.histogram, BTreeMap::from([(0, 2), (3, 1)]));
        assert_eq!(found.first.as_ref().map(|first| (first.index.clone(), first.other)), Some((vec![0, 1], 5.0)));
        let power = 0.25 * (1.0 + 4.0 + 127.0 * 127.0);
        assert_eq!(found.sqnr_db, Some(10.0 * (power / 2.25_f64).log10()));
        assert_eq!(found.saturated, Some(1.0 / 3.0));
    }

    #[test]
    fn real_numbers_are_compared_in_steps_of_the_quantized_side() {
        let found = compare(&set(vec![float("a", &[1.0, -0.5])]), &set(vec![int8("a", &[2, 0], Some(0.5))])).unwrap();
        let found = &found.measures[0];
        assert_eq!((found.max_abs, found.max_lsb, found.step), (Some(0.5), Some(1.0), Some(0.5)));
        assert_eq!(found.range, Some((-0.5, 1.0)));
    }

    #[test]
    fn many_inputs_are_one_measure() {
        let mut comparer = Comparer::default();
        let a = set(vec![int8("a", &[1, 2, 127], Some(0.5))]);
        comparer.add(&a, &a).unwrap();
        comparer.add(&a, &set(vec![int8("a", &[1, 5, 127], Some(0.5))])).unwrap();
        comparer.add(&a, &set(vec![int8("a", &[3, 5, -128], Some(0.5))])).unwrap();
        let all = comparer.comparison();
        let found = &all.measures[0];
        assert_eq!((all.inputs, found.elements, found.different), (3, 9, 4));
        assert_eq!(found.first.as_ref().map(|first| (first.input, first.element)), Some((1, 1)));
        assert_eq!(found.histogram, BTreeMap::from([(0, 5), (2, 1), (3, 2), (-64, 1)]));
        assert_eq!((found.max_lsb, found.max_abs), (Some(255.0), Some(127.5)));
        let signal = 3.0 * 0.25 * (1.0 + 4.0 + 127.0 * 127.0);
        let noise: f64 = 0.25 * (9.0 + 9.0 + 4.0 + 255.0 * 255.0);
        assert!((found.sqnr_db.unwrap() - 10.0 * (signal / noise).log10()).abs() < 1e-9);
        let longer = set(vec![int8("a", &[1, 2], Some(0.5))]);
        assert!(matches!(comparer.add(&longer, &longer).unwrap_err()[..], [Incomparable::Shape { .. }]));
    }

    #[test]
    fn another_scale_is_another_result() {
        let found = compare(&set(vec![int8("a", &[0, 0], Some(0.5))]), &set(vec![int8("a", &[0, 0], Some(0.25))]));
        assert!(!found.unwrap().is_equal());
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let a = set(vec![int8("a", &[1], None), int8("b", &[1], None), float("n", &[f32::NAN]), int8("t", &[1], None)]);
        let b = set(vec![int8("a", &[1, 2], None), float("n", &[0.0]), float("t", &[0.0])]);
        let problems = compare(&a, &b).unwrap_err();
        assert!(
            matches!(&problems[..], [
            Incomparable::Missing { name: missing, .. },
            Incomparable::Shape { .. },
            Incomparable::NotFinite { name, element: 0, .. },
            Incomparable::Type { .. },
        ] if missing == "b" && name == "n"),
            "{problems:?}"
        );
        assert!(matches!(compare(&set(vec![]), &set(vec![])).unwrap_err()[..], [Incomparable::Nothing { .. }]));
        let twice = set(vec![int8("a", &[1], None), int8("a", &[1], None)]);
        assert!(matches!(compare(&twice, &twice).unwrap_err()[..], [Incomparable::Twice { .. }, ..]));
    }

    #[test]
    fn what_a_level_never_makes_is_skipped() {
        let a = TensorSet { absent: vec!["padded".into()], ..set(vec![int8("a", &[1], None)]) };
        let inner = NamedTensor { model: SourceTensor::Added, ..int8("a:maxima0", &[1], None) };
        let b = set(vec![int8("padded", &[1], None), int8("a", &[1], None), inner]);
        let found = compare(&a, &b).unwrap();
        assert_eq!((found.is_equal(), found.skipped), (true, vec!["padded".into(), "a:maxima0".into()]));
    }
}
