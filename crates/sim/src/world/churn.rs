//! Members that come and go, again and again, and in the end all belong to the group.

use std::time::Duration;

use quorate_node::{Desired, Input, Replacement, Step};
use quorate_raft::{Membership, NodeId, Payload, RoleKind};

use super::{Outcome, Phase, World};
use crate::oracle::RequestId;
use crate::process::GROUP;

/// Tells the source of who comes and goes from the others of a seed.
pub(super) const CHURN: u64 = 0x0063_6875_726e;

/// Stands for whoever asks for other members. What comes of it is seen, and not heard.
pub(super) const CHANGE: RequestId = RequestId(u64::MAX);

impl World {
    pub(super) fn begin_churn(&mut self) {
        if let Some(every) = self.options.churn_every {
            let after = self.churn.long_tailed(every);
            self.schedule(after, super::Event::Churn);
        }
        if self.options.reconciles || self.options.replace_after.is_some() {
            self.schedule(self.options.heartbeat, super::Event::Reconcile);
        }
    }

    /// Who belongs to the group as of what a member's machine holds on its disk.
    pub(super) fn membership_of(&self, id: NodeId) -> Membership {
        let (_, kept) = self.places[&id].storage.engine.kept();
        let kept = kept.map(|kept| Membership::decode(&kept).expect("a membership was kept"));
        kept.unwrap_or_else(|| self.all_voters())
    }

    /// Whoever leads, as far as they know, is asked for other members.
    pub(super) fn churn(&mut self) -> Outcome {
        let Some(every) = self.options.churn_every.filter(|_| self.phase == Phase::Faulty) else {
            return Ok(());
        };
        self.renew_somebody(every)?;
        for leader in self.leaders() {
            let wanted = self.other_members(leader);
            if self.options.reconciles {
                self.desired = wanted.is_possible().then(|| wanted.into());
            } else {
                self.ask_for(leader, wanted);
            }
        }
        let after = self.churn.long_tailed(every);
        self.schedule(after, super::Event::Churn);
        Ok(())
    }

    /// Somebody who does not belong to the group gets a new disk: with it, it is a member that the group has never
    /// had.
    fn renew_somebody(&mut self, every: Duration) -> Outcome {
        let ids = self.ids();
        let node = *self.churn.pick(&ids);
        if !self.churn.per_mille(300) || self.may_belong(node) {
            return Ok(());
        }
        self.crash(node)?;
        self.wipe(node)?;
        let down = self.churn.long_tailed(every);
        let process = self.places[&node].processes;
        self.schedule(down, super::Event::Restart { node, process });
        Ok(())
    }

    /// Every leader looks whether a voter has failed for long, and takes its next step toward the desired members.
    pub(super) fn reconcile(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let now = self.now;
        for id in self.ids() {
            let place = self.place(id);
            let local = place.clock.read(now);
            let process = place.process.as_mut().filter(|_| place.paused.is_none());
            if let Some(found) = process.and_then(|process| process.replacement(local)) {
                let Replacement { failed, spare, members } = found;
                self.report.replaced += 1;
                self.trace.line(now, || format!("{id} replaces {failed} by {spare}"));
                self.replacing = Some(members.clone());
                self.ask_for(id, members);
            }
        }
        if let Some(desired) = self.desired.clone() {
            for leader in self.leaders() {
                self.step_toward(leader, &desired);
            }
        }
        self.schedule(self.options.heartbeat, super::Event::Reconcile);
    }

    /// A membership was committed: counts the spare that took somebody's place by it, if one did.
    pub(super) fn members_committed(&mut self, members: &Membership) {
        if self.replacing.as_ref().is_some_and(|replacing| are_these(members, replacing)) {
            self.report.took_over += 1;
            self.replacing = None;
        }
    }

    /// Asks a leader for the next step toward these members, if one can be taken now.
    fn step_toward(&mut self, leader: NodeId, desired: &Desired) {
        let process = self.places[&leader].process.as_ref().expect("it leads");
        if let Step::Change(next) = process.toward(desired) {
            self.ask_for(leader, next);
        }
    }

    /// Whether a membership that counts, or may come to, has this member.
    fn may_belong(&self, id: NodeId) -> bool {
        let cluster = self.invariants.cluster();
        let committed = cluster.memberships.last().map(|(_, membership)| membership);
        let known = cluster.committed.len() as u64;
        let told = cluster.members.values().flat_map(|member| &member.issued.entries);
        let told = told.filter(|entry| known < entry.id.index.0).filter_map(|entry| {
            match &entry.payload {
                Payload::Membership(membership) => Some(&**membership),
                Payload::Noop | Payload::Command(_) => None,
            }
        });
        committed.into_iter().chain(told).any(|membership| membership.contains(id))
    }

    fn leaders(&self) -> Vec<NodeId> {
        let leads = |id: &NodeId| {
            let process = self.places[id].process.as_ref();
            process.is_some_and(|process| process.status().role == RoleKind::Leader)
        };
        self.ids().into_iter().filter(leads).collect()
    }

    pub(super) fn ask_for(&mut self, leader: NodeId, membership: Membership) {
        let change = Input::Change { group: GROUP, membership, waiter: CHANGE };
        self.post(leader, change);
    }

    /// Others than now. Who does not belong to the group comes as a learner first, as a rule.
    fn other_members(&mut self, leader: NodeId) -> Membership {
        let process = self.places[&leader].process.as_ref().expect("it leads");
        let now = process.membership().clone();
        let mut wanted = Membership::default();
        if self.options.replace_after.is_some() {
            // Most vote, so that voters fail, and the others are there to take their places.
            for id in self.ids() {
                let votes = now.contains(id) && self.churn.per_mille(700);
                if votes { &mut wanted.voters } else { &mut wanted.learners }.insert(id);
            }
            wanted.witnesses = self.witnesses_of(&wanted);
            return wanted;
        }
        for id in self.ids() {
            let has_vote = now.is_voter(id);
            match self.churn.below(10) {
                0..6 if has_vote => drop(wanted.voters.insert(id)),
                0..5 if now.contains(id) => drop(wanted.voters.insert(id)),
                0..8 => drop(wanted.learners.insert(id)),
                8.. if self.churn.per_mille(50) => drop(wanted.voters.insert(id)),
                _ => {}
            }
            if wanted.contains(id) && self.churn.per_mille(500) {
                wanted.about.insert(id, format!("{id} of {leader}").into());
            }
        }
        wanted.witnesses = self.witnesses_of(&wanted);
        wanted
    }

    /// Sees that all members become voters.
    pub(super) fn bring_all_back(&mut self) {
        if self.options.churn_every.is_none() || self.phase != Phase::Whole {
            return;
        }
        let all = self.all_voters().into();
        for leader in self.leaders() {
            self.step_toward(leader, &all);
        }
    }

    /// Whether all are voters again, where members came and went, and all of them know it.
    pub(super) fn all_belong(&self) -> bool {
        let all = self.all_voters();
        self.phase != Phase::Whole
            || self.options.churn_every.is_none()
            || self.places.values().all(|place| {
                place.process.as_ref().is_some_and(|process| are_these(process.membership(), &all))
            })
    }
}

/// Whether these have the votes of those, and no change is under way.
fn are_these(now: &Membership, these: &Membership) -> bool {
    (&now.voters, &now.outgoing, &now.learners) == (&these.voters, &these.outgoing, &these.learners)
}
