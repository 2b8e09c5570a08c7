//! Layers in parts that threads can do side by side.

use std::ops::Range;

use cnnip_lowered::Sweep;

/// `0..length` in `count` parts that differ by one at most; fewer if some would be empty.
pub(crate) fn spans(length: usize, count: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let count = count.min(length).max(1);
    (0..count).map(move |at| at * length / count..(at + 1) * length / count)
}

/// Cuts pieces of these lengths off, one after another, as long as there is something left.
pub(crate) fn cut(bytes: &mut [u8], lengths: impl Iterator<Item = usize>) -> Vec<&mut [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::with_capacity(lengths.size_hint().0);
    for length in lengths {
        let (piece, others) = rest.split_at_mut(length.min(rest.len()));
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// The rows of the input that some rows of the output read, and the sweep between these alone; `None` if they read none.
pub(crate) fn rows(sweep: &Sweep, rows: &Range<usize>) -> Option<(Range<u32>, Sweep)> {
    let small = |row: usize| u32::try_from(row).ok();
    let (first, last) = (small(rows.start)?, small(rows.end.checked_sub(1)?)?);
    let start = sweep.start(first);
    let end = sweep.start(last).checked_add(i64::try_from(sweep.reach()).ok()?)?;
    let top = u32::try_from(start.max(0)).ok()?;
    let bottom = u32::try_from(end.min(sweep.input.into())).ok()?;
    let part = Sweep {
        input: bottom.checked_sub(top).filter(|&input| input > 0)?,
        output: small(rows.len())?,
        before: u32::try_from(i64::from(top) - start).ok()?,
        ..*sweep
    };
    Some((top..bottom, part))
}
