//! Arg-max over the last axis, a line of pixels at a time.

use cnnip_isa::ElementType;
use cnnip_isa::operation::{ArgMax as ArgMaxOperation, Operation};

use super::region::{MapBox, StoredMap};
use super::{Lowered, Site};
use crate::error::Rule;
use crate::job::{BUFFER_ALIGNMENT, Job, Turns};
use crate::size::{aligned, index, pieces, small, width};
use cnnip_lowered::ArgMax;

/// Bytes of an index.
const INDEX_BYTES: u32 = 4;

/// Pieces on their way at a time.
const TURNS: u32 = 2;

pub(super) fn lower(site: &mut Site<'_>, argmax: &ArgMax) -> Result<Lowered, Rule> {
    let most = site.target.max_argmax_channels;
    if argmax.channels > most {
        let found = index(argmax.channels);
        return Err(Rule::TooMany { what: "elements to find the largest of", found, most: index(most) });
    }
    let widths = widths(site, argmax);
    let columns = columns(site, widths).min(argmax.pixels);
    site.reserve(u64::from(argmax.pixels.div_ceil(columns)))?;
    let [input, output] = widths.map(|width| u64::from(columns) * u64::from(width));
    let bytes = aligned(input, BUFFER_ALIGNMENT) + aligned(output, BUFFER_ALIGNMENT);
    let mut pad = site.scratchpad(bytes * u64::from(TURNS));
    let mut inputs = Turns::take(&mut pad, "input", input, TURNS);
    let mut outputs = Turns::take(&mut pad, "output", output, TURNS);
    let mut jobs = vec![];
    for part in pieces(argmax.pixels, columns) {
        let number = jobs.len();
        let row = |channels| MapBox { rows: 0..1, columns: part.clone(), channels: 0..channels };
        let max_count = site.target.max_extent;
        let input = || pad.address(inputs.next(number).buffer);
        let element = site.element(argmax.input);
        let (input, loads) = row(argmax.channels).input(&input_map(site, argmax), (element, max_count), input);
        let output = || pad.address(outputs.next(number).buffer);
        let (output, stores) = row(1).output(&output_map(site, argmax), (ElementType::Int32, max_count), output);
        jobs.push(Job { loads, computes: vec![Operation::ArgMax(ArgMaxOperation { input, output })], stores });
    }
    Ok(Lowered { plan: format!("arg-max columns {columns}"), pad, jobs })
}

/// Bytes of buffer per pixel of input and output; 0 for what is worked on where it lies.
fn widths(site: &Site<'_>, argmax: &ArgMax) -> [u32; 2] {
    let buffer = |value, bytes| if site.setting.is_resident(value) { 0 } else { bytes };
    [buffer(argmax.input, argmax.channels * width(site.element(argmax.input))), buffer(argmax.output, INDEX_BYTES)]
}

/// Pixels of a piece: what fits the scratchpad, buffers aligned, as often as pieces are on their way.
fn columns(site: &Site<'_>, [input, output]: [u32; 2]) -> u32 {
    let room = (site.room() / u64::from(TURNS)).saturating_sub(2 * BUFFER_ALIGNMENT);
    small(room / u64::from((input + output).max(1))).clamp(1, site.target.max_extent)
}

fn input_map(site: &Site<'_>, argmax: &ArgMax) -> StoredMap {
    let width = width(site.element(argmax.input));
    site.map(argmax.input, argmax.pixels, argmax.channels, width)
}

fn output_map(site: &Site<'_>, argmax: &ArgMax) -> StoredMap {
    site.map(argmax.output, argmax.pixels, 1, INDEX_BYTES)
}
