//! How a leader changes who belongs to the group (see `membership.rs`).
//!
//! One change at a time: the next is refused until the last membership is committed and not joint. And none
//! before an entry of this term is committed: until then the leader can't know that the membership before
//! it is, and two leaders in turn could each change one that the other never committed, with majorities that
//! need not meet (D. Ongaro, raft-dev, July 2015).
//!
//! A member that leaves is told of it: it gets the log until it has what removed it and knows that that is
//! committed, or is silent. One that was not told is no harm, as nobody who hears of a leader helps to depose
//! it, but it would campaign for ever. A leader that leaves goes on until then, without counting itself, and
//! hands over to whoever is most up to date.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use quorate_planted::planted;

use crate::core::Core;
use crate::effects::{ChangeError, SnapshotRequest};
use crate::leader::Leader;
use crate::membership::Membership;
use crate::message::Payload;
use crate::progress::{CountsFrom, Peer, Progress};
use crate::quorum;
use crate::types::{DiskId, Index, NodeId};

impl Leader {
    /// Begins a change, if it may be: see [`ChangeError`].
    pub(crate) fn on_change(
        &mut self,
        core: &mut Core,
        mut wanted: Membership,
    ) -> Result<Index, ChangeError> {
        if let Some(to) = self.transferring() {
            return Err(ChangeError::Transferring(to));
        }
        wanted.disks = self.disks(core, &wanted);
        self.may_change(core, &wanted)?;
        let next = core.membership().toward(wanted);
        Ok(self.append_membership(core, next))
    }

    fn may_change(&self, core: &Core, wanted: &Membership) -> Result<(), ChangeError> {
        let now = core.membership();
        if !self.is_commit_known() && !planted!(ChangeBeforeFirstCommit) {
            return Err(ChangeError::NotReady);
        }
        let is_over = core.is_membership_committed() && !now.is_joint();
        if !is_over && !planted!(ChangesOverlap) {
            return Err(ChangeError::InProgress);
        }
        if wanted.is_joint() || !wanted.is_possible() || !now.keeps_witnesses(wanted) {
            return Err(ChangeError::Impossible);
        }
        if wanted.members().len() > Membership::MEMBERS_MAX {
            return Err(ChangeError::TooMany);
        }
        if wanted == now {
            return Err(ChangeError::Unchanged);
        }
        let mut new = wanted.voters.iter().filter(|id| !now.is_voter(**id));
        if let Some(behind) = new.find(|id| !self.has_caught_up(core, **id)) {
            return Err(ChangeError::NotCaughtUp(*behind));
        }
        let is_there = |id| id == core.id || self.would_count(wanted, id);
        // A quorum of witnesses has nobody to lead it, and no copy of the state.
        let can_lead = |id: &NodeId| wanted.may_lead(*id) && is_there(*id);
        let has_leader = wanted.voters.iter().any(can_lead) || planted!(LeftToWitnesses);
        if !quorum::has_quorum(wanted, is_there) || !has_leader {
            return Err(ChangeError::LosesQuorum);
        }
        Ok(())
    }

    /// The disks of these voters: of those that stay as before, and of the others what they say now.
    fn disks(&self, core: &Core, wanted: &Membership) -> BTreeMap<NodeId, DiskId> {
        let now = core.membership();
        let disk = |id: &NodeId| match now.is_voter(*id) {
            true => now.disks.get(id).copied(),
            false => self.peer(*id).and_then(|peer| peer.matched_on),
        };
        wanted.voters.iter().filter_map(|id| Some((*id, disk(id)?))).collect()
    }

    /// Whether a member is there, and its word counts with this membership.
    fn would_count(&self, membership: &Membership, id: NodeId) -> bool {
        self.peer(id)
            .is_some_and(|peer| self.is_active(peer) && membership.counts(id, peer.rejoining))
    }

    /// Whether a learner has nearly all there is: what it lacks fits into one append. It has to have what made it
    /// one, as that is what no disk of it had before.
    pub(crate) fn has_caught_up(&self, core: &Core, id: NodeId) -> bool {
        if planted!(PromotedUncaught) {
            return core.membership().contains(id);
        }
        core.membership().learners.contains(&id)
            && self.peer(id).is_some_and(|peer| {
                self.is_active(peer)
                    && core.memberships.since() <= peer.matched
                    && matches!(peer.progress, Progress::Replicate(_))
                    && core.log.bytes_after(peer.matched) <= core.limits.append_bytes_max
            })
    }

    /// Appends a membership, which counts at once, and sends it on.
    fn append_membership(&mut self, core: &mut Core, membership: Membership) -> Index {
        let payload = Payload::Membership(membership.into());
        self.count_uncommitted(payload.cost());
        let next = core.log.last().index.next();
        let before = core.membership().clone();
        core.append_own([payload]);
        let round = self.reads.next_round();
        for id in core.membership().members() {
            if id == core.id {
                continue;
            }
            if !before.contains(id) {
                // Of one that comes again, nothing is known.
                self.forget(core, id);
            }
            let peer = self.peers_mut().get_or_insert_with(id, || Peer::new(next));
            let disk = core.membership().disks.get(&id);
            if disk.is_some() && disk != before.disks.get(&id) && !planted!(OldDiskCounts) {
                // Until here, what is heard of it may have been said with another disk.
                peer.count_from(CountsFrom { index: next, round });
                self.tenure.forget(id);
            }
        }
        self.replicate(core);
        next
    }

    /// Does what follows from what is committed now: leaves the joint membership, or hands over if this member
    /// does not belong to the group any more.
    pub(crate) fn advance_change(&mut self, core: &mut Core) {
        if !core.is_membership_committed() || !self.is_commit_known() {
            return;
        }
        if core.membership().is_joint() {
            if !planted!(JointForEver) {
                let settled = core.membership().settled();
                self.append_membership(core, settled);
            }
            return;
        }
        if !core.membership().is_voter(core.id)
            && self.transferring().is_none()
            && let Some(to) = self.most_up_to_date(core)
        {
            self.on_transfer(core, to);
        }
    }

    /// Forgets those who left and know it, or are silent.
    pub(crate) fn forget_departed(&mut self, core: &mut Core) {
        let (since, is_over) = (core.memberships.since(), core.is_membership_committed());
        let departed: Vec<NodeId> = self
            .peers()
            .filter(|(id, _)| is_over && !core.membership().contains(*id))
            .filter(|(_, peer)| {
                since <= peer.commit_sent.min(peer.matched) || !self.is_active(peer)
            })
            .map(|(id, _)| id)
            .collect();
        for id in departed {
            self.forget(core, id);
        }
    }

    fn forget(&mut self, core: &mut Core, id: NodeId) {
        self.tenure.forget(id);
        let peer = self.peers_mut().remove(&id);
        if peer.is_some_and(|peer| matches!(peer.progress, Progress::Snapshot(_))) {
            core.effects.snapshots.push(SnapshotRequest::Release { to: id });
        }
    }
}
