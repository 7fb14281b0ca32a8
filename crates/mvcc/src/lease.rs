//! The lessor: the clock of leases, on the member that leads.
//!
//! That a lease exists, and which keys hang on it, is replicated. How much of its life remains is
//! known only to the *primary*, the leader of a term, by its own monotonic clock; what it finds
//! expired it proposes to end, as a command that is void in any other term. A new primary gives
//! every lease its whole time again, and some more for the time in which nobody could renew: leases
//! may live longer than granted, never shorter.
//!
//! When to promote: after the store has applied every entry of the terms before, so that the list of
//! leases is complete. Before a renewal is answered, the host makes sure that it still leads (a
//! linearizable read does): a deposed primary would otherwise renew what its successor lets expire.
//! [`LeaseKeeper`] is what holds hosts to that.

mod keeper;

pub use keeper::{EXPIRE_TOGETHER, EXPIRY_SCAN, LeaseAnswer, LeaseKeeper};

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::{Term, Time};

use crate::response::{Lease, LeaseChange};

/// How long after it was reported expired a lease is reported again, if it is still there: the
/// command to end it may have been lost.
pub const EXPIRY_RETRY: Duration = Duration::from_secs(3);

/// The clock of leases. Silent until promoted.
#[derive(Debug, Default)]
pub struct Lessor {
    primary: Option<Primary>,
}

#[derive(Debug)]
struct Primary {
    term: Term,
    clocks: BTreeMap<i64, Clock>,
    /// The same by the time at which something is to be done about them.
    due: BTreeSet<(Time, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The time to live it was granted, in seconds.
    ttl: i64,
    /// When it runs out.
    expires: Time,
    /// When it is to be reported expired, first or again; at or after `expires`.
    due: Time,
}

impl Clock {
    fn is_expired(&self, now: Time) -> bool {
        self.expires <= now
    }
}

/// What came of a wish to keep a lease alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It has its whole time to live again: so many seconds.
    Renewed(i64),
    /// It has run out and is about to be ended. Wait for that, then answer that it is gone.
    Expired,
    /// There is no such lease.
    Unknown,
    /// Only the primary can tell.
    NotPrimary,
}

/// What remains of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Until it runs out; zero once it has.
    pub left: Duration,
    /// What it was granted, in seconds.
    pub granted: i64,
}

impl Lessor {
    /// A lessor that is not primary.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The term in which it is primary, if it is: what a [`crate::Command::LeaseExpire`] carries.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.primary.as_ref().map(|primary| primary.term)
    }

    /// Becomes primary for a term. Each lease has its whole time from now, and `extend` more (etcd
    /// gives one election timeout).
    pub fn promote(
        &mut self,
        now: Time,
        term: Term,
        leases: impl IntoIterator<Item = Lease>,
        extend: Duration,
    ) {
        assert!(self.term().is_none_or(|before| before <= term), "terms only grow");
        let mut primary = Primary { term, clocks: BTreeMap::new(), due: BTreeSet::new() };
        for lease in leases {
            primary.arm(if planted!(LeaseNotExtended) { now } else { now + extend }, lease);
        }
        self.primary = Some(primary);
    }

    /// Is primary no more, and forgets all clocks.
    pub fn demote(&mut self) {
        self.primary = None;
    }

    /// Hears of a lease that came or went. Nothing to do unless primary.
    pub fn observe(&mut self, now: Time, change: LeaseChange) {
        let Some(primary) = &mut self.primary else { return };
        match change {
            LeaseChange::Granted(lease) => primary.arm(now, lease),
            LeaseChange::Revoked { id } => primary.disarm(id),
        }
    }

    /// Gives a lease its whole time again, unless it has run out.
    pub fn renew(&mut self, now: Time, id: i64) -> Renewal {
        let Some(primary) = &mut self.primary else { return Renewal::NotPrimary };
        match primary.clocks.get(&id) {
            None => Renewal::Unknown,
            Some(clock) if clock.is_expired(now) => Renewal::Expired,
            Some(&Clock { ttl, .. }) => {
                primary.arm(now, Lease { id, ttl });
                Renewal::Renewed(ttl)
            }
        }
    }

    /// What remains of a lease; `None` if there is no such lease here, or this is not the primary.
    #[must_use]
    pub fn remaining(&self, now: Time, id: i64) -> Option<Remaining> {
        let clock = self.primary.as_ref()?.clocks.get(&id)?;
        Some(Remaining { left: clock.expires.since(now), granted: clock.ttl })
    }

    /// Up to `max` leases that have run out and are to be ended now, those first that have waited
    /// longest. Each is reported once, and again after [`EXPIRY_RETRY`] if it is still there.
    pub fn expired(&mut self, now: Time, max: usize) -> Vec<i64> {
        let Some(primary) = &mut self.primary else { return Vec::new() };
        let mut expired = Vec::new();
        while expired.len() < max {
            let Some(&(due, id)) = primary.due.first() else { break };
            if due > now {
                break;
            }
            let clock = primary.clocks.get_mut(&id).expect("what is due has a clock");
            assert!(clock.due == due && clock.is_expired(now), "clock of {id} and its due time");
            clock.due = now + EXPIRY_RETRY;
            primary.due.pop_first();
            primary.due.insert((clock.due, id));
            expired.push(id);
        }
        expired
    }

    /// When [`Lessor::expired`] will next have something to say.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let first = self.primary.as_ref().and_then(|primary| primary.due.first());
        first.map_or(Time::NEVER, |&(due, _)| due)
    }

    /// The leases, those first that run out first. Empty unless primary.
    #[must_use]
    pub fn by_remaining(&self) -> Vec<i64> {
        let Some(primary) = &self.primary else { return Vec::new() };
        let mut leases: Vec<(Time, i64)> =
            primary.clocks.iter().map(|(&id, clock)| (clock.expires, id)).collect();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }
}

impl Primary {
    /// Starts or restarts a clock.
    fn arm(&mut self, now: Time, lease: Lease) {
        self.disarm(lease.id);
        let seconds = u64::try_from(lease.ttl).unwrap_or(0);
        let expires = now + Duration::from_secs(seconds);
        self.clocks.insert(lease.id, Clock { ttl: lease.ttl, expires, due: expires });
        self.due.insert((expires, lease.id));
    }

    fn disarm(&mut self, id: i64) {
        if let Some(clock) = self.clocks.remove(&id) {
            let was_due = self.due.remove(&(clock.due, id));
            assert!(was_due, "a clock is due at one time");
        }
    }
}
