//! Lists made wrong at random.

use super::Lists;
use crate::Rng;

/// Changes a few words of the lists: any value, one bit, a neighbour's word, or one word more or less.
pub fn corrupt(lists: &mut Lists, rng: &mut Rng) {
    for _ in 0..rng.within(1..=3) {
        let list = rng.index(lists.lists.len());
        if let Some((_, words)) = lists.lists.get_mut(list) {
            corrupt_words(words, rng);
        }
    }
}

fn corrupt_words(words: &mut Vec<u32>, rng: &mut Rng) {
    if words.is_empty() {
        return;
    }
    let at = rng.index(words.len());
    match rng.within(0..=9) {
        0 => words[at] = rng.word(),
        1 => {
            words.remove(at);
        }
        2 => words.insert(at, words[at]),
        3 => words.swap(at, rng.index(at + 1)),
        4 => words[at] = words[at].wrapping_add(rng.pick(&[1, u32::MAX, 1 << 16, 1 << 8, 1 << 31])),
        _ => words[at] ^= 1 << rng.within(0..=31),
    }
}
