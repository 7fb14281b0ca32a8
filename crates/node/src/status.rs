//! What a node looks like from outside: plain data for metrics, the command line and tests.

use quorate_raft::GroupId;

/// What a group looks like on this node.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// The state of the algorithm.
    pub raft: quorate_raft::Status,
    /// What is missing, while the member heals and takes no part yet (see `heal.rs`).
    pub healing: Option<Healing>,
    /// The commands of this node's clients that have not ended.
    pub pending_commands: usize,
    /// The reads of this node's clients that have not ended.
    pub pending_reads: usize,
}

/// What a member lacks whose storage was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healing {
    /// How many entries of the log.
    pub missing: u64,
    /// Whether the state machine ends before the log begins, so that it needs a snapshot.
    pub machine_is_behind: bool,
}
