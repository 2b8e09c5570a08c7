//! Threads that share the parts of one operation.
//!
//! Operations of a network take microseconds, so a thread that waits for the next one spins before it sleeps, and one that comes
//! late is not waited for: whoever calls does the parts that nobody has taken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns that a helper waits for work before it sleeps: some 100 microseconds, longer than most layers of a network that is not
/// shared, and a tenth of what waking up may cost under a hypervisor.
const TURNS: u32 = 3_000;

/// Threads that wait for parts of an operation, besides the one that calls.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let mut team = cnnip_kernels::Team::new(2)?;
/// let sum = AtomicUsize::new(0);
/// team.run(10, &|_member, part| {
///     sum.fetch_add(part, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 45);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Number of the operation, in the high half; whether helpers may join it; how many are at it.
    state: AtomicU64,
    /// The operation, if it is open.
    task: AtomicPtr<Task<'static>>,
    /// Whether a part panicked in a helper.
    has_failed: AtomicBool,
    is_over: AtomicBool,
    /// Helpers asleep.
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

/// One operation: what is done with a part, and which part is next.
struct Task<'a> {
    work: &'a (dyn Fn(usize, usize) + Sync),
    next: AtomicUsize,
    parts: usize,
}

/// Set in the state as long as helpers may join.
const OPEN: u64 = 1 << 31;
/// The bits that count members, and the place of the number.
const MEMBERS: u64 = OPEN - 1;
const NUMBER: u32 = 32;

impl Team {
    /// As many threads as `members`, the caller's included.
    ///
    /// # Errors
    /// If the system does not give them.
    pub fn new(members: usize) -> std::io::Result<Self> {
        let mut team = Self { shared: Arc::default(), helpers: Vec::new() };
        for member in 1..members {
            let shared = Arc::clone(&team.shared);
            let thread = std::thread::Builder::new().name(format!("cnnip {member}"));
            team.helpers.push(thread.spawn(move || shared.help(member))?);
        }
        Ok(team)
    }

    /// How many they are, the caller included.
    #[must_use]
    pub fn members(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Does `work(member, part)` for every part, some in other threads; a member does one part at a time. All are done when this
    /// returns.
    ///
    /// # Panics
    /// If a part does.
    pub fn run(&mut self, parts: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        let task = Task { work, next: AtomicUsize::new(0), parts };
        if self.helpers.is_empty() || parts < 2 {
            return task.work(0);
        }
        {
            let _open = self.shared.open(&task);
            task.work(0);
        }
        assert!(!self.shared.has_failed.swap(false, Ordering::Relaxed), "a part of an operation panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join(); // a panic of a part was told by `run`
        }
    }
}

impl Task<'_> {
    /// Does parts until none is left.
    fn work(&self, member: usize) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.parts {
                return;
            }
            (self.work)(member, part);
        }
    }
}

impl Shared {
    /// Lets helpers join `task` until what is returned is dropped.
    fn open<'s>(&'s self, task: &'s Task<'_>) -> Open<'s> {
        self.task.store(std::ptr::from_ref(task).cast_mut().cast(), Ordering::Relaxed);
        self.has_failed.store(false, Ordering::Relaxed);
        let number = self.state.load(Ordering::Relaxed) >> NUMBER;
        // Ordered before the look at the sleepers, as a sleeper is counted before it looks at this.
        self.state.store(((number + 1) << NUMBER) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
        Open(self)
    }

    fn wake_all(&self) {
        drop(self.locked());
        self.wake.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A helper's life.
    fn help(&self, member: usize) {
        let mut seen = 0;
        while let Some(number) = self.next_number(seen) {
            seen = number;
            if self.join(number) {
                let done = catch_unwind(AssertUnwindSafe(|| {
                    // SAFETY: the operation that was joined ends only when its members have left, so the task is still there;
                    // it was stored before the state that was joined.
                    let task = unsafe { &*self.task.load(Ordering::Relaxed) };
                    task.work(member);
                }));
                if done.is_err() {
                    self.has_failed.store(true, Ordering::Relaxed);
                }
                self.state.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Waits for an operation after number `seen`; `None` at the end.
    fn next_number(&self, seen: u64) -> Option<u64> {
        let found = |state: u64| (state >> NUMBER != seen).then_some(state >> NUMBER);
        for turn in 0..TURNS {
            if self.is_over.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(number) = found(self.state.load(Ordering::Relaxed)) {
                return Some(number);
            }
            // Where there are more threads than processors, someone else may have the work.
            if turn % 64 == 63 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let mut guard = self.locked();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let number = loop {
            if self.is_over.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(number) = found(self.state.load(Ordering::SeqCst)) {
                break Some(number);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        number
    }

    /// Joins operation `number` if it is still open.
    fn join(&self, number: u64) -> bool {
        let joined = |state: u64| (state >> NUMBER == number && state & OPEN != 0).then_some(state + 1);
        self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, joined).is_ok()
    }
}

/// An operation that helpers may join. Dropping it waits for those that have.
struct Open<'s>(&'s Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let state = &self.0.state;
        state.fetch_and(!OPEN, Ordering::Relaxed);
        let mut turn = 0_u32;
        while state.load(Ordering::Acquire) & MEMBERS != 0 {
            turn = turn.wrapping_add(1);
            // A helper that lost its processor needs one.
            if turn.is_multiple_of(1 << 12) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_part_is_done_once_by_one_member_at_a_time() {
        for members in [1, 2, 3, 5] {
            let mut team = Team::new(members).unwrap();
            assert_eq!(team.members(), members);
            for parts in [0, 1, 2, 7, 64] {
                for pause in [0, 0, 1] {
                    let done: Vec<_> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    let at_work: Vec<_> = (0..members).map(|_| Mutex::new(())).collect();
                    team.run(parts, &|member, part| {
                        let _alone = at_work[member].try_lock().expect("a member does one part at a time");
                        done[part].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(
                        done.iter().all(|done| done.load(Ordering::Relaxed) == 1),
                        "{members} members, {parts} parts"
                    );
                    std::thread::sleep(Duration::from_millis(pause)); // helpers fall asleep
                }
            }
        }
    }

    #[test]
    fn a_panic_is_passed_on_and_the_team_goes_on() {
        let mut team = Team::new(3).unwrap();
        for failing in 0..6 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(6, &|_, part| {
                    std::thread::sleep(Duration::from_micros(100));
                    assert_ne!(part, failing);
                });
            }));
            assert!(result.is_err());
            let count = AtomicUsize::new(0);
            team.run(6, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 6);
        }
    }
}
