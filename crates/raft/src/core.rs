//! What a member has in every role: its term and vote, its log, and the outbox.
//!
//! The outbox keeps the promise of `effects.rs` that what is in `send` may leave at once. **No
//! message carries a term that its sender might forget.** A member that crashed and woke up in an
//! earlier term could vote again in a later one, or campaign in the same term twice, once with each
//! of two logs, and count votes meant for the other. So whatever is said in a term waits until the
//! term and the vote in it are durable: answers to candidates, answers to a new leader, and a
//! candidate's own requests. Records are durable in order; when the term is, everything that was in
//! the log before it is too.
//!
//! The one answer that needs more than the term, an accepted append, is not queued at all: a
//! follower says how far its log is durable whenever that moves (see `follower.rs`).

pub(crate) mod asleep;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use quorate_planted::planted;

use crate::config::{Config, Limits};
use crate::effects::{
    Effects, Event, HardState, Persist, ReadError, ReadOutcome, Record, SnapshotRequest,
};
use crate::lease::{Lease, Promise};
use crate::log::Log;
use crate::membership::{Membership, Memberships};
use crate::message::{Body, Entry, Message, Payload, ReadId};
use crate::rejoin::Rejoining;
use crate::snapshot::{Incoming, Stage};
use crate::timer::ElectionTimer;
use crate::types::{EntryId, GroupId, Index, LogSpan, NodeId, Seq, Term, Time};

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) id: NodeId,
    pub(crate) group: GroupId,
    pub(crate) memberships: Memberships,
    pub(crate) limits: Limits,
    pub(crate) heartbeat_interval: Duration,
    /// See [`Config::quiet_after`].
    pub(crate) quiet_after: Option<Duration>,
    /// The time of the present step. Never descends.
    pub(crate) now: Time,
    pub(crate) election: ElectionTimer,
    pub(crate) log: Log,
    /// The last position known to be committed. Never descends in a process; not stored, since it is
    /// learned again.
    pub(crate) commit: Index,
    /// The last position that the machine was given or had already. At most `commit`.
    pub(crate) given: Index,
    /// The last position that the machine reported as applied. At most `given`.
    pub(crate) applied: Index,
    /// The last position that the machine holds durably: the log may begin after it.
    pub(crate) compactable: Index,
    /// What it knows of the way back, if it lost its disk: it does not count then.
    pub(crate) rejoining: Option<Box<Rejoining>>,
    /// Names this process.
    pub(crate) incarnation: u64,
    /// The newest heartbeat heard of the leader of the present term; `None` before its first word. It
    /// belongs to the term and not to a role: who campaigns has not forgotten what it heard.
    pub(crate) round_heard: Option<u64>,
    /// Whether it answers reads by a lease when it leads.
    pub(crate) lease: Option<Lease>,
    /// Until when it elects nobody.
    pub(crate) promise: Promise,
    /// Whether this process entered the present term, and not one before it: so it knows all that it has
    /// heard in it.
    pub(crate) is_term_known: bool,
    /// Whether this member is a witness.
    pub(crate) witness: bool,
    /// A snapshot that this member receives.
    pub(crate) incoming: Option<Box<Incoming>>,
    /// Whom the host would not have lead.
    pub(crate) unfit: Vec<NodeId>,
    /// What the present step asks for.
    pub(crate) effects: Effects,
    hard_state: HardState,
    /// The write of `hard_state`.
    hard_state_seq: Seq,
    /// The last write handed out.
    last_seq: Seq,
    /// The last write known to be durable.
    durable_seq: Seq,
    /// Since when the disk owes its next answer, if there is a write that is not durable.
    disk_owes_since: Time,
    /// Messages that wait for a write.
    held: VecDeque<(Seq, Message)>,
}

impl Core {
    /// Held messages beyond this many push out the oldest, as if the network had lost it. Reached
    /// only if the disk hangs while peers keep asking.
    const HELD_MAX: usize = 1024;

    /// See [`crate::Raft::new`].
    pub(crate) fn new(
        config: Config,
        recovered: crate::Recovered,
        applied: EntryId,
        now: Time,
    ) -> Self {
        let begins = applied == EntryId::ZERO && recovered.entries.is_empty();
        let begins = begins || planted!(OldMembershipIsLast);
        let valid = if begins { config.validate_beginning() } else { config.validate() };
        if let Err(error) = valid {
            panic!("the configuration can't work: {error}");
        }
        // Before its first term it has answered nobody, unless that is what its disk has lost.
        let may_have_promised = config.lease.is_some()
            && (config.rejoining.is_some() || recovered.hard_state.term > Term(0))
            && !planted!(PromiseForgotten);
        let promise = match may_have_promised {
            true => Promise::new(now, config.election_timeout),
            false => Promise::NONE,
        };
        let log = Log::recovered(recovered.base, recovered.entries);
        let mut core = Self {
            election: ElectionTimer::new(
                config.election_policy,
                config.heartbeat_interval,
                config.election_timeout,
                config.seed,
                now,
            ),
            id: config.id,
            group: config.group,
            memberships: Memberships::new(applied.index, config.membership),
            limits: config.limits,
            heartbeat_interval: config.heartbeat_interval,
            quiet_after: config.quiet_after,
            now,
            log,
            commit: applied.index,
            given: applied.index,
            applied: applied.index,
            compactable: applied.index,
            rejoining: config
                .rejoining
                .filter(|_| !planted!(LossForgotten))
                .map(|disk| Box::new(Rejoining::new(disk, config.incarnation, now))),
            incarnation: config.incarnation,
            round_heard: None,
            lease: config.lease,
            promise,
            is_term_known: false,
            witness: config.witness,
            incoming: None,
            unfit: Vec::new(),
            effects: Effects::default(),
            hard_state: recovered.hard_state,
            hard_state_seq: Seq(0),
            last_seq: Seq(0),
            durable_seq: Seq(0),
            disk_owes_since: now,
            held: VecDeque::new(),
        };
        assert!(
            core.log.base().index <= applied.index,
            "the log begins after {}, which the state machine at {applied} does not contain",
            core.log.base()
        );
        if planted!(VoteErasedByRestart) {
            core.hard_state.vote = None;
        }
        // A crash between the installation of a snapshot and the record of it leaves a machine that
        // is ahead of its log. The machine is right: it holds only what is committed.
        let newest = applied.term.max(core.log.last().term);
        if core.hard_state.term < newest {
            core.set_hard_state(HardState { term: newest, vote: None });
        }
        if core.log.contains(applied) {
            let last = core.log.last().index;
            let unapplied: Vec<Entry> = core.log.span(applied.index, last).cloned().collect();
            core.learn_memberships(&unapplied);
        } else {
            core.reset_log(applied);
        }
        core
    }

    /// The membership that counts: the last one that the log tells.
    pub(crate) fn membership(&self) -> &Membership {
        if planted!(MembershipOnCommit) {
            return self.memberships.at(self.commit);
        }
        self.memberships.latest()
    }

    /// Whether the membership that counts is committed.
    pub(crate) fn is_membership_committed(&self) -> bool {
        self.memberships.since() <= self.commit
    }

    /// Whether this member may ask to be elected: if it has a vote; or had one by the membership before, and the entry
    /// that takes it is not known to be committed. It may be the only one that has that entry, or one of too few, and
    /// those who keep their votes can't do without it then: their logs are behind its own (thesis §4.2.2). The
    /// membership before is committed, as each is before the next is appended, even where this member, which has
    /// started again, knows of a commit index from long before only. A witness never may.
    pub(crate) fn may_campaign(&self) -> bool {
        if self.is_witness() && !planted!(WitnessCampaigns) {
            return false;
        }
        let had_vote = || self.memberships.previous().is_some_and(|it| it.is_voter(self.id));
        self.membership().is_voter(self.id)
            || !self.is_membership_committed() && had_vote() && !planted!(LeaverNeverCampaigns)
    }

    /// The log begins after this position, at which this membership counts.
    pub(crate) fn begin_memberships(&mut self, at: Index, membership: Membership) {
        let is_other = *self.membership() != membership;
        self.memberships = Memberships::new(at, membership.clone());
        if is_other {
            self.report(Event::MembershipChanged { at, membership });
            self.rejoin_other_members();
        }
    }

    /// Takes over the memberships among entries that were appended.
    fn learn_memberships(&mut self, appended: &[Entry]) {
        for entry in appended {
            if let Payload::Membership(membership) = &entry.payload {
                self.memberships.push(entry.id.index, membership.clone());
                let membership = Membership::clone(membership);
                self.report(Event::MembershipChanged { at: entry.id.index, membership });
                self.rejoin_other_members();
            }
        }
    }

    /// Nothing happens for a while: gives back the memory that is kept for what may come.
    pub(crate) fn rest(&mut self) {
        self.held.shrink_to_fit();
        self.memberships.compact(self.commit);
        self.compact_at_rest();
        self.log.rest();
    }

    /// Nobody is behind, and so nobody needs what the machine holds durably: forgets it. Who comes or loses its disk
    /// while the group is quiet gets a snapshot.
    pub(crate) fn compact_at_rest(&mut self) {
        self.compact_to(self.compactable.max(self.log.base().index), 0);
    }

    /// When a leader speaks next, unless it has something to say before. Those of many groups speak together.
    pub(crate) fn next_heartbeat(&self) -> Time {
        let next = self.now + self.heartbeat_interval;
        if self.quiet_after.is_none() {
            return next;
        }
        let interval = u64::try_from(self.heartbeat_interval.as_nanos()).unwrap_or(u64::MAX);
        Time(next.0 - next.0 % interval)
    }

    /// The latest term seen.
    pub(crate) fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The vote in the present term.
    pub(crate) fn vote(&self) -> Option<NodeId> {
        self.hard_state.vote
    }

    /// Enters a later term, and votes in it in the same write if this member campaigns.
    pub(crate) fn enter_term(&mut self, term: Term, vote: Option<NodeId>) {
        assert!(self.term() < term, "the term never descends: {} to {term}", self.term());
        // What was to be said in an older term helps nobody any more.
        self.held.clear();
        self.round_heard = None;
        self.is_term_known = true;
        self.election.term_begins();
        self.set_hard_state(HardState { term, vote });
    }

    /// Votes in the present term.
    pub(crate) fn vote_for(&mut self, candidate: NodeId) {
        assert!(
            self.vote().is_none_or(|vote| vote == candidate),
            "{} voted for {:?} in {} and would for {candidate}",
            self.id,
            self.vote(),
            self.term()
        );
        if self.vote().is_none() {
            self.set_hard_state(HardState { term: self.term(), vote: Some(candidate) });
        }
    }

    /// Whether the term and the vote in it are on disk.
    pub(crate) fn is_term_durable(&self) -> bool {
        self.hard_state_seq <= self.durable_seq
    }

    fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
        self.hard_state_seq = self.persist(Record::HardState(hard_state));
    }

    /// Whether the disk has had something to write for an election timeout and has finished nothing in
    /// that time.
    ///
    /// While it is so, nothing can be decided with the help of this member. What it says mostly waits for
    /// the disk anyhow. The two things that do not, it does not say either, or else it would be counted
    /// for what it can't do: that a leader leads, which would hold a leader in office that commits
    /// nothing, and others loyal to it; and that it would vote. A disk that is slow and gets on does not
    /// stand, however much it is behind, nor does one that has nothing to do: neither load, nor a slow
    /// network, nor a snapshot that takes its time makes a member silent.
    pub(crate) fn disk_stands(&self) -> bool {
        self.durable_seq < self.last_seq
            && self.now.since(self.disk_owes_since) >= self.election.minimum()
    }

    fn persist(&mut self, record: Record) -> Seq {
        if self.durable_seq == self.last_seq {
            self.disk_owes_since = self.now;
        }
        self.last_seq = self.last_seq.next();
        self.effects.persist.push(Persist { seq: self.last_seq, record });
        self.last_seq
    }

    /// Says something in the present term, as soon as the term is durable.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        self.send_in_term(to, self.term(), body);
    }

    /// Says something under another term than the present one: preliminary votes are about the
    /// next.
    pub(crate) fn send_in_term(&mut self, to: NodeId, term: Term, body: Body) {
        let rejoining = self.new_disk();
        let message = Message { from: self.id, to, term, rejoining, body };
        self.send_after(self.hard_state_seq, message);
    }

    /// Says something in the present term once all writes so far are durable.
    pub(crate) fn send_after_writes(&mut self, to: NodeId, body: Body) {
        let (term, rejoining) = (self.term(), self.new_disk());
        let message = Message { from: self.id, to, term, rejoining, body };
        self.send_after(self.last_seq, message);
    }

    fn send_after(&mut self, seq: Seq, message: Message) {
        assert!(message.to != self.id, "{} speaks to itself: {message:?}", self.id);
        if seq <= self.durable_seq
            || planted!(VoteBeforeDurable) && matches!(message.body, Body::VoteReply(_))
            || planted!(CampaignBeforeDurable) && matches!(message.body, Body::Vote(_))
        {
            self.effects.send.push(message);
            return;
        }
        if self.held.len() == Self::HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back((seq, message));
    }

    /// Every write up to and including this number is durable. Returns whether that is news.
    pub(crate) fn written(&mut self, seq: Seq) -> bool {
        assert!(seq <= self.last_seq, "{seq} is durable before it was asked for");
        if seq <= self.durable_seq {
            return false;
        }
        self.durable_seq = seq;
        self.election.synced(self.now.since(self.disk_owes_since));
        self.disk_owes_since = self.now;
        self.log.written(seq);
        // Nearly always everything or nothing leaves, and the order among messages is free.
        for (needed, message) in core::mem::take(&mut self.held) {
            if needed <= seq {
                self.effects.send.push(message);
            } else {
                self.held.push_back((needed, message));
            }
        }
        true
    }

    /// Appends entries that this member creates as the leader of the present term.
    pub(crate) fn append_own(&mut self, payloads: impl IntoIterator<Item = Payload>) -> LogSpan {
        let (term, after) = (self.term(), self.log.last().index);
        let mut index = after;
        let entries: Vec<Entry> = payloads
            .into_iter()
            .map(|payload| {
                index = index.next();
                Entry { id: EntryId { term, index }, payload }
            })
            .collect();
        if !entries.is_empty() {
            self.log.append_own(term, &entries, self.last_seq.next());
            self.learn_memberships(&entries);
            self.persist(Record::Append(entries));
        }
        LogSpan::new(after, index)
    }

    /// Appends entries from the leader of the present term, replacing what conflicts.
    pub(crate) fn append_received(&mut self, entries: Vec<Entry>) {
        let dropped_to = self.log.replace_from(self.term(), &entries, self.last_seq.next());
        self.appended(entries, dropped_to);
    }

    /// Appends entries of a log that a leader of this term wrote, replacing what conflicts (see `witness.rs`).
    pub(crate) fn append_adopted(&mut self, leader_term: Term, entries: Vec<Entry>) {
        let dropped_to = self.log.adopt(leader_term, &entries, self.last_seq.next());
        self.appended(entries, dropped_to);
    }

    /// Does what follows from entries that came in place of those up to `dropped_to`.
    fn appended(&mut self, entries: Vec<Entry>, dropped_to: Option<Index>) {
        let first = entries.first().expect("there is an entry to append").id.index;
        assert!(self.commit < first, "committed entries are never replaced: {first}");
        if let Some(last) = dropped_to {
            self.effects.events.push(Event::Truncated { from: first, last });
            if first <= self.memberships.since() && !planted!(MembershipKeptWhenDropped) {
                self.memberships.truncate(first);
                let (at, membership) = (self.memberships.since(), self.membership().clone());
                self.report(Event::MembershipChanged { at, membership });
                self.rejoin_other_members();
            }
        }
        self.learn_memberships(&entries);
        self.persist(Record::Append(entries));
    }

    /// Replaces the log by the snapshot that the machine holds.
    pub(crate) fn reset_log(&mut self, last: EntryId) {
        self.log.reset(last, self.term(), self.last_seq.next());
        self.persist(Record::Reset(last));
    }

    /// Forgets entries that the machine holds durably, up to this position, but for the last ones:
    /// whoever is a little behind, after a restart or when leadership moves, needs no snapshot then.
    pub(crate) fn compact_log(&mut self, through: Index) {
        self.compact_to(
            through,
            self.limits.retained_bytes_min.min(self.limits.retained_bytes_max),
        );
    }

    fn compact_to(&mut self, through: Index, kept: usize) {
        assert!(through <= self.compactable, "{through} is not in the machine durably");
        let through = self.log.cut(through, kept);
        if self.log.base().index < through {
            let base = self.log.compact(through);
            self.memberships.compact(through);
            self.persist(Record::Compact(base));
        }
    }

    /// Whether the commit index may move up to this position. A snapshot that is being installed
    /// stands for what is committed, so nothing but its last entry can be committed where that is;
    /// if somebody says otherwise, either this is a lie or the snapshot was, and the machine can't
    /// hold both.
    pub(crate) fn may_commit(&self, index: Index) -> bool {
        let installing =
            self.incoming.as_ref().filter(|incoming| incoming.stage == Stage::Installing);
        installing.is_none_or(|incoming| {
            index < incoming.meta.last.index || self.log.contains(incoming.meta.last)
        })
    }

    /// Moves the commit index up to this position, if it is below.
    pub(crate) fn commit_to(&mut self, index: Index) {
        assert!(
            index <= self.log.last().index,
            "{index} is committed and the log ends with {}",
            self.log.last()
        );
        self.commit = self.commit.max(index);
    }

    /// Hands out what is committed and durable here, unless the machine is about to be replaced.
    pub(crate) fn give_committed(&mut self) {
        let trusts_memory = planted!(LoneMemberAcknowledgesUnsynced);
        let durable = if trusts_memory { self.log.last().index } else { self.log.durable() };
        let through = self.commit.min(durable);
        let installing =
            self.incoming.as_ref().is_some_and(|incoming| incoming.stage == Stage::Installing);
        if (installing && !planted!(AppliedWhileInstalling)) || through <= self.given {
            return;
        }
        let entries = self.log.span(self.given, through).cloned();
        self.effects.committed.extend(entries);
        self.given = through;
    }

    /// Answers a read of this member.
    pub(crate) fn answer_read(&mut self, id: ReadId, result: Result<Index, ReadError>) {
        self.effects.reads.push(ReadOutcome { id, result });
    }

    /// Reports a fact.
    pub(crate) fn report(&mut self, event: Event) {
        self.effects.events.push(event);
    }

    /// Reports a message that can't be right.
    pub(crate) fn malformed(&mut self, from: NodeId, reason: &'static str) {
        self.report(Event::Malformed { from, reason });
    }

    /// Asks the host for the piece at `cursor` of a snapshot.
    pub(crate) fn read_snapshot(&mut self, to: NodeId, last: Option<EntryId>, cursor: Bytes) {
        self.effects.snapshots.push(SnapshotRequest::Read { to, last, cursor });
    }

    /// Whether something waits to be taken out by the next step, whatever that is.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }
}
