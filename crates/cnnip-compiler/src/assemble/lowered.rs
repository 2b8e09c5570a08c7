//! The lowered network in the package: its constants stay where the command lists have them.

use std::collections::HashMap;

use cnnip_lowered::weights::{WeightPiece, blocks, records};
use cnnip_lowered::{Network, Places, StoredPiece, ValueId, Work};
use cnnip_package::{Package, Place, Region, RegionId, RegionKind};

use super::Parts;
use crate::constants::PlacedWeights;
use crate::division::{Axis, Duty};
use crate::memory::Role;
use crate::size::wide;

/// Region of weights that no command list has as they stand.
const REGION: &str = "lowered";

/// Alignment of a layer's weights in it.
const ALIGNMENT: usize = 64;

/// Puts the network into the package.
pub(super) fn put(parts: &Parts<'_>, package: &mut Package) {
    let network = parts.legalized;
    let mut places = Places { values: values(parts), pieces: pieces(parts) };
    places.pieces.retain(|&layer, pieces| covers(network, layer, pieces));
    let region = RegionId(small_region(package));
    let mut rest = Rest { region, bytes: vec![] };
    for (index, layer) in network.layers.iter().enumerate() {
        if let (Work::Conv(conv), false) = (&layer.work, places.pieces.contains_key(&index)) {
            let piece = WeightPiece::whole(conv);
            let place = rest.push(&blocks(conv, &piece));
            let records = Some(rest.push(&records(conv, &piece)).offset);
            places.pieces.insert(index, vec![StoredPiece { piece, place, records }]);
        }
    }
    rest.add_to(package);
    package.lowered = Some(network.to_bytes(&places));
}

fn small_region(package: &Package) -> u8 {
    package.regions.len().try_into().unwrap_or(u8::MAX)
}

/// Constant operands.
fn values(parts: &Parts<'_>) -> HashMap<ValueId, Place> {
    let place = |id: ValueId| {
        let (role, offset) = parts.memory.place(id)?;
        let region = RegionId(parts.memory.region(role));
        (role == Role::Constant).then_some((id, Place { region, offset }))
    };
    (0..parts.legalized.values.len()).filter_map(|index| place(ValueId(index))).collect()
}

/// Weights as the command lists have them, by layer of the whole network; each once, whatever cores have it in common.
fn pieces(parts: &Parts<'_>) -> HashMap<usize, Vec<StoredPiece>> {
    let region = RegionId(parts.memory.region(Role::Constant));
    let mut pieces: HashMap<usize, Vec<StoredPiece>> = HashMap::new();
    for PlacedWeights { layer, piece, offset, records } in parts.constants.weights() {
        let duty = parts.division.duty(*layer);
        let piece = of_whole(parts.legalized, duty, piece);
        let stored = StoredPiece { piece, place: Place { region, offset: *offset }, records: *records };
        let known = pieces.entry(duty.layer).or_default();
        if !known.contains(&stored) {
            known.push(stored);
        }
    }
    pieces
}

/// A piece of a part's weights as one of the whole layer's.
fn of_whole(network: &Network, duty: &Duty, piece: &WeightPiece) -> WeightPiece {
    let mut piece = piece.clone();
    if let (Work::Conv(conv), Some((Axis::Channels, cut))) = (&network.layers[duty.layer].work, &duty.part) {
        let range = if conv.groups > 1 { &mut piece.groups } else { &mut piece.outputs };
        *range = range.start + cut.start..range.end + cut.start;
    }
    piece
}

/// Whether pieces are all of a layer's weights and records, each once.
fn covers(network: &Network, layer: usize, pieces: &[StoredPiece]) -> bool {
    let Some(Work::Conv(conv)) = network.layers.get(layer).map(|layer| &layer.work) else { return false };
    let weights: u64 = pieces.iter().map(|stored| stored.piece.weights()).sum();
    let with_records = pieces.iter().filter(|stored| stored.records.is_some());
    let records: usize = with_records.map(|stored| stored.piece.channels(conv).count()).sum();
    weights == WeightPiece::whole(conv).weights() && records == conv.records.len()
}

/// A constant region for the host alone.
struct Rest {
    region: RegionId,
    bytes: Vec<u8>,
}

impl Rest {
    fn push(&mut self, bytes: &[u8]) -> Place {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let offset = wide(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        Place { region: self.region, offset }
    }

    fn add_to(self, package: &mut Package) {
        if self.bytes.is_empty() {
            return;
        }
        let (name, bytes) = (REGION.to_owned(), wide(self.bytes.len()));
        package.regions.push(Region { name, kind: RegionKind::Constant, bytes, core_visible: false });
        package.constants.insert(self.region, self.bytes);
    }
}
