//! Jobs: pieces of a layer, each with what it loads, computes and stores.

use std::fmt;

use cnnip_isa::operation::Operation;

/// A piece of the scratchpad that a layer uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds.
    pub name: &'static str,
    /// SRAM byte address.
    pub address: u32,
    /// Bytes.
    pub bytes: u32,
}

/// One piece of work: a DMA engine loads, then cnn computes, then dma1 stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// DMA to the scratchpad.
    pub loads: Vec<Operation>,
    /// CNN operations.
    pub computes: Vec<Operation>,
    /// DMA from the scratchpad, and from place to place in external memory.
    pub stores: Vec<Operation>,
}

/// The jobs of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerJobs {
    /// Index of the layer in the divided network.
    pub layer: usize,
    /// How it was cut, for dumps.
    pub plan: String,
    /// Bytes of values that stay in the scratchpad meanwhile.
    pub resident: u64,
    /// Its part of the scratchpad.
    pub buffers: Vec<Buffer>,
    /// Its jobs, in order.
    pub jobs: Vec<Job>,
}

/// The plan, the buffers, and every operation.
impl fmt::Display for LayerJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "layer {}: {}", self.layer, self.plan)?;
        for Buffer { name, address, bytes } in &self.buffers {
            writeln!(f, "  buffer {name} at {address:#x}, {bytes} bytes")?;
        }
        for (index, job) in self.jobs.iter().enumerate() {
            writeln!(f, "  job {index}")?;
            let parts = [("load", &job.loads), ("compute", &job.computes), ("store", &job.stores)];
            for (name, operation) in parts.iter().flat_map(|(name, list)| list.iter().map(move |one| (name, one))) {
                writeln!(f, "    {name} {operation:?}")?;
            }
        }
        Ok(())
    }
}

/// Takes buffers one after the other from a part of the scratchpad that no resident value uses.
#[derive(Clone, Debug)]
pub(crate) struct Scratchpad {
    pub(crate) buffers: Vec<Buffer>,
    next: u64,
}

/// Alignment of every buffer, enough for weights.
pub(crate) const BUFFER_ALIGNMENT: u64 = 64;

impl Scratchpad {
    /// Begins at an address, a multiple of [`BUFFER_ALIGNMENT`].
    pub(crate) const fn at(address: u64) -> Self {
        Self { buffers: vec![], next: address }
    }

    /// Takes a buffer and returns its number.
    pub(crate) fn take(&mut self, name: &'static str, bytes: u64) -> usize {
        let address = crate::size::small(self.next);
        self.buffers.push(Buffer { name, address, bytes: crate::size::small(bytes) });
        self.next = crate::size::aligned(self.next + bytes, BUFFER_ALIGNMENT);
        self.buffers.len() - 1
    }

    pub(crate) fn address(&self, buffer: usize) -> u32 {
        self.buffers[buffer].address
    }
}

/// Buffers of one kind that take turns; a buffer remembers what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Turns<K> {
    slots: Vec<(usize, Option<K>)>,
}

/// A buffer and whether it already holds what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) buffer: usize,
    pub(crate) hit: bool,
}

impl<K: PartialEq> Turns<K> {
    /// Takes `count` buffers of `bytes`; none if there are no bytes, as for what is worked on where it lies.
    pub(crate) fn take(pad: &mut Scratchpad, name: &'static str, bytes: u64, count: u32) -> Self {
        let count = if bytes == 0 { 0 } else { count };
        Self { slots: (0..count).map(|_| (pad.take(name, bytes), None)).collect() }
    }

    /// The buffer that holds `key`, or the one not used for longest. It becomes the last used.
    pub(crate) fn next(&mut self, key: K) -> Turn {
        let found = self.slots.iter().position(|(_, held)| held.as_ref() == Some(&key));
        let (buffer, _) = self.slots.remove(found.unwrap_or(0));
        self.slots.push((buffer, Some(key)));
        Turn { buffer, hit: found.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_take_turns_and_remember() {
        let mut pad = Scratchpad::at(0);
        let mut turns = Turns::take(&mut pad, "input", 100, 2);
        assert_eq!(pad.buffers[1], Buffer { name: "input", address: 128, bytes: 100 });
        let asked: Vec<_> = ["a", "b", "a", "c", "b"].into_iter().map(|key| turns.next(key)).collect();
        let want = [(0, false), (1, false), (0, true), (1, false), (0, false)];
        assert_eq!(asked, want.map(|(buffer, hit)| Turn { buffer, hit }));
    }
}
