//! Records on disk: a text file with a line of comma-separated values per example.
//!
//! A line is written at once and then flushed. What a killed process left of a last line is dropped when the journal is opened
//! again, and the example is run again.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use crate::areas::{Area, Areas};
use crate::boxes::Hit;
use crate::record::{Distance, Outcome, Record};
use crate::task::Evidence;

/// A journal of an evaluation.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Not readable or writable.
    #[error("{path}: {why}")]
    File {
        /// The journal.
        path: PathBuf,
        /// What went wrong.
        why: io::Error,
    },
    /// A journal of other levels or of something else.
    #[error("{path}: begins with `{found}`, not `{wanted}`")]
    Header {
        /// The journal.
        path: PathBuf,
        /// Its first line.
        found: String,
        /// The first line of a journal of this evaluation.
        wanted: String,
    },
    /// A line that is no record.
    #[error("{path}:{line}: this is no record: `{text}`")]
    Line {
        /// The journal.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// What a line cannot hold; a blank stands for it.
pub(crate) const LINE_ENDS: [char; 2] = ['\n', '\r'];

/// Columns per level: best classes, elements, different ones, largest difference, signal, noise, objects found or areas.
const COLUMNS: [&str; 7] = ["best", "elements", "different", "largest", "signal", "noise", "evidence"];

/// The first line of a journal.
fn header(levels: &[&str]) -> String {
    let mut header = "index,name,label,error,objects".to_owned();
    for level in levels {
        for column in COLUMNS {
            let _ = write!(header, ",{level}.{column}"); // a String takes all
        }
    }
    header
}

impl Journal {
    /// Begins a journal in place of what was there, or goes on with one; gives the records it has.
    ///
    /// # Errors
    /// A file that cannot be read or written; to go on, one of other levels or with lines that are no records.
    pub fn open(path: &Path, levels: &[&str], resume: bool) -> Result<(Self, Vec<Record>), JournalError> {
        let error = |why| JournalError::File { path: path.into(), why };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(!resume).open(path).map_err(error)?;
        let (records, end) = Self::records(path, &file, levels)?;
        file.set_len(end).map_err(error)?;
        file.seek(io::SeekFrom::End(0)).map_err(error)?;
        if end == 0 {
            writeln!(file, "{}", header(levels)).map_err(error)?;
        }
        Ok((Self { path: path.into(), file }, records))
    }

    /// The complete records, and where the last of them ends.
    fn records(path: &Path, file: &File, levels: &[&str]) -> Result<(Vec<Record>, u64), JournalError> {
        let mut reader = BufReader::new(file);
        let (mut records, mut end, mut line) = (vec![], 0_u64, String::new());
        for number in 1.. {
            line.clear();
            let read = reader.read_line(&mut line).map_err(|why| JournalError::File { path: path.into(), why })?;
            let Some(text) = line.strip_suffix('\n') else { break };
            if number == 1 {
                check_header(path, text, levels)?;
            } else {
                let wrong = || JournalError::Line { path: path.into(), line: number, text: text.to_owned() };
                records.push(parse(text, levels.len()).ok_or_else(wrong)?);
            }
            end += u64::try_from(read).unwrap_or(0);
        }
        Ok((records, end))
    }

    /// Appends a record.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let line = format!("{}\n", print(record));
        self.file.write_all(line.as_bytes()).map_err(|why| JournalError::File { path: self.path.clone(), why })
    }
}

fn check_header(path: &Path, found: &str, levels: &[&str]) -> Result<(), JournalError> {
    let wanted = header(levels);
    if found == wanted {
        return Ok(());
    }
    Err(JournalError::Header { path: path.into(), found: found.chars().take(120).collect(), wanted })
}

fn print(record: &Record) -> String {
    let label = record.label.map(|label| label.to_string()).unwrap_or_default();
    let error = record.result.as_ref().err().map(|why| quote(why)).unwrap_or_default();
    let objects: Vec<String> = record.objects.iter().map(|(class, count)| format!("{class}:{count}")).collect();
    let mut line = format!("{},{},{label},{error},{}", record.index, quote(&record.name), objects.join(" "));
    for Outcome { best, distance, evidence } in record.result.iter().flatten() {
        let best: Vec<String> = best.iter().map(ToString::to_string).collect();
        let Distance { elements, different, largest, signal, noise } = distance;
        let _ = write!(line, ",{},{elements},{different},{largest:?},{signal:?},{noise:?}", best.join(" "));
        let _ = write!(line, ",{}", printed(evidence));
    }
    line
}

/// `hits CLASS:SCORE:MATCHED:IGNORED ..`, `areas CLASS:BOTH:SAID:REAL ..`, or nothing.
fn printed(evidence: &Evidence) -> String {
    let (name, list): (&str, Vec<String>) = match evidence {
        Evidence::None => return String::new(),
        Evidence::Hits(hits) => {
            let hit = |Hit { class, score, matched, ignored }: &Hit| format!("{class}:{score:?}:{matched}:{ignored}");
            ("hits", hits.iter().map(hit).collect())
        }
        Evidence::Areas(areas) => {
            let area = |(class, Area { both, said, real }): (&usize, &Area)| format!("{class}:{both}:{said}:{real}");
            ("areas", areas.iter().map(area).collect())
        }
    };
    format!("{name} {}", list.join(" "))
}

/// A text as one value: in quotes, quotes doubled, line ends as blanks.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace(LINE_ENDS, " ").replace('"', "\"\""))
}

fn parse(line: &str, levels: usize) -> Option<Record> {
    let mut values = split(line)?.into_iter();
    let index = values.next()?.parse().ok()?;
    let name = values.next()?;
    let label = optional(&values.next()?)?;
    let error = values.next()?;
    let objects = values.next()?.split_whitespace().map(fields).map(object).collect::<Option<_>>()?;
    let rest: Vec<String> = values.collect();
    let result = if error.is_empty() {
        if rest.len() != levels * COLUMNS.len() {
            return None;
        }
        Ok(rest.chunks(COLUMNS.len()).map(outcome).collect::<Option<Vec<Outcome>>>()?)
    } else {
        Err(error)
    };
    Some(Record { index, name, label, objects, result })
}

fn optional(text: &str) -> Option<Option<usize>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

fn outcome(values: &[String]) -> Option<Outcome> {
    let [best, elements, different, largest, signal, noise, evidence] = values else { return None };
    let best = best.split_whitespace().map(|class| class.parse().ok()).collect::<Option<Vec<usize>>>()?;
    let distance = Distance {
        elements: elements.parse().ok()?,
        different: different.parse().ok()?,
        largest: largest.parse().ok()?,
        signal: signal.parse().ok()?,
        noise: noise.parse().ok()?,
    };
    Some(Outcome { best, distance, evidence: self::evidence(evidence)? })
}

fn fields(text: &str) -> Vec<&str> {
    text.split(':').collect()
}

fn object(fields: Vec<&str>) -> Option<(usize, u64)> {
    let [class, count] = fields[..] else { return None };
    Some((class.parse().ok()?, count.parse().ok()?))
}

/// What [`printed`] printed.
fn evidence(text: &str) -> Option<Evidence> {
    let mut words = text.split_whitespace();
    let name = words.next();
    let words = words.map(fields);
    let hit = |fields: Vec<&str>| {
        let [class, score, matched, ignored] = fields[..] else { return None };
        let (class, score) = (class.parse().ok()?, score.parse().ok()?);
        Some(Hit { class, score, matched: matched.parse().ok()?, ignored: ignored.parse().ok()? })
    };
    let area = |fields: Vec<&str>| {
        let [class, both, said, real] = fields[..] else { return None };
        let area = Area { both: both.parse().ok()?, said: said.parse().ok()?, real: real.parse().ok()? };
        Some((class.parse().ok()?, area))
    };
    match name {
        None => Some(Evidence::None),
        Some("hits") => words.map(hit).collect::<Option<_>>().map(Evidence::Hits),
        Some("areas") => words.map(area).collect::<Option<Areas>>().map(Evidence::Areas),
        Some(_) => None,
    }
}

/// The values of a line; `None` if a quote is not closed.
fn split(line: &str) -> Option<Vec<String>> {
    let (mut values, mut value, mut quoted) = (vec![], String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                value.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    values.push(value);
    (!quoted).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    fn record(index: usize, result: Result<Vec<Outcome>, String>) -> Record {
        let objects = BTreeMap::from([(index, 2), (90, 1)]);
        Record { index, name: format!("a \"b\",{index}"), label: index.checked_sub(1), objects, result }
    }

    fn outcome() -> Outcome {
        let distance = Distance { elements: 10, different: 3, largest: 0.1, signal: 1e-9, noise: f64::INFINITY };
        let hit = Hit { class: 7, score: 0.1, matched: 0x3ff, ignored: 1 };
        Outcome { best: vec![3, 1], distance, evidence: Evidence::Hits(vec![hit, hit]) }
    }

    #[test]
    fn a_journal_goes_on_where_it_was() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("journal.csv");
        let records = [record(0, Ok(vec![outcome(), outcome()])), record(1, Err("broken\n, \"badly\"".to_owned()))];
        let (mut journal, before) = Journal::open(&path, &["float", "iss"], false).unwrap();
        assert!(before.is_empty());
        records.iter().for_each(|record| journal.append(record).unwrap());
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"2,\"torn"].concat()).unwrap();
        let (mut journal, before) = Journal::open(&path, &["float", "iss"], true).unwrap();
        assert_eq!(before[0], records[0]);
        assert_eq!(before[1].result, Err("broken , \"badly\"".to_owned()));
        journal.append(&record(2, Ok(vec![outcome(), outcome()]))).unwrap();
        assert_eq!(Journal::open(&path, &["float", "iss"], true).unwrap().1.len(), 3);
        assert!(matches!(Journal::open(&path, &["float"], true), Err(JournalError::Header { .. })));
        assert!(Journal::open(&path, &["float"], false).unwrap().1.is_empty());
    }

    #[test]
    fn lines_that_are_no_records_are_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("journal.csv");
        std::fs::write(&path, format!("{}\nx\n", header(&["float"]))).unwrap();
        assert!(matches!(Journal::open(&path, &["float"], true), Err(JournalError::Line { line: 2, .. })));
    }

    proptest! {
        #[test]
        fn reading_inverts_writing(name in "[ -~]{0,20}", best in proptest::collection::vec(0_usize..1000, 0..5), a: f64, b: f64) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            let distance = Distance { elements: 1, different: 1, largest: a, signal: b, noise: a };
            let area = Area { both: 1, said: u64::MAX, real: 3 };
            let evidence = Evidence::Areas(best.iter().map(|&class| (class, area)).collect());
            let objects = best.iter().map(|&class| (class, 1)).collect();
            let result = Ok(vec![Outcome { best, distance, evidence }]);
            let record = Record { index: 7, name, label: Some(3), objects, result };
            prop_assert_eq!(parse(&print(&record), 1), Some(record));
        }

        #[test]
        fn any_line_is_read_or_refused(line in "[ -~]{0,60}") {
            let _ = parse(&line, 1);
        }
    }
}
