//! Who belongs to a group, and who of them counts.
//!
//! Static for now, yet of the shape that joint consensus needs (Raft §6): two sets of voters, of
//! which the second is empty outside a change.

use alloc::collections::BTreeSet;

use crate::types::NodeId;

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The voters.
    pub voters: BTreeSet<NodeId>,
    /// During a change of membership, the voters before it: every decision then needs a majority of
    /// both sets. Empty otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Members that receive the log and have no vote.
    pub learners: BTreeSet<NodeId>,
}

impl Membership {
    /// A membership of voters alone.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether this member has a vote.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether this member belongs to the group.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// All members, ascending, each once.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }
}
