//! Tensor by tensor: how far two runs of a network are apart.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cnnip_package::ElementType;

use crate::tensors::{Affine, NamedTensor, TensorSet};

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
    /// Position in row-major order.
    pub element: usize,
    /// Index along each dimension.
    pub index: Vec<u64>,
    /// In the reference: the stored integer, or the real number.
    pub reference: f64,
    /// In the other.
    pub other: f64,
}

/// What a tensor's difference amounts to.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The tensor.
    pub name: String,
    /// Extents.
    pub shape: Vec<u64>,
    /// Elements.
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
    let mut problems = duplicates(reference);
    problems.extend(duplicates(other));
    let (pairs, skipped) = pairs(reference, other, &mut problems);
    let mut measures = vec![];
    for (a, b) in pairs {
        match measure(a, b, [&reference.name, &other.name]) {
            Ok(measure) => measures.push(measure),
            Err(problem) => problems.push(problem),
        }
    }
    if measures.is_empty() && problems.is_empty() {
        problems.push(Incomparable::Nothing { reference: reference.name.clone(), other: other.name.clone() });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Comparison { reference: reference.name.clone(), other: other.name.clone(), measures, skipped })
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
        if tensor.internal || set.absent.contains(&tensor.name) {
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
    let name = || reference.name.clone();
    let lengths = reference.elements() == other.elements();
    if reference.shape != other.shape || !lengths {
        let (reference, other) = (reference.shape.clone(), other.shape.clone());
        return Err(Incomparable::Shape { name: name(), reference, other });
    }
    // A dump does not say its scale: integers of the same type then mean the same.
    let same_type = reference.element == other.element;
    let shared = if same_type { reference.affine.or(other.affine) } else { None };
    let real = (reference.real(shared), other.real(shared));
    for (values, set) in [(&real.0, sets[0]), (&real.1, sets[1])] {
        finite(values.as_deref().unwrap_or_default(), &reference.name, set)?;
    }
    let integers = reference.integers().zip(other.integers()).filter(|_| same_type);
    if integers.is_none() && (real.0.is_none() || real.1.is_none()) {
        return Err(Incomparable::Type { name: name(), reference: reference.element, other: other.element });
    }
    let differ = reference.affine.is_some() && other.affine.is_some() && reference.affine != other.affine;
    let affine = other.affine.or(reference.affine);
    let reals = real.0.zip(real.1);
    Ok(build(reference, other, integers.filter(|_| !differ), reals, affine, differ))
}

type Pair<T> = (Vec<T>, Vec<T>);

fn build(
    reference: &NamedTensor,
    other: &NamedTensor,
    integers: Option<Pair<i64>>,
    reals: Option<Pair<f64>>,
    affine: Option<Affine>,
    meaning_differs: bool,
) -> Measure {
    let stored: Vec<(f64, f64)> = match (&integers, &reals) {
        (Some((a, b)), _) => a.iter().zip(b).map(|(&a, &b)| (number(a), number(b))).collect(),
        (None, Some((a, b))) => a.iter().copied().zip(b.iter().copied()).collect(),
        (None, None) => vec![],
    };
    let step = affine.map(|affine| affine.scale);
    let unit = if integers.is_some() { Some(1.0) } else { step };
    let mut histogram = BTreeMap::new();
    let (mut different, mut first, mut max_lsb) = (0, None, 0.0_f64);
    for (element, &(a, b)) in stored.iter().enumerate() {
        let lsb = unit.map_or(0.0, |unit| (b - a) / unit);
        max_lsb = max_lsb.max(lsb.abs());
        *histogram.entry(bar(lsb)).or_insert(0) += 1;
        if a != b {
            different += 1;
            first.get_or_insert_with(|| FirstDifference {
                element,
                index: reference.index(element),
                reference: a,
                other: b,
            });
        }
    }
    let noise = reals.as_ref().map(|(a, b)| Noise::of(a, b));
    Measure {
        name: reference.name.clone(),
        shape: reference.shape.clone(),
        elements: stored.len(),
        equal: different == 0 && !meaning_differs,
        different,
        first,
        max_abs: noise.map(|noise| noise.max_abs),
        max_lsb: unit.map(|_| max_lsb),
        histogram: if unit.is_some() { histogram } else { BTreeMap::new() },
        sqnr_db: noise.map(|noise| noise.sqnr_db()),
        cosine: noise.map(|noise| noise.cosine()),
        saturated: saturated(other),
        range: noise.map(|noise| noise.range),
        step,
    }
}

fn finite(values: &[f64], name: &str, set: &str) -> Result<(), Incomparable> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(element) => {
            Err(Incomparable::NotFinite { name: name.to_owned(), set: set.to_owned(), element, value: values[element] })
        }
        None => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "elements of activations have at most 32 bits")]
fn number(integer: i64) -> f64 {
    integer as f64
}

/// The bar of the histogram for a difference in steps.
fn bar(lsb: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    let bar = lsb.round().clamp(number(-HISTOGRAM_LIMIT), number(HISTOGRAM_LIMIT)) as i64;
    bar
}

/// Share of integers at the ends of their type.
fn saturated(tensor: &NamedTensor) -> Option<f64> {
    let ((low, high), integers) = tensor.element.range().zip(tensor.integers())?;
    let at_end = integers.iter().filter(|&&value| value == low || value == high).count();
    let share = |part: usize, whole: usize| {
        let wide = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
        wide(part) / wide(whole.max(1))
    };
    Some(share(at_end, integers.len()))
}

/// Sums over real numbers, in the order of the elements.
#[derive(Clone, Copy, Debug)]
struct Noise {
    reference_power: f64,
    other_power: f64,
    product: f64,
    noise_power: f64,
    max_abs: f64,
    range: (f64, f64),
}

impl Noise {
    fn of(reference: &[f64], other: &[f64]) -> Self {
        let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
        let zero = 0.0;
        let mut sums = Self {
            reference_power: zero,
            other_power: zero,
            product: zero,
            noise_power: zero,
            max_abs: zero,
            range: (low, high),
        };
        for (&a, &b) in reference.iter().zip(other) {
            sums.reference_power += a * a;
            sums.other_power += b * b;
            sums.product += a * b;
            sums.noise_power += (a - b) * (a - b);
            sums.max_abs = sums.max_abs.max((a - b).abs());
            sums.range = (sums.range.0.min(a), sums.range.1.max(a));
        }
        sums
    }

    fn sqnr_db(&self) -> f64 {
        if self.noise_power == 0.0 { f64::INFINITY } else { 10.0 * (self.reference_power / self.noise_power).log10() }
    }

    fn cosine(&self) -> f64 {
        let lengths = self.reference_power.sqrt() * self.other_power.sqrt();
        match (self.reference_power == 0.0, self.other_power == 0.0) {
            (true, true) => 1.0,
            _ if lengths == 0.0 => 0.0,
            _ => (self.product / lengths).clamp(-1.0, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int8(name: &str, values: &[i8], scale: Option<f64>) -> NamedTensor {
        NamedTensor {
            name: name.into(),
            shape: vec![1, u64::try_from(values.len()).unwrap()],
            element: ElementType::Int8,
            affine: scale.map(|scale| Affine { scale, zero: 0 }),
            bytes: values.iter().map(|value| value.cast_unsigned()).collect(),
            internal: false,
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
        let inner = NamedTensor { internal: true, ..int8("a:maxima0", &[1], None) };
        let b = set(vec![int8("padded", &[1], None), int8("a", &[1], None), inner]);
        let found = compare(&a, &b).unwrap();
        assert_eq!((found.is_equal(), found.skipped), (true, vec!["padded".into(), "a:maxima0".into()]));
    }
}
