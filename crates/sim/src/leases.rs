//! Leases: how a run uses them, and what is known of each.
//!
//! The lease checks of [`quorate_check::lease`] judge by one observer's clock, which here is that of the
//! world, and let the observer say how far the clocks of leaders may differ. A simulator knows that to
//! the nanosecond, whatever its clocks do: it reads all of them when a lease is given its time and
//! when it ends. What the clock that ended it gained in between is how much earlier it may end, and not
//! a nanosecond more. That holds if the clock was not in charge from the beginning: who takes over gives
//! the lease its whole time again, and no clock goes back. So clocks that jump by hours make no lease
//! exempt, and none is excused by the clock of somebody else.
//!
//! That leases end at last is asked for when everything works: how late they may end is then a matter
//! of the slowest clock, and of the last moment at which nobody, or somebody new, led.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_check::Violation;
use quorate_check::lease::{LeaseHistory, Observation, Rules, Seen, violations};
use quorate_mvcc::lease::{EXPIRY_RETRY, EXPIRY_SCAN};
use quorate_raft::{NodeId, Time};

use crate::chance::Chance;
use crate::clock::RIGHT_PPM;

/// How a run uses leases, drawn from a source of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases {
    /// The clients, each with one lease at a time.
    pub clients: u64,
    /// The longest time to live, in seconds. The least is one.
    pub ttl_max: u64,
    /// The mean time between two things that a client does.
    pub act_mean: Duration,
    /// Of a thousand such things, how many are to keep its lease alive.
    pub renewals_per_mille: u64,
    /// Of a thousand such things, how many are to revoke it.
    pub revocations_per_mille: u64,
}

/// Tells the source of these options from that of all else.
const LEASES: u64 = 0x6c_6561_7365;

impl Leases {
    /// Those of a seed, if it has any: three in ten do. The commands about leases stand in the log, so
    /// with them a seed is another run.
    #[must_use]
    pub fn of_seed(seed: u64) -> Option<Self> {
        let mut chance = Chance::new(seed ^ LEASES);
        chance.per_mille(300).then(|| Self {
            clients: chance.between(1, 3),
            ttl_max: chance.between(1, 3),
            act_mean: Duration::from_millis(*chance.pick(&[50, 150, 400])),
            renewals_per_mille: *chance.pick(&[0, 150, 400, 600]),
            revocations_per_mille: *chance.pick(&[0, 0, 30]),
        })
    }

    /// The source of what these clients do in a run.
    #[must_use]
    pub fn source(seed: u64) -> Chance {
        Chance::new(!seed ^ LEASES)
    }
}

/// What leases went through in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    /// Leases granted, each of which was judged.
    pub granted: u64,
    /// How many of them a leader found expired.
    pub expired: u64,
    /// How many a client revoked.
    pub revoked: u64,
    /// Times that one was kept alive.
    pub renewed: u64,
    /// Commands to end one that were void, as another member led by then.
    pub fenced: u64,
    /// Ends of leases that were looked at with all their keys, in what a member remembers.
    pub together: u64,
}

impl LeaseCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { granted, expired, revoked, renewed, fenced, together } = other;
        self.granted += granted;
        self.expired += expired;
        self.revoked += revoked;
        self.renewed += renewed;
        self.fenced += fenced;
        self.together += together;
    }
}

/// What the clocks of all members show at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// In the world's own time.
    pub at: Duration,
    /// By each member's clock.
    pub clocks: BTreeMap<NodeId, Time>,
}

impl Moment {
    /// How much more than the true time a member's clock went through since then, in nanoseconds.
    fn gain_since(&self, earlier: &Self, whose: NodeId) -> u64 {
        let passed = nanoseconds(self.at - earlier.at);
        let gain = (self.clocks[&whose].0 - earlier.clocks[&whose].0).saturating_sub(passed);
        // A clock shows whole nanoseconds, and so do the two differences.
        gain + 2
    }
}

/// Why a lease is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A client wished it.
    Revoked,
    /// It ran out by the clock of this member.
    Expired(NodeId),
}

/// What the world vouches for, when everything works.
#[derive(Clone, Copy, Debug)]
pub struct Calm {
    /// Until when it did not, or another member began to lead.
    pub since: Duration,
    /// The rate of the slowest clock, in parts per million.
    pub slowest_ppm: u64,
    /// What a new leader gives on top.
    pub extension: Duration,
    /// How long a command takes at most.
    pub command: Duration,
    /// How often the end of a lease may be refused, since too many others are under way.
    pub refusals: u32,
}

impl Calm {
    /// How much later than by the true time a lease may end.
    fn grace(&self, ttl: i64) -> u64 {
        let ttl = Duration::from_secs(u64::try_from(ttl).expect("a few seconds"));
        // A leader that could not take over at once tries again at its next look.
        let by_clock = ttl + self.extension + EXPIRY_SCAN * 2 + EXPIRY_RETRY * (1 + self.refusals);
        let slow = nanoseconds(by_clock) * RIGHT_PPM / self.slowest_ppm.min(RIGHT_PPM);
        slow + nanoseconds(self.command) - nanoseconds(ttl)
    }
}

/// A time of the world as the checks have it.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a run is short")
}

/// A lease from its grant on, as the world saw it.
#[derive(Debug)]
pub struct Record {
    history: LeaseHistory,
    /// When it was last given its time, as far as its client was told: then it was asked for.
    given: Moment,
    /// When the command that ended it was committed, and why it was given.
    ended: Option<(Moment, End)>,
}

impl Record {
    /// A lease whose grant has just been committed. No clock of it began to run before.
    #[must_use]
    pub fn new(id: i64, ttl: i64, granted: Moment) -> Self {
        let at = nanoseconds(granted.at);
        let history = LeaseHistory { id, ttl, call: at, returned: at, observations: Vec::new() };
        Self { history, given: granted, ended: None }
    }

    /// Something was seen of it between a call and now. Returns which observation that is.
    pub fn saw(&mut self, call: &Moment, returned: Option<Duration>, seen: Seen) -> usize {
        let returned = returned.map(nanoseconds);
        self.history.observations.push(Observation { call: nanoseconds(call.at), returned, seen });
        if matches!(seen, Seen::Renewed { .. }) {
            self.given = call.clone();
        }
        self.history.observations.len() - 1
    }

    /// What an earlier observation tells of can't take effect any more.
    pub fn settled(&mut self, observation: usize, now: Duration) {
        self.history.observations[observation].returned = Some(nanoseconds(now));
    }

    /// It ended, by a command that was committed now.
    pub fn end(&mut self, now: Moment, why: End) {
        if why == End::Revoked {
            self.saw(&now, Some(now.at), Seen::Revoked);
        }
        self.saw(&now, Some(now.at), Seen::Gone);
        self.ended = Some((now, why));
    }

    /// Holds it against the checks.
    ///
    /// # Errors
    /// The first promise broken.
    pub fn judge(&self, calm: &Calm) -> Result<(), Violation> {
        let rules = Rules {
            // One that was given its time after its end has no excuse.
            tolerance: match &self.ended {
                Some((ended, End::Expired(by))) if ended.at >= self.given.at => {
                    ended.gain_since(&self.given, *by)
                }
                Some(_) | None => 0,
            },
            grace: calm.grace(self.history.ttl),
            // Whatever was asked before it became calm may have been answered by anybody.
            unsettled: vec![(0, nanoseconds(calm.since))],
        };
        violations(&self.history, &rules).into_iter().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two members; the clock of the first shows what a test says.
    const FAST: NodeId = NodeId(1);
    const RIGHT: NodeId = NodeId(2);

    fn moment(millis: u64, clock: u64) -> Moment {
        let origin = Time(5_000);
        let at = Duration::from_millis;
        let clocks = [(FAST, origin + at(clock)), (RIGHT, origin + at(millis))].into();
        Moment { at: at(millis), clocks }
    }

    const fn calm(since: u64) -> Calm {
        Calm {
            since: Duration::from_secs(since),
            slowest_ppm: RIGHT_PPM / 2,
            extension: Duration::from_millis(500),
            command: Duration::from_millis(500),
            refusals: 0,
        }
    }

    #[test]
    fn a_lease_may_end_as_early_as_the_clock_gained_that_ends_it_and_no_earlier() {
        let ends = |at, clock, by| {
            let mut record = Record::new(7, 2, moment(1_000, 1_000));
            record.end(moment(at, clock), End::Expired(by));
            record.judge(&calm(0))
        };
        ends(3_000, 3_000, FAST).expect("two seconds are over");
        ends(1_500, 3_000, FAST).expect("two seconds are over by its clock");
        let early = ends(1_500, 2_999, FAST).expect_err("they are over by nobody's");
        assert_eq!(early.property, "lease_never_early");
        let early = ends(1_500, 3_000, RIGHT).expect_err("they are over by another's clock");
        assert_eq!(early.property, "lease_never_early");
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_asked_for() {
        let ends = |why| {
            let mut record = Record::new(7, 2, moment(1_000, 1_000));
            let asked = moment(2_000, 2_000);
            record.saw(&asked, Some(Duration::from_millis(2_100)), Seen::Renewed { ttl: 2 });
            record.end(moment(3_500, 3_500), why);
            record.judge(&calm(0))
        };
        ends(End::Expired(RIGHT)).expect_err("it was to live until 4");
        ends(End::Revoked).expect("a client wished it");
    }

    #[test]
    fn a_lease_is_gone_when_all_was_calm_for_long_enough() {
        let is_there = |seconds: u64, since| {
            let mut record = Record::new(7, 2, moment(1_000, 1_000));
            let asked = moment(seconds * 1_000, seconds * 1_000);
            record.saw(&asked, Some(asked.at), Seen::Alive { remaining: 1, granted: 2 });
            record.judge(&calm(since))
        };
        // 2 s, 0.5 s more, two looks, and a command that may get lost once: by a clock of half the speed.
        is_there(14, 1).expect("13 s and what a command takes are not over");
        let late = is_there(15, 1).expect_err("they are");
        assert_eq!(late.property, "lease_expiry");
        is_there(15, 2).expect("until 2 it was not calm");
        is_there(15, 16).expect("nor is it now");
    }

    #[test]
    fn some_runs_have_leases() {
        let have = (0..300).filter(|seed| Leases::of_seed(*seed).is_some()).count();
        assert!((50..150).contains(&have), "{have} of 300");
    }
}
