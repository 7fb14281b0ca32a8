//! What a member promises is on its disk before the promise leaves: the term it speaks in, the vote
//! it gives, and the entries that it says it has.
//!
//! Raft figure 2, "Persistent state on all servers (updated on stable storage before responding to
//! RPCs)". TLA+: no name. In most specifications a server writes to disk in the step in which it
//! answers; etcd's sends only what `DurableState` covers.

use alloc::format;
use alloc::string::String;

use quorate_raft::{AppendReply, Body, Index, Message, NodeId, SnapshotReply, Term};

use super::Invariant;
use crate::cluster::{self, Cluster, Fact, Member};

/// See the module. A leader's own appends are no promise: it may send them before its sync.
#[derive(Debug)]
pub struct DurableBeforeReply;

impl Invariant for DurableBeforeReply {
    fn name(&self) -> &'static str {
        "durable_before_reply"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        let Fact::Sent { message } = fact else { return Ok(()) };
        check(message, before.member(message.from)).map_err(|what| {
            format!("{} in {} tells {} {what}", message.from, message.term, message.to)
        })
    }
}

fn check(message: &Message, sender: &Member) -> Result<(), String> {
    match &message.body {
        // About a term that nobody enters by it.
        Body::PreVote(_) | Body::PreVoteReply(_) => Ok(()),
        Body::Vote(_) => vote(message.term, message.from, sender),
        Body::VoteReply(reply) if reply.granted => vote(message.term, message.to, sender),
        Body::AppendReply(AppendReply::Accepted { durable })
        | Body::SnapshotReply(SnapshotReply::Installed { durable }) => {
            term(message.term, sender)?;
            entries(*durable, sender)
        }
        Body::VoteReply(_)
        | Body::Append(_)
        | Body::AppendReply(AppendReply::Rejected { .. })
        | Body::Heartbeat(_)
        | Body::HeartbeatReply(_)
        | Body::Snapshot(_)
        | Body::SnapshotReply(SnapshotReply::Continue { .. })
        | Body::ReadIndex(_)
        | Body::ReadIndexReply(_)
        | Body::TimeoutNow
        | Body::Rejoin(_)
        | Body::RejoinReply(_)
        | Body::Tail(_)
        | Body::AskTail(_) => term(message.term, sender),
    }
}

fn term(said: Term, sender: &Member) -> Result<(), String> {
    let durable = sender.durable.hard_state.term;
    if said <= durable { Ok(()) } else { Err(format!("this, and {durable} is on its disk")) }
}

fn vote(said: Term, candidate: NodeId, sender: &Member) -> Result<(), String> {
    let durable = sender.durable.hard_state;
    if durable.term > said || (durable.term == said && durable.vote == Some(candidate)) {
        Ok(())
    } else {
        Err(format!("that it votes for {candidate}, and {durable:?} is on its disk"))
    }
}

fn entries(said: Index, sender: &Member) -> Result<(), String> {
    let durable = cluster::last(&sender.durable).index.max(sender.machine.index);
    if said > durable {
        return Err(format!("that it holds {said}, and its disk ends with {durable}"));
    }
    // The position alone is not enough: the entry there must be the one that it means.
    let meant = cluster::at(&sender.issued, said).map(|entry| entry.id);
    match meant {
        Some(id) if !sender.holds_durably(id) => {
            Err(format!("that it holds {id}, and its disk holds another entry there"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::{vote as promise, *};
    use super::*;

    #[test]
    fn a_vote_that_leaves_before_the_sync_is_noticed() {
        let mut stage = Stage::new(DurableBeforeReply);
        stage.fine(Fact::Recorded { node: A, record: &promise(1, Some(B)) });
        stage.fires(Fact::Sent { message: &granted(A, B, 1) });
        stage.sync(A);
        stage.fires(Fact::Sent { message: &granted(A, C, 1) });
        stage.fine(Fact::Sent { message: &granted(A, B, 1) });
    }

    #[test]
    fn an_acknowledgement_that_leaves_before_the_sync_is_noticed() {
        let mut stage = Stage::new(DurableBeforeReply);
        stage.fine(Fact::Recorded { node: A, record: &promise(1, Some(B)) });
        stage.append_durably(A, &[(1, 1)]);
        stage.append(A, &[(1, 2)]);
        stage.fine(Fact::Sent { message: &accepted(A, B, 1, 1) });
        stage.fires(Fact::Sent { message: &accepted(A, B, 1, 2) });
    }

    #[test]
    fn an_acknowledgement_for_an_entry_that_was_replaced_since_is_noticed() {
        let mut stage = Stage::new(DurableBeforeReply);
        stage.fine(Fact::Recorded { node: A, record: &promise(2, Some(B)) });
        stage.append_durably(A, &[(1, 1), (1, 2)]);
        stage.append(A, &[(2, 2)]);
        stage.fires(Fact::Sent { message: &accepted(A, B, 2, 2) });
        stage.sync(A);
        stage.fine(Fact::Sent { message: &accepted(A, B, 2, 2) });
    }

    #[test]
    fn speaking_in_a_term_that_is_not_on_disk_is_noticed() {
        let mut stage = Stage::new(DurableBeforeReply);
        stage.fine(Fact::Recorded { node: A, record: &promise(1, Some(A)) });
        stage.fires(Fact::Sent { message: &heartbeat(A, 1) });
        stage.sync(A);
        stage.fine(Fact::Sent { message: &heartbeat(A, 1) });
    }
}
