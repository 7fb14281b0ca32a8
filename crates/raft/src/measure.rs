//! Two ways to remember how long something takes: what is usual, and what is rare.
//!
//! What happens many times a second and is to be waited for, a round trip or a sync, is an [`Estimate`]: a
//! mean and a deviation. What happens once in minutes and must not be mistaken for a death, the stall of a
//! host, would be forgotten by any mean: it is a [`Peak`], the worst of the last half an hour to an hour.

use core::time::Duration;

use quorate_planted::planted;

use crate::types::Time;

/// A mean and a mean deviation that follow what is measured, as the retransmission timer of TCP has them
/// (RFC 6298 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// `SRTT` and `RTTVAR`; `None` before the first measurement.
    smoothed: Option<(Duration, Duration)>,
}

/// A span of time in half the memory: in nanoseconds, which suffice for 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nanos(u64);

impl From<Duration> for Nanos {
    fn from(span: Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl Estimate {
    /// The mean and the deviation.
    pub(crate) fn parts(self) -> Option<(Nanos, Nanos)> {
        self.smoothed.map(|(mean, deviation)| (mean.into(), deviation.into()))
    }

    /// The estimate of these.
    pub(crate) fn of(parts: Option<(Nanos, Nanos)>) -> Self {
        let smoothed = parts.map(|(mean, deviation)| (mean.into(), deviation.into()));
        Self { smoothed }
    }

    /// Takes one measurement in.
    pub(crate) fn add(&mut self, took: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                let off = mean.abs_diff(took);
                (mean * 7 / 8 + took / 8, deviation * 3 / 4 + off / 4)
            }
        });
    }

    /// What it takes at most, as a rule: the mean and four deviations. `None` if nothing was measured.
    pub(crate) fn bound(&self) -> Option<Duration> {
        self.smoothed.map(|(mean, deviation)| mean.saturating_add(deviation.saturating_mul(4)))
    }
}

/// The largest of what was seen lately: in the present span of time and in the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    present: Duration,
    before: Duration,
    /// When the present span began.
    since: Time,
}

impl Peak {
    /// How long a span is. Two of them hold hundreds of the stalls of a host that is disturbed every few
    /// seconds, and the worst of hundreds is seldom far below the worst of a day.
    pub(crate) const SPAN: Duration = Duration::from_secs(30 * 60);

    /// The largest of the present span and of the one before, and when the present one began.
    pub(crate) fn parts(self) -> (Nanos, Nanos, Time) {
        (self.present.into(), self.before.into(), self.since)
    }

    /// What remembers these.
    pub(crate) fn of((present, before, since): (Nanos, Nanos, Time)) -> Self {
        Self { present: present.into(), before: before.into(), since }
    }

    /// Takes one in.
    pub(crate) fn add(&mut self, now: Time, seen: Duration) {
        self.turn(now);
        self.present = self.present.max(seen);
    }

    /// The largest seen lately; zero if nothing was.
    pub(crate) fn worst(&self) -> Duration {
        if planted!(StallsForgotten) { Duration::ZERO } else { self.present.max(self.before) }
    }

    /// Lets what is too old go.
    fn turn(&mut self, now: Time) {
        let age = now.since(self.since);
        if age >= Self::SPAN {
            self.before = if age < Self::SPAN * 2 { self.present } else { Duration::ZERO };
            self.present = Duration::ZERO;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_estimate_begins_with_what_rfc_6298_says_and_closes_in() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.bound(), None);
        estimate.add(80 * MS);
        assert_eq!(estimate.bound(), Some(240 * MS), "the mean, and four times half of it");
        for _ in 0..50 {
            estimate.add(80 * MS);
        }
        let settled = estimate.bound().unwrap();
        assert!((80 * MS..82 * MS).contains(&settled), "{settled:?}");
        estimate.add(180 * MS);
        let shaken = estimate.bound().unwrap();
        assert!((180 * MS..200 * MS).contains(&shaken), "a tenfold jitter counts: {shaken:?}");
    }

    #[test]
    fn a_peak_lasts_for_one_span_at_least_and_two_at_most() {
        let mut peak = Peak::default();
        let start = Time(7);
        peak.add(start, 300 * MS);
        let early = start + (Peak::SPAN - MS);
        peak.add(early, 10 * MS);
        assert_eq!(peak.worst(), 300 * MS);
        peak.add(start + Peak::SPAN + MS, 20 * MS);
        assert_eq!(peak.worst(), 300 * MS, "it is the span before");
        peak.add(start + Peak::SPAN * 2 + MS * 2, 5 * MS);
        assert_eq!(peak.worst(), 20 * MS, "the oldest is gone");
        peak.add(start + Peak::SPAN * 9, Duration::ZERO);
        assert_eq!(peak.worst(), Duration::ZERO, "after a long silence nothing is left");
    }
}
