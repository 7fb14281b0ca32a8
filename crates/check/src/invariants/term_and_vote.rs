//! A member's term never descends, and within a term its vote never changes once it is given: not
//! in its records, not in what it says, and not over a restart.
//!
//! Raft figure 2, "currentTerm (… increases monotonically)" and "votedFor"; §5.1, §5.2. TLA+:
//! `MonotonicTermProp` (CCF), and the guard of `HandleRequestVoteRequest`.
//!
//! A member that lost its disk has forgotten its term and its votes. It may not vote while it
//! rejoins; what it may do after that is not written here a second time, but it must not make a
//! second leader of a term.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use quorate_raft::{Body, Membership, Message, NodeId, Payload, Record, Term};

use super::Invariant;
use crate::cluster::{Cluster, Fact};

/// See the module. Remembers who was given whose vote, and the highest term in which each member
/// has spoken; both for ever, since what was said can't be taken back by a crash.
#[derive(Debug, Default)]
pub struct TermAndVote {
    votes: BTreeMap<(NodeId, Term), NodeId>,
    spoken: BTreeMap<NodeId, Term>,
}

impl TermAndVote {
    fn votes_for(&mut self, voter: NodeId, term: Term, candidate: NodeId) -> Result<(), String> {
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        if first == candidate {
            Ok(())
        } else {
            Err(format!("{voter} gave its vote of {term} to {first} and now to {candidate}"))
        }
    }
}

impl Invariant for TermAndVote {
    fn name(&self) -> &'static str {
        "term_and_vote"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        match fact {
            Fact::Recorded { node, record: Record::HardState(new) } => {
                let old = before.member(*node).issued.hard_state;
                if new.term < old.term {
                    return Err(format!("{node} descends from {} to {}", old.term, new.term));
                }
                if new.term == old.term && old.vote.is_some() && new.vote != old.vote {
                    return Err(format!(
                        "{node} changes its vote of {} from {:?} to {:?}",
                        new.term, old.vote, new.vote
                    ));
                }
                Ok(())
            }
            Fact::Started { node, recovered, .. } => {
                let (term, vote) = (recovered.hard_state.term, recovered.hard_state.vote);
                let spoken = self.spoken.get(node).copied().unwrap_or_default();
                if term < spoken {
                    return Err(format!("{node} spoke in {spoken} and wakes up in {term}"));
                }
                match self.votes.get(&(*node, term)) {
                    Some(given) if vote != Some(*given) => Err(format!(
                        "{node} gave its vote of {term} to {given} and wakes up with {vote:?}"
                    )),
                    _ => Ok(()),
                }
            }
            Fact::Wiped { node } => {
                self.votes.retain(|(voter, _), _| voter != node);
                self.spoken.remove(node);
                Ok(())
            }
            Fact::Sent { message } => {
                let (from, term) = (message.from, message.term);
                let is_lost = before.member(from).rejoining && !has_word(before, message);
                if is_lost && is_vote(&message.body) {
                    return Err(format!("{from} lost its disk, and says {:?}", message.body));
                }
                match message.body {
                    // A preliminary campaign speaks of a term that its sender does not enter.
                    Body::PreVote(_) | Body::PreVoteReply(_) => return Ok(()),
                    Body::Vote(_) => self.votes_for(from, term, from)?,
                    Body::VoteReply(reply) if reply.granted => {
                        self.votes_for(from, term, message.to)?;
                    }
                    Body::VoteReply(_)
                    | Body::Append(_)
                    | Body::AppendReply(_)
                    | Body::Heartbeat(_)
                    | Body::HeartbeatReply(_)
                    | Body::Snapshot(_)
                    | Body::SnapshotReply(_)
                    | Body::ReadIndex(_)
                    | Body::ReadIndexReply(_)
                    | Body::TimeoutNow
                    | Body::Rejoin(_)
                    | Body::RejoinReply(_)
                    | Body::Tail(_)
                    | Body::AskTail(_) => {}
                }
                let spoken = self.spoken.entry(from).or_default();
                if term < *spoken {
                    return Err(format!("{from} spoke in {spoken} and now speaks in {term}"));
                }
                *spoken = term;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether the speaker was given a vote with the disk that it says it has, by what is committed or in any log.
fn has_word(cluster: &Cluster, message: &Message) -> bool {
    let named = |membership: &Membership| {
        message.rejoining.is_some() && membership.counts(message.from, message.rejoining)
    };
    let mut told = cluster.members.values().flat_map(|member| &member.issued.entries);
    cluster.memberships.iter().any(|(_, membership)| named(membership))
        || told.any(|entry| match &entry.payload {
            Payload::Membership(membership) => named(membership),
            Payload::Noop | Payload::Command(_) => false,
        })
}

/// Whether this is a vote, or asks for some.
fn is_vote(body: &Body) -> bool {
    match body {
        Body::PreVote(_) | Body::Vote(_) => true,
        Body::PreVoteReply(reply) | Body::VoteReply(reply) => reply.granted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::{EntryId, Event, HardState, Index, Recovered};

    use super::super::stage::*;
    use super::*;

    #[test]
    fn descending_terms_and_changed_votes_are_noticed() {
        let mut stage = Stage::new(TermAndVote::default());
        stage.fine(Fact::Recorded { node: A, record: &vote(2, None) });
        stage.fine(Fact::Recorded { node: A, record: &vote(2, Some(B)) });
        stage.fires(Fact::Recorded { node: A, record: &vote(2, Some(C)) });
        stage.fires(Fact::Recorded { node: A, record: &vote(2, None) });
        stage.fires(Fact::Recorded { node: A, record: &vote(1, None) });
        stage.fine(Fact::Recorded { node: A, record: &vote(3, Some(C)) });
    }

    #[test]
    fn two_votes_said_in_one_term_are_noticed() {
        let mut stage = Stage::new(TermAndVote::default());
        stage.fine(Fact::Sent { message: &granted(A, B, 2) });
        stage.fires(Fact::Sent { message: &granted(A, C, 2) });
        stage.fine(Fact::Sent { message: &granted(A, C, 3) });
        stage.fires(Fact::Sent { message: &granted(A, B, 2) });
    }

    #[test]
    fn a_vote_of_a_member_that_lost_its_disk_is_noticed() {
        let mut stage = Stage::new(TermAndVote::default());
        stage.fine(Fact::Sent { message: &granted(A, B, 2) });
        stage.fine(Fact::Stopped { node: A });
        stage.fine(Fact::Wiped { node: A });
        stage.start(A, &Recovered::default());
        stage.fires(Fact::Sent { message: &granted(A, C, 2) });
        stage.fires(Fact::Sent { message: &granted(A, B, 3) });
        let event = Event::Rejoined { term: Term(2), last: Index(0) };
        stage.fine(Fact::Happened { node: A, event: &event });
        stage.fine(Fact::Sent { message: &granted(A, B, 3) });
    }

    #[test]
    fn a_vote_or_a_term_lost_in_a_crash_is_noticed() {
        let mut stage = Stage::new(TermAndVote::default());
        stage.fine(Fact::Sent { message: &granted(A, B, 2) });
        stage.fine(Fact::Stopped { node: A });
        let mut wakes = |term, vote, fires| {
            let hard_state = HardState { term: Term(term), vote };
            let recovered = Recovered { hard_state, ..Recovered::default() };
            let fact = Fact::Started { node: A, recovered: &recovered, applied: EntryId::ZERO };
            if fires { stage.fires(fact) } else { stage.fine(fact) }
        };
        wakes(2, None, true);
        wakes(2, Some(C), true);
        wakes(1, None, true);
        wakes(3, None, false);
        wakes(2, Some(B), false);
    }
}
