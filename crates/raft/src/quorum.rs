//! Counting: when does a set of members decide for the group?
//!
//! Pure functions over a [`Membership`]. A decision needs a majority of the voters and, during a
//! change of membership, a majority of the outgoing voters as well (joint consensus, Raft §6).
//! Learners never count. Half of the safety of Raft rests on this page, so it is written to be
//! checked by eye, and compared with a naive oracle for every small membership.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use quorate_planted::planted;

use crate::membership::Membership;
use crate::types::{Index, NodeId};

/// How many of `count` voters are a majority: more than half. Two of two, three of four.
#[must_use]
pub fn majority(count: usize) -> usize {
    count / 2 + 1
}

/// Whether the members for which `holds` is true decide for the group.
#[must_use]
pub fn has_quorum(membership: &Membership, holds: impl Fn(NodeId) -> bool) -> bool {
    let decides = |voters: &BTreeSet<NodeId>| {
        let half = voters.len().div_ceil(2);
        let needed = if planted!(HalfElects) { half } else { majority(voters.len()) };
        voters.iter().filter(|id| holds(**id)).count() >= needed
    };
    decides(&membership.voters) && (membership.outgoing.is_empty() || decides(&membership.outgoing))
}

/// The largest position that a quorum has reached, where `reached` tells for each voter how far it
/// got.
#[must_use]
pub fn reached_by_quorum(membership: &Membership, reached: impl Fn(NodeId) -> Index) -> Index {
    let incoming = reached_by_majority(&membership.voters, &reached);
    if membership.outgoing.is_empty() {
        return incoming;
    }
    incoming.min(reached_by_majority(&membership.outgoing, &reached))
}

/// The largest position that a majority of these voters has reached. Each voter's own position is a
/// candidate, so trying all of them is exact, and for a handful of voters cheaper than sorting.
fn reached_by_majority(voters: &BTreeSet<NodeId>, reached: &impl Fn(NodeId) -> Index) -> Index {
    let mut needed = majority(voters.len());
    needed -= usize::from(planted!(CommitBelowMajority));
    needed -= usize::from(planted!(HalfCommits) && voters.len().is_multiple_of(2));
    let positions: Vec<Index> = voters.iter().map(|id| reached(*id)).collect();
    let is_reached_by = |at: &Index| positions.iter().filter(|position| *position >= at).count();
    positions.iter().copied().filter(|at| is_reached_by(at) >= needed).max().unwrap_or_default()
}

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// A quorum granted its vote.
    Won,
    /// Too many refused for a quorum to be possible.
    Lost,
    /// Neither yet.
    Open,
}

/// How an election stands, where `vote` tells for each voter what it answered, if it did.
#[must_use]
pub fn tally(membership: &Membership, vote: impl Fn(NodeId) -> Option<bool>) -> Tally {
    if has_quorum(membership, |id| vote(id) == Some(true)) {
        Tally::Won
    } else if has_quorum(membership, |id| vote(id) != Some(false)) {
        Tally::Open
    } else {
        Tally::Lost
    }
}
