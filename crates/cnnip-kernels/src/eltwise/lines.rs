//! Element-wise functions over vectors.

use super::{Plan, Stage};
use crate::channel::{BLOCK, Channel16};
use crate::simd::{AnyScaler, Clamp, Double, Finish, Planes, Scaler, Simd, Task, load_bytes, store_bytes};
use crate::{Element8, Map, Source8};
use cnnip_numerics::eltwise::Function;

/// A checked operation and where it goes.
pub(super) struct Job<'j, 'a> {
    pub(super) plan: &'j Plan<'a>,
    pub(super) out: &'j mut [u8],
}

impl Task for Job<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, out } = self;
        let last = Stage { mode: plan.output.mode, multiplier: plan.op.multiplier, shift: plan.op.shift };
        let finish = Finish::new(&plan.output);
        let steps = Steps {
            function: plan.op.function,
            a: Side::new(s, &plan.op.a, plan.op.a_stage, plan.op.pre_shift),
            b: Side::new(s, &plan.op.b, plan.op.b_stage, plan.op.pre_shift),
            last: finish.scaler(s, &Channel16::splat(&last.record(), last.mode)),
            clamp: finish.clamp(s),
        };
        let (map, [a, b]) = plan.lines();
        let in_tables = S::LOOKS_UP && map.h * map.w * map.c >= WORTH_TABLES && plan.op.function != Function::Pass;
        let tables = in_tables.then(|| [&steps.a, &steps.b].map(|side| side.table(s)));
        for y in 0..map.h {
            for x in 0..map.w {
                let mut line = &mut out[map.at(y, x)..][..map.c];
                let (mut a, mut b) = (Line::new(&plan.op.a, a, y, x), Line::new(&plan.op.b, b, y, x));
                if let (Some(tables), Line::Each(left), Line::Each(right)) = (&tables, a, b) {
                    let done = steps.look_up(s, tables, [left, right], line, &finish);
                    (a, b, line) = (Line::Each(&left[done..]), Line::Each(&right[done..]), &mut line[done..]);
                }
                steps.line(s, a, b, line);
            }
        }
    }
}

/// Elements from which tables of what becomes of the inputs are worth making.
const WORTH_TABLES: usize = 4096;

impl Plan<'_> {
    /// The maps as lines of adjacent elements, as long as the strides of all operands allow: output, first, second input.
    fn lines(&self) -> (Map, [Map; 2]) {
        let a = self.op.a.map;
        let b = if self.op.function == Function::Pass { a } else { self.op.b.map };
        let dense = |map: &Map| map.c == self.map.c && (map.pix == map.c || map.w == 1);
        if ![self.map, a, b].iter().all(dense) {
            return (self.map, [a, b]);
        }
        let whole = [self.map, a, b].iter().all(|map| map.h == 1 || map.row == map.w * map.c);
        let line = |map: Map| {
            let (h, c) = if whole { (1, map.h * map.w * map.c) } else { (map.h, map.w * map.c) };
            Map { h, w: 1, c, row: map.row, pix: c }
        };
        (line(self.map), [line(a), line(b)])
    }
}

/// One input's part of a line.
#[derive(Clone, Copy)]
enum Line<'a> {
    /// An element for every element of the line.
    Each(&'a [u8]),
    /// One element for all.
    Same(u8),
}

impl<'a> Line<'a> {
    #[inline(always)]
    fn new(source: &Source8<'a>, map: Map, y: usize, x: usize) -> Self {
        // Function `Pass` has a second input that may not reach this far; nobody looks at it.
        let rest = source.bytes.get(map.at(y, x)..).unwrap_or_default();
        match rest.get(..map.c) {
            Some(&[one]) => Self::Same(one),
            Some(line) => Self::Each(line),
            None => Self::Same(0),
        }
    }

    #[inline(always)]
    fn at(self, at: usize) -> [u8; BLOCK] {
        match self {
            Self::Each(line) => load_bytes(&line[at..]),
            Self::Same(one) => [one; BLOCK],
        }
    }
}

/// What happens to one input.
struct Side<S: Simd> {
    element: Element8,
    zero: i32,
    pre_shift: u32,
    scaler: AnyScaler<S>,
}

/// Beyond everything that bounds allow.
const FLOAT_LIMITS: [f32; 2] = [-1_073_741_824.0, 1_073_741_824.0];

impl<S: Simd> Side<S> {
    #[inline(always)]
    fn new(s: S, source: &Source8<'_>, stage: Stage, pre_shift: u32) -> Self {
        let channel = Channel16::splat(&stage.record(), stage.mode);
        let scaler = AnyScaler::new(s, stage.mode, &channel, 0.0, FLOAT_LIMITS);
        Self { element: source.element, zero: source.zero, pre_shift, scaler }
    }

    #[inline(always)]
    fn apply(&self, s: S, bytes: &[u8; BLOCK]) -> S::Vector {
        let value = match self.element {
            Element8::Int8 => s.widen_int8(bytes),
            Element8::Uint8 => s.widen_uint8(bytes),
        };
        let difference = s.sub(value, s.splat(self.zero));
        self.scaler.scale(s, s.shift_left(difference, self.pre_shift))
    }
}

impl<S: Simd> Side<S> {
    /// What becomes of every input.
    #[inline(always)]
    fn table(&self, s: S) -> Planes {
        Planes::new(|bytes| {
            let mut lanes = [0; BLOCK];
            s.store(self.apply(s, bytes), &mut lanes);
            lanes
        })
    }
}

/// All stages.
struct Steps<S: Simd> {
    function: Function,
    a: Side<S>,
    b: Side<S>,
    last: AnyScaler<S>,
    clamp: Clamp<S>,
}

impl<S: Simd> Side<S> {
    /// As [`apply`](Self::apply), of int8 in mode `Double`.
    #[inline(always)]
    fn apply_double(&self, s: S, scaler: &Double<S>, bytes: &[u8; BLOCK]) -> S::Vector {
        let difference = s.sub(s.widen_int8(bytes), s.splat(self.zero));
        scaler.scale(s, s.shift_left(difference, self.pre_shift))
    }
}

impl<S: Simd> Steps<S> {
    /// One line. Sums in mode `Double`, which networks have most, get a loop that decides nothing per vector.
    #[inline(always)]
    fn line(&self, s: S, a: Line<'_>, b: Line<'_>, out: &mut [u8]) {
        let int8 = [self.a.element, self.b.element] == [Element8::Int8; 2];
        match (&self.a.scaler, &self.b.scaler, &self.last) {
            (AnyScaler::Double(x), AnyScaler::Double(y), AnyScaler::Double(last))
                if int8 && self.function == Function::Add =>
            {
                self.each(s, out, |at| {
                    let [a, b] = [self.a.apply_double(s, x, &a.at(at)), self.b.apply_double(s, y, &b.at(at))];
                    last.scale(s, s.add(a, b))
                });
            }
            _ => self.each(s, out, |at| {
                let a = self.a.apply(s, &a.at(at));
                let value =
                    if self.function == Function::Pass { a } else { self.combine(s, a, self.b.apply(s, &b.at(at))) };
                self.last.scale(s, value)
            }),
        }
    }

    /// Does the whole blocks of a line by tables of the inputs' stages; gives the elements that are done.
    #[inline(always)]
    fn look_up(&self, s: S, tables: &[Planes; 2], lines: [&[u8]; 2], out: &mut [u8], finish: &Finish) -> usize {
        match &self.last {
            AnyScaler::Double(last) => self.look_up_blocks(s, tables, lines, out, (last, finish)),
            last => self.look_up_blocks(s, tables, lines, out, (last, finish)),
        }
    }

    #[inline(always)]
    fn look_up_blocks(
        &self,
        s: S,
        tables: &[Planes; 2],
        lines: [&[u8]; 2],
        out: &mut [u8],
        (last, finish): (&impl Scaler<S>, &Finish),
    ) -> usize {
        let out = out.as_chunks_mut().0;
        let [a, b] = [lines[0].as_chunks().0, lines[1].as_chunks().0];
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            let [a, b] = [s.look_up(&tables[0], a), s.look_up(&tables[1], b)];
            let mut scaled = a;
            for (scaled, b) in scaled.iter_mut().zip(b) {
                *scaled = last.scale(s, self.combine(s, *scaled, b));
            }
            *out = s.narrow(scaled, finish);
        }
        out.as_flattened().len()
    }

    /// Fills a line with what `scaled` gives for the elements from an offset on.
    #[inline(always)]
    fn each(&self, s: S, out: &mut [u8], scaled: impl Fn(usize) -> S::Vector) {
        for (index, out) in out.chunks_mut(BLOCK).enumerate() {
            store_bytes(out, &self.clamp.bytes(s, scaled(index * BLOCK)));
        }
    }

    #[inline(always)]
    fn combine(&self, s: S, a: S::Vector, b: S::Vector) -> S::Vector {
        match self.function {
            Function::Add => s.add(a, b),
            Function::Sub => s.sub(a, b),
            Function::Mul => s.mul(a, b),
            Function::Min => s.min(a, b),
            Function::Max => s.max(a, b),
            Function::Pass => a,
        }
    }
}
