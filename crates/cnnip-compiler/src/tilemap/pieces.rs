//! Elements over nested loops → boxes of a dense row-major tensor.

/// Elements of a tensor at regular places: per dimension the first, how many, and how far from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: Vec<u32>,
    pub(super) size: Vec<u32>,
    pub(super) step: Vec<u32>,
}

/// A loop over elements: how often, and elements from one time to the next.
pub(super) type Loop = (u64, u64);

/// A dimension of more than one element, and elements from one of its indices to the next.
#[derive(Clone, Copy, Debug)]
struct Axis {
    dimension: usize,
    extent: u64,
    stride: u64,
}

/// Cuts the elements from `first` on, over loops with ascending steps that reach over all within, into pieces of a tensor.
///
/// Every element is in exactly one piece. Where the loops follow the tensor's dimensions there is one piece.
pub(super) fn pieces(shape: &[u32], first: u64, loops: &[Loop]) -> Vec<Piece> {
    let cutter = Cutter { shape, axes: axes(shape) };
    let mut found = vec![];
    let mut open = vec![(first, loops.to_vec())];
    while let Some((first, loops)) = open.pop() {
        match cutter.fit(first, &loops) {
            Ok(piece) => found.push(piece),
            Err(Misfit { of, times }) => open.extend(split(first, &loops, of, times)),
        }
    }
    found
}

/// Elements from one index of a dense row-major tensor to the next, per dimension.
pub(super) fn dense_strides(shape: &[u32]) -> Vec<u64> {
    let mut strides = vec![1; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension] * u64::from(shape[dimension]);
    }
    strides
}

/// The dimensions of more than one element, innermost first: their strides ascend.
fn axes(shape: &[u32]) -> Vec<Axis> {
    let strides = dense_strides(shape);
    let axes = shape.iter().zip(strides).enumerate().rev();
    let axes = axes.map(|(dimension, (&extent, stride))| Axis { dimension, extent: extent.into(), stride });
    axes.filter(|axis| axis.extent > 1).collect()
}

/// A loop that leaves the tensor's dimensions after some of its times.
struct Misfit {
    of: usize,
    times: u64,
}

/// The first times of loop `of`, and the others.
fn split(first: u64, loops: &[Loop], of: usize, times: u64) -> [(u64, Vec<Loop>); 2] {
    let (count, step) = loops[of];
    let part = |from: u64, count: u64| {
        let mut loops = loops.to_vec();
        loops[of].0 = count;
        loops.retain(|&(count, _)| count > 1);
        (first + from * step, loops)
    };
    // The last is taken first.
    [part(times, count - times), part(0, times)]
}

struct Cutter<'a> {
    shape: &'a [u32],
    axes: Vec<Axis>,
}

impl Cutter<'_> {
    /// The one piece that all elements make, or the loop to cut.
    fn fit(&self, first: u64, loops: &[Loop]) -> Result<Piece, Misfit> {
        let ones = vec![1; self.shape.len()];
        let mut piece = Piece { start: self.index(first), size: ones.clone(), step: ones };
        for (of, &(count, step)) in loops.iter().enumerate() {
            let (mut left, mut step) = (count, step);
            while left > 1 {
                let misfit = |times: u64| Misfit { of, times: (times * (count / left)).clamp(1, count - 1) };
                let axis = self.axis_of(step).ok_or_else(|| misfit(1))?;
                let start = u64::from(piece.start[axis.dimension]);
                let by = step / axis.stride;
                if piece.size[axis.dimension] > 1 || !step.is_multiple_of(axis.stride) {
                    return Err(misfit(1));
                }
                let room = (axis.extent - 1 - start) / by + 1;
                let wraps = by == 1 && start == 0;
                let here = match left {
                    _ if left <= room => left,
                    _ if wraps && left.is_multiple_of(axis.extent) => axis.extent,
                    _ if wraps => return Err(misfit(left - left % axis.extent)),
                    _ => return Err(misfit(room)),
                };
                piece.size[axis.dimension] = crate::size::small(here);
                piece.step[axis.dimension] = crate::size::small(by);
                (left, step) = (left / here, axis.stride * axis.extent);
            }
        }
        Ok(piece)
    }

    /// The axis along which a step moves.
    fn axis_of(&self, step: u64) -> Option<Axis> {
        let moves = |axis: &&Axis| axis.stride <= step && step < axis.stride * axis.extent;
        self.axes.iter().find(moves).copied()
    }

    /// The indices of an element.
    fn index(&self, element: u64) -> Vec<u32> {
        let mut index = vec![0; self.shape.len()];
        for axis in &self.axes {
            index[axis.dimension] = crate::size::small(element / axis.stride % axis.extent);
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn elements(shape: &[u32], piece: &Piece) -> Vec<u64> {
        let strides = dense_strides(shape);
        let mut elements = vec![0];
        for (dimension, stride) in strides.into_iter().enumerate() {
            let (start, step) = (u64::from(piece.start[dimension]), u64::from(piece.step[dimension]));
            let indices: Vec<u64> = (0..u64::from(piece.size[dimension])).map(|i| start + i * step).collect();
            assert!(indices.iter().all(|&index| index < shape[dimension].into()));
            elements = elements.iter().flat_map(|&at| indices.iter().map(move |&index| at + index * stride)).collect();
        }
        elements
    }

    #[test]
    fn a_rectangle_of_a_map_is_one_piece() {
        let shape = [1, 8, 6, 4];
        let rectangle = pieces(&shape, 24 + 4, &[(2, 1), (3, 4), (5, 24)]);
        let step = vec![1; 4];
        assert_eq!(rectangle, [Piece { start: vec![0, 1, 1, 0], size: vec![1, 5, 3, 2], step }]);
        let rows = pieces(&shape, 24, &[(72, 1)]);
        assert_eq!(rows, [Piece { start: vec![0, 1, 0, 0], size: vec![1, 3, 6, 4], step: vec![1; 4] }]);
        let every_other = pieces(&shape, 4, &[(4, 1), (3, 8), (4, 48)]);
        assert_eq!(every_other, [Piece { start: vec![0, 0, 1, 0], size: vec![1, 4, 3, 4], step: vec![1, 2, 2, 1] }]);
    }

    #[test]
    fn what_begins_within_a_row_is_several_pieces() {
        let sizes: Vec<_> = pieces(&[4, 10], 7, &[(20, 1)]).into_iter().map(|piece| piece.size).collect();
        assert_eq!(sizes, [[1, 3], [1, 10], [1, 7]]);
        assert_eq!(pieces(&[], 0, &[]), [Piece { start: vec![], size: vec![], step: vec![] }]);
    }

    proptest! {
        #[test]
        fn every_element_is_in_one_piece(
            mut shape in proptest::collection::vec(1_u32..6, 1..5),
            first in 0_u64..40,
            loops in proptest::collection::vec((2_u64..6, 0_u64..5), 0..4),
        ) {
            // Each step reaches over what is within, sometimes by more.
            let mut reach = 1;
            let loops: Vec<Loop> = loops.into_iter().map(|(count, more)| {
                let step = reach + more;
                reach += (count - 1) * step;
                (count, step)
            }).collect();
            // As many rows as the run needs, and one that it does not.
            let row: u64 = shape[1..].iter().map(|&extent| u64::from(extent)).product();
            shape[0] = u32::try_from((first + reach).div_ceil(row) + 1).unwrap();
            let mut want = vec![first];
            for &(count, step) in &loops {
                want = want.iter().flat_map(|&at| (0..count).map(move |i| at + i * step)).collect();
            }
            want.sort_unstable();
            let mut found: Vec<u64> =
                pieces(&shape, first, &loops).iter().flat_map(|piece| elements(&shape, piece)).collect();
            found.sort_unstable();
            prop_assert_eq!(found, want);
        }
    }
}
