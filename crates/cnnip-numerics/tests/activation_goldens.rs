//! LOGISTIC and TANH against outputs of the real tflite-micro. `make_activation_goldens.py` makes the file and names the versions.

use cnnip_numerics::quantize::{self, Curve};
use cnnip_numerics::table;
use std::str::FromStr;

const GOLDENS: &str = include_str!("goldens/activations.txt");

fn numbers<T: FromStr>(text: &str) -> Vec<T> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

fn eight_bits(curve: Curve, scale: f32, zero_point: i32, input: &str, want: &str) -> bool {
    let table = quantize::curve_table(curve, scale, zero_point).unwrap();
    let got: Vec<i8> = numbers(input).into_iter().map(|x| table::lookup_256(&table, x)).collect();
    got.len() == 256 && got == numbers::<i8>(want)
}

fn sixteen_bits(curve: Curve, scale: f32, input: &str, want: &str) -> bool {
    let (multiplier, shift) = quantize::half_table_scale(scale, curve).unwrap();
    let read = match curve {
        Curve::Sigmoid => table::sigmoid_i16,
        Curve::Tanh => table::tanh_i16,
    };
    let entry = |x| read(&quantize::half_table(), table::half_table_input(x, multiplier, shift));
    let got: Vec<i16> = numbers(input).into_iter().map(entry).collect();
    got.len() == 200 && got == numbers::<i16>(want)
}

#[test]
fn every_golden_row_is_equal() {
    let rows: Vec<&str> = GOLDENS.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rows.len(), 28);
    let mut wrong = Vec::new();
    for row in rows {
        let [head, input, want] = row.split('|').collect::<Vec<_>>().try_into().unwrap();
        let [name, kind, bits, zero_point] = head.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let curve = if name == "tanh" { Curve::Tanh } else { Curve::Sigmoid };
        let scale = f32::from_bits(u32::from_str_radix(bits.trim_start_matches("0x"), 16).unwrap());
        let equal = match kind {
            "int8" => eight_bits(curve, scale, zero_point.parse().unwrap(), input, want),
            _ => sixteen_bits(curve, scale, input, want),
        };
        if !equal {
            wrong.push(head);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
