//! The scenarios, with fixed seeds: each bound holds, in virtual time.

use quorate_sim::sabotage::Sabotage;
use quorate_sim::scenario::{Measured, compare, play, play_with};

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

#[test]
fn a_spare_takes_the_place_of_a_voter_that_is_gone() {
    holds("spare", 3, 8);
    holds("spare", 5, 4);
}

/// A broken promise breaks the bound, and is told so.
#[track_caller]
fn is_noticed(name: &str, sabotage: Sabotage, what: &str) {
    let broken = play_with(name, 3, 0, Some(sabotage)).expect_err("it goes unnoticed");
    assert!(broken.contains(what), "{sabotage:?} is taken for something else: {broken}");
}

#[test]
fn a_leader_with_a_hung_disk_that_is_not_replaced_is_noticed() {
    is_noticed("hung-leader", Sabotage::HandOverLost, "leads after");
}

#[test]
fn a_spare_that_nobody_calls_is_noticed() {
    is_noticed("spare", Sabotage::FailureUnseen, "the spare votes");
}

#[test]
fn a_client_that_waits_for_ever_is_noticed() {
    is_noticed("no-quorum", Sabotage::FailureUntold, "a client has waited");
}
