//! How a leader hands over: to whom it is asked to, or to whom it finds when its own disk is the slow one.

use quorate_planted::planted;

use crate::core::Core;
use crate::effects::Event;
use crate::leader::Leader;
use crate::message::Body;
use crate::types::{Index, NodeId, Time};

/// Leadership on its way to another member (thesis §3.10).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    pub(crate) give_up_at: Time,
    /// Whether the member was told to campaign, since the last heartbeat.
    pub(crate) told: bool,
}

/// How this member's disk stood against the others': see [`Leader::check_disk`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskCheck {
    /// What was committed.
    pub(crate) commit: Index,
    /// What was durable here.
    pub(crate) durable: Index,
    /// The most that any voter who could lead instead had durably.
    pub(crate) ahead: Index,
}

impl DiskCheck {
    /// As long as nobody has more than this member.
    pub(crate) fn nobody_ahead(core: &Core) -> Self {
        Self { commit: core.commit, durable: core.log.durable(), ahead: Index(0) }
    }
}

impl Leader {
    /// Begins to hand leadership to another voter.
    pub(crate) fn on_transfer(&mut self, core: &mut Core, to: NodeId) {
        let aborted = |reason| Event::TransferAborted { to, reason };
        if to == core.id {
            return core.report(aborted("it leads already"));
        }
        if !core.membership().voters.contains(&to) {
            return core.report(aborted("it has no vote"));
        }
        if core.membership().is_witness(to) {
            return core.report(aborted("it is a witness"));
        }
        let is_rejoining = self.peers.get(&to).is_some_and(|peer| peer.rejoining.is_some());
        if is_rejoining && !planted!(TransferToRejoining) {
            return core.report(aborted("it lost its disk and rejoins"));
        }
        match self.transfer {
            Some(transfer) if transfer.to == to => return,
            Some(_) => self.abort_transfer(core, "another transfer was asked for"),
            None => {}
        }
        let give_up_at = core.now + core.election.minimum();
        self.transfer = Some(Transfer { to, give_up_at, told: false });
        core.report(Event::TransferStarted { to });
        self.advance_transfer(core);
    }

    /// To whom leadership is being handed.
    pub(crate) fn transferring(&self) -> Option<NodeId> {
        self.transfer.map(|transfer| transfer.to)
    }

    /// Tells the member to campaign once its log equals this one: no vote then fails for its log.
    pub(crate) fn advance_transfer(&mut self, core: &mut Core) {
        let Some(transfer) = &mut self.transfer else { return };
        let Some(peer) = self.peers.get(&transfer.to) else { return };
        let is_level = peer.matched == core.log.last().index || planted!(TransferToLagging);
        if !transfer.told && is_level {
            transfer.told = true;
            self.tenure.give_up();
            core.send(transfer.to, Body::TimeoutNow);
        }
    }

    pub(crate) fn abort_transfer(&mut self, core: &mut Core, reason: &'static str) {
        if let Some(Transfer { to, .. }) = self.transfer.take() {
            core.report(Event::TransferAborted { to, reason });
        }
    }

    /// Of the other voters that are there and fit, the one that has most of the log.
    pub(crate) fn most_up_to_date(&self, core: &Core) -> Option<NodeId> {
        let voters = self.peers().filter(|(id, _)| core.membership().may_lead(*id));
        let able = voters.filter(|(_, peer)| self.is_able(peer));
        let fit = able.filter(|(id, _)| !core.unfit.contains(id));
        fit.max_by_key(|(_, peer)| peer.matched).map(|(id, _)| id)
    }

    /// Hands over if this member's disk is the slow one, which shows in either of two ways. What a
    /// quorum had an election timeout ago is still not on it: the group would go on committing, and
    /// every answer to a client would wait for this disk. Or it made nothing durable for an election
    /// timeout, while another voter has had more all that time: the group may need this disk for
    /// its quorum, and then nothing at all is committed. Where all disks are slow nobody is ahead of
    /// this one, so leadership does not wander; and where the host advises against all that are ahead,
    /// nobody is asked. Returns whether it begins to hand over.
    pub(crate) fn check_disk(&mut self, core: &mut Core) -> bool {
        let durable = core.log.durable();
        let voters = self.peers().filter(|(id, _)| core.membership().may_lead(*id));
        let able = voters.filter(|(_, peer)| {
            (self.is_active(peer) || planted!(TransferToSilent)) && peer.rejoining.is_none()
        });
        let fit = able.filter(|(id, _)| !core.unfit.contains(id) || planted!(SlowDiskToUnfit));
        let best = fit.max_by_key(|(_, peer)| peer.matched).map(|(id, peer)| (id, peer.matched));
        let before = core::mem::replace(
            &mut self.disk_check,
            DiskCheck {
                commit: core.commit,
                durable,
                ahead: best.map_or(Index(0), |(_, matched)| matched),
            },
        );
        let stands =
            durable == before.durable && durable < before.ahead && !planted!(NeededDiskLeads);
        let is_slow = durable < before.commit || stands;
        if !is_slow || self.transfer.is_some() || planted!(SlowDiskLeads) {
            return false;
        }
        let Some((to, _)) = best else { return false };
        core.report(Event::DiskIsSlow { term: core.term() });
        self.on_transfer(core, to);
        true
    }
}
