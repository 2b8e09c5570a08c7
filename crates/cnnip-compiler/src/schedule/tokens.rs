//! Which token joins which engines: each ordered pair has one of its own, so none is ever given to another pair.

use cnnip_package::{EngineId, FIRST_SYSTEM_TOKEN};

use super::{ALL, ENGINES};

/// Cores that one program can join: with three there are 54 pairs of engines of different cores, and 64 tokens for them.
pub(crate) const MAX_CORES: usize = 3;

/// Engines of all cores but one.
const OTHERS: usize = ALL - ENGINES.len();

const _: () = assert!(ALL * OTHERS <= 64, "every pair of engines of different cores has a token");

/// The token by which engine `from` says something to `to`.
pub(super) fn token(from: usize, to: usize) -> u8 {
    const LOCAL: [[u8; 3]; 3] = [[0, 1, 2], [3, 0, 4], [5, 6, 0]];
    let (core, other) = (from / ENGINES.len(), to / ENGINES.len());
    if core == other {
        return LOCAL[from % ENGINES.len()][to % ENGINES.len()];
    }
    let rank = if to > from { to - ENGINES.len() } else { to };
    FIRST_SYSTEM_TOKEN + u8::try_from(from * OTHERS + rank).unwrap_or(u8::MAX)
}

/// All tokens of some cores: number, signalling and waiting engine.
pub(crate) fn owners(cores: usize) -> impl Iterator<Item = (u8, EngineId, EngineId)> {
    let engines = cores * ENGINES.len();
    let pairs = (0..engines).flat_map(move |from| (0..engines).map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to).map(|(from, to)| (token(from, to), engine_id(from), engine_id(to)))
}

/// The engine of a number.
pub(super) fn engine_id(number: usize) -> EngineId {
    let core = u8::try_from(number / ENGINES.len()).unwrap_or(u8::MAX);
    EngineId { core, engine: ENGINES[number % ENGINES.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cnnip_package::TOKENS;

    #[test]
    fn tokens_join_every_pair_once() {
        let of_one: Vec<u8> = owners(1).map(|(token, ..)| token).collect();
        assert_eq!(of_one, [1, 2, 3, 4, 5, 6]);
        let all: Vec<_> = owners(MAX_CORES).collect();
        assert_eq!(all.len(), ALL * (ALL - 1));
        let local = |core: u8, other: u8, token: u8| (core == other && token < FIRST_SYSTEM_TOKEN).then_some(core);
        let mut keys: Vec<_> = all.iter().map(|&(token, a, b)| (token, local(a.core, b.core, token))).collect();
        assert!(
            keys.iter()
                .zip(&all)
                .all(|(key, (token, a, b))| { (key.1.is_some() == (a.core == b.core)) && *token < TOKENS })
        );
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all.len());
    }
}
