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
    Evaluation { data, count: usize::MAX, levels: &LEVELS, make: &levels, threads, stop: false }
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
