//! Reads that may be stale: never staler than they say, nor than was asked for.
//!
//! Whoever reads with a bound is told how stale the answer is at most. That is a promise: the state that was read contains
//! everything that had been acknowledged to anybody so long before the request. It is a promise by the clock of the member that
//! answers, which is the only one that it may trust; so what had been acknowledged when is noted by that
//! clock ([`Acknowledged`]), by an observer who sees both.
//!
//! What had been acknowledged at the very moment is not demanded.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use quorate_raft::{Index, Time};

use crate::Violation;

/// How far the answered requests of all clients reached, by the clock of one member.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// Ascending in both.
    steps: Vec<(Time, Index)>,
}

impl Acknowledged {
    /// Somebody was answered at this moment from a state that reaches so far.
    pub fn note(&mut self, at: Time, index: Index) {
        if self.steps.last().is_none_or(|(_, last)| *last < index) {
            self.steps.push((at, index));
        }
    }

    /// How far they had reached before this moment.
    #[must_use]
    pub fn before(&self, moment: Time) -> Index {
        let earlier = self.steps.partition_point(|(at, _)| *at < moment);
        earlier.checked_sub(1).map_or(Index(0), |last| self.steps[last].1)
    }
}

/// What a read was to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// What was acknowledged so long before it.
    AtMost(Duration),
    /// This position.
    AtLeast(Index),
}

/// A read that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleRead {
    /// What the clock of the member showed when it was asked, or before.
    pub asked: Time,
    /// What the read was to see.
    pub demand: Demand,
    /// How stale it is at most, as the member said.
    pub told: Option<Duration>,
    /// The last position that the state contained that was read.
    pub seen: Index,
}

/// Judges a read by what had been acknowledged, by the clock of the member that answered it.
///
/// # Errors
/// If it is staler than it says or than was asked for, or if nobody says how stale it is.
pub fn judge(read: &StaleRead, acknowledged: &Acknowledged) -> Result<(), Violation> {
    let wrong = |what| Err(Violation::new("staleness", format!("{what}: {read:?}")));
    match (read.demand, read.told) {
        (Demand::AtMost(_), None) => {
            return wrong("a read with a bound is not told how stale it is");
        }
        (Demand::AtMost(bound), Some(told)) if told > bound => {
            return wrong("a read is staler than it may be");
        }
        (Demand::AtLeast(index), _) if read.seen < index => {
            return wrong("a read does not see the position that it asked for");
        }
        (Demand::AtMost(_) | Demand::AtLeast(_), _) => {}
    }
    let Some(told) = read.told else { return Ok(()) };
    let told = u64::try_from(told.as_nanos()).unwrap_or(u64::MAX);
    let due = acknowledged.before(Time(read.asked.0.saturating_sub(told)));
    if read.seen < due {
        let what = format!("{due} had been acknowledged before what a read says that it sees");
        return wrong(&what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Time {
        Time(0) + MS * ms
    }

    fn acknowledged() -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        for (ms, index) in [(10, 1), (20, 2), (20, 3), (25, 3), (30, 5)] {
            acknowledged.note(at(ms), Index(index));
        }
        acknowledged
    }

    fn judged(demand: Demand, told: Option<Duration>, seen: u64) -> Result<(), Violation> {
        judge(&StaleRead { asked: at(40), demand, told, seen: Index(seen) }, &acknowledged())
    }

    #[test]
    fn what_had_been_acknowledged_is_known_for_each_moment() {
        let before = [0, 10, 11, 20, 21, 30, 31, 99].map(|ms| acknowledged().before(at(ms)).0);
        assert_eq!(before, [0, 0, 1, 1, 3, 3, 5, 5]);
    }

    #[test]
    fn a_read_as_stale_as_it_says_is_right() {
        let demand = Demand::AtMost(MS * 20);
        judged(demand, Some(Duration::ZERO), 5).expect("it sees all");
        judged(demand, Some(MS * 10), 3).expect("the last was acknowledged at that very moment");
        judged(demand, Some(MS * 20), 1).expect("as stale as it may be");
        judged(Demand::AtLeast(Index(2)), None, 2).expect("nobody asked how stale it is");
        judged(Demand::AtMost(MS * 50), Some(MS * 50), 0).expect("nothing had been acknowledged");
    }

    #[test]
    fn a_read_that_is_staler_is_noticed() {
        let wrong = |demand, told, seen, what: &str| {
            let violation = judged(demand, told, seen).expect_err("it is wrong");
            assert!(violation.what.starts_with(what), "{violation}");
        };
        let demand = Demand::AtMost(MS * 20);
        wrong(demand, Some(MS * 9), 3, "i5 had been acknowledged");
        wrong(demand, Some(MS * 21), 5, "a read is staler than it may be");
        wrong(demand, None, 5, "a read with a bound is not told");
        wrong(Demand::AtLeast(Index(4)), None, 3, "a read does not see the position");
        wrong(Demand::AtLeast(Index(3)), Some(MS), 3, "i5 had been acknowledged");
    }
}
