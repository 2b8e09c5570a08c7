//! Bilinear resize.

use cnnip_graph::ResizeBilinear;
use cnnip_kernels::Declined;
use cnnip_kernels::float::Finish;

use super::layer::{At, Call, Layer};
use crate::FloatError;
use crate::elements::nearest;
use crate::reference::{Between, between};

struct Bilinear {
    rows: Vec<Between>,
    columns: Vec<Between>,
    /// Images, rows, columns, channels.
    input: [usize; 4],
    finish: Finish,
}

impl Layer for Bilinear {
    fn run(&self, call: Call<'_>) -> Result<(), Declined> {
        let [images, h, w, c] = self.input;
        let x = call.inputs.get(0)?;
        let positions =
            (0..images).flat_map(|n| self.rows.iter().flat_map(move |y| self.columns.iter().map(move |x| (n, y, x))));
        for ((n, rows, columns), output) in positions.zip(call.output.chunks_exact_mut(c)) {
            let pixel = |row: usize, column: usize| &x[((n * h + row) * w + column) * c..][..c];
            let (right, below) = (nearest(columns.share), nearest(rows.share));
            let above = pixel(rows.first, columns.first).iter().zip(pixel(rows.first, columns.second));
            let under = pixel(rows.second, columns.first).iter().zip(pixel(rows.second, columns.second));
            for (output, ((&a, &b), (&c, &d))) in output.iter_mut().zip(above.zip(under)) {
                let (first, second) = (a + (b - a) * right, c + (d - c) * right);
                *output = first + (second - first) * below;
            }
        }
        call.kernels.finish_f32(call.output, &self.finish);
        Ok(())
    }
}

pub(super) fn bilinear(at: At<'_>, op: &ResizeBilinear) -> Result<Box<dyn Layer>, FloatError> {
    let input = at.tensor(0).and_then(|x| x.shape.nhwc()).ok_or_else(|| at.malformed())?;
    let along =
        |samples: usize, positions: usize| (0..positions).map(move |at| between(op.grid, at, samples, positions));
    let (rows, columns) = (along(input[1], op.output.h).collect(), along(input[2], op.output.w).collect());
    Ok(Box::new(Bilinear { rows, columns, input, finish: at.finish(Finish::NONE)? }))
}
