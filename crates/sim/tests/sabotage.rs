//! The simulator notices what it is there to notice: every broken promise is found within a few
//! seeds. A checker that never fired proves nothing.

mod common;

use quorate_sim::sabotage::Sabotage;
use quorate_sim::swarm::Options;
use quorate_sim::trace::Trace;
use quorate_sim::world::World;

/// The sabotage is found within so many seeds, and by one of these properties.
#[track_caller]
fn is_found(sabotage: Sabotage, seeds: u64, by: &[&str]) {
    common::is_found(sabotage, 0..seeds, Options::of_seed, by);
}

/// The seeds up to this one in which so many of a thousand acts of a client keep its lease alive.
fn renewing(seeds: u64, per_mille: u64) -> impl Iterator<Item = u64> {
    (0..seeds).filter(move |seed| {
        Options::of_seed(*seed).leases.is_some_and(|leases| leases.renewals_per_mille >= per_mille)
    })
}

#[test]
fn what_is_called_durable_before_its_sync() {
    is_found(
        Sabotage::DurableBeforeSync,
        10,
        &["durable_before_reply", "commit_durable_on_quorum"],
    );
}

#[test]
fn a_disk_that_confirms_syncs_it_has_not_done() {
    is_found(Sabotage::LyingDisk, 40, &["recovery", "term_and_vote"]);
}

#[test]
fn a_vote_that_a_restart_forgets() {
    is_found(Sabotage::VoteForgotten, 40, &["recovery", "term_and_vote"]);
}

#[test]
fn votes_that_nobody_gave() {
    is_found(Sabotage::ForgedVotes, 100, &["election_safety", "leader_completeness"]);
}

#[test]
fn acknowledgements_that_nobody_gave() {
    is_found(Sabotage::ForgedAcknowledgements, 200, &["commit_durable_on_quorum", "log_lost"]);
}

#[test]
fn reads_that_nobody_confirmed() {
    is_found(Sabotage::LocalReads, 40, &["oracle"]);
}

#[test]
fn staleness_that_is_not_told() {
    is_found(Sabotage::StalenessHidden, 60, &["staleness"]);
}

/// The oracle, which knows the log, stops the run. What the clients saw until then is enough for who knows
/// nothing else; unless the state that was read in vain did not differ.
#[test]
fn reads_that_nobody_confirmed_as_clients_see_them() {
    let noticed = (0..40).filter(|&seed| {
        let sabotage = Some(Sabotage::LocalReads);
        let mut world = World::new(seed, Options::of_seed(seed), sabotage, Trace::off());
        let found = world.run().is_err();
        let noticed = world.second_opinion().is_err();
        assert!(found || !noticed, "the oracle missed something in {seed}");
        noticed
    });
    assert!(noticed.count() >= 3);
}

#[test]
fn a_lost_disk_that_nobody_tells_of() {
    is_found(
        Sabotage::LossUnsaid,
        40,
        &["term_and_vote", "election_safety", "leader_completeness"],
    );
}

#[test]
fn a_machine_that_claims_to_be_durable() {
    is_found(Sabotage::MachineForgets, 40, &["panic", "recovery", "state_machine_safety"]);
}

#[test]
fn a_machine_whose_state_is_not_what_its_log_leads_to() {
    is_found(Sabotage::StateDiffers, 40, &["state_hash"]);
}

#[test]
fn a_request_whose_failure_nobody_tells() {
    is_found(Sabotage::FailureUntold, 40, &["liveness", "partial_liveness"]);
}

#[test]
fn a_watch_that_goes_on_one_revision_late() {
    is_found(Sabotage::ResumedLate, 40, &["watch_resumable", "watch_bookmarkable"]);
}

#[test]
fn an_event_that_a_watcher_is_not_told_of() {
    is_found(
        Sabotage::ResponseLost,
        40,
        &["watch_resumable", "watch_bookmarkable", "watch_reliable", "watch_atomic"],
    );
}

#[test]
fn a_lease_that_ends_before_its_time() {
    is_found(Sabotage::LeaseEndsEarly, 40, &["lease_never_early"]);
}

#[test]
fn a_renewal_that_a_leader_forgets() {
    let by = &["lease_never_early"];
    common::is_found(Sabotage::RenewalForgotten, renewing(200, 1), Options::of_seed, by);
}

#[test]
fn leases_that_never_end() {
    is_found(Sabotage::LeaseNeverEnds, 40, &["lease_expiry", "liveness"]);
}

/// Only somebody who has been deposed and does not know gives a wrong answer, and only for as long as that
/// takes: seeds whose leases are kept alive often.
#[test]
fn answers_about_leases_that_nobody_confirmed() {
    let by = &["lease_never_early", "lease_expiry", "linearizability"];
    common::is_found(Sabotage::LeaseUnconfirmed, renewing(3_000, 400), Options::of_seed, by);
}
