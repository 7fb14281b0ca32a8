//! A voter that lost its disk, and how it becomes a voter again.
//!
//! A quorum is worth something because its members remember: a vote given, an entry acknowledged. One
//! that comes back under its name with an empty disk has forgotten, and nobody could tell. Three ways
//! to lose what was promised, each a script in `tests/scripts`:
//!
//! - A leads, and an entry is committed by A and C, while B is behind. C loses its disk, A dies, and
//!   C votes for B (`rejoin_acknowledged`).
//! - C voted for B in a term. It loses its disk, and votes for A in the same term (`rejoin_voted`).
//! - C helped to elect B. It loses its disk, and confirms to A, whom that deposed, that it still leads
//!   (`rejoin_deposed_leader`).
//!
//! So whoever starts such a member says so ([`crate::Config::rejoining`]), and the member *rejoins*.
//! Until it is done it follows as a learner does, and everything it says is marked
//! ([`crate::Message::rejoining`]): the answers steer what the leader sends it, and count neither for
//! commitment, nor for a round of reads, nor as the voice of a quorum, with one exception (below). It votes for
//! nobody and never campaigns.
//!
//! # The protocol
//!
//! The member asks all other voters, in numbered rounds, for their term and the last position of
//! their log ([`crate::Body::Rejoin`]). They answer in every role and whatever the terms. A round is
//! complete when all have answered *it*; the next begins after that. Numbers begin at the
//! incarnation of the process, so an answer to an earlier process is none. Where two consecutive
//! rounds are complete, and in the second a quorum of those who answered were not rejoining
//! themselves, the largest term and the largest position of both rounds are a [`Goal`]. When its term
//! has reached a goal's, and its commit index and its durable log have reached the goal's position,
//! the member votes for itself in its present term, and when that is durable it is a voter again.
//!
//! A vote names the process that campaigned for it ([`crate::RequestVote::incarnation`]) and counts
//! for no other.
//!
//! # Why that is enough
//!
//! Call the member m, its incarnation that lost the disk O, and let the losses at any time be few
//! enough that a quorum is not rejoining. All that O did, it did before the first round began. Losses
//! and promotions are taken in the order of their times; what is claimed of m holds for those who
//! rejoined before it.
//!
//! **Acknowledgements.** Let L, the leader of term s, count an acknowledgement of O for position i of
//! its term, at a time c before or after the loss, and commit i by a quorum Q. *The goal is at or
//! beyond i.* L had entry i in its log when O acknowledged it. If L answered the first of the
//! two rounds before c, it answered as the leader of s, which drops nothing of its log, so its answer was at
//! least i. Otherwise c came before the second round, and so did the acknowledgements of the others
//! in Q. Q and the quorum that answered the second round without rejoining share a member, which is
//! not m. It had entry i on its disk; it did not lose it since, or it has rejoined since then,
//! beyond i by this same claim; and it dropped nothing that is committed. Its answer was at least i.
//!
//! So when m counts again it holds on its disk, as committed, every entry that counted its word, and
//! whoever needs its vote must have them too. Late acknowledgements of O may still arrive among the
//! marked ones: they are about entries in the log of the leader of that very term, who was asked.
//!
//! Why two rounds: L commits without its own disk. With one round, B may answer before the entry
//! reaches it, then L commits it by B and O, crashes before its own sync, and answers without the
//! entry. Then no answer tells of it. In two rounds either L's first answer does or B's second.
//!
//! **Votes.** Let O have voted for c in term t. c asked for the vote when t was on its disk. If c has
//! not lost its disk since, its answers have at least term t, and m votes in no term up to t again.
//! If it has, the campaign that asked is over, and the vote counts for no other process: it is as if
//! it had not been given. The same holds of the votes for campaigns of O itself, so an old request of
//! O that somebody grants late, for the log that O had, does not elect m with the log it has. And if
//! any candidate won t with the vote of O, the quorum that elected it entered t before the loss, and
//! shares a member with the quorum that answered: m's term is at least t, so it doesn't confirm an
//! older leader, and never leads t a second time if it was O who led it.
//!
//! **What leaders believe of m.** A leader remembers up to where the log of O equalled its own. Appends
//! name the entry before them, so nothing wrong comes of that; but a heartbeat tells m how much of what
//! it acknowledged is committed, and m may have been sent other entries in these places since, by a
//! leader of the past. So m takes a commit index for what an append of this leader has matched, and
//! rejects the rest of it (`rejoin_heartbeat`). Once it holds what it promised, as committed, so is all
//! that any leader can remember of it.
//!
//! **Other members.** The member asks the voters of the latest membership that its log tells, which may be long
//! past. Whenever that is another one it begins anew; and it does not count before that membership is
//! committed on its disk, at position j. Let i have been committed with the word of O as before, by voters of another
//! membership. Where that is older, i is before j, and covered. Where it is newer, the joint entry between the two
//! needed a majority of the voters who were asked before there could be such an i, and so before the loss:
//! one of those who answered had it, and so the goal is at or beyond it, and with it the member learns of other
//! members and begins anew. Likewise a candidate that it did not ask, as that is no voter of its membership,
//! either won already, which is the case above, or lacks an entry that it needs to win.
//!
//! **Restarts.** Whoever hosts the member keeps on its disk that it rejoins until
//! [`crate::Event::Rejoined`]. A crash before that begins anew, with whatever the disk has by then;
//! nothing it said counted. A crash after that but before the host has noted it does no harm either:
//! the member rejoins with a disk that remembers everything.
//!
//! # A member that is new
//!
//! Most members with a new disk lost nothing: they join a group for the first time. For them all of this would be
//! too much, and more than can be had where they replace a voter that is dead and can't answer. But a first
//! start looks like one after a loss. So a disk has a number, drawn at random when the member begins on
//! it with nothing ([`crate::DiskId`]); a member that rejoins says it with everything, and the change of
//! members that gives it a vote writes it down ([`crate::Membership::disks`]). **The number is a part of the name**:
//! the voter is this member with this disk, and with another one it would be another member, which
//! that membership knows nothing of. So whatever it says counts for whoever has that membership in its log, committed
//! or not: the group may need this word to commit it, and a candidate that has it asks for a vote by this name
//! ([`crate::RequestVote::disk`]), whether the voter has heard of it or not. That is no more than joint consensus
//! does for a member with a new id: a voter of that name never was before, and has nothing to remember.
//! Where the entry is undone, so is all this.
//!
//! When the entry is committed on that disk, the member stops marking what it says, whether the last change of members is
//! known to be committed or not: those who have to be won for that may be this very member and a witness, and neither
//! can lead before (`witness_new_disk`). By then whoever leads or wins
//! has that entry, and so has no use for the word of the same member with a disk before.
//!
//! One thing is left: what it said *with the disk before*, unmarked, may arrive late. Votes don't matter, since a
//! candidate that has the entry campaigned after that disk was gone, and so do leaders of later terms. But the
//! leader that appended the entry may be the one to whom the member acknowledged with the disk before, in the same
//! term. All of that is about positions before the entry, and rounds of reads before it; so, of a member
//! with a new disk, that leader counts nothing before either (`change_new_disk_late`).
//!
//! # What it can't do
//!
//! One that had a vote and lost its disk waits for *all* other voters, each of which may be the leader or the
//! candidate that counts the lost word. While one is down the member does not count. And where the losses leave no
//! quorum (one disk of two, two of three) nobody is elected again: what the lost disks alone held is gone, and to go
//! on regardless is a decision for an operator.

use alloc::collections::BTreeMap;

use quorate_planted::planted;

use crate::core::Core;
use crate::effects::Event;
use crate::message::{Body, Rejoin, RejoinReply, RequestVote};
use crate::quorum;
use crate::types::{DiskId, Index, NodeId, Term, Time};

/// What a member that rejoins knows. Gone when it is a voter again.
#[derive(Debug)]
pub(crate) struct Rejoining {
    /// The disk that it has now.
    disk: DiskId,
    /// The round under way.
    round: u64,
    /// What was answered in it. A second answer of a member adds nothing.
    answers: BTreeMap<NodeId, Answer>,
    /// The largest of the round before, if that was complete.
    before: Option<Goal>,
    /// What to reach. Each goal suffices for ever, so of several the least one does: an early one is
    /// not moved away by writes that go on, and one that was too high, because it counted entries
    /// which were dropped since, gives way.
    goal: Option<Goal>,
    /// When to ask again whoever has not answered.
    ask_at: Time,
    /// Whether the vote for itself was written.
    is_sealed: bool,
}

/// What another voter said.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Goal,
    rejoining: bool,
}

/// A term and a position that cover whatever this member promised before it lost its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Goal {
    term: Term,
    last: Index,
}

impl Goal {
    fn max(self, other: Self) -> Self {
        Self { term: self.term.max(other.term), last: self.last.max(other.last) }
    }

    fn min(self, other: Self) -> Self {
        Self { term: self.term.min(other.term), last: self.last.min(other.last) }
    }
}

impl Rejoining {
    /// A member that asks at once.
    pub(crate) fn new(disk: DiskId, incarnation: u64, now: Time) -> Self {
        Self {
            disk,
            round: incarnation,
            answers: BTreeMap::new(),
            before: None,
            goal: None,
            ask_at: now,
            is_sealed: false,
        }
    }

    /// When to ask again.
    pub(crate) fn deadline(&self) -> Time {
        self.ask_at
    }

    /// The largest that the present round said, if all voters but this one have answered it.
    fn complete_round(&self, core: &Core) -> Option<Goal> {
        let mut others = core.membership().members();
        others.retain(|id| *id != core.id && core.membership().is_voter(*id));
        others.retain(|id| !planted!(RejoinAsksFew) || self.answers.contains_key(id));
        others.iter().try_fold(Goal::default(), |largest, id| {
            self.answers.get(id).map(|answer| largest.max(answer.at))
        })
    }

    /// The group has other members than those who were asked.
    fn begin_anew(&mut self, now: Time) {
        self.answers.clear();
        (self.before, self.goal) = (None, None);
        self.round = self.round.wrapping_add(1);
        self.ask_at = now;
    }

    /// Counts an answer to the present round.
    fn on_answer(&mut self, core: &Core, from: NodeId, answer: Answer) {
        self.answers.entry(from).or_insert(answer);
        let Some(largest) = self.complete_round(core) else { return };
        let by_quorum = quorum::has_quorum(core.membership(), |id| {
            self.answers.get(&id).is_some_and(|answer| !answer.rejoining)
        });
        if let Some(before) = self.before.or(planted!(RejoinOneRound).then_some(largest))
            && (by_quorum || planted!(RejoinWithoutQuorum))
        {
            let goal = before.max(largest);
            self.goal = Some(self.goal.map_or(goal, |known| known.min(goal)));
        }
    }

    /// Begins the next round if the present one is complete.
    fn begin_round(&mut self, core: &Core) {
        if let Some(largest) = self.complete_round(core) {
            self.before = Some(largest);
            self.answers.clear();
            self.round = self.round.wrapping_add(1);
        }
    }
}

impl Core {
    /// Whether this member is not yet what it is or was in its group, and says so.
    pub(crate) fn is_rejoining(&self) -> bool {
        self.rejoining.is_some()
    }

    /// Its disk, as long as it rejoins.
    pub(crate) fn new_disk(&self) -> Option<DiskId> {
        self.rejoining.as_ref().map(|rejoining| rejoining.disk)
    }

    /// Whether it may vote at all: it does not rejoin, or is asked as the member that it is with this disk.
    pub(crate) fn may_vote(&self, request: &RequestVote) -> bool {
        self.new_disk().is_none_or(|disk| request.disk == Some(disk))
    }

    /// The log tells of other members now. What was learned before says nothing about them.
    pub(crate) fn rejoin_other_members(&mut self) {
        if let Some(rejoining) = &mut self.rejoining
            && !planted!(RejoinKeepsOldGoal)
        {
            rejoining.begin_anew(self.now);
        }
    }

    /// Asks whoever has not answered the present round, or all in the next one.
    pub(crate) fn ask_to_rejoin(&mut self) {
        let Some(mut rejoining) = self.rejoining.take() else { return };
        rejoining.begin_round(self);
        rejoining.ask_at = self.now + self.election.minimum();
        let request = Rejoin { round: rejoining.round };
        let mut asked = self.membership().members();
        asked.retain(|id| {
            *id != self.id && self.membership().is_voter(*id) && !rejoining.answers.contains_key(id)
        });
        self.rejoining = Some(rejoining);
        for voter in asked {
            self.send(voter, Body::Rejoin(request));
        }
    }

    /// Another member rejoins and asks. The answer needs no disk: entries that are lost again in a
    /// crash ask too much of it, never too little.
    pub(crate) fn answer_rejoin(&mut self, from: NodeId, request: Rejoin) {
        let reply = RejoinReply { round: request.round, last: self.log.last().index };
        self.send(from, Body::RejoinReply(reply));
    }

    /// A voter answered, in this term of its own; marked if it rejoins itself.
    pub(crate) fn on_rejoin_reply(
        &mut self,
        from: NodeId,
        term: Term,
        reply: RejoinReply,
        is_marked: bool,
    ) {
        let Some(mut rejoining) = self.rejoining.take() else { return };
        let mut is_first_complete = false;
        if reply.round == rejoining.round {
            let at = Goal { term, last: reply.last };
            rejoining.on_answer(self, from, Answer { at, rejoining: is_marked });
            is_first_complete =
                rejoining.before.is_none() && rejoining.complete_round(self).is_some();
        }
        self.rejoining = Some(rejoining);
        // One round says nothing. The second does not wait for the clock; later ones do.
        if is_first_complete {
            self.ask_to_rejoin();
        }
    }

    /// Takes the last two steps when they are due: the vote that closes all terms up to the present
    /// one, and, when it is durable, the return. Returns whether the member is a voter again by this.
    pub(crate) fn advance_rejoining(&mut self) -> bool {
        let Some(rejoining) = &self.rejoining else { return false };
        if !rejoining.is_sealed {
            let disk = self.new_disk();
            let since = self.memberships.since_when(|it| it.counts(self.id, disk));
            let held = match self.log.durable() {
                _ if planted!(RejoinBeforeDurable) => self.log.last().index,
                durable => self.commit.min(durable),
            };
            if let Some(since) = since {
                // What there is a later membership behind is committed, whether this member has heard of it or not.
                let is_followed = since < self.memberships.since() && since <= self.log.durable();
                if since > held && (!is_followed || planted!(NewDiskHearsOfCommit)) {
                    return false;
                }
            } else {
                let Some(goal) = rejoining.goal else { return false };
                let knows_members =
                    self.memberships.since() <= held || planted!(RejoinKeepsOldGoal);
                if !knows_members || self.term() < goal.term || held < goal.last {
                    return false;
                }
            }
            if since.is_none() && !planted!(RejoinUnsealed) {
                if self.vote().is_some_and(|vote| vote != self.id) {
                    // Given as the other member that it was by a membership which is undone: a later term closes
                    // this one.
                    return false;
                }
                self.vote_for(self.id);
            }
            self.rejoining.as_mut().expect("it rejoins").is_sealed = true;
        }
        // A later term may have begun meanwhile. It closes the terms before it just as well.
        if !self.is_term_durable() {
            return false;
        }
        self.rejoining = None;
        self.election.redraw(self.now);
        self.report(Event::Rejoined { term: self.term(), last: self.log.durable() });
        true
    }
}
