//! What a person wants to know about a package at first sight.

use crate::{Budget, EngineId, Package, RegionKind, Step, Tensor};

/// The figures of a package, for tools to print.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Version of the machine's specification.
    pub spec_version: u32,
    /// Name of the target.
    pub target: String,
    /// Declared need.
    pub budget: Budget,
    /// Where the package comes from, as (key, value).
    pub provenance: Vec<(String, String)>,
    /// Name, kind and bytes of every region, in order of their numbers.
    pub regions: Vec<(String, RegionKind, u64)>,
    /// Bytes of all constant regions.
    pub constant_bytes: u64,
    /// Name, engine and words of every list.
    pub lists: Vec<(String, EngineId, usize)>,
    /// Number of token owners.
    pub tokens: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// The inputs.
    pub inputs: Vec<Tensor>,
    /// The outputs.
    pub outputs: Vec<Tensor>,
    /// One line per step: the lists a device step starts, or a host step's operator.
    pub steps: Vec<String>,
    /// Number of layers.
    pub layers: usize,
    /// Multiply-accumulate operations of all layers.
    pub macs: u64,
    /// Entries of the tile map, if there is one.
    pub tiles: Option<usize>,
}

impl Package {
    /// The figures of this package. Numbers that stand for nothing are left out.
    ///
    /// ```
    /// let summary = cnnip_package::Package::new("v3m").summary();
    /// assert_eq!((summary.target.as_str(), summary.constant_bytes, summary.tiles), ("v3m", 0, None));
    /// ```
    pub fn summary(&self) -> Summary {
        let constants = self.regions.iter().filter(|region| region.kind == RegionKind::Constant);
        Summary {
            spec_version: self.spec_version,
            target: self.target.clone(),
            budget: self.budget,
            provenance: self.provenance.clone(),
            regions: self.regions.iter().map(|region| (region.name.clone(), region.kind, region.bytes)).collect(),
            constant_bytes: constants.fold(0, |sum, region| sum.saturating_add(region.bytes)),
            lists: self.lists.iter().map(|list| (list.name.clone(), list.engine, list.words.len())).collect(),
            tokens: self.tokens.len(),
            tensors: self.tensors.len(),
            inputs: self.inputs.iter().filter_map(|input| self.tensor(input.tensor)).cloned().collect(),
            outputs: self.outputs.iter().filter_map(|&output| self.tensor(output)).cloned().collect(),
            steps: self.program.iter().map(|step| self.describe(step)).collect(),
            layers: self.layers.len(),
            macs: self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.macs)),
            tiles: self.tile_map.as_ref().map(|map| map.tiles.len()),
        }
    }

    fn describe(&self, step: &Step) -> String {
        match step {
            Step::Host(step) => format!("host {}", step.operator.name()),
            Step::Device { lists } => {
                let names = lists.iter().filter_map(|&id| self.list(id)).map(|list| list.name.as_str());
                format!("device {}", names.collect::<Vec<_>>().join(" "))
            }
        }
    }
}
