//! The rules of a package's content.

use std::collections::HashSet;
use std::hash::Hash;

use crate::problem::{Defect, Item, MAX_PROBLEMS, Problem};
use crate::{
    ElementType, EngineId, FIRST_SYSTEM_TOKEN, HostOperator, HostStep, Input, List, ListId, MAX_REGION_BYTES,
    MAX_REGIONS, Memory, Package, Pixels, Preprocess, Quantization, Region, RegionId, RegionKind, SPEC_VERSION,
    SourceTensor, Step, TOKENS, Tensor, TensorId, Tile, TileMap, TokenOwner, TraceSource, Traced, TracedId,
};

impl Package {
    /// Everything in the package that breaks a rule, in the order of the sections, [`MAX_PROBLEMS`] at most.
    ///
    /// ```
    /// # use cnnip_package::{Defect, Package, Step};
    /// let mut package = Package::new("v4h");
    /// assert_eq!(package.check(), []);
    /// package.program.push(Step::Device { lists: vec![] });
    /// assert_eq!(package.check()[0].defect, Defect::EmptyStep);
    /// ```
    pub fn check(&self) -> Vec<Problem> {
        let mut check = Check { package: self, problems: Vec::new() };
        check.info();
        check.regions();
        check.tokens();
        check.lists();
        check.tensors();
        check.program();
        check.interface();
        check.layers();
        check.tile_map();
        check.problems
    }

    /// What of the package its target does not have. `cores` gives the number of cores of a target it knows.
    pub fn check_target(&self, cores: impl FnOnce(&str) -> Option<u32>) -> Vec<Problem> {
        let mut check = Check { package: self, problems: Vec::new() };
        match cores(&self.target) {
            None => check.report(Part::named("target", 0, &self.target), Defect::Target),
            Some(cores) => check.cores(cores),
        }
        check.problems
    }
}

/// A part of the package that a problem would be about.
#[derive(Clone, Copy)]
struct Part<'a> {
    kind: &'static str,
    index: usize,
    name: &'a str,
}

impl<'a> Part<'a> {
    fn named(kind: &'static str, index: usize, name: &'a str) -> Self {
        Self { kind, index, name }
    }

    fn numbered(kind: &'static str, index: usize) -> Self {
        Self { kind, index, name: "" }
    }

    fn only(kind: &'static str) -> Self {
        Self::numbered(kind, 0)
    }
}

impl From<Part<'_>> for Item {
    /// Long names are cut, so that problems never take more memory than the package.
    fn from(Part { kind, index, name }: Part<'_>) -> Self {
        Self { kind, index, name: name.chars().take(100).collect() }
    }
}

struct Check<'a> {
    package: &'a Package,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn report(&mut self, item: Part<'_>, defect: Defect) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { item: item.into(), defect });
        }
    }

    fn require(&mut self, holds: bool, item: Part<'_>, defect: Defect) {
        if !holds {
            self.report(item, defect);
        }
    }

    fn cores(&mut self, cores: u32) {
        for (index, list) in self.package.lists.iter().enumerate() {
            self.core(list.engine, cores, Part::named("list", index, &list.name));
        }
        for (index, owner) in self.package.tokens.iter().enumerate() {
            self.core(owner.signal, cores, Part::numbered("token owner", index));
            self.core(owner.wait, cores, Part::numbered("token owner", index));
        }
    }

    fn core(&mut self, engine: EngineId, cores: u32, item: Part<'_>) {
        self.require(u32::from(engine.core) < cores, item, Defect::Core { engine, cores });
    }

    fn info(&mut self) {
        let package = self.package;
        let found = package.spec_version;
        self.require(found == SPEC_VERSION, Part::only("info"), Defect::SpecVersion { found });
        self.name(Part::named("target", 0, &package.target));
        self.names("provenance", "the key", package.provenance.iter().map(|(key, _)| key.as_str()));
    }

    /// Names of one kind of item: usable and unique.
    fn names<'n>(&mut self, kind: &'static str, what: &'static str, names: impl Iterator<Item = &'n str>) {
        let mut seen = HashSet::new();
        for (index, name) in names.enumerate() {
            let item = Part::named(kind, index, name);
            self.name(item);
            self.unique(&mut seen, name, what, item);
        }
    }

    fn name(&mut self, item: Part<'_>) {
        self.require(is_name(item.name), item, Defect::Name);
    }

    fn unique<T: Eq + Hash>(&mut self, seen: &mut HashSet<T>, value: T, what: &'static str, item: Part<'_>) {
        self.require(seen.insert(value), item, Defect::Duplicate { what });
    }

    fn regions(&mut self) {
        let regions = &self.package.regions;
        let count = regions.len();
        self.require(count <= MAX_REGIONS, Part::only("regions"), Defect::RegionCount { count });
        self.names("region", "the name", regions.iter().map(|region| region.name.as_str()));
        for (index, region) in regions.iter().enumerate() {
            let bytes = region.bytes;
            let item = Part::named("region", index, &region.name);
            self.require(bytes <= MAX_REGION_BYTES, item, Defect::RegionBytes { bytes });
        }
        self.constants();
    }

    fn constants(&mut self) {
        let package = self.package;
        for (id, region) in (0..=u8::MAX).map(RegionId).zip(&package.regions) {
            let expected = if region.kind == RegionKind::Constant { region.bytes } else { 0 };
            let given = package.constants.get(id);
            let found = given.map_or(0, |bytes| crate::container::wide(bytes.len()));
            let holds = expected == found && given.is_some() == (region.kind == RegionKind::Constant);
            let item = Part::named("region", id.0.into(), &region.name);
            self.require(holds, item, Defect::ConstantBytes { expected, found });
        }
        for (id, bytes) in package.constants.iter().filter(|&(id, _)| package.region(id).is_none()) {
            let found = crate::container::wide(bytes.len());
            self.report(Part::numbered("region", id.0.into()), Defect::ConstantBytes { expected: 0, found });
        }
    }

    fn tokens(&mut self) {
        let mut seen = HashSet::new();
        for (index, &TokenOwner { token, signal, wait }) in self.package.tokens.iter().enumerate() {
            let item = Part::numbered("token owner", index);
            let local = token < FIRST_SYSTEM_TOKEN;
            self.require(token < TOKENS, item, Defect::Token { token });
            self.require(!local || signal.core == wait.core, item, Defect::TokenScope { signal, wait });
            self.unique(&mut seen, (token, local.then_some(signal.core)), "its owner", item);
        }
    }

    fn lists(&mut self) {
        let lists = &self.package.lists;
        self.names("list", "the name", lists.iter().map(|list| list.name.as_str()));
        for (index, list) in lists.iter().enumerate() {
            self.require(!list.words.is_empty(), Part::named("list", index, &list.name), Defect::EmptyList);
        }
    }

    fn tensors(&mut self) {
        let tensors = &self.package.tensors;
        self.names("tensor", "the name", tensors.iter().map(|tensor| tensor.name.as_str()));
        for (index, tensor) in tensors.iter().enumerate() {
            self.tensor(tensor, Part::named("tensor", index, &tensor.name));
        }
    }

    fn tensor(&mut self, tensor: &Tensor, item: Part<'_>) {
        if let Some(dimension) = tensor.shape.iter().position(|&size| size == 0) {
            self.report(item, Defect::EmptyDimension { dimension });
        }
        if let Some(bytes) = self.region(tensor.place.region, item).map(|region| region.bytes) {
            let start = tensor.place.offset;
            let end = start.saturating_add(tensor.bytes().unwrap_or(u64::MAX));
            self.require(end <= bytes, item, Defect::OutsideRegion { start, end, bytes });
        }
        if let Some(quantization) = tensor.quantization {
            self.quantization(quantization, tensor.element, item);
        }
    }

    fn quantization(&mut self, Quantization { scale, zero_point }: Quantization, element: ElementType, item: Part<'_>) {
        self.require(scale.is_finite() && scale > 0.0, item, Defect::Scale { scale });
        let zero = i64::from(zero_point);
        let holds = element.range().is_some_and(|(low, high)| (low..=high).contains(&zero));
        self.require(holds, item, Defect::ZeroPoint { zero_point, element });
    }

    /// What a number stands for, or a problem.
    fn exists<T>(
        &mut self,
        found: Option<T>,
        (what, index, count): (&'static str, u32, usize),
        item: Part<'_>,
    ) -> Option<T> {
        self.require(found.is_some(), item, Defect::Reference { what, index, count });
        found
    }

    fn region(&mut self, id: RegionId, item: Part<'_>) -> Option<&'a Region> {
        let package = self.package;
        self.exists(package.region(id), ("region", id.0.into(), package.regions.len()), item)
    }

    fn tensor_of(&mut self, id: TensorId, item: Part<'_>) -> Option<&'a Tensor> {
        let package = self.package;
        self.exists(package.tensor(id), ("tensor", id.0, package.tensors.len()), item)
    }

    fn list_of(&mut self, id: ListId, item: Part<'_>) -> Option<&'a List> {
        let package = self.package;
        self.exists(package.list(id), ("list", id.0, package.lists.len()), item)
    }

    fn program(&mut self) {
        for (index, step) in self.package.program.iter().enumerate() {
            let item = Part::numbered("step", index);
            match step {
                Step::Device { lists } => self.device_step(lists, item),
                Step::Host(step) => self.host_step(step, item),
            }
        }
    }

    fn device_step(&mut self, lists: &[ListId], item: Part<'_>) {
        self.require(!lists.is_empty(), item, Defect::EmptyStep);
        let mut engines = HashSet::new();
        for &id in lists {
            if let Some(list) = self.list_of(id, item) {
                let engine = list.engine;
                self.require(engines.insert(engine), item, Defect::EngineTwice { engine });
            }
        }
    }

    fn host_step(&mut self, step: &HostStep, item: Part<'_>) {
        let tensors = |check: &mut Self, ids: &[TensorId]| -> Vec<_> {
            ids.iter().filter_map(|&id| check.tensor_of(id, item)).collect()
        };
        let (inputs, outputs) = (tensors(self, &step.inputs), tensors(self, &step.outputs));
        for output in &outputs {
            self.not_constant(output, item);
        }
        let operator = step.operator.name();
        match (&step.inputs[..], &step.outputs[..], &inputs[..], &outputs[..]) {
            ([_], [_], [input], [output]) if step.operator.inputs() == 1 => {
                self.operands(step.operator, input, output, item);
            }
            (ids, [_], tensors, [output]) if step.operator.inputs() == ids.len() && ids.len() == tensors.len() => {
                self.boxes(step.operator, tensors, output, item);
            }
            (ids, [_], ..) if step.operator.inputs() == ids.len() => {} // a tensor that does not exist was reported
            _ => self.report(item, Defect::Arity { operator, inputs: step.operator.inputs(), outputs: 1 }),
        }
    }

    /// Operators that find boxes: several inputs, real or with a scale, and one output.
    fn boxes(&mut self, operator: HostOperator, inputs: &[&Tensor], output: &Tensor, item: Part<'_>) {
        let name = operator.name();
        let needs = |needs| Defect::OperatorTensors { operator: name, needs };
        for input in inputs {
            let real = input.element == ElementType::Float32 || input.quantization.is_some();
            self.require(real, item, needs("inputs of float32, or of integers with a scale"));
        }
        let shapes: Vec<&[u32]> = inputs.iter().map(|input| input.shape.as_slice()).collect();
        match operator.found(&shapes) {
            Ok(shape) => self.require(shape == output.shape, item, needs("an output of the shape its inputs give")),
            Err(what) => self.report(item, needs(what)),
        }
        let (element, what) = match operator {
            HostOperator::NonMaxSuppression(_) => (ElementType::Int64, "an output of int64"),
            _ => (ElementType::Float32, "an output of float32"),
        };
        self.require(output.element == element, item, needs(what));
        let wrong = match operator {
            HostOperator::NonMaxSuppression(suppression) => suppression.wrong(),
            HostOperator::Detections(detections) => detections.wrong(),
            _ => None,
        };
        if let Some((what, value)) = wrong {
            self.report(item, Defect::Number { what, value });
        }
    }

    fn not_constant(&mut self, tensor: &Tensor, item: Part<'_>) {
        let found = self.package.region(tensor.place.region).map(|region| region.kind);
        let defect = Defect::RegionKind { found: RegionKind::Constant, expected: RegionKind::Scratch };
        self.require(found != Some(RegionKind::Constant), item, defect);
    }

    /// Operators with one input and one output: of the same shape, or without an axis.
    fn operands(&mut self, operator: HostOperator, input: &Tensor, output: &Tensor, item: Part<'_>) {
        let name = operator.name();
        let needs = |needs| Defect::OperatorTensors { operator: name, needs };
        if operator.axis().is_none() {
            self.require(input.shape == output.shape, item, needs("an output of its input's shape"));
        }
        match operator {
            HostOperator::Softmax { beta } => {
                self.require(beta.is_finite(), item, Defect::Number { what: "beta", value: beta });
            }
            HostOperator::Quantize | HostOperator::QuantizeEven => {
                self.require(input.element == ElementType::Float32, item, needs("a float32 input"));
                self.require(output.quantization.is_some(), item, needs("an output with a scale"));
            }
            HostOperator::Dequantize => {
                self.require(output.element == ElementType::Float32, item, needs("a float32 output"));
                self.require(input.quantization.is_some(), item, needs("an input with a scale"));
            }
            HostOperator::ArgMax { axis } | HostOperator::ArgMin { axis } => {
                let fits = without(&input.shape, axis, &output.shape);
                self.require(fits, item, needs("an output of its input's shape without the axis, or with 1 there"));
                let index = matches!(output.element, ElementType::Int32 | ElementType::Int64);
                self.require(index, item, needs("an output of int32 or int64"));
            }
            HostOperator::NonMaxSuppression(_) | HostOperator::Detections(_) => {} // several inputs
        }
    }

    fn interface(&mut self) {
        let mut seen = HashSet::new();
        for (index, input) in self.package.inputs.iter().enumerate() {
            let item = Part::numbered("input", index);
            self.unique(&mut seen, input.tensor, "the tensor", item);
            self.bound(input.tensor, RegionKind::Input, item);
            self.picture(input, item);
        }
        for (index, &output) in self.package.outputs.iter().enumerate() {
            self.bound(output, RegionKind::Output, Part::numbered("output", index));
        }
    }

    /// A tensor that the application sees is in a region that it binds.
    fn bound(&mut self, tensor: TensorId, expected: RegionKind, item: Part<'_>) {
        let Some(tensor) = self.tensor_of(tensor, item) else { return };
        if let Some(found) = self.package.region(tensor.place.region).map(|region| region.kind) {
            self.require(found == expected, item, Defect::RegionKind { found, expected });
        }
    }

    fn picture(&mut self, input: &Input, item: Part<'_>) {
        let (Some(picture), Some(tensor)) = (&input.preprocess, self.package.tensor(input.tensor)) else { return };
        let size = [picture.height, picture.width, picture.color.channels()].map(u64::from);
        let elements = size.iter().try_fold(1_u64, |product, &size| product.checked_mul(size));
        let fits = elements.is_some() && elements == tensor.elements();
        self.require(fits, item, Defect::Preprocess { why: "height * width * channels are not its elements" });
        self.pixels(picture, tensor, item);
    }

    fn pixels(&mut self, picture: &Preprocess, tensor: &Tensor, item: Part<'_>) {
        match &picture.pixels {
            Pixels::Raw => {
                let fits = tensor.element.bytes() == 1;
                self.require(fits, item, Defect::Preprocess { why: "its elements are not bytes" });
            }
            Pixels::Offset(offset) => {
                let offset = i64::from(*offset);
                let fits = tensor.element.range().is_some_and(|(low, high)| low <= offset && offset + 255 <= high);
                self.require(fits, item, Defect::Preprocess { why: "pixels plus offset leave its element type" });
            }
            Pixels::Float { mean, std } => self.normalization(picture, tensor, mean, std, item),
        }
    }

    fn normalization(&mut self, picture: &Preprocess, tensor: &Tensor, mean: &[f32], std: &[f32], item: Part<'_>) {
        let channels = usize::try_from(picture.color.channels()).unwrap_or(usize::MAX);
        let fits = mean.len() == channels && std.len() == channels;
        self.require(fits, item, Defect::Preprocess { why: "mean and std are not one per channel" });
        let fits = tensor.element == ElementType::Float32 || tensor.quantization.is_some();
        self.require(fits, item, Defect::Preprocess { why: "its integers have no scale" });
        for &value in mean.iter().filter(|value| !value.is_finite()) {
            self.report(item, Defect::Number { what: "mean", value });
        }
        for &value in std.iter().filter(|&&value| !value.is_finite() || value == 0.0) {
            self.report(item, Defect::Number { what: "std", value });
        }
    }

    fn layers(&mut self) {
        let mut seen = HashSet::new();
        for (index, layer) in self.package.layers.iter().enumerate() {
            let item = Part::named("layer", index, &layer.name);
            self.unique(&mut seen, layer.mark, "the mark", item);
            self.name(item);
        }
    }

    fn tile_map(&mut self) {
        let Some(map) = &self.package.tile_map else { return };
        self.names("traced tensor", "the name", map.tensors.iter().map(|traced| traced.name.as_str()));
        for (index, traced) in map.tensors.iter().enumerate() {
            self.traced(map, traced, Part::named("traced tensor", index, &traced.name));
        }
        for (index, tile) in map.tiles.iter().enumerate() {
            self.tile(map, tile, Part::numbered("tile", index));
        }
    }

    fn traced(&mut self, map: &'a TileMap, traced: &Traced, item: Part<'_>) {
        if let Some(dimension) = traced.shape.iter().position(|&size| size == 0) {
            self.report(item, Defect::EmptyDimension { dimension });
        }
        if let Some(quantization) = traced.quantization {
            self.quantization(quantization, traced.element, item);
        }
        self.require(traced.model.fits(traced.shape.len()), item, Defect::Axes);
        if let SourceTensor::View { name, .. } = &traced.model {
            self.require(is_name(name), item, Defect::Name);
        }
        match traced.source {
            TraceSource::Tiles | TraceSource::Fused(_) => {}
            TraceSource::Host(tensor) => {
                let Some(tensor) = self.tensor_of(tensor, item) else { return };
                let same = tensor.shape == traced.shape && tensor.element == traced.element;
                self.require(same, item, Defect::Tile { why: "it has another shape or type than its tensor" });
            }
            TraceSource::Alias(of) => {
                let Some(root) = self.traced_of(map, of, item) else { return };
                let direct = !matches!(root.source, TraceSource::Alias(_));
                self.require(direct, item, Defect::Tile { why: "an alias is of a tensor that is none itself" });
                let same = bytes(root).is_some() && bytes(root) == bytes(traced) && root.element == traced.element;
                self.require(same, item, Defect::Tile { why: "an alias has as many elements, of the same type" });
            }
        }
    }

    fn traced_of(&mut self, map: &'a TileMap, id: TracedId, item: Part<'_>) -> Option<&'a Traced> {
        self.exists(map.tensor(id), ("traced tensor", id.0, map.tensors.len()), item)
    }

    fn tile(&mut self, map: &'a TileMap, tile: &Tile, item: Part<'_>) {
        if let Some(list) = self.list_of(tile.list, item) {
            let inside = usize::try_from(tile.pc).is_ok_and(|pc| pc < list.words.len());
            self.require(inside, item, Defect::Tile { why: "its command is behind the list" });
        }
        if let Some(tensor) = self.traced_of(map, tile.tensor, item) {
            let written = tensor.source == TraceSource::Tiles;
            self.require(written, item, Defect::Tile { why: "its tensor is not one that commands write" });
            let why = "its elements are not within the tensor";
            self.require(box_fits(tile, &tensor.shape), item, Defect::Tile { why });
            self.tile_bytes(tile, tensor.element, item);
        }
    }

    fn tile_bytes(&mut self, tile: &Tile, element: ElementType, item: Part<'_>) {
        let Memory::Dram(region) = tile.memory else { return };
        let Some(region) = self.region(region, item) else { return };
        let (start, bytes) = (tile.address, region.bytes);
        let steps = tile.size.iter().zip(&tile.strides);
        let last = steps.fold(start, |at, (&size, &stride)| {
            at.saturating_add(u64::from(size.saturating_sub(1)).saturating_mul(stride))
        });
        let end = last.saturating_add(element.bytes());
        self.require(end <= bytes, item, Defect::OutsideRegion { start, end, bytes });
    }
}

/// Whether text can be a name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// Whether the tile has the tensor's dimensions, at least one element of each and none outside.
fn box_fits(tile: &Tile, shape: &[u32]) -> bool {
    let rank = shape.len();
    let ranks = [tile.start.len(), tile.size.len(), tile.step.len(), tile.strides.len()];
    let inside = |whole: u32, start: u32, size: u32, step: u32| {
        let last = size.checked_sub(1).and_then(|more| more.checked_mul(step)?.checked_add(start));
        step > 0 && last.is_some_and(|last| last < whole)
    };
    let boxes = tile.start.iter().zip(tile.size.iter().zip(&tile.step));
    let mut dimensions = shape.iter().zip(boxes);
    ranks.iter().all(|&length| length == rank)
        && dimensions.all(|(&whole, (&start, (&size, &step)))| inside(whole, start, size, step))
}

/// Bytes of a traced tensor, or `None` if they do not fit 64 bits.
fn bytes(traced: &Traced) -> Option<u64> {
    traced.shape.iter().try_fold(traced.element.bytes(), |product, &size| product.checked_mul(size.into()))
}

/// Whether a shape is another without an axis, or with an extent of 1 there.
fn without(shape: &[u32], axis: u32, found: &[u32]) -> bool {
    let axis = usize::try_from(axis).unwrap_or(usize::MAX);
    let (Some(before), Some(after)) = (shape.get(..axis), shape.get(axis.saturating_add(1)..)) else { return false };
    found == [before, after].concat() || found == [before, &[1], after].concat()
}
