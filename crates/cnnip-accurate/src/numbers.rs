//! Numbers of a layer as arithmetic and kernels take them.

use cnnip_isa::operation::{Activation, OutputStage};
use cnnip_isa::{EltwiseFunction, RoundingMode};
use cnnip_kernels::{Output8, Stage, Window};
use cnnip_lowered::Sweep;
use cnnip_numerics::eltwise::Function;
use cnnip_numerics::{IllegalParameter, Scale};

use crate::element::index;

/// The arithmetic's name for a mode of the encoding.
pub(crate) const fn mode(mode: RoundingMode) -> cnnip_numerics::RoundingMode {
    match mode {
        RoundingMode::None => cnnip_numerics::RoundingMode::None,
        RoundingMode::Double => cnnip_numerics::RoundingMode::Double,
        RoundingMode::Single => cnnip_numerics::RoundingMode::Single,
        RoundingMode::Reduced => cnnip_numerics::RoundingMode::Reduced,
        RoundingMode::Float => cnnip_numerics::RoundingMode::Float,
        RoundingMode::FloatZero => cnnip_numerics::RoundingMode::FloatZero,
    }
}

/// The arithmetic's name for a function of the encoding; there is none for `affine`.
pub(crate) const fn function(function: EltwiseFunction) -> Option<Function> {
    Some(match function {
        EltwiseFunction::Add => Function::Add,
        EltwiseFunction::Sub => Function::Sub,
        EltwiseFunction::Mul => Function::Mul,
        EltwiseFunction::Min => Function::Min,
        EltwiseFunction::Max => Function::Max,
        EltwiseFunction::Pass => Function::Pass,
        EltwiseFunction::Affine => return None,
    })
}

/// A stage with one scale for all channels.
pub(crate) fn scale(stage: &OutputStage) -> Result<Scale, IllegalParameter> {
    Scale::new(mode(stage.mode), stage.multiplier, stage.shift)
}

/// A stage as kernels take it.
pub(crate) const fn stage(stage: &OutputStage) -> Stage {
    Stage { mode: mode(stage.mode), multiplier: stage.multiplier, shift: stage.shift }
}

/// The last stage as kernels take it.
pub(crate) const fn output8(activation: &Activation, requant: RoundingMode) -> Output8 {
    Output8 { zero: activation.zero, min: activation.min, max: activation.max, mode: mode(requant) }
}

/// Two sweeps as kernels take them.
pub(crate) fn window(vertical: &Sweep, horizontal: &Sweep) -> Window {
    Window {
        kh: index(vertical.kernel),
        kw: index(horizontal.kernel),
        stride_y: index(vertical.stride),
        stride_x: index(horizontal.stride),
        dilation_y: index(vertical.dilation),
        dilation_x: index(horizontal.dilation),
        top: index(vertical.before),
        left: index(horizontal.before),
    }
}

/// Taps of output `at` that read the input, with the positions they read: as many steps as there are such taps.
pub(crate) fn taps(sweep: &Sweep, at: u32) -> impl Iterator<Item = (usize, usize)> + Clone + use<> {
    let (start, dilation) = (sweep.start(at), i64::from(sweep.dilation));
    // Taps before reach position `to`, none of a position at or below the start.
    let before = |to: i64| (to - start).max(0).div_euclid(dilation) + i64::from((to - start).max(0) % dilation != 0);
    let (first, end) = (before(0), before(sweep.input.into()).min(sweep.kernel.into()));
    (first..end).map(move |tap| (index(tap), index(start + tap * dilation)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_those_inside_the_input() {
        for (input, kernel, stride, dilation, before) in
            [(8, 3, 2, 1, 1), (5, 5, 1, 3, 7), (3, 9, 4, 2, 0), (1, 1, 1, 1, 5), (6, 4, 7, 5, 13)]
        {
            let sweep = Sweep { input, output: 6, kernel, stride, dilation, before };
            for at in 0..sweep.output {
                let positions = (0..kernel).map(|tap| (tap, sweep.start(at) + i64::from(tap) * i64::from(dilation)));
                let inside = positions.filter(|&(_, position)| (0..i64::from(input)).contains(&position));
                let want: Vec<_> = inside.map(|(tap, position)| (index(tap), index(position))).collect();
                assert_eq!(taps(&sweep, at).collect::<Vec<_>>(), want, "{sweep} at {at}");
            }
        }
    }
}
