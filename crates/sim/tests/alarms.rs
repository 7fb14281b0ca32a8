//! Alarms in runs of the simulator.

use quorate_sim::run::run_with;
use quorate_sim::swarm::Options;
use quorate_sim::trace::Trace;

/// What is refused for want of space is refused alike everywhere, and what is not goes on: the checks of the run say that. Here is
/// only that there was something to say it of.
#[test]
fn runs_with_alarms_refuse_and_go_on() {
    let seeds = (0..).filter(|seed| Options::of_seed(*seed).alarms.is_some()).take(4);
    let (mut refused, mut carried_out) = (0, 0);
    for seed in seeds {
        let report = run_with(seed, Options::of_seed(seed), None, Trace::off());
        let tally = report.unwrap_or_else(|failure| panic!("seed {seed}: {}", failure.what)).tally;
        refused += tally.refused;
        carried_out += tally.writes - tally.refused;
    }
    assert!(refused > 20 && carried_out > 20, "{refused} refused, {carried_out} carried out");
}
