//! The commit rule, and nothing else.

use quorate_planted::planted;

use crate::log::Log;
use crate::membership::Membership;
use crate::quorum;
use crate::types::{Index, NodeId, Term};

/// How far the leader of `term` may move its commit index, or `None` if it can't move it.
///
/// An entry is committed once it is durable on a quorum, `durable` telling for each voter up to
/// where its log is known both to equal the leader's and to be on its disk; the leader counts
/// itself by the same measure and may be the slowest of all. And only an entry of the leader's own
/// term is committed by counting: those before it are then committed with it, by log matching. An
/// entry of an earlier term may be on a majority and still be replaced (Raft §5.4.2, figure 8).
pub(crate) fn advance(
    membership: &Membership,
    log: &Log,
    term: Term,
    commit: Index,
    durable: impl Fn(NodeId) -> Index,
) -> Option<Index> {
    let reached = quorum::reached_by_quorum(membership, durable);
    if reached <= commit {
        return None;
    }
    assert!(
        reached <= log.last().index,
        "a quorum acknowledged {reached}, which is beyond the leader's last entry {}",
        log.last()
    );
    (log.term_at(reached) == Some(term) || planted!(CommitOfEarlierTerm)).then_some(reached)
}
