//! Mixed precision: the fewest tensors to lift from 8 to 16 bits.

use std::collections::HashMap;

use cnnip_graph::Graph;

use crate::quantize::activations;
use crate::ties::Ties;

/// Tensors that must have the same width, and so are lifted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Their names, in the order of the graph; not empty. Each of them, as a pattern of [`Options::wide`](crate::Options::wide),
    /// lifts all.
    pub tensors: Vec<String>,
}

/// What can be lifted in a float graph, in the order of the graph. Constants follow the nodes that read them.
pub fn candidates(graph: &Graph) -> Vec<Candidate> {
    let activations = activations(graph);
    let ties = Ties::of(graph, |id| activations[id.index()]);
    let mut places = HashMap::new();
    let mut found: Vec<Candidate> = vec![];
    for id in graph.tensor_ids().filter(|&id| activations[id.index()] && !graph[id].is_constant()) {
        let place = *places.entry(ties.root(id)).or_insert(found.len());
        if place == found.len() {
            found.push(Candidate { tensors: vec![] });
        }
        found[place].tensors.push(graph[id].name.clone());
    }
    found
}

/// How good a network with some candidates lifted is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Signal to noise in dB of its outputs, by which candidates are ranked.
    pub sqnr_db: f64,
    /// Whether it reaches the goal, which may be one of another kind.
    pub reached: bool,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Candidates to lift, ascending.
    pub lifted: Vec<usize>,
    /// With nothing lifted.
    pub before: Score,
    /// With `lifted` lifted; where the goal cannot be reached, that is everything that can be lifted.
    pub after: Score,
    /// Whether every smaller set was tried too.
    pub is_smallest: bool,
    /// Signal to noise with one candidate lifted alone; `None` where the network cannot be made so.
    pub alone: Vec<Option<f64>>,
    /// Networks that were made.
    pub tried: usize,
}

/// Searches the fewest of `count` candidates whose lifting reaches the goal.
///
/// Each candidate is lifted alone first: errors of tensors add up, so the noise that then goes away is what the tensor makes. The
/// shortest prefix of that ranking that reaches the goal is pruned one by one, beginning with the least. Then all smaller sets are
/// tried, size by size, as long as all sets of a size fit into `tries` further networks.
///
/// `score` gives the score of a set of candidates, ascending. Where it fails for a set, that set does not reach the goal.
///
/// # Errors
/// That of `score` with nothing lifted.
///
/// ```
/// use cnnip_quant::mixed::{Score, fewest};
///
/// // Noise that each of four tensors makes in 8 bits.
/// let noise = [0.001, 0.5, 0.002, 0.3];
/// let score = |lifted: &[usize]| {
///     let rest: f64 = (0..4).filter(|at| !lifted.contains(at)).map(|at| noise[at]).sum();
///     let sqnr_db = -10.0 * rest.log10();
///     Ok::<_, ()>(Score { sqnr_db, reached: sqnr_db >= 20.0 })
/// };
/// let found = fewest(4, 100, score)?;
/// assert_eq!((found.lifted, found.is_smallest), (vec![1, 3], true));
/// # Ok::<(), ()>(())
/// ```
pub fn fewest<E>(count: usize, tries: usize, score: impl FnMut(&[usize]) -> Result<Score, E>) -> Result<Found, E> {
    let mut search = Search { score, known: HashMap::new() };
    let before = (search.score)(&[])?;
    search.known.insert(vec![], Some(before));
    let alone: Vec<Option<f64>> = (0..count).map(|one| search.of(&[one]).map(|score| score.sqnr_db)).collect();
    let mut ranked: Vec<(usize, f64)> = alone.iter().enumerate().filter_map(|(at, db)| Some((at, (*db)?))).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let ranked: Vec<usize> = ranked.into_iter().map(|(at, _)| at).collect();
    let (mut lifted, mut is_smallest) = (search.prefix(&ranked), false);
    if search.reaches(&lifted) {
        search.prune(&mut lifted);
        is_smallest = search.smaller(&ranked, &mut lifted, tries);
    }
    lifted.sort_unstable();
    let after = search.of(&lifted).unwrap_or(before);
    Ok(Found { lifted, before, after, is_smallest, alone, tried: search.known.len() })
}

struct Search<F> {
    score: F,
    known: HashMap<Vec<usize>, Option<Score>>,
}

impl<E, F: FnMut(&[usize]) -> Result<Score, E>> Search<F> {
    fn of(&mut self, lifted: &[usize]) -> Option<Score> {
        let mut set = lifted.to_vec();
        set.sort_unstable();
        if let Some(&known) = self.known.get(&set) {
            return known;
        }
        let found = (self.score)(&set).ok();
        self.known.insert(set, found);
        found
    }

    fn reaches(&mut self, lifted: &[usize]) -> bool {
        self.of(lifted).is_some_and(|score| score.reached)
    }

    /// The shortest prefix that reaches the goal, in as many steps as the number of candidates has bits; all if none does.
    fn prefix(&mut self, ranked: &[usize]) -> Vec<usize> {
        let (mut short, mut long) = (0, ranked.len());
        if self.reaches(&[]) {
            return vec![];
        }
        // `short` does not reach it; `long` does, unless nothing does.
        while short + 1 < long {
            let middle = short.midpoint(long);
            if self.reaches(&ranked[..middle]) { long = middle } else { short = middle }
        }
        ranked[..long].to_vec()
    }

    /// Takes out what is not needed, the least useful first.
    fn prune(&mut self, lifted: &mut Vec<usize>) {
        for at in (0..lifted.len()).rev() {
            let mut fewer = lifted.clone();
            fewer.remove(at);
            if self.reaches(&fewer) {
                *lifted = fewer;
            }
        }
    }

    /// Tries all smaller sets while they fit into `tries`; gives whether they did.
    fn smaller(&mut self, ranked: &[usize], lifted: &mut Vec<usize>, mut tries: usize) -> bool {
        for size in 1..lifted.len() {
            let sets = match size {
                1 => 0, // each was lifted alone
                _ => combinations(ranked.len(), size),
            };
            let Some(rest) = tries.checked_sub(sets) else { return false };
            tries = rest;
            let mut chosen: Vec<usize> = (0..size).collect();
            loop {
                let set: Vec<usize> = chosen.iter().map(|&at| ranked[at]).collect();
                if self.reaches(&set) {
                    *lifted = set;
                    return true;
                }
                if !next(&mut chosen, ranked.len()) {
                    break;
                }
            }
        }
        true
    }
}

/// The next ascending choice out of `count`; `false` after the last.
fn next(chosen: &mut [usize], count: usize) -> bool {
    let size = chosen.len();
    let Some(at) = (0..size).rev().find(|&at| chosen[at] + size - at < count) else { return false };
    let first = chosen[at] + 1;
    chosen[at..].iter_mut().zip(first..).for_each(|(place, value)| *place = value);
    true
}

/// Number of sets of `size` out of `count`; saturates.
fn combinations(count: usize, size: usize) -> usize {
    (0..size.min(count)).fold(1_usize, |sets, at| sets.saturating_mul(count - at) / (at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score<'n>(noise: &'n [f64], goal: f64) -> impl FnMut(&[usize]) -> Result<Score, String> + 'n {
        move |lifted| {
            let rest: f64 = (0..noise.len()).filter(|at| !lifted.contains(at)).map(|at| noise[at]).sum();
            let sqnr_db = -10.0 * (rest + 1e-6).log10();
            Ok(Score { sqnr_db, reached: sqnr_db >= goal })
        }
    }

    #[test]
    fn combinations_are_counted_and_listed() {
        for (count, size) in [(1, 1), (5, 2), (6, 3), (4, 4)] {
            let (mut chosen, mut listed) = ((0..size).collect::<Vec<_>>(), 1);
            while next(&mut chosen, count) {
                listed += 1;
            }
            assert_eq!(listed, combinations(count, size));
        }
    }

    #[test]
    fn nothing_is_lifted_that_need_not_be() {
        let found = fewest(3, 0, score(&[1e-9; 3], 30.0)).unwrap();
        assert_eq!((found.lifted, found.is_smallest), (vec![], true));
    }

    #[test]
    fn a_goal_out_of_reach_lifts_all_that_can_be() {
        let mut inner = score(&[0.1, 0.2, 0.3], 90.0);
        let refusing = |lifted: &[usize]| if lifted.contains(&1) { Err("no".to_owned()) } else { inner(lifted) };
        let found = fewest(3, 100, refusing).unwrap();
        assert_eq!((found.lifted, found.after.reached, found.alone[1]), (vec![0, 2], false, None));
    }

    #[test]
    fn two_that_help_only_together_are_found() {
        let together = |lifted: &[usize]| {
            let both = lifted.contains(&1) && lifted.contains(&3);
            let alone = lifted.iter().filter(|&&at| at % 2 == 0).count();
            let alone = f64::from(u8::try_from(alone).unwrap());
            Ok::<_, String>(Score { sqnr_db: if both { 50.0 } else { alone }, reached: both })
        };
        let found = fewest(5, 100, together).unwrap();
        assert_eq!((found.lifted, found.is_smallest), (vec![1, 3], true));
    }

    proptest! {
        /// Against every set there is.
        #[test]
        fn as_few_as_any_set(noise in prop::collection::vec(1e-4_f64..1.0, 1..7), goal in 0.0_f64..50.0) {
            let found = fewest(noise.len(), 1000, score(&noise, goal)).unwrap();
            let mut all = score(&noise, goal);
            let fewest = (0..1_u32 << noise.len())
                .filter(|set| all(&(0..noise.len()).filter(|at| set >> at & 1 == 1).collect::<Vec<_>>()).unwrap().reached)
                .map(u32::count_ones).min();
            prop_assert!(found.after.reached && found.is_smallest);
            prop_assert_eq!(u32::try_from(found.lifted.len()).ok(), fewest);
        }
    }
}
