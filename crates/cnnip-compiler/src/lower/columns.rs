//! Columns taken together: a map of `C` channels whose rows are `W` columns is, where it lies, also one of `n * C` channels and `W / n`
//! columns. A kernel that steps over `n` columns steps over one of them, and is narrower: a wide kernel of few channels, as first layers
//! have, then needs fewer operations and leaves fewer accumulators from one to the next.

use cnnip_isa::Target;
use cnnip_lowered::{ConvLayer, Sweep, WeightSource};

use crate::size::index;
use crate::tile::taps::Taps;

/// The layer with as many columns taken together as it steps over; `None` where that saves no operation, costs the array steps or
/// cannot be said of the map. Its weights stand in another order than the model's, with zeros where the kernel has none.
pub(super) fn taken_together(layer: &ConvLayer, target: &Target) -> Option<ConvLayer> {
    let sweep = &layer.horizontal;
    let (columns, depth) = (sweep.stride, layer.depth.checked_mul(sweep.stride)?);
    let is_possible = layer.groups == 1
        && !layer.depthwise
        && sweep.dilation == 1
        && sweep.input.is_multiple_of(columns)
        && depth <= target.max_channels;
    if columns == 1 || !is_possible {
        return None;
    }
    let before = sweep.before.div_ceil(columns);
    let added = before * columns - sweep.before;
    let kernel = (added + sweep.kernel).div_ceil(columns);
    let horizontal =
        Sweep { input: sweep.input / columns, output: sweep.output, kernel, stride: 1, dilation: 1, before };
    let [now, then] = [(sweep, layer.depth), (&horizontal, depth)].map(|(sweep, depth)| {
        let vertical = Taps::of(&layer.vertical, target, target.max_pad_y);
        work(&vertical, &Taps::of(sweep, target, target.max_pad_x), depth, target)
    });
    if then.operations >= now.operations || then.steps > now.steps {
        return None;
    }
    Some(ConvLayer { depth, horizontal, weights: weights(layer, added, kernel), ..layer.clone() })
}

/// What an output of a layer takes.
struct Work {
    operations: usize,
    /// Steps of the array.
    steps: u64,
}

fn work(vertical: &Taps, horizontal: &Taps, depth: u32, target: &Target) -> Work {
    let lengths = |taps: &Taps| taps.chunks.iter().map(|chunk| u64::from(chunk.len)).collect::<Vec<_>>();
    let (rows, columns) = (lengths(vertical), lengths(horizontal));
    let products = rows.iter().flat_map(|rows| columns.iter().map(move |columns| rows * columns * u64::from(depth)));
    Work {
        operations: rows.len() * columns.len(),
        steps: products.map(|products| products.div_ceil(target.mac_depth.into())).sum(),
    }
}

/// `[output][row][column][depth]` with `added` columns of zeros in front and, up to `kernel` times the stride, behind.
fn weights(layer: &ConvLayer, added: u32, kernel: u32) -> WeightSource {
    let element = layer.weights.element.bytes();
    let pixel = index(layer.depth) * element;
    let row = index(layer.horizontal.kernel) * pixel;
    let zero = &layer.weights.zero.to_le_bytes()[..element];
    let taken = zero.repeat(index(u64::from(kernel) * u64::from(layer.horizontal.stride) * u64::from(layer.depth)));
    let from = index(added) * pixel;
    let rows = layer.weights.data.bytes().chunks_exact(row);
    let data: Vec<u8> = rows
        .flat_map(|row| {
            let mut taken = taken.clone();
            taken[from..from + row.len()].copy_from_slice(row);
            taken
        })
        .collect();
    WeightSource { data: data.into(), ..layer.weights }
}

#[cfg(test)]
mod tests {
    use cnnip_isa::operation::Activation;
    use cnnip_isa::{ElementType, RoundingMode};
    use cnnip_lowered::ValueId;

    use super::*;

    /// A first layer of 64 x 64 outputs in each of which weight `w` of row `r` is `r + w + 1`.
    fn layer(kernel: u32, stride: u32, before: u32, depth: u32) -> ConvLayer {
        let sweep = Sweep { input: 64 * stride, output: 64, kernel, stride, dilation: 1, before };
        let row = |row: u32| (0..kernel * depth).map(move |weight| (row + weight + 1).to_le_bytes()[0]);
        let data: Vec<u8> = (0..kernel).flat_map(row).collect();
        ConvLayer {
            input: ValueId(0),
            output: ValueId(1),
            batch: 1,
            groups: 1,
            depth,
            outputs: 1,
            depthwise: false,
            vertical: sweep,
            horizontal: sweep,
            weights: WeightSource { data: data.into(), element: ElementType::Int8, zero: 0 },
            input_zero: 0,
            records: vec![],
            requant: RoundingMode::Double,
            activation: Activation::full_range(0, ElementType::Int8),
        }
    }

    fn joined(layer: &ConvLayer) -> Option<ConvLayer> {
        taken_together(layer, Target::by_name("v4h").unwrap())
    }

    #[test]
    fn a_wide_kernel_of_few_channels_becomes_narrow() {
        let layer = joined(&layer(7, 2, 3, 3)).unwrap();
        let horizontal = Sweep { input: 64, output: 64, kernel: 4, stride: 1, dilation: 1, before: 2 };
        assert_eq!((layer.depth, layer.horizontal), (6, horizontal));
        let rows: Vec<&[u8]> = layer.weights.data.bytes().chunks(24).collect();
        assert_eq!((rows.len(), &rows[1][..5], rows[6][23]), (7, &[0, 0, 0, 2, 3][..], 27));
    }

    #[test]
    fn nothing_is_joined_without_gain() {
        assert_eq!(joined(&layer(3, 2, 1, 3)), None, "one operation already");
        assert_eq!(joined(&layer(7, 1, 3, 3)), None, "a stride of one");
        assert_eq!(joined(&layer(7, 2, 3, 64)), None, "more steps of the array");
        let odd = layer(7, 2, 3, 3);
        assert_eq!(joined(&ConvLayer { horizontal: Sweep { input: 127, ..odd.horizontal }, ..odd }), None);
    }
}
