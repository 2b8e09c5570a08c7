//! Names that are unique, and memory that an input's length justifies.

use std::collections::HashMap;

use crate::problem::Rule;

/// The names given so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// For each name the number to try next for another of that name.
    next: HashMap<String, usize>,
}

impl Names {
    /// `name`, or the first of `name_1`, `name_2`, … that is free.
    pub(crate) fn unique(&mut self, name: String) -> String {
        let Some(mut number) = self.next.get(&name).copied() else {
            self.next.insert(name.clone(), 1);
            return name;
        };
        let mut candidate = format!("{name}_{number}");
        while self.next.contains_key(&candidate) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        self.next.insert(name, number + 1);
        self.next.insert(candidate.clone(), 1);
        candidate
    }
}

/// Bytes of memory that the length of a file justifies.
///
/// Parts of a file may be shared or repeated, so that a small one could describe a huge graph.
/// Files from converters stay far below the limits used.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    /// At most `limit` bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, left: limit }
    }

    /// Takes `bytes` of what is left.
    ///
    /// # Errors
    /// [`Rule::Size`] if that is more than there is.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Rule> {
        self.left = self.left.checked_sub(bytes).ok_or(Rule::Size { limit: self.limit })?;
        Ok(())
    }
}
