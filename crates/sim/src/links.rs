//! One thing for each directed link between members.

use quorate_raft::NodeId;

use crate::process::node_id;

/// A value for each ordered pair of members; their ids count from 1 without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links<T> {
    members: usize,
    values: Vec<T>,
}

impl<T: Clone> Links<T> {
    /// The same value for all links between so many members.
    #[must_use]
    pub fn new(members: usize, value: T) -> Self {
        Self { members, values: vec![value; members * members] }
    }

    /// Gives all links the same value.
    pub fn fill(&mut self, value: T) {
        self.values.fill(value);
    }
}

impl<T> Links<T> {
    fn position(&self, from: NodeId, to: NodeId) -> usize {
        let at = |id: NodeId| usize::try_from(id.0 - 1).expect("a few members");
        assert!(at(from) < self.members && at(to) < self.members, "no link {from} to {to}");
        at(from) * self.members + at(to)
    }

    /// What a link has.
    #[must_use]
    pub fn get(&self, from: NodeId, to: NodeId) -> &T {
        &self.values[self.position(from, to)]
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, from: NodeId, to: NodeId) -> &mut T {
        let position = self.position(from, to);
        &mut self.values[position]
    }

    /// All links from one member to another, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (NodeId, NodeId)> + use<T> {
        let members = self.members as u64;
        let ids = move || (0..members).map(node_id);
        ids().flat_map(move |from| ids().map(move |to| (from, to))).filter(|(from, to)| from != to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_its_own_value_and_a_direction() {
        let mut links = Links::new(3, 0);
        *links.get_mut(NodeId(1), NodeId(3)) = 7;
        assert_eq!((links.get(NodeId(1), NodeId(3)), links.get(NodeId(3), NodeId(1))), (&7, &0));
        assert_eq!(links.pairs().count(), 6);
        assert!(links.pairs().all(|(from, to)| from != to));
    }
}
