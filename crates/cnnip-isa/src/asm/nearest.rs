//! The known name that a misspelt one probably means.

/// Longer names are not compared.
const MAX_NAME: usize = 32;

/// The name nearest to `name`, whatever the case of its letters, if one is near enough to be meant.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > MAX_NAME {
        return None;
    }
    let limit = 1 + name.len() / 4;
    let near = names.map(|known| (distance(name, known), known)).filter(|&(distance, _)| distance <= limit);
    near.min_by_key(|&(distance, _)| distance).map(|(_, known)| known)
}

pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// Letters to insert, delete or replace to get from one name to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["IN_ADDR", "IN_SIZE", "OUT_ADDR"];
        assert_eq!(nearest("IN_ADR", names.into_iter()), Some("IN_ADDR"));
        assert_eq!(nearest("out_addr", names.into_iter()), Some("OUT_ADDR"));
        assert_eq!(nearest("KERNEL", names.into_iter()), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "SAME"), 0);
    }
}
