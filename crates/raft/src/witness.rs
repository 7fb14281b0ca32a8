//! Witnesses: voters that keep no state.
//!
//! Two members with a copy of the state survive the loss of neither: a majority of two is two. A third one makes
//! that good, and most of what it costs goes into a copy that nobody reads. A *witness* is a third member
//! without the copy. It is a voter like any other: it appends, syncs and acknowledges what the leader sends, votes,
//! and counts in every quorum. What it does not do is to keep a state. It applies nothing; its log may begin
//! after anything that is committed, and it keeps only so much of the end as it is told to
//! ([`retained_bytes_min`](crate::Limits::retained_bytes_min)), the *tail*. So
//!
//! - it never campaigns, is never handed the lead, and who finds itself leading as one is a bug;
//! - a leader whose log no longer has what a witness lacks sends it a snapshot without data: the position where the
//!   leader's log begins and the members as of it ([`snapshot`]);
//! - nobody becomes one, or ceases to be one, while it is a member ([`Membership::keeps_witnesses`]): it would
//!   lack a state, or have one that is not looked after. This counts for learners too, since a voter begins as one.
//!
//! A member knows from its configuration whether it is one; the others know from their membership.
//!
//! # The tail
//!
//! Of D1, D2 and the witness W, let D1 lead, and D2 be a little behind. D1 and W commit an entry, and D1 dies. W does
//! not vote for D2, and must not: D2 lacks the entry. It can't lead either. In a group without witnesses, the member
//! with the longer log would lead and send it on. Here W only *gives* what it has: with each refusal of a vote
//! because the candidate's log is behind, it sends the candidate entries of its log ([`Body::Tail`]), as many as fit
//! into one append, after the last one on which the two may agree, together with where its log ends. The candidate
//!
//! - finds that the logs do not agree there, and asks for what follows an earlier entry ([`Body::AskTail`]), by the
//!   hint with which a follower rejects an append. Each question and each answer is about an earlier entry;
//! - or *adopts* the entries, and asks for more if there are more;
//! - or has all that W has then, and campaigns anew.
//!
//! No message is repeated if it is lost: the next campaign begins all that again. An answer that brings
//! nothing new is not followed by a question, so repeated messages don't multiply.
//!
//! What W's log no longer has, because it was committed long enough ago, it can't give. D2 waits for D1 then.
//!
//! # Why that is safe
//!
//! Let C be the candidate, T its term, c the last entry of its log; let w be the last entry of W's log when W sent
//! the message, and t its term. C adopts entries of that log, from the first on that it does not have, if
//!
//! 1. c is less up to date than w in the sense of the vote rule (Raft §5.4.1);
//! 2. T is at least t: if it is not, C enters the term in which W spoke, which is;
//! 3. T is t; or C entered T in this process and heard from no leader of it. If neither holds, C enters the term
//!    after T before it adopts anything. That makes it hold: nobody has led this term to C, and whatever an
//!    earlier leader says to C is stale from then on;
//! 4. it replaces nothing that C knows to be committed. If it would, C does nothing;
//! 5. C neither leads, nor knows of a leader, nor rejoins, nor installs a snapshot, and if it campaigns,
//!    that campaign is over, since it was for the log as it was.
//!
//! It tells nobody. To acknowledge is to answer a leader, and there is none.
//!
//! *What C's log is.* By Log Matching (§5.3), W's log up to w was a prefix of the log of the leader of term t. So
//! after each message C's log is a prefix of that log too, and Log Matching holds as before. It is what C would have
//! if an append of that leader came late. It differs from an append in that C may have gone on to later terms; and so
//! it is to be shown that nothing is dropped that C helped to commit, or might still.
//!
//! *What is dropped.* Let a leader of term v commit its entry m, at any time, before or after this, counting
//! C, which acknowledged it in term v. Claim: C does not drop m or any entry before it. As long as C has m, c
//! is of term v at least, and so t is v at least, by 1.
//!
//! - If t is later than v, the leader of t had m when it was elected (Leader Completeness, §5.4.3), and all of
//!   its term came after it. W's log has an entry of t, so W's log has m and all before it. C's log agrees with
//!   it up to there, and nothing up to m is dropped.
//! - If t is v, both m and w lie in the log of the leader of v, who dropped nothing of it. The logs of C and W
//!   agree up to the lesser of the two. If m is the lesser, it stays. If w is, C has w and more, against 1.
//!
//! So the one fact about logs that the proof of Leader Completeness uses (who acknowledged m in its term has it when it
//! votes later) holds still, and with it all that follows: nothing that is committed is ever missing from the log of a
//! leader. What C drops may be committed all the same, by others: then C was not counted for it, and is not missed.
//!
//! *What leaders believe of C.* A leader remembers up to where C's log equals its own, without an acknowledgement in
//! its term of an entry of its term, as when it found out where to begin; and its heartbeats tell C to take that for
//! committed. Were C to drop what it said to have, it would take another entry for the committed one. That is what 3
//! is for. If T is t, the entries are the present leader's own. Otherwise no leader of T knows anything of C, those
//! of earlier terms are not listened to, and later ones begin with nothing. That C heard from nobody in T it can only
//! know if it entered T itself: a process before it may have heard.
//!
//! *Votes.* A vote that C gave was for a log no less up to date than C's at that time. That C's log changes later does
//! not make it less so.
//!
//! *Others that count silence.* Who rejoins or heals (`rejoin.rs`, and `heal.rs` of the crate `quorate-node`) relies on
//! what members say that they lack: that they did not acknowledge it, and will not in a term that they have left.
//! Adopting acknowledges nothing, so what was said stays true.
//!
//! Nothing of this depends on W: the entries of *any* log would do, whatever their sender has of them on disk. So it
//! matters little who is believed to be a witness. C takes a tail from whoever has a vote by its own membership, as
//! it asked just those for votes; that may be an old membership, in which the sender is not known to be a witness
//! yet. And W gives its tail to whoever asks for its vote.

use quorate_planted::planted;

use crate::core::Core;
use crate::message::{AskTail, Body, SnapshotChunk, SnapshotMeta, Tail};
use crate::raft::Raft;
use crate::role::{Next, Role};
use crate::snapshot::Stage;
use crate::types::{EntryId, NodeId, Term};

/// A leader has at most so many bytes on the way to a witness, give or take one message: a witness is to stay small,
/// and holds each of them twice, as it arrived and as it is written. That is some milliseconds of a fast network.
pub(crate) const INFLIGHT_BYTES_MAX: usize = 1 << 20;

impl Core {
    /// Whether this member is a witness, as it was told or as its membership has it.
    pub(crate) fn is_witness(&self) -> bool {
        self.witness || self.membership().is_witness(self.id)
    }

    /// Whether this member knows that no leader of the present term has heard anything of it.
    fn is_unheard(&self) -> bool {
        self.is_term_known && self.round_heard.is_none() || planted!(TailInHeardTerm)
    }
}

/// All that a witness wants of a snapshot: where this leader's log begins, and the members as of that. It gets the
/// rest as entries, which is most of what somebody else may need of it.
pub(crate) fn snapshot(core: &Core) -> SnapshotChunk {
    // The log may hold entries from before this process began, of which it does not know the members.
    let index = core.log.base().index.max(core.memberships.begin());
    let term = core.log.term_at(index).expect("it knows the members as of entries that it has");
    let membership = core.memberships.at(index).clone();
    let meta = SnapshotMeta { last: EntryId { term, index }, membership };
    SnapshotChunk { meta, cursor: [][..].into(), data: [][..].into(), next: None }
}

impl Raft {
    /// Gives whoever has no vote of this witness for that reason entries that it lacks, after this one or the last
    /// before it on which the two logs may agree.
    pub(crate) fn offer_tail(&mut self, to: NodeId, after: EntryId) {
        let core = &self.core;
        let last = core.log.last();
        if !core.witness || last <= after || self.is_loyal() || planted!(TailWithheld) {
            return;
        }
        // If there is no such entry, it was compacted.
        let Some(previous) = core.log.may_match(after) else { return };
        let (entries, _) = core.log.batch_after(previous.index, core.limits.append_bytes_max);
        self.core.send(to, Body::Tail(Tail { previous, entries, last }));
    }

    /// Adopts entries of a witness' log: see the module.
    pub(crate) fn on_tail(&mut self, from: NodeId, term: Term, tail: Tail) -> Next {
        let Tail { previous, mut entries, last } = tail;
        let core = &mut self.core;
        let waits = match &self.role {
            Role::Follower(follower) => follower.leader().is_none(),
            Role::PreCandidate(_) | Role::Candidate(_) => true,
            Role::Leader(_) => false,
        };
        let installs = core.incoming.as_ref().is_some_and(|it| it.stage == Stage::Installing);
        let is_behind = core.log.last() < last || planted!(TailOverNewer);
        let may = core.may_campaign() && !core.is_rejoining();
        if !waits || installs || !is_behind || !may || !core.membership().is_voter(from) {
            return Next::Stay;
        }
        let base = core.log.base();
        if previous.index < base.index {
            // The beginning is compacted here, thus committed.
            let compacted = usize::try_from(base.index.0 - previous.index.0).unwrap_or(usize::MAX);
            if entries.get(compacted - 1).is_none_or(|overlap| overlap.id != base) {
                return Next::Stay;
            }
            entries.drain(..compacted);
        } else if !core.log.contains(previous) {
            if let Some(after) = core.log.may_match(previous) {
                core.send(from, Body::AskTail(AskTail { after }));
            }
            return Next::Stay;
        }
        let known = entries.iter().take_while(|entry| core.log.contains(entry.id)).count();
        entries.drain(..known);
        let Some(first) = entries.first().map(|entry| entry.id.index) else { return Next::Stay };
        if first <= core.commit {
            // What the witness has there is not committed, and C is right to lack it.
            return Next::Stay;
        }
        let is_of_that_leader = core.log.leader_term() == last.term;
        if is_of_that_leader && first <= core.log.last().index {
            core.malformed(from, "a tail differs from what the same leader sent");
            return Next::Stay;
        }
        let mut enter = core.term();
        if enter < last.term {
            // The term in which the witness spoke.
            enter = term;
        } else if last.term < enter && !core.is_unheard() {
            enter = enter.next();
        }
        self.perform(Next::Follow { term: enter, leader: None });
        let core = &mut self.core;
        core.append_adopted(last.term, entries);
        if core.log.last() < last {
            let after = core.log.last();
            core.send(from, Body::AskTail(AskTail { after }));
            return Next::Stay;
        }
        // With what it dropped its vote may be gone; and what it promised to a leader it keeps.
        let may_campaign = core.may_campaign() || planted!(TailKeepsVote);
        let has_promised = core.promise.holds(core.now) && !planted!(TailBreaksPromise);
        if may_campaign && !has_promised { Next::PreCampaign } else { Next::Stay }
    }
}
