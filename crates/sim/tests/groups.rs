//! Many groups on three nodes, in counts: of messages and of round trips. None of them depends on
//! how quick the machine is. The program `examples/groups.rs` measures the same for ten thousand.

use std::time::Duration;

use quorate_raft::{GroupId, NodeId};
use quorate_sim::fleet::{Fleet, Layout};

const GROUPS: u64 = 200;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn groups() -> impl Iterator<Item = GroupId> {
    (1..=GROUPS).map(GroupId)
}

/// All groups are led, and quiet.
fn quiet() -> Fleet {
    let mut fleet = Fleet::new(Layout::of(GROUPS));
    fleet.run_for(seconds(20));
    assert_eq!((fleet.led(), fleet.quiet()), (GROUPS, GROUPS));
    assert_eq!(fleet.dormant(), 3 * GROUPS, "on each node");
    fleet
}

#[test]
fn quiet_groups_say_nothing_and_nodes_one_word_for_all_of_them() {
    let mut fleet = quiet();
    let before = fleet.counts();
    fleet.run_for(seconds(100));
    let counts = fleet.counts().since(&before);
    // A beat in each interval of 100 ms from each of three nodes to the two others.
    assert_eq!((counts.messages, counts.beats), (6_000, 6_000));
    assert_eq!((counts.syncs, counts.leaders), (0, 0));
    assert_eq!(fleet.quiet(), GROUPS);
}

#[test]
fn heartbeats_of_groups_that_are_awake_travel_together() {
    let awake = Layout { quiet_after: Some(seconds(1 << 30)), ..Layout::of(GROUPS) };
    let mut fleet = Fleet::new(awake);
    fleet.run_for(seconds(5));
    let before = fleet.counts();
    fleet.run_for(seconds(10));
    let counts = fleet.counts().since(&before);
    // Each group has two followers, and each of them answers.
    assert_eq!(counts.heartbeats, 4 * 100 * GROUPS);
    // From a node to another one goes a write with heartbeats, and one with the answers to the other's.
    assert!(counts.writes <= 12 * 100 + 100, "{counts:?}");
}

#[test]
fn the_first_request_of_a_sleeping_group_takes_two_round_trips_and_a_sync_at_most() {
    let mut fleet = quiet();
    let layout = Layout::of(GROUPS);
    let (round_trip, sync) = (layout.delay * 2, layout.sync);
    for group in groups().take(60) {
        let leader = fleet.leader(group).expect("it is led");
        let follower = NodeId(leader.0 % 3 + 1);
        match group.0 % 3 {
            0 => assert_eq!(fleet.write(leader, group), round_trip + sync),
            1 => assert_eq!(fleet.write(follower, group), round_trip * 2 + sync),
            _ => assert_eq!(fleet.read(follower, group), round_trip * 2),
        }
    }
    fleet.run_for(seconds(20));
    assert_eq!(fleet.quiet(), GROUPS, "they fall asleep again");
}

#[test]
fn groups_whose_leader_is_gone_elect_another_one_without_being_asked() {
    let mut fleet = quiet();
    let victim = fleet.leader(GroupId(1)).expect("it is led");
    let others: Vec<GroupId> =
        groups().filter(|group| fleet.leader(*group) != Some(victim)).collect();
    let terms: Vec<u64> = others.iter().map(|group| fleet.term(*group)).collect();
    fleet.kill(victim);
    fleet.run_for(seconds(10));
    assert_eq!(fleet.led(), GROUPS);
    let now: Vec<u64> = others.iter().map(|group| fleet.term(*group)).collect();
    assert_eq!(terms, now, "who had another leader keeps it");

    fleet.start(victim);
    fleet.run_for(seconds(20));
    assert_eq!(fleet.quiet(), GROUPS);
}

#[test]
fn a_process_that_ends_and_begins_at_once_is_noticed() {
    let mut fleet = quiet();
    let victim = fleet.leader(GroupId(1)).expect("it is led");
    let term = fleet.term(GroupId(1));
    fleet.kill(victim);
    fleet.start(victim);
    fleet.run_for(seconds(20));
    assert_eq!((fleet.led(), fleet.quiet()), (GROUPS, GROUPS));
    assert!(fleet.term(GroupId(1)) > term, "the new process can't lead where the old one did");
}

/// A learner does not campaign, so nothing that it does wakes its leader.
#[test]
fn a_learner_that_starts_again_hears_of_its_quiet_leaders() {
    const LEARNER: NodeId = NodeId(4);
    let mut fleet = Fleet::new(Layout { nodes: 4, learners: 1, ..Layout::of(GROUPS) });
    fleet.run_for(seconds(20));
    assert_eq!((fleet.led(), fleet.quiet()), (GROUPS, GROUPS));
    let terms: Vec<u64> = groups().map(|group| fleet.term(group)).collect();
    fleet.kill(LEARNER);
    fleet.run_for(seconds(20));
    fleet.start(LEARNER);
    fleet.run_for(seconds(20));
    assert_eq!(fleet.quiet(), GROUPS, "it follows again");
    for group in groups() {
        fleet.read(LEARNER, group);
    }
    let now: Vec<u64> = groups().map(|group| fleet.term(group)).collect();
    assert_eq!(terms, now, "and has deposed nobody");
}

#[test]
fn a_quiet_leader_that_is_cut_off_gives_up_and_comes_back_as_a_follower() {
    let mut fleet = quiet();
    let group = GroupId(1);
    let (leader, term) = (fleet.leader(group).expect("it is led"), fleet.term(group));
    for other in (1..=3).map(NodeId).filter(|id| *id != leader) {
        fleet.cut(leader, other);
    }
    fleet.run_for(seconds(10));
    let next = fleet.leader(group).expect("it is led");
    assert!(next != leader && fleet.term(group) > term);
    fleet.heal();
    fleet.run_for(seconds(20));
    assert_eq!((fleet.leader(group), fleet.quiet()), (Some(next), GROUPS));
}

#[test]
fn one_broken_link_does_not_depose_leaders_that_a_quorum_hears() {
    let mut fleet = quiet();
    let terms: Vec<u64> = groups().map(|group| fleet.term(group)).collect();
    fleet.cut(NodeId(1), NodeId(2));
    fleet.run_for(seconds(30));
    fleet.heal();
    fleet.run_for(seconds(20));
    assert_eq!(fleet.led(), GROUPS);
    let now: Vec<u64> = groups().map(|group| fleet.term(group)).collect();
    assert_eq!(terms, now);
}
