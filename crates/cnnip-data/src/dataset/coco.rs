//! Objects in boxes, as the JSON files of the COCO data set list them (<https://cocodataset.org/#format-data>).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::{DataError, Entry, Label};
use crate::truth::Object;

/// How classes of a network are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    /// Class `c` is the `c`-th category in order of their numbers.
    #[default]
    InOrder,
    /// Class `c` is the category of number `c + offset`.
    Offset(i64),
}

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    bbox: [f32; 4],
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// The examples of a file whose pictures lie in `folder`, and the names of the classes.
///
/// An object of a picture that is not listed makes an example without a picture, so that it is told and counted.
pub(super) fn entries(
    path: &Path,
    text: &[u8],
    folder: &Path,
    classes: Classes,
) -> Result<(Vec<Entry>, Vec<String>), DataError> {
    let file: File = serde_json::from_slice(text).map_err(|why| DataError::Json { path: path.into(), why })?;
    let (numbers, names) = numbers(&file.categories, classes);
    let mut objects: BTreeMap<i64, Vec<Object>> = BTreeMap::new();
    for (number, annotation) in file.annotations.iter().enumerate() {
        let wrong = |what| DataError::Annotation { path: path.into(), number, what };
        let &class = numbers.get(&annotation.category_id).ok_or_else(|| wrong("category_id is not in `categories`"))?;
        let [left, top, width, height] = annotation.bbox;
        if !annotation.bbox.iter().all(|value| value.is_finite()) || width < 0.0 || height < 0.0 {
            return Err(wrong("bbox is not left, top, width, height"));
        }
        let corners = [left, top, left + width, top + height];
        objects.entry(annotation.image_id).or_default().push(Object { class, corners, crowd: annotation.iscrowd != 0 });
    }
    let mut entries = vec![];
    for image in file.images {
        let label = Label::Objects(objects.remove(&image.id).unwrap_or_default());
        entries.push(Entry { path: Some(folder.join(&image.file_name)), name: image.file_name, label });
    }
    let orphans = objects.into_iter().map(|(id, list)| Entry {
        path: None,
        name: format!("image {id}"),
        label: Label::Objects(list),
    });
    entries.extend(orphans);
    Ok((entries, names))
}

/// The class of every category, and the names of the classes.
fn numbers(categories: &[Category], classes: Classes) -> (HashMap<i64, usize>, Vec<String>) {
    let sorted: BTreeMap<i64, &str> = categories.iter().map(|found| (found.id, found.name.as_str())).collect();
    let class = |at: usize, id: i64| match classes {
        Classes::InOrder => Some(at),
        Classes::Offset(offset) => usize::try_from(id.checked_sub(offset)?).ok(),
    };
    let numbers: HashMap<i64, usize> =
        sorted.keys().enumerate().filter_map(|(at, &id)| Some((id, class(at, id)?))).collect();
    // Names stand at the places of their classes only where these have no gaps.
    let names = match classes {
        Classes::InOrder => sorted.into_values().map(str::to_owned).collect(),
        Classes::Offset(_) => vec![],
    };
    (numbers, names)
}
