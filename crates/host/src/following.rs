//! Whom a host has connections to: who belongs to its group, and for a while those who left it, as the last that the
//! leader tells them is that they did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_raft::{Membership, NodeId, Time};

use crate::peer;

/// See the module.
#[derive(Debug)]
pub(crate) struct Following {
    /// This member, who follows the others.
    id: NodeId,
    /// Where the members of the configuration are, of whom a membership may say nothing.
    first_addresses: BTreeMap<NodeId, Vec<String>>,
    /// How long those who left are followed, from when they are no longer told anything.
    farewell_time: Duration,
    /// Those, and until when that is.
    departed: BTreeMap<NodeId, Time>,
    /// All whom it follows.
    peers: BTreeSet<NodeId>,
    /// Where each of them may be found, as of the last look. Nothing, if nobody knows more than was known before.
    addresses: BTreeMap<NodeId, Vec<String>>,
}

impl Following {
    pub(crate) fn new(
        id: NodeId,
        first_addresses: BTreeMap<NodeId, Vec<String>>,
        farewell_time: Duration,
    ) -> Self {
        Self {
            id,
            first_addresses,
            farewell_time,
            departed: BTreeMap::new(),
            peers: BTreeSet::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// All whom it follows.
    pub(crate) fn peers(&self) -> &BTreeSet<NodeId> {
        &self.peers
    }

    /// Where each of them may be found. Nothing, if nobody knows more than was known before.
    pub(crate) fn addresses(&self) -> &BTreeMap<NodeId, Vec<String>> {
        &self.addresses
    }

    /// Whether some are followed who have left: then it has to be looked at again, though the members stay the same.
    pub(crate) fn is_passing(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Looks who belongs to the group now, and whom its leader tells something. Says who is new; nothing, if those who left
    /// are only waited for still.
    pub(crate) fn look(
        &mut self,
        now: Time,
        members: &Membership,
        told: impl IntoIterator<Item = NodeId>,
    ) -> Option<BTreeSet<NodeId>> {
        let mut wanted = members.members();
        let told: BTreeSet<NodeId> = told.into_iter().collect();
        let others = self.peers.union(&told).filter(|id| **id != self.id);
        for id in others.filter(|id| !wanted.contains(id)) {
            let until = self.departed.entry(*id).or_insert(now + self.farewell_time);
            if told.contains(id) {
                *until = now + self.farewell_time;
            }
        }
        self.departed.retain(|id, until| !wanted.contains(id) && now < *until);
        wanted.extend(self.departed.keys());
        wanted.remove(&self.id);
        let addresses: BTreeMap<_, _> =
            wanted.iter().map(|id| (*id, self.addresses_of(*id, members))).collect();
        if self.is_passing() && addresses == self.addresses {
            return None;
        }
        let new = wanted.difference(&self.peers).copied().collect();
        (self.peers, self.addresses) = (wanted, addresses);
        Some(new)
    }

    fn addresses_of(&self, id: NodeId, members: &Membership) -> Vec<String> {
        let told = members.about.get(&id).map(|about| peer::addresses(about));
        let first = || {
            let first = self.first_addresses.get(&id)?.join("\n");
            Some(peer::addresses(first.as_bytes()))
        };
        told.filter(|told| !told.is_empty()).or_else(first).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAREWELL: Duration = Duration::from_nanos(10);

    /// These members, each at an address.
    fn members(at: &[(u64, &str)]) -> Membership {
        let about = at.iter().map(|(id, address)| (NodeId(*id), (*address).to_owned().into()));
        let voters = at.iter().map(|(id, _)| NodeId(*id));
        Membership { about: about.collect(), ..Membership::of_voters(voters) }
    }

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn following() -> Following {
        let first = [(NodeId(2), vec!["b:1".to_owned()])].into();
        Following::new(NodeId(1), first, FAREWELL)
    }

    #[test]
    fn who_belongs_to_the_group_is_followed_to_where_it_is() {
        let mut following = following();
        let founders = Membership::of_voters([1, 2].map(NodeId));
        assert_eq!(following.look(Time(0), &founders, []), Some(ids(&[2])));
        assert_eq!(following.addresses()[&NodeId(2)], ["b:1"], "as it was configured");
        assert_eq!(following.look(Time(1), &founders, []), Some(ids(&[])));
        let three = members(&[(1, "a:1"), (2, "b:1"), (3, "http://c:1/")]);
        assert_eq!(following.look(Time(2), &three, []), Some(ids(&[3])));
        assert_eq!((following.peers(), following.is_passing()), (&ids(&[2, 3]), false));
        assert_eq!(following.addresses()[&NodeId(3)], ["c:1"]);
    }

    #[test]
    fn who_left_is_followed_until_it_is_no_longer_told_and_a_while_longer() {
        let mut following = following();
        let all = members(&[(1, "a:1"), (2, "b:1"), (3, "c:1")]);
        following.look(Time(0), &all, []);
        let two = members(&[(1, "a:1"), (2, "b:1")]);
        following.look(Time(5), &two, ids(&[2, 3]));
        assert_eq!(following.look(Time(14), &two, ids(&[2, 3])), None, "it is told still");
        assert_eq!(following.look(Time(23), &two, ids(&[2])), None);
        assert_eq!((following.peers(), following.is_passing()), (&ids(&[2, 3]), true));
        assert_eq!(following.look(Time(24), &two, ids(&[2])), Some(ids(&[])));
        assert_eq!((following.peers(), following.is_passing()), (&ids(&[2]), false));
        // One that comes again belongs to the group as if it had never left.
        following.look(Time(30), &all, []);
        following.look(Time(31), &two, []);
        following.look(Time(32), &all, []);
        assert_eq!((following.peers(), following.is_passing()), (&ids(&[2, 3]), false));
    }

    #[test]
    fn who_moves_while_another_one_leaves_is_followed_at_once() {
        let mut following = following();
        following.look(Time(0), &members(&[(1, "a:1"), (2, "b:1"), (3, "c:1")]), []);
        following.look(Time(1), &members(&[(1, "a:1"), (2, "b:1")]), []);
        assert!(following.is_passing());
        let moved = members(&[(1, "a:1"), (2, "e:1")]);
        assert_eq!(following.look(Time(2), &moved, []), Some(ids(&[])));
        assert_eq!(following.addresses()[&NodeId(2)], ["e:1"]);
    }
}
