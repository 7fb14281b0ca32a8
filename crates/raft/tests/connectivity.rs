//! If some majority of the members can talk to each other, the group gets work done, whatever the
//! other links do: one way only, to some and not to others, or not at all. Partial partitions are
//! how groups with a majority at hand have stood still for hours (openraft issue 2080; Cloudflare's
//! report of November 2020).
//!
//! Every directed graph of links is tried, up to a renaming of the members that don't lead when the
//! links break.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::world::World;
use quorate_raft::{Input, NodeId, RoleKind};

/// The links that work: a bit for each ordered pair of members.
type Links = u32;

/// The bit of a link among `nodes` members, counted from 0.
fn link(nodes: u64, from: u64, to: u64) -> Links {
    assert_ne!(from, to);
    1 << (from * (nodes - 1) + to - u64::from(from < to))
}

/// Whether some majority can talk to each other, both ways.
fn has_majority(nodes: u64, links: Links) -> bool {
    (0_u32..1 << nodes).any(|set| {
        let members: Vec<u64> = (0..nodes).filter(|id| set & 1 << id != 0).collect();
        let talk = |a, b| a == b || links & link(nodes, a, b) != 0;
        2 * members.len() as u64 > nodes
            && members.iter().all(|a| members.iter().all(|b| talk(*a, *b)))
    })
}

/// All orders of these members.
fn orders(members: &[u64]) -> Vec<Vec<u64>> {
    if members.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in members {
        let rest: Vec<u64> = members.iter().copied().filter(|id| id != first).collect();
        all.extend(orders(&rest).into_iter().map(|order| [&[*first], &order[..]].concat()));
    }
    all
}

/// The graphs in which some majority can talk, one for each class of those that differ by the names
/// of the members other than 0.
fn graphs(nodes: u64) -> Vec<Links> {
    let others: Vec<u64> = (1..nodes).collect();
    let renamings: Vec<Vec<u64>> =
        orders(&others).into_iter().map(|order| [&[0], &order[..]].concat()).collect();
    let is_first = |links: Links| {
        renamings.iter().all(|names| {
            let mut renamed = 0;
            for from in 0..nodes {
                for to in (0..nodes).filter(|to| *to != from) {
                    if links & link(nodes, from, to) != 0 {
                        renamed |= link(nodes, names[from as usize], names[to as usize]);
                    }
                }
            }
            links <= renamed
        })
    };
    (0..1 << (nodes * (nodes - 1)))
        .filter(|links| has_majority(nodes, *links) && is_first(*links))
        .collect()
}

fn leader(world: &World) -> Option<NodeId> {
    let role = |id: &NodeId| world.members[id].raft.as_ref().unwrap().status().role;
    world.ids().into_iter().find(|id| role(id) == RoleKind::Leader)
}

/// Breaks links under a leader, and has whoever leads after a while commit something.
fn gets_work_done(nodes: u64, links: Links) {
    let mut world = World::fair(nodes, u64::from(links));
    world.run(Duration::from_millis(500));
    let old = leader(&world).expect("all is well, and nobody leads");
    // The leader takes the place of member 0 of the graph.
    let mut places: Vec<NodeId> = world.ids();
    places.retain(|id| *id != old);
    places.insert(0, old);
    world.cut = BTreeSet::new();
    for from in 0..nodes {
        for to in (0..nodes).filter(|to| *to != from) {
            if links & link(nodes, from, to) == 0 {
                world.cut.insert((places[from as usize], places[to as usize]));
            }
        }
    }
    // Ten minimum election timeouts to settle, and ten more to get something done.
    world.run(Duration::from_secs(1));
    let before = world.commit;
    let term = |world: &World| {
        let status = |id| world.members[&id].raft.as_ref().unwrap().status();
        world.ids().into_iter().map(|id| status(id).term).max()
    };
    let settled = term(&world);
    for _ in 0..10 {
        for id in world.ids() {
            world.step(id, Input::Propose(vec!["work".into()]));
        }
        world.run(Duration::from_millis(100));
    }
    assert!(world.commit.0 >= before.0 + 5, "{links:b} of {nodes} commit nothing");
    assert_eq!(term(&world), settled, "{links:b} of {nodes} hold election after election");
}

#[test]
fn three_members_work_if_two_can_talk() {
    let graphs = graphs(3);
    assert!(graphs.len() > 15);
    graphs.into_iter().for_each(|links| gets_work_done(3, links));
}

#[test]
fn four_members_work_if_three_can_talk() {
    let graphs = graphs(4);
    assert!(graphs.len() > 50);
    graphs.into_iter().for_each(|links| gets_work_done(4, links));
}

#[test]
#[ignore = "thousands of graphs: minutes without optimization"]
fn five_members_work_if_three_can_talk() {
    graphs(5).into_iter().for_each(|links| gets_work_done(5, links));
}
