//! What a quiet group takes of memory, counted by the allocator: so this is a program of its own with one test.

use std::alloc::System;
use std::collections::BTreeMap;
use std::time::Duration;

use cap::Cap;
use quorate_raft::{GroupId, NodeId};
use quorate_sim::fleet::{Fleet, Layout};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

#[test]
fn a_quiet_group_takes_about_a_kibibyte_on_each_node() {
    let fresh = each(false);
    assert!((400..1_200).contains(&fresh), "{fresh} bytes of a group that nobody used");
    let used = each(true);
    assert!(used < 1_300, "{used} bytes, with what leaders remember of who used it");
}

/// What each of two hundred groups adds to fifty: nodes, logs' indices and state machines together. With ten thousand
/// it is a tenth less.
fn each(is_used: bool) -> usize {
    let (few, many) = (bytes_with(50, is_used), bytes_with(250, is_used));
    ["nodes", "index of the log", "state machines"]
        .map(|part| many[part].saturating_sub(few[part]) / (200 * 3))
        .into_iter()
        .sum()
}

/// What so many groups take when all are dormant, by part.
fn bytes_with(groups: u64, is_used: bool) -> BTreeMap<&'static str, usize> {
    let before = ALLOCATOR.allocated();
    let mut fleet = Fleet::new(Layout::of(groups));
    fleet.run_for(Duration::from_secs(20));
    for group in (1..=groups).map(GroupId).filter(|_| is_used) {
        // Commands of all nodes, so that leaders remember what they took from others.
        for node in (1..=3).map(NodeId) {
            fleet.write(node, group);
        }
    }
    fleet.run_for(Duration::from_secs(20));
    assert_eq!(fleet.dormant(), 3 * groups);
    let (mut last, mut parts) = (ALLOCATOR.allocated(), BTreeMap::new());
    assert!(last > before);
    fleet.take_apart(|part| {
        let now = ALLOCATOR.allocated();
        parts.insert(part, last.saturating_sub(now));
        last = now;
    });
    parts
}
