//! Bilinear resize and arg-max.

use cnnip_isa::ElementType;
use cnnip_lowered::Sampling;
use cnnip_numerics::resize::{Tap, bilinear, position, tap};

use crate::element::{index, read, write};
use crate::step::Operands;

/// A bilinear resize ready to run; both sides have the same type.
#[derive(Debug)]
pub(crate) struct Resize {
    layer: cnnip_lowered::Resize,
    element: ElementType,
    rows: Vec<Tap>,
    columns: Vec<Tap>,
}

impl Resize {
    pub(crate) fn new(layer: cnnip_lowered::Resize, element: ElementType) -> Self {
        let taps = |axis: &Sampling| {
            let at = |k| position(k, axis.step, axis.origin, layer.fraction, axis.input);
            (0..axis.output).map(|k| tap(at(k), layer.fraction, axis.input)).collect()
        };
        Self { rows: taps(&layer.vertical), columns: taps(&layer.horizontal), layer, element }
    }

    pub(crate) fn run(&self, operands: Operands<'_>) {
        let Operands { inputs: [input, ..], output } = operands;
        let [rows, columns, channels] =
            [self.layer.vertical.input, self.layer.horizontal.input, self.layer.channels].map(index);
        let mut to = 0;
        for batch in 0..index(self.layer.batch) {
            for y in &self.rows {
                for x in &self.columns {
                    let first =
                        |row: u32, column: u32| ((batch * rows + index(row)) * columns + index(column)) * channels;
                    let corners = [y.low, y.high].map(|row| [first(row, x.low), first(row, x.high)]);
                    for channel in 0..channels {
                        let sample =
                            |at: usize| i16::try_from(read(input, at + channel, self.element)).unwrap_or(i16::MAX);
                        let samples = corners.map(|row| row.map(sample));
                        write(output, to, self.element, bilinear(samples, *y, *x, self.layer.fraction));
                        to += 1;
                    }
                }
            }
        }
    }
}

/// An arg-max ready to run.
#[derive(Debug)]
pub(crate) struct ArgMax {
    layer: cnnip_lowered::ArgMax,
    element: ElementType,
}

impl ArgMax {
    pub(crate) fn new(layer: cnnip_lowered::ArgMax, element: ElementType) -> Self {
        Self { layer, element }
    }

    pub(crate) fn run(&self, operands: Operands<'_>) {
        let Operands { inputs: [input, ..], output } = operands;
        let channels = index(self.layer.channels);
        for pixel in 0..index(self.layer.pixels) {
            let value = |&channel: &usize| read(input, pixel * channels + channel, self.element);
            // The last of equal elements wins, so the channels are taken from the last to the first.
            let largest = (0..channels).rev().max_by_key(value).unwrap_or(0);
            write(output, pixel, ElementType::Int32, i32::try_from(largest).unwrap_or(i32::MAX));
        }
    }
}
