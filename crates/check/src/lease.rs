//! What a lease promises: its keys stay as long as it is renewed in time, and no longer than it has to.
//!
//! etcd's robustness suite grants leases of two hours and so never sees one expire; these checks are
//! ours. The promises are those of etcd's API reference for `LeaseGrant`, `LeaseKeepAlive` and
//! `LeaseTimeToLive`, with what a change of the leader does to them: the new leader gives each lease its
//! whole time again.
//!
//! A lease is judged by one observer's clock. That of the leader may run at another speed, and each
//! moment lies somewhere between a call and its return, so each check takes the end of the interval
//! that speaks for the server, and the observer declares how far the clocks may differ.

pub mod expiry;
pub mod never_early;
pub mod remaining;
pub mod together;

use alloc::string::String;
use alloc::vec::Vec;

use crate::Violation;
use crate::changes::Changes;

/// One lease from its grant on. Its id is used once in a recording.
#[derive(Clone, Debug, Default)]
pub struct LeaseHistory {
    /// Its id.
    pub id: i64,
    /// The time to live that it was granted, in seconds.
    pub ttl: i64,
    /// When it was asked for, in nanoseconds of the observer's clock.
    pub call: u64,
    /// When the answer came.
    pub returned: u64,
    /// What was done to it and seen of it, in any order.
    pub observations: Vec<Observation>,
}

/// Something that was asked about a lease, and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When it was asked, in nanoseconds of the observer's clock.
    pub call: u64,
    /// When the answer came, or it was certain that the request can't take effect any more; if ever.
    pub returned: Option<u64>,
    /// What came of it.
    pub seen: Seen,
}

/// What was seen of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was kept alive, for so many seconds more.
    Renewed {
        /// The time to live in the answer.
        ttl: i64,
    },
    /// Somebody tried to keep it alive and does not know what came of it.
    MaybeRenewed,
    /// It was there.
    Alive {
        /// Seconds that were left of it.
        remaining: i64,
        /// Seconds that it was granted, according to the answer.
        granted: i64,
    },
    /// It was not there, or a key that hung on it was deleted by its end.
    Gone,
    /// A client asked to revoke it, whatever came of that.
    Revoked,
}

/// What the observer vouches for.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How much earlier than by the observer's clock a lease may run out, in nanoseconds: what the
    /// leader's clock may gain in a time to live.
    pub tolerance: u64,
    /// How much later its end may come, in nanoseconds, if there is a leader: for the leader's look at
    /// its clocks, the command that ends the lease, and the extension after an election.
    pub grace: u64,
    /// Spans in which there may have been no leader, or another one, each with its first and its last
    /// moment, in nanoseconds.
    pub unsettled: Vec<(u64, u64)>,
}

const SECOND: u64 = 1_000_000_000;

/// Seconds of the API in nanoseconds; nothing for what is negative.
fn nanoseconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(SECOND)
}

/// A check: what it demands is said in its file.
type Check = fn(&LeaseHistory, &Rules) -> Result<(), String>;

/// The checks of one lease, by the name of their files.
const CHECKS: [(&str, Check); 3] = [
    ("lease_never_early", never_early::check),
    ("lease_expiry", expiry::check),
    ("lease_remaining", remaining::check),
];

/// All promises that a lease breaks.
#[must_use]
pub fn violations(lease: &LeaseHistory, rules: &Rules) -> Vec<Violation> {
    CHECKS
        .iter()
        .filter_map(|(name, check)| {
            check(lease, rules).err().map(|what| Violation::new(name, what))
        })
        .collect()
}

/// Until when a lease may be there, by all that was recorded of it; `None` if a renewal may still take
/// effect. Whether one of these checks could notice a lease that does not end is known by this only.
#[must_use]
pub fn limit(lease: &LeaseHistory, rules: &Rules) -> Option<u64> {
    expiry::limit(lease, rules, u64::MAX)
}

/// Whether all leases took their keys with them, in a list of all changes. `is_of_client` says whether a
/// revision was made by a request of a client other than a revocation.
///
/// # Errors
/// The first lease that did not.
pub fn check_together(
    changes: &Changes,
    is_of_client: impl Fn(i64) -> bool,
) -> Result<(), Violation> {
    together::check(changes, is_of_client).map_err(|what| Violation::new("lease_together", what))
}
