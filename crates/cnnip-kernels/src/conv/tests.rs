use super::*;
use crate::{Element8, Load, Map, Output8};
use cnnip_numerics::{ChannelRecord, RoundingMode};

/// 2x2 input of one channel, 2x2 kernel, padding below and right, one output channel; worked by hand.
#[test]
fn a_convolution_worked_by_hand() {
    let input = [1_u8, 2, 3, 4];
    let mut weights = vec![0; 4 * BLOCK_BYTES];
    for (tap, weight) in [1_u8, 2, 3, 255].into_iter().enumerate() {
        weights[tap * BLOCK_BYTES] = weight; // the last is -1
    }
    let records = ChannelRecord { bias: 10, multiplier: 1 << 30, shift: 0 }.to_le_bytes();
    let conv = Conv8 {
        input: Source8 { bytes: &input, map: Map::dense(2, 2, 1), element: Element8::Int8, zero: 1 },
        pad_value: 1,
        window: Window::square(2, 1, 0),
        groups: 1,
        weights: &weights,
        w_zero: 0,
        records: &records,
        use_bias: true,
    };
    // x - 1 = [[0, 1], [2, 3]]: sums 0 + 2 + 6 - 3, 1 + 9, 2 + 6, 3
    let mut acc = [0; 32];
    let target = Target8::Accumulators { bytes: &mut acc, size: [2, 2, 1], load: Load::Zero };
    Kernels::scalar().conv8(&mut Scratch::new(), &conv, target).unwrap();
    let values: Vec<_> = (0..4).map(|i| crate::accumulators::read(&acc, i)).collect();
    assert_eq!(values, [15, 20, 18, 13]);

    let mut out = [7; 6];
    let output = Output8 { zero: -3, min: -128, max: 6, mode: RoundingMode::Double };
    let map = Map { h: 2, w: 2, c: 1, row: 3, pix: 1 };
    let target = Target8::Output { bytes: &mut out, map, output, load: None };
    Kernels::scalar().conv8(&mut Scratch::new(), &conv, target).unwrap();
    assert_eq!(out, [5, 6, 7, 6, 4, 7]); // 7.5 -> 8, 10, 9, 6.5 -> 7; minus 3; clamped to 6
}
