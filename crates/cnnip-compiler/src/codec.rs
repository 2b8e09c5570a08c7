//! Weights in fewer bytes: without their empty blocks, or as streams that a DMA engine decodes. Every form gives back the bytes.

use std::collections::HashMap;

use cnnip_isa::operation::BLOCK_BYTES;

use crate::options::WeightCoding;
use crate::size::{index, small, wide};

/// Weights of a piece in the machine's layout, and what coders need to know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocked<'a> {
    /// Blocks of 16 output channels, one after the other.
    pub(crate) bytes: &'a [u8],
    /// Bytes of 16 output channels.
    pub(crate) row: u32,
    /// Taps of the piece.
    pub(crate) taps: u32,
    /// Bytes of an element.
    pub(crate) element: u32,
    /// Zero point.
    pub(crate) zero: i32,
    /// Elements of depth without a bitmap; 0 where the operation takes none.
    pub(crate) depth: u32,
}

/// How a piece of weights is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// As it is.
    Raw,
    /// The blocks that a bitmap names.
    Sparse(SparseBlocks),
    /// A stream for `DECODE`, a block for each 16 output channels.
    Stream(Stream),
}

/// Blocks of 64 bytes that do not hold the zero point alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SparseBlocks {
    pub(crate) bytes: Vec<u8>,
    pub(crate) bitmap: Vec<u8>,
    pub(crate) longest: u32,
}

/// A coded stream with its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// Where each block begins, and where the last ends.
    pub(crate) offsets: Vec<u32>,
    /// Kernels and bits of an index, of clusters.
    pub(crate) codebook: Option<(Vec<u8>, u32)>,
}

impl SparseBlocks {
    fn len(&self) -> usize {
        self.bytes.len() + self.bitmap.len()
    }
}

impl Stream {
    fn len(&self) -> usize {
        let codebook = self.codebook.as_ref().map_or(0, |(kernels, _)| kernels.len());
        self.bytes.len() + 4 * self.offsets.len() + codebook
    }
}

/// The form in which a piece is stored: the one that `coding` names if it is smaller, the smallest of all with `Smallest`.
pub(crate) fn stored(coding: WeightCoding, blocked: &Blocked<'_>) -> Stored {
    let wanted = |form| coding == form || coding == WeightCoding::Smallest;
    let mut best = (blocked.bytes.len(), Stored::Raw);
    let mut offer = |bytes: usize, form: Stored| {
        if bytes < best.0 {
            best = (bytes, form);
        }
    };
    if let Some(sparse) = wanted(WeightCoding::Sparse).then(|| sparse(blocked)).flatten() {
        offer(sparse.len(), Stored::Sparse(sparse));
    }
    if wanted(WeightCoding::ZeroRun) {
        let stream = zero_run(blocked);
        offer(stream.len(), Stored::Stream(stream));
    }
    if let Some(stream) = wanted(WeightCoding::Cluster).then(|| cluster(blocked)).flatten() {
        offer(stream.len(), Stored::Stream(stream));
    }
    best.1
}

/// The blocks that are not empty, unless the operation would take longer with them.
fn sparse(blocked: &Blocked<'_>) -> Option<SparseBlocks> {
    let block = index(BLOCK_BYTES);
    let zero = &blocked.zero.to_le_bytes()[..index(blocked.element)];
    let per = 4 / blocked.element;
    let mut sparse = SparseBlocks { bytes: vec![], bitmap: vec![], longest: 0 };
    let mut bits = vec![];
    for row in blocked.bytes.chunks(index(blocked.row)) {
        let before = bits.len();
        let stored = row.chunks(block).filter(|bytes| {
            let is_stored = bytes.chunks(zero.len()).any(|weight| weight != zero);
            bits.push(is_stored);
            is_stored
        });
        stored.for_each(|bytes| sparse.bytes.extend_from_slice(bytes));
        let count = bits.iter().skip(before).filter(|&&bit| bit).count();
        sparse.longest = sparse.longest.max(small(count));
    }
    sparse.bitmap = packed(&bits);
    (sparse.longest.max(1) * per <= blocked.depth).then_some(sparse)
}

/// Bits as bytes, least significant bit first.
fn packed(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, &bit| value << 1 | u8::from(bit))).collect()
}

/// One stream block per row, each as `code` gives it.
fn stream(blocked: &Blocked<'_>, mut code: impl FnMut(&[u8], &mut Vec<u8>)) -> Stream {
    let mut stream = Stream { bytes: vec![], offsets: vec![0], codebook: None };
    for row in blocked.bytes.chunks(index(blocked.row)) {
        code(row, &mut stream.bytes);
        stream.offsets.push(small(stream.bytes.len()));
    }
    stream
}

/// Longest run of zeros that two bytes stand for.
const LONGEST_RUN: usize = 256;

fn zero_run(blocked: &Blocked<'_>) -> Stream {
    stream(blocked, |row, coded| {
        for same in row.chunk_by(|a, b| *a == 0 && *b == 0) {
            if same.first() == Some(&0) {
                coded.extend(same.chunks(LONGEST_RUN).flat_map(|run| [0, small_byte(run.len() - 1)]));
            } else {
                coded.extend_from_slice(same);
            }
        }
    })
}

fn small_byte(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// Most kernels of a codebook, and most elements of one.
const MOST_KERNELS: usize = 1 << 16;
const MOST_TAPS: u32 = 255;

/// Indices into the distinct kernels, in the order in which they come; none if they are too many to be worth it.
fn cluster(blocked: &Blocked<'_>) -> Option<Stream> {
    let kernel_bytes = index(blocked.taps) * index(blocked.element);
    if blocked.taps > MOST_TAPS || blocked.bytes.is_empty() {
        return None;
    }
    let positions = blocked.bytes.len() / kernel_bytes;
    // A codebook that holds every second kernel saves nothing.
    let most = MOST_KERNELS.min(positions / 2);
    let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut kernels = vec![];
    let mut indices = vec![];
    for row in blocked.bytes.chunks(index(blocked.row)) {
        for kernel in row_kernels(row, blocked) {
            let next = small(numbers.len());
            let number = *numbers.entry(kernel).or_insert_with_key(|kernel| {
                kernels.extend_from_slice(kernel);
                next
            });
            if numbers.len() > most {
                return None;
            }
            indices.push(number);
        }
    }
    let bits = small(numbers.len()).next_power_of_two().ilog2().max(1);
    let mut rows = indices.chunks(index(blocked.row) / kernel_bytes);
    let mut stream = stream(blocked, |_, coded| {
        let row = rows.next().unwrap_or_default();
        let all: Vec<bool> = row.iter().flat_map(|number| (0..bits).map(move |bit| number >> bit & 1 == 1)).collect();
        coded.extend(packed(&all));
    });
    stream.codebook = Some((kernels, bits));
    Some(stream)
}

/// The kernels of 16 output channels: at each inner position, its element of every tap.
fn row_kernels<'a>(row: &'a [u8], blocked: &Blocked<'_>) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let (taps, element) = (index(blocked.taps), index(blocked.element));
    let positions = row.len() / (taps * element);
    (0..positions).map(move |position| {
        let of = |tap: usize| row.iter().skip((tap * positions + position) * element).take(element).copied();
        (0..taps).flat_map(of).collect()
    })
}

impl Stream {
    /// Offsets, codebook and stream in one, and where the last two begin.
    pub(crate) fn joined(&self) -> (Vec<u8>, [u32; 2]) {
        let mut bytes: Vec<u8> = self.offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let codebook = small(wide(bytes.len()));
        bytes.extend(self.codebook.iter().flat_map(|(kernels, _)| kernels));
        let stream = small(wide(bytes.len()));
        bytes.extend_from_slice(&self.bytes);
        (bytes, [codebook, stream])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(bytes: &[u8]) -> Blocked<'_> {
        Blocked { bytes, row: 256, taps: 4, element: 1, zero: 0, depth: 16 }
    }

    #[test]
    fn empty_blocks_are_left_out() {
        let mut bytes = vec![0; 512];
        bytes[64] = 1;
        bytes[256 + 192] = 2;
        bytes[256 + 255] = 3;
        let Stored::Sparse(sparse) = stored(WeightCoding::Sparse, &blocked(&bytes)) else { panic!("two blocks") };
        assert_eq!((sparse.bitmap, sparse.longest, sparse.bytes.len()), (vec![0b1000_0010], 1, 128));
        let least = stored(WeightCoding::Smallest, &blocked(&bytes));
        assert!(matches!(least, Stored::Stream(_)), "three weights are least as runs");
    }

    #[test]
    fn runs_of_zeros_are_two_bytes() {
        let mut bytes = vec![0; 512];
        bytes[0] = 5;
        let Stored::Stream(stream) = stored(WeightCoding::ZeroRun, &blocked(&bytes)) else { panic!("a stream") };
        assert_eq!((stream.bytes, stream.offsets), (vec![5, 0, 254, 0, 255], vec![0, 3, 5]));
    }

    #[test]
    fn kernels_that_come_again_are_indices() {
        // Three kernels of four taps, in turn over 64 positions.
        let row: Vec<u8> =
            (0..4_u8).flat_map(|tap| (0..64_u8).map(move |position| 10 * (position % 3) + tap)).collect();
        let bytes = [row.clone(), row].concat();
        let Stored::Stream(stream) = stored(WeightCoding::Cluster, &blocked(&bytes)) else { panic!("a stream") };
        assert_eq!(stream.codebook, Some((vec![0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23], 2)));
        assert_eq!((stream.offsets, stream.bytes[0]), (vec![0, 16, 32], 0b00_10_01_00));
    }

    #[test]
    fn what_does_not_get_smaller_stays() {
        let bytes: Vec<u8> = (0..512_u32).map(|at| at.wrapping_mul(167).to_le_bytes()[0] | 1).collect();
        for coding in [WeightCoding::Sparse, WeightCoding::ZeroRun, WeightCoding::Raw] {
            assert_eq!(stored(coding, &blocked(&bytes)), Stored::Raw, "{coding:?}");
        }
    }
}
