//! Which examples, and what the network's outputs mean for them.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use cnnip_data::{Classes, DataError, Dataset, PictureRule};
use cnnip_evaluate::Task;
use cnnip_evaluate::areas::Map;
use cnnip_evaluate::task::{BoxForm, BoxOutputs};
use cnnip_graph::Graph;

use crate::error::Error;
use crate::quantize;

#[derive(Debug, Args)]
#[command(next_help_heading = "Examples")]
pub(crate) struct Examples {
    /// Examples: a folder of pictures by class, a .csv list of files and classes, an .npy or .npz file with `labels`, or a .json file of
    /// objects in COCO's format
    #[arg(long, value_name = "DIR|FILE")]
    data: PathBuf,
    /// Folder with the pictures that a .json file names, if it is not the file's own
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Folder with masks: for every picture of --data an 8-bit grey picture of the same name, whose bytes are classes
    #[arg(long, value_name = "DIR", conflicts_with = "images")]
    masks: Option<PathBuf>,
    /// Class of a mask whose pixels do not count
    #[arg(long, value_name = "CLASS", default_value_t = 255, requires = "masks")]
    ignore_label: u8,
    /// Class c of the network is the category of number c + N; without it, the c-th category in order of numbers
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    class_offset: Option<i64>,
    /// Outputs with boxes, classes, scores, and perhaps the number of objects, by name or position [default: 0,1,2,3 as far as there are]
    #[arg(long, value_name = "OUTPUT,..", value_delimiter = ',')]
    box_outputs: Vec<String>,
    /// What the four numbers of a box are, from 0 to 1
    #[arg(long, value_enum, default_value_t = FormName::Yxyx)]
    box_form: FormName,
    /// Take the first N examples only
    #[arg(long, value_name = "N")]
    pub(super) count: Option<usize>,
    /// End at the first example that cannot be used
    #[arg(long, visible_alias = "strict")]
    pub(super) stop_on_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormName {
    /// Top, left, bottom, right
    Yxyx,
    /// Left, top, right, bottom
    Xyxy,
    /// Middle across, middle down, width, height
    Center,
}

impl Examples {
    /// Opens the data set.
    pub(super) fn open(&self, graph: &Graph, rule: PictureRule) -> Result<Dataset, Error> {
        let specs = quantize::specs(graph);
        let opened = match &self.masks {
            Some(masks) => Dataset::open_masks(&self.data, masks, specs, rule),
            None if self.has_objects() => {
                let own = self.data.parent().unwrap_or(Path::new(""));
                let folder = self.images.as_deref().unwrap_or(own);
                let classes = self.class_offset.map_or(Classes::InOrder, Classes::Offset);
                Dataset::open_coco(&self.data, folder, classes, specs, rule)
            }
            None => Dataset::open(&self.data, specs, rule),
        };
        opened.map_err(|why: DataError| Error::Data { why })
    }

    fn has_objects(&self) -> bool {
        self.data.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    }

    /// What the outputs mean.
    pub(super) fn task(&self, graph: &Graph) -> Result<Task, Error> {
        if self.masks.is_some() {
            return self.pixels(graph);
        }
        if self.has_objects() { self.boxes(graph) } else { Ok(Task::Classes) }
    }

    fn pixels(&self, graph: &Graph) -> Result<Task, Error> {
        let planar = quantize::specs(graph).first().is_some_and(|spec| spec.planar);
        let output = graph.outputs.first().map(|&id| &graph[id]);
        let map = output.and_then(|output| Map::new(output.shape.dims(), planar));
        let name = output.map_or("", |output| output.name.as_str());
        let map = map.ok_or_else(|| {
            misfit(
                format!("output `{name}` says no class per pixel: its shape is {}", shape(graph, 0)),
                "masks need an output of rows, columns and scores per class",
            )
        })?;
        Ok(Task::Pixels { map, ignore: Some(self.ignore_label) })
    }

    fn boxes(&self, graph: &Graph) -> Result<Task, Error> {
        let hint = "name the outputs with --box-outputs BOXES,CLASSES,SCORES";
        let positions = if self.box_outputs.is_empty() {
            (0..graph.outputs.len().min(4)).collect()
        } else {
            self.box_outputs.iter().map(|text| position(graph, text)).collect::<Result<Vec<usize>, Error>>()?
        };
        let (boxes, classes, scores, count) = match positions[..] {
            [boxes, classes, scores] => (boxes, classes, scores, None),
            [boxes, classes, scores, count] => (boxes, classes, scores, Some(count)),
            _ => return Err(misfit(format!("{} outputs are no boxes, classes and scores", positions.len()), hint)),
        };
        let elements = |at: usize| graph[graph.outputs[at]].shape.elements();
        let found = elements(scores);
        if elements(boxes) != 4 * found || elements(classes) != found || count.is_some_and(|at| elements(at) != 1) {
            let shapes: Vec<String> = positions.iter().map(|&at| shape(graph, at)).collect();
            let what = format!("outputs of shapes {} are not boxes, classes, scores", shapes.join(", "));
            return Err(misfit(what, hint));
        }
        let form = match self.box_form {
            FormName::Yxyx => BoxForm::Yxyx,
            FormName::Xyxy => BoxForm::Xyxy,
            FormName::Center => BoxForm::Center,
        };
        Ok(Task::Boxes(BoxOutputs { boxes, classes, scores, count, form }))
    }
}

fn misfit(message: String, hint: &str) -> Error {
    Error::Analysis { kind: "usage", message, hint: hint.to_owned() }
}

fn shape(graph: &Graph, output: usize) -> String {
    graph.outputs.get(output).map(|&id| graph[id].shape.to_string()).unwrap_or_default()
}

/// An output by name or position.
fn position(graph: &Graph, text: &str) -> Result<usize, Error> {
    let named = graph.outputs.iter().position(|&id| graph[id].name == text);
    let counted = || text.parse().ok().filter(|&at: &usize| at < graph.outputs.len());
    named.or_else(counted).ok_or_else(|| {
        let known: Vec<&str> = graph.outputs.iter().map(|&id| graph[id].name.as_str()).collect();
        misfit(format!("there is no output `{text}`"), &format!("there are {}", known.join(", ")))
    })
}
