//! When the next piece of what the machine has on disk is verified.
//!
//! Pieces are small, so that nobody who waits for the apply thread notices one, and spread evenly, so
//! that a cycle over all of them takes the time that it may: what came late, because there was a load, is made
//! good. A cycle begins anew with each start. A store of a few megabytes goes faster
//! than it must: a piece is never far away.

use std::time::Duration;

use quorate_node::Scrubbed;
use quorate_raft::Time;

/// What is read at once: a fraction of a millisecond on a disk that is not one, and a few milliseconds
/// on one that turns.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

/// The longest time between two pieces.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How much faster than evenly it may go to make good for what came late, under load or because there is
/// more than there was.
const HASTE_MAX: u32 = 4;

/// When the next piece is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    cycle: Duration,
    due: Time,
    /// When this cycle began.
    began: Time,
    /// How much of it is done, and the most there was to do since it began, in bytes.
    done: u64,
    total: u64,
}

impl Pace {
    /// The first piece is due after a pause: a start has other things to do.
    pub(crate) fn new(now: Time, cycle: Duration) -> Self {
        Self { cycle, due: now + PAUSE_MAX.min(cycle), began: now, done: 0, total: 0 }
    }

    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// A piece was verified just now; or there is nothing to verify, ever.
    pub(crate) fn scrubbed(&mut self, now: Time, scrubbed: Option<Scrubbed>) {
        let Some(Scrubbed { bytes, total, cycle_ended }) = scrubbed else {
            self.due = Time::NEVER;
            return;
        };
        self.done += bytes;
        self.total = self.total.max(total);
        if cycle_ended {
            (self.began, self.done, self.total) = (now, 0, total);
        }
        self.due = now + self.pause(now);
    }

    /// How long to wait for the next piece. Its time follows from when the cycle began, so that what comes late
    /// delays nothing but itself.
    fn pause(&self, now: Time) -> Duration {
        let pieces = |bytes: u64| {
            let pieces = bytes.div_ceil(PIECE_BYTES as u64).max(1);
            u32::try_from(pieces).unwrap_or(u32::MAX)
        };
        let evenly = self.cycle / pieces(self.total);
        let next = evenly.saturating_mul(pieces(self.done + PIECE_BYTES as u64));
        let wait = next.saturating_sub(now.since(self.began));
        wait.max(evenly / HASTE_MAX).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// The time that a cycle over so many bytes takes, where each piece comes so much late.
    fn cycle_over(total: u64, late: Duration) -> Duration {
        let mut pace = Pace::new(Time(0), DAY);
        let mut now = Time(0);
        for _ in 0..total.div_ceil(PIECE_BYTES as u64) {
            now = pace.due() + late;
            let bytes = PIECE_BYTES as u64;
            pace.scrubbed(now, Some(Scrubbed { bytes, total, cycle_ended: false }));
        }
        now.since(Time(0))
    }

    #[test]
    fn a_cycle_over_much_takes_the_time_it_may_and_over_little_less() {
        let day = cycle_over(100 << 30, Duration::ZERO).as_secs_f64() / DAY.as_secs_f64();
        assert!((0.99..1.01).contains(&day), "{day} days");
        assert_eq!(cycle_over(1 << 20, Duration::ZERO), 8 * PAUSE_MAX);
    }

    /// A piece is due about once a second here.
    #[test]
    fn what_comes_late_is_made_good_and_not_in_a_rush() {
        let day = cycle_over(10 << 30, Duration::from_millis(500)).as_secs_f64();
        assert!(day < 1.01 * DAY.as_secs_f64(), "{day} seconds");
        let mut pace = Pace::new(Time(0), DAY);
        let evenly = DAY / u32::try_from((10u64 << 30) / PIECE_BYTES as u64).unwrap();
        // Nothing came for a day; there is no end of it.
        let tomorrow = Time(0) + DAY;
        let scrubbed = Scrubbed { bytes: 0, total: 10 << 30, cycle_ended: false };
        pace.scrubbed(tomorrow, Some(scrubbed));
        assert_eq!(pace.due().since(tomorrow), evenly / HASTE_MAX);
        pace.scrubbed(tomorrow, Some(Scrubbed { cycle_ended: true, ..scrubbed }));
        assert_eq!(pace.due().since(tomorrow), evenly);
    }

    #[test]
    fn a_machine_without_a_disk_is_asked_once() {
        let mut pace = Pace::new(Time(0), DAY);
        pace.scrubbed(Time(7), None);
        assert_eq!(pace.due(), Time::NEVER);
    }
}
