//! What a message must look like before it is looked at.
//!
//! A message is data, not truth. What is wrong whatever this member's state is, is found here, so that
//! the roles can rely on the shape; what contradicts the *state* (an append that differs from a
//! committed entry) is found where the state is, and dropped just the same. Either way it is
//! reported as [`crate::Event::Malformed`] and never an assertion.

use crate::core::Core;
use crate::membership::Membership;
use crate::message::{AppendReply, Body, Entry, Heartbeat, Message, Payload, SnapshotChunk};
use crate::message::{SnapshotReply, VoteReply};
use crate::types::{EntryId, Index, Term};

/// Checks the shape of a message.
pub(crate) fn message(core: &Core, message: &Message) -> Result<(), &'static str> {
    if message.to != core.id {
        return Err("it is for another member");
    }
    if message.from == core.id {
        return Err("it is from this member itself");
    }
    // Who lost its disk asks before it knows a term, and may be answered from before the first.
    let is_about_rejoining = matches!(message.body, Body::Rejoin(_) | Body::RejoinReply(_));
    if (message.term == Term(0) && !is_about_rejoining) || message.term > Term::BELIEVABLE_MAX {
        return Err("there is no such term");
    }
    match &message.body {
        Body::PreVote(request) | Body::Vote(request) => {
            entry_id(request.last)?;
            before(request.last.term, message.term)
        }
        Body::Append(append) => {
            index(append.commit)?;
            entries(append.previous, &append.entries, message.term).map(drop)
        }
        Body::Tail(tail) => {
            entry_id(tail.last)?;
            let last = entries(tail.previous, &tail.entries, message.term)?;
            if tail.last.term > message.term || last > tail.last || last.index > tail.last.index {
                return Err("a log does not end where it is said to");
            }
            Ok(())
        }
        Body::AskTail(ask) => entry_id(ask.after),
        Body::Snapshot(chunk) => snapshot(chunk, message.term),
        Body::Heartbeat(Heartbeat { commit, .. }) => index(*commit),
        Body::AppendReply(AppendReply::Accepted { durable })
        | Body::SnapshotReply(SnapshotReply::Installed { durable }) => index(*durable),
        Body::AppendReply(AppendReply::Rejected { previous, hint }) => {
            index(*previous)?;
            entry_id(*hint)?;
            if hint.index > *previous {
                return Err("a hint lies beyond what was asked");
            }
            Ok(())
        }
        Body::SnapshotReply(SnapshotReply::Continue { last, .. }) => entry_id(*last),
        Body::ReadIndexReply(reply) => reply.index.map_or(Ok(()), index),
        Body::RejoinReply(reply) => {
            voter(core, message)?;
            index(reply.last)
        }
        Body::PreVoteReply(VoteReply { .. })
        | Body::VoteReply(_)
        | Body::HeartbeatReply(_)
        | Body::ReadIndex(_)
        | Body::TimeoutNow
        | Body::Rejoin(_) => Ok(()),
    }
}

/// Only the word of voters counts. (Who leads or campaigns may be a voter by a membership that this member has
/// not heard of, so that is not asked: Raft §6.)
fn voter(core: &Core, message: &Message) -> Result<(), &'static str> {
    if core.membership().is_voter(message.from) { Ok(()) } else { Err("the sender has no vote") }
}

fn index(index: Index) -> Result<(), &'static str> {
    if index <= Index::BELIEVABLE_MAX { Ok(()) } else { Err("there is no such position") }
}

/// The position before the first entry has term 0, and no entry has.
fn entry_id(id: EntryId) -> Result<(), &'static str> {
    index(id.index)?;
    if (id.index == Index(0)) == (id.term == Term(0)) {
        Ok(())
    } else {
        Err("there is no such entry")
    }
}

fn membership(membership: &Membership) -> Result<(), &'static str> {
    if membership.is_possible() { Ok(()) } else { Err("there is no such membership") }
}

fn before(earlier: Term, later: Term) -> Result<(), &'static str> {
    if earlier < later { Ok(()) } else { Err("a log reaches into the term asked for") }
}

/// Entries that follow `previous`, of terms up to this one. Returns the last.
fn entries(previous: EntryId, entries: &[Entry], term: Term) -> Result<EntryId, &'static str> {
    entry_id(previous)?;
    let mut last = previous;
    for entry in entries {
        entry_id(entry.id)?;
        if entry.id.index != last.index.next() || entry.id.term < last.term {
            return Err("entries do not follow one another");
        }
        if let Payload::Membership(membership) = &entry.payload {
            self::membership(membership)?;
        }
        last = entry.id;
    }
    if last.term > term { Err("an entry is from a later term") } else { Ok(last) }
}

fn snapshot(chunk: &SnapshotChunk, term: Term) -> Result<(), &'static str> {
    entry_id(chunk.meta.last)?;
    membership(&chunk.meta.membership)?;
    if chunk.meta.last.index == Index(0) {
        return Err("an empty snapshot");
    }
    if chunk.meta.last.term > term {
        return Err("a snapshot is from a later term");
    }
    if chunk.next.as_ref().is_some_and(bytes::Bytes::is_empty) {
        return Err("a piece is followed by the first");
    }
    Ok(())
}
