//! What a member relies on to be there: who leads, and who belongs to its group.

use quorate_raft::{Membership, NodeId, quorum};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footing<'a> {
    /// This member.
    pub(crate) us: NodeId,
    /// Who leads, if anybody does.
    pub(crate) leader: Option<NodeId>,
    pub(crate) members: &'a Membership,
}

impl<'a> Footing<'a> {
    /// From whom it should hear, and often: a leader from all others, who answer its heartbeats, and a
    /// follower from its leader.
    pub(crate) fn awaited(self) -> impl Iterator<Item = NodeId> + 'a {
        let Self { us, leader, members } = self;
        let all = members.voters.iter().chain(&members.outgoing).chain(&members.learners);
        let others = all.copied().filter(move |id| leader == Some(us) && *id != us);
        leader.filter(|leader| *leader != us).into_iter().chain(others)
    }

    /// Among whom it seeks its leader: nobody, if it knows one or campaigns, which is noticed. A leader that is quiet
    /// says nothing to a member that has just started, and learns of it from its node alone.
    pub(crate) fn sought(self) -> impl Iterator<Item = NodeId> + 'a {
        let Self { us, leader, members } = self;
        let seeks = leader.is_none() && (members.learners.contains(&us) || members.is_witness(us));
        let voters = members.voters.iter().chain(&members.outgoing);
        voters.copied().filter(move |id| seeks && *id != us)
    }

    /// Whether it may go on being quiet, if these nodes are there: as a follower its leader's, and as a leader those
    /// of a quorum.
    pub(crate) fn is_safe(self, is_there: impl Fn(NodeId) -> bool) -> bool {
        match self.leader {
            Some(leader) if leader != self.us => is_there(leader),
            _ => quorum::has_quorum(self.members, |id| id == self.us || is_there(id)),
        }
    }
}
