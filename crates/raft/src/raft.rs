//! A member: the term rule, once, then dispatch to the role.
//!
//! Whatever arrives is first looked at for what it says about *terms*, the same way in every role
//! (Raft §5.1), and then handed to the role. The role says what should happen next, and this file
//! performs it: there is no other place where a role changes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use quorate_planted::planted;

use crate::candidate::Campaign;
use crate::config::Config;
use crate::core::Core;
use crate::effects::{ChangeError, Effects, Event, Input, ProposeError, Recovered};
use crate::follower::{self, Follower};
use crate::membership::Membership;
use crate::message::{
    Append, AppendReply, AskTail, Body, Heartbeat, HeartbeatReply, Message, ReadIndex,
    ReadIndexReply, RequestVote, SnapshotChunk, SnapshotReply, VoteReply,
};
use crate::quorum::{self, Tally};
use crate::role::{
    Next, Role, become_candidate, become_follower, become_leader, become_pre_candidate,
};
use crate::salvage::{Found, Lost, Word};
use crate::snapshot::Stage;
use crate::status::{RoleKind, Status};
use crate::types::{DiskId, EntryId, GroupId, Index, LogSpan, NodeId, Seq, Term, Time};
use crate::validate;

/// A member of a Raft group.
#[derive(Debug)]
pub struct Raft {
    pub(crate) core: Core,
    pub(crate) role: Role,
}

impl Raft {
    /// Makes a member from what its log remembers and from how far its state machine is, durably.
    ///
    /// `applied` is an entry, and not just a position, because the machine may be ahead of the log:
    /// a crash may come between the installation of a snapshot and the record of it. The log is then
    /// replaced, by a record among the effects of the first step.
    ///
    /// # Panics
    /// If what is given contradicts itself, which no crash explains: the configuration is not valid
    /// ([`Config::validate`]), the recovered entries have a gap or descending terms, or the log
    /// begins after `applied`, so that entries are missing.
    #[must_use]
    pub fn new(config: Config, recovered: Recovered, applied: EntryId, now: Time) -> Self {
        let mut core = Core::new(config, recovered, applied, now);
        // Who is a quorum by itself has nobody to wait for.
        if core.may_campaign() && is_quorum_alone(&core) {
            core.election.expire(now);
        }
        let role = Role::Follower(Follower::new(&core, None));
        Self { core, role }
    }

    /// Takes an input, at this moment, and adds to `out` what must be done about it. Allowed in any
    /// order and at any time; nothing in a message from a peer makes it panic.
    ///
    /// # Panics
    /// If the host contradicts itself: it reports as durable, applied or installed what it was not
    /// asked for.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Effects) {
        // A clock that goes backward is as good as one that stands.
        self.core.now = self.core.now.max(now);
        self.core.election.overdue(self.core.now, self.core.now.since(self.role_deadline()));
        let (term, commit) = (self.core.term(), self.core.commit);
        core::mem::swap(&mut self.core.effects, out);
        // What the creation of this member left to do comes first, and only once.
        self.core.effects.persist.append(&mut out.persist);
        self.core.effects.events.append(&mut out.events);

        self.stir(&input);
        let next = match input {
            Input::Message(message) => self.on_message(message),
            Input::Propose(commands) => self.on_propose(commands),
            Input::Read(id) => self.on_read(id),
            Input::Durable(seq) => self.on_durable(seq),
            Input::Applied(index) => self.on_applied(index),
            Input::Compact(index) => self.on_compact(index),
            Input::SnapshotReady(piece) => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.on_snapshot_ready(&mut self.core, piece);
                }
                Next::Stay
            }
            Input::SnapshotInstalled { last } => self.on_snapshot_installed(last),
            Input::SnapshotFailed { last } => self.on_snapshot_failed(last),
            Input::Timeout => self.on_timeout(),
            Input::Transfer(to) => self.on_transfer(to),
            Input::Change(wanted) => self.on_change(wanted),
            Input::Unfit(members) => {
                self.core.unfit = members;
                Next::Stay
            }
            Input::LaterTerm { from, term } => self.on_later_term(from, term),
            // That is all there is to it.
            Input::Wake { .. } => Next::Stay,
        };
        self.perform(next);
        if self.core.advance_rejoining()
            && let Role::Follower(follower) = &mut self.role
        {
            follower.on_rejoined(&mut self.core);
        }
        self.core.give_committed();

        assert!(term <= self.core.term(), "the term descended");
        assert!(commit <= self.core.commit, "the commit index descended");
        core::mem::swap(&mut self.core.effects, out);
    }

    /// When to step with [`Input::Timeout`], unless another step moves it. May lie in the past.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if self.core.has_effects() {
            // A new member has something to say.
            return self.core.now;
        }
        self.role_deadline()
    }

    fn role_deadline(&self) -> Time {
        match &self.role {
            Role::Leader(leader) => leader.deadline(),
            Role::Follower(follower) if follower.is_quiet => Time::NEVER,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                if let Some(rejoining) = &self.core.rejoining {
                    rejoining.deadline()
                } else if self.core.may_campaign() {
                    self.core.election.deadline().max(self.core.promise.until())
                } else {
                    Time::NEVER
                }
            }
        }
    }

    /// The group this member belongs to.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.core.group
    }

    /// How the member stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = &self.core;
        let (role, transferring, peers) = match &self.role {
            Role::Follower(_) => (RoleKind::Follower, None, Vec::new()),
            Role::PreCandidate(_) => (RoleKind::PreCandidate, None, Vec::new()),
            Role::Candidate(_) => (RoleKind::Candidate, None, Vec::new()),
            Role::Leader(leader) => {
                (RoleKind::Leader, leader.transferring(), leader.peer_status(core))
            }
        };
        Status {
            id: core.id,
            group: core.group,
            term: core.term(),
            vote: core.vote(),
            leader: self.leader(),
            role,
            commit: core.commit,
            applied: core.applied,
            last: core.log.last(),
            durable: core.log.durable(),
            base: core.log.base(),
            log_bytes: core.log.bytes(),
            rejoining: core.is_rejoining(),
            membership_since: core.memberships.since(),
            leased: matches!(&self.role, Role::Leader(leader) if leader.is_leased(core)),
            transferring,
            quiet: self.is_quiet(),
            peers,
        }
    }

    /// Who belongs to the group, as far as this member's log tells; not all of it may be committed.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        self.core.membership()
    }

    /// The leader of the present term, if known; this member itself if it leads.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader(),
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.core.id),
        }
    }

    /// The latest term this member has seen.
    #[must_use]
    pub fn term(&self) -> Term {
        self.core.term()
    }

    /// The latest term that is on this member's disk for certain; 0 while a later one is on its way.
    #[must_use]
    pub fn durable_term(&self) -> Term {
        if self.core.is_term_durable() { self.core.term() } else { Term(0) }
    }

    /// To whom this member, which leads, is handing leadership.
    #[must_use]
    pub fn transferring(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.transferring(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    /// The entry since which [`Self::membership`] counts, committed or not.
    #[must_use]
    pub fn membership_since(&self) -> Index {
        self.core.memberships.since()
    }

    /// What this member can say of entries that another one lost (see [`crate::salvage`]).
    ///
    /// What it does *not* have counts for something only if it can't forget that it left the term in
    /// which it could still get it, and if it has not lost its own disk.
    #[must_use]
    pub fn find(&self, asked: Lost, bytes_max: usize) -> Found {
        let core = &self.core;
        let term = core.term();
        let word = match &self.role {
            _ if core.is_rejoining() => None,
            Role::Leader(_) => Some(Word::Leader(term)),
            _ if !core.is_term_durable() => None,
            _ => Some(Word::Follower(term)),
        };
        Found { word, commit: core.commit, ..core.log.find(asked, bytes_max) }
    }

    // ---- Transitions -----------------------------------------------------------------------

    /// Changes roles until nothing more should happen: who is a quorum alone goes through several.
    pub(crate) fn perform(&mut self, mut next: Next) {
        while next != Next::Stay {
            match &mut self.role {
                Role::Follower(follower) => follower.retire(&mut self.core),
                Role::Leader(leader) => leader.retire(&mut self.core),
                Role::PreCandidate(_) => {}
                Role::Candidate(_) => {
                    let has_leader =
                        matches!(next, Next::Lead | Next::Follow { leader: Some(_), .. });
                    self.core.election.campaign_ends(has_leader);
                }
            }
            self.role = match next {
                Next::Stay => unreachable!("the loop ended"),
                Next::Follow { term, leader } => become_follower(&mut self.core, term, leader),
                Next::PreCampaign => become_pre_candidate(&mut self.core),
                Next::Campaign { transfer } => become_candidate(&mut self.core, transfer),
                Next::Lead => become_leader(&mut self.core),
            };
            next = match &self.role {
                Role::PreCandidate(campaign) => campaign.decide(&self.core, WON_PRELIMINARY),
                Role::Follower(_) | Role::Candidate(_) | Role::Leader(_) => Next::Stay,
            };
        }
    }

    // ---- Messages --------------------------------------------------------------------------

    fn on_message(&mut self, message: Message) -> Next {
        let Message { from, term, .. } = message;
        if let Err(reason) = validate::message(&self.core, &message) {
            self.core.malformed(from, reason);
            return Next::Stay;
        }
        let rejoining = message.rejoining;
        match message.body {
            // These are about what is on disks, whatever the terms.
            Body::Rejoin(request) => {
                self.core.answer_rejoin(from, request);
                return Next::Stay;
            }
            Body::RejoinReply(reply) => {
                self.core.on_rejoin_reply(from, term, reply, rejoining.is_some());
                return Next::Stay;
            }
            // These are about what was in a log, whatever the terms.
            Body::Tail(tail) => return self.on_tail(from, term, tail),
            Body::AskTail(AskTail { after }) => {
                self.offer_tail(from, after);
                return Next::Stay;
            }
            _ => {}
        }
        if let Body::PreVote(request) | Body::Vote(request) = &message.body
            && !request.transfer
            && self.is_bound(term)
        {
            // The term of a request that is not granted must not count either, or else it would
            // depose the leader all the same.
            if matches!(message.body, Body::PreVote(_)) {
                self.core.send(from, Body::PreVoteReply(refused(request)));
            }
            return Next::Stay;
        }
        let is_taken_anyway = match &message.body {
            Body::VoteReply(_) => planted!(StaleVoteCounts),
            Body::AppendReply(_) => planted!(StaleAcknowledgementCounts),
            _ => false,
        };
        if term < self.core.term() && !is_taken_anyway {
            self.on_stale(from, &message.body);
            return Next::Stay;
        }
        if self.core.term() < term {
            match &message.body {
                // These speak of a term that nobody has entered.
                Body::PreVote(_) | Body::PreVoteReply(VoteReply { granted: true, .. }) => {}
                body => {
                    let leader = is_from_leader(body).then_some(from);
                    self.perform(Next::Follow { term, leader });
                }
            }
        }
        self.dispatch(from, term, rejoining, message.body)
    }

    fn on_later_term(&mut self, from: NodeId, term: Term) -> Next {
        if term > Term::BELIEVABLE_MAX {
            self.core.malformed(from, "there is no such term");
            return Next::Stay;
        }
        match self.role {
            Role::Leader(_) if self.core.term() < term => Next::Follow { term, leader: None },
            _ => Next::Stay,
        }
    }

    /// Whether this member must not help to elect anybody in this term: it is loyal to a leader of an earlier one, or
    /// has promised it to one, whatever it has heard of since.
    fn is_bound(&self, term: Term) -> bool {
        let is_loyal = self.is_loyal() && !planted!(LoyaltyForgotten) && self.core.term() < term;
        let has_promised = self.core.promise.holds(self.core.now) && self.core.term() <= term;
        is_loyal || has_promised && !planted!(PromiseToTheTerm)
    }

    /// Whether this member is loyal to a leader, or leads itself, and does not help to elect
    /// another. A leader is bound as long as it leads: it gives up by itself.
    pub(crate) fn is_loyal(&self) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => follower.is_loyal(&self.core),
            // It has not heard from a leader for more than the minimum election timeout, or was
            // asked by the leader to replace it.
            Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// A message from an earlier term. Its sender is told of the present one if it would otherwise
    /// go on: a candidate would ask for ever, and a leader whose followers wait in a later term
    /// would hold on to those that it can still reach (etcd issue 8501).
    fn on_stale(&mut self, from: NodeId, body: &Body) {
        let reply = match body {
            Body::PreVote(_) if planted!(PreVoteUnanswered) => return,
            Body::Append(_) | Body::Heartbeat(_) if planted!(StuckLeaderUntold) => return,
            Body::PreVote(request) => Body::PreVoteReply(refused(request)),
            Body::Vote(request) => Body::VoteReply(refused(request)),
            Body::Append(_) | Body::Heartbeat(_) | Body::Snapshot(_) => {
                Body::HeartbeatReply(HeartbeatReply {
                    round: 0,
                    stall: self.core.election.stall_seen(),
                    quiet: false,
                    held: Duration::ZERO,
                })
            }
            Body::ReadIndex(ReadIndex { id }) => {
                Body::ReadIndexReply(ReadIndexReply { id: *id, index: None })
            }
            Body::PreVoteReply(_)
            | Body::VoteReply(_)
            | Body::AppendReply(_)
            | Body::HeartbeatReply(_)
            | Body::SnapshotReply(_)
            | Body::ReadIndexReply(_)
            | Body::TimeoutNow
            | Body::Rejoin(_)
            | Body::RejoinReply(_)
            | Body::Tail(_)
            | Body::AskTail(_) => return,
        };
        self.core.send(from, reply);
    }

    /// A message of the present term, or one about the next.
    fn dispatch(
        &mut self,
        from: NodeId,
        term: Term,
        rejoining: Option<DiskId>,
        body: Body,
    ) -> Next {
        if let Role::Leader(leader) = &mut self.role {
            leader.hear(&self.core, from, rejoining);
        }
        match body {
            Body::PreVote(request) => self.on_pre_vote(from, term, &request),
            Body::PreVoteReply(reply) => self.on_pre_vote_reply(from, term, rejoining, reply),
            Body::Vote(request) => self.on_vote(from, &request),
            Body::VoteReply(reply) => self.on_vote_reply(from, rejoining, reply),
            Body::Append(append) => self.on_append(from, append),
            Body::Heartbeat(heartbeat) => self.on_heartbeat(from, heartbeat),
            Body::Snapshot(chunk) => self.on_snapshot(from, chunk),
            Body::AppendReply(reply) => self.on_append_reply(from, reply),
            Body::HeartbeatReply(reply) => self.on_heartbeat_reply(from, reply),
            Body::SnapshotReply(reply) => self.on_snapshot_reply(from, reply),
            Body::ReadIndex(request) => self.on_read_index(from, request),
            Body::ReadIndexReply(reply) => self.on_read_index_reply(reply),
            Body::TimeoutNow => self.on_timeout_now(from),
            Body::Rejoin(_) | Body::RejoinReply(_) | Body::Tail(_) | Body::AskTail(_) => {
                unreachable!("it is answered before the terms are compared")
            }
        }
    }

    fn on_pre_vote(&mut self, from: NodeId, term: Term, request: &RequestVote) -> Next {
        if !self.core.may_vote(request) || self.core.disk_stands() {
            // No vote is no refusal: it has nothing to hold against the candidate.
            return Next::Stay;
        }
        let granted = follower::would_vote(&self.core, self.leader(), from, term, request);
        if granted {
            self.core.election.yield_to_candidate(self.core.now);
        }
        // A refusal carries the present term. A member whose log is the longer but whose term is
        // behind learns from it, and wins the next time (openraft issue 1796).
        let mut answer_term = if granted { term } else { self.core.term() };
        if !granted && planted!(RefusalHidesTerm) {
            answer_term = Term(term.0 - 1);
        }
        let reply = Body::PreVoteReply(VoteReply { granted, incarnation: request.incarnation });
        self.core.send_in_term(from, answer_term, reply);
        if !granted {
            self.offer_tail(from, request.last);
        }
        Next::Stay
    }

    fn on_pre_vote_reply(
        &mut self,
        from: NodeId,
        term: Term,
        disk: Option<DiskId>,
        reply: VoteReply,
    ) -> Next {
        let Role::PreCandidate(campaign) = &mut self.role else { return Next::Stay };
        // A granted vote counts if it is about the term that this campaign is about.
        if reply.granted && term != self.core.term().next() {
            return Next::Stay;
        }
        campaign.on_vote_reply(&self.core, (from, disk), reply, WON_PRELIMINARY)
    }

    fn on_vote(&mut self, from: NodeId, request: &RequestVote) -> Next {
        let term = self.core.term();
        let granted = follower::would_vote(&self.core, self.leader(), from, term, request);
        if granted && !planted!(VoteNotRecorded) {
            self.core.vote_for(from);
            // Give it time to win.
            self.core.election.restart(self.core.now);
        }
        let reply = VoteReply { granted, incarnation: request.incarnation };
        self.core.send(from, Body::VoteReply(reply));
        if !granted {
            self.offer_tail(from, request.last);
        }
        Next::Stay
    }

    fn on_vote_reply(&mut self, from: NodeId, disk: Option<DiskId>, reply: VoteReply) -> Next {
        let Role::Candidate(campaign) = &mut self.role else { return Next::Stay };
        if !self.core.is_term_durable() {
            // The requests of this campaign have not left yet. This answers an earlier one.
            return Next::Stay;
        }
        campaign.on_vote_reply(&self.core, (from, disk), reply, Next::Lead)
    }

    /// The follower of a leader that speaks in the present term, if it can be: whoever waits or campaigns
    /// follows it. `is_new` tells what can't be a repetition.
    ///
    /// The network may repeat what a leader said long after it gave up, in a term that nobody has left
    /// yet. Were that a sign of life, its followers would wait for it as long as repetitions come. So
    /// only what is new binds a follower to its leader, puts off its campaign or ends one: a heartbeat
    /// that is newer than all heard in the term; an append that changes what the member has, and a piece
    /// of a snapshot that is the next one, which they can be but once. Those two have no numbers, and
    /// have to count: on a slow link heartbeats wait behind them for longer than an election timeout. A
    /// follower deals with all that comes as before, since answers may be lost. And what a live leader
    /// has to say, who campaigns hears with its next heartbeat.
    ///
    /// The first word of a leader in a term is always new. A member that restarts has forgotten what it
    /// heard: it takes the first repetition for such a word.
    fn follow(&mut self, leader: NodeId, is_new: bool) -> Option<(&mut Core, &mut Follower)> {
        let lives = is_new || self.core.round_heard.is_none() || planted!(RepetitionIsLife);
        match &self.role {
            Role::PreCandidate(_) | Role::Candidate(_) if lives => {
                self.perform(Next::Follow { term: self.core.term(), leader: Some(leader) });
            }
            Role::PreCandidate(_) | Role::Candidate(_) => return None,
            Role::Follower(follower) if !lives && follower.leader().is_none() => return None,
            Role::Follower(_) | Role::Leader(_) => {}
        }
        if let Role::Follower(follower) = &mut self.role
            && follower.hear(&mut self.core, leader, lives)
        {
            return Some((&mut self.core, follower));
        }
        self.core.malformed(leader, "there is another leader in this term");
        None
    }

    fn on_append(&mut self, from: NodeId, append: Append) -> Next {
        let is_new = follower::is_append_new(&self.core, &append);
        if let Some((core, follower)) = self.follow(from, is_new) {
            follower.on_append(core, from, append);
        }
        Next::Stay
    }

    fn on_heartbeat(&mut self, from: NodeId, heartbeat: Heartbeat) -> Next {
        let is_new = follower::is_heartbeat_new(&self.core, &heartbeat);
        if let Some((core, follower)) = self.follow(from, is_new) {
            follower.on_heartbeat(core, from, heartbeat, is_new);
        }
        Next::Stay
    }

    fn on_snapshot(&mut self, from: NodeId, chunk: Box<SnapshotChunk>) -> Next {
        let is_new = follower::is_piece_new(&self.core, &chunk);
        if let Some((core, follower)) = self.follow(from, is_new) {
            follower.on_snapshot(core, from, chunk);
        }
        Next::Stay
    }

    fn on_append_reply(&mut self, from: NodeId, reply: AppendReply) -> Next {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_append_reply(&mut self.core, from, reply);
        }
        Next::Stay
    }

    fn on_heartbeat_reply(&mut self, from: NodeId, reply: HeartbeatReply) -> Next {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_heartbeat_reply(&mut self.core, from, reply);
        }
        Next::Stay
    }

    fn on_snapshot_reply(&mut self, from: NodeId, reply: SnapshotReply) -> Next {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_snapshot_reply(&mut self.core, from, reply);
        }
        Next::Stay
    }

    fn on_read_index(&mut self, from: NodeId, request: ReadIndex) -> Next {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_read(&mut self.core, request.id, Some(from));
        } else {
            let reply = ReadIndexReply { id: request.id, index: None };
            self.core.send(from, Body::ReadIndexReply(reply));
        }
        Next::Stay
    }

    fn on_read_index_reply(&mut self, reply: ReadIndexReply) -> Next {
        if let Role::Follower(follower) = &mut self.role {
            follower.on_read_index_reply(&mut self.core, reply);
        }
        Next::Stay
    }

    /// The leader hands over: campaign at once, and skip the question whether the others have one.
    fn on_timeout_now(&mut self, from: NodeId) -> Next {
        // What it promised, it promised to the leader that asks, or to one that was over when that was elected.
        let is_led = self.leader() == Some(from);
        let has_vote = self.core.membership().is_voter(self.core.id) && !self.core.is_witness();
        if is_led && has_vote && !self.core.is_rejoining() {
            return Next::Campaign { transfer: true };
        }
        Next::Stay
    }

    // ---- The host --------------------------------------------------------------------------

    fn on_propose(&mut self, commands: Vec<Bytes>) -> Next {
        let result: Result<LogSpan, ProposeError> = match &mut self.role {
            Role::Leader(leader) => leader.on_propose(&mut self.core, commands),
            Role::Follower(follower) => Err(ProposeError::NotLeader(follower.leader())),
            Role::PreCandidate(_) | Role::Candidate(_) => Err(ProposeError::NotLeader(None)),
        };
        self.core.effects.proposed.push(result);
        Next::Stay
    }

    fn on_read(&mut self, id: crate::ReadId) -> Next {
        match &mut self.role {
            Role::Leader(leader) => leader.on_read(&mut self.core, id, None),
            Role::Follower(follower) => follower.on_read(&mut self.core, id),
            Role::PreCandidate(_) | Role::Candidate(_) => Campaign::on_read(&mut self.core, id),
        }
        Next::Stay
    }

    fn on_durable(&mut self, seq: Seq) -> Next {
        if !self.core.written(seq) {
            return Next::Stay;
        }
        match &mut self.role {
            Role::Follower(follower) => follower.on_written(&mut self.core),
            Role::PreCandidate(_) => {}
            Role::Candidate(campaign) => return campaign.on_written(&self.core),
            Role::Leader(leader) => leader.on_written(&mut self.core),
        }
        Next::Stay
    }

    fn on_applied(&mut self, index: Index) -> Next {
        assert!(index <= self.core.given, "{index} is applied before it was given out");
        self.core.applied = self.core.applied.max(index);
        Next::Stay
    }

    fn on_compact(&mut self, index: Index) -> Next {
        assert!(index <= self.core.given, "{index} is in the machine before it was given out");
        if index <= self.core.compactable {
            // Said with each report of the machine, and seldom news.
            return Next::Stay;
        }
        let given = self.core.given;
        self.core.compactable = if planted!(CompactedBeyondMachine) { given } else { index };
        match &mut self.role {
            Role::Leader(leader) => leader.on_compactable(&mut self.core),
            // Should it lead, those who are behind what `compact_log` keeps get a snapshot.
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                self.core.compact_log(self.core.compactable);
            }
        }
        if self.is_quiet() {
            self.core.compact_at_rest();
        }
        Next::Stay
    }

    /// The machine holds the snapshot now, whatever became of the leader who sent it. If the log
    /// does not contain its last entry, the log is behind or differs, and is replaced.
    fn on_snapshot_installed(&mut self, last: EntryId) -> Next {
        let incoming = self.core.incoming.take();
        let incoming = incoming
            .filter(|incoming| incoming.stage == Stage::Installing && incoming.meta.last == last)
            .unwrap_or_else(|| panic!("the snapshot up to {last} was installed without a request"));
        let is_behind = !self.core.log.contains(last) && self.core.commit < last.index;
        if is_behind && !planted!(LogKeptUnderSnapshot) {
            if !matches!(self.role, Role::Follower(_)) {
                // A campaign was for the log as it was.
                self.perform(Next::Follow { term: self.core.term(), leader: None });
            }
            self.core.reset_log(last);
            self.core.begin_memberships(last.index, incoming.meta.membership.clone());
        }
        assert!(
            self.core.log.contains(last) || last.index < self.core.log.base().index,
            "the machine holds {last}, and something else is committed there"
        );
        self.core.commit_to(last.index);
        self.core.given = self.core.given.max(last.index);
        self.core.applied = self.core.applied.max(last.index);
        self.core.compactable = self.core.compactable.max(last.index);
        self.core.report(Event::SnapshotInstalled { meta: incoming.meta });
        if let Role::Follower(follower) = &mut self.role {
            follower.on_snapshot_installed(&mut self.core, last);
        }
        Next::Stay
    }

    /// The next piece that arrives is answered with the wish to begin anew.
    fn on_snapshot_failed(&mut self, last: EntryId) -> Next {
        if self.core.incoming.as_ref().is_some_and(|incoming| incoming.meta.last == last) {
            self.core.incoming = None;
        }
        Next::Stay
    }

    fn on_timeout(&mut self) -> Next {
        // A host may wake up early.
        if self.core.now < self.role_deadline() {
            return Next::Stay;
        }
        if self.core.is_rejoining() {
            self.core.ask_to_rejoin();
            return Next::Stay;
        }
        match &mut self.role {
            Role::Leader(leader) => leader.on_timeout(&mut self.core),
            Role::Follower(_) if self.core.election.rests(self.core.now) => Next::Stay,
            _ if planted!(PreVoteSkipped) => Next::Campaign { transfer: false },
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Next::PreCampaign,
        }
    }

    fn on_change(&mut self, wanted: Membership) -> Next {
        let result = match &mut self.role {
            Role::Leader(leader) => leader.on_change(&mut self.core, wanted),
            Role::Follower(follower) => Err(ChangeError::NotLeader(follower.leader())),
            Role::PreCandidate(_) | Role::Candidate(_) => Err(ChangeError::NotLeader(None)),
        };
        self.core.effects.changes.push(result);
        Next::Stay
    }

    fn on_transfer(&mut self, to: NodeId) -> Next {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_transfer(&mut self.core, to);
        } else {
            self.core.report(Event::TransferAborted { to, reason: "this member does not lead" });
        }
        Next::Stay
    }
}

/// Who would win campaigns.
const WON_PRELIMINARY: Next = Next::Campaign { transfer: false };

fn refused(request: &RequestVote) -> VoteReply {
    VoteReply { granted: false, incarnation: request.incarnation }
}

/// Whether only a leader says this.
pub(crate) fn is_from_leader(body: &Body) -> bool {
    matches!(body, Body::Append(_) | Body::Heartbeat(_) | Body::Snapshot(_))
}

fn is_quorum_alone(core: &Core) -> bool {
    quorum::tally(core.membership(), |id| (id == core.id).then_some(true)) == Tally::Won
}
