//! What a host says about itself, as plain data.

use quorate_raft::{GroupId, Index, NodeId, Term};

/// A member's view of its group and of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// This member.
    pub id: NodeId,
    /// The cluster it belongs to.
    pub cluster_id: u64,
    /// The group.
    pub group: GroupId,
    /// What it does in `term`.
    pub role: Role,
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
    pub voters: Vec<NodeId>,
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
}

/// What a member does in a term (Raft §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether an election would be won (thesis §9.6).
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
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
}
