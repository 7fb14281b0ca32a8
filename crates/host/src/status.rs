//! What a host says about itself, as plain data.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_node::{About, Detector, PeerHealth, PeerState};
use quorate_raft::{EntryId, GroupId, Index, NodeId, RoleKind, Status, Term};

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
    /// The voters, this member among them, ascending.
    pub voters: Arc<[NodeId]>,
    /// The other members, ascending.
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

    /// A member that has not looked around yet.
    pub(crate) fn new(
        id: NodeId,
        cluster_id: u64,
        group: GroupId,
        applied: EntryId,
        peers: &BTreeSet<NodeId>,
        about: Arc<About>,
    ) -> Self {
        let mut voters = peers.clone();
        voters.insert(id);
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
            voters: voters.into_iter().collect(),
            peers: peers
                .iter()
                .map(|&id| PeerStatus {
                    id,
                    connected: false,
                    matched: None,
                    active: None,
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
        connected: &BTreeSet<NodeId>,
        detector: &Detector,
    ) -> Self {
        let peer = |before: &PeerStatus| {
            let progress = raft.peers.iter().find(|peer| peer.id == before.id);
            PeerStatus {
                id: before.id,
                connected: connected.contains(&before.id),
                matched: progress.map(|peer| peer.matched),
                active: progress.map(|peer| peer.active),
                health: detector.peer(before.id).unwrap_or(PeerHealth::unknown(before.id)),
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
            voters: Arc::clone(&self.voters),
            peers: self.peers.iter().map(peer).collect(),
            stopped: self.stopped,
        }
    }

    /// Whether more changed than positions in the log.
    pub(crate) fn is_notable_after(&self, before: &Self) -> bool {
        let look = |status: &Self| {
            let look = |peer: &PeerStatus| (peer.id, peer.connected, peer.health.state);
            status.peers.iter().map(look).collect::<Vec<(NodeId, bool, PeerState)>>()
        };
        (self.role, self.term, self.leader, self.stopped)
            != (before.role, before.term, before.leader, before.stopped)
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
    /// Whether it seems to be there, since when, and what it says about itself. The times are those of
    /// [`crate::Handle::clock`].
    pub health: PeerHealth,
}
