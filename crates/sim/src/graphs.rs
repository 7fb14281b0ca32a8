//! Directed graphs of the links that work.
//!
//! There are few enough of them for small clusters to try every one: see [`all`]. If some majority
//! can talk to each other, both ways, the cluster has to get work done, whatever the other links do.

use std::collections::BTreeSet;
use std::fmt;

use quorate_raft::NodeId;

use crate::process::node_id;

/// The links that work among so many members, a bit for each ordered pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Graph {
    members: usize,
    bits: u64,
}

impl Graph {
    /// The most members of a graph, for which a word has bits enough.
    pub const MEMBERS_MAX: usize = 8;

    /// No link works.
    #[must_use]
    pub fn none(members: usize) -> Self {
        assert!((1..=Self::MEMBERS_MAX).contains(&members), "no graph has {members} members");
        Self { members, bits: 0 }
    }

    /// The graph of this number; each has one.
    #[must_use]
    pub fn of_number(members: usize, number: u64) -> Self {
        let graph = Self { bits: number, ..Self::none(members) };
        assert!(number < 1 << (members * (members - 1)), "there is no graph {number} of {members}");
        graph
    }

    /// The number of the graph.
    #[must_use]
    pub fn number(self) -> u64 {
        self.bits
    }

    /// The bit of the link between two different members, counted from 0.
    fn bit(self, from: usize, to: usize) -> u64 {
        assert!(from != to && from < self.members && to < self.members, "no link {from} to {to}");
        1 << (from * (self.members - 1) + to - usize::from(from < to))
    }

    fn works(self, from: usize, to: usize) -> bool {
        self.bits & self.bit(from, to) != 0
    }

    fn links(self) -> impl Iterator<Item = (usize, usize)> {
        let ids = 0..self.members;
        ids.clone()
            .flat_map(move |from| ids.clone().map(move |to| (from, to)))
            .filter(|(a, b)| a != b)
    }

    /// All ordered pairs of members.
    pub fn pairs(self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.links().map(|(from, to)| (member(from), member(to)))
    }

    /// The links that don't work.
    pub fn broken(self) -> impl Iterator<Item = (NodeId, NodeId)> {
        let broken = self.links().filter(move |(from, to)| !self.works(*from, *to));
        broken.map(|(from, to)| (member(from), member(to)))
    }

    /// This link works from now on.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.bits |= self.bit(place(from), place(to));
    }

    /// The same graph among other names: who stood at a place is who is named there.
    #[must_use]
    pub fn renamed(self, names: &[NodeId]) -> Self {
        let mut renamed = Self::none(self.members);
        for (from, to) in self.links().filter(|(from, to)| self.works(*from, *to)) {
            renamed.mend(names[from], names[to]);
        }
        renamed
    }

    /// The most members who can all talk to each other, both ways; of several such sets the first.
    #[must_use]
    pub fn largest_clique(self) -> BTreeSet<NodeId> {
        let talk = |a: usize, b: usize| a == b || (self.works(a, b) && self.works(b, a));
        let mut largest = Vec::new();
        for set in 0_u32..1 << self.members {
            let set: Vec<usize> = (0..self.members).filter(|id| set & 1 << id != 0).collect();
            if set.len() > largest.len() && set.iter().all(|a| set.iter().all(|b| talk(*a, *b))) {
                largest = set;
            }
        }
        largest.into_iter().map(member).collect()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph {} of {}", self.bits, self.members)
    }
}

fn member(place: usize) -> NodeId {
    node_id(place as u64)
}

fn place(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("a few members")
}

/// All orders of these members.
fn orders(members: &[usize]) -> Vec<Vec<usize>> {
    if members.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in members {
        let rest: Vec<usize> = members.iter().copied().filter(|id| id != first).collect();
        all.extend(orders(&rest).into_iter().map(|order| [&[*first], &order[..]].concat()));
    }
    all
}

/// The graphs in which some majority can talk, one for each class of those that differ only by the
/// names of the members that do not lead. Who leads when the links break stands first.
#[must_use]
pub fn all(members: usize) -> Vec<Graph> {
    let others: Vec<usize> = (1..members).collect();
    // For each renaming where the bit of each link goes.
    let renamings: Vec<Vec<u64>> = orders(&others)
        .into_iter()
        .map(|order| {
            let names = [&[0], &order[..]].concat();
            let graph = Graph::none(members);
            graph.links().map(|(from, to)| graph.bit(names[from], names[to])).collect()
        })
        .collect();
    let is_first = |bits: u64| {
        renamings.iter().all(|bit_of| {
            let moved = bit_of.iter().enumerate().filter(|(link, _)| bits >> link & 1 != 0);
            bits <= moved.map(|(_, bit)| bit).sum::<u64>()
        })
    };
    let numbers = 0..1_u64 << (members * (members - 1));
    let graphs = numbers.filter(|bits| is_first(*bits)).map(|bits| Graph { members, bits });
    graphs.filter(|graph| graph.largest_clique().len() > members / 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_a_graph_are_those_mended() {
        let mut graph = Graph::none(3);
        assert_eq!(graph.broken().count(), 6);
        graph.mend(NodeId(1), NodeId(3));
        graph.mend(NodeId(3), NodeId(1));
        graph.mend(NodeId(2), NodeId(3));
        assert_eq!(graph.largest_clique(), [NodeId(1), NodeId(3)].into());
        let renamed = graph.renamed(&[2, 1, 3].map(NodeId));
        assert_eq!(renamed.largest_clique(), [NodeId(2), NodeId(3)].into());
        assert!(!renamed.broken().any(|link| link == (NodeId(1), NodeId(3))));
        assert_eq!(Graph::of_number(3, graph.number()), graph);
    }

    #[test]
    fn one_graph_stands_for_all_that_differ_by_names() {
        // Of two members, only the whole graph has a majority that can talk.
        assert_eq!(all(2), [Graph::of_number(2, 3)]);
        // By hand for three: of the three pairs at least one is whole; the two that don't lead may
        // change places.
        let three = all(3);
        let by_hand = (0..64)
            .map(|number| Graph::of_number(3, number))
            .filter(|graph| graph.largest_clique().len() >= 2)
            .filter(|graph| graph.bits <= graph.renamed(&[1, 3, 2].map(NodeId)).bits);
        assert_eq!(three, by_hand.collect::<Vec<_>>());
        assert_eq!(three.len(), 21);
    }
}
