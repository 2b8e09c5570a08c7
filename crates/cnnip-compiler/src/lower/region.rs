//! Boxes of feature maps: moved between a value and a buffer, or worked on where a value lies in the scratchpad.

use std::ops::Range;

use cnnip_isa::ElementType;
use cnnip_isa::operation::{FeatureMap, Location, Operation, Space};

use crate::strided::{copies, fill};
use cnnip_lowered::Stride;

/// A dense map `[rows][columns][channels]` of a value, in external memory or in the scratchpad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredMap {
    pub(crate) at: Location,
    pub(crate) columns: u32,
    /// Channels from one pixel to the next; a box may be of fewer.
    pub(crate) channels: u32,
    /// Bytes of an element.
    pub(crate) width: u32,
}

impl StoredMap {
    /// The map that lies `index` maps of `rows` rows further on.
    pub(crate) fn nth(self, index: u32, rows: u32) -> Self {
        Self { at: offset(self.at, index * rows * self.row()), ..self }
    }

    /// Bytes from one row to the next.
    fn row(&self) -> u32 {
        self.columns * self.pixel()
    }

    /// Bytes from one pixel to the next.
    fn pixel(&self) -> u32 {
        self.channels * self.width
    }

    fn element(&self, row: u32, column: u32, channel: u32) -> Location {
        offset(self.at, row * self.row() + column * self.pixel() + channel * self.width)
    }

    /// Whether operations can work on it where it lies.
    fn is_resident(&self) -> bool {
        self.at.space == Space::Sram
    }
}

/// The location `bytes` further on.
pub(crate) fn offset(at: Location, bytes: u32) -> Location {
    Location { address: at.address + bytes, ..at }
}

/// Number of indices in a range.
pub(crate) fn len(range: &Range<u32>) -> u32 {
    range.end - range.start
}

/// A box of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapBox {
    pub(crate) rows: Range<u32>,
    pub(crate) columns: Range<u32>,
    pub(crate) channels: Range<u32>,
}

impl MapBox {
    fn strides(&self, map: &StoredMap) -> [(u32, u32, u32); 2] {
        let (columns, pixel) = (len(&self.columns), len(&self.channels) * map.width);
        [(columns, map.pixel(), pixel), (len(&self.rows), map.row(), columns * pixel)]
    }

    /// The box where it lies, if that is in the scratchpad.
    pub(crate) fn view(&self, map: &StoredMap, element: ElementType) -> Option<FeatureMap> {
        map.is_resident().then(|| FeatureMap {
            address: map.element(self.rows.start, self.columns.start, self.channels.start).address,
            width: len(&self.columns),
            height: len(&self.rows),
            channels: len(&self.channels),
            row: map.row(),
            pixel: map.pixel(),
            element,
        })
    }

    /// Where an operation writes the box: its place, or the start of a buffer from which it is stored.
    pub(crate) fn output(
        &self,
        map: &StoredMap,
        (element, max_count): (ElementType, u32),
        buffer: impl FnOnce() -> u32,
    ) -> (FeatureMap, Vec<Operation>) {
        self.placed(map, element, buffer, |address| self.store(map, address, max_count))
    }

    /// Where an operation reads the box: its place, or the start of a buffer to which it is loaded.
    pub(crate) fn input(
        &self,
        map: &StoredMap,
        (element, max_count): (ElementType, u32),
        buffer: impl FnOnce() -> u32,
    ) -> (FeatureMap, Vec<Operation>) {
        self.placed(map, element, buffer, |address| self.load(map, address, max_count))
    }

    /// The box where it lies, or densely in a buffer with what moves it there or back.
    fn placed(
        &self,
        map: &StoredMap,
        element: ElementType,
        buffer: impl FnOnce() -> u32,
        moves: impl FnOnce(u32) -> Vec<Operation>,
    ) -> (FeatureMap, Vec<Operation>) {
        if let Some(view) = self.view(map, element) {
            return (view, vec![]);
        }
        let address = buffer();
        let size = [len(&self.rows), len(&self.columns), len(&self.channels)];
        (FeatureMap::dense(address, size, element), moves(address))
    }

    /// Loads the box to a dense place in the scratchpad.
    pub(crate) fn load(&self, map: &StoredMap, address: u32, max_count: u32) -> Vec<Operation> {
        let strides = self.strides(map).map(|(count, from, to)| Stride { count, from, to });
        let source = map.element(self.rows.start, self.columns.start, self.channels.start);
        copies(source, Location::sram(address), len(&self.channels) * map.width, &strides, max_count)
    }

    /// Stores the box from a dense place in the scratchpad.
    pub(crate) fn store(&self, map: &StoredMap, address: u32, max_count: u32) -> Vec<Operation> {
        let strides = self.strides(map).map(|(count, to, from)| Stride { count, from, to });
        let destination = map.element(self.rows.start, self.columns.start, self.channels.start);
        copies(Location::sram(address), destination, len(&self.channels) * map.width, &strides, max_count)
    }
}

/// `count` positions along an axis, `step` apart, from `start` on; some may lie outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) count: u32,
    pub(crate) step: u32,
}

impl Span {
    /// The indices whose position lies within an axis of `extent`.
    pub(crate) fn inside(&self, extent: u32) -> Range<u32> {
        let step = i64::from(self.step);
        let first = (-self.start).max(0).div_euclid(step) + i64::from((-self.start).max(0) % step > 0);
        let room = i64::from(extent) - self.start;
        let last = if room <= 0 { 0 } else { (room - 1) / step + 1 };
        let cut = |index: i64| crate::size::small(index.clamp(0, i64::from(self.count)));
        cut(first)..cut(last).max(cut(first))
    }

    /// Position of index `index`, which lies inside.
    fn position(&self, index: u32) -> u32 {
        crate::size::small(self.start + i64::from(index) * i64::from(self.step))
    }

    /// The part inside an axis of `extent`.
    pub(crate) fn cut(&self, extent: u32) -> Self {
        let inside = self.inside(extent);
        Self { start: self.position(inside.start).into(), count: len(&inside), step: self.step }
    }
}

/// Rows and columns of an input piece, some perhaps outside the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) rows: Span,
    pub(crate) columns: Span,
}

impl Frame {
    /// Bytes of the frame with pixels of `pixel` bytes.
    pub(crate) fn bytes(&self, pixel: u32) -> u32 {
        self.rows.count * self.columns.count * pixel
    }

    /// The frame where it lies, if that is in the scratchpad and all of it inside the map of `rows` rows.
    pub(crate) fn view(
        &self,
        map: &StoredMap,
        rows: u32,
        channels: &Range<u32>,
        element: ElementType,
    ) -> Option<FeatureMap> {
        let (y, x) = (self.rows.inside(rows), self.columns.inside(map.columns));
        let inside = len(&y) == self.rows.count && len(&x) == self.columns.count;
        (inside && map.is_resident()).then(|| FeatureMap {
            address: map.element(self.rows.position(0), self.columns.position(0), channels.start).address,
            width: self.columns.count,
            height: self.rows.count,
            channels: len(channels),
            row: map.row() * self.rows.step,
            pixel: map.pixel() * self.columns.step,
            element,
        })
    }

    /// A frame of neighbouring positions, all inside the map, as a box.
    pub(crate) fn boxed(&self, channels: &Range<u32>) -> MapBox {
        let range = |span: &Span| span.position(0)..span.position(span.count);
        MapBox { rows: range(&self.rows), columns: range(&self.columns), channels: channels.clone() }
    }

    /// Loads the frame densely, with `outside` where it lies outside the map of `rows` rows.
    pub(crate) fn load(
        &self,
        map: &StoredMap,
        rows: u32,
        channels: &Range<u32>,
        address: u32,
        (outside, max_count): (i32, u32),
    ) -> Vec<Operation> {
        let (y, x) = (self.rows.inside(rows), self.columns.inside(map.columns));
        let pixel = len(channels) * map.width;
        let mut loads = vec![];
        if len(&y) < self.rows.count || len(&x) < self.columns.count {
            loads.push(fill(Location::sram(address), self.bytes(pixel), outside, map.width));
        }
        if y.is_empty() || x.is_empty() {
            return loads;
        }
        let row = self.columns.count * pixel;
        let strides = [
            Stride { count: len(&x), from: self.columns.step * map.pixel(), to: pixel },
            Stride { count: len(&y), from: self.rows.step * map.row(), to: row },
        ];
        let source = map.element(self.rows.position(y.start), self.columns.position(x.start), channels.start);
        let destination = Location::sram(address + y.start * row + x.start * pixel);
        loads.extend(copies(source, destination, pixel, &strides, max_count));
        loads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inside_is_every_index_inside(start in -20_i64..40, count in 1_u32..20, step in 1_u32..6, extent in 1_u32..30) {
            let span = Span { start, count, step };
            let want: Vec<u32> = (0..count)
                .filter(|&i| (0..i64::from(extent)).contains(&(start + i64::from(i) * i64::from(step))))
                .collect();
            let got: Vec<u32> = span.inside(extent).collect();
            prop_assert_eq!(got, want);
        }
    }
}
