//! What a member can be asked about itself: plain data, for metrics, pages and tests.

use alloc::vec::Vec;

use crate::types::{EntryId, GroupId, Index, NodeId, Term};

/// A member at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The member.
    pub id: NodeId,
    /// Its group.
    pub group: GroupId,
    /// The latest term it has seen.
    pub term: Term,
    /// Who got its vote in that term.
    pub vote: Option<NodeId>,
    /// Who leads in that term, if known; the member itself if it does.
    pub leader: Option<NodeId>,
    /// Its role.
    pub role: RoleKind,
    /// The last position known to be committed.
    pub commit: Index,
    /// The last position that the state machine reported as applied.
    pub applied: Index,
    /// The last entry of its log.
    pub last: EntryId,
    /// The last position of its log that is known to be on its disk.
    pub durable: Index,
    /// The entry before the first one in its log.
    pub base: EntryId,
    /// What the entries in its log cost, in bytes.
    pub log_bytes: usize,
    /// Whether it lost its disk and does not count yet.
    pub rejoining: bool,
    /// The entry since which the membership counts that does.
    pub membership_since: Index,
    /// Whether it leads and holds a lease at the moment of its last step, so that it answers reads at once.
    pub leased: bool,
    /// To whom leadership is being handed, if it is.
    pub transferring: Option<NodeId>,
    /// Whether nothing is to be done, and the member waits for nothing (see [`crate::Config::quiet_after`]).
    pub quiet: bool,
    /// The followers and learners, ascending; empty unless the member leads.
    pub peers: Vec<PeerStatus>,
}

/// A role, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Leads.
    Leader,
}

/// A follower or learner, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The member.
    pub id: NodeId,
    /// The last position known to equal the leader's log and to be on the member's disk.
    pub matched: Index,
    /// How it is brought up to date.
    pub progress: ProgressKind,
    /// The appends on the way to it, in messages.
    pub inflight_messages: usize,
    /// The appends on the way to it, in bytes.
    pub inflight_bytes: usize,
    /// Whether it was heard within the last one to two election timeouts.
    pub active: bool,
    /// Whether it said last that it lost its disk: its acknowledgements do not count yet.
    pub rejoining: bool,
    /// Whether its word counts, or would if it had a vote: that of a voter with another disk than it was given its vote
    /// with does not.
    pub counts: bool,
    /// Whether it is a learner that may become a voter: see [`crate::ChangeError::NotCaughtUp`].
    pub caught_up: bool,
}

/// How a follower is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressKind {
    /// It is being found out where its log agrees with the leader's.
    Probe,
    /// It gets appends as they come.
    Replicate,
    /// It gets a snapshot.
    Snapshot,
}
