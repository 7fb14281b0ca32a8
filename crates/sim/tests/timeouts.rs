//! The adaptive election policy is the best one, wherever a policy is asked for: it deposes no more leaders that
//! live than the others, and leaves a group without one for a shorter time. All of it is virtual time, and the
//! seeds are few: `quorate-sim timeouts` measures the same with many.

use std::time::Duration;

use quorate_raft::ElectionPolicy;
use quorate_sim::timeouts::{Measured, Network, Plan, measure};

const PLAN: Plan = Plan { quiet: Duration::from_secs(240), crashes: 10 };
const SEEDS: u64 = 2;

fn measured(network: Network, policy: ElectionPolicy) -> Measured {
    let mut sum = Measured::default();
    for seed in 0..SEEDS {
        sum.add(&measure(network, policy, seed, PLAN).expect("the run is sound"));
    }
    sum
}

#[track_caller]
fn adaptive_is_best(network: Network) -> Measured {
    let adaptive = measured(network, ElectionPolicy::Adaptive);
    for policy in [ElectionPolicy::Fixed, ElectionPolicy::Backoff] {
        let other = measured(network, policy);
        assert_eq!(other.leaderless.len(), adaptive.leaderless.len());
        assert!(
            adaptive.false_elections <= other.false_elections,
            "{network:?}: {} false elections, with {policy:?} {}",
            adaptive.false_elections,
            other.false_elections
        );
        for per_mille in [500, 990] {
            let (mine, others) =
                (adaptive.leaderless_at(per_mille), other.leaderless_at(per_mille));
            assert!(
                mine <= others,
                "{network:?}, {per_mille}: {mine:?}, with {policy:?} {others:?}"
            );
        }
    }
    adaptive
}

#[test]
fn in_one_room_a_dead_leader_is_replaced_within_three_heartbeats() {
    let measured = adaptive_is_best(Network::Lan);
    let worst = measured.leaderless_at(990).expect("leaders crashed");
    assert!(worst < Duration::from_millis(300), "{worst:?}");
}

#[test]
fn between_continents_adaptive_is_best() {
    adaptive_is_best(Network::Wan);
}

#[test]
fn on_noisy_hosts_adaptive_is_best() {
    let measured = adaptive_is_best(Network::NoisyHost);
    assert_eq!(measured.false_elections, 0, "no policy is best that deposes leaders");
}
