//! Where the lead belongs: when a leader gives it away though nobody asked.
//!
//! Two things speak for another member. It has a higher [`Priority`]; or it is the one whom clients ask:
//! hardly a request comes to the leader itself, be it that its clients can't reach it or that they are
//! elsewhere, and one member sends it most of what it does.
//!
//! Both are wishes, and never worth a group that stands still. So
//!
//! - only a voter is wished for that speaks as it should, and it has to be fit for all of a *while*, which
//!   is ten election timeouts, of a leader that has led as long;
//! - it must be level at the moment when it gets the lead, which then takes a round trip;
//! - if it had the lead given before and it came back soon, whatever the reason, the while doubles, up to
//!   sixteen times. A member that fails whenever it leads, or whose disk is slow, does not get the lead
//!   for ever;
//! - who is asked most never gets it from a member of higher priority, and so a priority also pins the lead.
//!
//! Nobody is kept from being elected. Whoever has the lowest priority leads where it has to be, until another
//! one is fit: a member that must never lead is a learner.
//!
//! The lead moves upwards only, or else towards clients whose leader has none. Between two members
//! it goes to and fro only if one of them fails each time, or if all clients move.

use alloc::collections::BTreeMap;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::{NodeId, Time};

/// How much a member is wanted as the leader: more, the higher it is. MongoDB's replica sets have the same
/// range and the same default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u16);

impl Priority {
    /// The highest.
    pub const MAX: Self = Self(1_000);

    /// A priority, unless it is above the highest.
    #[must_use]
    pub fn new(value: u16) -> Option<Self> {
        (value <= Self::MAX.0).then_some(Self(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Priority {
    /// One, so that there is something below it.
    fn default() -> Self {
        Self(1)
    }
}

/// So many election timeouts are a while.
const WHILE: u32 = 10;

/// So often it doubles.
const DOUBLINGS_MAX: u32 = 4;

/// In so many whiles, one after the other, the same member has to be asked most.
const ROUNDS: u32 = 3;

/// And so often at least in each.
const REQUESTS_MIN: u64 = 32;

/// And so many times as often as the leader.
const TIMES_AS_OFTEN: u64 = 16;

/// A voter that could lead instead, and is there and fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: NodeId,
    pub(crate) priority: Priority,
    /// Whether it has nearly all of the log.
    pub(crate) is_level: bool,
}

/// Somebody is to have the lead, and has been all the time since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    to: NodeId,
    since: Time,
}

/// The lead was given to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    /// When it was given last.
    at: Time,
    /// How often it had come back soon.
    doublings: u32,
}

/// What a member that leads thinks of that. What it gave away it remembers when it leads again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    own: Priority,
    /// How long a while is.
    a_while: Duration,
    wish: Option<Wish>,
    given: BTreeMap<NodeId, Given>,
    /// What clients asked of this member since `counting_since`.
    own_requests: u64,
    /// And of others, who sent it on.
    requests: BTreeMap<NodeId, u64>,
    counting_since: Option<Time>,
    /// Who was asked most, and in how many whiles in a row.
    most_asked: Option<(NodeId, u32)>,
}

impl Lead {
    pub(crate) fn new(own: Priority, election_timeout: Duration) -> Self {
        Self {
            own,
            a_while: election_timeout * WHILE,
            wish: None,
            given: BTreeMap::new(),
            own_requests: 0,
            requests: BTreeMap::new(),
            counting_since: None,
            most_asked: None,
        }
    }

    /// The priority of this member.
    pub(crate) fn own(&self) -> Priority {
        self.own
    }

    /// A client asks something of this member.
    pub(crate) fn asked(&mut self) {
        self.own_requests = self.own_requests.saturating_add(1);
    }

    /// A member sends on what its client asked.
    pub(crate) fn asked_of(&mut self, member: NodeId) {
        if self.counting_since.is_some() {
            let requests = self.requests.entry(member).or_default();
            *requests = requests.saturating_add(1);
        }
    }

    /// This member does not lead, or is handing over already.
    pub(crate) fn pauses(&mut self) {
        self.wish = None;
        self.most_asked = None;
        self.counting_since = None;
        self.requests.clear();
        self.own_requests = 0;
    }

    /// Looks around, as a leader does with each heartbeat. Returns who is to have the lead now.
    pub(crate) fn look(
        &mut self,
        now: Time,
        candidates: impl Iterator<Item = Candidate> + Clone,
    ) -> Option<NodeId> {
        self.count(now);
        let is_most_asked =
            |id| self.most_asked.is_some_and(|(most, rounds)| most == id && rounds >= ROUNDS);
        let wished = candidates.filter(|candidate| {
            candidate.priority > self.own
                || candidate.priority == self.own && is_most_asked(candidate.id)
        });
        // Of equals the one that is wished for already.
        let is_wished = |id| self.wish.is_some_and(|wish| wish.to == id);
        if planted!(LeadNeverMoves) {
            return None;
        }
        let Some(best) = wished.max_by_key(|c| (c.priority, is_wished(c.id), c.id)) else {
            self.wish = None;
            return None;
        };
        let wish = self.wish.filter(|wish| wish.to == best.id);
        let wish = wish.unwrap_or(Wish { to: best.id, since: now });
        self.wish = Some(wish);
        let doublings = self.doublings(now, best.id);
        let waited = now.since(wish.since);
        if waited < self.a_while * (1 << doublings) || !best.is_level {
            return None;
        }
        self.given.insert(best.id, Given { at: now, doublings });
        self.wish = None;
        Some(best.id)
    }

    /// How often the while is doubled for a member: once more than the last time, if that is not long ago.
    fn doublings(&self, now: Time, to: NodeId) -> u32 {
        let Some(given) = self.given.get(&to) else { return 0 };
        if planted!(LeadToAndFro) {
            return 0;
        }
        // It was given at `at`, came back, and has been wished for since, for as long as that takes.
        let soon = self.a_while * (1 << (given.doublings + 3));
        if now.since(given.at) > soon { 0 } else { (given.doublings + 1).min(DOUBLINGS_MAX) }
    }

    /// Sees at the end of a while who was asked most in it.
    fn count(&mut self, now: Time) {
        let since = *self.counting_since.get_or_insert(now);
        if now.since(since) < self.a_while {
            return;
        }
        let most = self.requests.iter().max_by_key(|(_, count)| **count);
        let most = most.map(|(&id, &count)| (id, count)).filter(|&(_, count)| {
            count >= REQUESTS_MIN && count >= self.own_requests.saturating_mul(TIMES_AS_OFTEN)
        });
        self.most_asked = most.map(|(id, _)| match self.most_asked {
            Some((before, rounds)) if before == id => (id, rounds.saturating_add(1)),
            _ => (id, 1),
        });
        self.counting_since = Some(now);
        self.requests.clear();
        self.own_requests = 0;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const ELECTION: Duration = Duration::from_millis(1_000);
    const HEARTBEAT: Duration = Duration::from_millis(100);

    /// A leader of the default priority who looks around with each heartbeat.
    struct Leader {
        lead: Lead,
        now: Time,
    }

    impl Leader {
        fn new() -> Self {
            Self { lead: Lead::new(Priority::default(), ELECTION), now: Time(0) }
        }

        /// In how many heartbeats it gives the lead to whom, if it does within so many.
        fn gives(&mut self, heartbeats: u32, candidates: &[Candidate]) -> Option<(u32, NodeId)> {
            (1..=heartbeats).find_map(|heartbeat| {
                self.now = self.now + HEARTBEAT;
                let to = self.lead.look(self.now, candidates.iter().copied());
                to.map(|to| (heartbeat, to))
            })
        }
    }

    fn candidate(id: u64, priority: u16) -> Candidate {
        let priority = Priority::new(priority).expect("it is a priority");
        Candidate { id: NodeId(id), priority, is_level: true }
    }

    #[test]
    fn the_lead_goes_to_the_highest_priority_after_a_while() {
        let all = [candidate(2, 5), candidate(3, 7), candidate(4, 0)];
        assert_eq!(Leader::new().gives(200, &all), Some((101, NodeId(3))));
        let equal = [candidate(2, 1), candidate(3, 0)];
        assert_eq!(Leader::new().gives(2_000, &equal), None);
    }

    #[test]
    fn who_is_not_fit_all_the_time_does_not_get_it() {
        let mut leader = Leader::new();
        for _ in 0..20 {
            assert_eq!(leader.gives(99, &[candidate(2, 5)]), None);
            assert_eq!(leader.gives(1, &[]), None);
        }
        let behind = Candidate { is_level: false, ..candidate(2, 5) };
        assert_eq!(leader.gives(200, &[behind]), None);
        assert_eq!(leader.gives(1, &[candidate(2, 5)]), Some((1, NodeId(2))), "it has waited");
    }

    #[test]
    fn a_leader_that_leads_no_more_begins_anew() {
        let mut leader = Leader::new();
        assert_eq!(leader.gives(90, &[candidate(2, 5)]), None);
        leader.lead.pauses();
        assert_eq!(leader.gives(90, &[candidate(2, 5)]), None);
    }

    #[test]
    fn who_loses_the_lead_again_and_again_gets_it_ever_more_seldom() {
        let mut leader = Leader::new();
        let mut waits = Vec::new();
        for _ in 0..7 {
            let (heartbeats, _) = leader.gives(10_000, &[candidate(2, 5)]).expect("it is fit");
            waits.push(heartbeats);
            leader.lead.pauses();
        }
        assert_eq!(waits, [101, 201, 401, 801, 1601, 1601, 1601]);
        // It kept the lead for long.
        leader.now = leader.now + ELECTION * 2_000;
        let (heartbeats, _) = leader.gives(10_000, &[candidate(2, 5)]).expect("it is fit");
        assert_eq!(heartbeats, 101);
    }

    /// So many requests of members in each of some heartbeats.
    fn traffic(leader: &mut Leader, heartbeats: u32, of: &[(u64, u64)]) -> Option<NodeId> {
        (0..heartbeats).find_map(|_| {
            for (member, count) in of {
                for _ in 0..*count {
                    match *member {
                        1 => leader.lead.asked(),
                        other => leader.lead.asked_of(NodeId(other)),
                    }
                }
            }
            let all = [candidate(2, 1), candidate(3, 0), candidate(4, 1)];
            leader.gives(1, &all).map(|(_, to)| to)
        })
    }

    #[test]
    fn a_leader_without_clients_gives_the_lead_to_who_has_most() {
        let give = |of: &[(u64, u64)]| traffic(&mut Leader::new(), 1_000, of);
        assert_eq!(give(&[(2, 3), (4, 2)]), Some(NodeId(2)));
        assert_eq!(give(&[(1, 1), (2, 20)]), Some(NodeId(2)), "one in twenty is as good as none");
        assert_eq!(give(&[(1, 1), (2, 10)]), None, "it has clients of its own");
        assert_eq!(give(&[(3, 9)]), None, "not to a lower priority");
        assert_eq!(give(&[]), None, "nobody asks anything");
    }

    #[test]
    fn clients_that_move_do_not_take_the_lead_along_at_once() {
        let mut leader = Leader::new();
        for _ in 0..10 {
            assert_eq!(traffic(&mut leader, 200, &[(2, 3)]), None);
            assert_eq!(traffic(&mut leader, 200, &[(4, 3)]), None);
        }
        // A few requests are no traffic.
        let mut leader = Leader::new();
        for _ in 0..20 {
            assert_eq!(traffic(&mut leader, 1, &[(2, 20)]), None);
            assert_eq!(traffic(&mut leader, 99, &[]), None);
        }
    }
}
