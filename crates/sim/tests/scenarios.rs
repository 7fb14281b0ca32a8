//! The scenarios, with fixed seeds: each bound holds, in virtual time.

use quorate_sim::scenario::{Measured, compare, play};

fn holds(name: &str, members: u64, seeds: u64) {
    let measured: Result<Vec<Measured>, String> =
        (0..seeds).map(|seed| play(name, members, seed)).collect();
    if let Err(what) = measured.and_then(|measured| compare(&measured)) {
        panic!("{name}, {members} members: {what}");
    }
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced_within_three_election_timeouts() {
    holds("hung-leader", 3, 10);
    holds("hung-leader", 5, 5);
}

#[test]
fn one_without_load_is_replaced_when_somebody_writes() {
    holds("hung-idle-leader", 3, 10);
    holds("hung-idle-leader", 5, 5);
}

#[test]
fn a_slow_follower_does_not_slow_down_the_others() {
    // Of three members it takes hundreds of seeds to tell: `quorate-sim scenario` plays them.
    holds("slow-disk", 5, 2);
    holds("slow-cpu", 5, 2);
}

#[test]
fn what_was_acknowledged_outlives_a_power_failure_everywhere() {
    holds("power-loss", 1, 3);
    holds("power-loss", 3, 5);
    holds("power-loss", 5, 3);
}

#[test]
fn without_a_quorum_requests_end_and_memory_is_bounded() {
    holds("no-quorum", 3, 1);
}
