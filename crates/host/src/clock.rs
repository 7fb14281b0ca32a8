//! The only place that looks at a clock.
//!
//! Everything else is told what time it is, which is what lets the simulator run the same code on a
//! time of its own. Decisions hang on the monotonic clock alone. The wall clock is for showing to
//! people, and for commands that carry it as a hint; it may jump, in either direction, at any time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quorate_raft::Time;

/// The monotonic clock of a process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}

impl Clock {
    /// A clock that shows zero now. Its copies agree with it.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The time since the clock was started.
    ///
    /// # Panics
    /// After 584 years.
    #[must_use]
    pub fn now(&self) -> Time {
        let nanos = self.origin.elapsed().as_nanos();
        Time(u64::try_from(nanos).expect("a process does not run for centuries"))
    }
}

/// What the wall clock shows, as the time since 1970 began in UTC, or zero if it shows a time
/// before. A hint: see the top of this file.
#[must_use]
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards_and_copies_agree() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(first <= second && second <= clock.now());
    }

    #[test]
    fn the_wall_clock_shows_a_time_after_this_was_written() {
        assert!(wall_clock() > Duration::from_secs(1_700_000_000));
    }
}
