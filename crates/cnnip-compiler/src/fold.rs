//! Padding that convolutions can do themselves.
//!
//! A pad of rows and columns whose value is the zero point of the convolution behind it is what the convolution's own
//! padding reads. If only such convolutions read the padded tensor and nobody asks for it, it is never made.

use cnnip_graph::{Graph, Op, Pad};

use crate::size::small;
use cnnip_lowered::{ConvLayer, Network, Sweep, Transfer, ValueId, Work};

/// Folds every padding that can be folded, the last first, so that one behind another goes too.
pub(crate) fn paddings(graph: &Graph, legalized: &mut Network) {
    let mut uses = Uses::of(legalized);
    let mut removed = vec![false; legalized.layers.len()];
    for at in (0..legalized.layers.len()).rev() {
        if let Some(border) = border(graph, legalized, &uses, at) {
            fold(legalized, &mut uses, at, &border);
            removed[at] = true;
        }
    }
    let mut removed = removed.into_iter();
    legalized.layers.retain(|_| !removed.next().unwrap_or(false));
}

/// Who needs a value, by its index.
struct Uses {
    /// Layers that read it.
    readers: Vec<Vec<usize>>,
    /// The caller asks for it, or it has another name.
    shared: Vec<bool>,
}

impl Uses {
    fn of(legalized: &Network) -> Self {
        let mut uses =
            Self { readers: vec![vec![]; legalized.values.len()], shared: vec![false; legalized.values.len()] };
        for (at, layer) in legalized.layers.iter().enumerate() {
            layer.work.reads().iter().for_each(|value| uses.readers[value.0].push(at));
        }
        for value in (0..legalized.values.len()).map(ValueId) {
            let root = legalized.root(value);
            uses.shared[root.0] |= root != value;
        }
        for &asked in legalized.outputs.iter().chain(&legalized.kept) {
            uses.shared[legalized.root(asked).0] = true;
        }
        uses
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
fn border(graph: &Graph, legalized: &Network, uses: &Uses, at: usize) -> Option<Border> {
    let layer = &legalized.layers[at];
    let Op::Pad(pad) = &graph.nodes.get(layer.node)?.op else { return None };
    let Work::Transfer(Transfer { input, output, fill: Some(value), .. }) = layer.work else { return None };
    let (before, after) = rows_and_columns(pad)?;
    let border = Border { before, after, value, input, output };
    (!uses.shared[output.0] && readers_agree(legalized, uses, &border)).then_some(border)
}

/// The amounts along rows and columns, if a tensor of four axes is padded along these only.
fn rows_and_columns(pad: &Pad) -> Option<([u32; 2], [u32; 2])> {
    let inner = |amounts: &[usize]| match *amounts {
        [0, rows, columns, 0] => Some([small(rows), small(columns)]),
        _ => None,
    };
    inner(&pad.before).zip(inner(&pad.after))
}

fn readers_agree(legalized: &Network, uses: &Uses, border: &Border) -> bool {
    uses.readers[border.output.0].iter().all(|&reader| match &legalized.layers[reader].work {
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

/// Gives the border that layer `at` makes to the convolutions that read it.
fn fold(legalized: &mut Network, uses: &mut Uses, at: usize, border: &Border) {
    let sources = legalized.layers[at].sources.clone();
    let readers = std::mem::take(&mut uses.readers[border.output.0]);
    for &reader in &readers {
        let layer = &mut legalized.layers[reader];
        if let Work::Conv(conv) = &mut layer.work
            && let Some([vertical, horizontal]) = widened(conv, border)
        {
            (conv.vertical, conv.horizontal, conv.input) = (vertical, horizontal, border.input);
            layer.sources.splice(0..0, sources.iter().cloned());
        }
    }
    uses.readers[border.input.0].retain(|&reader| reader != at);
    uses.readers[border.input.0].extend(readers);
}
