//! Why a tensor is far from its reference: range, number of bits, or what came before.

use cnnip_package::ElementType;

use crate::compare::{Comparison, Measure};
use crate::report::of;
use crate::tensors::{Affine, NamedTensor};

/// Signal to noise in dB below which a tensor is judged, unless the caller says otherwise.
pub const DEFAULT_GOAL_DB: f64 = 30.0;

/// A range is too wide if it is this many times what was observed: two of eight bits are then never used.
const TOO_WIDE: f64 = 4.0;

/// What the middle channel may be worse than the whole tensor, in dB: channels differ in range, and only whole tensors have scales.
const CHANNEL_SLACK_DB: f64 = 10.0;

/// What is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The tensor is as near as was asked for.
    Good,
    /// Poor calibration: most of the error is from values beyond the range.
    TooNarrow,
    /// Poor calibration: the range is several times what was observed.
    TooWide,
    /// The range fits and its steps are too coarse.
    TooFewBits,
    /// The tensor's integers could be much nearer: the error is from weights, or from layers before.
    Elsewhere,
}

impl Cause {
    /// The cause in a word or two, the same in every form of the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::TooNarrow => "range too narrow",
            Self::TooWide => "range too wide",
            Self::TooFewBits => "too few bits",
            Self::Elsewhere => "from elsewhere",
        }
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Good => "",
            Self::TooNarrow => "calibrate with inputs like this one, or with a method that clips less",
            Self::TooWide => "calibrate with a method that leaves outliers out",
            Self::TooFewBits => "give the tensor 16 bits",
            Self::Elsewhere => "look at the layer's weights and at the layers before it",
        }
    }
}

/// What a tensor's error is made of, and what would become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The tensor.
    pub name: String,
    /// What is to blame.
    pub cause: Cause,
    /// Smallest and largest value of the reference.
    pub observed: (f64, f64),
    /// Smallest and largest value that the integers stand for: the calibrated range.
    pub covered: (f64, f64),
    /// Share of the reference's elements that are more than half a step beyond the range.
    pub clipped: f64,
    /// Signal to noise as it was measured: of the layer by itself, if that is known.
    pub measured_db: f64,
    /// Signal to noise of the reference rounded to the tensor's integers: no computation can be better on average.
    pub grid_db: f64,
    /// The same for the middle one of the channels, each against its own signal; channels are the last axis. One wide channel makes
    /// the steps of all others too coarse, which the ratio of the whole tensor does not show.
    pub channel_db: f64,
    /// What would be measured with 8 bits (16, if it has these) over the observed range.
    pub recalibrated_db: f64,
    /// What would be measured with 16 bits over the calibrated range.
    pub int16_db: f64,
}

/// The integers of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    affine: Affine,
    low: i64,
    high: i64,
}

impl Grid {
    fn of(tensor: &NamedTensor) -> Option<Self> {
        let (low, high) = tensor.element.range()?;
        let affine = tensor.affine.filter(|affine| affine.scale > 0.0)?;
        matches!(tensor.element, ElementType::Int8 | ElementType::Uint8 | ElementType::Int16).then_some(Self {
            affine,
            low,
            high,
        })
    }

    /// 16 bits without zero point for a range.
    fn int16((low, high): (f64, f64)) -> Self {
        let affine = Affine { scale: positive(low.abs().max(high.abs()) / f64::from(i16::MAX)), zero: 0 };
        Self { affine, low: (-i16::MAX).into(), high: i16::MAX.into() }
    }

    /// As many integers as this one has, over another range.
    fn over(self, (low, high): (f64, f64)) -> Self {
        if self.high > u8::MAX.into() {
            return Self::int16((low, high));
        }
        let scale = positive((high.max(0.0) - low.min(0.0)) / 255.0);
        #[expect(clippy::cast_possible_truncation, reason = "saturates; clamped to 8 bits")]
        let zero = (number(self.low) - low.min(0.0) / scale).round() as i64;
        Self { affine: Affine { scale, zero: zero.clamp(self.low, self.high) }, ..self }
    }

    fn real(&self, integer: i64) -> f64 {
        self.affine.scale * number(integer.saturating_sub(self.affine.zero))
    }

    fn covered(&self) -> (f64, f64) {
        (self.real(self.low), self.real(self.high))
    }

    /// What rounding to the integers does to a value.
    fn error(&self, value: f64) -> GridError {
        let (low, high) = self.covered();
        let inside = value.clamp(low, high);
        let steps = (inside / self.affine.scale).round();
        let difference = value - steps * self.affine.scale;
        let noise = difference * difference;
        if (value - inside).abs() > self.affine.scale / 2.0 {
            GridError { clipping: noise, clipped: 1, ..GridError::default() }
        } else {
            GridError { rounding: noise, ..GridError::default() }
        }
    }
}

/// What rounding to integers does to values: sums of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct GridError {
    rounding: f64,
    clipping: f64,
    clipped: usize,
}

impl GridError {
    fn noise(&self) -> f64 {
        self.rounding + self.clipping
    }

    fn add(&mut self, other: Self) {
        self.rounding += other.rounding;
        self.clipping += other.clipping;
        self.clipped += other.clipped;
    }
}

/// Magnitudes of values: how many there are in each quarter of an octave of binary32, and the sum of their squares.
#[derive(Clone, Debug, PartialEq)]
struct Sizes(Vec<(u64, f64)>);

impl Sizes {
    /// Bits of a binary32 number below those that say its quarter of an octave.
    const FINE_BITS: u32 = 21;

    fn new() -> Self {
        Self(vec![(0, 0.0); 1 << (u32::BITS - 1 - Self::FINE_BITS)])
    }

    fn add(&mut self, value: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "only the size counts; infinity has a place too")]
        let size = (value.abs() as f32).to_bits() >> Self::FINE_BITS;
        if let Some(bin) = usize::try_from(size).ok().and_then(|size| self.0.get_mut(size)) {
            bin.0 += 1;
            bin.1 += value * value;
        }
    }

    fn with(mut self, other: &Self) -> Self {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = (own.0 + other.0, own.1 + other.1);
        }
        self
    }

    /// About what rounding to multiples of a step makes: of values near a multiple that they all round to, their distance; of
    /// values all over a step, a twelfth of its square.
    fn noise(&self, step: f64) -> f64 {
        let of_bin = |(bin, &(count, power)): (u32, &(u64, f64))| {
            let edge = |bin: u32| f64::from(f32::from_bits(bin << Self::FINE_BITS));
            let count = number(i64::try_from(count).unwrap_or(i64::MAX));
            if edge(bin + 1) - edge(bin) > step / 2.0 {
                return count * step * step / 12.0;
            }
            let typical = (power / count).sqrt();
            let distance = typical - (typical / step).round() * step;
            count * distance * distance
        };
        (0..).zip(&self.0).filter(|(_, (count, _))| *count > 0).map(of_bin).sum()
    }
}

/// How a reference's values lie on the integers of another tensor, over any number of inputs: what verdicts are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    grid: Grid,
    count: usize,
    observed: (f64, f64),
    own: GridError,
    sizes: Sizes,
    /// Signal and noise per channel.
    channels: Vec<(f64, f64)>,
}

impl Spread {
    /// The spread of the reference's real `values` over `integers`; `None` if these have no scale, or the reference has the same.
    pub(crate) fn of(reference: &NamedTensor, values: &[f64], integers: &NamedTensor) -> Option<Self> {
        let grid = Grid::of(integers)?;
        let same_grid = reference.element == integers.element
            && (reference.affine.is_none() || reference.affine == integers.affine);
        if same_grid || reference.shape != integers.shape {
            return None;
        }
        let (channels, inner) = integers.channels();
        let mut spread = Self {
            grid,
            count: values.len(),
            observed: (f64::INFINITY, f64::NEG_INFINITY),
            own: GridError::default(),
            sizes: Sizes::new(),
            channels: vec![(0.0, 0.0); channels],
        };
        for (run, values) in values.chunks(inner).enumerate() {
            let mut noise = GridError::default();
            for &value in values {
                spread.observed = (spread.observed.0.min(value), spread.observed.1.max(value));
                spread.sizes.add(value);
                noise.add(grid.error(value));
            }
            spread.own.add(noise);
            if let Some(channel) = spread.channels.get_mut(run % channels) {
                channel.0 += values.iter().map(|value| value * value).sum::<f64>();
                channel.1 += noise.noise();
            }
        }
        Some(spread)
    }

    /// The spread over both; `None` if they are of different integers.
    pub(crate) fn with(mut self, other: Self) -> Option<Self> {
        if self.grid != other.grid || self.channels.len() != other.channels.len() {
            return None;
        }
        self.count += other.count;
        self.observed = (self.observed.0.min(other.observed.0), self.observed.1.max(other.observed.1));
        self.own.add(other.own);
        self.sizes = self.sizes.with(&other.sizes);
        for (own, other) in self.channels.iter_mut().zip(other.channels) {
            *own = (own.0 + other.0, own.1 + other.1);
        }
        Some(self)
    }

    /// Signal to noise that the grid leaves the middle one of the channels that have a signal.
    fn middle_channel(&self) -> f64 {
        // The ratio of a few elements says nothing.
        if self.count < 4 * self.channels.len() {
            return f64::INFINITY;
        }
        let with_signal = self.channels.iter().filter(|(signal, _)| *signal > 0.0);
        let mut found: Vec<f64> = with_signal.map(|&(signal, noise)| decibels(signal, noise)).collect();
        found.sort_by(f64::total_cmp);
        found.get(found.len() / 2).copied().unwrap_or(f64::INFINITY)
    }

    /// Judges a tensor whose signal to noise is `measured_db`.
    ///
    /// The expected ratios take the measured noise, subtract what rounding the reference to the tensor's integers makes, and add
    /// what rounding to other integers would make: errors are taken to be independent, so these are estimates.
    ///
    /// `None` without elements.
    pub fn verdict(&self, name: &str, measured_db: f64, goal_db: f64) -> Option<Verdict> {
        let Self { grid, count, observed, own, sizes, channels } = self;
        if *count == 0 {
            return None;
        }
        let signal: f64 = channels.iter().map(|(signal, _)| signal).sum();
        let measured = signal * 10.0_f64.powf(-measured_db / 10.0);
        let rest = (measured - own.noise()).max(0.0);
        let recalibrated = sizes.noise(grid.over(*observed).affine.scale);
        let int16 = own.clipping + sizes.noise(Grid::int16(grid.covered()).affine.scale);
        let mut verdict = Verdict {
            name: name.to_owned(),
            cause: Cause::Good,
            observed: *observed,
            covered: grid.covered(),
            clipped: share(own.clipped, *count),
            measured_db,
            grid_db: decibels(signal, own.noise()),
            channel_db: self.middle_channel(),
            recalibrated_db: decibels(signal, rest + recalibrated),
            int16_db: if grid.high > u8::MAX.into() { measured_db } else { decibels(signal, rest + int16) },
        };
        verdict.cause = verdict.blame(own, measured, goal_db);
        Some(verdict)
    }
}

/// The smallest step that is none if a range is empty.
fn positive(scale: f64) -> f64 {
    if scale > 0.0 { scale } else { f64::MIN_POSITIVE }
}

#[expect(clippy::cast_precision_loss, reason = "integers of activations, and counts below 2^53")]
fn number(integer: i64) -> f64 {
    integer as f64
}

fn decibels(signal: f64, noise: f64) -> f64 {
    if noise <= 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// Judges one tensor whose signal to noise is `measured_db`, as [`Spread::verdict`] does.
///
/// `None` if the tensor has no integers with a scale, or the reference no real numbers.
///
/// ```
/// use cnnip_analysis::verdict::{Cause, DEFAULT_GOAL_DB, verdict};
/// use cnnip_analysis::{Affine, NamedTensor};
/// use cnnip_package::{ElementType, SourceTensor};
///
/// let reference = NamedTensor {
///     name: "features".into(),
///     shape: vec![1, 2],
///     element: ElementType::Float32,
///     affine: None,
///     bytes: [0.5_f32, -4.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
///     model: SourceTensor::Same,
/// };
/// let affine = Some(Affine { scale: 1.0 / 128.0, zero: 0 });
/// let clipped = NamedTensor { element: ElementType::Int8, affine, bytes: vec![64, 0x80], ..reference.clone() };
/// let found = verdict(&reference, &clipped, 2.6, DEFAULT_GOAL_DB).unwrap();
/// assert_eq!((found.cause, found.clipped), (Cause::TooNarrow, 0.5));
/// assert!(found.recalibrated_db > 40.0 && found.int16_db < 3.0);
/// ```
pub fn verdict(reference: &NamedTensor, other: &NamedTensor, measured_db: f64, goal_db: f64) -> Option<Verdict> {
    Spread::of(reference, &reference.real(None)?, other)?.verdict(&other.name, measured_db, goal_db)
}

impl Verdict {
    fn blame(&self, own: &GridError, measured: f64, goal_db: f64) -> Cause {
        let width = |(low, high): (f64, f64)| high.max(0.0) - low.min(0.0);
        let is_noisy = self.measured_db < goal_db;
        if !is_noisy && self.channel_db >= goal_db - CHANNEL_SLACK_DB {
            Cause::Good
        } else if is_noisy && own.noise() < measured / 2.0 {
            Cause::Elsewhere
        } else if own.clipping > own.rounding {
            Cause::TooNarrow
        } else if width(self.covered) > TOO_WIDE * width(self.observed) {
            Cause::TooWide
        } else {
            Cause::TooFewBits
        }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    let wide = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
    wide(part) / wide(whole.max(1))
}

/// Judges every tensor of a comparison whose reference is on another grid, in the order of the comparison.
///
/// The noise of a layer by itself goes before that of all layers together.
pub fn verdicts(comparison: &Comparison, local: Option<&Comparison>, goal_db: f64) -> Vec<Verdict> {
    let judged = |measure: &Measure| {
        let alone = local.and_then(|local| of(local, &measure.name)).and_then(|of| of.sqnr_db);
        measure.spread.as_ref()?.verdict(&measure.name, alone.or(measure.sqnr_db)?, goal_db)
    };
    comparison.measures.iter().filter_map(judged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::SourceTensor;

    fn float(values: &[f64]) -> NamedTensor {
        #[expect(clippy::cast_possible_truncation, reason = "test values")]
        let bytes = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
        NamedTensor {
            name: "x".into(),
            shape: vec![u64::try_from(values.len()).unwrap()],
            element: ElementType::Float32,
            affine: None,
            bytes,
            model: SourceTensor::Same,
        }
    }

    fn int8(scale: f64, count: usize) -> NamedTensor {
        let affine = Some(Affine { scale, zero: 0 });
        NamedTensor { element: ElementType::Int8, affine, bytes: vec![0; count], ..float(&vec![0.0; count]) }
    }

    /// The verdict of values whose error is that of their grid.
    fn judged(values: &[f64], scale: f64) -> Verdict {
        let grid = verdict(&float(values), &int8(scale, values.len()), 0.0, DEFAULT_GOAL_DB).unwrap().grid_db;
        verdict(&float(values), &int8(scale, values.len()), grid, DEFAULT_GOAL_DB).unwrap()
    }

    /// Even values from -1 to 1.
    fn even() -> Vec<f64> {
        (0..1000_u16).map(|at| f64::from(at) / 499.5 - 1.0).collect()
    }

    #[test]
    fn the_four_causes() {
        assert_eq!(judged(&even(), 1.0 / 127.0).cause, Cause::Good);
        let narrow = judged(&even(), 0.5 / 127.0);
        assert_eq!(narrow.cause, Cause::TooNarrow);
        assert!(narrow.clipped > 0.45 && narrow.recalibrated_db > 45.0, "{narrow:?}");
        assert!((narrow.int16_db - narrow.grid_db).abs() < 0.2, "16 bits do not help: {narrow:?}");
        let wide = judged(&even(), 16.0 / 127.0);
        assert_eq!(wide.cause, Cause::TooWide);
        assert!(wide.recalibrated_db > 45.0 && wide.int16_db > 60.0, "{wide:?}");
        // One value in a thousand takes nearly all of the range.
        let outlier: Vec<f64> = even().into_iter().map(|value| value / 40.0).chain([1.0]).collect();
        let bits = judged(&outlier, 1.0 / 127.0);
        assert_eq!(bits.cause, Cause::TooFewBits);
        assert!(bits.recalibrated_db < 30.0 && bits.int16_db > 60.0, "{bits:?}");
    }

    #[test]
    fn noise_that_the_grid_does_not_make_is_from_elsewhere() {
        let found = verdict(&float(&even()), &int8(1.0 / 127.0, 1000), 20.0, DEFAULT_GOAL_DB).unwrap();
        assert_eq!(found.cause, Cause::Elsewhere);
        assert!((found.int16_db - 20.0).abs() < 0.1, "and 16 bits change nothing: {found:?}");
    }

    #[test]
    fn one_wide_channel_makes_the_steps_of_all_others_too_coarse() {
        let values: Vec<f64> =
            (0..4000_u16).map(|at| (f64::from(at % 97) / 48.0 - 1.0) * if at % 4 == 0 { 100.0 } else { 1.0 }).collect();
        let reference = NamedTensor { shape: vec![1, 1000, 4], ..float(&values) };
        let other = NamedTensor { shape: vec![1, 1000, 4], ..int8(100.0 / 127.0, 4000) };
        let found = verdict(&reference, &other, 48.0, DEFAULT_GOAL_DB).unwrap();
        assert_eq!(found.cause, Cause::TooFewBits);
        assert!(found.channel_db < 10.0 && found.grid_db > 40.0, "{found:?}");
    }

    #[test]
    fn empty_and_constant_tensors_are_no_trouble() {
        assert_eq!(verdict(&float(&[]), &int8(1.0, 0), 0.0, DEFAULT_GOAL_DB), None);
        let zeros = verdict(&float(&[0.0; 4]), &int8(1.0, 4), f64::INFINITY, DEFAULT_GOAL_DB).unwrap();
        assert_eq!((zeros.cause, zeros.grid_db), (Cause::Good, f64::INFINITY));
    }
}
