//! Sums of two maps that come again and again: what is found about them once is kept.
//!
//! The three roundings of a sum can mostly be one ([`Linear8`]), which takes a quarter of the time. To find that out all 65,536
//! arguments are tried, which takes as long as a sum of a large map; so it is not done for a sum that comes only once.

use cnnip_kernels::{Element8, Eltwise8, Kernels, Linear8, Map, Output8, Stage};
use cnnip_numerics::eltwise::Function;

/// Sums that were seen.
#[derive(Debug, Default)]
pub(super) struct Sums {
    seen: Vec<(Arithmetic, Known)>,
}

/// All of an operation but its maps.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arithmetic {
    function: Function,
    pre_shift: u32,
    /// Type, zero point and stage of both inputs.
    inputs: [(Element8, i32, Stage); 2],
    multiplier: u32,
    shift: i32,
    output: Output8,
}

impl Arithmetic {
    fn of(op: &Eltwise8<'_>, output: Output8) -> Self {
        let Eltwise8 { function, pre_shift, a, a_stage, b, b_stage, multiplier, shift } = *op;
        let inputs = [(a.element, a.zero, a_stage), (b.element, b.zero, b_stage)];
        Self { function, pre_shift, inputs, multiplier, shift, output }
    }
}

/// What is known about a sum.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// That there was one.
    Once,
    /// Its linear form, if it has one.
    Form(Option<Linear8>),
}

/// Sums that are kept at most; networks have some dozens.
const MOST: usize = 512;

/// Elements from which a form is worth looking for.
const LEAST: usize = 4096;

impl Sums {
    /// Computes `op` as a linear form, if its maps lie without gaps, it has one, and it came before; else `None`, and nothing is written.
    pub(super) fn run(
        &mut self,
        kernels: Kernels,
        op: &Eltwise8<'_>,
        out: &mut [u8],
        (map, output): (Map, Output8),
    ) -> Option<()> {
        let elements = map.h * map.w * map.c;
        let has_no_gaps = |of: &Map| (of.w == 1 || of.pix == of.c) && (of.h == 1 || of.row == of.w * of.c);
        let are_alike = [op.a.map, op.b.map].iter().all(|of| (of.h, of.w, of.c) == (map.h, map.w, map.c));
        if elements < LEAST || !are_alike || ![map, op.a.map, op.b.map].iter().all(has_no_gaps) {
            return None;
        }
        let linear = self.form(kernels, op, output)?;
        let (a, b) = (op.a.bytes.get(..elements)?, op.b.bytes.get(..elements)?);
        kernels.sum8(&linear, a, b, out.get_mut(..elements)?).ok()
    }

    fn form(&mut self, kernels: Kernels, op: &Eltwise8<'_>, output: Output8) -> Option<Linear8> {
        let arithmetic = Arithmetic::of(op, output);
        let Some((_, known)) = self.seen.iter_mut().find(|(of, _)| *of == arithmetic) else {
            if self.seen.len() < MOST {
                self.seen.push((arithmetic, Known::Once));
            }
            return None;
        };
        if let Known::Once = known {
            *known = Known::Form(kernels.linear8(op, output));
        }
        match *known {
            Known::Form(form) => form,
            Known::Once => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use cnnip_kernels::{Backend, Source8};
    use cnnip_numerics::RoundingMode;

    use super::*;

    fn stage(multiplier: u32) -> Stage {
        Stage { mode: RoundingMode::Double, multiplier, shift: -1 }
    }

    fn sum<'a>(a: &'a [u8], b: &'a [u8], map: Map) -> Eltwise8<'a> {
        let source = |bytes, zero| Source8 { bytes, map, element: Element8::Int8, zero };
        let (a, b) = (source(a, -3), source(b, 5));
        let (a_stage, b_stage) = (stage(1_073_741_824), stage(1_900_000_001));
        Eltwise8 {
            function: Function::Add,
            pre_shift: 20,
            a,
            a_stage,
            b,
            b_stage,
            multiplier: 1_234_567_890,
            shift: -18,
        }
    }

    /// Whatever is kept, the result is that of the stages: also of another sum, and of maps with gaps.
    #[test]
    fn what_is_kept_changes_no_result() {
        let bytes = |factor: usize| (0..9000_usize).map(|i| (i * factor).to_le_bytes()[1]).collect::<Vec<_>>();
        let (a, b) = (bytes(259), bytes(77));
        let output = Output8 { zero: -7, min: -128, max: 120, mode: RoundingMode::Double };
        let dense = Map::dense(4, 32, 64);
        let gaps = Map { pix: 70, row: 32 * 70, ..dense };
        for kernels in Backend::ALL.into_iter().filter_map(Kernels::new) {
            let mut sums = Sums::default();
            let mut times = 0;
            for map in [dense, gaps, dense, dense, dense] {
                for zero in [output.zero, 9] {
                    let (op, output) = (sum(&a, &b, map), Output8 { zero, ..output });
                    let (mut want, mut found) = (vec![1; 9000], vec![1; 9000]);
                    kernels.eltwise8(&op, &mut want, map, output).unwrap();
                    if sums.run(kernels, &op, &mut found, (map, output)).is_some() {
                        times += 1;
                        assert_eq!(found, want, "{:?}", kernels.backend());
                    } else {
                        assert!(found.iter().all(|&byte| byte == 1), "nothing is written");
                    }
                }
            }
            let has_form = |&zero: &i32| kernels.linear8(&sum(&a, &b, dense), Output8 { zero, ..output }).is_some();
            let forms = [output.zero, 9].iter().filter(|zero| has_form(zero)).count();
            assert_eq!(times, 3 * forms, "{:?}", kernels.backend());
        }
    }
}
