//! `POOL_MAX` and `POOL_AVERAGE`.

use cnnip_isa::operation::{Pool, PoolKind};
use cnnip_isa::{RoundingMode, Target};

use super::memory::Write;
use super::{Memory, Place, TooWide, Work, array_blocks, array_step, scale, small};

impl Work for Pool {
    fn blocks(&self, target: &Target) -> Vec<Vec<Place>> {
        array_blocks(1, self.output.channels, self.output.height, self.output.width, target)
    }

    fn depth(&self, target: &Target) -> (u64, u64) {
        (taps(self), u64::from(target.mac_depth))
    }

    fn step_cycles(&self, target: &Target) -> u64 {
        array_step(self.input.element, target)
    }

    fn start(&self, _place: Place, _memory: &Memory) -> i128 {
        match self.kind {
            PoolKind::Max => i128::from(i64::MIN),
            PoolKind::Average { .. } => 0,
        }
    }

    fn take(&self, place: Place, index: u64, memory: &Memory, acc: i128) -> i128 {
        let Some([y, x]) = position(self, place, index) else { return acc };
        let value = memory.element(&self.input, [y, x, place[2]]);
        match self.kind {
            PoolKind::Max => acc.max(value),
            PoolKind::Average { input_zero, .. } => acc + value - i128::from(input_zero),
        }
    }

    fn retire(&self, place: Place, acc: i128, memory: &Memory) -> Result<Write, TooWide> {
        let activation = &self.activation;
        let zero = i128::from(activation.zero);
        let value = match self.kind {
            PoolKind::Max => scale::clamp(activation, acc),
            PoolKind::Average { count_pad, stage, .. } if stage.mode == RoundingMode::None => {
                let valid = (0..taps(self)).filter(|&tap| position(self, place, tap).is_some()).count();
                let valid = i128::try_from(valid).unwrap_or(i128::MAX);
                let divisor = if count_pad { i128::from(taps(self)) } else { valid };
                scale::clamp(activation, scale::halves_away(acc, divisor) + zero)
            }
            PoolKind::Average { stage, .. } => scale::finish(&stage, activation, acc, memory)?,
        };
        Ok(Write::element(&self.output, place, value))
    }
}

fn taps(pool: &Pool) -> u64 {
    u64::from(pool.window.kernel_h) * u64::from(pool.window.kernel_w)
}

/// Row and column under a tap, unless it lies in the padding.
fn position(pool: &Pool, [row, column, _]: Place, tap: u64) -> Option<[u32; 2]> {
    let w = &pool.window;
    let (ky, kx) = (small(tap) / w.kernel_w, small(tap) % w.kernel_w);
    let y = i64::from(row * w.stride_y + ky) - i64::from(w.top);
    let x = i64::from(column * w.stride_x + kx) - i64::from(w.left);
    let inside = (0..i64::from(pool.input.height)).contains(&y) && (0..i64::from(pool.input.width)).contains(&x);
    inside.then(|| [small(y.unsigned_abs()), small(x.unsigned_abs())])
}
