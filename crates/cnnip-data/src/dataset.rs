//! Data sets: a folder of pictures, a list of files, arrays.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cnnip_package::{Color, ElementType};

use crate::npy::{self, NpyError};
use crate::npz::NpzError;
use crate::picture::{self, Fit, Normalize, PixelsError};
use crate::stored::{self, StoredArray};
use crate::truth::{Object, Objects, Truth, View};

mod coco;
mod masks;

pub use coco::Classes;

/// Largest file of a picture or an example.
const MAX_EXAMPLE_BYTES: u64 = 1 << 30;
/// What compressed arrays may have unpacked.
const MAX_ARRAY_BYTES: u64 = 16 << 30;
/// Names that an array of labels may have.
const LABELS: [&str; 3] = ["labels", "label", "y"];

/// An input of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its extents, the batch of 1 included.
    pub shape: Vec<usize>,
    /// A picture's channels come as planes, before rows and columns.
    pub planar: bool,
}

impl InputSpec {
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Width, height and color, if the input has the shape of a picture.
    fn picture(&self) -> Option<((u32, u32), Color)> {
        let &[1, a, b, c] = self.shape.as_slice() else { return None };
        let (height, width, channels) = if self.planar { (b, c, a) } else { (a, b, c) };
        let color = match channels {
            1 => Color::Gray,
            3 => Color::Rgb,
            _ => return None,
        };
        Some(((u32::try_from(width).ok()?, u32::try_from(height).ok()?), color))
    }
}

/// How pictures become inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureRule {
    /// What is done about their size.
    pub fit: Fit,
    /// What is done about their bytes.
    pub normalize: Normalize,
}

/// One example.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The elements of every input, row-major, in the order of the specs.
    pub inputs: Vec<Vec<f32>>,
    /// What is known beside its class.
    pub truth: Truth,
}

/// A data set: its examples are loaded when they are asked for, in any order, from any thread.
#[derive(Debug)]
pub struct Dataset {
    specs: Vec<InputSpec>,
    rule: PictureRule,
    source: Source,
    classes: Vec<String>,
}

#[derive(Debug)]
enum Source {
    /// A file per example.
    Files(Vec<Entry>),
    /// An array per input, in which examples follow one another, in a file.
    Arrays { count: usize, arrays: Vec<StoredArray>, labels: Option<Vec<i64>>, file: String },
}

#[derive(Debug)]
struct Entry {
    /// None if only a label names it.
    path: Option<PathBuf>,
    name: String,
    label: Label,
}

/// What is known about an example before it is loaded.
#[derive(Debug)]
enum Label {
    Class(Option<usize>),
    Objects(Vec<Object>),
    /// None if there is no mask for the picture.
    Mask(Option<PathBuf>),
}

/// A path that is no data set for the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Not readable.
    #[error("{path}: {why}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A folder or list without examples.
    #[error("{path}: there are no pictures or arrays in it")]
    Empty {
        /// The folder or list.
        path: PathBuf,
    },
    /// Files of one example each for a network with several inputs.
    #[error("{path}: the network has {inputs} inputs, a file per example can give only one")]
    Inputs {
        /// The folder or list.
        path: PathBuf,
        /// Inputs of the network.
        inputs: usize,
    },
    /// An archive that cannot be read.
    #[error("{path}: {why}")]
    Npz {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: NpzError,
    },
    /// An array that cannot be read.
    #[error("{path}: {why}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: NpyError,
    },
    /// An input without an array.
    #[error("{path}: there is no array for input `{input}`; there are {found:?}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// Arrays there are.
        found: Vec<String>,
    },
    /// An array that does not fit its input.
    #[error("{path}: array `{array}` of shape {found:?} does not hold examples of {wanted:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its shape.
        found: Vec<u64>,
        /// Shape of one example.
        wanted: Vec<usize>,
    },
    /// Arrays with different numbers of examples.
    #[error("{path}: the arrays hold {first} and {other} examples")]
    Counts {
        /// The file.
        path: PathBuf,
        /// Examples of the first array.
        first: usize,
        /// Those of another.
        other: usize,
    },
    /// Labels that are no whole numbers.
    #[error("{path}: array `{array}` of {found} holds no classes")]
    Labels {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Type of its elements.
        found: ElementType,
    },
    /// A file of objects that cannot be read.
    #[error("{path}: {why}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: serde_json::Error,
    },
    /// An object that breaks the format's rules.
    #[error("{path}: annotations[{number}]: {what}")]
    Annotation {
        /// The file.
        path: PathBuf,
        /// Its place in the list.
        number: usize,
        /// The rule.
        what: &'static str,
    },
    /// A line of a list that is not `FILE,LABEL`.
    #[error("{path}:{line}: `{text}` is not FILE or FILE,LABEL with a label from 0")]
    Line {
        /// The list.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

impl DataError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "give a folder, a .csv list, or an .npy or .npz file that exists",
            Self::Empty { .. } => "png, jpeg, bmp, pnm and .npy files are taken, also in subfolders",
            Self::Inputs { .. } | Self::Missing { .. } => "give an .npz file with an array per input, named like it",
            Self::Npz { .. } | Self::Npy { .. } => "save it with numpy, row-major, as float32 or an integer type",
            Self::Shape { .. } => "the first extent counts the examples, the others are those of the input",
            Self::Counts { .. } => "give as many examples for every input, and as many labels",
            Self::Labels { .. } => "save the classes as an integer type",
            Self::Json { .. } => {
                "the form is {\"images\": [..], \"annotations\": [..], \"categories\": [..]}, as COCO has it"
            }
            Self::Annotation { .. } => {
                "cocodataset.org says what an annotation holds; --class-offset counts from its category"
            }
            Self::Line { .. } => "a line names a file, relative to the list, and its class",
        }
    }
}

/// An example that cannot be loaded. Others can.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}")]
pub struct ExampleError {
    /// The example: its file, or its place in an array.
    pub name: String,
    /// What is wrong with it.
    pub why: ExampleProblem,
}

/// Why an example cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExampleProblem {
    /// Not readable.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// Not a picture that fits.
    #[error("{0}")]
    Picture(#[from] PixelsError),
    /// Not an array.
    #[error("{0}")]
    Npy(#[from] NpyError),
    /// An array of another shape.
    #[error("the array has shape {found:?}, input `{input}` {wanted:?}")]
    Shape {
        /// The array's.
        found: Vec<u64>,
        /// The input.
        input: String,
        /// The input's shape.
        wanted: Vec<usize>,
    },
    /// A label that names no picture.
    #[error("there is a label for it, but no picture")]
    NoImage,
    /// A picture that has no mask.
    #[error("there is no mask for it")]
    NoMask,
    /// A mask that cannot be used.
    #[error("its mask {path}: {why}")]
    Mask {
        /// The mask.
        path: PathBuf,
        /// What is wrong with it.
        why: PixelsError,
    },
    /// A picture for an input that has not the shape of one.
    #[error("input `{input}` of shape {shape:?} is no picture of one or three channels")]
    NoPicture {
        /// The input.
        input: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A number that is none.
    #[error("element {index} is {value}")]
    NotFinite {
        /// Its place.
        index: usize,
        /// The number.
        value: f32,
    },
    /// No such example.
    #[error("there are only {count} examples")]
    Count {
        /// How many there are.
        count: usize,
    },
}

impl Dataset {
    /// Opens a folder of pictures or arrays, a `.csv` list of such files with labels, or a `.npy` or `.npz` file of many examples.
    ///
    /// Files of a folder are taken in the order of their paths. In subfolders they have a class: the number of the first
    /// subfolder, in order of names.
    ///
    /// # Errors
    /// What is no data set for these inputs. A file that cannot be read as an example is an error of [`load`](Self::load).
    pub fn open(path: &Path, specs: Vec<InputSpec>, rule: PictureRule) -> Result<Self, DataError> {
        let read = |why| DataError::Read { path: path.into(), why };
        let (source, classes) = if fs::metadata(path).map_err(read)?.is_dir() {
            folder(path).map_err(read)?
        } else {
            match extension(path).as_str() {
                "npz" | "npy" => (arrays(path, &specs)?, vec![]),
                _ => (list(path)?, vec![]),
            }
        };
        Self { specs, rule, source, classes }.checked(path)
    }

    /// Opens the pictures of a folder, and of another the masks that go with them: 8-bit grey pictures whose bytes are classes.
    ///
    /// A mask is scaled like its picture, without mixing classes.
    ///
    /// # Errors
    /// As [`open`](Self::open). A picture without mask and a mask without picture are errors of [`load`](Self::load).
    pub fn open_masks(path: &Path, masks: &Path, specs: Vec<InputSpec>, rule: PictureRule) -> Result<Self, DataError> {
        for folder in [path, masks] {
            fs::read_dir(folder).map_err(|why| DataError::Read { path: folder.into(), why })?;
        }
        let entries = masks::entries(path, masks).map_err(|why| DataError::Read { path: path.into(), why })?;
        Self { specs, rule, source: Source::Files(entries), classes: vec![] }.checked(path)
    }

    /// Opens a JSON file of objects in boxes, in the format of COCO; its pictures lie in `folder`.
    ///
    /// # Errors
    /// As [`open`](Self::open), and a file of another form. An object without picture is an error of [`load`](Self::load).
    pub fn open_coco(
        path: &Path,
        folder: &Path,
        classes: Classes,
        specs: Vec<InputSpec>,
        rule: PictureRule,
    ) -> Result<Self, DataError> {
        let (entries, classes) = coco::entries(path, &read(path)?, folder, classes)?;
        Self { specs, rule, source: Source::Files(entries), classes }.checked(path)
    }

    /// Itself, if it has examples that can fit the network.
    fn checked(self, path: &Path) -> Result<Self, DataError> {
        let Source::Files(entries) = &self.source else { return Ok(self) };
        match self.specs.len() {
            _ if entries.is_empty() => Err(DataError::Empty { path: path.into() }),
            1 => Ok(self),
            inputs => Err(DataError::Inputs { path: path.into(), inputs }),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Files(entries) => entries.len(),
            Source::Arrays { count, .. } => *count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the classes, if folders gave them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The name of an example: its path within the folder, or the file and its number.
    pub fn name(&self, index: usize) -> String {
        match &self.source {
            Source::Files(entries) => entries.get(index).map(|entry| entry.name.clone()).unwrap_or_default(),
            Source::Arrays { file, .. } => format!("{file}[{index}]"),
        }
    }

    /// The class of an example, if it is known.
    pub fn label(&self, index: usize) -> Option<usize> {
        match &self.source {
            Source::Files(entries) => match entries.get(index)?.label {
                Label::Class(class) => class,
                Label::Objects(_) | Label::Mask(_) => None,
            },
            Source::Arrays { labels, .. } => usize::try_from(*labels.as_ref()?.get(index)?).ok(),
        }
    }

    /// Loads an example.
    ///
    /// # Errors
    /// A file that cannot be read or does not fit, numbers that are not finite.
    pub fn load(&self, index: usize) -> Result<Example, ExampleError> {
        let example = match &self.source {
            Source::Files(entries) => match (entries.get(index), self.specs.first()) {
                (Some(entry), Some(spec)) => self.entry(spec, entry),
                _ => Err(ExampleProblem::Count { count: entries.len() }),
            },
            Source::Arrays { count, .. } if index >= *count => Err(ExampleProblem::Count { count: *count }),
            Source::Arrays { arrays, .. } => {
                let part = |(spec, array): (&InputSpec, &StoredArray)| numbers(array, index, spec.elements());
                let inputs = self.specs.iter().zip(arrays).map(part).collect::<io::Result<_>>();
                inputs.map(|inputs| Example { inputs, truth: Truth::Unknown }).map_err(ExampleProblem::from)
            }
        };
        example.and_then(finite).map_err(|why| ExampleError { name: self.name(index), why })
    }

    fn entry(&self, spec: &InputSpec, entry: &Entry) -> Result<Example, ExampleProblem> {
        let path = entry.path.as_deref().ok_or(ExampleProblem::NoImage)?;
        let bytes = bytes(path)?;
        let input = if is_array(path) { self.array(spec, &bytes)? } else { self.picture(spec, &bytes)? };
        let truth = match &entry.label {
            Label::Class(_) => Truth::Unknown,
            Label::Objects(list) => {
                let view = View::new(picture::size(&bytes)?, picture_of(spec)?.0, self.rule.fit);
                Truth::Objects(Objects { list: list.clone(), view })
            }
            Label::Mask(None) => return Err(ExampleProblem::NoMask),
            Label::Mask(Some(mask)) => {
                let read = picture::decode_mask(&self::bytes(mask)?, picture_of(spec)?.0, self.rule.fit);
                Truth::Mask(read.map_err(|why| ExampleProblem::Mask { path: mask.clone(), why })?)
            }
        };
        Ok(Example { inputs: vec![input], truth })
    }

    fn array(&self, spec: &InputSpec, file: &[u8]) -> Result<Vec<f32>, ExampleProblem> {
        let npy::Array { element, shape, bytes } = npy::read(file)?;
        let fits = same_extents(&shape, &spec.shape)
            || spec.shape.first() == Some(&1) && same_extents(&shape, &spec.shape[1..]);
        let values = real(element, bytes);
        if fits && values.len() == spec.elements() {
            return Ok(values);
        }
        Err(ExampleProblem::Shape { found: shape, input: spec.name.clone(), wanted: spec.shape.clone() })
    }

    fn picture(&self, spec: &InputSpec, file: &[u8]) -> Result<Vec<f32>, ExampleProblem> {
        let (size, color) = picture_of(spec)?;
        let pixels = picture::decode(file, color, size, self.rule.fit)?;
        let channels = usize::try_from(color.channels()).unwrap_or(1);
        let numbers = self.rule.normalize.apply(&pixels.bytes, channels);
        Ok(if spec.planar { planes(&numbers, channels) } else { numbers })
    }
}

/// Width, height and color of the pictures an input takes.
fn picture_of(spec: &InputSpec) -> Result<((u32, u32), Color), ExampleProblem> {
    let none = || ExampleProblem::NoPicture { input: spec.name.clone(), shape: spec.shape.clone() };
    spec.picture().ok_or_else(none)
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MAX_EXAMPLE_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// A plane per channel, of numbers whose channels are side by side.
fn planes(numbers: &[f32], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|channel| numbers.iter().skip(channel).step_by(channels).copied()).collect()
}

fn finite(example: Example) -> Result<Example, ExampleProblem> {
    let wrong = |input: &Vec<f32>| input.iter().copied().enumerate().find(|(_, value)| !value.is_finite());
    match example.inputs.iter().find_map(wrong) {
        Some((index, value)) => Err(ExampleProblem::NotFinite { index, value }),
        None => Ok(example),
    }
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn is_array(path: &Path) -> bool {
    extension(path) == "npy"
}

fn is_example(path: &Path) -> bool {
    matches!(extension(path).as_str(), "npy" | "png" | "jpg" | "jpeg" | "bmp" | "pbm" | "pgm" | "ppm" | "pnm")
}

/// All examples below a folder, and the names of the classes.
fn folder(root: &Path) -> io::Result<(Source, Vec<String>)> {
    let mut paths = vec![];
    collect(root, &mut paths)?;
    paths.sort();
    let class = |path: &Path| {
        let mut parts = path.strip_prefix(root).ok()?.components();
        let first = parts.next()?;
        parts.next().map(|_| first.as_os_str().to_string_lossy().into_owned())
    };
    let mut numbers: BTreeMap<String, usize> =
        paths.iter().filter_map(|path| class(path)).map(|name| (name, 0)).collect();
    numbers.values_mut().zip(0..).for_each(|(number, at)| *number = at);
    let entry = |path: PathBuf| Entry {
        name: path.strip_prefix(root).unwrap_or(&path).display().to_string(),
        label: Label::Class(class(&path).and_then(|name| numbers.get(&name).copied())),
        path: Some(path),
    };
    let entries = paths.into_iter().map(entry).collect();
    Ok((Source::Files(entries), numbers.into_keys().collect()))
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type()?.is_dir() {
            collect(&path, paths)?;
        } else if is_example(&path) {
            paths.push(path);
        }
    }
    Ok(())
}

/// Files of a list, one per line: `FILE` or `FILE,LABEL`, relative to the list; `#` begins a comment.
fn list(path: &Path) -> Result<Source, DataError> {
    let text = fs::read_to_string(path).map_err(|why| DataError::Read { path: path.into(), why })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut entries = vec![];
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = || DataError::Line { path: path.into(), line: number + 1, text: line.chars().take(80).collect() };
        let (file, label) = match line.rsplit_once(',') {
            Some((file, label)) => (file.trim(), Some(label.trim().parse::<usize>().map_err(|_| wrong())?)),
            None => (line, None),
        };
        if !is_example(Path::new(file)) {
            return Err(wrong());
        }
        entries.push(Entry { path: Some(base.join(file)), name: file.to_owned(), label: Label::Class(label) });
    }
    Ok(Source::Files(entries))
}

/// Examples that follow one another in an array per input.
fn arrays(path: &Path, specs: &[InputSpec]) -> Result<Source, DataError> {
    let unreadable = |why| DataError::Read { path: path.into(), why };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut found = if extension(path) == "npz" {
        stored::arrays(file, MAX_ARRAY_BYTES).map_err(|why| DataError::Npz { path: path.into(), why })?
    } else {
        vec![stored::array(file).map_err(|why| DataError::Npy { path: path.into(), why })?]
    };
    let labels = found.iter().position(|array| LABELS.contains(&array.name.as_str())).map(|at| found.remove(at));
    let mut arrays = vec![];
    let mut count = None;
    for spec in specs {
        let array = take(path, spec, &mut found, specs.len())?;
        let examples = examples(&array, spec).ok_or_else(|| DataError::Shape {
            path: path.into(),
            array: array.name.clone(),
            found: array.shape.clone(),
            wanted: spec.shape.clone(),
        })?;
        match count {
            Some(first) if first != examples => {
                return Err(DataError::Counts { path: path.into(), first, other: examples });
            }
            _ => count = Some(examples),
        }
        arrays.push(array);
    }
    let count = count.unwrap_or(0);
    let labels = labels.map(|array| classes(path, &array, count)).transpose()?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Source::Arrays { count, arrays, labels, file: name })
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = vec![];
    let file = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, MAX_ARRAY_BYTES), &mut bytes));
    file.map(|_| bytes).map_err(|why| DataError::Read { path: path.into(), why })
}

/// The array of an input: the one of its name, or the only one for an only input.
fn take(path: &Path, spec: &InputSpec, found: &mut Vec<StoredArray>, inputs: usize) -> Result<StoredArray, DataError> {
    let named = found.iter().position(|array| array.name == spec.name);
    let only = (inputs == 1 && found.len() == 1).then_some(0);
    match named.or(only) {
        Some(at) => Ok(found.remove(at)),
        None => Err(DataError::Missing {
            path: path.into(),
            input: spec.name.clone(),
            found: found.iter().map(|array| array.name.clone()).collect(),
        }),
    }
}

/// How many examples an array holds: `[N, ...]` with or without the input's batch of 1, or one example as it is.
fn examples(array: &StoredArray, spec: &InputSpec) -> Option<usize> {
    let rest = spec.shape.strip_prefix(&[1]).unwrap_or(&spec.shape);
    if same_extents(&array.shape, &spec.shape) {
        return Some(1);
    }
    let (&count, inner) = array.shape.split_first()?;
    let fits = same_extents(inner, &spec.shape) || same_extents(inner, rest);
    let count = usize::try_from(count).ok()?;
    let bytes = array.element.bytes() * u64::try_from(spec.elements()).ok()?;
    (fits && array.len == bytes.checked_mul(u64::try_from(count).ok()?)?).then_some(count)
}

fn same_extents(a: &[u64], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| u64::try_from(b) == Ok(a))
}

fn numbers(array: &StoredArray, index: usize, elements: usize) -> io::Result<Vec<f32>> {
    let size = elements * usize::try_from(array.element.bytes()).unwrap_or(1);
    let first = u64::try_from(size).ok().and_then(|size| size.checked_mul(u64::try_from(index).ok()?));
    Ok(real(array.element, &array.bytes(first.unwrap_or(u64::MAX), size)?))
}

/// Elements of any type as numbers; int64 and int32 to the nearest.
fn real(element: ElementType, bytes: &[u8]) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "inputs of a float network are binary32")]
    let nearest = |value: i64| value as f32;
    match element {
        ElementType::Float32 => bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect(),
        _ => integers_of(element, bytes).map(nearest).collect(),
    }
}

/// The classes of as many examples.
fn classes(path: &Path, array: &StoredArray, count: usize) -> Result<Vec<i64>, DataError> {
    if array.element == ElementType::Float32 {
        let (path, array, found) = (path.into(), array.name.clone(), array.element);
        return Err(DataError::Labels { path, array, found });
    }
    let bytes = array.all().map_err(|why| DataError::Read { path: path.into(), why })?;
    let classes: Vec<i64> = integers_of(array.element, &bytes).collect();
    if classes.len() == count {
        return Ok(classes);
    }
    Err(DataError::Counts { path: path.into(), first: count, other: classes.len() })
}

fn integers_of(element: ElementType, bytes: &[u8]) -> Box<dyn Iterator<Item = i64> + '_> {
    match element {
        ElementType::Int8 => Box::new(bytes.iter().map(|&byte| byte.cast_signed().into())),
        ElementType::Uint8 | ElementType::Float32 => Box::new(bytes.iter().map(|&byte| byte.into())),
        ElementType::Int16 => Box::new(bytes.as_chunks().0.iter().map(|&chunk| i16::from_le_bytes(chunk).into())),
        ElementType::Int32 => Box::new(bytes.as_chunks().0.iter().map(|&chunk| i32::from_le_bytes(chunk).into())),
        ElementType::Int64 => Box::new(bytes.as_chunks().0.iter().map(|&chunk| i64::from_le_bytes(chunk))),
    }
}

#[cfg(test)]
mod tests;
