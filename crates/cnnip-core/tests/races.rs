//! Races: the machine's verdict is that of a brute-force check over every byte, on lists that are right and on lists that lack
//! a signal or a wait.

use cnnip_core::{Checks, CommandId, Fault, FaultCause, NoObserver, Options, Stop};
use cnnip_isa::Target;
use cnnip_testkit::generate::{ListOptions, Lists, Sync, lists};
use cnnip_testkit::{Event, Race, Rng, Trace};

fn random_lists(rng: &mut Rng) -> Lists {
    let target = Target::by_name(rng.pick(&["v3m", "v3m", "v3u"])).expect("a target");
    // Now and then more accesses than the machine keeps in a plain list.
    let tasks = if rng.chance(5) { 250 } else { rng.within(4..=24) };
    lists(&ListOptions { target, tasks, overflows: false, cold: false }, rng)
}

fn options(race: bool) -> Options {
    Options { checks: Checks { race, uninitialised: false }, ..Options::default() }
}

/// How the lists end without a check for races, and the first race that brute force finds in what was executed.
fn brute_force(lists: &Lists) -> (Stop, Trace, Option<Race>) {
    let mut trace = Trace::default();
    let stop = lists.machine(options(false)).run(&mut trace);
    let race = trace.first_race();
    (stop, trace, race)
}

fn is(id: &CommandId, event: &Event) -> bool {
    (id.engine, id.pc, id.cycle) == (event.engine, event.pc, event.cycle)
}

/// The fault is a race of the two commands that brute force names.
fn assert_race(fault: &Fault, race: &Race, trace: &Trace, what: &str) {
    let FaultCause::Race { other, byte, space, .. } = &fault.cause else { panic!("{what}: {fault}") };
    let later = &trace.events[race.later];
    assert!(is(&fault.at, later), "{what}: {fault}, but the race is at {later:?}");
    let other = race.earlier.iter().map(|&index| &trace.events[index]).find(|event| is(other, event));
    let other = other.unwrap_or_else(|| panic!("{what}: {fault}, but that command does not race"));
    for event in [later, other] {
        assert!(event.touches(*space, *byte), "{what}: {fault}, but {event:?} does not touch the byte");
    }
}

/// The machine and brute force agree; gives how the lists end.
fn check(lists: &Lists, what: &str) -> Stop {
    let (unchecked, trace, race) = brute_force(lists);
    let stop = lists.machine(options(true)).run(&mut NoObserver);
    match (&stop, &race) {
        (Stop::Fault(fault), Some(race)) => assert_race(fault, race, &trace, what),
        (_, None) => assert_eq!(stop, unchecked, "{what}"),
        (_, Some(race)) => panic!("{what}: {stop:?}, but there is a race: {race:?}"),
    }
    stop
}

#[test]
fn lists_made_to_be_right_have_no_race() {
    for seed in 0..100 {
        let lists = random_lists(&mut Rng::new(seed));
        assert_eq!(check(&lists, &format!("seed {seed}")), Stop::Done, "seed {seed}");
    }
}

#[test]
fn lists_that_lack_some_synchronisation_get_the_verdict_of_brute_force() {
    for seed in 1000..1150 {
        let mut rng = Rng::new(seed);
        let mut lists = random_lists(&mut rng);
        for sync in lists.syncs.clone() {
            if rng.chance(20) {
                lists = lists.without(if rng.chance(50) { sync.signal } else { sync.wait });
            }
        }
        check(&lists, &format!("seed {seed}"));
    }
}

/// Lists with at least one pair of signal and wait, and a random one of these pairs.
fn lists_with_sync(seed: u64) -> Option<(Lists, Sync)> {
    let mut rng = Rng::new(seed);
    let lists = random_lists(&mut rng);
    let sync = lists.syncs.get(rng.index(lists.syncs.len())).copied()?;
    Some((lists, sync))
}

#[test]
fn a_missing_wait_is_found() {
    let mut found = 0;
    for seed in 2000..2150 {
        let Some((lists, sync)) = lists_with_sync(seed) else { continue };
        let stop = check(&lists.without(sync.wait), &format!("seed {seed} without {sync:?}"));
        // Two waits in a row may order more than is needed: then brute force finds nothing either.
        found += u32::from(stop != Stop::Done);
    }
    assert!(found > 100, "{found} found");
}

#[test]
fn a_missing_signal_is_found() {
    for seed in 3000..3150 {
        let Some((lists, sync)) = lists_with_sync(seed) else { continue };
        let what = format!("seed {seed} without {sync:?}");
        let Stop::Fault(fault) = check(&lists.without(sync.signal), &what) else { panic!("{what}: no fault") };
        if let FaultCause::Deadlock { waits } = &fault.cause {
            let names = |w: &cnnip_core::Waiting| {
                (w.token, w.at.engine, w.signaller) == (sync.token, sync.wait.0, sync.signal.0)
            };
            assert!(waits.iter().any(names), "{what}: {fault}");
        }
    }
}
