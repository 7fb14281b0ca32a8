//! When the next piece of what the machine has on disk is verified.
//!
//! Pieces are small, so that nobody who waits for the apply thread notices one, and spread evenly, so
//! that a cycle over all of them takes the time that it may. A store of a few megabytes goes faster
//! than it must: a piece is never far away.

use std::time::Duration;

use quorate_node::Scrubbed;
use quorate_raft::Time;

/// What is read at once: a fraction of a millisecond on a disk that is not one, and a few milliseconds
/// on one that turns.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

/// The longest time between two pieces.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// When the next piece is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    cycle: Duration,
    due: Time,
}

impl Pace {
    /// The first piece is due after a pause: a start has other things to do.
    pub(crate) fn new(now: Time, cycle: Duration) -> Self {
        Self { cycle, due: now + PAUSE_MAX.min(cycle) }
    }

    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// A piece was verified just now; or there is nothing to verify, ever.
    pub(crate) fn scrubbed(&mut self, now: Time, scrubbed: Option<Scrubbed>) {
        match scrubbed {
            None => self.due = Time::NEVER,
            Some(Scrubbed { total, .. }) => self.scrubbed_of(now, total),
        }
    }

    /// A piece was verified just now, of so many bytes.
    pub(crate) fn scrubbed_of(&mut self, now: Time, total: u64) {
        let pieces = total.div_ceil(PIECE_BYTES as u64).max(1);
        let pause = self.cycle / u32::try_from(pieces).unwrap_or(u32::MAX);
        self.due = now + pause.min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// The time that a cycle over so many bytes takes.
    fn cycle_over(total: u64) -> Duration {
        let mut pace = Pace::new(Time(0), DAY);
        let mut now = Time(0);
        for _ in 0..total.div_ceil(PIECE_BYTES as u64) {
            now = pace.due();
            pace.scrubbed(now, Some(Scrubbed { bytes: 0, total, cycle_ended: false }));
        }
        now.since(Time(0))
    }

    #[test]
    fn a_cycle_over_much_takes_the_time_it_may_and_over_little_less() {
        let day = cycle_over(100 << 30).as_secs_f64() / DAY.as_secs_f64();
        assert!((0.99..1.01).contains(&day), "{day} days");
        assert_eq!(cycle_over(1 << 20), 8 * PAUSE_MAX);
    }

    #[test]
    fn a_machine_without_a_disk_is_asked_once() {
        let mut pace = Pace::new(Time(0), DAY);
        pace.scrubbed(Time(7), None);
        assert_eq!(pace.due(), Time::NEVER);
    }
}
