//! Where values lie: in the scratchpad, as [`residency`](crate::residency) decided, or in external memory.
//!
//! Inputs, outputs and scratch have a region each; constants come last, as their size is known last.
//! Scratch bytes are used again: a value occupies them from the layer that writes it to the last one
//! that reads it. Larger values are placed first, each at the lowest offset that is free all that time.

use std::fmt;
use std::ops::RangeInclusive;

use cnnip_graph::Place;
use cnnip_isa::operation::{Location, Space};

use crate::error::{CompileErrors, Rule};
use crate::residency::Residency;
use crate::size::{aligned, small};
use cnnip_lowered::{Network, Origin, ValueId};

/// Values begin at multiples of this.
const ALIGNMENT: u64 = 64;
/// Largest region.
const LIMIT: u64 = 1 << 32;

/// What a region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Filled by the application.
    Input,
    /// Read by the application.
    Output,
    /// Values in between.
    Scratch,
    /// Weights, records, constant operands.
    Constant,
}

impl Role {
    /// All roles, in the order of their regions.
    pub const ALL: [Self; 4] = [Self::Input, Self::Output, Self::Scratch, Self::Constant];

    /// The region's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "inputs",
            Self::Output => "outputs",
            Self::Scratch => "scratch",
            Self::Constant => "constants",
        }
    }
}

/// The place of every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// Per value: the region's role and the offset in it; `None` for values that are not in external memory.
    places: Vec<Option<(Role, u64)>>,
    /// Per value: its address in the scratchpad, where it is all its life.
    resident: Vec<Option<u32>>,
    /// Bytes of inputs, outputs and scratch.
    sizes: [u64; 3],
}

impl MemoryMap {
    /// Role and offset of a value, if it is in external memory.
    pub fn place(&self, value: ValueId) -> Option<(Role, u64)> {
        self.places[value.0]
    }

    /// Address in the scratchpad of a value that is there from the layer that writes it to the last one that reads it.
    pub fn resident(&self, value: ValueId) -> Option<u32> {
        self.resident[value.0]
    }

    /// Bytes of the inputs, the outputs or the scratch region; 0 for constants.
    pub fn bytes(&self, role: Role) -> u64 {
        Role::ALL.iter().zip(self.sizes).find(|&(&of, _)| of == role).map_or(0, |(_, bytes)| bytes)
    }

    /// The number of the region: empty regions before it do not count.
    pub fn region(&self, role: Role) -> u8 {
        let before = Role::ALL.iter().take_while(|&&other| other != role);
        before.fold(0, |number, &other| number + u8::from(self.bytes(other) > 0))
    }

    /// The address of a value's first byte.
    pub fn location(&self, value: ValueId) -> Location {
        if let Some(address) = self.resident[value.0] {
            return Location::sram(address);
        }
        let (role, offset) = self.places[value.0].unwrap_or((Role::Scratch, 0));
        self.locate(role, offset)
    }

    /// An address in a region.
    pub fn locate(&self, role: Role, offset: u64) -> Location {
        Location { space: Space::Dram(self.region(role)), address: small(offset) }
    }
}

/// When a value's bytes are in use: from the layer that writes it to the last one that reads it.
pub(crate) type Life = RangeInclusive<usize>;

/// Places all values but constant operands, whose offsets `constants` gives.
pub(crate) fn plan(legalized: &Network, residency: &Residency) -> Result<MemoryMap, CompileErrors> {
    let mut roles = roles(legalized);
    let lives = lives(legalized);
    let values = legalized.values.len();
    let mut map = MemoryMap { places: vec![None; values], resident: vec![None; values], sizes: [0; 3] };
    for (at, role) in roles.iter_mut().enumerate() {
        map.resident[at] = residency.address(legalized.root(ValueId(at)));
        if map.resident[at].is_some() {
            *role = None;
        }
    }
    for role in [Role::Input, Role::Output] {
        let members = (0..roles.len()).filter(|&at| roles[at] == Some(role));
        let mut end = 0;
        for at in members {
            let offset = aligned(end, ALIGNMENT);
            map.places[at] = Some((role, offset));
            end = offset + legalized.values[at].bytes();
        }
        map.sizes[usize::from(role == Role::Output)] = end;
    }
    map.sizes[2] = place_scratch(legalized, &roles, &lives, &mut map.places);
    place_constants(legalized, &roles, &mut map.places);
    for at in 0..legalized.values.len() {
        map.places[at] = map.places[legalized.root(ValueId(at)).0];
    }
    check(&map)
}

fn check(map: &MemoryMap) -> Result<MemoryMap, CompileErrors> {
    for role in Role::ALL {
        let bytes = map.bytes(role);
        if bytes >= LIMIT {
            return Err(CompileErrors::one(Place::Model, Rule::Region { what: role.name(), bytes }));
        }
    }
    Ok(map.clone())
}

/// The role of every value that owns bytes and is used.
pub(crate) fn roles(legalized: &Network) -> Vec<Option<Role>> {
    let mut roles: Vec<Option<Role>> = vec![None; legalized.values.len()];
    for layer in &legalized.layers {
        for value in layer.work.reads().into_iter().chain([layer.work.writes()]) {
            roles[legalized.root(value).0] = Some(Role::Scratch);
        }
    }
    for &value in legalized.outputs.iter().chain(&legalized.kept) {
        roles[legalized.root(value).0] = Some(Role::Output);
    }
    for (role, value) in roles.iter_mut().zip(&legalized.values) {
        match value.origin {
            Origin::Input => *role = Some(Role::Input),
            Origin::Constant(_) if role.is_some() => *role = Some(Role::Constant),
            Origin::Constant(_) | Origin::Computed | Origin::Alias(_) => {}
        }
    }
    roles
}

/// The life of every value that a layer writes or reads.
pub(crate) fn lives(legalized: &Network) -> Vec<Option<Life>> {
    let mut lives: Vec<Option<Life>> = vec![None; legalized.values.len()];
    for (at, layer) in legalized.layers.iter().enumerate() {
        for value in layer.work.reads().into_iter().chain([layer.work.writes()]) {
            let life = &mut lives[legalized.root(value).0];
            let start = life.as_ref().map_or(at, |life| *life.start());
            *life = Some(start..=at);
        }
    }
    lives
}

/// Places what lives in scratch; returns the region's size.
fn place_scratch(
    legalized: &Network,
    roles: &[Option<Role>],
    lives: &[Option<Life>],
    places: &mut [Option<(Role, u64)>],
) -> u64 {
    let mut order: Vec<usize> = (0..roles.len()).filter(|&at| roles[at] == Some(Role::Scratch)).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(legalized.values[at].bytes()), at));
    let mut placed: Vec<(u64, u64, Life)> = vec![];
    let mut size = 0;
    for at in order {
        let Some(life) = lives[at].clone() else { continue };
        let bytes = legalized.values[at].bytes();
        let offset = first_fit(&placed, &life, bytes);
        places[at] = Some((Role::Scratch, offset));
        size = size.max(offset + bytes);
        let place = placed.partition_point(|&(start, _, _)| start <= offset);
        placed.insert(place, (offset, offset + bytes, life));
    }
    size
}

/// The lowest offset where `bytes` are free during `life`; `placed` is in order of offsets.
pub(crate) fn first_fit(placed: &[(u64, u64, Life)], life: &Life, bytes: u64) -> u64 {
    let mut offset = 0;
    for (start, end, other) in placed {
        let together = life.start() <= other.end() && other.start() <= life.end();
        if !together || *end <= offset {
            continue;
        }
        if offset + bytes <= *start {
            break;
        }
        offset = aligned(*end, ALIGNMENT);
    }
    offset
}

/// Constant operands stand at the start of the constant region, in order.
fn place_constants(legalized: &Network, roles: &[Option<Role>], places: &mut [Option<(Role, u64)>]) {
    let mut end = 0;
    for (at, value) in legalized.values.iter().enumerate() {
        if roles[at] == Some(Role::Constant) {
            let offset = aligned(end, ALIGNMENT);
            places[at] = Some((Role::Constant, offset));
            end = offset + value.bytes();
        }
    }
}

/// One line per value that has bytes.
impl fmt::Display for MemoryMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.places.iter().enumerate() {
            if let Some((role, offset)) = place {
                writeln!(f, "v{index} {} + {offset:#x}", role.name())?;
            }
            if let Some(address) = self.resident[index] {
                writeln!(f, "v{index} scratchpad {address:#x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_used_again_when_their_value_is_dead() {
        let placed = [(0, 100, 0..=2), (128, 200, 1..=5)];
        assert_eq!(first_fit(&placed, &(3..=4), 64), 0);
        assert_eq!(first_fit(&placed, &(3..=4), 129), 256, "the second value is still alive");
        assert_eq!(first_fit(&placed, &(2..=2), 1), 128 + 128);
        assert_eq!(first_fit(&placed, &(6..=6), 1000), 0);
    }
}
