//! What stays as it is for as long as a group runs.

use core::time::Duration;

use quorate_raft::{Asleep, GroupId, NodeId};

use super::GroupConfig;
use crate::lead::{Lead, Priority};
use crate::node::NodeConfig;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) id: GroupId,
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) leader_priority: Priority,
    pub(super) heartbeat_interval: Duration,
    pub(super) election_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) command_bytes_max: usize,
    pub(super) pending_max: usize,
    pub(super) pending_bytes_max: usize,
    /// Commands are proposed in pieces of about so many bytes, which fill an append.
    pub(super) piece_bytes: usize,
    /// Whether this member keeps no state, and takes no requests.
    pub(super) is_witness: bool,
}

impl Settings {
    pub(super) fn new(node: &NodeConfig, config: &GroupConfig) -> Self {
        Self {
            id: config.group,
            node: node.id,
            incarnation: node.incarnation,
            leader_priority: node.leader_priority,
            heartbeat_interval: config.heartbeat_interval,
            election_timeout: config.election_timeout,
            request_timeout: node.request_timeout,
            command_bytes_max: node.command_bytes_max,
            pending_max: node.pending_max,
            pending_bytes_max: node.pending_bytes_max,
            piece_bytes: config.limits.append_bytes_max,
            is_witness: config.witness,
        }
    }

    /// The same of a group that sleeps.
    pub(super) fn of_sleeper(node: &NodeConfig, asleep: &Asleep) -> Self {
        Self {
            id: asleep.group(),
            node: node.id,
            incarnation: node.incarnation,
            leader_priority: node.leader_priority,
            heartbeat_interval: asleep.heartbeat_interval(),
            election_timeout: asleep.election_timeout(),
            request_timeout: node.request_timeout,
            command_bytes_max: node.command_bytes_max,
            pending_max: node.pending_max,
            pending_bytes_max: node.pending_bytes_max,
            piece_bytes: asleep.append_bytes_max(),
            is_witness: asleep.is_witness(),
        }
    }

    /// What a member thinks of the lead that has seen nothing yet.
    pub(super) fn lead(&self) -> Lead {
        Lead::new(self.leader_priority, self.election_timeout)
    }
}
