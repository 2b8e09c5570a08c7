//! Packages to test with: one written by hand that has everything, and a strategy for valid ones of any shape.

#![allow(dead_code, reason = "each test file uses its own part of this module")]

use cnnip_package::{
    Budget, Color, ElementType, Engine, EngineId, HostOperator, HostStep, Input, Layer, Layout, List, ListId, Memory,
    Package, Pixels, Place, Preprocess, Quantization, Region, RegionId, RegionKind, SourceTensor, Step, Tensor,
    TensorId, Tile, TileMap, TokenOwner, TraceSource, Traced, TracedId,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn region(name: &str, kind: RegionKind, bytes: u64) -> Region {
    Region { name: name.into(), kind, bytes, core_visible: true }
}

fn tensor(name: &str, shape: &[u32], element: ElementType, region: u8, scale: Option<f64>) -> Tensor {
    let quantization = scale.map(|scale| Quantization { scale, zero_point: -3 });
    let place = Place { region: RegionId(region), offset: 0 };
    Tensor { name: name.into(), shape: shape.into(), element, quantization, place }
}

/// A package with at least one of everything.
pub(crate) fn sample() -> Package {
    let engine = |engine| EngineId { core: 0, engine };
    let mut package = Package::new("v4h");
    package.budget = Budget { commands: 12, cycles: 3456 };
    package.provenance = vec![("tool".into(), "cnnip 0.1".into()), ("note".into(), "two\nlines \"quoted\"".into())];
    package.regions = vec![
        region("image", RegionKind::Input, 256),
        region("weights", RegionKind::Constant, 70),
        region("logits", RegionKind::Scratch, 64),
        Region { core_visible: false, ..region("result", RegionKind::Output, 40) },
        region("table", RegionKind::Constant, 5),
    ];
    package.constants.insert(RegionId(1), (0..70).collect::<Vec<u8>>());
    package.constants.insert(RegionId(4), &[9, 8, 7, 6, 5][..]);
    package.tokens = vec![
        TokenOwner { token: 3, signal: engine(Engine::Dma0), wait: engine(Engine::Cnn) },
        TokenOwner { token: 4, signal: engine(Engine::Cnn), wait: engine(Engine::Dma1) },
    ];
    package.lists = vec![
        List { name: "load".into(), engine: engine(Engine::Dma0), words: vec![0x0100_0000, 0x0200_0000] },
        List { name: "compute".into(), engine: engine(Engine::Cnn), words: vec![0x0200_0000] },
    ];
    package.tensors = vec![
        tensor("input", &[1, 8, 8, 1], ElementType::Int8, 0, Some(0.1)),
        tensor("logits", &[1, 10], ElementType::Int8, 2, Some(1.0 / 3.0)),
        tensor("probabilities", &[1, 10], ElementType::Float32, 3, None),
    ];
    package.program = vec![
        Step::Device { lists: vec![ListId(0), ListId(1)] },
        Step::Host(HostStep {
            operator: HostOperator::Softmax { beta: 0.1 },
            inputs: vec![TensorId(1)],
            outputs: vec![TensorId(2)],
        }),
    ];
    let pixels = Pixels::Offset(-128);
    let picture = Preprocess { height: 8, width: 8, layout: Layout::Nhwc, color: Color::Gray, pixels };
    package.inputs = vec![Input { tensor: TensorId(0), preprocess: Some(picture) }];
    package.outputs = vec![TensorId(2)];
    package.layers =
        vec![Layer { mark: 1, name: "fc".into(), sources: vec!["MatMul".into(), "Add".into()], macs: 640 }];
    let traced = |name: &str, source| Traced {
        name: name.into(),
        shape: vec![1, 10],
        element: ElementType::Int8,
        quantization: None,
        model: SourceTensor::Same,
        source,
    };
    let turned = SourceTensor::View { name: "scores transposed".into(), axes: vec![1, 0] };
    let tensors = vec![
        traced("flat", TraceSource::Alias(TracedId(2))),
        Traced { model: turned, ..traced("padded", TraceSource::Fused(vec!["fc".into()])) },
        Traced { model: SourceTensor::Added, ..traced("scores", TraceSource::Tiles) },
        traced("given", TraceSource::Host(TensorId(1))),
    ];
    let tiles = vec![Tile {
        list: ListId(1),
        pc: 0,
        iteration: vec![0, 2],
        tensor: TracedId(2),
        start: vec![0, 2],
        size: vec![1, 4],
        step: vec![1, 2],
        memory: Memory::Dram(RegionId(2)),
        address: 2,
        strides: vec![10, 2],
    }];
    package.tile_map = Some(TileMap { tensors, tiles });
    package
}

/// Makes the checksums of a damaged file right again, if its tables can still be found.
pub(crate) fn reseal(file: &mut [u8]) {
    let sections = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let table = 32..(32 + 24 * sections.min(12)).min(file.len());
    for at in (32..).step_by(24).take(table.len() / 24) {
        let word = |from: usize| u64::from_le_bytes(file[from..from + 8].try_into().unwrap());
        let range = usize::try_from(word(at + 8)).ok().zip(usize::try_from(word(at + 16)).ok());
        let checksum =
            range.and_then(|(start, length)| file.get(start..start.checked_add(length)?)).map(crc32fast::hash);
        if let Some(checksum) = checksum {
            file[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        }
    }
    let checksum = crc32fast::hash(&file[table]);
    file[24..28].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&file[..28]);
    file[28..32].copy_from_slice(&checksum.to_le_bytes());
}

/// Names as models have them, and as they should not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9_]{0,6}", "[ -~]{1,12}", "[^\\p{Cc}]{1,4}"]
}

/// Appends the index, so that names of one kind are unique.
fn unique(names: Vec<String>) -> Vec<String> {
    names.into_iter().enumerate().map(|(index, name)| format!("{name}{index}")).collect()
}

fn positive() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::MIN_POSITIVE / 3.0), Just(f64::MAX), (1_u64..0x7ff0_0000_0000_0000).prop_map(f64::from_bits)]
}

fn finite() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite())
}

fn element() -> impl Strategy<Value = ElementType> {
    use ElementType::{Float32, Int8, Int16, Int32, Int64, Uint8};
    prop::sample::select(vec![Int8, Uint8, Int16, Int32, Int64, Float32])
}

fn engine() -> impl Strategy<Value = EngineId> {
    (0_u8..3, prop::sample::select(vec![Engine::Dma0, Engine::Dma1, Engine::Cnn]))
        .prop_map(|(core, engine)| EngineId { core, engine })
}

/// A tensor somewhere in region `region`, and the bytes the region must have for it.
fn any_tensor(region: u8) -> impl Strategy<Value = (Tensor, u64)> {
    let quantization = proptest::option::of((positive(), 0_i32..=127));
    (vec(1_u32..5, 0..4), element(), quantization, 0_u64..100).prop_map(
        move |(shape, element, quantization, offset)| {
            let quantization = quantization
                .filter(|_| element != ElementType::Float32)
                .map(|(scale, zero_point)| Quantization { scale, zero_point });
            let place = Place { region: RegionId(region), offset };
            let tensor = Tensor { name: String::new(), shape, element, quantization, place };
            let end = offset + tensor.bytes().unwrap();
            (tensor, end)
        },
    )
}

/// The regions come in this order, one of each kind, each with its own tensors; more constants follow.
const KINDS: [RegionKind; 4] = [RegionKind::Input, RegionKind::Output, RegionKind::Scratch, RegionKind::Constant];

fn tables() -> impl Strategy<Value = Package> {
    let tensors = (0..4_u8).map(|region| vec(any_tensor(region), 0..4)).collect::<Vec<_>>();
    let blobs = vec(vec(any::<u8>(), 0..200), 1..4);
    (tensors, blobs, vec(any::<bool>(), 8), vec(name(), 8), vec(name(), 16)).prop_map(
        |(tensors, blobs, visible, region_names, tensor_names)| {
            let mut package = Package::new("v4h");
            let kinds = KINDS.into_iter().chain(std::iter::repeat(RegionKind::Constant));
            for (index, name) in unique(region_names).into_iter().enumerate().take(3 + blobs.len()) {
                let kind = kinds.clone().nth(index).unwrap();
                let used = tensors.get(index).into_iter().flatten().map(|&(_, end)| end).max().unwrap_or(0);
                let mut bytes = used;
                if let Some(blob) = index.checked_sub(3).map(|blob| &blobs[blob]) {
                    let mut blob = blob.clone();
                    blob.resize(blob.len().max(used as usize), 0x55);
                    bytes = blob.len() as u64;
                    package.constants.insert(RegionId(index as u8), blob);
                }
                package.regions.push(Region { name, kind, bytes, core_visible: visible[index] });
            }
            let tensors = tensors.into_iter().flatten().map(|(tensor, _)| tensor);
            package.tensors =
                tensors.zip(unique(tensor_names)).map(|(tensor, name)| Tensor { name, ..tensor }).collect();
            package
        },
    )
}

fn any_tokens() -> impl Strategy<Value = Vec<TokenOwner>> {
    vec((engine(), engine()), 0..5).prop_map(|pairs| {
        let owner = |(token, (signal, wait)): (u8, (EngineId, EngineId))| {
            let token = if signal.core == wait.core { token } else { token + 64 };
            TokenOwner { token, signal, wait }
        };
        (0..).zip(pairs).map(owner).collect()
    })
}

/// Fills in what refers to the tables: interface, steps and tiles.
fn refer(mut package: Package, picks: &[u32], picture: &Pixels, beta: f32) -> Package {
    let in_kind = |kind| {
        let numbered = (0..).map(TensorId).zip(&package.tensors);
        let found = numbered.filter(move |(_, tensor)| KINDS[usize::from(tensor.place.region.0)] == kind);
        found.map(|(id, _)| id).collect::<Vec<_>>()
    };
    let (inputs, outputs, scratch) =
        (in_kind(RegionKind::Input), in_kind(RegionKind::Output), in_kind(RegionKind::Scratch));
    let preprocess = |id| picture_for(package.tensor(id).unwrap(), picture);
    package.inputs = inputs.iter().rev().map(|&tensor| Input { tensor, preprocess: preprocess(tensor) }).collect();
    package.outputs = outputs;
    let mut steps = vec![];
    for id in scratch {
        let pair = (vec![id], vec![id]);
        steps.push(Step::Host(HostStep { operator: HostOperator::Softmax { beta }, inputs: pair.0, outputs: pair.1 }));
    }
    let lists = (0..).map(ListId).take(package.lists.len());
    steps.extend(lists.map(|list| Step::Device { lists: vec![list] }));
    package.program = steps;
    let commands = (0..).map(ListId).zip(&package.lists);
    let pairs = commands.zip((0..).map(TensorId).zip(&package.tensors));
    let tile = |((list, commands), (id, tensor)): ((ListId, &List), (TensorId, &Tensor))| Tile {
        list,
        pc: commands.words.len() as u32 - 1,
        iteration: picks.to_vec(),
        tensor: TracedId(id.0),
        start: vec![0; tensor.shape.len()],
        size: tensor.shape.clone(),
        step: vec![1; tensor.shape.len()],
        memory: Memory::Sram,
        address: u64::from(picks.first().copied().unwrap_or(0)),
        strides: vec![u64::MAX; tensor.shape.len()],
    };
    let traced = package.tensors.iter().map(|tensor| Traced {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        element: tensor.element,
        quantization: tensor.quantization,
        model: SourceTensor::Same,
        source: TraceSource::Tiles,
    });
    let map = TileMap { tensors: traced.collect(), tiles: pairs.map(tile).collect() };
    package.tile_map = (!picks.is_empty()).then_some(map);
    package
}

/// Preprocessing that fits the tensor: a picture of one row, if there is one.
fn picture_for(tensor: &Tensor, pixels: &Pixels) -> Option<Preprocess> {
    let width = u32::try_from(tensor.elements()?).ok()?;
    let fits = match pixels {
        Pixels::Raw => tensor.element.bytes() == 1,
        Pixels::Offset(offset) => {
            let (low, high) = tensor.element.range()?;
            low <= i64::from(*offset) && i64::from(*offset) + 255 <= high
        }
        Pixels::Float { .. } => tensor.element == ElementType::Float32 || tensor.quantization.is_some(),
    };
    let picture = Preprocess { height: 1, width, layout: Layout::Nchw, color: Color::Gray, pixels: pixels.clone() };
    fits.then_some(picture)
}

fn any_pixels() -> impl Strategy<Value = Pixels> {
    let float = (finite(), finite().prop_filter("not 0", |value| *value != 0.0));
    prop_oneof![
        Just(Pixels::Raw),
        (-200_i32..100).prop_map(Pixels::Offset),
        float.prop_map(|(mean, std)| Pixels::Float { mean: vec![mean], std: vec![std] }),
    ]
}

fn any_lists(words: impl Strategy<Value = Vec<u32>>) -> impl Strategy<Value = Vec<List>> {
    (vec((engine(), words), 0..4), vec(name(), 4)).prop_map(|(lists, names)| {
        let list = |((engine, words), name)| List { name, engine, words };
        lists.into_iter().zip(unique(names)).map(list).collect()
    })
}

fn any_layers() -> impl Strategy<Value = Vec<Layer>> {
    vec((any::<u16>(), name(), vec(any::<String>(), 0..3), any::<u64>()), 0..4).prop_map(|layers| {
        let layer = |(mark, (high, name, sources, macs)): (u32, (u16, String, Vec<String>, u64))| Layer {
            mark: u32::from(high) << 16 | mark,
            name,
            sources,
            macs,
        };
        (0..).zip(layers).map(layer).collect()
    })
}

/// Valid packages; `words` gives the words of a list.
pub(crate) fn any_package(words: impl Strategy<Value = Vec<u32>>) -> impl Strategy<Value = Package> {
    let info = (any::<u64>(), any::<u64>(), vec((name(), any::<String>()), 0..3));
    let references = (vec(any::<u32>(), 0..3), any_pixels(), finite());
    (tables(), any_lists(words), any_tokens(), any_layers(), info, references).prop_map(
        |(package, lists, tokens, layers, (commands, cycles, notes), (picks, pixels, beta))| {
            let (keys, values): (Vec<_>, Vec<_>) = notes.into_iter().unzip();
            let provenance = unique(keys).into_iter().zip(values).collect();
            let budget = Budget { commands, cycles };
            refer(Package { lists, tokens, layers, provenance, budget, ..package }, &picks, &pixels, beta)
        },
    )
}
