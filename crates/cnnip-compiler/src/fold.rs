//! Padding that convolutions can do themselves.
//!
//! A pad of rows and columns whose value is the zero point of the convolution behind it is what the convolution's own
//! padding reads. If only such convolutions read the padded tensor and nobody asks for it, it is never made.

use cnnip_graph::{Graph, Op, Pad};

use crate::layer::{ConvLayer, Legalized, Sweep, Transfer, ValueId, Work};
use crate::size::small;

/// Folds every padding that can be folded.
pub(crate) fn paddings(graph: &Graph, legalized: &mut Legalized) {
    let mut at = 0;
    while at < legalized.layers.len() {
        match border(graph, legalized, at) {
            Some(border) => fold(legalized, at, &border),
            None => at += 1,
        }
    }
}

/// Rows and columns around a tensor, and what they hold.
struct Border {
    before: [u32; 2],
    after: [u32; 2],
    value: i32,
    input: ValueId,
    output: ValueId,
}

/// The border that layer `at` makes, if all that need it can do without the layer.
fn border(graph: &Graph, legalized: &Legalized, at: usize) -> Option<Border> {
    let layer = &legalized.layers[at];
    let Op::Pad(pad) = &graph.nodes.get(layer.node)?.op else { return None };
    let Work::Transfer(Transfer { input, output, fill: Some(value), .. }) = layer.work else { return None };
    let (before, after) = rows_and_columns(pad)?;
    let border = Border { before, after, value: value.cast_signed().into(), input, output };
    (is_private(legalized, output) && readers_agree(legalized, &border)).then_some(border)
}

/// The amounts along rows and columns, if a tensor of four axes is padded along these only.
fn rows_and_columns(pad: &Pad) -> Option<([u32; 2], [u32; 2])> {
    let inner = |amounts: &[usize]| match *amounts {
        [0, rows, columns, 0] => Some([small(rows), small(columns)]),
        _ => None,
    };
    inner(&pad.before).zip(inner(&pad.after))
}

/// Whether only layers see the value: it has no other name, and the caller does not ask for it.
fn is_private(legalized: &Legalized, value: ValueId) -> bool {
    let others = (0..legalized.values.len()).map(ValueId).filter(|&other| other != value);
    let asked = legalized.outputs.iter().chain(&legalized.kept).any(|&asked| legalized.root(asked) == value);
    !asked && others.into_iter().all(|other| legalized.root(other) != value)
}

fn readers_agree(legalized: &Legalized, border: &Border) -> bool {
    let mut readers = legalized.layers.iter().filter(|layer| layer.work.reads().contains(&border.output));
    readers.all(|layer| match &layer.work {
        Work::Conv(conv) => conv.input_zero == border.value && widened(conv, border).is_some(),
        _ => false,
    })
}

/// The rows and columns of a convolution that does the padding itself, if every window still touches the input.
fn widened(conv: &ConvLayer, border: &Border) -> Option<[Sweep; 2]> {
    let sweeps = [conv.vertical, conv.horizontal];
    let wide = |axis: usize| {
        let [before, after] = [border.before[axis], border.after[axis]];
        let sweep = sweeps[axis];
        let input = sweep.input.checked_sub(before + after)?;
        let wide = Sweep { input, before: sweep.before + before, ..sweep };
        let touches = u64::from(wide.before) < wide.reach() && wide.after() < wide.reach();
        (touches || before + after == 0).then_some(wide)
    };
    Some([wide(0)?, wide(1)?])
}

/// Removes layer `at` and gives its border to the convolutions that read it.
fn fold(legalized: &mut Legalized, at: usize, border: &Border) {
    let removed = legalized.layers.remove(at);
    for layer in &mut legalized.layers {
        if let Work::Conv(conv) = &mut layer.work
            && conv.input == border.output
            && let Some([vertical, horizontal]) = widened(conv, border)
        {
            (conv.vertical, conv.horizontal, conv.input) = (vertical, horizontal, border.input);
            layer.sources.splice(0..0, removed.sources.iter().cloned());
        }
    }
}
