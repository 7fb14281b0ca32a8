//! A group whose member heals: nothing of Raft runs, the rest of a group's door is there.

use quorate_raft::{Event, RoleKind, Status, Term, Time};

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
        };
        let healer = Healer::new(heal, salvage, machine, now);
        Self { config, node: node.clone(), healer, source: HealSource::default() }
    }

    /// Takes in what happened.
    pub(crate) fn step<W>(&mut self, now: Time, input: Input<W>, out: &mut Effects<W>) {
        match input {
            Input::Peer(envelope) => self.peer(now, envelope, out),
            Input::Propose { waiter, .. } | Input::Read { waiter, .. } => {
                out.failed.push((waiter, RequestError::NoLeader));
            }
            Input::Applied { feedback: Feedback::HealSnapshotReady(piece), .. } => {
                let (group, from, term) = (self.config.group, self.node.id, self.term());
                out.send.extend(self.source.answer(group, from, piece, term));
            }
            Input::Applied { feedback, .. } => self.healer.applied(now, feedback),
            Input::Durable { .. } | Input::Transfer { .. } | Input::Timeout => {}
            Input::Healed { .. } => unreachable!("the node begins the group"),
        }
    }

    fn peer<W>(&mut self, now: Time, envelope: Envelope, out: &mut Effects<W>) {
        let group = self.config.group;
        let from = envelope.from;
        if from == self.node.id || !self.config.membership.contains(from) {
            let reason = "the sender is not another member";
            return out.events.push((group, Event::Malformed { from, reason }));
        }
        match envelope.body {
            EnvelopeBody::HealAsk { incarnation, ask: HealAsk::Entries { lost: asked, .. } } => {
                // What is being written is not asked for twice, and the group is about to begin.
                if is_sensible(asked) && !self.healer.is_writing() {
                    let bytes_max = self.config.limits.append_bytes_max;
                    let found = self.healer.salvage().find(asked, bytes_max);
                    let way = (self.node.id, from);
                    out.send.push(entries_answer(group, way, incarnation, asked, found));
                }
            }
            EnvelopeBody::HealAsk { incarnation, ask: HealAsk::Snapshot { last, cursor } } => {
                if self.healer.machine().index.0 > 0 {
                    let until = now + reader_patience(self.config.election_timeout);
                    self.source.read(group, from, incarnation, (last, cursor), until, out);
                }
            }
            EnvelopeBody::HealAnswer(answer) => self.healer.answer(now, from, answer, out),
            // To be silent is always safe.
            EnvelopeBody::Raft(_) | EnvelopeBody::Forward(_) | EnvelopeBody::Refused(_) => {}
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
            rejoining: false,
            transferring: None,
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
    pub(crate) fn begin<W>(self, now: Time) -> Group<W> {
        let (recovered, machine) = self.healer.into_healed();
        Group::new(&self.node, self.config, recovered, machine, now)
    }
}
