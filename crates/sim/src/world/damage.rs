//! Damage of what is on disks, as far as the design promises to survive it.
//!
//! A fault that takes the last copy of something can't be survived by anybody, and one that never comes
//! near it shows little. So damage is done first, and then looked at: what is lost, and does another
//! member still have each piece of it? If not, it is undone before anybody has seen it. TigerBeetle
//! calls this an atlas of faults.
//!
//! What a damaged log has lost is read from the log itself, as the next start will read it. Should that be
//! wrong, the observer knows better.

use quorate_check::cluster::{self, Fact};
use quorate_node::can_heal;
use quorate_raft::{EntryId, Index, NodeId, Remembered};

use super::{Event, Outcome, Phase, World};
use crate::coverage::Fault;
use crate::engine::SharedEngine;
use crate::storage::standing;

impl World {
    /// Somebody goes down, and finds its storage damaged when it starts again.
    pub(super) fn damage_somebody(&mut self) -> Outcome {
        let Some(fault) = self.options.damage.filter(|_| self.phase == Phase::Faulty) else {
            return Ok(());
        };
        let node = *self.chance.pick(&self.ids());
        let place = &self.places[&node];
        // Of a member that is down already, the crash may have taken what tells of damage.
        if place.is_sound() && place.process.is_some() {
            let is_settled = self.chance.per_mille(600);
            if is_settled {
                self.places[&node].storage.settle();
            }
            self.crash(node)?;
            if self.chance.per_mille(700) {
                self.damage_log(node, is_settled)?;
            } else {
                self.lose_machine(node)?;
            }
            let down = self.chance.long_tailed(fault.lasts);
            let process = self.places[&node].processes;
            self.schedule(down, Event::Restart { node, process });
        }
        self.recur(Some(fault), Event::Damage);
        Ok(())
    }

    /// Sectors of the log of a member that is down go bad. Its mark had reached the disk, or not.
    fn damage_log(&mut self, node: NodeId, is_settled: bool) -> Outcome {
        let mut chance = self.chance.fork();
        let storage = &mut self.place(node).storage;
        let known = storage.look().ok().as_ref().and_then(standing);
        let before = storage.damage(&mut chance);
        let left = storage.look();
        let told = left.as_ref().ok().and_then(standing);
        let promised = self.invariants.cluster().member(node).durable.hard_state;
        if let (Some((end, _)), Some(told)) = (known, told)
            && !is_settled
            && end != told.0
            && told.1.keeps(promised)
        {
            // The mark of what was written last was lost in the same crash. For entries that is a fault too
            // many. A vote that was durable is known all the same.
            self.place(node).storage.put_disk(before);
            return Ok(());
        }
        if matches!(left, Ok(Remembered::Whole(_) | Remembered::Damaged(_))) {
            if !self.is_survivable(None) {
                self.place(node).storage.put_disk(before);
                return Ok(());
            }
            self.note(Fault::LogDamage, node);
            self.damaged(node, false)
        } else if self.can_lose_disk(node) {
            // Nobody knows what is missing, so it is as good as all.
            self.note(Fault::LogDamage, node);
            self.wipe(node)
        } else {
            self.place(node).storage.put_disk(before);
            Ok(())
        }
    }

    /// The state of a member that is down is gone.
    fn lose_machine(&mut self, node: NodeId) -> Outcome {
        let lost = SharedEngine::default();
        let before = std::mem::replace(&mut self.place(node).storage.engine, lost);
        if !self.is_survivable(None) {
            self.place(node).storage.engine = before;
            return Ok(());
        }
        self.note(Fault::MachineLost, node);
        self.damaged(node, true)
    }

    pub(super) fn damaged(&mut self, node: NodeId, machine: bool) -> Outcome {
        self.place(node).damaged = true;
        self.report.damaged += 1;
        let what = if machine { "its machine" } else { "sectors of its log" };
        self.trace.line(self.now, || format!("{node} loses {what}"));
        self.invariants.observe(Fact::Damaged { node, machine })
    }

    /// Whether a member may lose its disk: of what a quorum promised, some disk that was not lost has
    /// to know, and what the damaged ones lack, another has to have.
    pub(super) fn can_lose_disk(&self, node: NodeId) -> bool {
        let others = self.places.iter().filter(|(id, _)| **id != node);
        let sound = others.filter(|(_, place)| place.is_sound()).count();
        let left = self.ids().into_iter().filter(|id| *id != node && self.places[id].is_sound());
        sound > self.places.len() / 2
            && self.can_be_had_from(&left.collect())
            && self.is_survivable(Some(node))
    }

    /// Whether everybody who lacks something can get it from another, once this member has lost
    /// everything.
    pub(super) fn is_survivable(&self, gone: Option<NodeId>) -> bool {
        let cluster = self.invariants.cluster();
        let holders: Vec<Holder> = self
            .places
            .iter()
            .filter(|(id, place)| Some(**id) != gone && place.rejoining.is_none())
            .map(|(id, place)| {
                let log = match place.process {
                    // A member that heals has its disk as it was, and one that runs on a disk that is spoiled
                    // may crash before it knows.
                    Some(_) if place.is_sound() => {
                        Remembered::Whole(cluster.member(*id).durable.clone())
                    }
                    _ => place
                        .storage
                        .look()
                        .unwrap_or_else(|_| Remembered::Forgotten(Default::default())),
                };
                let heals = place.process.is_some() && !place.is_sound();
                let is_witness = self.is_witness(*id);
                Holder { id: *id, state: place.storage.engine.kept().0, is_witness, heals, log }
            })
            .collect();
        // What was never committed may be gone for good, once all others say that they never had it. One that
        // lost its disk can't say so, and one that lost the same entry says that it had it.
        let all_have_a_word =
            gone.is_none() && self.places.values().all(|place| place.rejoining.is_none());
        let is_committed =
            |id: EntryId| cluster.committed_at(id.index).is_some_and(|entry| entry.id == id);
        let can_be_given_up = |id: EntryId| {
            let losers = holders.iter().filter(|holder| holder.lacks().1.contains(&id)).count();
            all_have_a_word && !is_committed(id) && losers == 1
        };
        // What a witness has it may compact, but for its tail; and while it heals, what is before a gap.
        let keeps = |holder: &Holder, id: EntryId| {
            let may_give_up = || holder.heals && holder.lacks().1.iter().any(|lost| id < *lost);
            let stays = || self.tail_holds(holder.id, Index(id.index.0 - 1)) && !may_give_up();
            holder.has(id) && (!holder.is_witness || stays())
        };
        holders.iter().all(|needy| {
            let (begins, lost) = needy.lacks();
            let others = || holders.iter().filter(|other| other.id != needy.id);
            let can_heal = match &needy.log {
                Remembered::Damaged(log) => {
                    can_heal(&self.membership_of(needy.id), needy.id, log, needy.state)
                }
                Remembered::Whole(_) | Remembered::Forgotten(_) => true,
            };
            let is_reached =
                begins <= needy.state.index || others().any(|other| begins <= other.state().index);
            let has_copies = lost
                .iter()
                .filter(|id| !can_be_given_up(**id))
                .all(|id| id.index <= needy.state.index || others().any(|other| keeps(other, *id)));
            can_heal && is_reached && has_copies
        })
    }
}

/// What a member has of the log and of the state.
struct Holder {
    id: NodeId,
    /// How far its machine is.
    state: EntryId,
    /// Whether nothing is in that.
    is_witness: bool,
    /// Whether it is at work on what it lost, and may have heard from somebody who is lost since.
    heals: bool,
    log: Remembered,
}

impl Holder {
    /// Where its log begins, and which entries it lost.
    fn lacks(&self) -> (Index, Vec<EntryId>) {
        match &self.log {
            Remembered::Whole(log) => (log.base.index, Vec::new()),
            Remembered::Damaged(log) => {
                let names = |lost: &quorate_raft::Lost| {
                    let term = lost.last.term;
                    (lost.first.0..=lost.last.index.0)
                        .map(move |i| EntryId { term, index: Index(i) })
                };
                (log.base.index, log.lost.iter().flat_map(names).collect())
            }
            Remembered::Forgotten(_) => (Index(0), Vec::new()),
        }
    }

    /// How much of the state it can give to others.
    fn state(&self) -> EntryId {
        if self.is_witness { EntryId::ZERO } else { self.state }
    }

    /// Whether it has a committed entry, or its effect.
    fn has(&self, id: EntryId) -> bool {
        id.index <= self.state().index
            || match &self.log {
                Remembered::Whole(log) => cluster::at(log, id.index).is_some_and(|e| e.id == id),
                Remembered::Damaged(log) => log.entries.iter().any(|entry| entry.id == id),
                Remembered::Forgotten(_) => false,
            }
    }
}
