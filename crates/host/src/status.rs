//! What a host says about itself, as plain data.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_node::{
    About, Desired, Detector, GroupView, PeerHealth, PeerState, Seen, Standing, Step, Waiting,
    reconcile,
};
use quorate_raft::{EntryId, GroupId, Index, Membership, NodeId, RoleKind, Status, Term};

/// A member's view of its group and of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// This member.
    pub id: NodeId,
    /// The cluster it belongs to.
    pub cluster_id: u64,
    /// What it tells the others about itself.
    pub about: Arc<About>,
    /// The group.
    pub group: GroupId,
    /// What it does in `term`.
    pub role: RoleKind,
    /// The latest term it has seen.
    pub term: Term,
    /// The leader of `term`, if known.
    pub leader: Option<NodeId>,
    /// The last entry of its log, durable or not.
    pub last: Index,
    /// The last entry known to be committed.
    pub commit: Index,
    /// The last entry that the state machine shows.
    pub applied: Index,
    /// The last entry that the state machine would keep through a crash.
    pub applied_durable: Index,
    /// Who belongs to the group, as far as this member's log tells.
    pub membership: Arc<Membership>,
    /// The entry since which that counts; [`HostStatus::is_changing`] until it is committed.
    pub membership_since: Index,
    /// Whether this member left the group, and knows that this is committed: it has nothing more to do.
    pub was_removed: bool,
    /// The other members, and those who are still told that they left, ascending.
    pub peers: Vec<PeerStatus>,
    /// Whether the host has stopped or stops; nothing here changes after.
    pub stopped: bool,
}

impl HostStatus {
    /// Whether this member leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.id)
    }

    /// Whether this member belongs to the group.
    #[must_use]
    pub fn belongs(&self) -> bool {
        self.membership.contains(self.id)
    }

    /// Whether a change of members is under way: the next one has to wait.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.membership.is_joint() || self.commit < self.membership_since
    }

    /// What this member knows of one of the group, itself perhaps, when members change; nothing unless it leads.
    #[must_use]
    pub fn standing(&self, id: NodeId) -> Standing {
        match self.peers.iter().find(|peer| peer.id == id) {
            Some(peer) => peer.standing,
            None if id == self.id && self.is_leader() => Standing::OWN,
            None => Standing::default(),
        }
    }

    /// The group as this member sees it, for a [`Replacer`](quorate_node::Replacer); worth something only if it leads.
    #[must_use]
    pub fn group_view(&self) -> GroupView<'_> {
        let state = |id| {
            let peer = self.peers.iter().find(|peer| peer.id == id);
            peer.map_or(PeerState::Idle, |peer| peer.health.state)
        };
        let seen = |id| (id, Seen { state: state(id), standing: self.standing(id) });
        let seen = self.membership.members().into_iter().map(seen).collect();
        GroupView { members: &self.membership, is_settled: !self.is_changing(), seen }
    }

    /// What is to be done next so that these become the members, as this member sees it: see
    /// [`quorate_node::reconcile`].
    #[must_use]
    pub fn toward(&self, desired: &Desired) -> Step {
        if !self.is_leader() {
            return Step::Wait(Waiting::Leader(self.leader));
        }
        let standing = |id| self.standing(id);
        reconcile::step(&self.membership, !self.is_changing(), desired, standing)
    }

    /// A member that has not looked around yet.
    pub(crate) fn new(
        id: NodeId,
        cluster_id: u64,
        group: GroupId,
        applied: EntryId,
        membership: Arc<Membership>,
        about: Arc<About>,
    ) -> Self {
        let mut peers = membership.members();
        peers.remove(&id);
        Self {
            id,
            cluster_id,
            about,
            group,
            role: RoleKind::Follower,
            term: Term(0),
            leader: None,
            last: applied.index,
            commit: applied.index,
            applied: applied.index,
            applied_durable: applied.index,
            membership,
            membership_since: applied.index,
            was_removed: false,
            peers: peers
                .into_iter()
                .map(|id| PeerStatus {
                    id,
                    connected: false,
                    matched: None,
                    active: None,
                    standing: Standing::default(),
                    health: PeerHealth::unknown(id),
                })
                .collect(),
            stopped: false,
        }
    }

    /// The same member, now.
    pub(crate) fn next(
        &self,
        raft: &Status,
        applied_durable: Index,
        (membership, peers): (&Arc<Membership>, &BTreeSet<NodeId>),
        connected: &BTreeSet<NodeId>,
        detector: &Detector,
    ) -> Self {
        let peer = |&id: &NodeId| {
            let progress = raft.peers.iter().find(|peer| peer.id == id);
            PeerStatus {
                id,
                connected: connected.contains(&id),
                matched: progress.map(|peer| peer.matched),
                active: progress.map(|peer| peer.active),
                standing: progress.map_or(Standing::default(), |it| Standing::of(it, detector)),
                health: detector.peer(id).unwrap_or(PeerHealth::unknown(id)),
            }
        };
        Self {
            id: self.id,
            cluster_id: self.cluster_id,
            about: Arc::clone(&self.about),
            group: self.group,
            role: raft.role,
            term: raft.term,
            leader: raft.leader,
            last: raft.last.index,
            commit: raft.commit,
            applied: raft.applied,
            applied_durable,
            membership: Arc::clone(membership),
            membership_since: raft.membership_since,
            was_removed: self.was_removed,
            peers: peers.iter().map(peer).collect(),
            stopped: self.stopped,
        }
    }

    /// Whether more changed than positions in the log.
    pub(crate) fn is_notable_after(&self, before: &Self) -> bool {
        let look = |status: &Self| {
            let look = |peer: &PeerStatus| (peer.id, peer.connected, peer.health.state);
            status.peers.iter().map(look).collect::<Vec<(NodeId, bool, PeerState)>>()
        };
        let changes = |status: &Self| (status.membership_since, status.is_changing());
        let rest = |s: &Self| (s.role, s.term, s.leader, s.stopped, s.was_removed);
        rest(self) != rest(before)
            || changes(self) != changes(before)
            || !Arc::ptr_eq(&self.membership, &before.membership)
            || look(self) != look(before)
    }
}

/// A peer, as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// The last position up to which its log is known to equal ours and to be durable; known to a
    /// leader only.
    pub matched: Option<Index>,
    /// Whether a leader heard from it within the last one to two election timeouts; known to a
    /// leader only.
    pub active: Option<bool>,
    /// What it can be relied on for when members change; nothing unless this member leads.
    pub standing: Standing,
    /// Whether it seems to be there, since when, and what it says about itself. The times are those of
    /// [`crate::Handle::clock`].
    pub health: PeerHealth,
}
