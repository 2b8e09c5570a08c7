//! Tables of cases.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `check` on every row and reports all rows that fail, not only the first.
///
/// ```
/// cnnip_testkit::each(&[(2, 4), (3, 9)], |&(n, square)| assert_eq!(n * n, square));
/// ```
///
/// # Panics
/// If `check` panicked for a row; the message lists those rows.
pub fn each<T: Debug>(rows: &[T], check: impl Fn(&T)) {
    let fails = |row: &&T| catch_unwind(AssertUnwindSafe(|| check(row))).is_err();
    let failed: Vec<&T> = rows.iter().filter(fails).collect();
    assert!(failed.is_empty(), "{} of {} rows fail: {failed:#?}", failed.len(), rows.len());
}
