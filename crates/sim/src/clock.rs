//! The clock of a member: it never goes back, and that is all that can be said of it. It runs at its
//! own rate, jumps forward (as after a suspension of the machine), and stands still for a while.

use std::time::Duration;

use quorate_raft::Time;

/// The rate of a right clock, in parts per million.
pub const RIGHT_PPM: u64 = 1_000_000;

/// A clock that changes its ways only at moments that it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// What it showed at the last such moment.
    showed: u64,
    since: Duration,
    ppm: u64,
    is_frozen: bool,
}

impl Clock {
    /// A clock that shows this when the world begins.
    #[must_use]
    pub fn new(shows: u64, ppm: u64) -> Self {
        assert!(ppm > 0, "a clock that never moves wakes nobody");
        Self { showed: shows, since: Duration::ZERO, ppm, is_frozen: false }
    }

    /// What it shows.
    #[must_use]
    pub fn read(&self, now: Duration) -> Time {
        if self.is_frozen {
            return Time(self.showed);
        }
        let nanos = (now - self.since).as_nanos() * u128::from(self.ppm) / u128::from(RIGHT_PPM);
        Time(self.showed + u64::try_from(nanos).expect("a run is short"))
    }

    /// When it will show this time, unless it is told of something before. Never if it stands still.
    #[must_use]
    pub fn when(&self, time: Time) -> Option<Duration> {
        if time == Time::NEVER || (self.is_frozen && time.0 > self.showed) {
            return None;
        }
        let local = u128::from(time.0.saturating_sub(self.showed));
        let nanos = (local * u128::from(RIGHT_PPM)).div_ceil(u128::from(self.ppm));
        let after = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.since.saturating_add(after))
    }

    /// It shows so much more from now on.
    pub fn jump(&mut self, now: Duration, by: Duration) {
        self.showed = (self.read(now) + by).0;
        self.since = now;
    }

    /// It stands still. Returns whether it did not do so before.
    pub fn freeze(&mut self, now: Duration) -> bool {
        self.showed = self.read(now).0;
        self.since = now;
        !std::mem::replace(&mut self.is_frozen, true)
    }

    /// It goes on from where it stood. Returns whether it stood.
    pub fn thaw(&mut self, now: Duration) -> bool {
        let was_frozen = std::mem::take(&mut self.is_frozen);
        if was_frozen {
            self.since = now;
        }
        was_frozen
    }

    /// How fast it runs, in parts per million.
    #[must_use]
    pub fn ppm(&self) -> u64 {
        self.ppm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_runs_jumps_and_stands_but_never_goes_back() {
        let mut clock = Clock::new(7, 500_000);
        assert_eq!(clock.read(s(4)), Time(7) + s(2));
        assert_eq!(clock.when(Time(7) + s(2)), Some(s(4)));
        clock.jump(s(4), s(10));
        assert_eq!(clock.read(s(4)), Time(7) + s(12));
        assert_eq!(clock.when(Time(7) + s(13)), Some(s(6)));
        assert!(clock.freeze(s(6)) && !clock.freeze(s(7)));
        assert_eq!(clock.read(s(100)), Time(7) + s(13));
        assert_eq!(clock.when(Time(7) + s(14)), None);
        assert!(clock.thaw(s(100)));
        assert_eq!(clock.when(Time(7) + s(14)), Some(s(102)));
        assert!(!clock.thaw(s(101)));
        assert_eq!(clock.read(s(102)), Time(7) + s(14));
    }

    #[test]
    fn who_is_woken_when_a_clock_shows_a_time_reads_no_earlier_one() {
        for ppm in [500_001, 950_003, RIGHT_PPM, 1_999_999] {
            let clock = Clock::new(1 << 40, ppm);
            for nanos in (0..1_000).map(|n| n * 7_919) {
                let time = Time((1 << 40) + nanos);
                assert!(clock.read(clock.when(time).expect("it runs")) >= time);
            }
        }
    }
}
