//! Data movement: dma1 does it alone, between places in external memory, unless cnn makes it faster.

use super::region::offset;
use super::{Lowered, Site, transpose};
use crate::error::Rule;
use crate::job::{Job, Scratchpad};
use crate::size::width;
use crate::strided::{copies, count, fill};
use cnnip_lowered::Transfer;

pub(super) fn lower(site: &mut Site<'_>, transfer: &Transfer) -> Result<Lowered, Rule> {
    site.reserve(count(transfer.run, &transfer.strides, site.target.max_extent))?;
    let (source, destination) = (site.memory.location(transfer.input), site.memory.location(transfer.output));
    let mut stores = vec![];
    if let Some(value) = transfer.fill {
        let width = width(site.element(transfer.output));
        stores.push(fill(destination, transfer.output_bytes, value, width));
    }
    let first = offset(destination, transfer.offset);
    let source = offset(source, transfer.start);
    stores.extend(copies(source, first, transfer.run, &transfer.strides, site.target.max_extent));
    let cycles = stores.iter().map(|store| cnnip_timing::Cost::of(store, site.target).cycles).sum();
    if let Some(lowered) = transpose::lower(site, transfer, (source, first), cycles)? {
        return Ok(lowered);
    }
    let plan = format!("transfer in {} operations", stores.len());
    Ok(Lowered { plan, pad: Scratchpad::at(0), jobs: vec![Job { stores, ..Job::default() }] })
}
