//! Nested loops of bytes → DMA operations that the machine can carry out.
//!
//! A DMA operation has one run and four loops, each of at most `max_extent` times. Loops that continue one
//! another are merged, longer ones are cut, and what exceeds four loops becomes several operations.

use cnnip_isa::operation::{Copy, DmaPattern, Fill, Location, Operation};

use cnnip_lowered::Stride;

/// Loops of a DMA operation.
const LOOPS: usize = 4;

/// Runs of bytes over nested loops, innermost first, from and to offsets of zero.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Nest {
    from: u32,
    to: u32,
    run: u32,
    loops: Vec<Stride>,
}

/// Copies runs of `run` bytes over `strides`, innermost first.
pub(crate) fn copies(
    source: Location,
    destination: Location,
    run: u32,
    strides: &[Stride],
    max_count: u32,
) -> Vec<Operation> {
    let copy = |nest: &Nest| {
        let (pattern, source_steps, destination_steps) = nest.pattern();
        Operation::Copy(Copy {
            source: at(source, nest.from),
            destination: at(destination, nest.to),
            pattern,
            source_steps,
            destination_steps,
        })
    };
    legal_nests(run, strides, max_count).iter().map(copy).collect()
}

/// Operations that [`copies`] would make at most, without making them.
pub(crate) fn count(run: u32, strides: &[Stride], max_count: u32) -> u64 {
    let nest = merged(run, strides);
    let cuts = nest.loops.iter().filter(|one| one.count > max_count).count();
    let unrolled = nest.loops.iter().skip(LOOPS - cuts.min(LOOPS)).map(|one| u64::from(one.count));
    unrolled.fold(1 << cuts, u64::saturating_mul)
}

/// Bytes that stay together, and the loops around them as they are when those that continue one another are one.
pub(crate) fn merged_loops(run: u32, strides: &[Stride]) -> (u32, Vec<Stride>) {
    let Nest { run, loops, .. } = merged(run, strides);
    (run, loops)
}

/// Fills `bytes` contiguous bytes with elements of `width` bytes, each the low bytes of `value`.
pub(crate) fn fill(destination: Location, bytes: u32, value: i32, width: u32) -> Operation {
    let unused = 32_u32.saturating_sub(8 * width);
    Operation::Fill(Fill {
        destination,
        pattern: DmaPattern::dense(bytes),
        destination_steps: [0; LOOPS],
        value: value.cast_unsigned() << unused >> unused,
        value_bytes: width,
    })
}

fn at(location: Location, offset: u32) -> Location {
    Location { address: location.address + offset, ..location }
}

impl Nest {
    fn pattern(&self) -> (DmaPattern, [u32; LOOPS], [u32; LOOPS]) {
        let of = |i: usize| self.loops.get(i).copied().unwrap_or(Stride { count: 1, from: 0, to: 0 });
        let counts = std::array::from_fn(|i| of(i).count);
        let pattern = DmaPattern { run: self.run, counts };
        (pattern, std::array::from_fn(|i| of(i).from), std::array::from_fn(|i| of(i).to))
    }
}

fn legal_nests(run: u32, strides: &[Stride], max_count: u32) -> Vec<Nest> {
    let mut legal = vec![];
    let mut open = vec![merged(run, strides)];
    while let Some(nest) = open.pop() {
        if let Some(long) = nest.loops.iter().position(|one| one.count > max_count) {
            open.extend(cut(&nest, long, max_count));
        } else if nest.loops.len() > LOOPS {
            open.extend(unrolled(nest));
        } else {
            legal.push(nest);
        }
    }
    legal
}

/// Without loops of one, and with those joined that continue one another.
fn merged(run: u32, strides: &[Stride]) -> Nest {
    let mut nest = Nest { from: 0, to: 0, run, loops: vec![] };
    for &stride in strides.iter().filter(|stride| stride.count > 1) {
        match nest.loops.last_mut() {
            None if stride.from == nest.run && stride.to == nest.run => nest.run *= stride.count,
            Some(inner) if continues(inner, &stride) => inner.count *= stride.count,
            _ => nest.loops.push(stride),
        }
    }
    nest
}

fn continues(inner: &Stride, outer: &Stride) -> bool {
    let follows =
        |inner_step: u32, outer_step: u32| u64::from(inner_step) * u64::from(inner.count) == outer_step.into();
    follows(inner.from, outer.from) && follows(inner.to, outer.to)
}

/// Cuts a long loop into one of whole parts inside another, and the rest. The rest comes first, as callers pop.
fn cut(nest: &Nest, long: usize, max_count: u32) -> Vec<Nest> {
    let Stride { count, from, to } = nest.loops[long];
    let (parts, rest) = (count / max_count, count % max_count);
    let mut whole = nest.clone();
    whole.loops[long].count = max_count;
    if parts > 1 {
        whole.loops.insert(long + 1, Stride { count: parts, from: from * max_count, to: to * max_count });
    }
    let mut last = nest.clone();
    last.from += from * max_count * parts;
    last.to += to * max_count * parts;
    last.loops[long].count = rest;
    if rest == 1 {
        last.loops.remove(long);
    }
    if rest == 0 { vec![whole] } else { vec![last, whole] }
}

/// One nest per time of the outermost loop, last first, as callers pop.
fn unrolled(mut nest: Nest) -> Vec<Nest> {
    let Some(outer) = nest.loops.pop() else { return vec![nest] };
    let once = |i: u32| Nest { from: nest.from + i * outer.from, to: nest.to + i * outer.to, ..nest.clone() };
    (0..outer.count).rev().map(once).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moves(nests: &[Nest]) -> Vec<(u32, u32)> {
        let mut bytes = vec![];
        for nest in nests {
            let mut starts = vec![(nest.from, nest.to)];
            for stride in &nest.loops {
                starts = (0..stride.count)
                    .flat_map(|i| starts.iter().map(move |&(from, to)| (from + i * stride.from, to + i * stride.to)))
                    .collect();
            }
            bytes.extend(starts.iter().flat_map(|&(from, to)| (0..nest.run).map(move |i| (from + i, to + i))));
        }
        bytes.sort_unstable();
        bytes
    }

    #[test]
    fn dense_loops_are_one_run() {
        let strides = [Stride { count: 4, from: 8, to: 8 }, Stride { count: 3, from: 32, to: 32 }];
        assert_eq!(legal_nests(8, &strides, 65_535), [Nest { from: 0, to: 0, run: 96, loops: vec![] }]);
    }

    proptest! {
        #[test]
        fn the_same_bytes_move(run in 1_u32..4, loops in proptest::collection::vec((1_u32..6, 0_u32..40, 0_u32..40), 0..7)) {
            let strides: Vec<Stride> = loops.into_iter().map(|(count, from, to)| Stride { count, from, to }).collect();
            let nests = legal_nests(run, &strides, 3);
            prop_assert!(nests.iter().all(|nest| nest.loops.len() <= 4 && nest.loops.iter().all(|one| one.count <= 3)));
            prop_assert!(u64::try_from(nests.len()).unwrap() <= count(run, &strides, 3));
            prop_assert_eq!(moves(&nests), moves(&[Nest { from: 0, to: 0, run, loops: strides }]));
        }
    }
}
