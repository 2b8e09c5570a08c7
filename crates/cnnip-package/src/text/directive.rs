//! What every directive adds to the package.

use super::build::{Builder, Statement};
use super::data;
use super::diagnostic::Span;
use super::print::engine_kind;
use super::scan::{Argument, Arguments, Parsed};
use super::value::{element, engine_id, find, list_engine, operator, picture, quantization, source_tensor, version};
use crate::container::wide;
use crate::{
    Budget, CONSTANT_ALIGNMENT, Engine, EngineId, HostStep, Input, Layer, List, ListId, Memory, Place, Region,
    RegionId, RegionKind, Step, Tensor, TensorId, Tile, TokenOwner, TraceSource, Traced, TracedId,
};

impl Builder {
    pub(super) fn package(&mut self, mut statement: Statement) -> Parsed<()> {
        self.place("info", 0, statement.arguments.span);
        self.package.spec_version = version(&statement.arguments.next("the specification version")?)?;
        statement.arguments.finish()
    }

    pub(super) fn exact(&mut self, statement: Statement) -> Parsed<()> {
        self.exact = true;
        statement.arguments.finish()
    }

    pub(super) fn target(&mut self, mut statement: Statement) -> Parsed<()> {
        let name = statement.arguments.next("the target's name")?;
        self.place("target", 0, name.span);
        self.package.target = name.text()?;
        statement.arguments.finish()
    }

    pub(super) fn budget(&mut self, mut statement: Statement) -> Parsed<()> {
        let commands = statement.arguments.required("commands")?.number()?;
        let cycles = statement.arguments.required("cycles")?.number()?;
        self.package.budget = Budget { commands, cycles };
        statement.arguments.finish()
    }

    pub(super) fn provenance(&mut self, mut statement: Statement) -> Parsed<()> {
        let key = statement.arguments.next("the key")?;
        self.place("provenance", self.package.provenance.len(), key.span);
        let value = statement.arguments.next("the value")?.text()?;
        self.package.provenance.push((key.text()?, value));
        statement.arguments.finish()
    }

    pub(super) fn region(&mut self, mut statement: Statement) -> Parsed<()> {
        let arguments = &mut statement.arguments;
        let name = arguments.next("the region's name")?;
        let kinds = [RegionKind::Input, RegionKind::Output, RegionKind::Scratch].map(|kind| (kind.name(), kind));
        let kind = arguments.next("the region's kind")?.choice(&kinds)?;
        let bytes: Option<u64> = arguments.key("bytes").map(|bytes| bytes.number()).transpose()?;
        let core_visible = !arguments.flag("host");
        arguments.finish()?;
        let id = self.add_region(name, kind, core_visible)?;
        match bytes {
            Some(bytes) => self.package.regions[usize::from(id.0)].bytes = bytes,
            None => drop(self.unsized_regions.insert(id)),
        }
        Ok(())
    }

    pub(super) fn add_region(&mut self, name: Argument, kind: RegionKind, core_visible: bool) -> Parsed<RegionId> {
        let (span, index) = (name.span, self.package.regions.len());
        let id = u8::try_from(index).map(RegionId).map_err(|_| span.error("too many regions"))?;
        self.place("region", index, span);
        let name = name.text()?;
        self.regions.entry(name.clone()).or_insert(id);
        self.package.regions.push(Region { name, kind, bytes: 0, core_visible });
        Ok(id)
    }

    pub(super) fn constant(&mut self, mut statement: Statement) -> Parsed<()> {
        self.open = None;
        let name = statement.arguments.next("the region's name")?;
        let core_visible = !statement.arguments.flag("host");
        statement.arguments.finish()?;
        let id = self.add_region(name, RegionKind::Constant, core_visible)?;
        self.data.insert(id, Vec::new());
        self.open = Some(id);
        Ok(())
    }

    pub(super) fn data(&mut self, statement: Statement) -> Parsed<()> {
        let span = statement.arguments.span;
        let bytes = self.open.and_then(|id| self.data.get_mut(&id));
        let bytes =
            bytes.ok_or_else(|| span.error("no region to put the data in").hint("begin one with `.constant NAME`"))?;
        data::append(&statement.directive, statement.arguments, bytes)
    }

    pub(super) fn tensor(&mut self, mut statement: Statement) -> Parsed<()> {
        let arguments = &mut statement.arguments;
        let name = arguments.next("the tensor's name")?;
        let span = name.span;
        let name = name.text()?;
        let element = element(&arguments.next("the element type")?)?;
        let shape = arguments.next("the shape")?.numbers()?;
        let region = self.tensor_region(&name, span, arguments.key("region"))?;
        let offset = arguments.key("offset").map(|offset| offset.number()).transpose()?;
        let quantization = quantization(arguments)?;
        arguments.finish()?;
        let offset = offset.unwrap_or_else(|| self.next_offset(region));
        let tensor = Tensor { name, shape, element, quantization, place: Place { region, offset } };
        self.add_tensor(tensor, span)
    }

    /// The region named, or else the one with the tensor's own name.
    pub(super) fn tensor_region(&self, tensor: &str, span: Span, named: Option<Argument>) -> Parsed<RegionId> {
        match named {
            Some(name) => find("region", &self.regions, name),
            None => self.regions.get(tensor).copied().ok_or_else(|| {
                span.error(format!("no region for tensor `{tensor}`"))
                    .hint("add `region=NAME`, or a region of that name")
            }),
        }
    }

    /// Behind the last tensor of the region, aligned.
    pub(super) fn next_offset(&self, region: RegionId) -> u64 {
        let end = self.ends.get(&region).copied().unwrap_or(0);
        end.checked_next_multiple_of(wide(CONSTANT_ALIGNMENT)).unwrap_or(u64::MAX)
    }

    pub(super) fn add_tensor(&mut self, tensor: Tensor, span: Span) -> Parsed<()> {
        let index = self.package.tensors.len();
        let id = u32::try_from(index).map(TensorId).map_err(|_| span.error("too many tensors"))?;
        let end = tensor.place.offset.saturating_add(tensor.bytes().unwrap_or(u64::MAX));
        let last = self.ends.entry(tensor.place.region).or_default();
        *last = end.max(*last);
        self.place("tensor", index, span);
        self.tensors.entry(tensor.name.clone()).or_insert(id);
        self.package.tensors.push(tensor);
        Ok(())
    }

    pub(super) fn list(&mut self, mut statement: Statement) -> Parsed<()> {
        let name = statement.arguments.next("the list's name")?;
        let (span, index) = (name.span, self.package.lists.len());
        let name = name.text()?;
        let core = statement.arguments.key("core").map_or(Ok(0), |core| core.number())?;
        let engine = list_engine(&name, span, statement.arguments.key("engine"))?;
        statement.arguments.finish()?;
        let words = self.assemble(&statement.body, engine);
        self.place("list", index, span);
        let id = u32::try_from(index).map(ListId).map_err(|_| span.error("too many lists"))?;
        self.lists.entry(name.clone()).or_insert(id);
        self.package.lists.push(List { name, engine: EngineId { core, engine }, words });
        Ok(())
    }

    pub(super) fn assemble(&mut self, body: &[(usize, String)], engine: Engine) -> Vec<u32> {
        let lines = body.iter().map(|(number, line)| (*number, line.as_str()));
        cnnip_isa::asm::assemble(lines, engine_kind(engine)).unwrap_or_else(|found| {
            self.problems.extend(found);
            Vec::new()
        })
    }

    pub(super) fn stray_end(&mut self, statement: Statement) -> Parsed<()> {
        Err(statement.arguments.span.error("there is no list to end"))
    }

    pub(super) fn token(&mut self, mut statement: Statement) -> Parsed<()> {
        let arguments = &mut statement.arguments;
        self.place("token owner", self.package.tokens.len(), arguments.span);
        let token = arguments.next("the token's number")?.number()?;
        let signal = engine_id(&arguments.next("the signalling engine")?)?;
        let arrow = arguments.next("`->`")?;
        if !arrow.is_word("->") {
            return Err(arrow.span.error("`->` should be here").hint("signalling engine -> waiting engine"));
        }
        let wait = engine_id(&arguments.next("the waiting engine")?)?;
        self.package.tokens.push(TokenOwner { token, signal, wait });
        arguments.finish()
    }

    pub(super) fn input(&mut self, mut statement: Statement) -> Parsed<()> {
        self.place("input", self.package.inputs.len(), statement.arguments.span);
        let tensor = find("tensor", &self.tensors, statement.arguments.next("the tensor's name")?)?;
        let preprocess = picture(&mut statement.arguments)?;
        self.package.inputs.push(Input { tensor, preprocess });
        statement.arguments.finish()
    }

    pub(super) fn output(&mut self, mut statement: Statement) -> Parsed<()> {
        self.place("output", self.package.outputs.len(), statement.arguments.span);
        let tensor = find("tensor", &self.tensors, statement.arguments.next("the tensor's name")?)?;
        self.package.outputs.push(tensor);
        statement.arguments.finish()
    }

    pub(super) fn step(&mut self, mut statement: Statement) -> Parsed<()> {
        self.place("step", self.package.program.len(), statement.arguments.span);
        let is_device = statement.arguments.next("`device` or `host`")?.choice(&[("device", true), ("host", false)])?;
        let step = if is_device {
            let lists = statement.arguments.rest().map(|name| find("list", &self.lists, name));
            Step::Device { lists: lists.collect::<Parsed<_>>()? }
        } else {
            Step::Host(self.host_step(&mut statement.arguments)?)
        };
        self.package.program.push(step);
        statement.arguments.finish()
    }

    pub(super) fn host_step(&self, arguments: &mut Arguments) -> Parsed<HostStep> {
        let operator = operator(arguments)?;
        let mut names: Vec<Argument> = arguments.rest().collect();
        let arrow = names.iter().position(|name| name.is_word("->"));
        let arrow =
            arrow.ok_or_else(|| arguments.span.error("`->` is missing").hint("input tensors -> output tensors"))?;
        let outputs = names.split_off(arrow).into_iter().skip(1);
        let ids = |name| find("tensor", &self.tensors, name);
        Ok(HostStep {
            operator,
            inputs: names.into_iter().map(ids).collect::<Parsed<_>>()?,
            outputs: outputs.map(ids).collect::<Parsed<_>>()?,
        })
    }

    pub(super) fn layer(&mut self, mut statement: Statement) -> Parsed<()> {
        let arguments = &mut statement.arguments;
        self.place("layer", self.package.layers.len(), arguments.span);
        let mark = arguments.next("the mark")?.number()?;
        let name = arguments.next("the layer's name")?.text()?;
        let macs = arguments.key("macs").map_or(Ok(0), |macs| macs.number())?;
        let sources = arguments.key("sources").map_or(Ok(Vec::new()), Argument::list)?;
        let sources = sources.into_iter().map(Argument::text).collect::<Parsed<_>>()?;
        self.package.layers.push(Layer { mark, name, sources, macs });
        arguments.finish()
    }

    /// Appends to the bytes of the lowered graph; without any it is there, perhaps empty.
    pub(super) fn lowered(&mut self, statement: Statement) -> Parsed<()> {
        data::append(".bytes", statement.arguments, self.package.lowered.get_or_insert_default())
    }

    pub(super) fn tiles(&mut self, statement: Statement) -> Parsed<()> {
        self.package.tile_map.get_or_insert_default();
        statement.arguments.finish()
    }

    pub(super) fn traced(&mut self, mut statement: Statement) -> Parsed<()> {
        let arguments = &mut statement.arguments;
        let name = arguments.next("the tensor's name")?;
        let span = name.span;
        let name = name.text()?;
        let element = element(&arguments.next("the element type")?)?;
        let shape = arguments.next("the shape")?.numbers()?;
        let quantization = quantization(arguments)?;
        let model = source_tensor(arguments)?;
        let alias = arguments.key("alias");
        let source = self.trace_source(arguments)?;
        arguments.finish()?;
        let map = self.package.tile_map.get_or_insert_default();
        let index = map.tensors.len();
        let id = u32::try_from(index).map(TracedId).map_err(|_| span.error("too many traced tensors"))?;
        map.tensors.push(Traced { name: name.clone(), shape, element, quantization, model, source });
        self.traced.entry(name).or_insert(id);
        self.aliases.extend(alias.map(|of| (index, of)));
        self.place("traced tensor", index, span);
        Ok(())
    }

    /// What is no alias.
    fn trace_source(&self, arguments: &mut Arguments) -> Parsed<TraceSource> {
        if let Some(tensor) = arguments.key("tensor") {
            return find("tensor", &self.tensors, tensor).map(TraceSource::Host);
        }
        match arguments.key("fused") {
            Some(layers) => {
                let layers = layers.list()?.into_iter().map(Argument::text).collect::<Parsed<_>>()?;
                Ok(TraceSource::Fused(layers))
            }
            None => Ok(TraceSource::Tiles),
        }
    }

    pub(super) fn tile(&mut self, mut statement: Statement) -> Parsed<()> {
        let arguments = &mut statement.arguments;
        let list = find("list", &self.lists, arguments.next("the list's name")?)?;
        let tensor = find("traced tensor", &self.traced, arguments.next("the traced tensor's name")?)?;
        let memory = match arguments.key("region") {
            Some(region) => Memory::Dram(find("region", &self.regions, region)?),
            None if arguments.flag("sram") => Memory::Sram,
            None => return Err(arguments.span.error("`sram` or `region=` is missing")),
        };
        let tile = Tile {
            list,
            tensor,
            memory,
            pc: arguments.required("pc")?.number()?,
            iteration: arguments.key("iteration").map_or(Ok(Vec::new()), Argument::numbers)?,
            start: arguments.required("start")?.numbers()?,
            size: arguments.required("size")?.numbers()?,
            step: arguments.required("step")?.numbers()?,
            address: arguments.required("address")?.number()?,
            strides: arguments.required("strides")?.numbers()?,
        };
        arguments.finish()?;
        let span = arguments.span;
        let tiles = &mut self.package.tile_map.get_or_insert_default().tiles;
        tiles.push(tile);
        let index = tiles.len() - 1;
        self.place("tile", index, span);
        Ok(())
    }
}
