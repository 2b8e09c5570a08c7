//! Kernels that the target cannot take in one operation, axis by axis.

use cnnip_isa::Target;

use cnnip_lowered::Sweep;

/// Taps `first .. first + len` of a kernel axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) first: u32,
    pub(crate) len: u32,
}

/// How the taps of one axis are grouped into operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taps {
    /// The groups.
    pub(crate) chunks: Vec<Chunk>,
    /// The stride is beyond the target: each operation has one tap and reads a view of every `stride`-th position.
    pub(crate) thin: bool,
    /// The padding is not one that registers can give.
    pub(crate) odd_padding: bool,
}

impl Taps {
    pub(crate) fn of(sweep: &Sweep, target: &Target, max_pad: u32) -> Self {
        let thin = sweep.stride > target.max_stride;
        let single = thin || sweep.dilation > target.max_dilation;
        let most = if single { 1 } else { target.max_kernel };
        let chunks = crate::size::pieces(sweep.kernel, most);
        Self {
            chunks: chunks.map(|taps| Chunk { first: taps.start, len: taps.end - taps.start }).collect(),
            thin,
            odd_padding: odd_padding(sweep, max_pad),
        }
    }

    /// Whether one operation does it all, and registers give the padding.
    pub(crate) fn is_plain(&self) -> bool {
        self.chunks.len() == 1 && !self.thin && !self.odd_padding
    }

    /// Input positions that `outputs` outputs need for all taps.
    pub(crate) fn whole_extent(sweep: &Sweep, outputs: u32) -> u64 {
        u64::from(outputs - 1) * u64::from(sweep.stride) + sweep.reach()
    }

    /// Input positions that `outputs` outputs need for the taps of `chunk`, of a thin view if it is one.
    pub(crate) fn chunk_extent(&self, sweep: &Sweep, outputs: u32, chunk: Chunk) -> u64 {
        if self.thin {
            return outputs.into();
        }
        u64::from(outputs - 1) * u64::from(sweep.stride) + u64::from(chunk.len - 1) * u64::from(sweep.dilation) + 1
    }

    /// The largest [`Self::chunk_extent`].
    pub(crate) fn largest_chunk_extent(&self, sweep: &Sweep, outputs: u32) -> u64 {
        self.chunks.iter().map(|&chunk| self.chunk_extent(sweep, outputs, chunk)).max().unwrap_or(1)
    }
}

/// Padding beyond the target's limit, or such that a first or last window lies outside the input.
fn odd_padding(sweep: &Sweep, max_pad: u32) -> bool {
    let (before, after) = (u64::from(sweep.before), sweep.after());
    before.max(after) > u64::from(max_pad) || before.max(after) >= sweep.reach()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sweep = Sweep { input: 20, output: 20, kernel: 3, stride: 1, dilation: 1, before: 1 };

    fn taps(sweep: Sweep) -> Taps {
        Taps::of(&sweep, Target::by_name("v3m").unwrap(), 7)
    }

    #[test]
    fn what_the_target_can_do_stays_whole() {
        assert!(taps(PLAIN).is_plain());
        assert!(taps(Sweep { dilation: 4, before: 4, ..PLAIN }).is_plain());
        assert!(taps(Sweep { kernel: 1, before: 0, ..PLAIN }).is_plain());
    }

    #[test]
    fn large_kernels_are_cut_and_large_steps_make_single_taps() {
        let large = taps(Sweep { kernel: 7, before: 3, ..PLAIN });
        assert_eq!(large.chunks, [Chunk { first: 0, len: 5 }, Chunk { first: 5, len: 2 }]);
        let strided = taps(Sweep { stride: 4, output: 5, before: 0, ..PLAIN });
        assert!(strided.thin && strided.chunks.len() == 3);
        assert_eq!(taps(Sweep { dilation: 5, before: 5, ..PLAIN }).chunks.len(), 3);
        assert!(taps(Sweep { kernel: 20, before: 9, ..PLAIN }).odd_padding);
    }
}
