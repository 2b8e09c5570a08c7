//! Softmax against outputs of the real tflite-micro. `make_softmax_goldens.py` makes the file and names the versions.

use cnnip_hostops::{Softmax, softmax_int8};

const GOLDENS: &str = include_str!("goldens/softmax_int8.txt");

fn float(bits: &str) -> f32 {
    f32::from_bits(u32::from_str_radix(bits.trim_start_matches("0x"), 16).unwrap())
}

fn row(text: &str) -> Vec<i8> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn every_golden_row_is_equal() {
    let mut rows = 0;
    for line in GOLDENS.lines().filter(|line| !line.starts_with('#')) {
        let [scales, input, want] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
        let (beta, scale) = scales.trim().split_once(' ').unwrap();
        let (input, mut output) = (row(input), row(input));
        let parameters = Softmax::new(float(beta), float(scale)).unwrap();
        softmax_int8(&input, input.len(), &parameters, &mut output).unwrap();
        assert_eq!(output, row(want), "{line}");
        rows += 1;
    }
    assert_eq!(rows, 120);
}
