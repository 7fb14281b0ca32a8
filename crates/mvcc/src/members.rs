//! What members told about themselves: kept for as long as they are members.
//!
//! A row goes with the entry of the log by which its member has left, on every member alike, and needs no command of
//! a leader that might be lost in between. It stays while a change is under way, since that may take the member
//! back. What a member that has left still says afterwards is not noted.

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{Membership, NodeId};

use crate::engine::{Engine, EngineError, Table};
use crate::fingerprint::{self, Sums};
use crate::store::State;

/// Removes what these members told, and tells what that changes in the fingerprint.
pub(crate) fn forget(
    engine: &mut dyn Engine,
    is_gone: impl Fn(u64) -> bool,
) -> Result<Sums, EngineError> {
    let mut gone = Sums::ZERO;
    for member in State::members(engine)? {
        let row = State::member_row(member.id);
        if is_gone(member.id)
            && let Some(record) = engine.get(Table::Meta, &row)?
        {
            gone.go(fingerprint::member(&row, &record));
            engine.delete(Table::Meta, &row)?;
        }
    }
    Ok(gone)
}

/// Removes what members told that do not belong to the group any more, now that this is its membership.
pub(crate) fn forget_others(
    engine: &mut dyn Engine,
    membership: &Bytes,
) -> Result<Sums, EngineError> {
    match Membership::decode(membership) {
        Some(now) if !now.is_joint() && !planted!(RemovedMemberKept) => {
            forget(engine, |id| !now.contains(NodeId(id)))
        }
        _ => Ok(Sums::ZERO),
    }
}

/// Whether what this member tells is noted. Where no membership was ever told, as in a cluster that is as it was
/// founded, everybody's is.
pub(crate) fn is_one(membership: Option<&Bytes>, id: u64) -> bool {
    let now = membership.and_then(|membership| Membership::decode(membership));
    now.is_none_or(|now| now.contains(NodeId(id)))
}
