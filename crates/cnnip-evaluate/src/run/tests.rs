use std::io::Cursor;

use cnnip_data::npz::Writer;
use cnnip_data::{Fit, InputSpec, Normalize, PictureRule};
use cnnip_package::ElementType;
use tempfile::TempDir;

use super::*;

/// A level that gives its input, plus `add` to the second element. It fails on inputs that begin with a negative number.
struct Plus(f32);

impl Level for Plus {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError> {
        let mut output = inputs[0].clone();
        if output[0] < 0.0 {
            return Err(LevelError { level: "plus", why: "negative".to_owned() });
        }
        output[1] += self.0;
        Ok(vec![output])
    }
}

/// Examples `[i, 50]` of class 0 or 1, the one that is larger; number 13 begins with -1.
fn data(folder: &TempDir, count: u8) -> Dataset {
    let first = |i: u8| if i == 13 { -1.0 } else { f32::from(i) };
    let values = (0..count).flat_map(|i| [first(i), 50.0]).flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let labels = (0..count).map(|i| u8::from(i < 50)).collect::<Vec<u8>>();
    let mut writer = Writer::new(Cursor::new(vec![]));
    writer.array("x", ElementType::Float32, &[count.into(), 2], &values).unwrap();
    writer.array("labels", ElementType::Int8, &[count.into()], &labels).unwrap();
    let path = folder.path().join("data.npz");
    std::fs::write(&path, writer.finish().unwrap().into_inner()).unwrap();
    let spec = InputSpec { name: "x".to_owned(), shape: vec![1, 2], planar: false };
    Dataset::open(&path, vec![spec], PictureRule { fit: Fit::Exact, normalize: Normalize::all(0.0, 1.0) }).unwrap()
}

fn levels() -> Result<Vec<Box<dyn Level>>, LevelError> {
    Ok(vec![Box::new(Plus(0.0)), Box::new(Plus(20.5))])
}

const LEVELS: [&str; 2] = ["exact", "shifted"];

fn evaluation(data: &Dataset, threads: usize) -> Evaluation<'_> {
    Evaluation {
        data,
        count: usize::MAX,
        levels: &LEVELS,
        indices: &[],
        task: &Task::Classes,
        make: &levels,
        threads,
        stop: false,
    }
}

fn same(a: &Totals, b: &Totals) -> bool {
    (a.examples, a.labelled, a.failed, &a.levels, a.worst()) == (b.examples, b.labelled, b.failed, &b.levels, b.worst())
}

#[test]
fn threads_do_not_change_the_totals_nor_the_journal() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, 100);
    let mut journals = vec![];
    let mut all = vec![];
    for threads in [1, 2, 7] {
        let path = folder.path().join(format!("{threads}.csv"));
        let (mut journal, _) = Journal::open(&path, &LEVELS, false).unwrap();
        all.push(evaluate(&evaluation(&data, threads), &[], Some(&mut journal), &mut |_, _| true).unwrap());
        journals.push(std::fs::read_to_string(&path).unwrap());
    }
    assert!(same(&all[0], &all[1]) && same(&all[1], &all[2]));
    assert!(journals.windows(2).all(|two| two[0] == two[1]));
    assert_eq!((all[0].examples, all[0].failed, all[0].levels[0].top1), (99, 1, 99));
    assert_eq!(all[0].levels[1].agree, 78, "21 of the 50 whose first element is larger are overtaken");
}

#[test]
fn what_is_interrupted_and_resumed_counts_everything_once() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, 100);
    let whole = evaluate(&evaluation(&data, 2), &[], None, &mut |_, _| true).unwrap();
    let path = folder.path().join("journal.csv");
    for stop_after in [1, 17, 60] {
        let (mut journal, before) = Journal::open(&path, &LEVELS, stop_after > 1).unwrap();
        let mut left = stop_after;
        let mut enough = |_: &Record, _: &Totals| {
            left -= 1;
            left > 0
        };
        evaluate(&evaluation(&data, 3), &before, Some(&mut journal), &mut enough).unwrap();
    }
    let (mut journal, before) = Journal::open(&path, &LEVELS, true).unwrap();
    assert_eq!(before.len(), 78);
    let resumed = evaluate(&evaluation(&data, 3), &before, Some(&mut journal), &mut |_, _| true).unwrap();
    assert!(same(&whole, &resumed));
}

#[test]
fn an_example_that_fails_can_end_it() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, 100);
    let stop = Evaluation { stop: true, ..evaluation(&data, 1) };
    let totals = evaluate(&stop, &[], None, &mut |_, _| true).unwrap();
    assert_eq!((totals.examples, totals.failed), (13, 1));
}

/// A level that finds one object in the left half of any picture, with the picture's first pixel as score.
struct LeftHalf;

impl Level for LeftHalf {
    fn run(&mut self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, LevelError> {
        Ok(vec![vec![0.0, 0.0, 1.0, 0.5], vec![1.0], vec![inputs[0][0] / 255.0]])
    }
}

/// Pictures of one grey each, in a file of objects of COCO's form.
fn pictures(folder: &TempDir, greys: &[u8], annotations: &str) -> Dataset {
    let mut images = vec![];
    for (id, grey) in greys.iter().enumerate() {
        let name = format!("{id}.pgm");
        std::fs::write(folder.path().join(&name), [b"P5 4 2 255\n", &[*grey; 8][..]].concat()).unwrap();
        images.push(format!(r#"{{"id": {id}, "file_name": "{name}"}}"#));
    }
    let categories = r#"[{"id": 3, "name": "a"}, {"id": 8, "name": "b"}]"#;
    let text =
        format!(r#"{{"images": [{}], "annotations": [{annotations}], "categories": {categories}}}"#, images.join(","));
    let path = folder.path().join("objects.json");
    std::fs::write(&path, text).unwrap();
    let spec = InputSpec { name: "x".to_owned(), shape: vec![1, 2, 4, 1], planar: false };
    let rule = PictureRule { fit: Fit::Exact, normalize: Normalize::all(0.0, 1.0) };
    Dataset::open_coco(&path, folder.path(), cnnip_data::Classes::InOrder, vec![spec], rule).unwrap()
}

#[test]
fn objects_are_found_and_missed() {
    let folder = TempDir::new().unwrap();
    // The first and the third picture have what the level says, the second has nothing, the fourth is not there.
    let object = |id: usize| format!(r#"{{"image_id": {id}, "category_id": 8, "bbox": [0, 0, 2, 2]}}"#);
    let data = pictures(&folder, &[200, 150, 100], &[object(0), object(2), object(3)].join(","));
    let order = crate::task::BoxOutputs { boxes: 0, classes: 1, scores: 2, count: None, form: Default::default() };
    let task = Task::Boxes(order);
    let make = || -> Result<Vec<Box<dyn Level>>, LevelError> { Ok(vec![Box::new(LeftHalf)]) };
    let levels = ["left"];
    let evaluation = Evaluation {
        data: &data,
        count: usize::MAX,
        levels: &levels,
        indices: &[],
        task: &task,
        make: &make,
        threads: 2,
        stop: false,
    };
    let path = folder.path().join("journal.csv");
    let (mut journal, _) = Journal::open(&path, &levels, false).unwrap();
    let totals = evaluate(&evaluation, &[], Some(&mut journal), &mut |_, _| true).unwrap();
    assert_eq!((totals.examples, totals.labelled, totals.failed), (3, 3, 1));
    assert_eq!(totals.objects, BTreeMap::from([(1, 2)]));
    // Right, wrong, right, by score: precision 1 up to recall 0.5, then 2/3.
    let want = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
    let precise = totals.precision(0).unwrap();
    assert!((precise.half - want).abs() < 1e-12 && (precise.mean - want).abs() < 1e-12, "{precise:?}");
    let (_, before) = Journal::open(&path, &levels, true).unwrap();
    let resumed = evaluate(&evaluation, &before, None, &mut |_, _| true).unwrap();
    assert!(same(&totals, &resumed) && resumed.precision(0) == totals.precision(0));
}

#[test]
fn a_class_the_network_does_not_have_is_told() {
    let example = Example { inputs: vec![vec![0.0, 1.0]], truth: Truth::Unknown };
    let run = |label| outcomes((&Task::Classes, &[]), &example, label, &mut levels().unwrap());
    assert_eq!(run(Some(2)).unwrap_err(), "its class is 2, the network has 2 from 0 on");
    assert!(run(Some(1)).is_ok() && run(None).is_ok());
}

#[test]
fn a_journal_of_other_examples_is_refused() {
    let folder = TempDir::new().unwrap();
    let data = data(&folder, 10);
    let record = Record {
        index: 3,
        name: "other.npz[3]".to_owned(),
        label: None,
        objects: BTreeMap::new(),
        result: Err("x".to_owned()),
    };
    let refused = evaluate(&evaluation(&data, 1), &[record], None, &mut |_, _| true).unwrap_err();
    assert_eq!(refused.to_string(), "example 3 is `other.npz[3]` in the journal, `data.npz[3]` in the data set");
}
