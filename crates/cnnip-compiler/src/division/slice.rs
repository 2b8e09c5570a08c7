//! Some elements of a value, and where they lie in another part of it.

use std::ops::Range;

/// Elements of a dense value, by their positions in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slice {
    /// Neighbours.
    Band(Range<u64>),
    /// The same channels of all pixels; neither all channels, nor of one pixel only.
    Channels {
        /// Which channels.
        range: Range<u32>,
        /// Channels that a pixel of the value has.
        of: u32,
        /// Pixels of the value.
        pixels: u64,
    },
}

/// Where a slice lies in a place that holds a slice around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Elements from the place's start to the first.
    pub(crate) start: u64,
    /// Channels that a pixel has in the place, where the slice is some channels.
    pub(crate) pixel: Option<u32>,
}

impl Slice {
    /// Channels of `pixels` pixels.
    pub(crate) fn channels(range: Range<u32>, of: u32, pixels: u64) -> Self {
        let all = range == (0..of);
        match pixels {
            _ if all => Self::Band(0..u64::from(of) * pixels),
            0 | 1 => Self::Band(range.start.into()..range.end.into()),
            _ => Self::Channels { range, of, pixels },
        }
    }

    /// Number of elements.
    pub(crate) fn elements(&self) -> u64 {
        match self {
            Self::Band(range) => range.end - range.start,
            Self::Channels { range, pixels, .. } => u64::from(range.end - range.start) * pixels,
        }
    }

    /// The least slice of the same kind around both; `None` if they are of different kinds.
    pub(crate) fn around(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Band(a), Self::Band(b)) => Some(Self::Band(a.start.min(b.start)..a.end.max(b.end))),
            (Self::Channels { range: a, of, pixels }, Self::Channels { range: b, of: other, .. }) if of == other => {
                Some(Self::channels(a.start.min(b.start)..a.end.max(b.end), *of, *pixels))
            }
            _ => None,
        }
    }

    /// Where the slice lies in a dense place that holds `held` of the value; `None` if it is not in there as rows or pixels.
    pub(crate) fn within(&self, held: &Self) -> Option<View> {
        match (self, held) {
            (Self::Band(part), Self::Band(held)) => {
                let inside = held.start <= part.start && part.end <= held.end;
                inside.then(|| View { start: part.start - held.start, pixel: None })
            }
            (Self::Channels { range, of, .. }, Self::Band(held)) => {
                (held.start == 0).then(|| View { start: range.start.into(), pixel: Some(*of) })
            }
            (Self::Channels { range, of, .. }, Self::Channels { range: held, of: held_of, .. }) => {
                let inside = of == held_of && held.start <= range.start && range.end <= held.end;
                inside.then(|| View { start: (range.start - held.start).into(), pixel: Some(held.end - held.start) })
            }
            (Self::Band(_), Self::Channels { .. }) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(range: Range<u32>) -> Slice {
        Slice::channels(range, 48, 49)
    }

    #[test]
    fn all_channels_and_those_of_one_pixel_are_neighbours() {
        assert_eq!(channels(0..48), Slice::Band(0..48 * 49));
        assert_eq!(Slice::channels(16..32, 48, 1), Slice::Band(16..32));
        assert_eq!(channels(16..32).elements(), 16 * 49);
    }

    #[test]
    fn what_is_around_two_slices_holds_both() {
        let (a, b) = (channels(0..16), channels(16..32));
        let both = a.around(&b).unwrap();
        assert_eq!(both, channels(0..32));
        assert_eq!(b.within(&both), Some(View { start: 16, pixel: Some(32) }));
        assert_eq!(b.within(&a), None);
        assert_eq!(b.within(&channels(0..48)), Some(View { start: 16, pixel: Some(48) }));
        let (c, d) = (Slice::Band(10..20), Slice::Band(30..40));
        let both = c.around(&d).unwrap();
        assert_eq!(both, Slice::Band(10..40));
        assert_eq!(d.within(&both), Some(View { start: 20, pixel: None }));
        assert_eq!(c.around(&a), None);
    }
}
