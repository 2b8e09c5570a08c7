//! Families of vectors made from a seed; the slow machine says how they end.

use std::collections::BTreeMap;

use cnnip_core::{Checks, EngineId, FaultCause, Options, Region, RegionKind, Slot, Stop, Waiting};
use cnnip_isa::operation::{Location, Operation, Space};
use cnnip_isa::{EngineKind, FaultCode, Target, disassemble};
use cnnip_testkit::generate::{
    ListOptions, Lists, Scene, Zone, cnn_operation, corrupt, dma_operation, lists, single, sparse_conv, stream,
};
use cnnip_testkit::{Event, Rng, Trace, oracle};

use crate::slow::{self, Ending};
use crate::vector::{Bound, End, Stopped, Vector};

/// Tries to make one vector before a family counts as impossible.
const TRIES: u64 = 20_000;

/// What a family's line says.
struct Line<'a> {
    kind: &'a str,
    count: usize,
    seed: u64,
    words: BTreeMap<&'a str, &'a str>,
    /// Texts that the disassembled list must have.
    texts: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// `KIND COUNT seed SEED [target NAME] [engine dma|cnn] [has "TEXT"] ...`.
    fn read(text: &'a str) -> Self {
        let mut quoted = text.split('"');
        let plain = quoted.next().unwrap_or_default();
        let texts = quoted.step_by(2).collect();
        let words: Vec<&str> = plain.split_whitespace().collect();
        let [kind, count, rest @ ..] = &words[..] else { panic!("family KIND COUNT: `{text}`") };
        let words: BTreeMap<&str, &str> = rest.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let seed = words.get("seed").map_or(0, |seed| seed.parse().expect("a seed"));
        Self { kind, count: count.parse().expect("a count"), seed, words, texts }
    }

    fn target(&self, rng: &mut Rng) -> &'static Target {
        let name = self.words.get("target").copied().unwrap_or_else(|| rng.pick(&["v3m", "v3m", "v3h", "v4h"]));
        Target::by_name(name).expect("a target")
    }

    fn has_texts(&self, vector: &Vector) -> bool {
        self.texts.is_empty() || {
            let text: Vec<String> =
                vector.lists.iter().map(|(engine, words)| disassemble(words, engine.slot.kind())).collect();
            self.texts.iter().all(|wanted| text.iter().any(|text| text.contains(wanted)))
        }
    }
}

/// The vectors of a family.
pub(crate) fn family(name: &str, text: &str) -> Vec<Vector> {
    let line = Line::read(text);
    let made = (0..TRIES).filter_map(|number| {
        let seed = line.seed * 1_000_000 + number;
        let vector = make(&line, &mut Rng::new(seed))?;
        Some(Vector { name: format!("{name}, seed {seed}"), ..vector })
    });
    let vectors: Vec<Vector> = made.take(line.count).collect();
    assert_eq!(vectors.len(), line.count, "{name}");
    vectors
}

fn make(line: &Line<'_>, rng: &mut Rng) -> Option<Vector> {
    match line.kind {
        "operation" => ends(line, operation(line, rng, false).0, false, None),
        "decode" => ends(line, on_memory(line, rng, false, decode).0, false, None),
        "sparse" => ends(line, on_memory(line, rng, false, sparse).0, false, None),
        "stopped-decode" => ends(line, stopped(on_memory(line, rng, false, decode), rng), false, None),
        "stopped-sparse" => ends(line, stopped(on_memory(line, rng, false, sparse), rng), false, None),
        "broken-decode" => ends(line, broken(line, rng, decode), true, None),
        "broken-sparse" => ends(line, broken(line, rng, sparse), true, None),
        "stopped" => ends(line, stopped(operation(line, rng, false), rng), false, None),
        "overflow" => ends(line, operation(line, rng, true).0, true, Some(FaultCode::AccumulatorOverflow)),
        "short-of-cycles" => ends(line, short_of_cycles(line, rng)?, true, Some(FaultCode::Budget)),
        "lists" => ends(line, of_lists(&random_lists(line, rng)), false, None),
        "without-signal" | "without-wait" => without(line, rng),
        "corrupted" => {
            let mut lists = random_lists(line, rng);
            corrupt(&mut lists, rng);
            let mut vector = of_lists(&lists);
            (vector.max_commands, vector.max_cycles) = (2_000, 20_000);
            ends(line, vector, true, None)
        }
        kind => panic!("no family {kind}"),
    }
}

/// The vector, if it has the family's texts and the slow machine ends it as the family wants.
fn ends(line: &Line<'_>, mut vector: Vector, fault: bool, code: Option<FaultCode>) -> Option<Vector> {
    if !line.has_texts(&vector) {
        return None;
    }
    let fits = match vector.slow_ending() {
        Ending::Done => !fault,
        Ending::Fault(failure) => fault && code.is_none_or(|code| code == failure.code),
    };
    vector.end = End::AsSlow { fault };
    fits.then_some(vector)
}

const REGION_BYTES: u32 = 4096;

/// What must stand where in memory.
type Contents = Vec<(Location, Vec<u8>)>;

/// One random operation on random memory.
fn operation(line: &Line<'_>, rng: &mut Rng, overflows: bool) -> (Vector, Operation) {
    let dma = line.words.get("engine").is_some_and(|engine| *engine == "dma");
    let make = if dma { dma_operation } else { cnn_operation };
    on_memory(line, rng, overflows, |scene| (make(scene), Vec::new()))
}

/// A weight stream that decodes.
fn decode(scene: &mut Scene<'_>) -> (Operation, Contents) {
    let stream = stream(scene);
    let place = |address| Location { address, ..stream.decode.stream };
    let contents = stream.contents.into_iter().map(|(address, bytes)| (place(address), bytes));
    (Operation::Decode(stream.decode), contents.collect())
}

/// A convolution whose bitmap has what its registers say.
fn sparse(scene: &mut Scene<'_>) -> (Operation, Contents) {
    let (conv, bitmap) = sparse_conv(scene);
    let place = conv.weights.sparse.map_or(0, |sparse| sparse.bitmap);
    (Operation::Conv(conv), vec![(Location::sram(place), bitmap)])
}

/// The same with one bit of what stands in memory changed.
fn broken(line: &Line<'_>, rng: &mut Rng, make: fn(&mut Scene<'_>) -> (Operation, Contents)) -> Vector {
    let bits = rng.word();
    let changed = |scene: &mut Scene<'_>| {
        let (operation, mut contents) = make(scene);
        let full: Vec<usize> = (0..contents.len()).filter(|&part| !contents[part].1.is_empty()).collect();
        let part = full[usize::try_from(bits >> 16).expect("16 bits") % full.len()];
        let bytes = &mut contents[part].1;
        let at = usize::try_from(bits >> 3 & 0x1fff).expect("13 bits") % bytes.len();
        bytes[at] ^= 1 << (bits & 7);
        (operation, contents)
    };
    on_memory(line, rng, false, changed).0
}

/// One operation on random memory, in which its contents stand.
fn on_memory(
    line: &Line<'_>,
    rng: &mut Rng,
    overflows: bool,
    make: impl FnOnce(&mut Scene<'_>) -> (Operation, Contents),
) -> (Vector, Operation) {
    let target = line.target(rng);
    let zone = Zone { base: 64 * rng.within(0..=100), data: 16 * 1024 };
    let mut image = zone.image(rng, overflows);
    let bytes = usize::try_from(REGION_BYTES).expect("a small number");
    let mut regions: Vec<Vec<u8>> = (0..4).map(|_| rng.bytes(bytes)).collect();
    let mut scene = Scene { rng, target, zone, region_bytes: REGION_BYTES, max_side: 8, overflows };
    let (operation, contents) = make(&mut scene);
    for (place, bytes) in contents {
        let (memory, base) = match place.space {
            Space::Sram => (&mut image, zone.base),
            Space::Dram(region) => (&mut regions[usize::from(region)], 0),
        };
        let start = usize::try_from(place.address - base).expect("a small number");
        memory[start..start + bytes.len()].copy_from_slice(&bytes);
    }
    let slot = if operation.code().engine() == EngineKind::Cnn { Slot::Cnn } else { Slot::Dma1 };
    let mut vector = Vector::new(String::new(), target);
    vector.sram.push((0, zone.base, image));
    let kinds = [RegionKind::Input, RegionKind::Input, RegionKind::Scratch, RegionKind::Output];
    let bound = |(kind, bytes)| Bound { region: Region::Buffer { kind, bytes }, written: true };
    vector.regions = kinds.into_iter().zip(regions).map(bound).collect();
    vector.lists.push((EngineId { core: 0, slot }, single(&operation).0));
    // An operation that cannot end within the vector's budget would only cost time.
    vector.max_cycles = oracle::cycles(&operation, target) + 1_000;
    (vector, operation)
}

/// The operation with what must stand in a random cycle of it.
fn stopped((mut vector, operation): (Vector, Operation), rng: &mut Rng) -> Vector {
    let (engine, words) = &vector.lists[0];
    let start = u64::try_from(words.len()).expect("a short list") - 2;
    let length = oracle::cycles(&operation, vector.target);
    let after = rng.wide(0..=i64::try_from(length).expect("a short operation")).unsigned_abs();
    let before = slow::memory(&vector);
    let want = oracle::after(&operation, vector.target, &before, after);
    vector.stopped = Some(Stopped { engine: *engine, cycle: start + after, want });
    vector
}

/// An operation with a budget that ends before it.
fn short_of_cycles(line: &Line<'_>, rng: &mut Rng) -> Option<Vector> {
    let (mut vector, _) = operation(line, rng, false);
    let words = vector.lists.first()?.1.len();
    let start = u64::try_from(words).ok()? - 2;
    let length = vector.max_cycles - 1_000;
    vector.max_cycles = start + rng.wide(0..=i64::try_from(length).ok()? - 1).unsigned_abs();
    Some(vector)
}

fn random_lists(line: &Line<'_>, rng: &mut Rng) -> Lists {
    let target = line.target(rng);
    let tasks = rng.within(4..=16);
    let cold = line.words.contains_key("cold");
    lists(&ListOptions { target, tasks, overflows: false, cold }, rng)
}

fn of_lists(lists: &Lists) -> Vector {
    let mut vector = Vector::new(String::new(), lists.target);
    vector.tokens.clone_from(&lists.owners);
    vector.lists.clone_from(&lists.lists);
    let warm = !lists.images.1.is_empty();
    let scratch = |region: &Region| matches!(region, Region::Buffer { kind: RegionKind::Scratch, .. });
    let bound = |region: &Region| Bound { region: region.clone(), written: warm && scratch(region) };
    vector.regions = lists.regions.iter().map(bound).collect();
    vector.sram = (0..).zip(&lists.images.1).map(|(core, image)| (core, lists.images.0, image.clone())).collect();
    vector
}

/// Right lists that lose one `SIGNAL` or `WAIT`, where brute force finds that this orders something.
fn without(line: &Line<'_>, rng: &mut Rng) -> Option<Vector> {
    let lists = random_lists(line, rng);
    let sync = lists.syncs.get(rng.index(lists.syncs.len()))?;
    let signal = line.kind == "without-signal";
    let lacking = lists.without(if signal { sync.signal } else { sync.wait });
    let mut vector = of_lists(&lacking);
    vector.checks.uninitialised = false;
    let checks = Checks { race: false, uninitialised: false };
    let mut trace = Trace::default();
    let stop = lacking.machine(Options { checks, ..Options::default() }).run(&mut trace);
    let Some(race) = trace.first_race() else {
        // Nothing races: a missing signal leaves its engine waiting, a missing wait was not needed.
        let named = |wait: &Waiting| (wait.token, wait.at.engine) == (sync.token, sync.wait.0);
        let deadlock = matches!(&stop, Stop::Fault(fault)
            if matches!(&fault.cause, FaultCause::Deadlock { waits } if waits.iter().any(named)));
        assert_eq!(deadlock, signal, "{stop:?} without {sync:?}");
        return if signal { ends(line, vector, true, Some(FaultCode::Deadlock)) } else { None };
    };
    let later = &trace.events[race.later];
    let Ending::Fault(failure) = vector.slow_ending() else { panic!("no fault, but {race:?}") };
    let place = (failure.code, failure.engine, failure.pc, failure.cycle);
    assert_eq!(place, (FaultCode::Race, later.engine, later.pc, later.cycle), "brute force finds {race:?}");
    let others: Vec<String> = race.earlier.iter().map(|&index| &trace.events[index]).map(other_of).collect();
    let known = |detail: &String| others.iter().any(|other| detail.ends_with(other));
    assert!(failure.details.iter().all(known), "{failure:?}, but {others:?}");
    ends(line, vector, true, Some(FaultCode::Race))
}

/// How a detail of a race ends that names this command.
fn other_of(event: &Event) -> String {
    format!(" after {} pc {}", event.engine, event.pc)
}
