//! The search for a faster cut of the layers, as arguments of `cnnip compile`.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use cnnip_compiler::{Choices, Price, Trial, Tuner};
use serde_json::{Value, json};

use crate::error::Error;
use crate::files;
use crate::stream::Streams;

/// How long is searched.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tuning")]
pub(crate) struct Tune {
    /// Try so many other cuts of the layers and keep the fastest; results stay the same, bit for bit. OUT.cnnip and the reports are
    /// those of the best so far, 2 seconds old at most, so the search may be stopped at any time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tune: Option<u64>,
    /// Write every trial into a file, and go on after those that are there
    #[arg(long, value_name = "FILE", requires = "tune")]
    tune_record: Option<PathBuf>,
    /// Begin no trial after so many seconds
    #[arg(long, value_name = "S", requires = "tune")]
    tune_seconds: Option<u64>,
    /// Another number gives other trials
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "tune")]
    tune_seed: u64,
}

/// What a search has found.
#[derive(Clone, Debug)]
pub(crate) struct Tuned {
    pub(crate) choices: Choices,
    before: Price,
    after: Price,
    /// Trials, those of the record among them.
    trials: u64,
    measured: u64,
    seconds: f64,
}

/// A better cut is written out when what was written last is as old as this: writing takes time, and most are soon better still.
const FRESH: Duration = Duration::from_secs(2);
/// Largest record.
const MAX_RECORD_BYTES: u64 = 1 << 30;

impl Tune {
    /// Searches, if it was asked for, with the tuner that `begin` gives for a seed; `write` gets the best so far now and then.
    pub(crate) fn run(
        &self,
        begin: &dyn Fn(u64) -> Result<Tuner, Error>,
        streams: &mut Streams<'_>,
        write: &mut dyn FnMut(&Choices) -> Result<(), Error>,
    ) -> Result<Option<Tuned>, Error> {
        let Some(trials) = self.tune else { return Ok(None) };
        let mut tuner = begin(self.tune_seed)?;
        let before = tuner.price();
        let mut record =
            self.tune_record.as_ref().map(|file| Record::open(file, self.tune_seed, before)).transpose()?;
        let (start, mut written, mut is_new) = (Instant::now(), Instant::now(), false);
        let (mut number, mut measured) = (0, 0);
        while number < trials {
            let trial = tuner.propose();
            let known = record.as_mut().map_or(Ok(None), |record| record.known(&tuner, &trial))?;
            if known.is_none() && self.tune_seconds.is_some_and(|most| start.elapsed() >= Duration::from_secs(most)) {
                break;
            }
            let price = known.unwrap_or_else(|| tuner.measure(&trial));
            if known.is_none() {
                measured += 1;
                record.as_mut().map_or(Ok(()), |record| record.append(&trial, price))?;
            }
            number += 1;
            is_new |= tuner.learn(&trial, price);
            if is_new && written.elapsed() >= FRESH {
                write(tuner.choices())?;
                (written, is_new) = (Instant::now(), false);
            }
            progress(streams, tuner.price(), number, trials);
        }
        let (choices, after) = (tuner.choices().clone(), tuner.price());
        Ok(Some(Tuned { choices, before, after, trials: number, measured, seconds: start.elapsed().as_secs_f64() }))
    }
}

fn progress(streams: &mut Streams<'_>, price: Price, number: u64, trials: u64) {
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    streams.progress(&format!("tuning, {} cycles", price.cycles), size(number), size(trials));
}

impl Tuned {
    /// Trials measured in a second.
    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let measured = self.measured as f64;
        if self.seconds > 0.0 { measured / self.seconds } else { 0.0 }
    }

    /// In one line.
    pub(crate) fn text(&self) -> String {
        let Self { before, after, trials, measured, seconds, .. } = self;
        format!(
            "  tuned: {} cycles instead of {}, {} bytes moved instead of {}; {trials} trials, {measured} of them measured in \
             {seconds:.1} s, {:.1} per second",
            after.cycles,
            before.cycles,
            after.external_bytes,
            before.external_bytes,
            self.rate()
        )
    }

    /// For programs.
    pub(crate) fn data(&self) -> Value {
        let price = |price: Price| json!({ "cycles_estimate": price.cycles, "external_bytes": price.external_bytes });
        json!({
            "before": price(self.before),
            "after": price(self.after),
            "trials": self.trials,
            "measured": self.measured,
            "seconds": self.seconds,
            "trials_per_second": self.rate(),
        })
    }
}

/// Trials in a text file: a first line that says of what, then a line per trial with its price, or `-` where it does not compile.
#[derive(Debug)]
struct Record {
    path: PathBuf,
    file: File,
    /// Trials that were there, next one first, with their line numbers.
    known: std::vec::IntoIter<(usize, Trial, Option<Price>)>,
}

impl Record {
    /// Opens a record or begins one. What a killed process left of a last line is dropped.
    fn open(path: &Path, seed: u64, before: Price) -> Result<Self, Error> {
        let failed = |why| Error::Write { path: path.into(), why };
        let first = format!("cnnip tuning, seed {seed}, from {}", print(Some(before)));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let text = files::read_text(path, MAX_RECORD_BYTES)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut known = vec![];
        for (number, line) in whole.lines().enumerate() {
            let refused = |why: &str| refused(path, number + 1, why);
            if number > 0 {
                let (trial, price) = parse(line).ok_or_else(|| refused("this is no trial"))?;
                known.push((number + 1, trial, price));
            } else if line != first {
                return Err(refused(&format!("`{line}`, not `{first}`")));
            }
        }
        let end = u64::try_from(whole.len()).unwrap_or(u64::MAX);
        file.set_len(end).and_then(|()| file.seek(io::SeekFrom::End(0))).map_err(failed)?;
        if end == 0 {
            writeln!(file, "{first}").map_err(failed)?;
        }
        Ok(Self { path: path.into(), file, known: known.into_iter() })
    }

    /// The price that a trial had before. One that was the best so far is measured again, so that a record of another model is found out.
    fn known(&mut self, tuner: &Tuner, trial: &Trial) -> Result<Option<Option<Price>>, Error> {
        let Some((line, known, price)) = self.known.next() else { return Ok(None) };
        let is_best = price.is_some_and(|price| price < tuner.price());
        if known != *trial || is_best && tuner.measure(trial) != price {
            return Err(refused(&self.path, line, "this is not what the search does here"));
        }
        Ok(Some(price))
    }

    fn append(&mut self, trial: &Trial, price: Option<Price>) -> Result<(), Error> {
        let line = format!("{}: {trial}\n", print(price));
        self.file.write_all(line.as_bytes()).map_err(|why| Error::Write { path: self.path.clone(), why })
    }
}

fn refused(path: &Path, line: usize, why: &str) -> Error {
    Error::Analysis {
        kind: "usage",
        message: format!("{}:{line}: {why}", path.display()),
        hint: "a record goes with one model, target, set of flags, seed and version of the tool: name another file"
            .to_owned(),
    }
}

fn print(price: Option<Price>) -> String {
    price.map_or("-".to_owned(), |price| format!("{} cycles {} bytes", price.cycles, price.external_bytes))
}

fn parse(line: &str) -> Option<(Trial, Option<Price>)> {
    let (price, trial) = line.split_once(": ")?;
    let trial = trial.parse().ok()?;
    if price == "-" {
        return Some((trial, None));
    }
    let (cycles, bytes) = price.strip_suffix(" bytes")?.split_once(" cycles ")?;
    Some((trial, Some(Price { cycles: cycles.parse().ok()?, external_bytes: bytes.parse().ok()? })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let price = Price { cycles: 100, external_bytes: 7 };
        let trial = |text: &str| text.parse::<Trial>().unwrap();
        let trials = [(trial("way 1: layer 1 plan 2, value 3 moves"), Some(price)), (trial("way 0: "), None)];
        let mut record = Record::open(&path, 5, price).unwrap();
        trials.iter().for_each(|(trial, price)| record.append(trial, *price).unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"99 cycles 7 by"].concat()).unwrap();
        let record = Record::open(&path, 5, price).unwrap();
        let known: Vec<_> = record.known.map(|(_, trial, price)| (trial, price)).collect();
        assert_eq!(known, trials);
        assert_eq!(std::fs::read(&path).unwrap(), whole, "a torn line is dropped");
        assert!(Record::open(&path, 6, price).unwrap_err().text().contains("seed 6"));
    }
}
