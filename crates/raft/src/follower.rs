//! Followers: whom they vote for, and how their log comes to equal the leader's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;

use crate::core::Core;
use crate::effects::{Event, ReadError, SnapshotRequest};
use crate::message::{
    Append, AppendReply, Body, Heartbeat, HeartbeatReply, ReadId, ReadIndex, ReadIndexReply,
    RequestVote, SnapshotChunk, SnapshotReply,
};
use crate::read::ForwardedReads;
use crate::snapshot::{Incoming, Stage};
use crate::types::{EntryId, Index, NodeId, Term, Time};

/// Whether a member whose term is not above `term` would vote for `candidate` in it: if it has not
/// voted for another in that term and follows no leader of it (Raft §5.2), and if the candidate's
/// log is at least as up to date as its own (§5.4.1). The log counts whole, durable or not: that can
/// only refuse more.
///
/// Members of every role answer by this rule. Those who lead or campaign have their own vote.
pub(crate) fn would_vote(
    core: &Core,
    leader: Option<NodeId>,
    candidate: NodeId,
    term: Term,
    request: &RequestVote,
) -> bool {
    assert!(core.term() <= term, "requests of an earlier term are refused before");
    if !core.may_vote(request) && !planted!(RejoiningVotes) {
        // It may have voted in that term, for another.
        return false;
    }
    let has_vote = core.term() < term
        || core.vote() == Some(candidate)
        || (core.vote().is_none() && leader.is_none());
    let is_complete = if planted!(LogComparedByLength) {
        core.log.last().index <= request.last.index
    } else {
        core.log.last() <= request.last
    };
    let is_trusted =
        planted!(VoteForShorterLog) || planted!(TransferVoteUnchecked) && request.transfer;
    has_vote && (is_complete || is_trusted)
}

/// Whether a heartbeat is newer than all that were heard in the term. One that was overtaken is not, and
/// has nothing to say that the newer one did not.
pub(crate) fn is_heartbeat_new(core: &Core, heartbeat: &Heartbeat) -> bool {
    core.round_heard.is_none_or(|heard| heard < heartbeat.round)
}

/// Whether an append fits, and brings entries or commits some: no append does that twice.
pub(crate) fn is_append_new(core: &Core, append: &Append) -> bool {
    let previous = append.previous;
    let fits = previous.index < core.log.base().index || core.log.contains(previous);
    let last = append.entries.last().map_or(previous, |entry| entry.id);
    let brings = core.commit < last.index && !core.log.contains(last);
    fits && (brings || core.commit < append.commit.min(last.index))
}

/// Whether a piece of a snapshot is one more that this member needs.
pub(crate) fn is_piece_new(core: &Core, chunk: &SnapshotChunk) -> bool {
    !is_held(core, chunk.meta.last) && is_next_piece(core, chunk)
}

/// Whether the log has all that a snapshot stands for, and perhaps more (Raft §7).
fn is_held(core: &Core, last: EntryId) -> bool {
    last.index <= core.commit || core.log.contains(last)
}

/// Whether a piece of a snapshot is the one that this member waits for.
fn is_next_piece(core: &Core, chunk: &SnapshotChunk) -> bool {
    match core.incoming.as_deref() {
        Some(Incoming { stage: Stage::Installing, .. }) => false,
        Some(Incoming { meta, term, stage: Stage::Expecting(cursor) })
            if meta.last == chunk.meta.last && *term == core.term() =>
        {
            *cursor == chunk.cursor
        }
        // A new transfer begins with its first piece.
        Some(_) | None => chunk.cursor.is_empty(),
    }
}

/// A member that follows.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The leader of the present term, if known. Once known it stays for the term.
    pub(crate) leader: Option<NodeId>,
    /// When the leader was heard last.
    pub(crate) heard: Option<Time>,
    /// The last position at which the log is known to equal that of the present term's leader. What
    /// is committed does from the start (Leader Completeness, Raft §5.4.3).
    pub(crate) matched: Index,
    /// The last position acknowledged to the leader.
    pub(crate) acknowledged: Index,
    /// Whether this leader has had any answer to an append.
    pub(crate) has_answered: bool,
    /// Whether it agreed with the leader to be quiet (see `quiet.rs`).
    pub(crate) is_quiet: bool,
    /// Reads that the leader was asked about.
    pub(crate) reads: ForwardedReads,
}

impl Follower {
    /// A follower at the start of a term, or of what it knows of it.
    pub(crate) fn new(core: &Core, leader: Option<NodeId>) -> Self {
        Self {
            leader,
            heard: leader.map(|_| core.now),
            matched: core.commit,
            acknowledged: core.commit,
            has_answered: false,
            is_quiet: false,
            reads: ForwardedReads::default(),
        }
    }

    /// The leader, if known.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether a live leader was heard within the time that this member is loyal (see `timer.rs`). While it
    /// was, this member does not help to depose it (thesis §4.2.3): members that were cut off, or are no longer
    /// wanted, do not disturb a group that does well without them.
    pub(crate) fn is_loyal(&self, core: &Core) -> bool {
        self.heard.is_some_and(|heard| core.now.since(heard) < core.election.loyalty())
    }

    /// The leader spoke, and perhaps this shows that it lives. Returns false if that is another member
    /// than this follower's leader: there are not two in one term.
    pub(crate) fn hear(&mut self, core: &mut Core, leader: NodeId, lives: bool) -> bool {
        match self.leader {
            Some(known) if known != leader => return false,
            Some(_) => {}
            None => {
                self.leader = Some(leader);
                core.report(Event::LeaderChanged { term: core.term(), leader: Some(leader) });
            }
        }
        if lives {
            core.round_heard.get_or_insert_default();
            self.heard = Some(core.now);
            if !planted!(HeartbeatUnheard) {
                core.election.heard(core.now);
            }
        }
        true
    }

    /// Makes the log equal the leader's up to the end of an append (Raft §5.3).
    ///
    /// Appends may be repeated and overtake one another. One that the log holds already, in whole or
    /// in its first part, must not shorten the log: what follows may have been acknowledged. Entries
    /// are dropped only from the first one that *differs* on.
    pub(crate) fn on_append(&mut self, core: &mut Core, leader: NodeId, append: Append) {
        let Append { previous, mut entries, commit } = append;
        let is_bare = entries.is_empty();
        let base = core.log.base();
        let last = Index(previous.index.0 + entries.len() as u64);
        // What is known to agree with a leader can't differ from what this one sends.
        let settled = self.matched.max(core.commit);
        let has_term =
            |id: EntryId| planted!(PreviousTermUnchecked) && id.index <= core.log.last().index;

        if previous.index < base.index {
            // The beginning is compacted here, thus committed. Skip it.
            let compacted = usize::try_from(base.index.0 - previous.index.0).unwrap_or(usize::MAX);
            if let Some(overlap) = entries.get(compacted - 1)
                && overlap.id != base
            {
                return core.malformed(leader, "an append differs from a committed entry");
            }
            entries.drain(..compacted.min(entries.len()));
        } else if !core.log.contains(previous) && !has_term(previous) {
            if previous.index <= settled {
                return core
                    .malformed(leader, "an append follows another entry than the committed");
            }
            let Some(hint) = core.log.may_match(previous) else {
                return core.malformed(leader, "an append follows an entry older than the log");
            };
            let reply = AppendReply::Rejected { previous: previous.index, hint };
            return core.send(leader, Body::AppendReply(reply));
        }

        let is_known = |id: EntryId| {
            core.log.contains(id) || planted!(ConflictKept) && core.log.get(id.index).is_some()
        };
        let known = entries.iter().take_while(|entry| is_known(entry.id)).count();
        entries.drain(..if planted!(StaleAppendTruncates) { 0 } else { known });
        let is_news = !entries.is_empty();
        if let Some(first) = entries.first().map(|entry| entry.id.index) {
            if first <= settled && !planted!(StaleAppendTruncates) {
                return core.malformed(leader, "an append differs from a committed entry");
            }
            let is_of_this_leader = core.log.leader_term() == core.term();
            if first <= core.log.last().index
                && is_of_this_leader
                && !planted!(StaleAppendTruncates)
            {
                return core.malformed(leader, "an append differs from one of the same leader");
            }
            core.append_received(entries);
        }
        self.matched = settled.max(last);
        let old_commit = core.commit;
        let proven = if planted!(CommitBeyondAppend) { core.log.last().index } else { last };
        if !core.may_commit(commit.min(proven)) {
            return core.malformed(leader, "it commits another entry than its snapshot ends with");
        }
        core.commit_to(commit.min(proven));
        // New entries are answered when they are durable. And an append that only told what is
        // committed asks for nothing that the leader was not told already; should that have been
        // lost, it asks again, with nothing new to tell.
        let is_tidings = is_bare
            && old_commit < core.commit
            && self.has_answered
            && self.matched.min(core.log.durable()) <= self.acknowledged;
        if !is_news && !is_tidings {
            self.acknowledge(core);
        }
    }

    /// Something became durable. Tells the leader, if it is about the leader's log: one answer for
    /// all the appends that were written together.
    pub(crate) fn on_written(&mut self, core: &mut Core) {
        if self.acknowledged < self.matched.min(core.log.durable()) {
            self.acknowledge(core);
        }
    }

    pub(crate) fn acknowledge(&mut self, core: &mut Core) {
        let Some(leader) = self.leader else { return };
        let mut durable = self.matched.min(core.log.durable());
        if planted!(FollowerAcknowledgesUnsynced) {
            durable = self.matched;
        }
        self.acknowledged = self.acknowledged.max(durable);
        self.has_answered = true;
        core.send(leader, Body::AppendReply(AppendReply::Accepted { durable }));
    }

    /// Learns the commit index, and confirms the leader, if this member is of use to it.
    pub(crate) fn on_heartbeat(
        &mut self,
        core: &mut Core,
        leader: NodeId,
        mut heartbeat: Heartbeat,
        is_new: bool,
    ) {
        if is_new && core.lease.is_some() && !heartbeat.hold.is_zero() {
            let most = core.election.minimum();
            core.promise.extend(core.now, heartbeat.hold.min(most));
        }
        core.round_heard = core.round_heard.max(Some(heartbeat.round));
        if let Some(pace) = heartbeat.pace {
            core.election.told(pace);
        }
        if planted!(HeartbeatCommitsUnmatched) {
            heartbeat.commit = heartbeat.commit.min(core.log.last().index);
        }
        // Up to the commit index that it is told a follower has acknowledged the leader's log. What a
        // member has that lost its disk may be another log, as far as no append has shown otherwise.
        let is_other = core.is_rejoining() && !planted!(HeartbeatTrustsLostDisk);
        let known = if is_other { self.matched } else { core.log.last().index };
        if heartbeat.commit <= known {
            if !core.may_commit(heartbeat.commit) {
                return core
                    .malformed(leader, "it commits another entry than its snapshot ends with");
            }
            core.commit_to(heartbeat.commit);
        } else if !core.is_rejoining() {
            // Who does not rejoin never has less than it acknowledged.
            let (last, acknowledged) = (core.log.last().index, heartbeat.commit);
            return core.report(Event::LogLost { leader, last, acknowledged });
        } else {
            // The leader knows of the log that was lost. It will ask what this one has.
            let before = EntryId { term: core.term(), index: heartbeat.commit };
            let hint = core.log.may_match(before).unwrap_or(core.log.base());
            let reply = AppendReply::Rejected { previous: heartbeat.commit, hint };
            core.send(leader, Body::AppendReply(reply));
        }
        if core.disk_stands() && !planted!(HungDiskConfirms) {
            return;
        }
        if is_new {
            let was_quiet = self.is_quiet;
            self.is_quiet = self.agrees_to_be_quiet(core, &heartbeat);
            if self.is_quiet && !was_quiet {
                core.rest();
            }
        }
        let reply = HeartbeatReply {
            round: heartbeat.round,
            stall: core.election.stall_seen(),
            held: core.promise.rest(core.now),
            quiet: self.is_quiet && is_new,
        };
        core.send(leader, Body::HeartbeatReply(reply));
    }

    /// Takes a piece of a snapshot, if it is the next one.
    pub(crate) fn on_snapshot(
        &mut self,
        core: &mut Core,
        leader: NodeId,
        chunk: Box<SnapshotChunk>,
    ) {
        let last = chunk.meta.last;
        let installing = core.incoming.as_ref().is_some_and(|i| i.stage == Stage::Installing);
        if installing {
            // The answer follows when the machine is done, whatever is sent meanwhile.
            return;
        }
        if is_held(core, last) && !planted!(SnapshotOverNewer) {
            core.incoming = None;
            core.commit_to(last.index);
            self.matched = self.matched.max(core.commit);
            let durable = self.matched.min(core.log.durable());
            if last.index <= durable {
                self.acknowledged = self.acknowledged.max(durable);
                let reply = SnapshotReply::Installed { durable };
                core.send(leader, Body::SnapshotReply(reply));
            }
            return;
        }
        let expected = core
            .incoming
            .as_ref()
            .filter(|incoming| incoming.meta.last == last && incoming.term == core.term())
            .map(|incoming| incoming.stage.clone());
        let cursor = if is_next_piece(core, &chunk) {
            let stage = chunk.next.clone().map_or(Stage::Installing, Stage::Expecting);
            let next = chunk.next.clone();
            let meta = chunk.meta.clone();
            core.incoming = Some(Box::new(Incoming { meta, term: core.term(), stage }));
            core.effects.snapshots.push(SnapshotRequest::Write(chunk));
            let Some(next) = next else { return };
            next
        } else if let Some(Stage::Expecting(cursor)) = expected {
            cursor
        } else {
            Bytes::new()
        };
        core.send(leader, Body::SnapshotReply(SnapshotReply::Continue { last, cursor }));
    }

    /// The machine holds a snapshot that ends with `last`, and the log agrees with that.
    pub(crate) fn on_snapshot_installed(&mut self, core: &mut Core, last: EntryId) {
        self.matched = self.matched.max(last.index);
        self.acknowledged = self.acknowledged.max(last.index);
        if let Some(leader) = self.leader {
            let reply = SnapshotReply::Installed { durable: last.index };
            core.send_after_writes(leader, Body::SnapshotReply(reply));
        }
    }

    /// This member counts again: what it holds is acknowledged once more, as a voter.
    pub(crate) fn on_rejoined(&mut self, core: &mut Core) {
        self.acknowledge(core);
    }

    /// Asks the leader about a read of this member.
    pub(crate) fn on_read(&mut self, core: &mut Core, id: ReadId) {
        let Some(leader) = self.leader else {
            return core.answer_read(id, Err(ReadError::NoLeader));
        };
        // Reads whose request or answer was lost make room for others.
        let patience = core.election.minimum().as_nanos();
        let patience = u64::try_from(patience).unwrap_or(u64::MAX);
        let expired = Time(core.now.0.saturating_sub(patience));
        while let Some(lost) = self.reads.take_older_than(expired) {
            core.answer_read(lost, Err(ReadError::NoLeader));
        }
        if self.reads.add(id, core.now, core.limits.pending_reads_max) {
            core.send(leader, Body::ReadIndex(ReadIndex { id }));
        } else {
            core.answer_read(id, Err(ReadError::Overloaded));
        }
    }

    /// The leader answered a read. An answer that nobody waits for is a repeated one.
    pub(crate) fn on_read_index_reply(&mut self, core: &mut Core, reply: ReadIndexReply) {
        if self.reads.remove(reply.id) {
            core.answer_read(reply.id, reply.index.ok_or(ReadError::LeaderChanged));
        }
    }

    /// Ends what only this role can do: reads that the leader did not answer yet fail.
    pub(crate) fn retire(&mut self, core: &mut Core) {
        let lost: Vec<ReadId> = self.reads.take_all().collect();
        for id in lost {
            core.answer_read(id, Err(ReadError::LeaderChanged));
        }
    }
}
