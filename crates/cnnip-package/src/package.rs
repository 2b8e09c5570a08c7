//! The package itself.

use crate::{
    ConstantBytes, Constants, Input, List, ListId, Region, RegionId, Step, Tensor, TensorId, TileMap, TokenOwner,
};

/// Version of the machine's specification that packages of this crate are for, major in the upper half, minor in the lower.
pub const SPEC_VERSION: u32 = cnnip_isa::SPEC_VERSION;

/// Everything a `.cnnip` file holds.
///
/// Cheap to clone compared with its constants, which are shared. A value may have problems while it is being built;
/// [`check`](Package::check) lists them, reading never returns a package that has any, and
/// [`write_file`](Package::write_file) refuses one.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// Version of the machine's specification, [`SPEC_VERSION`].
    pub spec_version: u32,
    /// Name of the target the lists were made for, such as `v4h`.
    pub target: String,
    /// What the lists need to run to their end.
    pub budget: Budget,
    /// Where the package comes from, as (key, value): tool, version, source model, its hash, options. Keys are unique.
    pub provenance: Vec<(String, String)>,
    /// External memory; a region's index is the device's `REGION` number.
    pub regions: Vec<Region>,
    /// Bytes of the constant regions.
    pub constants: Constants,
    /// Token owners.
    pub tokens: Vec<TokenOwner>,
    /// Command lists.
    pub lists: Vec<List>,
    /// Tensors that a program step, the application or a tool can name.
    pub tensors: Vec<Tensor>,
    /// Steps of a job, in order.
    pub program: Vec<Step>,
    /// Inputs, in the model's order.
    pub inputs: Vec<Input>,
    /// Outputs, in the model's order; each in an output region.
    pub outputs: Vec<TensorId>,
    /// What the numbers in `MARK` commands mean.
    pub layers: Vec<Layer>,
    /// Which command produces which part of which tensor, if the compiler kept that.
    pub tile_map: Option<TileMap>,
    /// The network after all passes, if the compiler kept it: bytes that `cnnip-lowered` reads. As with command lists, nothing
    /// here looks into them.
    pub lowered: Option<Vec<u8>>,
}

/// What a whole job needs on the device, all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Commands.
    pub commands: u64,
    /// Cycles from the first start to the last end, summed over the device steps.
    pub cycles: u64,
}

/// A layer of the network, as `MARK` commands name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Number in `MARK`, unique.
    pub mark: u32,
    /// Name for reports.
    pub name: String,
    /// Nodes of the source model that it carries out, fused ones included.
    pub sources: Vec<String>,
    /// Multiply-accumulate operations of the layer as the network defines it.
    pub macs: u64,
}

impl Package {
    /// An empty package for a target.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            spec_version: SPEC_VERSION,
            target: target.into(),
            budget: Budget::default(),
            provenance: Vec::new(),
            regions: Vec::new(),
            constants: Constants::default(),
            tokens: Vec::new(),
            lists: Vec::new(),
            tensors: Vec::new(),
            program: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            layers: Vec::new(),
            tile_map: None,
            lowered: None,
        }
    }

    /// The region with this number.
    pub fn region(&self, id: RegionId) -> Option<&Region> {
        self.regions.get(usize::from(id.0))
    }

    /// The list with this number.
    pub fn list(&self, id: ListId) -> Option<&List> {
        self.lists.get(usize::try_from(id.0).ok()?)
    }

    /// The tensor with this number.
    pub fn tensor(&self, id: TensorId) -> Option<&Tensor> {
        self.tensors.get(usize::try_from(id.0).ok()?)
    }

    /// The number of the tensor with this name.
    pub fn tensor_named(&self, name: &str) -> Option<TensorId> {
        let index = self.tensors.iter().position(|tensor| tensor.name == name)?;
        u32::try_from(index).ok().map(TensorId)
    }

    /// Whether a tensor is a list: what a host step writes of which only some rows mean something ([`HostOperator::is_list`](crate::HostOperator::is_list)).
    pub fn is_list(&self, tensor: TensorId) -> bool {
        self.program.iter().any(|step| match step {
            Step::Host(step) => step.operator.is_list() && step.outputs.contains(&tensor),
            Step::Device { .. } => false,
        })
    }

    /// The bytes of a constant region; `None` if the region is not constant.
    pub fn constant(&self, region: RegionId) -> Option<&ConstantBytes> {
        self.constants.get(region)
    }

    /// The layer that a `MARK` names.
    pub fn layer(&self, mark: u32) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.mark == mark)
    }
}
