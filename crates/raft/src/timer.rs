//! When to wake up: the election timeout and its policy.
//!
//! The core has deadlines and no ticks. The minimum election timeout `T` of the configuration has
//! three uses, which belong together: a follower waits a random time in `[T, 2T)` before it
//! campaigns (Raft §5.2); a voter that heard from a leader within `T` refuses to help depose it
//! (thesis §4.2.3); and a leader that has not heard from a quorum for `T` gives up (thesis §6.2).

use core::time::Duration;

use quorate_planted::planted;

use crate::rng::Rng;
use crate::types::Time;

/// The election timer of one member. The random part is drawn anew for each campaign and each term
/// followed, not for each heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct ElectionTimer {
    minimum: Duration,
    rng: Rng,
    drawn: Duration,
    deadline: Time,
}

impl ElectionTimer {
    /// A timer that goes off between one and two minimum timeouts from now.
    pub(crate) fn new(minimum: Duration, seed: u64, now: Time) -> Self {
        let mut timer =
            Self { minimum, rng: Rng::new(seed), drawn: minimum, deadline: Time::NEVER };
        timer.redraw(now);
        timer
    }

    /// Draws a new timeout in `[T, 2T)` and starts it.
    pub(crate) fn redraw(&mut self, now: Time) {
        let spread = u64::try_from(self.minimum.as_nanos()).unwrap_or(u64::MAX);
        let spread = if planted!(ElectionsInStep) { 1 } else { spread };
        self.drawn = self.minimum.saturating_add(Duration::from_nanos(self.rng.below(spread)));
        self.restart(now);
    }

    /// Starts the drawn timeout again.
    pub(crate) fn restart(&mut self, now: Time) {
        self.deadline = now + self.drawn;
    }

    /// Goes off at once.
    pub(crate) fn expire(&mut self, now: Time) {
        self.deadline = now;
    }

    /// When the timer goes off.
    pub(crate) fn deadline(&self) -> Time {
        self.deadline
    }

    /// The minimum election timeout `T`.
    pub(crate) fn minimum(&self) -> Duration {
        self.minimum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_spread_over_one_to_two_minimums() {
        let minimum = Duration::from_millis(100);
        let mut timer = ElectionTimer::new(minimum, 1, Time(0));
        let mut early = 0;
        for _ in 0..1000 {
            timer.redraw(Time(0));
            let timeout = timer.deadline().since(Time(0));
            assert!((minimum..2 * minimum).contains(&timeout), "{timeout:?}");
            early += u32::from(timeout < minimum * 3 / 2);
        }
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }

    #[test]
    fn a_restart_keeps_what_was_drawn() {
        let mut timer = ElectionTimer::new(Duration::from_millis(100), 1, Time(0));
        let drawn = timer.deadline().since(Time(0));
        timer.restart(Time(50));
        assert_eq!(timer.deadline(), Time(50) + drawn);
    }
}
