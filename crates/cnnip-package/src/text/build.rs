//! From text to a package: directives in the order of what they refer to, then what was left out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::data;
use super::diagnostic::{Diagnostic, Span};
use super::scan::{Argument, Arguments, Parsed, scan};
use super::value::find;
use crate::container::wide;
use crate::{
    Budget, Input, ListId, Package, Problem, RegionId, RegionKind, Step, Tensor, TensorId, TraceSource, TracedId,
};

/// Target of a text that names none.
pub const DEFAULT_TARGET: &str = "v4h";

/// Budget of a text that names none: plenty for lists written by hand, and not endless.
pub const DEFAULT_BUDGET: Budget = Budget { commands: 1_000_000, cycles: 100_000_000 };

/// The directive whose lines are commands, and the one that ends them.
const LIST: &str = ".list";
const END_OF_LIST: &str = ".endlist";

/// After so many problems nothing more is read.
const MAX_DIAGNOSTICS: usize = 100;

/// Makes a package from text.
///
/// # Errors
/// Everything that is wrong with the text, in the order of its lines, and if nothing is, everything that is wrong with the
/// package it makes, including the name of its target.
///
/// ```
/// let problems = cnnip_package::text::from_text(".tensor x int7 [1]").unwrap_err();
/// assert_eq!(problems[0].to_string(), "\
/// line 1, column 11: `int7` is unknown here
///   1 | .tensor x int7 [1]
///     |           ^^^^
///   hint: one of int8, uint8, int16, int32, int64, float32");
/// ```
pub fn from_text(text: &str) -> Result<Package, Vec<Diagnostic>> {
    let lines: Vec<&str> = text.lines().collect();
    build(&lines).map_err(|mut found| {
        found.sort_by_key(|problem| (problem.line, problem.column));
        let quoted = |problem: Diagnostic| match lines.get(problem.line.saturating_sub(1)) {
            Some(line) => problem.quoting(line),
            None => problem,
        };
        found.into_iter().map(quoted).collect()
    })
}

fn build(lines: &[&str]) -> Result<Package, Vec<Diagnostic>> {
    let mut builder = Builder::new();
    let mut statements = builder.statements(lines);
    if statements.is_empty() && builder.problems.is_empty() {
        let nothing = Span { line: 1, column: 1, length: 0 }.error("the text has no directive");
        return Err(vec![nothing.hint("a package needs a `.list` or a `.step`; isa-spec/package.md has an example")]);
    }
    statements.sort_by_key(|statement| statement.phase); // stable: within a phase the order of the text
    for statement in statements {
        let handler = statement.handler;
        let done = handler(&mut builder, statement);
        builder.note(done);
    }
    builder.finish()
}

type Handler = fn(&mut Builder, Statement) -> Parsed<()>;

/// Every directive, and when it is looked at: after what it may refer to.
const DIRECTIVES: [(&str, u8, Handler); 19] = [
    (".package", 0, Builder::package),
    (".exact", 0, Builder::exact),
    (".target", 0, Builder::target),
    (".budget", 0, Builder::budget),
    (".provenance", 0, Builder::provenance),
    (".region", 1, Builder::region),
    (".constant", 1, Builder::constant),
    (".tensor", 2, Builder::tensor),
    (LIST, 2, Builder::list),
    (END_OF_LIST, 2, Builder::stray_end),
    (".token", 3, Builder::token),
    (".input", 3, Builder::input),
    (".output", 3, Builder::output),
    (".step", 3, Builder::step),
    (".layer", 3, Builder::layer),
    (".tiles", 3, Builder::tiles),
    (".lowered", 3, Builder::lowered),
    (".traced", 4, Builder::traced),
    (".tile", 5, Builder::tile),
];

/// When data directives are looked at: with the `.constant` before them.
const DATA_PHASE: u8 = 1;

/// A line with a directive.
pub(super) struct Statement {
    pub(super) directive: String,
    pub(super) phase: u8,
    pub(super) handler: Handler,
    pub(super) arguments: Arguments,
    /// The numbered lines between `.list` and `.endlist`.
    pub(super) body: Vec<(usize, String)>,
}

pub(super) struct Builder {
    pub(super) package: Package,
    pub(super) problems: Vec<Diagnostic>,
    /// Whether nothing is to be filled in.
    pub(super) exact: bool,
    /// The constant region that data go to, and the data so far of each.
    pub(super) open: Option<RegionId>,
    pub(super) data: BTreeMap<RegionId, Vec<u8>>,
    /// Regions whose size follows from their tensors, and where the last tensor of each ends.
    pub(super) unsized_regions: BTreeSet<RegionId>,
    pub(super) ends: BTreeMap<RegionId, u64>,
    /// Numbers of regions, lists, tensors and traced tensors by name.
    pub(super) regions: HashMap<String, RegionId>,
    pub(super) lists: HashMap<String, ListId>,
    pub(super) tensors: HashMap<String, TensorId>,
    pub(super) traced: HashMap<String, TracedId>,
    /// Aliases among the traced tensors, and the names of what they are of.
    pub(super) aliases: Vec<(usize, Argument)>,
    /// Places of the items that problems may be about.
    pub(super) places: BTreeMap<(&'static str, usize), Span>,
}

impl Builder {
    fn new() -> Self {
        Self {
            package: Package { budget: DEFAULT_BUDGET, ..Package::new(DEFAULT_TARGET) },
            problems: Vec::new(),
            exact: false,
            open: None,
            data: BTreeMap::new(),
            unsized_regions: BTreeSet::new(),
            ends: BTreeMap::new(),
            regions: HashMap::new(),
            lists: HashMap::new(),
            tensors: HashMap::new(),
            traced: HashMap::new(),
            aliases: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Keeps what is wrong for the end; there may be more.
    pub(super) fn note<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        parsed.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// All directives of the text, each list with its lines.
    fn statements(&mut self, lines: &[&str]) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut rest = (1..).zip(lines.iter().copied());
        while let Some((number, line)) = rest.next() {
            let parsed = scan(number, line).and_then(|found| found.map(statement).transpose());
            if let Some(Some(mut statement)) = self.note(parsed) {
                if statement.directive == LIST {
                    let body = self.body(&mut rest, statement.arguments.span);
                    statement.body = body;
                }
                statements.push(statement);
            }
            if self.problems.len() >= MAX_DIAGNOSTICS {
                break;
            }
        }
        statements
    }

    /// The lines up to the next `.endlist`, which is taken too.
    fn body<'l>(&mut self, lines: &mut impl Iterator<Item = (usize, &'l str)>, list: Span) -> Vec<(usize, String)> {
        let mut body = Vec::new();
        for (number, line) in lines {
            if line.split([' ', '\t', ';']).find(|word| !word.is_empty()) == Some(END_OF_LIST) {
                return body;
            }
            body.push((number, line.to_owned()));
        }
        self.problems.push(list.error("the list has no end").hint("end it with a line `.endlist`"));
        body
    }

    pub(super) fn place(&mut self, kind: &'static str, index: usize, span: Span) {
        self.places.insert((kind, index), span);
    }

    fn finish(mut self) -> Result<Package, Vec<Diagnostic>> {
        self.set_aliases();
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        self.set_sizes();
        self.set_constants();
        if !self.exact {
            self.fill_in();
        }
        let cores = |name: &str| cnnip_isa::Target::by_name(name).map(|target| target.cores);
        let mut problems = self.package.check();
        if !self.exact {
            problems.extend(self.package.check_target(cores));
        }
        if problems.is_empty() {
            Ok(self.package)
        } else {
            Err(problems.iter().map(|problem| self.locate(problem)).collect())
        }
    }

    fn set_sizes(&mut self) {
        for &id in &self.unsized_regions {
            self.package.regions[usize::from(id.0)].bytes = self.ends.get(&id).copied().unwrap_or(0);
        }
    }

    /// Aliases may stand before what they are of.
    fn set_aliases(&mut self) {
        for (index, name) in std::mem::take(&mut self.aliases) {
            let of = find("traced tensor", &self.traced, name);
            let of = self.note(of);
            let traced = self.package.tile_map.as_mut().and_then(|map| map.tensors.get_mut(index));
            if let (Some(of), Some(traced)) = (of, traced) {
                traced.source = TraceSource::Alias(of);
            }
        }
    }

    fn set_constants(&mut self) {
        for (&id, bytes) in &self.data {
            self.package.regions[usize::from(id.0)].bytes = wide(bytes.len());
            self.package.constants.insert(id, bytes.as_slice());
        }
    }

    /// What follows from the rest: one step with every list, and the tensors of input and output regions as the interface.
    fn fill_in(&mut self) {
        let package = &mut self.package;
        if package.program.is_empty() && !package.lists.is_empty() {
            let lists = (0..).map(ListId).take(package.lists.len()).collect();
            package.program.push(Step::Device { lists });
        }
        if package.inputs.is_empty() {
            let inputs = in_regions(package, RegionKind::Input).into_iter();
            package.inputs = inputs.map(|tensor| Input { tensor, preprocess: None }).collect();
        }
        if package.outputs.is_empty() {
            package.outputs = in_regions(package, RegionKind::Output);
        }
    }

    fn locate(&self, problem: &Problem) -> Diagnostic {
        let span = self.places.get(&(problem.item.kind, problem.item.index)).copied().unwrap_or_default();
        span.error(problem.to_string()).hint(problem.defect.hint())
    }
}

/// A line's directive, with what handles it.
fn statement((directive, arguments): (String, Arguments)) -> Parsed<Statement> {
    let known = DIRECTIVES.iter().find(|(name, ..)| *name == directive).map(|&(_, phase, handler)| (phase, handler));
    let is_data = data::DIRECTIVES.contains(&directive.as_str());
    let data = || is_data.then_some((DATA_PHASE, Builder::data as Handler));
    let Some((phase, handler)) = known.or_else(data) else {
        let names = DIRECTIVES.iter().map(|&(name, ..)| name).chain(data::DIRECTIVES);
        let hint = format!("there are {}", names.collect::<Vec<_>>().join(" "));
        return Err(arguments.span.error(format!("unknown directive `{directive}`")).hint(hint));
    };
    Ok(Statement { directive, phase, handler, arguments, body: Vec::new() })
}

fn in_regions(package: &Package, kind: RegionKind) -> Vec<TensorId> {
    let is_there = |tensor: &Tensor| package.region(tensor.place.region).is_some_and(|region| region.kind == kind);
    (0..).map(TensorId).zip(&package.tensors).filter(|(_, tensor)| is_there(tensor)).map(|(id, _)| id).collect()
}
