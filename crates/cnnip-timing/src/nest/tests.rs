use super::*;
use cnnip_isa::operation::{Accumulators, Activation, Window};
use cnnip_isa::{RoundingMode, operation::Weights};
use std::collections::BTreeSet;

fn conv(groups: u32, [h, w, ic]: [u32; 3], oc: u32) -> Conv {
    Conv {
        kind: ConvKind::Grouped { groups },
        input: FeatureMap::dense(0, [h, w, ic], ElementType::Int8),
        input_zero: 0,
        pad_value: 0,
        output: FeatureMap::dense(0, [h, w, oc], ElementType::Int8),
        window: Window { kernel_h: 3, kernel_w: 3, top: 1, left: 1, ..Window::UNIT },
        weights: Weights { address: 0, element: ElementType::Int8, zero: 0, sparse: None },
        records: 0,
        accumulators: Accumulators::default(),
        requant: RoundingMode::Double,
        activation: Activation::full_range(0, ElementType::Int8),
    }
}

#[test]
fn blocks_of_a_convolution_cover_every_output_once() {
    let target = Target::by_name("v3m").unwrap();
    let conv = conv(2, [3, 37, 10], 42);
    let nest = ArrayNest::of_conv(&conv, target);
    let mut seen = BTreeSet::new();
    for index in 0..nest.nest.blocks {
        let block = nest.block(index);
        for c in block.channels {
            assert_eq!(block.group, c / 21);
            for x in block.columns.clone() {
                assert!(seen.insert((c, block.row, x)), "output ({c}, {}, {x}) twice", block.row);
            }
        }
    }
    assert_eq!(u64::try_from(seen.len()).unwrap(), conv.output.elements());
}

#[test]
fn steps_cover_the_depth_once() {
    let target = Target::by_name("v4h").unwrap();
    let nest = ArrayNest::of_conv(&conv(1, [4, 4, 10], 8), target);
    let depth: Vec<u32> = (0..nest.nest.steps).flat_map(|step| nest.step(step)).collect();
    assert_eq!(depth, (0..90).collect::<Vec<_>>());
    assert_eq!(nest.nest.steps, 4); // 90 / 27
}

#[test]
fn a_wide_layer_takes_four_times_the_steps() {
    let target = Target::by_name("v4h").unwrap();
    let narrow = conv(1, [4, 4, 10], 8);
    let mut wide = narrow;
    wide.input.element = ElementType::Int16;
    let cycles = |c: Conv| Nest::of(&Operation::Conv(c), target).cycles() - u64::from(target.issue_cycles);
    assert_eq!(cycles(wide), 4 * cycles(narrow));
}

#[test]
fn a_run_of_a_copy_ends_with_a_short_word() {
    let target = Target::by_name("v3m").unwrap(); // 32 bytes per cycle
    let nest = DmaNest::of(&DmaPattern { run: 40, counts: [3, 1, 1, 1] }, target);
    assert_eq!(nest.nest.blocks, 6);
    assert_eq!(nest.block(3), DmaBlock { run: 1, bytes: 32..40 });
}
