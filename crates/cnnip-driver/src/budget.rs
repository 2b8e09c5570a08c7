//! How much a job may do.

use cnnip_core::{Checks, Options};
use cnnip_isa::Target;
use cnnip_package::Budget;

/// Commands that a job may start unless the caller allows more: about five seconds of host time.
pub const MAX_COMMANDS: u64 = 5_000_000;

/// Products that the host surely does in five seconds.
const HOST_PRODUCTS: u64 = 100_000_000_000;

/// Cycles that a job may take on a target unless the caller allows more: about five seconds of host time if the whole array
/// works in each of them.
///
/// ```
/// # use cnnip_driver::{Target, max_cycles};
/// assert_eq!(Target::by_name("v4h").map(max_cycles), Some(7_233_796));
/// ```
pub fn max_cycles(target: &Target) -> u64 {
    let products = [target.mac_channels, target.mac_pixels, target.mac_depth].map(u64::from).iter().product::<u64>();
    HOST_PRODUCTS / products.max(1)
}

/// What the caller decides about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Checks beside those of bounds and parameters.
    pub checks: Checks,
    /// Commands the job may start. If `None`: twice what the package declares, at most [`MAX_COMMANDS`].
    pub max_commands: Option<u64>,
    /// Cycles the job may take. If `None`: twice what the package declares, at most [`max_cycles`] of the target.
    pub max_cycles: Option<u64>,
}

impl Default for RunOptions {
    /// All checks, default allowances.
    fn default() -> Self {
        Self { checks: Checks::ALL, max_commands: None, max_cycles: None }
    }
}

/// What a job may do, all device steps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Commands.
    pub commands: u64,
    /// Cycles.
    pub cycles: u64,
}

impl Allowance {
    /// The allowance of a job on a package that declares `need`.
    pub fn new(options: &RunOptions, need: Budget, target: &Target) -> Self {
        Self {
            commands: options.max_commands.unwrap_or_else(|| twice(need.commands, MAX_COMMANDS)),
            cycles: options.max_cycles.unwrap_or_else(|| twice(need.cycles, max_cycles(target))),
        }
    }

    /// What is left of it for a step, after others have spent some.
    pub(crate) fn left(self, commands: u64, cycles: u64, checks: Checks) -> Options {
        Options {
            checks,
            max_commands: self.commands.saturating_sub(commands),
            max_cycles: self.cycles.saturating_sub(cycles),
            ..Options::default()
        }
    }
}

/// Twice the declared need within the cap; the cap if nothing is declared.
fn twice(need: u64, cap: u64) -> u64 {
    match need {
        0 => cap,
        need => need.saturating_mul(2).min(cap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_twice_the_need_within_a_cap() {
        assert_eq!(twice(0, 100), 100);
        assert_eq!(twice(7, 100), 14);
        assert_eq!(twice(51, 100), 100);
        assert_eq!(twice(u64::MAX, 100), 100);
    }

    #[test]
    fn the_caller_may_go_beyond_the_cap() {
        let target = Target::by_name("v3m").unwrap();
        let options = RunOptions { max_cycles: Some(u64::MAX), ..RunOptions::default() };
        let allowance = Allowance::new(&options, Budget { commands: 10, cycles: 10 }, target);
        assert_eq!(allowance, Allowance { commands: 20, cycles: u64::MAX });
    }
}
