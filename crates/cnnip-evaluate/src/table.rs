//! Records as a Parquet file: a row per example, the journal's columns and what follows from them.

use std::io::{self, Write};

use cnnip_data::parquet::{Cell, Column, Kind, Writer};

use crate::areas::{accuracy, mean_iou};
use crate::record::Record;
use crate::task::Evidence;

/// Columns per level. `best` is the best class, `best5` the five best; `right` says whether the best is the example's class;
/// `iou` and `pixels` are mean intersection over union and the share of right pixels in this example, `found` the objects found.
const COLUMNS: [(&str, Kind); 10] = [
    ("best", Kind::Integer),
    ("best5", Kind::Text),
    ("right", Kind::Integer),
    ("elements", Kind::Integer),
    ("different", Kind::Integer),
    ("largest", Kind::Real),
    ("sqnr_db", Kind::Real),
    ("found", Kind::Integer),
    ("iou", Kind::Real),
    ("pixels", Kind::Real),
];

/// A table that grows by a row per record.
pub struct Table<W: Write> {
    writer: Writer<W>,
    levels: usize,
}

impl<W: Write> Table<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(out: W, levels: &[&str]) -> io::Result<Self> {
        let example = [("index", Kind::Integer), ("name", Kind::Text), ("label", Kind::Integer), ("error", Kind::Text)]
            .map(|(name, kind)| Column { name: name.to_owned(), kind });
        let of = |level: &&str| COLUMNS.map(|(name, kind)| Column { name: format!("{level}.{name}"), kind });
        let columns = example.into_iter().chain(levels.iter().flat_map(of)).collect();
        Ok(Self { writer: Writer::new(out, columns)?, levels: levels.len() })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Those of the output.
    pub fn row(&mut self, record: &Record) -> io::Result<()> {
        let error = record.result.as_ref().err().cloned().map(Cell::Text);
        let mut cells =
            vec![count(record.index), Some(Cell::Text(record.name.clone())), record.label.and_then(count), error];
        for outcome in record.result.iter().flatten() {
            let (best, distance) = (&outcome.best, &outcome.distance);
            let (found, areas) = match &outcome.evidence {
                Evidence::None => (None, None),
                Evidence::Hits(hits) => (Some(hits.len()), None),
                Evidence::Areas(areas) => (None, Some(areas)),
            };
            let right = record.label.map(|label| usize::from(best.first() == Some(&label)));
            let words: Vec<String> = best.iter().map(ToString::to_string).collect();
            cells.extend([
                best.first().copied().and_then(count),
                (!best.is_empty()).then(|| Cell::Text(words.join(" "))),
                right.and_then(count),
                count(distance.elements),
                count(distance.different),
                Some(Cell::Real(distance.largest)),
                Some(Cell::Real(distance.sqnr())),
                found.and_then(count),
                areas.and_then(mean_iou).map(Cell::Real),
                areas.and_then(accuracy).map(Cell::Real),
            ]);
        }
        cells.resize(4 + self.levels * COLUMNS.len(), None);
        self.writer.row(&cells)
    }

    /// Completes the file.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }
}

fn count<N: TryInto<i64>>(value: N) -> Option<Cell> {
    value.try_into().ok().map(Cell::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Distance, Outcome};
    use std::collections::BTreeMap;

    #[test]
    fn every_record_is_a_row() {
        let outcome = Outcome { best: vec![2, 1], distance: Distance::default(), evidence: Evidence::None };
        let record =
            |result| Record { index: 0, name: "n".to_owned(), label: Some(2), objects: BTreeMap::new(), result };
        let mut table = Table::new(vec![], &["float", "iss"]).unwrap();
        table.row(&record(Ok(vec![outcome.clone(), outcome]))).unwrap();
        table.row(&record(Err("broken".to_owned()))).unwrap();
        let file = table.finish().unwrap();
        assert!(
            [&b"iss.sqnr_db"[..], b"broken", b"2 1"]
                .iter()
                .all(|text| { file.windows(text.len()).any(|bytes| bytes == *text) })
        );
    }
}
