//! Gathers along every axis: nearest resize, tiles, mirrors. Copies with a loop or two per axis.

use cnnip_graph::{ResizeNearest, Take};

use super::context::{At, copy, extents, steps};
use super::movement::{Run, runs};
use crate::error::Rule;
use crate::size::small;
use cnnip_lowered::{Stride, Transfer};

/// Most copies of one node.
const MAX_COPIES: usize = 4096;

pub(super) fn resize_nearest(at: &mut At<'_, '_>, op: &ResizeNearest) -> Result<(), Rule> {
    let [batch, channels] = [0, 3].map(|axis| (0..at.input(0).shape.dims()[axis]).collect());
    take(at, &Take::new(vec![batch, op.rows.clone(), op.columns.clone(), channels]))
}

pub(super) fn take(at: &mut At<'_, '_>, op: &Take) -> Result<(), Rule> {
    at.moves()?;
    let to = steps(&op.indices.iter().map(|indices| small(indices.len())).collect::<Vec<_>>());
    let mut from = vec![0; to.len() - at.input(0).shape.rank()];
    from.extend(steps(&extents(at.input(0))));
    let axes: Vec<Vec<Piece>> = op.indices.iter().map(|indices| pieces(indices)).collect();
    let found = axes.iter().fold(1_usize, |product, axis| product.saturating_mul(axis.len()));
    if found > MAX_COPIES {
        return Err(Rule::TooMany { what: "copies", found, most: MAX_COPIES });
    }
    for number in 0..found {
        let mut rest = number;
        let (mut start, mut offset, mut loops) = (0, 0, vec![]);
        for (axis, choices) in axes.iter().enumerate() {
            let piece = choices[rest % choices.len()];
            rest /= choices.len();
            start += piece.inner.first * from[axis];
            offset += piece.at * to[axis];
            loops.extend(piece.loops(from[axis], to[axis]));
        }
        let transfer = copy(at.input_id(0), at.output_id(), &loops);
        at.transfer(Transfer { start, offset, ..transfer });
    }
    Ok(())
}

/// Neighbouring runs that are alike, each `step` further on than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// Output index of the first.
    at: u32,
    inner: Run,
    times: u32,
    step: u32,
}

impl Piece {
    /// Loops over the runs and within one, for elements that lie so far apart.
    fn loops(&self, from: u32, to: u32) -> [Stride; 2] {
        let Run { stride, count, .. } = self.inner;
        [
            Stride { count: self.times, from: self.step * from, to: count * to },
            Stride { count, from: stride * from, to },
        ]
    }
}

/// Cuts a list of indices into pieces.
fn pieces(indices: &[usize]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = vec![];
    let mut at = 0;
    for run in runs(indices) {
        let last = pieces.last_mut().filter(|last| (last.inner.stride, last.inner.count) == (run.stride, run.count));
        let ahead =
            last.as_ref().and_then(|last| run.first.checked_sub(last.inner.first + last.step * (last.times - 1)));
        match (last, ahead) {
            (Some(last), Some(ahead)) if last.times == 1 || ahead == last.step => {
                (last.step, last.times) = (ahead, last.times + 1);
            }
            _ => pieces.push(Piece { at, inner: run, times: 1, step: 0 }),
        }
        at += run.count;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::index;
    use proptest::prelude::*;

    fn spread(pieces: &[Piece]) -> Vec<usize> {
        let mut indices = vec![];
        for piece in pieces {
            assert_eq!(index(piece.at), indices.len());
            for outer in 0..piece.times {
                let run = |i| index(piece.inner.first + outer * piece.step + i * piece.inner.stride);
                indices.extend((0..piece.inner.count).map(run));
            }
        }
        indices
    }

    #[test]
    fn repeated_and_tiled_indices_are_one_piece() {
        assert_eq!(pieces(&[0, 0, 1, 1, 2, 2]).len(), 1);
        assert_eq!(pieces(&[0, 1, 2, 0, 1, 2, 0, 1, 2]).len(), 1);
        assert_eq!(pieces(&[0, 1, 3, 4, 6, 7]).len(), 1);
        assert_eq!(pieces(&[2, 1, 0]).len(), 3);
    }

    proptest! {
        #[test]
        fn pieces_are_the_indices(indices in proptest::collection::vec(0_usize..9, 1..40)) {
            prop_assert_eq!(spread(&pieces(&indices)), indices);
        }
    }
}
