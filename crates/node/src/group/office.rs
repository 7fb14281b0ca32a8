//! What a leader does about who is to lead after it: it tells the algorithm whom not to choose, and finds out to whom
//! the lead is to go, when somebody asks for that, or nobody does (`lead.rs`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use quorate_planted::planted;
use quorate_raft::{Index, NodeId, PeerStatus, ProgressKind, Raft, Status, Time};

use super::settings::Settings;
use crate::detector::Detector;
use crate::lead::{Candidate, Lead};

/// See the module.
#[derive(Debug)]
pub(super) struct Office {
    /// Whether the lead belongs to another member.
    lead: Lead,
    /// When a leader looks at that again.
    look_at: Time,
    commits: Commits,
    /// Whom the algorithm was told not to hand over to unasked.
    unfit: Vec<NodeId>,
}

/// What was committed when a leader looked around.
#[derive(Clone, Copy, Debug)]
struct Commits {
    /// The time before the last.
    earlier: Index,
    /// The last time.
    latest: Index,
}

/// What is to be remembered of an [`Office`] while nothing happens. Whom the algorithm was told of, it knows itself.
#[derive(Clone, Debug)]
pub(super) struct OfficeAsleep {
    /// Where the lead belongs, if that is anything to remember.
    lead: Option<Box<Lead>>,
    look_at: Time,
    commits: Commits,
}

impl Office {
    pub(super) fn new(settings: &Settings, commit: Index, now: Time) -> Self {
        Self {
            lead: settings.lead(),
            look_at: now,
            commits: Commits { earlier: commit, latest: commit },
            unfit: Vec::new(),
        }
    }

    /// What is to be remembered.
    pub(super) fn asleep(&self, settings: &Settings) -> OfficeAsleep {
        let lead = (self.lead != settings.lead()).then(|| Box::new(self.lead.clone()));
        OfficeAsleep { lead, look_at: self.look_at, commits: self.commits }
    }

    /// The one that remembers this.
    pub(super) fn woken(asleep: OfficeAsleep, unfit: &[NodeId], settings: &Settings) -> Self {
        let OfficeAsleep { lead, look_at, commits } = asleep;
        let lead = lead.map_or_else(|| settings.lead(), |lead| *lead);
        Self { lead, look_at, commits, unfit: unfit.into() }
    }

    /// A client asks something of this member.
    pub(super) fn asked(&mut self) {
        self.lead.asked();
    }

    /// A member sends on what its client asked.
    pub(super) fn asked_of(&mut self, member: NodeId) {
        self.lead.asked_of(member);
    }

    /// This member does not lead.
    pub(super) fn pauses(&mut self) {
        self.lead.pauses();
    }

    /// Whom the detector does not find good, if the algorithm of this leader is to be told.
    pub(super) fn unfit(
        &mut self,
        settings: &Settings,
        raft: &Raft,
        detector: &Detector,
    ) -> Option<Vec<NodeId>> {
        let others = raft.membership().voters.iter().copied().filter(|id| *id != settings.node);
        let unfit = others.filter(|id| !detector.is_good(*id));
        if unfit.clone().eq(self.unfit.iter().copied()) || planted!(SlowDiskToGray) {
            return None;
        }
        self.unfit = unfit.collect();
        Some(self.unfit.clone())
    }

    /// Looks around, as a leader does before it acts. Returns who is to have the lead now, if that belongs to another
    /// member.
    pub(super) fn look(
        &mut self,
        now: Time,
        settings: &Settings,
        raft: &Raft,
        detector: &Detector,
    ) -> Option<NodeId> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + settings.heartbeat_interval;
        let status = raft.status();
        self.commits = Commits { earlier: self.commits.latest, latest: status.commit };
        if raft.transferring().is_some() || raft.membership().is_joint() {
            self.lead.pauses();
            return None;
        }
        let candidates: Vec<Candidate> = fit(&status, raft, detector)
            .filter(|peer| detector.is_active(peer.id))
            .map(|peer| Candidate {
                id: peer.id,
                priority: detector.priority(peer.id),
                is_level: self.is_level(peer) || planted!(LeadToLagging),
            })
            .collect();
        self.lead.look(now, candidates.iter().copied())
    }

    /// The best of the voters that speak as they should: of those that are level the one of the highest priority, and
    /// else the one whose log reaches furthest. Never one that is silent, leaves or rejoins: with nobody else
    /// there, nobody.
    pub(super) fn best(&self, raft: &Raft, detector: &Detector) -> Option<NodeId> {
        let status = raft.status();
        let rank = |peer: &&PeerStatus| {
            let priority = self.is_level(peer).then(|| detector.priority(peer.id));
            (detector.is_active(peer.id), priority, peer.matched)
        };
        fit(&status, raft, detector).max_by_key(rank).map(|peer| peer.id)
    }

    /// Whether a voter has a higher priority than this member, be it fit or not.
    pub(super) fn belongs_to_another(
        &self,
        settings: &Settings,
        raft: &Raft,
        detector: &Detector,
    ) -> bool {
        let members = raft.membership();
        let is_another = |id: &&NodeId| **id != settings.node && !members.is_witness(**id);
        let mut others = members.voters.iter().filter(is_another);
        others.any(|id| detector.priority(*id) > self.lead.own())
    }

    /// Whether a member has what was committed a heartbeat or two ago, on its disk: it catches up with the rest
    /// in a moment, and that is for how long a group takes nothing while it is handed over.
    fn is_level(&self, peer: &PeerStatus) -> bool {
        peer.progress == ProgressKind::Replicate && peer.matched >= self.commits.earlier
    }
}

/// The voters who could lead instead of this leader, as far as anybody can tell.
fn fit<'a>(
    status: &'a Status,
    raft: &'a Raft,
    detector: &'a Detector,
) -> impl Iterator<Item = &'a PeerStatus> {
    let members = raft.membership();
    status.peers.iter().filter(move |peer| {
        let is_there = peer.active && detector.is_good(peer.id) || planted!(LeadToGray);
        let may_lead = members.voters.contains(&peer.id) && !members.is_witness(peer.id);
        is_there && !peer.rejoining && may_lead
    })
}
