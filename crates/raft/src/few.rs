//! A map of what is known of each member. Groups have a few members and nodes many groups: a node of a B-tree has
//! room for eleven, whoever is there.

use alloc::vec::Vec;

use crate::types::NodeId;

/// A map by member, ascending, in as much memory as it takes.
#[derive(Clone, Debug)]
pub(crate) struct Few<V>(Vec<(NodeId, V)>);

impl<V> Default for Few<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> FromIterator<(NodeId, V)> for Few<V> {
    /// The ids have to ascend.
    fn from_iter<I: IntoIterator<Item = (NodeId, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.shrink_to_fit();
        assert!(
            pairs.is_sorted_by(|(a, _), (b, _)| a < b),
            "members come in their order, each once"
        );
        Self(pairs)
    }
}

impl<V> Few<V> {
    fn find(&self, id: NodeId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<&V> {
        self.find(*id).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, id: &NodeId) -> Option<&mut V> {
        self.find(*id).ok().map(|at| &mut self.0[at].1)
    }

    /// What is known of a member, which is made if nothing is.
    pub(crate) fn get_or_insert_with(&mut self, id: NodeId, make: impl FnOnce() -> V) -> &mut V {
        let at = self.find(id).unwrap_or_else(|at| {
            self.0.reserve_exact(1);
            self.0.insert(at, (id, make()));
            at
        });
        &mut self.0[at].1
    }

    pub(crate) fn remove(&mut self, id: &NodeId) -> Option<V> {
        self.find(*id).ok().map(|at| self.0.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &V)> {
        self.0.iter().map(|(id, value)| (id, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut V)> {
        self.0.iter_mut().map(|(id, value)| (&*id, value))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_in_the_order_of_the_ids() {
        let mut few: Few<u8> = [(NodeId(2), 20), (NodeId(5), 50)].into_iter().collect();
        assert_eq!((few.get(&NodeId(2)), few.get(&NodeId(3))), (Some(&20), None));
        *few.get_or_insert_with(NodeId(3), || 30) += 1;
        *few.get_or_insert_with(NodeId(5), || 0) += 1;
        few.get_mut(&NodeId(2)).into_iter().for_each(|value| *value += 1);
        assert!(few.iter().map(|(id, value)| (id.0, *value)).eq([(2, 21), (3, 31), (5, 51)]));
        assert_eq!((few.remove(&NodeId(3)), few.remove(&NodeId(3))), (Some(31), None));
        few.iter_mut().for_each(|(id, value)| *value = id.0 as u8);
        few.values_mut().for_each(|value| *value *= 2);
        assert!(few.values().copied().eq([4, 10]) && !few.is_empty());
    }
}
