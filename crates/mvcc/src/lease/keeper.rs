//! When a member keeps the clocks of leases, and what it does with them: all that a host has to decide
//! around a [`Lessor`].
//!
//! A host tells it who leads, what commits did to leases, and that time passes; and it passes
//! questions on. Two moments need a *barrier*, which is a linearizable read that begins after the call
//! that asks for it: a member that begins to lead may take the clocks over only when it has applied all
//! of the terms before, and nothing may be said of a lease by a leader that was succeeded unnoticed.
//!
//! ```text
//!  who leads ──► follow ──► (barrier) ──► promote            a commit ──► note
//!  each EXPIRY_SCAN ──► expire ──► commands                  a question ──► (barrier) ──► renew, remaining
//! ```

use alloc::vec::Vec;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::{Term, Time};

use super::{Lessor, Remaining, Renewal};
use crate::command::Command;
use crate::response::{Lease, LeaseChange};

/// How often to look for leases that have run out, as in etcd.
pub const EXPIRY_SCAN: Duration = Duration::from_millis(500);

/// How many leases may be on their way to their end at once, as in etcd: many that run out together
/// must not fill the log at the cost of everybody else.
pub const EXPIRE_TOGETHER: usize = 16;

/// The clocks of leases in the hands of a member that may lead or not.
#[derive(Debug, Default)]
pub struct LeaseKeeper {
    lessor: Lessor,
}

/// What a member says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It does not lead, or not yet with the clocks in hand. Ask whoever leads.
    NotPrimary,
    /// There is no such lease.
    Gone,
    /// There is, with so many seconds left of those that were granted.
    Alive {
        /// Whole seconds; what has begun does not count.
        left: i64,
        /// Its time to live, in seconds.
        granted: i64,
    },
}

impl LeaseKeeper {
    /// A member that keeps no clocks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hears of the leases that came and went with a commit. To be called after the state with them
    /// was published: see [`LeaseKeeper::promote`].
    pub fn note(&mut self, now: Time, changes: impl IntoIterator<Item = LeaseChange>) {
        for change in changes {
            self.lessor.observe(now, change);
        }
    }

    /// Hears who leads: `led` is the term that this member leads, if it does. Forgets the clocks of
    /// any other term. Says for which term it is to be promoted after a barrier; if that fails, call
    /// this again when something has changed, or at the next [`EXPIRY_SCAN`].
    pub fn follow(&mut self, led: Option<Term>) -> Option<Term> {
        if led == self.lessor.term() {
            return None;
        }
        self.lessor.demote();
        led
    }

    /// The barrier that [`LeaseKeeper::follow`] asked for has passed. `led` is the term led now, and
    /// `leases` are those of the published state: a lease that is granted meanwhile is either among
    /// them, or it is noted after this.
    pub fn promote(
        &mut self,
        now: Time,
        term: Term,
        led: Option<Term>,
        leases: impl IntoIterator<Item = Lease>,
        extend: Duration,
    ) {
        if led == Some(term) {
            self.lessor.promote(now, term, leases, extend);
        }
    }

    /// The commands that end what has run out, as far as there is room beside the `under_way` ones.
    pub fn expire(&mut self, now: Time, under_way: usize) -> Vec<Command> {
        let Some(Term(term)) = self.lessor.term() else { return Vec::new() };
        let expired = self.lessor.expired(now, EXPIRE_TOGETHER.saturating_sub(under_way));
        expired.into_iter().map(|id| Command::LeaseExpire { id, term }).collect()
    }

    /// Gives a lease its whole time again. A barrier has passed before, and `led` is the term led
    /// after it. No answer means that the lease is about to be ended, and to say so before it has been
    /// would be a guess: begin anew, barrier and all, after the next commit.
    pub fn renew(&mut self, now: Time, led: Option<Term>, id: i64) -> Option<LeaseAnswer> {
        if !self.is_primary(led) {
            return Some(LeaseAnswer::NotPrimary);
        }
        match self.lessor.renew(now, id) {
            Renewal::Renewed(granted) => Some(LeaseAnswer::Alive { left: granted, granted }),
            Renewal::Unknown => Some(LeaseAnswer::Gone),
            Renewal::NotPrimary => Some(LeaseAnswer::NotPrimary),
            Renewal::Expired => None,
        }
    }

    /// What is left of a lease. As for [`LeaseKeeper::renew`], a barrier has passed.
    #[must_use]
    pub fn remaining(&self, now: Time, led: Option<Term>, id: i64) -> LeaseAnswer {
        if !self.is_primary(led) {
            return LeaseAnswer::NotPrimary;
        }
        match self.lessor.remaining(now, id) {
            Some(Remaining { left, granted }) => {
                // What a new primary gave on top is no part of what was granted.
                let left = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                let left = if planted!(ExtensionCounted) { left } else { left.min(granted) };
                LeaseAnswer::Alive { left, granted }
            }
            None => LeaseAnswer::Gone,
        }
    }

    /// The leases, those first that run out first. Empty unless it keeps their clocks.
    #[must_use]
    pub fn by_remaining(&self) -> Vec<i64> {
        self.lessor.by_remaining()
    }

    fn is_primary(&self, led: Option<Term>) -> bool {
        led.is_some() && led == self.lessor.term()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Lease = Lease { id: 7, ttl: 2 };
    const ALIVE: LeaseAnswer = LeaseAnswer::Alive { left: 2, granted: 2 };

    fn at(seconds: u64) -> Time {
        Time(0) + Duration::from_secs(seconds)
    }

    fn keeper(term: Term) -> LeaseKeeper {
        let mut keeper = LeaseKeeper::new();
        assert_eq!(keeper.follow(Some(term)), Some(term));
        keeper.promote(at(0), term, Some(term), [LEASE], Duration::ZERO);
        assert_eq!(keeper.follow(Some(term)), None);
        keeper
    }

    #[test]
    fn who_does_not_lead_the_term_of_its_clocks_says_nothing() {
        let mut keeper = keeper(Term(3));
        assert_eq!(keeper.renew(at(1), Some(Term(3)), 7), Some(ALIVE));
        assert_eq!(
            keeper.remaining(at(2), Some(Term(3)), 7),
            LeaseAnswer::Alive { left: 1, granted: 2 }
        );
        for led in [None, Some(Term(4))] {
            assert_eq!(keeper.renew(at(2), led, 7), Some(LeaseAnswer::NotPrimary));
            assert_eq!(keeper.remaining(at(2), led, 7), LeaseAnswer::NotPrimary);
        }
        assert_eq!(keeper.follow(None), None);
        assert_eq!(keeper.remaining(at(2), None, 7), LeaseAnswer::NotPrimary);
        assert_eq!(keeper.expire(at(9), 0), []);
    }

    #[test]
    fn what_is_left_is_never_more_than_was_granted() {
        let mut keeper = LeaseKeeper::new();
        let led = keeper.follow(Some(Term(3)));
        keeper.promote(at(0), Term(3), led, [LEASE], Duration::from_secs(1));
        assert_eq!(keeper.remaining(at(0), led, 7), ALIVE, "although it has three seconds");
        assert_eq!(keeper.remaining(at(2), led, 7), LeaseAnswer::Alive { left: 1, granted: 2 });
    }

    #[test]
    fn a_term_that_ended_during_the_barrier_is_not_taken_over() {
        let mut keeper = LeaseKeeper::new();
        assert_eq!(keeper.follow(Some(Term(3))), Some(Term(3)));
        keeper.promote(at(0), Term(3), Some(Term(5)), [LEASE], Duration::ZERO);
        assert_eq!(keeper.follow(Some(Term(5))), Some(Term(5)), "it has no clocks");
    }

    #[test]
    fn what_has_run_out_is_ended_in_its_term_and_not_renewed() {
        let mut keeper = keeper(Term(3));
        assert_eq!(keeper.expire(at(1), 0), []);
        assert_eq!(keeper.expire(at(2), EXPIRE_TOGETHER), [], "there is no room");
        assert_eq!(keeper.renew(at(2), Some(Term(3)), 7), None);
        assert_eq!(keeper.expire(at(2), 0), [Command::LeaseExpire { id: 7, term: 3 }]);
        keeper.note(at(3), [LeaseChange::Revoked { id: 7 }]);
        assert_eq!(keeper.renew(at(3), Some(Term(3)), 7), Some(LeaseAnswer::Gone));
    }
}
