//! What is timed, and how: in turns, so that whatever slows the machine down slows all of them.

use std::path::Path;
use std::time::{Duration, Instant};

use cnnip_accurate::Simulator;
use cnnip_driver::{EngineId, NoObserver, Observer, Session, Status};
use cnnip_isa::operation::Operation;

use crate::error::Error;

/// Something that runs the network once and says how long that took.
pub(super) struct Contender<'a> {
    pub(super) name: String,
    pub(super) run: Box<dyn FnMut() -> Result<Duration, Error> + 'a>,
}

/// Times of one contender.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) name: String,
    /// Ascending.
    sorted: Vec<Duration>,
}

impl Times {
    /// The middle one; zero if there is none.
    pub(super) fn median(&self) -> Duration {
        self.sorted.get(self.sorted.len() / 2).copied().unwrap_or_default()
    }

    /// The shortest.
    pub(super) fn least(&self) -> Duration {
        self.sorted.first().copied().unwrap_or_default()
    }
}

/// Runs everyone in turn, once to warm up and then `turns` times.
///
/// # Errors
/// The first that a contender returns.
pub(super) fn interleave(
    contenders: &mut [Contender<'_>],
    turns: u32,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Times>, Error> {
    let turns = usize::try_from(turns).unwrap_or(usize::MAX);
    let mut times: Vec<Times> =
        contenders.iter().map(|contender| Times { name: contender.name.clone(), sorted: Vec::new() }).collect();
    for turn in 0..=turns {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let time = (contender.run)()?;
            if turn > 0 {
                times.sorted.push(time);
            }
        }
        progress(turn, turns);
    }
    times.iter_mut().for_each(|times| times.sorted.sort_unstable());
    Ok(times)
}

/// The instruction set simulator in run mode, with default checks: from submission to the outputs.
pub(super) fn iss(session: Session) -> Contender<'static> {
    let mut session = Some(session);
    let run = move || {
        let ready = session.take().ok_or_else(|| failed("the session is gone".to_owned()))?;
        let start = Instant::now();
        let job = ready.submit().map_err(|why| failed(why.to_string()))?;
        let outputs = job.wait().map_err(|why| failed(why.report().to_string()))?;
        let time = start.elapsed();
        session = Some(outputs.into_session());
        Ok(time)
    };
    Contender { name: "ISS".to_owned(), run: Box::new(run) }
}

/// The Accurate Simulator with so many threads.
pub(super) fn accurate(mut simulator: Simulator, threads: usize) -> Contender<'static> {
    let run = move || {
        let start = Instant::now();
        simulator.run().map_err(|why| failed(why.to_string()))?;
        Ok(start.elapsed())
    };
    let name = if threads == 1 { "Accurate".to_owned() } else { format!("Accurate, {threads} threads") };
    Contender { name, run: Box::new(run) }
}

/// The time of one run that the device makes cycle by cycle.
pub(super) fn stepped(session: Session) -> Result<Duration, Error> {
    let start = Instant::now();
    let mut job = session.submit().map_err(|why| failed(why.to_string()))?;
    while job.step_cycle(&mut NoObserver) == Status::Running {}
    job.wait().map_err(|why| failed(why.report().to_string()))?;
    Ok(start.elapsed())
}

/// Multiplications of all convolutions of a run, those with padding included.
pub(super) fn products(path: &Path, session: Session) -> Result<u64, Error> {
    let mut count = Count(0);
    let job = session.submit().map_err(|why| failed(why.to_string()))?;
    job.wait_with(&mut count).map_err(|why| Error::Bench { path: path.into(), why: why.report().to_string() })?;
    Ok(count.0)
}

struct Count(u64);

impl Observer for Count {
    fn operation(&mut self, _: EngineId, _: usize, operation: &Operation, _: u64, _: u64) {
        if let Operation::Conv(conv) = operation {
            self.0 += conv.macs();
        }
    }
}

/// Input bytes; the time does not depend on them.
pub(super) fn pattern() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).cycle().map(|byte| byte.wrapping_mul(151) ^ 0x80)
}

fn failed(why: String) -> Error {
    Error::Bench { path: "bench".into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_and_the_first_does_not_count() {
        let mut order = Vec::new();
        let order_of = std::cell::RefCell::new(&mut order);
        let mut contenders: Vec<Contender<'_>> = [5, 7]
            .map(|milliseconds| {
                let order = &order_of;
                let mut turn = 0;
                let run = move || {
                    order.borrow_mut().push(milliseconds);
                    turn += 1;
                    Ok(Duration::from_millis(if turn == 1 { 1000 } else { milliseconds * turn }))
                };
                Contender { name: milliseconds.to_string(), run: Box::new(run) }
            })
            .into();
        let times = interleave(&mut contenders, 3, |_, _| {}).unwrap();
        drop(contenders);
        assert_eq!(order, [5, 7, 5, 7, 5, 7, 5, 7]);
        assert_eq!(times[0].median(), Duration::from_millis(15));
        assert_eq!((times[1].least(), times[1].name.as_str()), (Duration::from_millis(14), "7"));
    }
}
