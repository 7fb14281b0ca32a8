//! A group whose member heals: nothing of Raft runs, the rest of a group's door is there.

use quorate_planted::planted;
use quorate_raft::{Event, Membership, RoleKind, Status, Term, Time};

use crate::effects::{Effects, Envelope, EnvelopeBody, Feedback, HealAsk, Input, RequestError};
use crate::group::{Group, GroupConfig};
use crate::heal::{HealConfig, Healer};
use crate::heal_source::{HealSource, entries_answer, is_sensible, reader_patience};
use crate::node::NodeConfig;
use crate::status::{GroupStatus, Healing};

/// See the module.
#[derive(Debug)]
pub(crate) struct HealingGroup {
    config: GroupConfig,
    node: NodeConfig,
    healer: Healer,
    source: HealSource,
}

impl HealingGroup {
    pub(crate) fn new(
        node: &NodeConfig,
        config: GroupConfig,
        salvage: quorate_raft::Salvage,
        machine: quorate_raft::EntryId,
        now: Time,
    ) -> Self {
        let heal = HealConfig {
            group: config.group,
            id: node.id,
            incarnation: node.incarnation,
            membership: config.membership.clone(),
            patience: config.election_timeout,
            is_witness: config.witness,
        };
        let healer = Healer::new(heal, salvage, machine, now);
        Self { config, node: node.clone(), healer, source: HealSource::default() }
    }

    /// Takes in what happened.
    pub(crate) fn step<W>(&mut self, now: Time, input: Input<W>, out: &mut Effects<W>) {
        match input {
            Input::Peer(envelope) => self.peer(now, envelope, out),
            Input::Propose { waiter, .. }
            | Input::Read { waiter, .. }
            | Input::Change { waiter, .. } => {
                out.failed.push((waiter, RequestError::NoLeader));
            }
            Input::Applied { feedback: Feedback::HealSnapshotReady(piece), .. } => {
                let (group, from, term) = (self.config.group, self.node.id, self.term());
                out.send.extend(self.source.answer(group, from, piece, term));
            }
            Input::Applied { feedback, .. } => self.healer.applied(now, feedback),
            Input::Durable { .. } | Input::Transfer { .. } | Input::Timeout => {}
            Input::Healed { .. } | Input::Node(_) => unreachable!("the node keeps it to itself"),
        }
    }

    fn peer<W>(&mut self, now: Time, envelope: Envelope, out: &mut Effects<W>) {
        let group = self.config.group;
        let from = envelope.from;
        let is_known = matches!(envelope.body, EnvelopeBody::Raft(_))
            || self.healer.membership().contains(from);
        if from == self.node.id || !is_known {
            let reason = "the sender is not another member";
            return out.events.push((group, Event::Malformed { from, reason }));
        }
        match envelope.body {
            EnvelopeBody::HealAsk { incarnation, ask: HealAsk::Entries { lost: asked, .. } } => {
                // What is being written is not asked for twice, and the group is about to begin.
                if is_sensible(asked) && !self.healer.is_writing() {
                    let bytes_max = self.config.limits.append_bytes_max;
                    let mut found = self.healer.salvage().find(asked, bytes_max);
                    // What a member that lost its disk never got anew it may have had before.
                    if self.config.rejoining.is_some() && !planted!(LostDiskIsNeverHad) {
                        found.word = None;
                    }
                    // What is before the log is in no machine, if that was lost.
                    if self.healer.machine().index < found.base.index {
                        found.base = self.healer.machine();
                    }
                    let way = (self.node.id, from);
                    out.send.push(entries_answer(group, way, incarnation, asked, found));
                }
            }
            EnvelopeBody::HealAsk { incarnation, ask: HealAsk::Snapshot { last, cursor } } => {
                if self.healer.machine().index.0 > 0 && !self.config.witness {
                    let until = now + reader_patience(self.config.election_timeout);
                    self.source.read(group, from, incarnation, (last, cursor), until, out);
                }
            }
            EnvelopeBody::HealAnswer(answer) => self.healer.answer(now, from, answer, out),
            // To be silent is always safe.
            EnvelopeBody::Raft(_)
            | EnvelopeBody::Forward(_)
            | EnvelopeBody::Refused(_)
            | EnvelopeBody::Returned(_)
            | EnvelopeBody::Beat { .. } => {}
        }
    }

    /// Does what time asks for.
    pub(crate) fn flush<W>(&mut self, now: Time, out: &mut Effects<W>) {
        self.healer.flush(now, out);
        self.source.expire(self.config.group, now, out);
    }

    /// When [`HealingGroup::flush`] has something to do without any input.
    pub(crate) fn deadline(&self) -> Time {
        self.healer.deadline().min(self.source.deadline())
    }

    /// Who belongs to the group, as far as it is known.
    pub(crate) fn membership(&self) -> &Membership {
        self.healer.membership()
    }

    fn term(&self) -> Term {
        self.healer.salvage().hard_state.term
    }

    /// What it looks like from outside: a follower that knows no leader.
    pub(crate) fn status(&self) -> GroupStatus {
        let salvage = self.healer.salvage();
        let machine = self.healer.machine().index;
        let raft = Status {
            id: self.node.id,
            group: self.config.group,
            term: salvage.hard_state.term,
            vote: salvage.hard_state.vote,
            leader: None,
            role: RoleKind::Follower,
            commit: machine,
            applied: machine,
            last: salvage.last,
            durable: salvage.last.index,
            base: salvage.base,
            log_bytes: 0,
            rejoining: self.config.rejoining.is_some(),
            membership_since: salvage.base.index,
            leased: false,
            transferring: None,
            quiet: false,
            peers: alloc::vec::Vec::new(),
        };
        let healing =
            Healing { missing: salvage.missing(), machine_is_behind: machine < salvage.base.index };
        GroupStatus {
            group: self.config.group,
            raft,
            healing: Some(healing),
            pending_commands: 0,
            pending_reads: 0,
        }
    }

    /// The group that begins now that all is there.
    pub(crate) fn begin<W>(mut self, now: Time) -> Group<W> {
        let (recovered, machine, membership) = self.healer.into_healed();
        self.config.membership = membership;
        Group::new(&self.node, self.config, recovered, machine, now)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use quorate_raft::{EntryId, Found, GroupId, Index, Limits, Lost, NodeId, Salvage, Word};

    use super::*;
    use crate::effects::{Heal, HealAnswer};

    const GROUP: GroupId = GroupId(1);

    /// What a member that heals says to another one, which lost entries that this one does not have.
    fn word(rejoining: bool) -> Option<Word> {
        let own = Lost { first: Index(1), last: EntryId::new(1, 1) };
        let salvage = Salvage { last: own.last, lost: [own].into(), ..Salvage::default() };
        let found = found(salvage, EntryId::ZERO, rejoining);
        assert_eq!(found.held_to, Index(1), "it does not have them");
        found.word
    }

    /// What it says that has this.
    fn found(salvage: Salvage, machine: EntryId, rejoining: bool) -> Found {
        let node = NodeConfig {
            id: NodeId(2),
            incarnation: 1,
            seed: 1,
            request_timeout: Duration::from_secs(1),
            command_bytes_max: 1 << 10,
            pending_max: 1,
            pending_bytes_max: 1 << 10,
            leader_priority: crate::Priority::default(),
        };
        let config = GroupConfig {
            group: GROUP,
            membership: Membership::of_voters([1, 2, 3].map(NodeId)),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            election_policy: quorate_raft::ElectionPolicy::Fixed,
            quiet_after: None,
            rejoining: rejoining.then_some(quorate_raft::DiskId(1)),
            lease: None,
            witness: false,
            limits: Limits::default(),
        };
        let mut group = HealingGroup::new(&node, config, salvage, machine, Time(0));
        assert_eq!(group.status().raft.rejoining, rejoining);
        let lost = Lost { first: Index(2), last: EntryId::new(1, 3) };
        let body =
            EnvelopeBody::HealAsk { incarnation: 1, ask: HealAsk::Entries { lost, term: Term(1) } };
        let envelope = Envelope { group: GROUP, from: NodeId(1), to: NodeId(2), body };
        let mut out = Effects::<()>::default();
        group.step(Time(0), Input::Peer(envelope), &mut out);
        let answers = out.send.into_iter().filter_map(|envelope| match envelope.body {
            EnvelopeBody::HealAnswer(HealAnswer { body: Heal::Entries { found, .. }, .. }) => {
                Some(found)
            }
            _ => None,
        });
        answers.collect::<Vec<_>>().pop().expect("it answers")
    }

    #[test]
    fn a_member_that_lost_its_disk_and_heals_has_no_word() {
        assert_eq!(word(false), Some(Word::Follower(Term(0))));
        assert_eq!(word(true), None, "it may have held them and acknowledged them");
    }

    #[test]
    fn a_member_that_lost_its_machine_has_nothing_of_what_is_before_its_log() {
        let base = EntryId::new(1, 5);
        let log = Salvage { base, last: base, ..Salvage::default() };
        for machine in [EntryId::ZERO, EntryId::new(1, 4)] {
            let found = found(log.clone(), machine, false);
            assert_eq!((found.base, found.held_to), (machine, Index(5)), "yet it had them");
        }
        assert_eq!(found(log, base, false).base, base);
    }
}
