//! Leases meet what they are there to survive: leaders that are deposed while a lease runs out.

use std::time::Duration;

use quorate_sim::leases::{LeaseCounts, Leases};
use quorate_sim::run::run_with;
use quorate_sim::swarm::{Options, Recurring};
use quorate_sim::trace::Trace;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Many short leases in a cluster whose members fall silent again and again, each with a log of commands
/// that it has not got rid of.
fn short_leases_and_short_terms() -> Options {
    Options {
        faulty_for: ms(6_000),
        delay_mean: ms(10),
        pauses: Some(Recurring { every: ms(200), lasts: ms(150) }),
        transfer_every: Some(ms(150)),
        leases: Some(Leases {
            clients: 12,
            ttl_max: 1,
            act_mean: ms(40),
            renewals_per_mille: 100,
            revocations_per_mille: 0,
        }),
        ..Options::calm(3)
    }
}

#[test]
fn commands_of_leaders_of_the_past_end_no_lease() {
    let mut counts = LeaseCounts::default();
    for seed in 0..10 {
        let report = run_with(seed, short_leases_and_short_terms(), None, Trace::off());
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        counts.add(&report.leases);
    }
    assert!(counts.fenced > 0, "{counts:?}");
    assert!(counts.expired > 100 && counts.renewed > 100, "{counts:?}");
    assert!(counts.together > 100, "{counts:?}");
}
