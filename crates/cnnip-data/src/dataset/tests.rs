use std::io::Cursor;

use image::{GrayImage, ImageFormat};
use tempfile::TempDir;

use super::*;
use crate::npz;
use crate::truth::Mask;

fn spec(shape: &[usize]) -> InputSpec {
    InputSpec { name: "image".to_owned(), shape: shape.to_vec(), planar: false }
}

fn rule() -> PictureRule {
    PictureRule { fit: Fit::Exact, normalize: Normalize::all(0.0, 255.0) }
}

fn grey(value: u8) -> Vec<u8> {
    let mut file = Cursor::new(vec![]);
    GrayImage::from_pixel(2, 2, image::Luma([value])).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn classes() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, value) in [("cat/b.png", 51), ("cat/a.png", 0), ("dog/c.png", 255)] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, grey(value)).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    folder
}

#[test]
fn folders_are_classes() {
    let folder = classes();
    let data = Dataset::open(folder.path(), vec![spec(&[1, 2, 2, 1])], rule()).unwrap();
    assert_eq!((data.len(), data.classes()), (3, &["cat".to_owned(), "dog".to_owned()][..]));
    assert_eq!((data.name(1).as_str(), data.label(1), data.label(2)), ("cat/b.png", Some(0), Some(1)));
    assert_eq!(data.load(1).unwrap().inputs, [vec![0.2; 4]]);
    assert!(data.load(3).is_err());
}

#[test]
fn a_broken_picture_is_an_error_of_its_own() {
    let folder = classes();
    fs::write(folder.path().join("cat/a.png"), &grey(1)[..40]).unwrap();
    let data = Dataset::open(folder.path(), vec![spec(&[1, 2, 2, 1])], rule()).unwrap();
    let error = data.load(0).unwrap_err().to_string();
    assert!(error.starts_with("cat/a.png: the picture cannot be decoded"), "{error}");
    assert!(data.load(1).is_ok());
}

#[test]
fn lists_name_files_and_classes() {
    let folder = classes();
    let path = folder.path().join("list.csv");
    fs::write(&path, "# file,label\ncat/a.png, 7\ndog/c.png\n").unwrap();
    let data = Dataset::open(&path, vec![spec(&[1, 2, 2, 1])], rule()).unwrap();
    assert_eq!((data.len(), data.label(0), data.label(1)), (2, Some(7), None));
    fs::write(&path, "cat/a.png,x\n").unwrap();
    let error = Dataset::open(&path, vec![spec(&[1, 2, 2, 1])], rule()).unwrap_err();
    assert!(
        error.to_string().ends_with("list.csv:1: `cat/a.png,x` is not FILE or FILE,LABEL with a label from 0"),
        "{error}"
    );
}

#[test]
fn planes_follow_one_another() {
    assert_eq!(planes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

fn archive(folder: &TempDir, arrays: &[(&str, ElementType, &[u32], &[u8])]) -> PathBuf {
    let mut writer = npz::Writer::new(Cursor::new(vec![]));
    for (name, element, shape, bytes) in arrays {
        writer.array(name, *element, shape, bytes).unwrap();
    }
    let path = folder.path().join("data.npz");
    fs::write(&path, writer.finish().unwrap().into_inner()).unwrap();
    path
}

#[test]
fn arrays_hold_many_examples() {
    let folder = TempDir::new().unwrap();
    let bytes: Vec<u8> = (0..8).collect();
    let path = archive(
        &folder,
        &[("image", ElementType::Uint8, &[2, 4], &bytes), ("labels", ElementType::Int8, &[2], &[3, 4])],
    );
    let data = Dataset::open(&path, vec![spec(&[1, 4])], rule()).unwrap();
    assert_eq!((data.len(), data.label(1)), (2, Some(4)));
    assert_eq!(data.load(1).unwrap().inputs, [vec![4.0, 5.0, 6.0, 7.0]]);
    let error = Dataset::open(&path, vec![spec(&[1, 3])], rule()).unwrap_err();
    assert!(matches!(error, DataError::Shape { .. }), "{error}");
    let two = vec![spec(&[1, 4]), InputSpec { name: "other".to_owned(), ..spec(&[1, 4]) }];
    assert!(matches!(Dataset::open(&path, two, rule()), Err(DataError::Missing { .. })));
}

#[test]
fn numbers_must_be_numbers() {
    let folder = TempDir::new().unwrap();
    let path = archive(&folder, &[("image", ElementType::Float32, &[1, 1], &f32::NAN.to_le_bytes())]);
    let data = Dataset::open(&path, vec![spec(&[1, 1])], rule()).unwrap();
    assert_eq!(data.load(0).unwrap_err().to_string(), "data.npz[0]: element 0 is NaN");
}

#[test]
fn what_is_no_data_set_says_so() {
    let folder = TempDir::new().unwrap();
    let open = |path: &Path| Dataset::open(path, vec![spec(&[1, 4])], rule()).unwrap_err();
    assert!(matches!(open(folder.path()), DataError::Empty { .. }));
    assert!(matches!(open(&folder.path().join("none")), DataError::Read { .. }));
    let path = folder.path().join("a.npz");
    fs::write(&path, b"PK").unwrap();
    assert!(matches!(open(&path), DataError::Npz { .. }));
}

fn coco(folder: &TempDir, text: &str) -> Result<Dataset, DataError> {
    let path = folder.path().join("objects.json");
    fs::write(&path, text).unwrap();
    Dataset::open_coco(&path, folder.path(), Classes::InOrder, vec![spec(&[1, 2, 2, 1])], rule())
}

#[test]
fn objects_come_with_their_pictures() {
    let folder = classes();
    let text = r#"{
        "images": [{"id": 7, "file_name": "cat/a.png"}, {"id": 8, "file_name": "gone.png"}],
        "annotations": [
            {"image_id": 7, "category_id": 90, "bbox": [0.5, 1, 1, 0.5], "iscrowd": 1, "area": 3, "segmentation": []},
            {"image_id": 9, "category_id": 5, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 5, "name": "cat"}]}"#;
    let data = coco(&folder, text).unwrap();
    assert_eq!((data.len(), data.classes()), (3, &["cat".to_owned(), "dog".to_owned()][..]));
    let Truth::Objects(objects) = data.load(0).unwrap().truth else { panic!("there are objects") };
    assert_eq!(objects.list, [Object { class: 1, corners: [0.5, 1.0, 1.5, 1.5], crowd: true }]);
    assert!(matches!(data.load(1).unwrap_err().why, ExampleProblem::Read(_)));
    assert_eq!(data.load(2).unwrap_err().to_string(), "image 9: there is a label for it, but no picture");
}

#[test]
fn objects_that_break_the_rules_are_refused() {
    let folder = classes();
    let with = |annotation: &str| {
        let text =
            format!(r#"{{"images": [], "annotations": [{annotation}], "categories": [{{"id": 1, "name": "x"}}]}}"#);
        coco(&folder, &text).unwrap_err().to_string()
    };
    let said = with(r#"{"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}"#);
    assert!(said.ends_with("annotations[0]: category_id is not in `categories`"), "{said}");
    let said = with(r#"{"image_id": 1, "category_id": 1, "bbox": [0, 0, -1, 1]}"#);
    assert!(said.ends_with("annotations[0]: bbox is not left, top, width, height"), "{said}");
    assert!(matches!(coco(&folder, "[]"), Err(DataError::Json { .. })));
    assert!(matches!(coco(&folder, r#"{"images": []}"#), Err(DataError::Empty { .. })));
}

#[test]
fn masks_go_with_the_pictures_of_their_names() {
    let folder = TempDir::new().unwrap();
    for (name, value) in [("pictures/a.png", 9), ("pictures/b.png", 9), ("masks/a.png", 1), ("masks/c.png", 2)] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, grey(value)).unwrap();
    }
    let (pictures, masks) = (folder.path().join("pictures"), folder.path().join("masks"));
    let data = Dataset::open_masks(&pictures, &masks, vec![spec(&[1, 2, 2, 1])], rule()).unwrap();
    let mask = Mask { width: 2, height: 2, classes: vec![1; 4] };
    assert_eq!(data.load(0).unwrap().truth, Truth::Mask(mask));
    assert_eq!(data.load(1).unwrap_err().to_string(), "b.png: there is no mask for it");
    assert_eq!(data.load(2).unwrap_err().to_string(), "c: there is a label for it, but no picture");
}

#[test]
fn labels_are_whole_numbers_one_per_example() {
    let folder = TempDir::new().unwrap();
    let open = |labels: (&str, ElementType, &[u32], &[u8])| {
        let path = archive(&folder, &[("x", ElementType::Int8, &[2, 1], &[1, 2]), labels]);
        Dataset::open(&path, vec![spec(&[1, 1])], rule()).unwrap_err()
    };
    assert!(matches!(open(("y", ElementType::Int8, &[1], &[0])), DataError::Counts { first: 2, other: 1, .. }));
    assert!(matches!(open(("y", ElementType::Float32, &[2], &[0; 8])), DataError::Labels { .. }));
}
