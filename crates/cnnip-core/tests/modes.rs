//! Law: stepping by cycle, by command, in pieces or not at all gives the same state and the same end, whatever the program does.

use cnnip_core::{Machine, NoObserver, Options, Stop};
use cnnip_isa::Target;
use cnnip_testkit::Rng;
use cnnip_testkit::generate::{ListOptions, Lists, corrupt, lists};

/// Enough for every generated program, and little enough for stepping a corrupted one by cycle.
const MAX_CYCLES: u64 = 30_000;
const MAX_COMMANDS: u64 = 5_000;

fn options() -> Options {
    Options { max_cycles: MAX_CYCLES, max_commands: MAX_COMMANDS, ..Options::default() }
}

fn random_lists(rng: &mut Rng, overflows: bool) -> Lists {
    let target = Target::by_name(rng.pick(&["v3m", "v3m", "v4h", "v3u"])).expect("a target");
    let tasks = rng.within(1..=20);
    let cold = rng.chance(5);
    lists(&ListOptions { target, tasks, overflows, cold }, rng)
}

/// Repeats a step until there is nothing left to do.
fn to_the_end(mut machine: Machine, mut step: impl FnMut(&mut Machine) -> Stop) -> (Machine, Stop) {
    for _ in 0..=2 * (MAX_CYCLES + MAX_COMMANDS) {
        let stop = step(&mut machine);
        if stop != Stop::Paused {
            return (machine, stop);
        }
    }
    panic!("not at the end at cycle {}", machine.state().cycle());
}

/// A step of a random kind and length, now and then after going back and forth.
fn any_step(machine: &mut Machine, rng: &mut Rng) -> Stop {
    let soon = machine.state().cycle() + u64::from(rng.within(0..=40));
    match rng.within(0..=9) {
        0..=2 => machine.step_cycle(&mut NoObserver),
        3..=5 => machine.step_command(&mut NoObserver),
        6 => {
            let saved = machine.state().clone();
            machine.run_until(soon, &mut NoObserver);
            machine.restore(&saved);
            Stop::Paused
        }
        7 => machine.run_until(u64::from(rng.within(0..=100)), &mut NoObserver),
        _ => machine.run_until(soon, &mut NoObserver),
    }
}

/// All ways lead to the same end; gives it.
fn check(lists: &Lists, options: Options, rng: &mut Rng, what: &str) -> Stop {
    let (whole, stop) = to_the_end(lists.machine(options), |machine| machine.run(&mut NoObserver));
    let ends = [
        ("by cycle", to_the_end(lists.machine(options), |machine| machine.step_cycle(&mut NoObserver))),
        ("by command", to_the_end(lists.machine(options), |machine| machine.step_command(&mut NoObserver))),
        ("in pieces", to_the_end(lists.machine(options), |machine| any_step(machine, rng))),
        (
            "ahead",
            to_the_end(lists.machine(options), |machine| {
                let soon = machine.state().cycle() + u64::from(rng.within(1..=500));
                machine.run_ahead(soon, &mut NoObserver)
            }),
        ),
    ];
    for (how, (machine, other)) in &ends {
        assert_eq!(other, &stop, "{what}, {how}");
        assert_eq!(machine.state().differences(whole.state()), [], "{what}, {how}: {stop:?}");
    }
    check_amid(lists, options, rng.wide(0..=i64::try_from(whole.state().cycle()).unwrap()).unsigned_abs(), what);
    stop
}

/// Up to any cycle, one run and cycle steps give the same state.
fn check_amid(lists: &Lists, options: Options, limit: u64, what: &str) {
    let mut whole = lists.machine(options);
    whole.run_until(limit, &mut NoObserver);
    let mut stepped = lists.machine(options);
    while stepped.state().cycle() < limit && stepped.step_cycle(&mut NoObserver) == Stop::Paused {}
    assert_eq!(stepped.state().differences(whole.state()), [], "{what}, up to cycle {limit}");
}

#[test]
fn lists_made_to_be_right_end_in_every_mode() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let lists = random_lists(&mut rng, false);
        let stop = check(&lists, options(), &mut rng, &format!("seed {seed}"));
        assert_eq!(stop, Stop::Done, "seed {seed}");
    }
}

#[test]
fn overflows_and_budgets_stop_every_mode_alike() {
    for seed in 1000..1150 {
        let mut rng = Rng::new(seed);
        let lists = random_lists(&mut rng, true);
        let options = Options {
            max_cycles: if rng.chance(30) { u64::from(rng.within(0..=3000)) } else { MAX_CYCLES },
            max_commands: if rng.chance(30) { u64::from(rng.within(0..=100)) } else { MAX_COMMANDS },
            ..Options::default()
        };
        check(&lists, options, &mut rng, &format!("seed {seed}"));
    }
}

#[test]
fn corrupted_lists_stop_every_mode_alike() {
    let mut faults = 0;
    for seed in 2000..2400 {
        let mut rng = Rng::new(seed);
        let overflows = rng.chance(50);
        let mut lists = random_lists(&mut rng, overflows);
        corrupt(&mut lists, &mut rng);
        let stop = check(&lists, options(), &mut rng, &format!("seed {seed}"));
        faults += u32::from(matches!(stop, Stop::Fault(_)));
    }
    assert!(faults > 200, "{faults} of 400 corrupted lists fault");
}

/// Order comes from tokens, never from time: where every command takes another number of cycles, memory ends the same.
#[test]
fn lists_made_to_be_right_give_the_same_memory_on_any_target() {
    for seed in 3000..3060 {
        let mut rng = Rng::new(seed);
        let mut lists = lists(
            &ListOptions { target: Target::by_name("v3m").unwrap(), tasks: 20, overflows: false, cold: false },
            &mut rng,
        );
        let ends = ["v3m", "v3h", "v4h"].map(|name| {
            lists.target = Target::by_name(name).unwrap();
            to_the_end(lists.machine(options()), |machine| machine.run(&mut NoObserver))
        });
        let [(first, _), ..] = &ends;
        let sram = first.state().sram(0).unwrap();
        for (machine, stop) in &ends {
            assert_eq!(stop, &Stop::Done, "seed {seed}");
            assert!(machine.state().sram(0).unwrap().starts_with(sram), "seed {seed} on {}", machine.target().name);
            for region in 2..4 {
                assert_eq!(machine.state().region(region), first.state().region(region), "seed {seed}");
            }
        }
    }
}
