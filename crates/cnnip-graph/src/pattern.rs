//! Patterns of tensor names.

use std::fmt;

/// A pattern of names: `*` stands for any characters, `?` for one; everything else for itself.
///
/// ```
/// use cnnip_graph::Pattern;
///
/// let pattern = Pattern::new("block?/*add");
/// assert!(pattern.matches("block3/residual/add"));
/// assert!(!pattern.matches("block13/add"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// The pattern of a text; every text is one.
    pub fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Whether it can fit more than one name.
    pub fn is_plural(&self) -> bool {
        self.0.iter().any(|letter| matches!(letter, '*' | '?'))
    }

    /// Whether the whole name fits, in time proportional to the product of both lengths.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut from) = (0, 0);
        // The last star, and the position in the name that it was last tried to end at.
        let mut retry: Option<(usize, usize)> = None;
        while from < name.len() {
            match self.0.get(at) {
                Some('*') => {
                    retry = Some((at, from));
                    at += 1;
                }
                Some(&letter) if letter == '?' || letter == name[from] => (at, from) = (at + 1, from + 1),
                _ => {
                    let Some((star, end)) = retry else { return false };
                    retry = Some((star, end + 1));
                    (at, from) = (star + 1, end + 1);
                }
            }
        }
        self.0[at..].iter().all(|&letter| letter == '*')
    }
}

/// Its text.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_as_much_as_is_needed() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
        for (pattern, name) in [("*", ""), ("", ""), ("a*c", "abcbc"), ("*b?", "abc"), ("**x", "x"), ("a?c", "aéc")] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a", ""), ("a*c", "abcb"), ("?", ""), ("*b?", "ab"), ("abc", "ab")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
