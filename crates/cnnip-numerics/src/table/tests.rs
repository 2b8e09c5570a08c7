use super::*;
use proptest::prelude::*;

/// The oracle's own words, over i128.
fn slow_513(table: &[i16; 513], value: i16) -> i16 {
    let value = i128::from(value);
    let index = (256 + value.div_euclid(128)) as usize;
    let slope = (i128::from(table[index + 1]) - i128::from(table[index])) as i16;
    let delta = (i128::from(slope) * value.rem_euclid(128) + 64).div_euclid(128);
    (i128::from(table[index]) + delta) as i16
}

fn half_table() -> [u16; 256] {
    std::array::from_fn(|i| (65536.0 / (1.0 + (-(i as f64) / 24.0).exp())).round() as u16)
}

proptest! {
    #[test]
    fn interpolation_equals_its_slow_twin(entries in prop::collection::vec(any::<i16>(), 513), value: i16) {
        let table: [i16; 513] = entries.try_into().unwrap();
        prop_assert_eq!(lookup_513(&table, value), slow_513(&table, value));
    }

    #[test]
    fn half_tables_are_total(entries in prop::collection::vec(any::<u16>(), 256), input: i32, value: i16, multiplier: u32, shift: u32) {
        let table: [u16; 256] = entries.try_into().unwrap();
        let _ = (sigmoid_i16(&table, input), tanh_i16(&table, input), half_table_input(value, multiplier, shift));
    }

    /// Input scale 2^-12, the power-of-two case of the oracle: multiplier 3, no shift.
    #[test]
    fn half_tables_are_close_to_the_functions(value: i16) {
        let real = f64::from(value) / 4096.0;
        let input = half_table_input(value, 3, 0);
        let sigmoid = f64::from(sigmoid_i16(&half_table(), input)) / 32768.0;
        let tanh = f64::from(tanh_i16(&half_table(), input)) / 32768.0;
        prop_assert!((sigmoid - 1.0 / (1.0 + (-real).exp())).abs() < 1e-4, "{sigmoid}");
        prop_assert!((tanh - real.tanh()).abs() < 3e-4, "{tanh}");
    }
}

#[test]
fn the_first_entry_belongs_to_the_smallest_value() {
    let table = std::array::from_fn(|i| i8::try_from(i as i32 - 128).unwrap());
    assert!((-128..=127).all(|value| lookup_256(&table, value) == value));
    let line = std::array::from_fn(|i| i16::try_from((i as i32 - 256) * 128 - i32::from(i == 512)).unwrap());
    assert_eq!(lookup_513(&line, -32768), -32768);
    assert_eq!(lookup_513(&line, 100), 100);
}
