//! What a node looks like from outside: plain data for metrics, the command line and tests.

use quorate_raft::GroupId;

/// What a group looks like on this node.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// The state of the algorithm.
    pub raft: quorate_raft::Status,
    /// The commands of this node's clients that have not ended.
    pub pending_commands: usize,
    /// The reads of this node's clients that have not ended.
    pub pending_reads: usize,
}
