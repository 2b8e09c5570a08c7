//! Maxima over windows beyond the target, as several over small ones.
//!
//! The maximum over 5 is the maximum over 3 of maxima over 3. So a pool that the machine would do with an operation per output
//! becomes a chain of pools that it does at full rate, where that is estimated to be faster. Positions outside of a map are
//! ignored at every link, as they are in the whole.

use cnnip_isa::Target;
use cnnip_isa::operation::Activation;

use crate::lower::fits_pool;
use cnnip_lowered::{Layer, Network, Origin, Pool, PoolFunction, Sweep, Value, ValueId, Work};
use cnnip_package::SourceTensor;

/// Longest chain: one that is longer is slower in every case.
const MAX_LINKS: usize = 16;

/// Cycles of the commands for one output of a pool done window by window, about.
const WINDOW_CYCLES: u64 = 12;

/// Replaces every maximum that a chain does faster.
pub(crate) fn pools(legalized: &mut Network, target: &Target) {
    let layers = std::mem::take(&mut legalized.layers);
    for layer in layers {
        let links = match &layer.work {
            Work::Pool(pool) => chain(pool, target),
            _ => None,
        };
        match links {
            Some(links) => replace(legalized, &layer, &links),
            None => legalized.layers.push(layer),
        }
    }
}

/// The windows of the links, if a chain is possible, needed, and faster.
fn chain(pool: &Pool, target: &Target) -> Option<Vec<[Sweep; 2]>> {
    if pool.function != PoolFunction::Max || fits_pool(pool, target) {
        return None;
    }
    let mut rows = links(pool.vertical, target)?;
    let mut columns = links(pool.horizontal, target)?;
    let count = rows.len().max(columns.len());
    rows.resize(count, Sweep::plain(pool.vertical.output));
    columns.resize(count, Sweep::plain(pool.horizontal.output));
    let links: Vec<[Sweep; 2]> = rows.into_iter().zip(columns).map(|(rows, columns)| [rows, columns]).collect();
    let legal = |link: &[Sweep; 2]| fits_pool(&Pool { vertical: link[0], horizontal: link[1], ..pool.clone() }, target);
    let cycles: u64 = links.iter().map(|link| link_cycles(pool, link, target)).sum();
    (links.iter().all(legal) && cycles < window_cycles(pool, target)).then_some(links)
}

/// Cycles of a link's slowest engine: bytes in or out, or a step per tap.
fn link_cycles(pool: &Pool, [rows, columns]: &[Sweep; 2], target: &Target) -> u64 {
    let outputs = u64::from(rows.output) * u64::from(columns.output);
    let pixels = outputs.max(u64::from(rows.input) * u64::from(columns.input));
    let moved = (pixels * u64::from(pool.channels)).div_ceil(target.dma_bytes_per_cycle.into());
    let steps = outputs.div_ceil(target.mac_pixels.into()) * u64::from(rows.kernel) * u64::from(columns.kernel);
    u64::from(pool.batch) * moved.max(steps * channel_blocks(pool, target))
}

/// Cycles of an operation per output.
fn window_cycles(pool: &Pool, target: &Target) -> u64 {
    let outputs = u64::from(pool.batch) * u64::from(pool.vertical.output) * u64::from(pool.horizontal.output);
    let taps = u64::from(pool.vertical.kernel) * u64::from(pool.horizontal.kernel);
    let blocks = taps.div_ceil(target.mac_pixels.into()).saturating_mul(channel_blocks(pool, target));
    outputs.saturating_mul(blocks.saturating_add(WINDOW_CYCLES))
}

fn channel_blocks(pool: &Pool, target: &Target) -> u64 {
    u64::from(pool.channels).div_ceil(target.mac_channels.into())
}

/// Windows that one after the other do what `whole` does, each as wide as the target takes; `None` if there are none.
fn links(whole: Sweep, target: &Target) -> Option<Vec<Sweep>> {
    let mut links = vec![];
    let mut rest = whole;
    while rest.kernel > target.max_pool_window || rest.stride > target.max_stride {
        let (first, then) = split(rest, target)?;
        links.push(first);
        rest = then;
        if links.len() == MAX_LINKS {
            return None;
        }
    }
    links.push(rest);
    Some(links)
}

/// A first window, and the one over its results.
///
/// The first has its taps side by side, and its stride is a factor of the whole one. Results that are missing before the
/// first or behind the last one would be of windows altogether outside of the map.
fn split(whole: Sweep, target: &Target) -> Option<(Sweep, Sweep)> {
    let (kernel, stride) = first_window(whole, target)?;
    let before = first_padding(whole.before, kernel, stride);
    let rest = Sweep {
        kernel: (whole.kernel - kernel) / stride + 1,
        stride: whole.stride / stride,
        before: (whole.before - before) / stride,
        ..whole
    };
    let wanted = u64::from(rest.output - 1) * u64::from(rest.stride) + rest.reach() - u64::from(rest.before);
    let inside = (u64::from(whole.input - 1) + u64::from(before)) / u64::from(stride) + 1;
    let output = crate::size::small(wanted.min(inside));
    Some((Sweep { kernel, stride, before, output, ..whole }, Sweep { input: output, ..rest }))
}

/// Taps and stride of the first window: the largest stride, then the most taps. Something must be left to do, and less.
fn first_window(whole: Sweep, target: &Target) -> Option<(u32, u32)> {
    let widest = target.max_pool_window.min(whole.kernel);
    let strides = (1..=target.max_stride.min(widest)).rev().filter(|&stride| whole.stride.is_multiple_of(stride));
    let windows = strides.flat_map(|stride| (stride..=widest).rev().map(move |kernel| (kernel, stride)));
    let smaller = |kernel: u32, stride: u32| kernel > 1 && (whole.kernel - kernel).is_multiple_of(stride);
    windows.into_iter().find(|&(kernel, stride)| smaller(kernel, stride))
}

/// Padding of the first window: all of it if every window touches the map then, else as much as leaves a multiple of the
/// stride to the second and no window before the first that touches the map.
fn first_padding(whole: u32, kernel: u32, stride: u32) -> u32 {
    if whole < kernel {
        return whole;
    }
    let least = kernel - stride;
    least + (whole - least) % stride
}

/// Appends a layer per link.
fn replace(legalized: &mut Network, layer: &Layer, links: &[[Sweep; 2]]) {
    let Work::Pool(pool) = &layer.work else { return };
    let mut input = pool.input;
    let full = Activation::full_range(0, legalized.element(pool.input));
    let full = (full.min, full.max);
    for (index, &[vertical, horizontal]) in links.iter().enumerate() {
        let last = index + 1 == links.len();
        let output = if last { pool.output } else { between(legalized, pool, index, [vertical, horizontal]) };
        let clamp = if last { pool.clamp } else { full };
        let work = Work::Pool(Pool { input, output, vertical, horizontal, clamp, ..pool.clone() });
        legalized.layers.push(Layer { work, ..layer.clone() });
        input = output;
    }
}

/// A value for the maxima of a link.
fn between(legalized: &mut Network, pool: &Pool, index: usize, [vertical, horizontal]: [Sweep; 2]) -> ValueId {
    let output = &legalized.values[pool.output.0];
    let value = Value {
        name: format!("{}:maxima{index}", output.name),
        shape: vec![pool.batch, vertical.output, horizontal.output, pool.channels],
        model: SourceTensor::Added,
        origin: Origin::Computed,
        ..output.clone()
    };
    legalized.values.push(value);
    ValueId(legalized.values.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4h() -> &'static Target {
        Target::by_name("v4h").unwrap()
    }

    /// Maxima of windows; `None` for one outside of the map.
    fn maxima(sweep: &Sweep, input: &[u32]) -> Vec<Option<u32>> {
        let window = |index: u32| sweep.start(index)..sweep.start(index) + i64::from(sweep.kernel);
        let at = |position: i64| usize::try_from(position).ok().and_then(|position| input.get(position).copied());
        (0..sweep.output).map(|index| window(index).filter_map(at).max()).collect()
    }

    #[test]
    fn strides_go_first() {
        let whole = Sweep { input: 224, output: 56, kernel: 4, stride: 4, dilation: 1, before: 0 };
        let found = links(whole, v4h()).unwrap();
        assert_eq!(found.iter().map(|link| (link.kernel, link.stride)).collect::<Vec<_>>(), [(2, 2), (2, 2)]);
        let whole = Sweep { input: 20, output: 20, kernel: 13, stride: 1, dilation: 1, before: 6 };
        assert_eq!(links(whole, v4h()).unwrap().len(), 6);
        let odd = Sweep { input: 20, output: 4, kernel: 5, stride: 5, dilation: 1, before: 0 };
        assert_eq!(links(odd, v4h()), None);
    }

    proptest! {
        #[test]
        fn a_chain_is_the_whole(
            input in proptest::collection::vec(0_u32..1000, 1..40),
            (kernel, stride) in (1_u32..20, 1_u32..9),
            (before, output) in (0_u32..20, 1_u32..12),
        ) {
            let length = u32::try_from(input.len()).unwrap();
            let whole = Sweep { input: length, output, kernel, stride, dilation: 1, before };
            let want = maxima(&whole, &input);
            prop_assume!(want.iter().all(Option::is_some));
            let Some(links) = links(whole, v4h()) else { return Ok(()) };
            let mut values = input;
            for link in links {
                prop_assert_eq!(usize::try_from(link.input), Ok(values.len()));
                prop_assert!(link.kernel <= 3 && link.stride <= 3);
                let found: Option<Vec<u32>> = maxima(&link, &values).into_iter().collect();
                prop_assert!(found.is_some(), "a window outside of the map: {:?}", link);
                values = found.unwrap();
            }
            prop_assert_eq!(values.into_iter().map(Some).collect::<Vec<_>>(), want);
        }
    }
}
