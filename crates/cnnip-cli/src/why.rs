//! `cnnip why`.

use std::path::PathBuf;

use clap::Args;
use cnnip_analysis::tensors;
use cnnip_analysis::why::{Derivation, Tap, why};
use serde_json::{Value, json};

use crate::error::Error;
use crate::level::{self, Feed};
use crate::stream::Streams;

/// What is to be derived.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Model
    model: PathBuf,
    /// Element: the tensor's name and an index for each of its dimensions
    #[arg(value_name = "TENSOR[n,y,x,c]")]
    element: String,
    #[command(flatten)]
    feed: Feed,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Derives an element and prints how.
pub(crate) fn run(arguments: &Why, streams: &mut Streams<'_>) -> Result<(), Error> {
    let (name, index) = element(&arguments.element).ok_or_else(|| Error::Analysis {
        kind: "usage",
        message: format!("`{}` is no element", arguments.element),
        hint: "write it like 'conv1[0,3,3,7]', in quotes because of the shell".to_owned(),
    })?;
    let mut simulator = level::simulator(&arguments.model, &arguments.feed)?;
    let set = tensors::of_simulator("accurate", &mut simulator);
    let set = set.map_err(|why| Error::Analysis {
        kind: "fault",
        message: why.to_string(),
        hint: "the layer's weights and bias are larger than its accumulators".to_owned(),
    })?;
    let derivation = why(simulator.network(), &set, name, &index).map_err(|why| Error::Analysis {
        kind: "usage",
        message: why.to_string(),
        hint: "`iss-run --dump-all DIR` writes all tensors under their names".to_owned(),
    })?;
    if arguments.json {
        streams.data(&data(&derivation));
    } else {
        streams.say(&derivation);
    }
    Ok(())
}

/// Name and index of `NAME[1,2,3]`; `NAME[]` is the element of a tensor without dimensions.
fn element(text: &str) -> Option<(&str, Vec<u64>)> {
    let (name, inside) = text.strip_suffix(']')?.rsplit_once('[')?;
    let numbers = inside.split(',').map(str::trim).filter(|number| !number.is_empty());
    Some((name, numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?))
}

fn data(derivation: &Derivation) -> Value {
    let tap = |tap: &Tap| {
        json!({
            "place": tap.place, "index": tap.index, "input": tap.input, "centred": tap.centred,
            "weight": tap.weight, "term": tap.term,
        })
    };
    json!({
        "tensor": derivation.tensor,
        "index": derivation.index,
        "layer": derivation.layer.as_ref().map(|(name, what)| json!({ "name": name, "what": what })),
        "input": derivation.input,
        "taps": derivation.taps.iter().map(tap).collect::<Value>(),
        "steps": derivation.steps,
        "derived": derivation.derived,
        "stored": derivation.stored,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_a_name_and_an_index() {
        assert_eq!(element("a[b][0, 1]"), Some(("a[b]", vec![0, 1])));
        assert_eq!(element("x[]"), Some(("x", vec![])));
        assert_eq!(element("x"), None);
        assert_eq!(element("x[a]"), None);
    }
}
