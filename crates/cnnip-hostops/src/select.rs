//! The largest elements of a slice; the lowest index wins a tie. Oracles: TFLite's ARG_MAX and TOPK_V2, ONNX's ArgMax and TopK.

use std::cmp::Reverse;

/// Index of the largest element; `None` of an empty slice.
///
/// ```
/// assert_eq!(cnnip_hostops::arg_max(&[3, 9, -1, 9]), Some(1));
/// ```
#[must_use]
pub fn arg_max<T: Ord + Copy>(values: &[T]) -> Option<usize> {
    extremum(values.iter().copied(), false)
}

/// Index of the largest element, or of the smallest; `None` if there is none.
pub(crate) fn extremum<T: Ord>(values: impl Iterator<Item = T>, smallest: bool) -> Option<usize> {
    let numbered = values.zip(0_usize..);
    let best = if smallest { numbered.min() } else { numbered.max_by(|(a, i), (b, j)| a.cmp(b).then(j.cmp(i))) };
    best.map(|(_, index)| index)
}

/// Indices of the `k` largest elements, largest first; all of them if there are fewer.
///
/// ```
/// assert_eq!(cnnip_hostops::top_k(&[3, 9, -1, 9, 4], 3), [1, 3, 4]);
/// ```
#[must_use]
pub fn top_k<T: Ord + Copy>(values: &[T], k: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..values.len()).collect();
    indices.sort_by_key(|&index| Reverse(values[index])); // stable: equal elements keep their order
    indices.truncate(k);
    indices
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Repeatedly taking the first largest of what is left.
        #[test]
        fn equal_their_slow_twin(values in prop::collection::vec(-4_i8..4, 0..30), k in 0_usize..40) {
            let mut left: Vec<Option<i8>> = values.iter().copied().map(Some).collect();
            let mut want = Vec::new();
            while want.len() < k.min(values.len()) {
                let mut best = left.iter().position(Option::is_some).unwrap();
                for i in 0..left.len() {
                    if left[i] > left[best] {
                        best = i;
                    }
                }
                left[best] = None;
                want.push(best);
            }
            prop_assert_eq!(top_k(&values, k), &want[..]);
            prop_assert_eq!(arg_max(&values), top_k(&values, 1).first().copied());
        }
    }
}
