//! A member that starts on damaged storage, until it has everything again.
//!
//! Damage leaves gaps: entries of the log whose contents are gone while their names, index and term,
//! are known ([`Salvage`]); or a state machine that is gone while the log after it is there. The
//! member could be treated as one that lost its disk, and rejoin without a voice
//! (`raft/src/rejoin.rs`). But then a few bad sectors, a different one on each of three members, would
//! stop a cluster that still has a sound copy of everything. So such a member *heals*: it takes no part
//! in anything (to be silent is always safe) but fetches what it lacks from the others, running
//! or healing themselves, and then goes on as if it had been down for a while.
//!
//! **Fetching.** A name says it all: entries with the same index and term are the same entry, wherever
//! they lie (Log Matching, Raft §5.3). So whatever anybody has under the name is right, whether it is
//! committed or not. What is committed may be in others' machines only; then a snapshot is fetched,
//! and what it covers is not needed any more.
//!
//! The bytes under a name are another matter: what a peer sends is data. Where the log knows the checksum of
//! what it lost ([`Seal`](quorate_raft::Seal)), entries that don't fit are refused, and whoever sent
//! them is not listened to as long as there is another one.
//!
//! **Giving up.** An entry that nobody else has may be one that was never committed: this member
//! appended it and nobody heard. To keep waiting for it would be to wait for ever, and to drop it
//! because a few others lack it would be to lose what was acknowledged. Protocol-aware recovery
//! (FAST 2018) drops it once enough others are known to *never have had* it; that a copy is
//! damaged, or a disk lost, or a member silent, says nothing. When is it enough? Let A be the member
//! that heals, T the term on its disk, and (i, t) the entry. What must not happen is that a leader
//! commits (i, t) by counting what A acknowledged before the damage. A acknowledged in terms up to
//! T only. So it is enough that
//!
//! 1. *a leader of T or a later term does not have it*: had it been committed in an earlier term, this
//!    leader would have it (Leader Completeness, §5.4.3), and in its own term it commits what is in
//!    its log, which it never drops from; whatever a later leader commits, it counts acknowledgements
//!    of its own term, and A has not given any; or
//! 2. *members that no quorum can do without do not have it, and their disks know a later term than
//!    T*: one of them is in whichever quorum had acknowledged the entry in a term up to T. It had the
//!    entry then, and would have it still (§5.4.3 again); or
//! 3. *all other voters do not have it, and none leads*: nobody is left who could count what A once
//!    said. A new leader begins a later term, and counts anew. This needs another voter, without whom
//!    nothing was committed; or
//! 4. *one member does not have it, and knows that what is there is committed*: then another entry is, and no
//!    two ever are in one place (State Machine Safety, §5.4.3), whoever counts what. One whose disk was lost
//!    may say so too: it has heard of what was committed, whatever it promised before. Without this rule two
//!    members that rejoin, and wait for this one to be there, would wait for ever, and this one for their word.
//!
//! A leader of an earlier term than T is not enough, since one of a term in between may have had the entry.
//! So the question names T, and such a leader gives up, as it does when any member that knows of a later
//! term comes back.
//!
//! Rules 2 and 3 need to know whose word counts for the entry: the members as of the entry before it, so they are
//! for the first entry that is lost, and for later ones only once it is back or given up. The entry may change the
//! members itself. If it begins a change, it needs a quorum of those before it all the same; if it ends
//! one, it needs a majority of the voters to be, whatever the outgoing ones have.
//!
//! What its own machine is past is committed, and never given up so.
//!
//! With the entry goes all that follows it in this log, whose commitment would have committed it. The
//! member starts in the latest term it was told of, so that a leader that was deposed and still counts
//! on what is gone is not listened to.
//!
//! **Witnesses.** The machine of any other member has what is gone of the log up to where it is. That of a witness has
//! no state, and what is sound of its log before a gap may be the last copy of something, as what is sound after it
//! may be. So a witness asks for what it lost like anybody, though its machine is past it. If some member's machine
//! has it (its log begins later), there is a state to be had instead, and the witness lets its log begin after the gap.
//! Nobody waits in vain for that: whoever is to lead has all that is committed, in the log or in the machine.
//!
//! **What can't be healed.** Where the one sound copy is on a member that is down, the healing waits
//! for it. A cluster of one has nobody to ask: unless its machine has all that the log lost, it must not begin.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{
    EntryId, Event, Found, GroupId, HardState, Index, Lost, Membership, Misfit, NodeId, Payload,
    Record, Recovered, Salvage, SnapshotChunk, SnapshotRequest, Term, Time, Word, quorum,
};

use crate::effects::{
    ApplyJob, Effects, Envelope, EnvelopeBody, Feedback, Heal, HealAnswer, HealAsk, Healed,
};
use crate::heal_source::is_believable;

/// Whether a member of such a group can come to have everything again: it has others to ask, or its own
/// machine, durable up to `machine`, has whatever the log lost. A host must not begin otherwise.
#[must_use]
pub fn can_heal(membership: &Membership, id: NodeId, salvage: &Salvage, machine: EntryId) -> bool {
    let mut others = membership.members().into_iter().filter(|other| *other != id);
    let last_lost = salvage.lost.last().map_or(Index(0), |lost| lost.last.index);
    let lost = salvage.base.index.max(last_lost);
    others.any(|other| membership.is_voter(other)) || lost <= machine.index
}

/// What a healing member is.
#[derive(Clone, Debug)]
pub(crate) struct HealConfig {
    pub(crate) group: GroupId,
    pub(crate) id: NodeId,
    pub(crate) incarnation: u64,
    /// The members as of what the machine holds.
    pub(crate) membership: Membership,
    /// How long to wait for an answer before asking again.
    pub(crate) patience: Duration,
    /// Whether its machine has positions only, and no state.
    pub(crate) is_witness: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Healer {
    config: HealConfig,
    salvage: Salvage,
    /// How far the machine reaches, durably.
    machine: EntryId,
    /// The members as of the machine, and those that the sound entries after it tell of.
    memberships: Vec<(Index, Membership)>,
    /// What others said of the first gap as it is now.
    found: BTreeMap<NodeId, Found>,
    /// Whether all others were asked about it, and not just the one that filled a part of it.
    all_asked: bool,
    /// A snapshot on its way here.
    pull: Option<Pull>,
    /// Who sent which of the entries that were lost.
    sources: BTreeMap<Index, NodeId>,
    /// The members whose entries are not taken, as some of them, or some of theirs and others' together, were
    /// refused; the last one last.
    doubted: Vec<NodeId>,
    /// The members that were asked for a snapshot in vain since all of them were.
    barren: Vec<NodeId>,
    /// The latest term that counted for giving something up.
    later_term: Term,
    /// The last position that was not given up, if something was.
    dropped_after: Option<Index>,
    /// Whether a snapshot replaced the log.
    replaced: bool,
    before: Before,
    ask_at: Time,
    state: State,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Something is missing.
    Fetching,
    /// All is there, and is being written.
    Writing,
}

/// The log as it was found.
#[derive(Clone, Copy, Debug)]
struct Before {
    was_whole: bool,
    hard_state: HardState,
    base: EntryId,
}

/// A snapshot on its way here.
#[derive(Debug)]
struct Pull {
    from: NodeId,
    /// The snapshot, once its first piece is here.
    last: Option<EntryId>,
    /// Where the next piece begins; `None` while the machine installs it.
    cursor: Option<Bytes>,
    /// The members as of its end, as its last piece said.
    membership: Membership,
    /// When this piece was first asked for.
    since: Time,
}

impl Healer {
    /// # Panics
    /// If it can't be: see [`can_heal`].
    pub(crate) fn new(
        config: HealConfig,
        mut salvage: Salvage,
        machine: EntryId,
        now: Time,
    ) -> Self {
        assert!(
            can_heal(&config.membership, config.id, &salvage, machine),
            "a member without others can't heal: its host must not begin"
        );
        let (was_whole, hard_state) = (salvage.lost.is_empty(), salvage.hard_state);
        let (base, last) = (salvage.base, salvage.last.index);
        let replaced = cover_by_machine(&mut salvage, machine, config.is_witness);
        let mut healer = Self {
            memberships: Vec::new(),
            config,
            salvage,
            machine,
            found: BTreeMap::new(),
            all_asked: false,
            pull: None,
            sources: BTreeMap::new(),
            doubted: Vec::new(),
            barren: Vec::new(),
            later_term: Term(0),
            before: Before { was_whole, hard_state, base },
            replaced,
            dropped_after: (replaced && machine.index < last).then_some(machine.index),
            ask_at: now,
            state: State::Fetching,
        };
        healer.learn_memberships();
        healer
    }

    /// Notes the memberships that are known by now.
    fn learn_memberships(&mut self) {
        let told = self.salvage.entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Membership(membership) if self.machine.index < entry.id.index => {
                Some((entry.id.index, Membership::clone(membership)))
            }
            Payload::Membership(_) | Payload::Command(_) | Payload::Noop => None,
        });
        let of_machine = (self.machine.index, self.config.membership.clone());
        self.memberships = [of_machine].into_iter().chain(told).collect();
    }

    /// The members, as far as is known: some may be unknown that lost entries tell of.
    pub(crate) fn membership(&self) -> &Membership {
        &self.memberships.last().expect("the machine has one").1
    }

    /// The members as of the entry before the first that is lost: all entries up to that are there.
    fn membership_at_gap(&self) -> &Membership {
        let first = self.salvage.lost.first().map_or(Index(u64::MAX), |lost| lost.first);
        let known = self.memberships.partition_point(|(since, _)| *since < first);
        &self.memberships[known.max(1) - 1].1
    }

    /// When [`Healer::flush`] has something to do without any input.
    pub(crate) fn deadline(&self) -> Time {
        match self.state {
            State::Fetching => self.ask_at,
            State::Writing => Time::NEVER,
        }
    }

    /// Whether all is there, and is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.state == State::Writing
    }

    /// The log that was written, how far the machine reaches, and the members as of that.
    ///
    /// # Panics
    /// If it was not.
    pub(crate) fn into_healed(self) -> (Recovered, EntryId, Membership) {
        assert!(self.state == State::Writing, "a group begins when its log is whole");
        let Salvage { hard_state, base, entries, .. } = self.salvage;
        (Recovered { hard_state, base, entries }, self.machine, self.config.membership)
    }

    /// What was salvaged so far.
    pub(crate) fn salvage(&self) -> &Salvage {
        &self.salvage
    }

    /// How far the machine reaches, durably.
    pub(crate) fn machine(&self) -> EntryId {
        self.machine
    }

    /// Asks again whoever has not helped.
    pub(crate) fn flush<W>(&mut self, now: Time, out: &mut Effects<W>) {
        self.finish(out);
        if self.state == State::Writing || now < self.ask_at {
            return;
        }
        self.ask_at = now + self.config.patience;
        let is_slow =
            |pull: &mut Pull| pull.cursor.is_some() && now >= pull.since + self.config.patience * 4;
        let needed = self.snapshot_needed().is_some();
        if self.pull.take_if(|pull| pull.cursor.is_some() && !needed).is_none()
            && let Some(pull) = self.pull.take_if(is_slow)
        {
            self.barren.push(pull.from);
        }
        self.ask(now, out);
    }

    /// Asks for what is missing first.
    fn ask<W>(&mut self, now: Time, out: &mut Effects<W>) {
        if let Some(from) = self.snapshot_source() {
            let pull = self.pull.get_or_insert(Pull {
                from,
                last: None,
                cursor: Some(Bytes::new()),
                membership: Membership::default(),
                since: now,
            });
            let (from, last, cursor) = (pull.from, pull.last, pull.cursor.clone());
            if let Some(cursor) = cursor {
                self.send(from, HealAsk::Snapshot { last, cursor }, out);
            }
        } else if let Some(&lost) = self.salvage.lost.first() {
            if core::mem::replace(&mut self.all_asked, true) {
                // Nobody else had it.
                self.doubted.clear();
            }
            let term = self.salvage.hard_state.term;
            for peer in self.others() {
                self.send(peer, HealAsk::Entries { lost, term }, out);
            }
        }
    }

    /// Who is asked for a snapshot, if one is needed: whoever sends one already; else whoever has not
    /// failed to, the furthest known first.
    fn snapshot_source(&mut self) -> Option<NodeId> {
        if let Some(pull) = &self.pull {
            return Some(pull.from);
        }
        self.snapshot_needed()?;
        let mut others = self.sources();
        if others.iter().all(|id| self.barren.contains(id)) {
            self.barren.clear();
        }
        others.retain(|id| !self.barren.contains(id));
        let base = |id: &NodeId| self.found.get(id).map_or(Index(0), |found| found.base.index);
        others.into_iter().max_by_key(base)
    }

    /// How far a snapshot has to reach, if one is needed: to where the log begins, or over a gap that
    /// nobody has in the log, but somebody in the machine.
    fn snapshot_needed(&self) -> Option<Index> {
        if self.machine.index < self.salvage.base.index {
            return Some(self.salvage.base.index);
        }
        let first = self.salvage.lost.first()?.first;
        if first <= self.machine.index {
            // Only a witness lacks what its machine is past. It has no use for the state.
            return None;
        }
        let somebody_has = self
            .found
            .values()
            .any(|found| found.entries.first().is_some_and(|entry| entry.id.index == first));
        (first <= self.covered_by_others() && !somebody_has).then_some(first)
    }

    /// How far the machine of some other member is, as it says where its log begins. A witness may begin anywhere,
    /// and has no snapshot to give.
    fn covered_by_others(&self) -> Index {
        let members = self.membership();
        let founds = self.found.iter().filter(|(id, _)| !members.is_witness(**id));
        founds.map(|(_, found)| found.base.index).max().unwrap_or(Index(0))
    }

    /// What another member says.
    pub(crate) fn answer<W>(
        &mut self,
        now: Time,
        from: NodeId,
        answer: HealAnswer,
        out: &mut Effects<W>,
    ) {
        if self.state == State::Writing || answer.incarnation != self.config.incarnation {
            return;
        }
        match answer.body {
            Heal::Entries { asked, found } => self.on_entries(now, from, asked, found, out),
            Heal::Snapshot { chunk, term } => self.on_piece(now, from, chunk, term, out),
        }
    }

    fn on_entries<W>(
        &mut self,
        now: Time,
        from: NodeId,
        asked: Lost,
        mut found: Found,
        out: &mut Effects<W>,
    ) {
        let term = found.word.map_or(Term(0), Word::term);
        if self.salvage.lost.first() != Some(&asked) || term > Term::BELIEVABLE_MAX {
            // It speaks of a gap as it was before, or of what can't be.
            return;
        }
        found.held_to = found.held_to.min(asked.last.index);
        let mut entries = core::mem::take(&mut found.entries);
        if self.doubted.contains(&from) {
            entries.clear();
        }
        entries.retain(|entry| asked.contains(entry.id));
        let sources = entries.iter().map(|entry| (entry.id.index, from));
        self.sources.extend(sources);
        let filled = match self.salvage.fill(entries) {
            Ok(filled) => filled,
            Err(misfit) => return self.refuse(now, from, misfit, out),
        };
        if filled {
            self.learn_memberships();
            self.found.clear();
            self.all_asked = false;
            self.ask_at = now + self.config.patience;
            self.finish(out);
            if let Some(&next) = self.salvage.lost.first() {
                // Whoever had something may have more.
                let term = self.salvage.hard_state.term;
                self.send(from, HealAsk::Entries { lost: next, term }, out);
            }
        } else {
            self.found.insert(from, found);
            let gave_up = self.give_up_what_nobody_had() || self.give_up_what_others_applied();
            if gave_up || !self.all_asked || self.snapshot_needed().is_some() {
                self.ask_at = now;
            }
        }
    }

    /// Entries were not those that were lost. Asks all others again, but one of those who sent them.
    fn refuse<W>(&mut self, now: Time, from: NodeId, misfit: Misfit, out: &mut Effects<W>) {
        let reason = "entries that are not those that were lost";
        out.events.push((self.config.group, Event::Malformed { from, reason }));
        self.learn_memberships();
        let senders = self.sources.range(misfit.first..=misfit.last).map(|(_, sender)| *sender);
        // Where it was several, nobody knows whose are wrong. It is one of them, and others come to be doubted
        // if it was not this one.
        let doubted = senders.min().unwrap_or(from);
        self.doubted.push(doubted);
        if self.others().iter().all(|id| self.doubted.contains(id)) {
            self.doubted = [doubted].into();
        }
        self.found.clear();
        self.all_asked = false;
        self.ask_at = now + self.config.patience;
    }

    /// Drops the first entry of the first gap that is known to have been nobody's, and all after it.
    /// Returns whether there was one.
    fn give_up_what_nobody_had(&mut self) -> bool {
        let Some(&gap) = self.salvage.lost.first() else { return false };
        // Whoever does not have an entry does not have the later ones. So the first that can be
        // given up follows what somebody has. What the own machine is past is committed.
        let least = gap.before().max(self.machine.index);
        let mut candidates: Vec<Index> =
            self.found.values().map(|found| found.held_to.max(least).next()).collect();
        candidates.sort_unstable();
        let given_up = candidates
            .into_iter()
            .filter(|index| *index <= gap.last.index)
            .find_map(|index| self.is_nobodys(index).map(|term| (index, term)));
        let Some((index, term)) = given_up else { return false };
        self.salvage.cut(index);
        self.learn_memberships();
        self.later_term = self.later_term.max(term);
        self.dropped_after = Some(self.salvage.last.index);
        self.found.clear();
        true
    }

    /// A witness gives up the first gap, as far as it is past it, and all before, if another member can give the state
    /// instead. Returns whether it did.
    fn give_up_what_others_applied(&mut self) -> bool {
        let Some(&gap) = self.salvage.lost.first() else { return false };
        let index = self.covered_by_others().min(self.machine.index).min(gap.last.index);
        if index < gap.first {
            return false;
        }
        self.salvage.cover(EntryId { term: gap.last.term, index });
        self.found.clear();
        true
    }

    /// Whether enough others are known never to have had the entry at this position of the first gap:
    /// the rules of the module. Returns the latest term of those who said so.
    fn is_nobodys(&self, index: Index) -> Option<Term> {
        let unsaid = planted!(DamagedIsNeverHad).then_some(Word::Follower(Term(0)));
        let lacks = |id: &NodeId| {
            let found = self.found.get(id).filter(|found| found.held_to < index);
            found.and_then(|found| found.word.or(unsaid))
        };
        let own = self.salvage.hard_state.term;
        let others = self.others();
        let is_led = |word| match word {
            Word::Leader(term) => own <= term || planted!(LeaderOfThePastDecides),
            Word::Follower(_) => false,
        };
        let led = others.iter().any(|id| lacks(id).is_some_and(is_led));
        let past =
            |id: NodeId| id != self.config.id && lacks(&id).is_some_and(|word| own < word.term());
        let members = self.membership_at_gap();
        let are_known = self.salvage.lost.first().is_some_and(|lost| lost.first == index);
        // Of a joint membership those to be decide alone at last.
        let decide = Membership::of_voters(members.voters.iter().copied());
        let blocked = are_known && !quorum::has_quorum(&decide, |id| !past(id));
        let mut voters = others.iter().filter(|id| members.is_voter(**id));
        let is_alone = quorum::has_quorum(&decide, |id| id == self.config.id);
        let unled = are_known
            && (!is_alone || planted!(LoneVoterGivesUp))
            && voters.all(|id| matches!(lacks(id), Some(Word::Follower(_))));
        let is_another =
            self.found.values().any(|found| found.held_to < index && index <= found.commit);
        (led || blocked || unled || is_another && !planted!(CommittedOtherIgnored))
            .then(|| others.iter().filter_map(lacks).map(Word::term).max().unwrap_or(own))
    }

    fn on_piece<W>(
        &mut self,
        now: Time,
        from: NodeId,
        chunk: Box<SnapshotChunk>,
        term: Term,
        out: &mut Effects<W>,
    ) {
        let Some(needed) = self.snapshot_needed() else { return };
        let Some(pull) = &mut self.pull else { return };
        let begins = chunk.cursor.is_empty();
        let follows =
            pull.cursor.as_ref() == Some(&chunk.cursor) && pull.last == Some(chunk.meta.last);
        let can_be = is_believable(chunk.meta.last)
            && term <= Term::BELIEVABLE_MAX
            && chunk.meta.membership.is_possible();
        if pull.from != from || pull.cursor.is_none() || !(begins || follows) || !can_be {
            return;
        }
        if chunk.meta.last.index < needed {
            return self.give_up_pull(now);
        }
        self.later_term = self.later_term.max(term);
        pull.last = Some(chunk.meta.last);
        pull.membership.clone_from(&chunk.meta.membership);
        pull.cursor.clone_from(&chunk.next);
        pull.since = now;
        let last = pull.last;
        let next = chunk.next.clone();
        out.apply.push((self.config.group, ApplyJob::Snapshot(SnapshotRequest::Write(chunk))));
        if let Some(cursor) = next {
            self.ask_at = now + self.config.patience;
            self.send(from, HealAsk::Snapshot { last, cursor }, out);
        }
    }

    /// The snapshot is of no use. Another member is asked for its own at once; when all of them were, they
    /// are asked anew after a while.
    fn give_up_pull(&mut self, now: Time) {
        if let Some(pull) = self.pull.take() {
            self.barren.push(pull.from);
        }
        let is_any_left = planted!(BarrenAskedAtOnce)
            || self.sources().iter().any(|id| !self.barren.contains(id));
        self.ask_at = if is_any_left { now } else { now + self.config.patience };
    }

    /// What the applier reports.
    pub(crate) fn applied(&mut self, now: Time, feedback: Feedback) {
        match feedback {
            Feedback::SnapshotInstalled { last } => {
                assert!(self.machine.index <= last.index, "a machine goes forward");
                self.machine = last;
                if let Some(pull) = self.pull.take() {
                    self.config.membership = pull.membership;
                }
                self.barren.clear();
                self.found.clear();
                let end = self.salvage.last.index;
                if cover_by_machine(&mut self.salvage, last, self.config.is_witness) {
                    self.replaced = true;
                    if last.index < end {
                        self.dropped_after = Some(last.index);
                    }
                }
                self.learn_memberships();
                self.ask_at = now;
            }
            Feedback::SnapshotFailed { .. } => self.give_up_pull(now),
            // Pieces read for others are answered by whoever asked for them to be read.
            Feedback::Progress { .. }
            | Feedback::SnapshotReady(_)
            | Feedback::HealSnapshotReady(_)
            | Feedback::Audited(_) => {}
        }
    }

    /// Ends the healing if nothing is missing any more, and the machine does not install a snapshot.
    fn finish<W>(&mut self, out: &mut Effects<W>) {
        let installs = self.pull.as_ref().is_some_and(|pull| pull.cursor.is_none());
        let is_whole =
            self.salvage.lost.is_empty() && self.salvage.base.index <= self.machine.index;
        if self.state == State::Writing || installs || !is_whole {
            return;
        }
        self.state = State::Writing;
        let Salvage { hard_state, base, last, entries, .. } = &mut self.salvage;
        assert!(
            entries.len() as u64 == last.index.0 - base.index.0,
            "{} entries lie between {base} and {last}",
            entries.len()
        );
        if self.dropped_after.is_some() && hard_state.term < self.later_term {
            *hard_state = HardState { term: self.later_term, vote: None };
        }
        let mut records = Vec::new();
        if *hard_state != self.before.hard_state {
            records.push(Record::HardState(*hard_state));
        }
        match *base == self.before.base {
            true => {}
            false if self.replaced => records.push(Record::Reset(*base)),
            false => records.push(Record::Compact(*base)),
        }
        let recovered =
            Recovered { hard_state: *hard_state, base: *base, entries: entries.clone() };
        let records = self.before.was_whole.then_some(records);
        let healed = Healed { recovered, dropped_after: self.dropped_after, records };
        out.healed.push((self.config.group, healed));
    }

    /// All who are known to belong to the group, or to have belonged to it since what the machine holds.
    fn others(&self) -> Vec<NodeId> {
        let all = self.memberships.iter().flat_map(|(_, membership)| membership.members());
        let others: BTreeSet<NodeId> = all.filter(|id| *id != self.config.id).collect();
        others.into_iter().collect()
    }

    /// Those of them that may have a snapshot.
    fn sources(&self) -> Vec<NodeId> {
        let members = self.membership();
        self.others().into_iter().filter(|id| !members.is_witness(*id)).collect()
    }

    fn send<W>(&self, to: NodeId, ask: HealAsk, out: &mut Effects<W>) {
        let HealConfig { group, id, incarnation, .. } = self.config;
        let body = EnvelopeBody::HealAsk { incarnation, ask };
        out.send.push(Envelope { group, from: id, to, body });
    }
}

/// What the machine has need not be found. That of a witness has nothing to give, and what is sound of its log, before
/// a gap or after it, may be the last copy: it stays, unless the log is not what the machine went along with. Returns
/// whether the log is replaced.
fn cover_by_machine(salvage: &mut Salvage, machine: EntryId, is_witness: bool) -> bool {
    let is_of_log = salvage.name(machine.index) == Some(machine);
    !(is_witness && is_of_log) && salvage.cover(machine)
}

#[cfg(test)]
mod tests;
