//! Other runtimes, in a Python process that runs them when told to.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::contender::Contender;
use crate::error::Error;

/// What `tools/bench_oracles.py` calls the runtime that ratios are to.
pub(super) const XNNPACK: &str = "LiteRT XNNPACK";

const SCRIPT: &str = include_str!("../../../../tools/bench_oracles.py");

/// The process, and the runtimes it has.
pub(super) struct Oracles {
    names: Vec<String>,
    process: RefCell<Process>,
    python: PathBuf,
}

struct Process {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Oracles {
    /// Starts it on forms of one model; runtimes that are absent or refuse the model are left out.
    ///
    /// # Errors
    /// If Python cannot be started or does not answer as the script does.
    pub(super) fn start(python: &Path, models: &[&Path]) -> Result<Self, Error> {
        let failed = |why: String| Error::Bench { path: python.into(), why };
        let mut child = Command::new(python)
            .arg("-c")
            .arg(SCRIPT)
            .args(models)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| failed(why.to_string()))?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| failed("no output".to_owned()))?;
        let mut process = Process { child, questions, answers: BufReader::new(answers) };
        let line = process.line().map_err(&failed)?;
        let names = serde_json::from_str(&line).map_err(|why| failed(format!("no list of runtimes: {why}")))?;
        Ok(Self { names, process: RefCell::new(process), python: python.into() })
    }

    /// A contender for every runtime.
    pub(super) fn contenders(&self) -> Vec<Contender<'_>> {
        let contender = |(index, name): (usize, &String)| {
            let run = move || {
                let seconds = self.process.borrow_mut().ask(index);
                let time = seconds.and_then(|time| Duration::try_from_secs_f64(time).map_err(|why| why.to_string()));
                time.map_err(|why| Error::Bench { path: self.python.clone(), why })
            };
            Contender { name: name.clone(), run: Box::new(run) }
        };
        self.names.iter().enumerate().map(contender).collect()
    }
}

impl Process {
    fn ask(&mut self, index: usize) -> Result<f64, String> {
        let questions = self.questions.as_mut().ok_or("no input")?;
        writeln!(questions, "{index}").and_then(|()| questions.flush()).map_err(|why| why.to_string())?;
        self.line()?.trim().parse().map_err(|_| "no time".to_owned())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("it ended; is numpy installed?".to_owned()),
            Ok(_) => Ok(line),
            Err(why) => Err(why.to_string()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.questions = None; // ends the script
        let _ = self.child.wait();
    }
}
