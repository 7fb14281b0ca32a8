//! What several tests demand.

use quorate_sim::run::{Failure, run_with};
use quorate_sim::sabotage::Sabotage;
use quorate_sim::swarm::Options;
use quorate_sim::trace::Trace;

/// This sabotage is found in one of these seeds, the first time by one of these properties, and it is what was
/// found: without it nothing is wrong with the seed.
#[track_caller]
pub(crate) fn is_found(
    sabotage: Sabotage,
    mut seeds: impl Iterator<Item = u64>,
    options: impl Fn(u64) -> Options,
    by: &[&str],
) {
    let fails = |seed| run_with(seed, options(seed), Some(sabotage), Trace::off()).err();
    let failure: Option<Box<Failure>> = seeds.find_map(fails);
    let failure = failure.unwrap_or_else(|| panic!("{sabotage:?} goes unnoticed in all seeds"));
    assert!(
        by.iter().any(|property| failure.what.starts_with(property)),
        "{sabotage:?} is taken for something else: {}",
        failure.what
    );
    let seed = failure.seed;
    if let Err(alarm) = run_with(seed, options(seed), None, Trace::off()) {
        panic!("seed {seed} fails without {sabotage:?}, too: {}", alarm.what);
    }
}
