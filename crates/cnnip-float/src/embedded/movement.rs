//! Operators that only move elements: copies of runs.

use cnnip_kernels::Declined;
use cnnip_kernels::float::Finish;

use super::layer::{At, Call, Layer};
use crate::reference::{Origin, origins};
use crate::{FloatError, Grid};

/// Neighbouring elements of the output that are neighbours in an input, or all one number.
#[derive(Clone, Copy)]
enum Run {
    Copy { input: usize, first: usize, len: usize },
    Fill { value: f32, len: usize },
}

struct Copies {
    runs: Vec<Run>,
    finish: Finish,
}

impl Layer for Copies {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let mut rest = &mut call.output[..];
        for &run in &self.runs {
            let len = match run {
                Run::Copy { len, .. } | Run::Fill { len, .. } => len,
            };
            let (place, behind) = rest.split_at_mut(len);
            match run {
                Run::Copy { input, first, len } => place.copy_from_slice(&call.inputs.get(input)?[first..][..len]),
                Run::Fill { value, .. } => place.fill(value),
            }
            rest = behind;
        }
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

/// One run per input and step of the axes in front.
pub(super) fn concat(at: At<'_>, axis: usize) -> Result<Box<dyn Layer>, FloatError> {
    let outer: usize = at.output().shape.dims().iter().take(axis).product();
    let lens = at.node.inputs.iter().map(|&id| at.graph[id].shape.elements() / outer.max(1));
    let lens: Vec<usize> = lens.collect();
    let runs = (0..outer)
        .flat_map(|step| lens.iter().enumerate().map(move |(input, &len)| Run::Copy { input, first: step * len, len }));
    Ok(Box::new(Copies { runs: runs.collect(), finish: at.finish_elements(Finish::NONE)? }))
}

/// The runs of any other movement, found from where the reference takes each element.
pub(super) fn moved(at: At<'_>) -> Result<Box<dyn Layer>, FloatError> {
    let origins = origins(at.graph, at.node).ok_or_else(|| at.malformed())?;
    let mut runs: Vec<Run> = vec![];
    for origin in origins {
        match (runs.last_mut(), origin) {
            (Some(Run::Copy { input, first, len }), Origin::Element { input: other, index })
                if *input == other && *first + *len == index =>
            {
                *len += 1;
            }
            (Some(Run::Fill { len, .. }), Origin::Fill(_)) => *len += 1, // a node fills with one value only
            (_, Origin::Element { input, index }) => runs.push(Run::Copy { input, first: index, len: 1 }),
            (_, Origin::Fill(value)) => {
                let grid = at.tensor(0).and_then(Grid::of);
                runs.push(Run::Fill { value: crate::reference::filled(value, grid.as_ref()), len: 1 });
            }
        }
    }
    Ok(Box::new(Copies { runs, finish: at.finish_elements(Finish::NONE)? }))
}
