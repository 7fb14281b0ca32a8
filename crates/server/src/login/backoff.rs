//! Who gave a wrong password waits before the next one is looked at.
//!
//! The wait is that of the name, whether or not there is such a user, and doubles with each wrong password up to some
//! seconds. Those who guess at once stand in a row; where that is too long they are refused. Names are kept as hashes,
//! and only so many.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_host::Clock;
use quorate_raft::Time;

use crate::rpc::Failure;

/// What the first wrong password costs.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// What any costs at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long an attempt may stand in the row.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a wrong password is remembered after the last attempt.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// How many names are kept at most. Where there are more, those go that were wrong least, and of them the oldest.
const NAMES_MAX: usize = 10_000;

/// What is remembered of wrong passwords.
#[derive(Debug)]
pub(crate) struct Backoff {
    clock: Clock,
    keys: RandomState,
    names: Mutex<HashMap<u64, Wrong>>,
}

#[derive(Clone, Copy, Debug)]
struct Wrong {
    /// How many passwords in a row.
    times: u32,
    /// When the next may be looked at.
    next: Time,
    /// When the last was tried.
    last: Time,
}

impl Wrong {
    fn pause(&self) -> Duration {
        let doubled = 1 << self.times.saturating_sub(1).min(16);
        (PAUSE_MIN * doubled).min(PAUSE_MAX)
    }
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::start(), keys: RandomState::new(), names: Mutex::default() }
    }

    /// Resolves when a password of this user may be looked at.
    ///
    /// # Errors
    /// If too many wait for that.
    pub(crate) async fn turn(&self, name: &str) -> Result<(), Failure> {
        let wait = self.wait_at(self.clock.now(), name)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Notes whether a password was right.
    pub(crate) fn note(&self, name: &str, was_right: bool) {
        self.note_at(self.clock.now(), name, was_right);
    }

    fn wait_at(&self, now: Time, name: &str) -> Result<Duration, Failure> {
        let mut names = self.names();
        let Some(wrong) = names.get_mut(&self.keys.hash_one(name)) else {
            return Ok(Duration::ZERO);
        };
        let begin = wrong.next.max(now);
        let wait = begin.since(now);
        if wait > WAIT_MAX {
            return Err(Failure::TooManyRequests);
        }
        (wrong.next, wrong.last) = (begin + wrong.pause(), now);
        Ok(wait)
    }

    fn note_at(&self, now: Time, name: &str, was_right: bool) {
        let mut names = self.names();
        let name = self.keys.hash_one(name);
        if was_right {
            names.remove(&name);
            return;
        }
        if names.len() >= NAMES_MAX && !names.contains_key(&name) {
            make_room(&mut names, now);
        }
        let wrong = names.entry(name).or_insert(Wrong { times: 0, next: now, last: now });
        if now.since(wrong.last) >= MEMORY {
            wrong.times = 0;
        }
        wrong.times = wrong.times.saturating_add(1);
        wrong.last = wrong.last.max(now);
        wrong.next = wrong.next.max(now + wrong.pause());
    }

    fn names(&self) -> MutexGuard<'_, HashMap<u64, Wrong>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what is old, or a quarter of all.
fn make_room(names: &mut HashMap<u64, Wrong>, now: Time) {
    names.retain(|_, wrong| now.since(wrong.last) < MEMORY);
    if names.len() < NAMES_MAX {
        return;
    }
    let mut by_weight: Vec<_> =
        names.iter().map(|(name, wrong)| (wrong.times, wrong.last, *name)).collect();
    by_weight.sort_unstable();
    for (_, _, name) in &by_weight[..NAMES_MAX / 4] {
        names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Time = Time(1_000_000_000);

    fn wait(backoff: &Backoff, now: Time, name: &str) -> Option<u128> {
        backoff.wait_at(now, name).ok().map(|wait| wait.as_millis())
    }

    #[test]
    fn a_wrong_password_costs_its_user_a_growing_wait_and_nobody_else_any() {
        let backoff = Backoff::new();
        let mut now = BEGIN;
        for expected in [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            assert_eq!(wait(&backoff, now, "alice"), Some(expected));
            assert_eq!(wait(&backoff, now, "bob"), Some(0));
            now = now + Duration::from_millis(expected as u64);
            backoff.note_at(now, "alice", false);
        }
        backoff.note_at(now, "bob", true);
        assert_eq!(wait(&backoff, now, "bob"), Some(0));
        assert_eq!(wait(&backoff, now + PAUSE_MAX, "alice"), Some(0), "the wait is over");
        backoff.note_at(now + PAUSE_MAX, "alice", true);
        assert_eq!(wait(&backoff, now + PAUSE_MAX, "alice"), Some(0), "who was right is forgiven");
        backoff.note_at(now + PAUSE_MAX, "alice", false);
        assert_eq!(wait(&backoff, now + PAUSE_MAX, "alice"), Some(100), "and begins anew");
    }

    #[test]
    fn who_guesses_at_once_stands_in_a_row_that_ends() {
        let backoff = Backoff::new();
        for _ in 0..7 {
            backoff.note_at(BEGIN, "alice", false);
        }
        let waits: Vec<_> = (0..5).map(|_| wait(&backoff, BEGIN, "alice")).collect();
        assert_eq!(waits, [Some(5000), Some(10_000), None, None, None]);
        let later = BEGIN + Duration::from_secs(5);
        assert_eq!(wait(&backoff, later, "alice"), Some(10_000), "there is room again");
    }

    #[test]
    fn wrong_passwords_are_forgotten() {
        let backoff = Backoff::new();
        for _ in 0..9 {
            backoff.note_at(BEGIN, "alice", false);
        }
        let later = BEGIN + MEMORY;
        backoff.note_at(later, "alice", false);
        assert_eq!(wait(&backoff, later, "alice"), Some(100));
    }

    #[test]
    fn names_that_somebody_makes_up_take_bounded_memory_and_displace_nobody_who_was_wrong_more() {
        let backoff = Backoff::new();
        for _ in 0..5 {
            backoff.note_at(BEGIN, "alice", false);
        }
        for number in 0..NAMES_MAX * 3 {
            let now = BEGIN + Duration::from_millis(number as u64);
            backoff.note_at(now, &format!("made-up-{number}"), false);
            assert!(backoff.names().len() <= NAMES_MAX);
        }
        let last = format!("made-up-{}", NAMES_MAX * 3 - 1);
        let now = BEGIN + Duration::from_millis(NAMES_MAX as u64 * 3);
        assert_eq!(wait(&backoff, now, &last), Some(99));
        let alice = backoff.names()[&backoff.keys.hash_one("alice")];
        assert_eq!(alice.times, 5);
    }
}
