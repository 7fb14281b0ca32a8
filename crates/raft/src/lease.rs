//! The leader's lease: reads that are answered at once, where clocks can be trusted that far (thesis §6.4.1).
//!
//! A round of heartbeats confirms that a leader led when the round began ([`crate::read`]). With a lease it
//! confirms more: whoever answers it has *promised* to elect nobody for a while. As long as promises of a quorum
//! hold, nobody else can lead, and the leader answers reads, its own and those of followers, without a round. This
//! trusts clocks, and so it is off unless [`Config::lease`](crate::Config::lease) declares how wrong they may be.
//!
//! # The rules
//! - **The promise.** A leader with a lease says in its heartbeats for how long it wants to be held
//!   ([`Heartbeat::hold`](crate::Heartbeat)). A voter that has a lease configured as well, and takes in a *new*
//!   heartbeat, promises that from this moment on, by its own clock: until then it votes for nobody, really or
//!   preliminarily, in whatever term, and does not campaign. The promise belongs to the member and not to its role or
//!   term: what a follower forgets of its leader when it hears of a later term, it does not forget here. The answer
//!   says for how long the promise goes on ([`HeartbeatReply::held`](crate::HeartbeatReply)). It is a promise of its
//!   own because loyalty (`timer.rs`) is none: it falls from one heartbeat to the next as measurements change, and
//!   the leader does not hear of it. What is asked for is the least that every loyalty of the leader's own policy
//!   lasts (two heartbeats with the adaptive one, `T` with the others), so where members are configured alike no
//!   election takes longer than without. No voter promises more than its own `T`.
//! - **The exception.** A vote that the leader itself asked for, by [`Body::TimeoutNow`](crate::Body), is given at
//!   once. So a leader gives its lease up *before* it says that, and for the rest of its term: both the word and
//!   the votes that it leads to may be on their way for any time.
//! - **A restart** forgets promises. So a member with a lease configured, on whose disk a term is, promises for `T`
//!   when it starts. (In term 0 it has never answered anybody: what it says waits for the term to be durable. Who
//!   lost its disk promises as well.)
//! - **The lease.** A leader counts for each voter the time at which it *sent* the round that this one answered, and
//!   from there on the promise, shortened as below. It holds the lease at a moment if that moment lies before the
//!   end of what a quorum of its latest membership promised, itself among it. Who rejoins counts for nothing. Reads are
//!   answered by it once an entry of the leader's own term is committed, like all reads.
//!
//! # Why nobody reads what is stale
//! Let L of term t answer a read at moment r by its lease. *No leader of a later term was elected before r.* Suppose
//! one was, and let C of term u be that of the least term. A quorum elected C, a quorum promised to L, and they share
//! a member m: by the same overlap of memberships that makes a round good for a read. (L itself does not vote while
//! it leads.) m answered L in term t, and voted in term u > t, so it promised at p and voted after p, at v. Did C
//! campaign because a leader asked it to? That leader was of term u-1; there is none between t and u, so it was L,
//! and had given up its lease. So the vote was an ordinary one, and m gave it when its promise was over by its clock,
//! or it restarted in between. Let the clock of each member, over any span, advance by between `1 - d` and `1 + d`
//! times the time that passes: `d` is the declared drift. A promise of H lasted from p for at least `H / (1 + d)`;
//! after a restart m was silent for T from then on, and no promise is longer than T. L sent the round at s, before p,
//! and counts `H (1 - d) / (1 + d)` by its own clock, in which at most `H / (1 + d)` passes. So r < s + H / (1 + d) ≤
//! v, and C was not elected before r.
//!
//! So all that was acknowledged before r was committed by L or in terms before t, and as an entry of L's own term is
//! committed, L knows of it. The read began before r. What becomes of the answer later does not matter: it may be
//! late, and never wrong. For this `now` must be read *after* the input that it comes with has arrived: a host
//! that reads the clock, sleeps, and then takes in a read or a heartbeat makes a clock that is late.
//!
//! # What breaks it
//! A clock that is wrong by more than was declared: the simulator finds the stale read (`quorate-sim lease`). A clock
//! that stands while the others go on is wrong without a bound: a virtual machine that is paused, moved, or put back
//! to a snapshot, and a laptop whose lid was closed, where the monotonic clock does not count the sleep. A *process*
//! that is paused is no harm. And a member that is started without the lease, or with a shorter `T`, within the `T`
//! of its process before: it does not keep what that one promised.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use quorate_planted::planted;

use crate::membership::Membership;
use crate::quorum;
use crate::read::Sent;
use crate::types::{NodeId, Time};

/// That leaders answer reads by a lease, and what that trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// How far the clock of any member may be off, in parts per million: over any span it advances by
    /// between `1 - drift` and `1 + drift` times the time that passes. Below a million. Quartz keeps to 100, and
    /// where the time is set by slewing, to 500 more.
    pub drift_ppm: u32,
}

const MILLION: u32 = 1_000_000;

impl Lease {
    /// Whether anything is left of a promise.
    pub(crate) fn is_possible(self) -> bool {
        self.drift_ppm < MILLION
    }

    /// How much of a promise the leader's own clock may show while the promise holds for certain.
    fn shortened(self, promised: Duration) -> Duration {
        if planted!(DriftIgnored) {
            return promised;
        }
        let (least, most) = (MILLION.saturating_sub(self.drift_ppm), MILLION + self.drift_ppm);
        let nanos = promised.as_nanos() * u128::from(least) / u128::from(most);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What a member promised: until then it elects nobody. Outlives roles and terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    until: Time,
}

impl Promise {
    /// No promise.
    pub(crate) const NONE: Self = Self { until: Time(0) };

    /// A promise from now on.
    pub(crate) fn new(now: Time, lasts: Duration) -> Self {
        Self { until: now + lasts }
    }

    /// Promises more, never less.
    pub(crate) fn extend(&mut self, now: Time, lasts: Duration) {
        self.until = self.until.max(now + lasts);
    }

    /// When it is over.
    pub(crate) fn until(self) -> Time {
        self.until
    }

    /// For how long it goes on.
    pub(crate) fn rest(self, now: Time) -> Duration {
        self.until.since(now)
    }

    /// Whether it binds.
    pub(crate) fn holds(self, now: Time) -> bool {
        now < self.until
    }
}

/// A leader's lease, for one term.
#[derive(Debug)]
pub(crate) struct Tenure {
    /// Nothing if there is none, or no longer in this term.
    lease: Option<Lease>,
    /// For how long voters are asked to hold to this leader.
    asks: Duration,
    /// When rounds left, ascending. Not all of them are kept: an answer to one in between counts for the one before.
    sent: VecDeque<Sent>,
    /// Until when this leader may count on each member, by its own clock.
    held: BTreeMap<NodeId, Time>,
}

impl Tenure {
    /// Of the time that is asked for, rounds that left within such a part of each other count as one.
    const PARTS: u32 = 16;

    /// A term in which nobody has promised anything.
    pub(crate) fn new(lease: Option<Lease>, asks: Duration) -> Self {
        Self { lease, asks, sent: VecDeque::new(), held: BTreeMap::new() }
    }

    /// A round of heartbeats leaves. Returns for how long those who hear it are to hold to this leader.
    pub(crate) fn begin(&mut self, now: Time, round: u64) -> Duration {
        if self.lease.is_none() {
            return Duration::ZERO;
        }
        while self.sent.front().is_some_and(|sent| now.since(sent.at) >= self.asks) {
            self.sent.pop_front();
        }
        let is_apart = |sent: &Sent| now.since(sent.at) >= self.asks / Self::PARTS;
        if self.sent.back().is_none_or(is_apart) {
            self.sent.push_back(Sent { round, at: now });
        }
        self.asks
    }

    /// A member that counts has answered a round, and promises so much from its moment on.
    pub(crate) fn answered(&mut self, now: Time, from: NodeId, round: u64, promised: Duration) {
        let Some(lease) = self.lease else { return };
        let sent = self.sent.iter().rev().find(|sent| sent.round <= round);
        let Some(sent) = sent else { return };
        let sent = if planted!(LeaseFromReply) { now } else { sent.at };
        let until = sent + lease.shortened(promised.min(self.asks));
        let held = self.held.entry(from).or_default();
        *held = until.max(*held);
    }

    /// A member leaves, or is given a vote with another disk: nothing that it promised before is counted on.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.held.remove(&id);
    }

    /// Whether nobody else can be elected at this moment.
    pub(crate) fn holds(&self, now: Time, membership: &Membership, us: NodeId) -> bool {
        self.lease.is_some()
            && quorum::has_quorum(membership, |id| {
                id == us || self.held.get(&id).is_some_and(|until| now < *until)
            })
    }

    /// Whether there may be one in this term.
    pub(crate) fn is_possible(&self) -> bool {
        self.lease.is_some()
    }

    /// Forgets what was promised, as its leader falls quiet: it is over soon, and to forget it is never wrong.
    pub(crate) fn begin_anew(&mut self) {
        self.sent = VecDeque::new();
        self.held = BTreeMap::new();
    }

    /// This leader lets another be elected. There is no way back in this term.
    pub(crate) fn give_up(&mut self) {
        if !planted!(LeaseKeptInTransfer) {
            self.lease = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: NodeId = NodeId(1);

    fn at(ms: u32) -> Time {
        Time(0) + MS * ms
    }

    fn three() -> Membership {
        Membership::of_voters([1, 2, 3].map(NodeId))
    }

    #[test]
    fn a_promise_is_shortened_by_what_two_clocks_may_differ() {
        let of = |drift_ppm| Lease { drift_ppm }.shortened(Duration::from_secs(1));
        assert_eq!(of(0), Duration::from_secs(1));
        assert_eq!(of(100), Duration::from_nanos(999_800_019));
        assert_eq!(of(500_000), Duration::from_nanos(333_333_333));
        assert_eq!(of(999_999), Duration::from_nanos(500));
        assert_eq!(Lease { drift_ppm: 1 }.shortened(Duration::MAX), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn a_lease_counts_from_when_the_round_left_and_needs_a_quorum() {
        let mut tenure = Tenure::new(Some(Lease { drift_ppm: 0 }), MS * 200);
        assert!(!tenure.holds(at(0), &three(), US), "nobody has promised");
        assert_eq!(tenure.begin(at(0), 1), MS * 200);
        tenure.answered(at(150), NodeId(2), 1, MS * 200);
        assert!(tenure.holds(at(199), &three(), US));
        assert!(!tenure.holds(at(200), &three(), US));
        let five = Membership::of_voters([1, 2, 3, 4, 5].map(NodeId));
        assert!(!tenure.holds(at(199), &five, US), "two of five");
        let joint = Membership { outgoing: [4, 5].map(NodeId).into(), ..three() };
        assert!(!tenure.holds(at(199), &joint, US), "nobody of those who leave");
        tenure.forget(NodeId(2));
        assert!(
            !tenure.holds(at(199), &three(), US),
            "who left, and comes again, has promised nothing"
        );
        tenure.answered(at(160), NodeId(2), 1, MS * 200);
        assert!(tenure.holds(at(199), &three(), US));
        tenure.give_up();
        assert!(!tenure.holds(at(199), &three(), US));
        assert_eq!(tenure.begin(at(199), 2), Duration::ZERO);
    }

    #[test]
    fn an_answer_counts_for_a_round_that_is_known_to_have_left_before_it() {
        let mut tenure = Tenure::new(Some(Lease { drift_ppm: 0 }), MS * 160);
        for (round, ms) in [(1, 0), (2, 9), (3, 10), (4, 19)] {
            tenure.begin(at(ms), round);
        }
        tenure.answered(at(30), NodeId(2), 2, MS * 160);
        assert!(!tenure.holds(at(160), &three(), US), "it counts for round 1");
        tenure.answered(at(30), NodeId(2), 4, MS * 160);
        assert!(tenure.holds(at(169), &three(), US) && !tenure.holds(at(170), &three(), US));
        tenure.answered(at(40), NodeId(2), 1, MS * 160);
        assert!(tenure.holds(at(169), &three(), US), "a late answer takes nothing away");
        tenure.answered(at(40), NodeId(3), 4, MS * 20);
        assert!(tenure.holds(at(169), &three(), US));
        tenure.begin(at(500), 5);
        tenure.answered(at(500), NodeId(2), 4, MS * 160);
        assert!(!tenure.holds(at(500), &three(), US), "when that round left is forgotten");
    }

    #[test]
    fn rounds_by_the_thousand_are_not_all_kept() {
        let mut tenure = Tenure::new(Some(Lease { drift_ppm: 0 }), MS * 160);
        for round in 0..100_000_u32 {
            tenure.begin(Time(0) + MS / 100 * round, u64::from(round));
            assert!(tenure.sent.len() <= 17);
        }
    }
}
