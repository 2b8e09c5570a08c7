//! Where values lie: in the scratchpad, as [`residency`](crate::residency) decided, or in external memory.
//!
//! Inputs, outputs and scratch have a region each; constants come last, as their size is known last.
//! Scratch bytes are used again: a value occupies them from the layer that writes it to the last one
//! that reads it. Larger values are placed first, each at the lowest offset that is free all that time.

use std::fmt;
use std::ops::RangeInclusive;

use cnnip_graph::Place;
use cnnip_isa::operation::{Location, Space};

use crate::division::Division;
use crate::error::{CompileErrors, Rule};
use crate::residency::Residency;
use crate::size::{aligned, small, wide};
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

/// The place of every value of a divided network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// Per value: the region's role and the offset in it; `None` for values that are not in external memory.
    places: Vec<Option<(Role, u64)>>,
    /// Per value: its address in the scratchpad, where it is all its life.
    resident: Vec<Option<u32>>,
    /// Per value: channels of a pixel in its place, where it is some channels of what lies there.
    pixels: Vec<Option<u32>>,
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

    /// Channels of a pixel where a value lies, of which it is some.
    pub(crate) fn pixel(&self, value: ValueId) -> Option<u32> {
        self.pixels[value.0]
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
pub(crate) fn plan(division: &Division, residency: &Residency) -> Result<MemoryMap, CompileErrors> {
    let network = &division.network;
    let mut roles = roles(network);
    let values = network.values.len();
    let mut map = MemoryMap {
        places: vec![None; values],
        resident: vec![None; values],
        pixels: (0..values).map(|at| division.view(ValueId(at)).pixel).collect(),
        sizes: [0; 3],
    };
    for (at, role) in roles.iter_mut().enumerate() {
        let value = ValueId(at);
        let address = residency.address(network.root(value));
        map.resident[at] = address.map(|address| address + small(offset(division, value)));
        if address.is_some() {
            *role = None;
        }
    }
    for role in [Role::Input, Role::Output] {
        let members = (0..roles.len()).filter(|&at| roles[at] == Some(role));
        let mut end = 0;
        for at in members {
            let offset = aligned(end, ALIGNMENT);
            map.places[at] = Some((role, offset));
            end = offset + network.values[at].bytes();
        }
        map.sizes[usize::from(role == Role::Output)] = end;
    }
    map.sizes[2] = place_scratch(division, &roles, &mut map.places);
    place_constants(network, &roles, &mut map.places);
    for at in 0..values {
        let place = map.places[network.root(ValueId(at)).0];
        map.places[at] = place.map(|(role, start)| (role, start + offset(division, ValueId(at))));
    }
    check(&map)
}

/// Bytes from the start of the value that owns a value's bytes to the value.
fn offset(division: &Division, value: ValueId) -> u64 {
    division.view(value).start * wide(division.network.values[value.0].element.size())
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

/// When bytes are in use, and by which core; `None` for several cores.
#[derive(Clone, Debug)]
struct Use {
    life: Life,
    core: Option<u8>,
}

impl Use {
    /// Whether both cannot have the same bytes: at one time, or on two cores, of which one would wait for the other.
    fn excludes(&self, other: &Self) -> bool {
        let together = self.life.start() <= other.life.end() && other.life.start() <= self.life.end();
        together || self.core.zip(other.core).is_some_and(|(core, other)| core != other)
    }
}

/// Places what lives in scratch; returns the region's size.
fn place_scratch(division: &Division, roles: &[Option<Role>], places: &mut [Option<(Role, u64)>]) -> u64 {
    let network = &division.network;
    let (lives, users) = (lives(network), division.users());
    let mut order: Vec<usize> = (0..roles.len()).filter(|&at| roles[at] == Some(Role::Scratch)).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(network.values[at].bytes()), at));
    let mut placed: Vec<(u64, u64, Use)> = vec![];
    let mut size = 0;
    for at in order {
        let Some(life) = lives[at].clone() else { continue };
        let bytes = network.values[at].bytes();
        let own = Use { life, core: users[at] };
        let taken = placed.iter().filter(|(_, _, other)| own.excludes(other)).map(|&(start, end, _)| (start, end));
        let offset = first_fit(taken, bytes);
        places[at] = Some((Role::Scratch, offset));
        size = size.max(offset + bytes);
        let place = placed.partition_point(|&(start, _, _)| start <= offset);
        placed.insert(place, (offset, offset + bytes, own));
    }
    size
}

/// The lowest offset where `bytes` are free beside what is `taken`, in order of offsets.
pub(crate) fn first_fit(taken: impl Iterator<Item = (u64, u64)>, bytes: u64) -> u64 {
    let mut offset = 0;
    for (start, end) in taken {
        if end <= offset {
            continue;
        }
        if offset + bytes <= start {
            break;
        }
        offset = aligned(end, ALIGNMENT);
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
        let used = |life: Life, core| Use { life, core };
        let placed = [(0, 100, used(0..=2, Some(0))), (128, 200, used(1..=5, Some(0)))];
        let fit = |own: Use, bytes| {
            let taken = placed.iter().filter(|(_, _, other)| own.excludes(other));
            first_fit(taken.map(|&(start, end, _)| (start, end)), bytes)
        };
        let one = |life| used(life, Some(0));
        assert_eq!(fit(one(3..=4), 64), 0);
        assert_eq!(fit(one(3..=4), 129), 256, "the second value is still alive");
        assert_eq!(fit(one(2..=2), 1), 128 + 128);
        assert_eq!(fit(one(6..=6), 1000), 0);
        assert_eq!(fit(used(6..=6, Some(1)), 100), 256, "another core does not wait");
        assert_eq!(fit(used(6..=6, None), 100), 0);
    }
}
