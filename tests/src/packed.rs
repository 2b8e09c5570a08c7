//! Generated command lists as packages.

use cnnip_core::{Region as Bound, RegionKind as Kind, Slot};
use cnnip_package::{
    Budget, ElementType, Engine, EngineId, Input, List, ListId, Package, Place, Region, RegionId, RegionKind, Step,
    Tensor, TensorId, TokenOwner,
};
use cnnip_testkit::generate::Lists;

/// Names of the regions that generated lists use, in order.
const NAMES: [&str; 6] = ["input", "constants", "scratch", "output", "images", "coded"];

fn engine(id: cnnip_core::EngineId) -> EngineId {
    let engine = match id.slot {
        Slot::Dma0 => Engine::Dma0,
        Slot::Dma1 => Engine::Dma1,
        Slot::Cnn => Engine::Cnn,
    };
    EngineId { core: id.core, engine }
}

/// A package of cold lists, with one input and one output tensor.
pub fn packed(lists: &Lists) -> Package {
    let mut package = Package::new(lists.target.name);
    package.budget = Budget { commands: 1_000_000, cycles: 1_000_000 };
    for (number, (name, region)) in (0..).zip(NAMES.iter().zip(&lists.regions)) {
        let (kind, bytes) = match region {
            Bound::Unbound => continue,
            Bound::Constant(bytes) => {
                package.constants.insert(RegionId(number), (**bytes).as_ref());
                (RegionKind::Constant, (**bytes).as_ref().len())
            }
            Bound::Buffer { kind: Kind::Input, bytes } => (RegionKind::Input, bytes.len()),
            Bound::Buffer { kind: Kind::Output, bytes } => (RegionKind::Output, bytes.len()),
            Bound::Buffer { kind: Kind::Scratch, bytes } => (RegionKind::Scratch, bytes.len()),
        };
        let bytes = bytes.try_into().unwrap_or(u64::MAX);
        package.regions.push(Region { name: (*name).to_owned(), kind, bytes, core_visible: true });
    }
    package.tensors = vec![whole(&package, 0), whole(&package, 3)];
    package.inputs = vec![Input { tensor: TensorId(0), preprocess: None }];
    package.outputs = vec![TensorId(1)];
    package.tokens = lists.owners.iter().map(owner).collect();
    package.lists = lists.lists.iter().map(|(id, words)| list(*id, words)).collect();
    package.program = vec![Step::Device { lists: (0..).map(ListId).take(package.lists.len()).collect() }];
    package
}

/// A tensor that is a whole region.
fn whole(package: &Package, region: u8) -> Tensor {
    let known = &package.regions[usize::from(region)];
    Tensor {
        name: format!("{} tensor", known.name),
        shape: vec![known.bytes.try_into().unwrap_or(u32::MAX)],
        element: ElementType::Int8,
        quantization: None,
        place: Place { region: RegionId(region), offset: 0 },
    }
}

fn owner(owner: &cnnip_core::TokenOwner) -> TokenOwner {
    TokenOwner { token: owner.token, signal: engine(owner.signals), wait: engine(owner.waits) }
}

fn list(id: cnnip_core::EngineId, words: &[u32]) -> List {
    List { name: id.to_string(), engine: engine(id), words: words.to_vec() }
}
